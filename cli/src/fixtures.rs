//! What the tests of several verbs show.

use ferrolb_core::dead::DeadNodesStatus;
use ferrolb_core::keep::shown::{KeepingStatus, KeptStatus};
use ferrolb_core::report::{
    ConfigurationStatus, ControllerStatus, Explained, MemberStatus, ObjectStatus, PoolStatus,
    ServiceStatus,
};
use serde::Serialize;
use serde_json::json;

use crate::election::ServiceFixture;
use crate::output::{Format, Output};
use crate::speaker::Said;
use crate::terminal::Terminal;

/// A Service with pods on two nodes.
pub(crate) const WEB: ServiceFixture<'static> = ServiceFixture {
    name: "web",
    address: "192.168.64.240",
    policy: "Cluster",
    pods_on: &["n1", "n2"],
    asks_for: None,
};

/// What a controller says of node n2, found dead by n1 and n3: its state, and why.
pub(crate) fn found_dead(state: &str, reason: Option<&str>) -> DeadNodesStatus {
    let pods = if state == "removed" { 2 } else { 0 };
    let pods: Vec<_> = (0..pods).map(|n| format!("shop/web-{n}")).collect();
    serde_json::from_value(json!({ "nodes": [{
        "node": "n2", "foundBy": ["n1", "n3"], "since": "2026-11-25T18:00:00Z", "state": state,
        "reason": reason, "pods": pods, "services": ["shop/web"],
        "left": [{ "pod": "shop/only-0", "reason": "last_endpoint" }],
    }] }))
    .expect("a status")
}

/// A controller with two pools and three Services; one waits.
pub(crate) fn controller() -> ControllerStatus {
    let pool = |name: &str, range: &str, total, used, first: Option<&str>| PoolStatus {
        name: name.to_owned(),
        protocol: "layer2".to_owned(),
        auto_assign: true,
        ranges: vec![range.to_owned()],
        total,
        used,
        free: total - used,
        first_free: first.map(str::to_owned).into_iter().collect(),
        left_out: Vec::new(),
    };
    let service = |name: &str, address: Option<&str>, pool: Option<&str>| ServiceStatus {
        namespace: "shop".to_owned(),
        name: name.to_owned(),
        addresses: address.map(str::to_owned).into_iter().collect(),
        pool: pool.map(str::to_owned),
        problem: None,
    };
    ControllerStatus {
        version: "0.1.0".to_owned(),
        instance: "ferrolb-controller-7d9f-x2x".to_owned(),
        leading: true,
        leader: Some("ferrolb-controller-7d9f-x2x".to_owned()),
        blockers: Vec::new(),
        limits: Vec::new(),
        configuration: ConfigurationStatus {
            source: "metallb-system/config".to_owned(),
            loaded: true,
            problem: None,
            from: None,
            objects: Vec::new(),
            waits_for: Vec::new(),
        },
        pools: vec![
            pool("default", "192.168.64.240-192.168.64.241", 2, 2, None),
            pool("six", "fd00:64::-fd00:64::ff", 256, 0, Some("fd00:64::")),
        ],
        services: vec![
            service("api", Some("192.168.64.240"), Some("default")),
            service("web", Some("192.168.64.241"), Some("default")),
            ServiceStatus {
                problem: Some(exhausted()),
                ..service("worker", None, None)
            },
        ],
        dead_nodes: None,
    }
}

/// What is said of an IPAddressPool.
pub(crate) fn object_status(
    name: &str,
    reason: &str,
    refused: bool,
    former_in_force: bool,
) -> ObjectStatus {
    ObjectStatus {
        kind: "IPAddressPool".to_owned(),
        namespace: "metallb-system".to_owned(),
        name: name.to_owned(),
        refused,
        former_in_force,
        reason: reason.to_owned(),
        message: "spec.addresses[0]: why: what to do".to_owned(),
    }
}

pub(crate) fn exhausted() -> Explained {
    Explained {
        reason: "pool_exhausted".into(),
        message: "no IPv4 address is left in pool default: add addresses to it, or delete a \
                  Service that it serves"
            .to_owned(),
    }
}

/// An address that [`said`] is about.
pub(crate) const ANNOUNCED: &str = "192.168.64.241";

/// What the speakers of nodes say of [`ANNOUNCED`]: `None` if they announce it, else why not.
pub(crate) fn said(nodes: &[(&str, Option<&str>)]) -> Said {
    said_of(ANNOUNCED, nodes)
}

/// The same of another address.
pub(crate) fn said_of(address: &str, nodes: &[(&str, Option<&str>)]) -> Said {
    let mut said = Vec::new();
    for (node, reason) in nodes {
        let status = json!({
            "node": node,
            "version": "0.1.0",
            "isolated": false,
            "members": [],
            "vips": [{
                "address": address,
                "services": ["shop/web"],
                "announcedHere": reason.is_none(),
                "reason": reason,
            }],
        });
        let status = serde_json::from_value(status).map_err(Into::into);
        said.push(((*node).to_owned(), status));
    }
    said
}

/// What the only speaker says, on n1, which announces all of `addresses`.
pub(crate) fn announcing(addresses: &[&str]) -> Said {
    let vips: Vec<_> = addresses
        .iter()
        .map(|address| json!({ "address": address, "services": [], "announcedHere": true }))
        .collect();
    let status = json!({
        "node": "n1", "version": "0.1.0", "isolated": false, "members": [], "vips": vips,
    });
    vec![(
        "n1".to_owned(),
        serde_json::from_value(status).map_err(Into::into),
    )]
}

/// What the only speaker that answers says of its members: each with its standing. Who is gone has been
/// for 3.2 s.
pub(crate) fn vouching(node: &str, members: &[(&str, &str)]) -> Said {
    let members = members.iter().map(|(node, standing)| {
        json!({
            "node": node, "address": "192.168.64.13", "mac": "02:00:00:00:00:0d",
            "standing": standing, "verdict": (*standing == "gone").then_some("node"),
            "incarnation": 1, "heardMillisAgo": 3_200, "addresses": 0,
        })
    });
    let status = json!({
        "node": node, "version": "0.1.0", "isolated": false, "members": members.collect::<Vec<_>>(),
        "vips": [],
    });
    let status = serde_json::from_value(status).map_err(Into::into);
    vec![(node.to_owned(), status)]
}

/// A member as a speaker tells of it: 20 ms after a datagram if it is live, else 3.2 s after.
pub(crate) fn member(
    node: &str,
    standing: &str,
    verdict: Option<&str>,
    reason: Option<&str>,
) -> MemberStatus {
    let heard = if standing == "live" { 20 } else { 3_200 };
    serde_json::from_value(json!({
        "node": node, "address": "192.168.64.13", "mac": "02:00:00:00:00:0d", "standing": standing,
        "verdict": verdict, "incarnation": 1, "heardMillisAgo": heard, "addresses": 0,
        "reason": reason,
    }))
    .expect("a member")
}

/// One that is heard.
pub(crate) fn heard(node: &str) -> MemberStatus {
    member(node, "live", None, None)
}

/// One whose node is up and whose speaker cannot be heard: its process was found away, and its kernel answers.
pub(crate) fn blocked(node: &str) -> MemberStatus {
    member(node, "gone", Some("stalled"), Some("peer_blocked"))
}

/// A keeper that passes connections of these addresses on: each with the node that has them, and packets so far.
pub(crate) fn passing_on(addresses: &[(&str, &str, u64)]) -> KeepingStatus {
    let addresses = addresses.iter().map(|(address, from, packets)| KeptStatus {
        address: address.parse().unwrap(),
        from: (*from).to_owned(),
        seconds_left: 560,
        packets: *packets,
        idle_seconds: 7,
    });
    KeepingStatus {
        ready: true,
        problem: None,
        max_seconds: 600,
        addresses: addresses.collect(),
    }
}

/// One that cannot.
pub(crate) fn unable() -> KeepingStatus {
    KeepingStatus {
        ready: false,
        problem: Some("the keeper cannot be reached: no such file".to_owned()),
        ..passing_on(&[])
    }
}

/// What programs are told.
pub(crate) fn as_data(output: Output, answer: &impl Serialize) -> String {
    printed(|out| Format { output }.print(out, answer, |_| Ok(())))
}

/// What `print` prints, without colours.
pub(crate) fn printed(print: impl FnOnce(&mut Terminal<Vec<u8>>) -> anyhow::Result<()>) -> String {
    let mut out = Terminal::new(Vec::new());
    print(&mut out).unwrap();
    let printed = String::from_utf8(out.into_inner()).unwrap();
    anstream::adapter::strip_str(&printed).to_string()
}
