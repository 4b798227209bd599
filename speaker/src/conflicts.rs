//! Other hosts that have our addresses: told to the user by an Event and a metric, and to the
//! controller by a report, so that it can give another address.

use std::net::IpAddr;
use std::sync::Arc;

use ferrolb_core::Reason;
use ferrolb_core::announce::Event;
use ferrolb_core::conflict::{self, Report};
use ferrolb_core::names::{CONFLICTS_NAME, SPEAKER_COMPONENT, event};
use ferrolb_core::view::ServiceView;
use ferrolb_core::wire::MacAddr;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use crate::events::{Events, Note};
use crate::metrics::Metrics;
use crate::wire::Heard;

/// Reports that wait for a slow API server; further ones are dropped, and logged as all are.
const QUEUE: usize = 1_024;

/// Tells whoever has to know.
#[derive(Debug)]
pub struct Conflicts {
    me: String,
    events: Events,
    metrics: Arc<Metrics>,
    reports: mpsc::Sender<Entry>,
}

/// An entry of the `ConfigMap` of reports: its key, and its value or nothing.
#[derive(Debug)]
struct Entry(String, Option<String>);

impl Conflicts {
    /// Starts the writer of reports, in `namespace`, for the node `me`.
    #[must_use]
    pub fn spawn(
        client: Client,
        namespace: &str,
        me: String,
        events: Events,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (reports, received) = mpsc::channel(QUEUE);
        let config_maps = Api::namespaced(client, namespace);
        tokio::spawn(write_all(config_maps, received));
        Self {
            me,
            events,
            metrics,
            reports,
        }
    }

    /// Something was heard about the address of these Services.
    pub fn tell<'a>(&self, heard: &Heard, services: impl Iterator<Item = &'a ServiceView>) {
        let link = &*heard.link;
        match &heard.event {
            Event::Announced {
                vip,
                was_in_conflict,
                ..
            } => {
                if *was_in_conflict {
                    info!(%vip, link, "the address is free now, and announced");
                    self.report(Entry(conflict::key(*vip), None));
                }
            }
            Event::Conflict {
                vip,
                mac,
                before_use,
                node,
                ..
            } => {
                let found = Found {
                    vip: *vip,
                    mac: *mac,
                    before_use: *before_use,
                    node: node.as_deref(),
                };
                warn!(%vip, %mac, link, node, reason = %found.reason(), "{}", found.tell(&self.me, link));
                self.metrics.conflict(*vip, found.kind());
                self.tell_users(&found, link, services);
            }
        }
    }

    fn tell_users<'a>(
        &self,
        found: &Found<'_>,
        link: &str,
        services: impl Iterator<Item = &'a ServiceView>,
    ) {
        let mut is_reported = found.node.is_some();
        for service in services {
            self.events.send(Note {
                service: service.key.clone(),
                uid: service.uid.clone(),
                severity: "Warning",
                reason: found.event(),
                message: found.tell(&self.me, link),
            });
            // One report for an address, however many Services share it.
            if std::mem::replace(&mut is_reported, true) {
                continue;
            }
            let report = Report {
                address: found.vip,
                mac: found.mac,
                node: self.me.clone(),
                service: service.key.clone(),
                time: Timestamp::now(),
                announced: !found.before_use,
            };
            match report.encode() {
                Ok(value) => self.report(Entry(conflict::key(found.vip), Some(value))),
                Err(error) => warn!(vip = %found.vip, %error, "cannot write the report"),
            }
        }
    }

    fn report(&self, entry: Entry) {
        if let Err(error) = self.reports.try_send(entry) {
            warn!(%error, "report of a conflict dropped");
        }
    }
}

/// Another station with one of our addresses.
struct Found<'a> {
    vip: IpAddr,
    mac: MacAddr,
    before_use: bool,
    /// The node of the cluster that it is.
    node: Option<&'a str>,
}

impl Found<'_> {
    const fn reason(&self) -> Reason {
        match self.node {
            Some(_) => Reason::PeerKernelAnswers,
            None => Reason::AddressConflict,
        }
    }

    const fn event(&self) -> &'static str {
        match self.node {
            Some(_) => event::PEER_KERNEL_ANSWERS,
            None => event::ADDRESS_CONFLICT,
        }
    }

    /// The metric's label.
    const fn kind(&self) -> &'static str {
        match (self.node, self.before_use) {
            (Some(_), _) => "peer_kernel",
            (None, true) => "before_use",
            (None, false) => "in_use",
        }
    }

    /// What, where, and what to do.
    fn tell(&self, me: &str, link: &str) -> String {
        let Self { vip, mac, .. } = self;
        match (self.node, self.before_use) {
            (Some(node), _) => format!(
                "the kernel of node \"{node}\" ({mac}) answers for {vip}, beside the speaker of node \
                 \"{me}\": if kube-proxy runs in IPVS mode, set strictARP; otherwise look there for \
                 proxy_arp, or for an interface with this address"
            ),
            (None, true) => format!(
                "another host, {mac}, has {vip} (heard on {link} of node \"{me}\"): it is not \
                 announced as long as that host has it; give that host another address, or take this \
                 one out of the pool"
            ),
            (None, false) => format!(
                "another host, {mac}, uses {vip}, too (heard on {link} of node \"{me}\"): it stays \
                 announced, but neighbours may reach either; give that host another address"
            ),
        }
    }
}

/// Writes the entries one after the other. The right to it may be given later.
async fn write_all(config_maps: Api<ConfigMap>, mut entries: mpsc::Receiver<Entry>) {
    let mut is_told = false;
    while let Some(Entry(key, value)) = entries.recv().await {
        match write(&config_maps, &key, value.as_deref()).await {
            Ok(()) => debug!(key, value, "conflict reported"),
            Err(kube::Error::Api(status)) if status.is_forbidden() => {
                if std::mem::replace(&mut is_told, true) {
                    continue;
                }
                warn!(
                    "may not write ConfigMap {CONFLICTS_NAME}: the controller does not hear of \
                     addresses that other hosts have; Events and the log tell of them"
                );
            }
            Err(error) => warn!(key, %error, "cannot report a conflict"),
        }
    }
}

/// A merge patch touches nobody else's entry, and needs no look at the object before.
async fn write(config_maps: &Api<ConfigMap>, key: &str, value: Option<&str>) -> kube::Result<()> {
    let patch = json!({ "data": { key: value } });
    let params = PatchParams {
        field_manager: Some(SPEAKER_COMPONENT.to_owned()),
        ..PatchParams::default()
    };
    let patched = config_maps
        .patch(CONFLICTS_NAME, &params, &Patch::Merge(&patch))
        .await;
    match patched {
        Err(kube::Error::Api(status)) if status.is_not_found() => {}
        patched => return patched.map(drop),
    }
    if value.is_none() {
        return Ok(());
    }
    match config_maps
        .create(&PostParams::default(), &fresh(&patch))
        .await
    {
        // Another speaker was quicker.
        Err(kube::Error::Api(status)) if status.is_already_exists() => config_maps
            .patch(CONFLICTS_NAME, &params, &Patch::Merge(&patch))
            .await
            .map(drop),
        created => created.map(drop),
    }
}

fn fresh(patch: &Value) -> ConfigMap {
    let mut config_map = ConfigMap::default();
    config_map.metadata.name = Some(CONFLICTS_NAME.to_owned());
    config_map.data = serde_json::from_value(patch["data"].clone()).ok();
    config_map
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_the_host_the_address_the_place_and_what_to_do() {
        let found = |before_use, node| Found {
            vip: "192.168.64.200".parse().unwrap(),
            mac: MacAddr(2, 0, 0, 0, 0, 0x64),
            before_use,
            node,
        };
        let rows = [
            (
                found(true, None),
                "before_use",
                "take this one out of the pool",
            ),
            (
                found(false, None),
                "in_use",
                "give that host another address",
            ),
            (found(true, Some("n2")), "peer_kernel", "set strictARP"),
        ];
        for (found, kind, remedy) in rows {
            let text = found.tell("n1", "eth0");
            for part in ["02:00:00:00:00:64", "192.168.64.200", "\"n1\"", remedy] {
                assert!(text.contains(part), "{part} is not in: {text}");
            }
            assert_eq!(found.kind(), kind);
        }
    }
}
