//! What the daemons answer on `/status`, for the plugin: one form for both sides. Keys are an
//! interface, they stay.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

mod announcement;
mod word;

pub use announcement::{Announcement, By};
pub use word::Word;

use crate::config::objects::{Finding, Severity};
use crate::dead::DeadNodesStatus;
use crate::keep::shown::KeepingStatus;
use crate::source::Source;
use crate::{Reason, vip};

/// MetalLB's metrics saturate there, too (`int64`); JSON numbers of most programs hold less.
const MANY: u128 = i64::MAX as u128;

/// `standing` of a member that is there.
const LIVE: &str = "live";

/// `count` as a number that every reader of JSON holds.
#[must_use]
pub fn saturated(count: u128) -> u64 {
    u64::try_from(count.min(MANY)).unwrap_or(u64::MAX)
}

/// The controller's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ControllerStatus {
    /// Its version.
    pub version: String,
    /// The pod's name.
    pub instance: String,
    /// Whether it is the one that gives addresses.
    pub leading: bool,
    /// Who does, as far as it knows; `None` without leader election.
    pub leader: Option<String>,
    /// What it waits for before it gives addresses.
    pub blockers: Vec<String>,
    /// What its rights do not allow, and what that switches off.
    pub limits: Vec<String>,
    /// The configuration.
    pub configuration: ConfigurationStatus,
    /// The pools, in the order of the file.
    pub pools: Vec<PoolStatus>,
    /// Every Service that it serves. Empty on a replica that does not lead.
    pub services: Vec<ServiceStatus>,
    /// Nodes that speakers found dead; absent where nothing is done about them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_nodes: Option<DeadNodesStatus>,
}

/// What became of the `ConfigMap`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigurationStatus {
    /// The `ConfigMap`, as `namespace/name`.
    pub source: String,
    /// Whether a configuration is in force.
    pub loaded: bool,
    /// Why the `ConfigMap` as it is now is not in force, or not all of it; or why objects are not.
    pub problem: Option<Explained>,
    /// What is in force comes from there: `configmap` or `objects`. Absent as long as nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// What is to be said of single objects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<ObjectStatus>,
    /// Addresses in use for which the change to objects waits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waits_for: Vec<IpAddr>,
}

impl ConfigurationStatus {
    /// Whether `MetalLB`'s objects are in force.
    #[must_use]
    pub fn is_of_objects(&self) -> bool {
        self.from.as_deref() == Some(Source::Objects.as_str())
    }

    /// Where what is in force comes from, or would: `ConfigMap metallb-system/config`.
    #[must_use]
    pub fn origin(&self) -> String {
        let namespace = self.source.split('/').next().unwrap_or_default();
        if self.is_of_objects() {
            format!("MetalLB's objects in namespace {namespace}")
        } else {
            format!("ConfigMap {}", self.source)
        }
    }
}

/// An object of `MetalLB`'s that is not in force as it is, or probably not as it is meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectStatus {
    /// `kind`
    pub kind: String,
    /// `metadata.namespace`
    pub namespace: String,
    /// `metadata.name`
    pub name: String,
    /// Whether its newest version is refused; else it is in force, with a warning.
    pub refused: bool,
    /// Whether an earlier version of it is in force.
    pub former_in_force: bool,
    /// The word.
    pub reason: String,
    /// For people.
    pub message: String,
}

impl From<&Finding> for ObjectStatus {
    fn from(finding: &Finding) -> Self {
        Self {
            kind: finding.object.kind.to_string(),
            namespace: finding.object.namespace.clone(),
            name: finding.object.name.clone(),
            refused: finding.severity == Severity::Refused,
            former_in_force: finding.former_in_force,
            reason: finding.reason.to_string(),
            message: finding.text(),
        }
    }
}

/// A Reason with its sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Explained {
    /// The word.
    pub reason: Word,
    /// For people.
    pub message: String,
}

/// A pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PoolStatus {
    /// `name`
    pub name: String,
    /// `layer2` or `bgp`.
    pub protocol: String,
    /// `auto-assign`
    pub auto_assign: bool,
    /// `addresses`, as ranges.
    pub ranges: Vec<String>,
    /// Addresses that it may give out; at most 9223372036854775807.
    pub total: u64,
    /// Those that are held.
    pub used: u64,
    /// Those that are left.
    pub free: u64,
    /// The lowest one of each family that is left.
    pub first_free: Vec<String>,
    /// Nodes' gateways, which no Service is given, each with the node: `192.168.64.1, which is the gateway of node
    /// n1`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
}

/// A Service, and what was decided for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceStatus {
    /// `metadata.namespace`
    pub namespace: String,
    /// `metadata.name`
    pub name: String,
    /// What it holds.
    pub addresses: Vec<String>,
    /// The pool that they come from.
    pub pool: Option<String>,
    /// What it asks for and does not get.
    pub problem: Option<Explained>,
}

/// A speaker's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SpeakerStatus {
    /// Its node.
    pub node: String,
    /// Its version.
    pub version: String,
    /// What it does not know yet: until then it announces nothing new.
    pub waiting_for: Option<String>,
    /// Whether it hears no other speaker and no router at all.
    pub isolated: bool,
    /// Every speaker, itself included.
    pub members: Vec<MemberStatus>,
    /// Every address that a Service has.
    pub vips: Vec<VipStatus>,
    /// Connections through addresses that moved here, if they are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keeping: Option<KeepingStatus>,
}

/// A speaker, as another one sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberStatus {
    /// Its node.
    pub node: String,
    /// Where it is reached.
    pub address: IpAddr,
    /// The hardware address that answers for `address`.
    pub mac: String,
    /// `live`, `held`, `gone`, `lost` or `never_heard`.
    pub standing: String,
    /// Why it is held or gone.
    pub verdict: Option<String>,
    /// How often it has refuted its death.
    pub incarnation: u32,
    /// The last datagram from it.
    pub heard_millis_ago: Option<u64>,
    /// How many addresses it has.
    pub addresses: usize,
    /// What keeps it from being heard, or its death from being found at once; or that it hears nobody
    /// on one of its links, or that its kube-proxy is unhealthy.
    pub reason: Option<Word>,
}

/// An address that a Service has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VipStatus {
    /// The address.
    pub address: IpAddr,
    /// As `namespace/name`.
    pub services: Vec<String>,
    /// The node whose it is to announce.
    pub owner: Option<String>,
    /// Of the owner's claim.
    pub epoch: Option<u32>,
    /// Whether this node announces it.
    pub announced_here: bool,
    /// Why not.
    pub reason: Option<Word>,
    /// What the node is ranked behind others for, and announces it none the less: no better one may.
    pub drawback: Option<Word>,
    /// The links that announce it, if this node does.
    #[serde(default)]
    pub links: Vec<String>,
    /// The links into the same subnet that leave it to the one that announces (`standby_link`).
    #[serde(default)]
    pub standby_links: Vec<String>,
    /// Every node that announces it, as far as this one can tell: at layer 2 one or none. Speakers before
    /// this key tell none.
    #[serde(default)]
    pub announcements: Vec<Announcement>,
}

/// What a speaker's LAN answered when it asked for an address: `/who?address=…`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WhoStatus {
    /// The address.
    pub address: IpAddr,
    /// The link that it asked on.
    pub link: String,
    /// How often.
    pub asked: u32,
    /// Who said to have it.
    pub stations: Vec<StationStatus>,
}

/// A station that says to have an address.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StationStatus {
    /// Its hardware address.
    pub mac: String,
    /// How often it said so.
    pub answers: u32,
    /// After a question.
    pub fastest_milliseconds: f64,
}

impl MemberStatus {
    /// Whether it is there.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.standing == LIVE
    }

    /// Whether its node is up and only its speaker is not heard (B1 to B3 of docs/protocol.md). Such a member is
    /// never live by the word of whoever does not hear it, and goes on announcing what it has.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        let reason = self.reason.as_ref();
        reason.is_some_and(|reason| *reason == Reason::PeerBlocked)
    }
}

impl SpeakerStatus {
    /// Whether the speaker of `node` is live.
    #[must_use]
    pub fn hears(&self, node: &str) -> bool {
        self.live().any(|live| live == node)
    }

    /// The nodes whose speakers are live, its own among them.
    pub fn live(&self) -> impl Iterator<Item = &str> {
        let members = self.members.iter();
        let live = members.filter(|member| member.is_live());
        live.map(|member| member.node.as_str())
    }

    /// Whether it would announce the address if it were asked to; its own links are known to it alone.
    /// `drawback` is what it is known to be ranked behind others for.
    #[must_use]
    pub fn may_announce(&self, address: IpAddr, drawback: Option<Reason>) -> bool {
        let Some(word) = self.vip(address).and_then(|vip| vip.reason.as_ref()) else {
            return true;
        };
        // What a later version's word means is unknown.
        let known = word.reason();
        known.is_some_and(|reason| vip::would_announce(Some(reason), drawback))
    }

    /// What it says of an address.
    #[must_use]
    pub fn vip(&self, address: IpAddr) -> Option<&VipStatus> {
        self.vips.iter().find(|vip| vip.address == address)
    }
}

#[cfg(test)]
mod tests;
