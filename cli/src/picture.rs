//! What there is and how it is, as one picture: what the daemons say, joined with Services, Nodes and
//! Events. Every verb that tells something draws from it, so that no two contradict each other.

mod addresses;
mod events;
mod heard;
mod nodes;
mod services;
#[cfg(test)]
pub(crate) mod tests;
mod verdict;

use std::net::IpAddr;

use ferrolb_core::report::{ControllerStatus, PoolStatus, ServiceStatus};
use jiff::Timestamp;
use serde::Serialize;

pub(crate) use self::events::{Happening, happening, in_order};
pub(crate) use self::heard::{Heard, NodeFacts};
pub(crate) use self::verdict::{Finding, Severity, Verdict};
use crate::ago;
use crate::cluster::Cluster;
use crate::daemons::Daemon;
use crate::speaker::Said;

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Picture {
    /// When it was taken.
    pub(crate) now: Timestamp,
    pub(crate) daemons: Vec<Daemon>,
    /// The answer of the controller that leads; if none does, that of another one.
    pub(crate) controller: anyhow::Result<ControllerStatus>,
    /// The pods of the controllers that say to lead.
    pub(crate) leaders: Vec<String>,
    /// What each speaker that was asked says; in large clusters not all are.
    pub(crate) speakers: Said,
    /// In the order of their names.
    pub(crate) nodes: Vec<Node>,
    /// Every address that a Service has, ascending.
    pub(crate) addresses: Vec<Address>,
    pub(crate) services: Vec<Service>,
    /// What the daemons told in Events, oldest first.
    pub(crate) events: Vec<Happening>,
    pub(crate) verdict: Verdict,
}

/// A node that may announce addresses, or that has a speaker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) state: NodeState,
    /// Since when it is dead.
    #[serde(serialize_with = "ago::serialize")]
    pub(crate) since: Option<Timestamp>,
    /// Those that say that it is dead.
    pub(crate) by: Vec<String>,
    /// How the daemons call what became of it.
    pub(crate) verdict: Option<String>,
    /// What stands against it although it lives.
    pub(crate) reasons: Vec<String>,
    /// How many addresses it announces.
    pub(crate) addresses: usize,
    pub(crate) cordoned: bool,
    /// Condition `Ready`; `None` if Nodes could not be read.
    pub(crate) ready: Option<bool>,
}

/// How a node's speaker is, by its own word and that of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum NodeState {
    /// It answers, or others hear it.
    Live,
    /// All others say that it is gone.
    Dead,
    /// Some say so.
    Doubted,
    Restarting,
    /// It does not answer, and nobody else hears it, or tells of it at all.
    Unknown,
    /// No speaker's pod is there.
    NoSpeaker,
}

impl NodeState {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Dead => "dead",
            Self::Doubted => "doubted",
            Self::Restarting => "restarting",
            Self::Unknown => "unknown",
            Self::NoSpeaker => "no speaker",
        }
    }
}

/// An address of a Service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Address {
    pub(crate) address: IpAddr,
    /// `namespace/name` of each Service that has it.
    pub(crate) services: Vec<String>,
    pub(crate) pool: Option<String>,
    /// `externalTrafficPolicy` of its Services, each once; none if Services could not be read.
    pub(crate) policies: Vec<&'static str>,
    pub(crate) state: AddressState,
    /// The nodes that announce it: one, but for the moment in which it moves.
    pub(crate) nodes: Vec<String>,
    /// Why nobody announces it.
    pub(crate) reason: Option<String>,
    /// Since when its state is as it is, as far as Events tell.
    #[serde(serialize_with = "ago::serialize")]
    pub(crate) since: Option<Timestamp>,
}

/// Who announces an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AddressState {
    /// Several nodes do.
    Twice,
    /// Nobody does, and somebody should.
    Silent,
    /// Not every speaker that might announce it answered.
    Unknown,
    /// Nobody does, and that is as it should be.
    Quiet,
    /// It is a node's own: its kernel answers.
    OfNode,
    /// One node does.
    Announced,
}

/// A Service of type `LoadBalancer` that is ours to serve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Service {
    #[serde(flatten)]
    pub(crate) status: ServiceStatus,
    /// The nodes that announce its addresses: none where nobody does, null where that is not known.
    pub(crate) nodes: Option<Vec<String>>,
    /// How many of its addresses are answered for; null where that is not known.
    pub(crate) announced: Option<usize>,
    /// Since when it is announced as it is, as far as Events tell.
    #[serde(serialize_with = "ago::serialize")]
    pub(crate) since: Option<Timestamp>,
    #[serde(serialize_with = "ago::serialize")]
    pub(crate) created: Option<Timestamp>,
    /// `externalTrafficPolicy`; null if the Service could not be read.
    pub(crate) policy: Option<&'static str>,
}

impl Service {
    /// `namespace/name`
    pub(crate) fn key(&self) -> String {
        format!("{}/{}", self.status.namespace, self.status.name)
    }
}

impl Cluster {
    /// Asks every daemon and the API server. `Err` if it is not known which daemons there are.
    pub(crate) async fn picture(&self) -> anyhow::Result<Picture> {
        Ok(Picture::of(self.hear().await?, Timestamp::now()))
    }
}

impl Picture {
    /// Joins what was heard.
    pub(crate) fn of(heard: Heard, now: Timestamp) -> Self {
        let witnesses = nodes::witnesses(&heard.speakers);
        let mut nodes = nodes::joined(&heard, &witnesses, now);
        let mut addresses = addresses::joined(&heard, &nodes);
        for node in &mut nodes {
            let has = |one: &&Address| one.nodes.contains(&node.name);
            node.addresses = addresses.iter().filter(has).count();
        }
        let services = services::joined(&heard, &addresses);
        let Heard {
            daemons,
            controller,
            leaders,
            speakers,
            events,
            services: read,
            nodes: listed,
            ..
        } = heard;
        let mut unread = Vec::new();
        for (what, error) in [("Services", read.err()), (verdict::NODES, listed.err())] {
            unread.extend(error.map(|error| (what, error)));
        }
        let events = events.unwrap_or_else(|error| {
            unread.push(("Events", error));
            Vec::new()
        });
        for address in &mut addresses {
            address.since = events::since(address, &events);
        }
        let mut picture = Self {
            now,
            daemons,
            controller,
            leaders,
            speakers,
            nodes,
            addresses,
            services,
            events,
            verdict: Verdict::default(),
        };
        for number in 0..picture.services.len() {
            let addresses = picture.services[number].status.addresses.iter();
            let own = addresses.filter_map(|text| picture.address(text.parse().ok()?));
            picture.services[number].since = own.filter_map(|address| address.since).max();
        }
        picture.verdict = verdict::of(&picture, &unread);
        picture
    }

    /// All that is so, without times: what differs from an earlier one has changed.
    pub(crate) fn signature(&self) -> String {
        let nodes = self.nodes.iter();
        let nodes = nodes.map(|one| (&one.name, one.state, one.cordoned, &one.reasons));
        let addresses = self.addresses.iter();
        let addresses = addresses.map(|one| (one.address, one.state, &one.nodes, &one.services));
        let services = self.services.iter().map(|one| &one.status);
        let findings = self.verdict.findings.iter().map(|one| &one.what);
        format!(
            "{:?}{:?}{:?}{:?}{:?}",
            nodes.collect::<Vec<_>>(),
            addresses.collect::<Vec<_>>(),
            services.collect::<Vec<_>>(),
            findings.collect::<Vec<_>>(),
            self.pools(),
        )
    }

    pub(crate) fn pools(&self) -> &[PoolStatus] {
        let status = self.controller.as_ref();
        status.map_or(&[], |status| &status.pools)
    }

    pub(crate) fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name == name)
    }

    pub(crate) fn address(&self, address: IpAddr) -> Option<&Address> {
        let found = self
            .addresses
            .binary_search_by_key(&address, |one| one.address);
        found.ok().map(|place| &self.addresses[place])
    }
}
