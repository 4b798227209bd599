//! Network interfaces, and which of them carry a Vip.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnetwork::IpNetwork;

use crate::wire::MacAddr;

/// The kernel's index of a network interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u32);

/// A network interface that we may announce on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its name, as the user knows it.
    pub name: String,
    /// Its hardware address.
    pub mac: MacAddr,
    /// The addresses on it with their prefixes.
    pub prefixes: Vec<IpNetwork>,
    /// Whether frames can leave it.
    pub carrier: bool,
}

/// What is asked for a Vip.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    /// Names of the links that it may be announced on; empty means any (`interfaces` of a pool).
    pub interfaces: BTreeSet<String>,
}

/// The links that carry `vip` now: of those that are allowed, the ones with a prefix that contains
/// it; all, if it lies on no link's subnet. A subnet's link without carrier is not replaced by a
/// link of another subnet: nobody there would ask for the address.
pub fn carrying(
    vip: IpAddr,
    wanted: &Wanted,
    links: &BTreeMap<LinkId, Link>,
) -> impl Iterator<Item = LinkId> {
    let allowed: Vec<_> = links
        .iter()
        .filter(|(_, link)| wanted.interfaces.is_empty() || wanted.interfaces.contains(&link.name))
        .collect();
    let on_subnet = move |link: &Link| link.prefixes.iter().any(|prefix| prefix.contains(vip));
    let subnet_only = allowed.iter().any(|(_, link)| on_subnet(link));
    allowed
        .into_iter()
        .filter(move |(_, link)| link.carrier && (!subnet_only || on_subnet(link)))
        .map(|(id, _)| *id)
}
