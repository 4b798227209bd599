//! Network interfaces, and which of them carry a Vip.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnetwork::IpNetwork;

use crate::ownership::Cause;
use crate::wire::MacAddr;

/// The kernel's index of a network interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u32);

/// A network interface that we may announce on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its name, as the user knows it.
    pub name: Arc<str>,
    /// Its hardware address.
    pub mac: MacAddr,
    /// The addresses on it with their prefixes.
    pub prefixes: Vec<IpNetwork>,
    /// The networks that the kernel reaches by it directly, each with the link's place among all
    /// such links: it takes the least.
    pub routes: BTreeMap<IpNetwork, u32>,
    /// Whether frames can leave it.
    pub carrier: bool,
}

/// What is asked for a Vip.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Assignment {
    /// Names of the links that it may be announced on; empty means any (`interfaces` of a pool).
    pub interfaces: BTreeSet<String>,
    /// Whether to make sure first that no other host has it: for an address that was free, since
    /// nobody in the cluster announced it. Never at a takeover: the address is known to be ours, and
    /// its users wait.
    pub probe_first: bool,
    /// Whether another host had it when a node looked last, and it was silent for that: then a
    /// takeover takes nothing from anybody, and is probed, too.
    pub in_conflict: bool,
    /// Whether other nodes are on its subnet: then it is announced there alone, and nowhere by a node
    /// that is not on it.
    pub on_subnet_only: bool,
    /// Why this node is to announce it: told again once it does.
    pub cause: Cause,
}

/// Whether `vip` lies on the subnet of a link that it may be announced on.
#[must_use]
pub fn on_a_subnet(vip: IpAddr, wanted: &Assignment, links: &BTreeMap<LinkId, Link>) -> bool {
    links
        .values()
        .any(|link| allows(wanted, link) && is_on_subnet(vip, link))
}

pub(super) fn allows(wanted: &Assignment, link: &Link) -> bool {
    wanted.interfaces.is_empty() || wanted.interfaces.contains(&*link.name)
}

fn is_on_subnet(vip: IpAddr, link: &Link) -> bool {
    link.prefixes.iter().any(|prefix| prefix.contains(vip))
}
