//! `peers`: BGP routers.

use std::net::IpAddr;
use std::time::Duration;

use super::fields::{Fields, boolean, integer, list, text};
use super::place::Span;
use super::problem::{Report, quoted};
use super::selector::metallbs_selectors;
use super::tree::Node;
use super::{BfdProfile, Neighbour, Password, Peer, PeerAsn, duration, keys};
use crate::address::canonical;
use crate::suggest::nearest;

pub(super) const BGP_PORT: u16 = 179;
pub(super) const DEFAULT_HOLD_TIME: Duration = Duration::from_secs(90);
/// RFC 4271 §4.2: zero or at least three seconds.
const MIN_HOLD_TIME: Duration = Duration::from_secs(3);

/// Reads `peers`.
pub(super) fn peers(node: &Node, profiles: &[BfdProfile], report: &mut Report<'_>) -> Vec<Peer> {
    let mut peers: Vec<(Peer, Span)> = Vec::new();
    for item in list(node, "peers", report) {
        let Some(peer) = peer(item, profiles, report) else {
            continue;
        };
        if let Some((_, first)) = peers.iter().find(|(have, _)| *have == peer) {
            let message = format!("the same peer is already there {}", report.beside(first));
            let help = "remove one of the two";
            report.add_related(&item.headline(), message, help, (first, "first here"));
        }
        peers.push((peer, item.headline()));
    }
    peers.into_iter().map(|(peer, _)| peer).collect()
}

fn peer(node: &Node, profiles: &[BfdProfile], report: &mut Report<'_>) -> Option<Peer> {
    let fields = Fields::read(node, "a peer", keys::PEER, report)?;
    let my_asn = asn(&fields, "my-asn", report);
    let peer_asn = asn(&fields, "peer-asn", report);
    let address = fields.require("peer-address", "write the router's address", report);
    let address = address.and_then(|node| ip_address(node, "peer-address", report));
    let source_address = fields
        .get("source-address")
        .and_then(|node| ip_address(node, "source-address", report));
    // Zero is the default, as it was for the Go library.
    let port = fields
        .get("peer-port")
        .and_then(|node| integer(node, "peer-port", 0..=u16::MAX, report));
    let router_id = fields
        .get("router-id")
        .and_then(|node| ip_address(node, "router-id", report));
    let hold_time = hold_time(&fields, "hold-time", report).unwrap_or(DEFAULT_HOLD_TIME);
    let keepalive_time = keepalive_time(&fields, "keepalive-time", Some(hold_time), report);
    let keepalive_time = keepalive_time.unwrap_or(hold_time / 3);
    let node_selectors = fields.get("node-selectors");
    let node_selectors =
        node_selectors.map(|node| metallbs_selectors(node, "node-selectors", report));
    let password = fields
        .get("password")
        .and_then(|node| password(&fields, node, report));
    let bfd_profile = fields
        .get("bfd-profile")
        .and_then(|node| bfd_profile(node, profiles, report));
    let ebgp_multihop = multihop(&fields, "ebgp-multihop", my_asn, peer_asn, report);
    Some(Peer {
        name: String::new(),
        my_asn: my_asn?,
        peer_asn: PeerAsn::Number(peer_asn?),
        local_asn: None,
        neighbour: Neighbour::Address(address?),
        source_address,
        port: port.filter(|port| *port != 0).unwrap_or(BGP_PORT),
        hold_time,
        keepalive_time,
        connect_time: None,
        router_id,
        node_selectors: node_selectors.unwrap_or_default(),
        password: Password::new(password.unwrap_or_default()),
        password_secret: None,
        bfd_profile,
        ebgp_multihop,
        graceful_restart: false,
        vrf: String::new(),
        dual_stack: false,
    })
}

/// Several hops to a router of another AS.
pub(super) fn multihop(
    fields: &Fields<'_>,
    key: &str,
    my_asn: Option<u32>,
    peer_asn: Option<u32>,
    report: &mut Report<'_>,
) -> bool {
    let node = fields.get(key);
    let is_set = node.and_then(|node| boolean(node, key, report)) == Some(true);
    if is_set && my_asn.is_some() && my_asn == peer_asn {
        report.add(
            &fields.key_span(key),
            format!("`{key}` between equal AS numbers, which is iBGP"),
            format!("remove `{key}`, or correct the AS number of the router"),
        );
    }
    is_set
}

/// The AS number under `key`, which must be there.
pub(super) fn asn(fields: &Fields<'_>, key: &str, report: &mut Report<'_>) -> Option<u32> {
    let node = fields.require(key, "write the AS number, for example 64512", report)?;
    integer(node, key, 1..=u32::MAX, report)
}

/// An address; blank means absent.
pub(super) fn ip_address(node: &Node, key: &str, report: &mut Report<'_>) -> Option<IpAddr> {
    let text = text(node, key, report)?;
    if text.is_empty() && key != "peer-address" {
        return None;
    }
    let address = canonical(text);
    if address.is_none() {
        let message = format!("{} is not an IP address", quoted(text));
        report.add(
            &node.span,
            message,
            format!("write an IPv4 or IPv6 address as `{key}`"),
        );
    }
    address
}

pub(super) fn seconds(node: &Node, key: &str, report: &mut Report<'_>) -> Option<Duration> {
    duration::seconds(text(node, key, report)?, key, &node.span, report)
}

pub(super) fn duration_node<'n>(fields: &Fields<'n>, key: &str) -> Option<&'n Node> {
    fields
        .get(key)
        .filter(|node| node.scalar().is_none_or(|scalar| !scalar.text.is_empty()))
}

/// The hold time under `key`, if there is one.
pub(super) fn hold_time(
    fields: &Fields<'_>,
    key: &str,
    report: &mut Report<'_>,
) -> Option<Duration> {
    let node = duration_node(fields, key)?;
    let time = seconds(node, key, report)?;
    if time != Duration::ZERO && time < MIN_HOLD_TIME {
        report.add(
            &node.span,
            "a hold time below 3 s",
            "write `0` for none, or `3s` or more",
        );
    }
    Some(time)
}

/// The time between keepalives under `key`, if there is one. It goes with that hold time, if there is one.
pub(super) fn keepalive_time(
    fields: &Fields<'_>,
    key: &str,
    hold_time: Option<Duration>,
    report: &mut Report<'_>,
) -> Option<Duration> {
    let node = duration_node(fields, key)?;
    let time = seconds(node, key, report)?;
    if let Some(hold_time) = hold_time.filter(|hold_time| time > *hold_time) {
        let third = (hold_time / 3).as_secs();
        report.add(
            &node.span,
            format!(
                "keepalives further apart than the hold time of {} s",
                hold_time.as_secs()
            ),
            format!("write `{key}: {third}s`, a third of it, or remove the line"),
        );
    }
    Some(time)
}

/// Never points at the value: a password must not get into a log.
pub(super) fn password(
    fields: &Fields<'_>,
    node: &Node,
    report: &mut Report<'_>,
) -> Option<String> {
    if let Some(scalar) = node.scalar() {
        return Some(scalar.text.clone());
    }
    let message = format!("`password` must be a text, not {}", node.kind());
    report.add(
        &fields.key_span("password"),
        message,
        "write `password: \"TEXT\"`",
    );
    None
}

fn bfd_profile(node: &Node, profiles: &[BfdProfile], report: &mut Report<'_>) -> Option<String> {
    let name = text(node, "bfd-profile", report).filter(|name| !name.is_empty())?;
    if !profiles.iter().any(|profile| profile.name == name) {
        let help = nearest(name, profiles.iter().map(|profile| profile.name.as_str())).map_or_else(
            || "add it to `bfd-profiles`, or remove the line".to_owned(),
            |profile| format!("did you mean `{profile}`?"),
        );
        report.add(
            &node.span,
            format!("no BFD profile is called {}", quoted(name)),
            help,
        );
    }
    Some(name.to_owned())
}
