//! `speaker ask`: whether each address that somebody should announce is answered for on the network.

mod local;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use ferrolb_core::announce::{Assignment, Link, LinkId, carrying};
use ferrolb_core::wire::MacAddr;
use ferrolb_kube::client::{self, Patience};
use ferrolb_kube::clock::Clock;
use futures::StreamExt as _;
use tokio::time::timeout;

use crate::args::Args;
use crate::question::{self, Answers};
use crate::view::{Dirty, View};
use crate::{links, port, watch};

/// The API server tells everything within seconds, or not at all.
const KNOWN_WITHIN: Duration = Duration::from_secs(30);

/// Asks, prints what comes of it, and fails if it is not as it should be.
pub fn ask(args: Args) -> anyhow::Result<()> {
    let args = args.complete(|name| std::env::var(name).ok())?;
    port::privileges::keep_net_raw_only()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let (view, links, here) = runtime.block_on(async {
        let view = timeout(KNOWN_WITHIN, known(&args))
            .await
            .context("the API server did not answer in time")??;
        let here = local::announced_here(args.shared.port).await;
        anyhow::Ok((view, links::now(&args.interfaces).await?, here))
    })?;
    let mut wrong = Vec::new();
    let here = here.unwrap_or_else(|error| {
        wrong.push(format!("no speaker on this node: {error:#}"));
        Default::default()
    });
    let mut told = Vec::new();
    let mut questions = BTreeMap::new();
    for address in view.addresses() {
        match view.wish(address, None) {
            Err(reason) => told.push(format!("{address}: {}", reason.explanation().what)),
            Ok(_) if here.contains(&address) => told.push(format!(
                "{address}: announced from this node; another node has to ask"
            )),
            Ok(wish) => {
                let wanted = Assignment {
                    interfaces: wish.interfaces,
                    ..Assignment::default()
                };
                questions.insert(address, carrying(address, &wanted, &links).collect());
            }
        }
    }
    for (address, stations) in question::stations(&questions)? {
        match judge(address, &stations, &links) {
            Ok(line) => told.push(line),
            Err(line) => wrong.push(line),
        }
    }
    if told.is_empty() && questions.is_empty() {
        told.push("no Service has an address yet: nothing to ask for".to_owned());
    }
    let mut out = std::io::stdout().lock();
    for line in &told {
        writeln!(out, "{line}")?;
    }
    if !wrong.is_empty() {
        bail!("{}", wrong.join("; "));
    }
    Ok(())
}

/// The cluster, as soon as all of it is known.
async fn known(args: &Args) -> anyhow::Result<View> {
    let me = args.node_name.clone().unwrap_or_default();
    let client = client::connect(args.shared.kubeconfig.as_deref(), Patience::USUAL).await?;
    let (steering, steered) = watch::Steering::channel();
    let mut inputs = watch::all(
        &client,
        args.shared.namespace(),
        (&args.shared.config, &args.shared.compiled),
        steered,
    );
    let mut view = View::new(
        me,
        args.shared.class(),
        args.shared.source(),
        args.exclude_label,
    );
    let clock = Clock::start();
    let dirty = &mut Dirty::default();
    while view.missing().is_some() {
        let due = view.poll_timeout();
        let due = due.map_or(KNOWN_WITHIN, |at| at.saturating_since(clock.now()));
        if let Ok(input) = timeout(due, inputs.next()).await {
            view.handle(input.context("the watches have ended")?, dirty);
        }
        if let Some(names) = view.poll_labels() {
            steering.set_labels(names);
        }
        while let Some(order) = view.poll_order(dirty, clock.now()) {
            steering.order(order);
        }
    }
    Ok(view)
}

/// What a client would notice of an address; `Err` if it is wrong.
fn judge(
    address: IpAddr,
    stations: &BTreeMap<MacAddr, Answers>,
    links: &BTreeMap<LinkId, Link>,
) -> Result<String, String> {
    let place = |(mac, answers): (&MacAddr, &Answers)| {
        let name = links.get(&answers.link).map_or("?", |link| &*link.name);
        format!("{mac} on {name}")
    };
    let places: Vec<_> = stations.iter().map(place).collect();
    match places.len() {
        0 => Err(format!("nobody answers for {address}")),
        1 => Ok(format!("{address}: {} answers", places.join(""))),
        count => Err(format!(
            "{count} stations answer for {address}: {}",
            places.join(", ")
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_station_is_right_and_none_or_two_are_wrong() {
        let address = "192.168.64.240".parse().unwrap();
        let link = Link {
            name: "eth0".into(),
            mac: MacAddr(2, 0, 0, 0, 0, 9),
            prefixes: Vec::new(),
            routes: BTreeMap::new(),
            carrier: true,
        };
        let links = [(LinkId(1), link)].into();
        let said = |last: &[u8]| {
            let station = |last: &u8| {
                let answers = Answers {
                    link: LinkId(1),
                    count: 3,
                    fastest: Duration::from_micros(250),
                };
                (MacAddr(2, 0, 0, 0, 0, *last), answers)
            };
            judge(address, &last.iter().map(station).collect(), &links)
        };
        assert_eq!(
            said(&[1]),
            Ok("192.168.64.240: 02:00:00:00:00:01 on eth0 answers".to_owned())
        );
        assert_eq!(
            said(&[]),
            Err("nobody answers for 192.168.64.240".to_owned())
        );
        assert!(said(&[1, 2]).unwrap_err().starts_with("2 stations answer"));
    }
}
