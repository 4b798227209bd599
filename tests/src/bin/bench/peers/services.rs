//! How soon a Service's address is on the LAN: one Service after another, and 200 at once. It is there with the
//! first ARP from it, announcement or answer, whichever comes first: some announce later than they answer.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ferrolb_tests::observe::{Frame, arp_ask};
use k8s_openapi::api::core::v1::Service;
use kube::Api;

use super::figures::{AtOnce, Services};
use super::peer::{IDLE, idle_address};
use super::scene::Scene;
use crate::figures::{millis, pause};
use crate::many::create_all;

const AT_ONCE: u8 = 200;
/// How long a question is open.
const ASK: Duration = Duration::from_millis(10);
/// For one Service.
const SOON: Duration = Duration::from_secs(30);
/// For all of many.
const PATIENCE: Duration = Duration::from_secs(240);
/// Between two questions for each address that is not there yet.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// Between two Services: nothing of the one before is under way.
const CALM: Duration = Duration::from_millis(500);

/// Creates [`IDLE`] Services.
pub(crate) fn one_by_one(scene: &Scene<'_>) -> Result<Services> {
    let mut announced_ms = Vec::new();
    for number in 0..IDLE {
        let address = idle_address(number);
        let begun = Instant::now();
        create(scene, &[(format!("idle-{number}"), address)])?;
        let at = loop {
            if let Some(at) = first_ones(scene, begun).get(&address) {
                break *at;
            }
            let missing = begun.elapsed() > SOON;
            anyhow::ensure!(!missing, "{address} is not announced within {SOON:?}");
            scene.cluster.on_lan(|| arp_ask("eth0", address, ASK))??;
        };
        announced_ms.push(millis(at - begun));
        pause(CALM);
    }
    Ok(Services { announced_ms })
}

pub(crate) fn at_once(scene: &Scene<'_>) -> Result<AtOnce> {
    let services: Vec<_> = (1..=AT_ONCE)
        .map(|number| (format!("many-{number}"), Ipv4Addr::new(10, 200, 4, number)))
        .collect();
    let begun = Instant::now();
    create(scene, &services)?;
    let created_ms = millis(begun.elapsed());
    let mut asked = Instant::now();
    let there = loop {
        let mut there = first_ones(scene, begun);
        there.retain(|address, _| services.iter().any(|(_, one)| one == address));
        if there.len() == services.len() || begun.elapsed() > PATIENCE {
            break there;
        }
        if asked.elapsed() > ASK_AGAIN {
            asked = Instant::now();
            let missing = services.iter().filter(|(_, one)| !there.contains_key(one));
            for (_, address) in missing {
                scene
                    .cluster
                    .on_lan(|| arp_ask("eth0", *address, Duration::ZERO))??;
            }
        }
        pause(ASK);
    };
    let last = there.values().max().context("none is announced")?;
    Ok(AtOnce {
        services: services.len(),
        announced: there.len(),
        last_ms: millis(*last - begun),
        created_ms,
    })
}

fn create(scene: &Scene<'_>, services: &[(String, Ipv4Addr)]) -> Result<()> {
    scene.lab().api(async |client| {
        let api: Api<Service> = Api::default_namespaced(client);
        let services = services.iter();
        create_all(
            &api,
            services.map(|(name, address)| scene.service(name, *address)),
        )
        .await
    })
}

/// When the LAN first heard an ARP from each address.
fn first_ones(scene: &Scene<'_>, since: Instant) -> BTreeMap<Ipv4Addr, Instant> {
    let mut first = BTreeMap::new();
    let heard = scene.cluster.frames.since(since);
    for frame in heard.iter().filter(|frame: &&Frame| !frame.outgoing) {
        if let Some(arp) = frame.arp() {
            first.entry(arp.sender).or_insert(frame.at);
        }
    }
    first
}
