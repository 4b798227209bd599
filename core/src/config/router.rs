//! BGP routers.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::LabelSelector;

/// One entry of `peers`, or one `BGPPeer`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Peer {
    /// `metadata.name`, by which advertisements choose it; empty in a `ConfigMap`.
    pub name: String,
    /// `my-asn`
    pub my_asn: u32,
    /// `peer-asn`, or `dynamicASN`
    pub peer_asn: PeerAsn,
    /// `localASN`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_asn: Option<u32>,
    /// `peer-address`, or `interface`
    pub neighbour: Neighbour,
    /// `source-address`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_address: Option<IpAddr>,
    /// `peer-port`, default 179.
    pub port: u16,
    /// `hold-time`, default 90 s, whole seconds.
    pub hold_time: Duration,
    /// `keepalive-time`, default a third of the hold time.
    pub keepalive_time: Duration,
    /// `connectTime`, 1 to 65,535 s, whole seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect_time: Option<Duration>,
    /// `router-id`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub router_id: Option<IpAddr>,
    /// `node-selectors`, OR-ed; empty means every node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub node_selectors: Vec<LabelSelector>,
    /// `password`. It stays where it was written.
    #[serde(skip)]
    pub password: Password,
    /// `passwordSecret.name`: the Secret that has the password, in the namespace of the daemons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_secret: Option<String>,
    /// `bfd-profile`. It may be missing where objects are read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bfd_profile: Option<String>,
    /// `ebgp-multihop`
    pub ebgp_multihop: bool,
    /// `enableGracefulRestart`
    pub graceful_restart: bool,
    /// `vrf`, empty for none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub vrf: String,
    /// `dualStackAddressFamily`
    pub dual_stack: bool,
}

/// The AS number that a router is expected to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PeerAsn {
    /// This one.
    Number(u32),
    /// Ours (`dynamicASN: internal`).
    Internal,
    /// Any but ours (`dynamicASN: external`).
    External,
}

/// Where a router is found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Neighbour {
    /// At this address.
    Address(IpAddr),
    /// Whoever is on this link.
    Interface(String),
}

/// A password that no log, Event or file shows.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Password(String);

impl Password {
    /// Empty means none.
    #[must_use]
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// For the socket alone.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "none" } else { "***" })
    }
}
