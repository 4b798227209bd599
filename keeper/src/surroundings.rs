//! What this process may do, and what its node is like.

use std::fs;
use std::net::IpAddr;

use anyhow::Context as _;
use ipnetwork::IpNetwork;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::SockaddrStorage;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_no_new_privs,
};

const LOOSE: &str = "/proc/sys/net/netfilter/nf_conntrack_tcp_loose";

/// Gives up every right but `CAP_NET_ADMIN`, for good. Whether that one is there: without it there is nothing
/// to do.
///
/// # Errors
/// The kernel does not let it go.
pub fn keep_net_admin_only() -> anyhow::Result<bool> {
    let known = capabilities(None).context("cannot read the capabilities of this process")?;
    let admin = known.permitted & CapabilitySet::NET_ADMIN;
    set_no_new_privs(true).context("cannot set no_new_privs")?;
    let sets = CapabilitySets {
        effective: admin,
        permitted: admin,
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, sets).context("cannot drop the other capabilities")?;
    Ok(!admin.is_empty())
}

/// Whether connection tracking takes packets in the middle of a connection for the begin of one. A kernel
/// that does not tell does: it is the default.
#[must_use]
pub fn is_loose() -> bool {
    fs::read_to_string(LOOSE).map_or(true, |text| text.trim() != "0")
}

/// The addresses of this node, with their prefixes.
///
/// # Errors
/// The kernel does not tell.
pub fn own_addresses() -> anyhow::Result<Vec<IpNetwork>> {
    let all = getifaddrs().context("cannot list the addresses of this node")?;
    let own = all.filter_map(|one| {
        let address = ip(&one.address?)?;
        let mask = one.netmask.as_ref().and_then(ip);
        let network = mask.map(|mask| IpNetwork::with_netmask(address, mask));
        network.unwrap_or_else(|| Ok(address.into())).ok()
    });
    Ok(own.collect())
}

fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|it| it.ip().into());
    v4.or_else(|| address.as_sockaddr_in6().map(|it| it.ip().into()))
}
