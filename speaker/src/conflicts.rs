//! Addresses of ours that cannot serve, since other hosts have them or no host can: told to the user by an
//! Event and a metric, and to the controller by a report, so that it can give another address.

use std::net::IpAddr;
use std::sync::Arc;

use ferrolb_core::Reason;
use ferrolb_core::announce::Event;
use ferrolb_core::conflict::{self, Cause, MOST_REPORTS, Report, give_another};
use ferrolb_core::names::{CONFLICTS_NAME, SPEAKER_COMPONENT, event};
use ferrolb_core::subnet::no_host;
use ferrolb_core::view::ServiceView;
use ferrolb_core::wire::MacAddr;
use ferrolb_kube::events::{Object, Severity, Words};
use ipnetwork::IpNetwork;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use crate::events::Events;
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

    /// Something came to light about the address of these Services. Without `has_room` the `ConfigMap` of
    /// reports takes no further entry.
    pub fn tell<'a>(
        &self,
        heard: &Heard,
        services: impl Iterator<Item = &'a ServiceView>,
        has_room: bool,
    ) {
        let link = &*heard.link;
        let found = match &heard.event {
            Event::Announced {
                vip,
                was_in_conflict,
                ..
            } => {
                if *was_in_conflict {
                    info!(%vip, link, "the address is free again, announcing it");
                    self.report(Entry(conflict::key(*vip), None));
                }
                return;
            }
            Event::Silent { .. } => return,
            Event::NoHost { vip, subnet, .. } => Found {
                vip: *vip,
                trouble: Trouble::NoHost(*subnet),
                before_use: false,
                node: None,
            },
            Event::Conflict {
                vip,
                mac,
                before_use,
                node,
                ..
            } => Found {
                vip: *vip,
                trouble: Trouble::Host(*mac),
                before_use: *before_use,
                node: node.as_deref(),
            },
        };
        let vip = found.vip;
        warn!(%vip, link, node = found.node, reason = %found.reason(), "{}", found.tell(&self.me, link));
        self.metrics.conflict(vip, found.kind());
        self.tell_users(&found, link, services, has_room);
    }

    fn tell_users<'a>(
        &self,
        found: &Found<'_>,
        link: &str,
        services: impl Iterator<Item = &'a ServiceView>,
        has_room: bool,
    ) {
        let mut is_reported = found.node.is_some();
        for service in services {
            let command = give_another(&service.key, &service.address_requests);
            let what = found.tell(&self.me, link);
            let message = match found.node {
                Some(_) => what,
                None => format!("{what}; to give the Service another address: {command}"),
            };
            self.events.send(Words {
                object: Object::service(service),
                severity: Severity::Warning,
                reason: found.event(),
                message,
            });
            // One report for an address, however many Services share it.
            if std::mem::replace(&mut is_reported, true) {
                continue;
            }
            if !has_room {
                let vip = found.vip;
                warn!(%vip, "conflict not reported to the controller: ConfigMap {CONFLICTS_NAME} \
                       already has {MOST_REPORTS} entries");
                continue;
            }
            let report = Report {
                address: found.vip,
                cause: found.trouble.cause(),
                node: self.me.clone(),
                service: Some(service.key.clone()),
                time: Timestamp::now(),
                announced: !found.before_use,
            };
            self.write(&report);
        }
    }

    /// Tells the controller.
    pub fn write(&self, report: &Report) {
        let address = report.address;
        match report.encode() {
            Ok(value) => self.report(Entry(conflict::key(address), Some(value))),
            Err(error) => warn!(%address, %error, "cannot write the conflict report"),
        }
    }

    fn report(&self, entry: Entry) {
        if let Err(error) = self.reports.try_send(entry) {
            warn!(%error, "conflict report dropped");
        }
    }
}

/// What the wire tells of an address.
#[derive(Debug, Clone, Copy)]
enum Trouble {
    Host(MacAddr),
    NoHost(IpNetwork),
}

impl Trouble {
    const fn cause(self) -> Cause {
        match self {
            Self::Host(mac) => Cause::Host(mac),
            Self::NoHost(subnet) => Cause::Subnet(subnet),
        }
    }
}

/// What is wrong with one of our addresses.
struct Found<'a> {
    vip: IpAddr,
    trouble: Trouble,
    before_use: bool,
    /// The node of the cluster whose kernel answers.
    node: Option<&'a str>,
}

impl Found<'_> {
    const fn reason(&self) -> Reason {
        match (self.trouble, self.node) {
            (Trouble::NoHost(_), _) => Reason::NoHostAddress,
            (_, Some(_)) => Reason::PeerKernelAnswers,
            (_, None) => Reason::AddressConflict,
        }
    }

    const fn event(&self) -> event::EventReason {
        match (self.trouble, self.node) {
            (Trouble::NoHost(_), _) => event::ADDRESS_UNUSABLE,
            (_, Some(_)) => event::PEER_KERNEL_ANSWERS,
            (_, None) => event::ADDRESS_CONFLICT,
        }
    }

    /// The metric's label.
    const fn kind(&self) -> &'static str {
        match (self.trouble, self.node, self.before_use) {
            (Trouble::NoHost(_), ..) => "no_host",
            (_, Some(_), _) => "peer_kernel",
            (_, None, true) => "before_use",
            (_, None, false) => "in_use",
        }
    }

    /// What, where, and what to do.
    fn tell(&self, me: &str, link: &str) -> String {
        let Self { vip, .. } = self;
        let mac = match self.trouble {
            Trouble::Host(mac) => mac,
            Trouble::NoHost(subnet) => {
                let what = no_host(*vip, subnet).map_or_else(String::new, |it| it.to_string());
                return format!(
                    "{vip} is {what} of {subnet}, the subnet of node \"{me}\" on {link}, so no host \
                     can be reached at it: take it out of the pool"
                );
            }
        };
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
                    "may not write ConfigMap {CONFLICTS_NAME}: the controller cannot learn of \
                     addresses that other hosts use; see Events and this log"
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
            trouble: Trouble::Host(MacAddr(2, 0, 0, 0, 0, 0x64)),
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

    #[test]
    fn an_address_that_no_host_can_have_is_told_of_with_its_subnet() {
        let found = Found {
            vip: "192.168.64.255".parse().unwrap(),
            trouble: Trouble::NoHost("192.168.64.0/24".parse().unwrap()),
            before_use: false,
            node: None,
        };
        assert_eq!(
            found.tell("n1", "eth0"),
            "192.168.64.255 is the broadcast address of 192.168.64.0/24, the subnet of node \"n1\" on \
             eth0, so no host can be reached at it: take it out of the pool"
        );
        assert_eq!(
            (found.kind(), found.event(), found.reason()),
            ("no_host", event::ADDRESS_UNUSABLE, Reason::NoHostAddress)
        );
    }
}
