//! `BGPPeer`.

use std::time::Duration;

use super::annotations::Annotations;
use super::read::{Manifest, Said};
use super::values::{selectors, spec};
use crate::config::fields::{Fields, boolean, integer, text};
use crate::config::peer::{
    BGP_PORT, DEFAULT_HOLD_TIME, asn, duration_node, hold_time, ip_address, keepalive_time,
    multihop, password, seconds,
};
use crate::config::pool::{INTERFACE_HELP, is_interface};
use crate::config::problem::{Report, quoted};
use crate::config::{Neighbour, Password, Peer, PeerAsn};

/// The first [`OLD`] are those of `v1beta1`; the others came with `v1beta2`.
const KEYS: [&str; 21] = [
    "myASN",
    "peerASN",
    "peerAddress",
    "sourceAddress",
    "peerPort",
    "holdTime",
    "keepaliveTime",
    "routerID",
    "nodeSelectors",
    "password",
    "bfdProfile",
    "ebgpMultiHop",
    "dynamicASN",
    "interface",
    "localASN",
    "connectTime",
    "passwordSecret",
    "enableGracefulRestart",
    "vrf",
    "dualStackAddressFamily",
    "disableMP",
];
const OLD: usize = 12;

pub(super) fn read(manifest: &Manifest<'_>, report: &mut Report<'_>) -> Option<Said> {
    let is_old = manifest.version.ends_with("/v1beta1");
    let keys = if is_old { &KEYS[..OLD] } else { &KEYS[..] };
    let fields = spec(manifest, "a BGPPeer", keys, report)?;
    Annotations::read(manifest, report);
    let my_asn = asn(&fields, "myASN", report);
    let peer_asn = peer_asn(&fields, is_old, report);
    let number = match peer_asn {
        Some(PeerAsn::Number(number)) => Some(number),
        _ => None,
    };
    let ebgp_multihop = multihop(&fields, "ebgpMultiHop", my_asn, number, report);
    let neighbour = neighbour(&fields, is_old, report);
    let mut address = |key| ip_address(fields.get(key)?, key, report);
    let (source_address, router_id) = (address("sourceAddress"), address("routerID"));
    let mut whole = |key, range| integer(fields.get(key)?, key, range, report);
    let port = whole("peerPort", 0..=u32::from(u16::MAX));
    let local_asn = whole("localASN", 1..=u32::MAX);
    let (hold_time, keepalive_time) = times(&fields, report);
    let connect_time = connect_time(&fields, report);
    let node_selectors = selectors(&fields, "nodeSelectors", report);
    let (password, password_secret) = passwords(&fields, report);
    let mut word = |key| text(fields.get(key)?, key, report).filter(|text| !text.is_empty());
    let bfd_profile = word("bfdProfile").map(str::to_owned);
    let vrf = word("vrf").unwrap_or_default().to_owned();
    let mut flag = |key| fields.get(key).and_then(|node| boolean(node, key, report)) == Some(true);
    let graceful_restart = flag("enableGracefulRestart");
    let dual_stack = flag("dualStackAddressFamily");
    // Deprecated: it says what is the default by now.
    flag("disableMP");
    let one = Peer {
        name: manifest.object.name.clone(),
        my_asn: my_asn?,
        peer_asn: peer_asn?,
        local_asn,
        neighbour: neighbour?,
        source_address,
        port: port
            .and_then(|port| u16::try_from(port).ok())
            .filter(|port| *port != 0)
            .unwrap_or(BGP_PORT),
        hold_time,
        keepalive_time,
        connect_time,
        router_id,
        node_selectors,
        password: Password::new(password),
        password_secret,
        bfd_profile,
        ebgp_multihop,
        graceful_restart,
        vrf,
        dual_stack,
    };
    Some(Said::Peer {
        one: Box::new(one),
        profile: report.place(&fields.key_span("bfdProfile")),
    })
}

/// Reports two keys of which only one can be there. Returns whether that is so.
fn are_both(fields: &Fields<'_>, keys: [&str; 2], report: &mut Report<'_>) -> bool {
    let are_both = keys.iter().all(|key| fields.get(key).is_some());
    if are_both {
        let [first, second] = keys;
        report.add(
            &fields.key_span(second),
            format!("`{second}` beside `{first}`"),
            "remove one of the two",
        );
    }
    are_both
}

fn peer_asn(fields: &Fields<'_>, is_old: bool, report: &mut Report<'_>) -> Option<PeerAsn> {
    let [number, dynamic] = ["peerASN", "dynamicASN"];
    // Zero is how an AS number is left out.
    let is_zero = |text: &str| text.trim_start_matches('0').is_empty();
    let dynamic_node = fields.get(dynamic).filter(|_| !is_old);
    let dynamic_node =
        dynamic_node.filter(|node| node.scalar().is_none_or(|one| !one.text.is_empty()));
    let Some(node) = dynamic_node else {
        return asn(fields, number, report).map(PeerAsn::Number);
    };
    let scalar = fields.get(number).and_then(|node| node.scalar());
    if !scalar.is_some_and(|scalar| is_zero(&scalar.text))
        && are_both(fields, [number, dynamic], report)
    {
        return None;
    }
    match text(node, dynamic, report)? {
        "internal" => Some(PeerAsn::Internal),
        "external" => Some(PeerAsn::External),
        word => {
            let message = format!(
                "`{dynamic}` must be internal or external, not {}",
                quoted(word)
            );
            report.add(
                &node.span,
                message,
                "write `internal` for our own AS number, else `external`",
            );
            None
        }
    }
}

fn neighbour(fields: &Fields<'_>, is_old: bool, report: &mut Report<'_>) -> Option<Neighbour> {
    let [address, interface] = ["peerAddress", "interface"];
    let is_blank = |key: &str| {
        let scalar = fields.get(key).map(|node| node.scalar());
        scalar.is_none_or(|scalar| scalar.is_some_and(|scalar| scalar.text.is_empty()))
    };
    if is_old || is_blank(interface) {
        let node = fields.require(address, "write the router's address", report)?;
        return ip_address(node, address, report).map(Neighbour::Address);
    }
    if !is_blank(address) && are_both(fields, [address, interface], report) {
        return None;
    }
    let node = fields.get(interface)?;
    let name = text(node, interface, report)?;
    if !is_interface(name) {
        let message = format!("{} cannot be an interface", quoted(name));
        report.add(&node.span, message, INTERFACE_HELP);
    }
    Some(Neighbour::Interface(name.to_owned()))
}

/// Hold time and time between keepalives: one alone gives the other.
fn times(fields: &Fields<'_>, report: &mut Report<'_>) -> (Duration, Duration) {
    let hold = hold_time(fields, "holdTime", report);
    let keepalive = keepalive_time(fields, "keepaliveTime", hold, report);
    match (hold, keepalive) {
        (Some(hold), keepalive) => (hold, keepalive.unwrap_or(hold / 3)),
        (None, Some(keepalive)) => (keepalive.saturating_mul(3), keepalive),
        (None, None) => (DEFAULT_HOLD_TIME, DEFAULT_HOLD_TIME / 3),
    }
}

/// Whole seconds, 1 to 65,535.
fn connect_time(fields: &Fields<'_>, report: &mut Report<'_>) -> Option<Duration> {
    let key = "connectTime";
    let node = duration_node(fields, key)?;
    let time = seconds(node, key, report)?;
    if !(1..=u64::from(u16::MAX)).contains(&time.as_secs()) {
        let message = format!("`{key}` must be from 1 s to 65535 s");
        report.add(&node.span, message, format!("write `{key}: 10s`"));
    }
    Some(time)
}

/// The password, or the name of its Secret.
fn passwords(fields: &Fields<'_>, report: &mut Report<'_>) -> (String, Option<String>) {
    let node = fields.get("password");
    let password = node.and_then(|node| password(fields, node, report));
    let password = password.unwrap_or_default();
    let key = "passwordSecret";
    let secret = fields.get(key).and_then(|node| {
        let what = format!("`{key}`");
        let fields = Fields::read(node, &what, &["name", "namespace"], report)?;
        let name = text(fields.get("name")?, "name", report)?;
        (!name.is_empty()).then(|| name.to_owned())
    });
    if secret.is_some() && !password.is_empty() {
        let message = format!("`{key}` beside `password`");
        report.add(&fields.key_span(key), message, "remove `password`");
    }
    (password, secret)
}
