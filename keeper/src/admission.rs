//! What the speaker may ask for. It is the only one who can ask, and it is in a container of its own: a
//! speaker in wrong hands may slow connections down, and may not make this node send packets anywhere else.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use ferrolb_core::address::Family;
use ferrolb_core::keep::{Entry, LONGEST, MAX_ENTRIES, Station};
use ferrolb_core::wire::MacAddr;
use ipnetwork::IpNetwork;

/// Why an entry is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The address or the target is no unicast address that a host on a LAN can have.
    NoHost,
    /// The two are of different families, or the same.
    Mismatch,
    /// One of them is this node's.
    Own,
    /// The target is none of the other nodes, or its hardware address is not known.
    NoNode,
    /// The address is another node's: its own traffic is none of ours.
    Node,
    /// The kernel would not reach the target directly.
    NotOnLink,
    /// The time is nothing, or longer than an hour.
    Time,
    /// There is no room.
    Full,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoHost => "not a unicast address of a host",
            Self::Mismatch => "address and target are of different families, or the same",
            Self::Own => "an address of this node",
            Self::NoNode => "the target is not another node whose hardware address is known",
            Self::Node => "the address is another node's own",
            Self::NotOnLink => "the target is not on a link of this node",
            Self::Time => "no time, or more than an hour",
            Self::Full => "too many addresses are kept already",
        })
    }
}

/// The other nodes, and what may be passed on to them.
#[derive(Debug, Default)]
pub struct Admission {
    stations: BTreeMap<IpAddr, MacAddr>,
}

impl Admission {
    /// The other nodes, all of them. What no host can have is left out.
    pub fn set_stations(&mut self, stations: &[Station]) {
        let fit = stations.iter().filter(|station| {
            is_host(station.address) && !station.mac.is_zero() && station.mac.octets()[0] & 1 == 0
        });
        self.stations = fit.map(|station| (station.address, station.mac)).collect();
    }

    /// Their hardware addresses.
    pub fn macs(&self) -> impl Iterator<Item = MacAddr> {
        self.stations.values().copied()
    }

    /// Whether this may be done on a node with these addresses while there are so many other entries.
    ///
    /// # Errors
    /// Why not.
    pub fn admit(&self, entry: &Entry, own: &[IpNetwork], others: usize) -> Result<(), Refusal> {
        let Entry { vip, via, time } = *entry;
        let is_own = |address: IpAddr| own.iter().any(|prefix| prefix.ip() == address);
        if !is_host(vip) || !is_host(via) {
            return Err(Refusal::NoHost);
        }
        if Family::of(vip) != Family::of(via) || vip == via {
            return Err(Refusal::Mismatch);
        }
        if is_own(vip) || is_own(via) {
            return Err(Refusal::Own);
        }
        if !self.stations.contains_key(&via) {
            return Err(Refusal::NoNode);
        }
        if self.stations.contains_key(&vip) {
            return Err(Refusal::Node);
        }
        if !own
            .iter()
            .any(|prefix| is_link(prefix) && prefix.contains(via))
        {
            return Err(Refusal::NotOnLink);
        }
        if time.is_zero() || time > LONGEST {
            return Err(Refusal::Time);
        }
        if others >= MAX_ENTRIES {
            return Err(Refusal::Full);
        }
        Ok(())
    }
}

/// Whether other hosts can be there.
fn is_link(prefix: &IpNetwork) -> bool {
    match prefix {
        IpNetwork::V4(prefix) => prefix.prefix() < 32,
        IpNetwork::V6(prefix) => prefix.prefix() < 128,
    }
}

fn is_host(address: IpAddr) -> bool {
    let is_link_local = match address {
        IpAddr::V4(address) => address.is_link_local() || address.is_broadcast(),
        IpAddr::V6(address) => {
            address.is_unicast_link_local() || address.to_ipv4_mapped().is_some()
        }
    };
    let is_none = address.is_unspecified() || address.is_loopback() || address.is_multicast();
    let is_reserved = matches!(address, IpAddr::V4(address) if address.octets()[0] >= 240 || address.octets()[0] == 0);
    !is_link_local && !is_none && !is_reserved
}
