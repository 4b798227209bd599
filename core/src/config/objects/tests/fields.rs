//! Each field of each kind.

use std::time::Duration;

use super::*;
use crate::config::{Neighbour, Peer, PeerAsn, ShareWithin};

fn only<T>(all: &[T]) -> &T {
    let [one] = all else {
        panic!("{} instead of one", all.len())
    };
    one
}

#[test]
fn every_field_reaches_its_place() {
    let node = json!([{ "matchLabels": { "a": "b" }, "matchExpressions": [
        { "key": "c", "operator": "NotIn", "values": ["d"] }, { "key": "e", "operator": "Exists" }] }]);
    let mut world = World::of(&[
        (
            Kind::IpAddressPool,
            "pool",
            json!({
                "addresses": ["192.168.64.10-192.168.64.20", "fd00:64::/120"], "autoAssign": false, "avoidBuggyIPs": true,
                "serviceAllocation": { "priority": 7, "namespaces": ["shop"], "namespaceSelectors": node, "serviceSelectors": node },
            }),
        ),
        (
            Kind::L2Advertisement,
            "l2",
            json!({
                "ipAddressPools": ["pool"], "ipAddressPoolSelectors": node, "nodeSelectors": node, "interfaces": ["eth0"],
                "serviceSelectors": node, "preferredNodeSelectors": [{ "weight": 3, "preference": { "matchLabels": { "a": "b" } } }],
            }),
        ),
        (
            Kind::BgpAdvertisement,
            "bgp",
            json!({
                "aggregationLength": 32, "aggregationLengthV6": 128, "localPref": 100, "asPathPrepend": 3, "communities": ["far", "large:1:2:3"],
                "ipAddressPools": ["pool"], "ipAddressPoolSelectors": node, "nodeSelectors": node, "peers": ["peer"],
                "serviceSelectors": node,
            }),
        ),
        (
            Kind::BgpPeer,
            "peer",
            json!({
                "myASN": 64512, "dynamicASN": "external", "localASN": 64513, "interface": "eth1", "sourceAddress": "10.0.0.2",
                "routerID": "10.0.0.3", "peerPort": 1179, "holdTime": "30s", "keepaliveTime": "10s", "connectTime": "5s",
                "nodeSelectors": node, "passwordSecret": { "name": "secret", "namespace": "x" }, "bfdProfile": "bfd",
                "enableGracefulRestart": true, "ebgpMultiHop": true, "vrf": "red", "dualStackAddressFamily": true, "disableMP": true,
            }),
        ),
        (
            Kind::BfdProfile,
            "bfd",
            json!({
                "receiveInterval": 50, "transmitInterval": 60, "echoInterval": 70, "detectMultiplier": 5, "minimumTtl": 254,
                "echoMode": true, "passiveMode": true,
            }),
        ),
        (
            Kind::Community,
            "names",
            json!({ "communities": [{ "name": "far", "value": "1:2" }] }),
        ),
    ]);
    let pool = world
        .views
        .get_mut(&(Kind::IpAddressPool, "pool".to_owned()))
        .unwrap();
    pool.labels = labels(&[("a", "b"), ("e", "")]);
    pool.annotations = [
        ("ferrolb.io/share-within", "namespace"),
        ("ferrolb.io/allow-node-ports", "false"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    world.compile();
    assert_eq!(world.compiled.findings, []);
    insta::assert_debug_snapshot!(world.compiled.config);
}

#[test]
fn annotations_of_ours_say_what_keys_of_the_configmap_say() {
    let with = |all: &[(&str, &str)]| {
        let mut world = World::of(&[lan("p1"), l2("l", Json::Null)]);
        let view = world
            .views
            .get_mut(&(Kind::IpAddressPool, "p1".to_owned()))
            .unwrap();
        view.annotations = all
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        world.compile();
        world
    };
    let plain = with(&[("unrelated/thing", "x")]);
    assert_eq!(plain.said("p1"), [""; 0]);
    assert_eq!(plain.pool("p1").unwrap().share_within, ShareWithin::Cluster);
    assert!(plain.pool("p1").unwrap().allow_node_ports);
    let wrong = [
        (
            "ferrolb.io/share-within",
            "nmespace",
            "must be namespace or cluster, not `nmespace`: did you mean `namespace`?",
        ),
        (
            "ferrolb.io/allow-node-ports",
            "perhaps",
            "must be true or false, not `perhaps`: write `ferrolb.io/allow-node-ports: true`",
        ),
    ];
    for (name, value, words) in wrong {
        let said = with(&[(name, value)]).said("p1").concat();
        let start =
            format!("former config_refused: metadata.annotations[{name}]: `{name}` {words}");
        assert!(said.starts_with(&start), "{said}");
    }
    let said = with(&[("ferrolb.io/share-wihtin", "namespace")])
        .said("p1")
        .concat();
    assert!(
        said.starts_with("warning config_warning")
            && said.contains("did you mean `ferrolb.io/share-within`?"),
        "{said}"
    );
}

#[test]
fn a_field_of_a_newer_metallb_is_a_warning() {
    let rows = [
        (
            Kind::IpAddressPool,
            json!({ "addresses": ["10.0.0.1"], "autoAsign": false }),
            "did you mean `autoAssign`?",
        ),
        (
            Kind::IpAddressPool,
            json!({ "addresses": ["10.0.0.1"], "futureThing": {} }),
            "FerroLB does not know this field",
        ),
        (
            Kind::IpAddressPool,
            json!({ "addresses": ["10.0.0.1"], "serviceAllocation": { "namespace": [] } }),
            "did you mean `namespaces`?",
        ),
        (
            Kind::L2Advertisement,
            json!({ "nodeSelectors": [{ "matchLabel": {} }] }),
            "did you mean `matchLabels`?",
        ),
        (
            Kind::BgpAdvertisement,
            json!({ "localpreference": 1 }),
            "has no field `localpreference`",
        ),
        (
            Kind::BgpPeer,
            json!({ "myASN": 1, "peerASN": 2, "peerAddress": "10.0.0.1", "holdtimes": "3s" }),
            "did you mean `holdTime`?",
        ),
        (
            Kind::BfdProfile,
            json!({ "minimumTTLs": 1 }),
            "has no field `minimumTTLs`",
        ),
        (
            Kind::Community,
            json!({ "communities": [], "more": 1 }),
            "has no field `more`",
        ),
    ];
    for (kind, spec, words) in rows {
        let world = World::of(&[(kind, "o", spec.clone())]);
        assert!(!world.is_refused("o"), "{spec}");
        let said = world.said("o").concat();
        assert!(
            said.contains("warning config_warning: ") && said.contains(words),
            "{said}"
        );
    }
    // What has to be there is missing, whatever an unknown field looks like.
    let world = World::of(&[(
        Kind::IpAddressPool,
        "o",
        json!({ "adresses": ["10.0.0.1"] }),
    )]);
    assert!(world.is_refused("o"));
}

#[test]
fn an_unknown_version_is_refused_and_a_password_secret_is_not_of_the_old_one() {
    let mut world = World::of(&[]);
    let spec = json!({ "myASN": 1, "peerASN": 2, "peerAddress": "10.0.0.1", "vrf": "red" });
    for (version, is_refused, vrf) in [
        ("v1beta2", false, "red"),
        ("v1beta1", false, ""),
        ("v1beta3", true, ""),
    ] {
        world.views.clear();
        world.set(Kind::BgpPeer, "r", spec.clone()).api_version = format!("metallb.io/{version}");
        world.compile();
        assert_eq!(world.is_refused("r"), is_refused, "{version}");
        let peer = world.compiled.config.peers.first();
        assert_eq!(
            peer.map(|peer| peer.vrf.as_str()).unwrap_or_default(),
            vrf,
            "{version}"
        );
    }
    assert!(
        world
            .said("r")
            .concat()
            .contains("write `apiVersion: metallb.io/v1beta2`")
    );
}

fn peer(extra: &Json) -> Result<Peer, String> {
    let mut spec = json!({ "myASN": 64512, "peerASN": 64513, "peerAddress": "10.0.0.1" });
    for (key, value) in extra.as_object().unwrap() {
        spec[key] = value.clone();
    }
    let world = World::of(&[(Kind::BgpPeer, "r", spec)]);
    if world.is_refused("r") {
        return Err(world.said("r").concat());
    }
    Ok(only(&world.compiled.config.peers).clone())
}

#[test]
fn routers_are_read_as_metallb_reads_them() {
    let seconds = Duration::from_secs;
    let rows = [
        (json!({}), seconds(90), seconds(30)),
        (json!({ "holdTime": "30s" }), seconds(30), seconds(10)),
        (json!({ "keepaliveTime": "5s" }), seconds(15), seconds(5)),
        (
            json!({ "holdTime": "1m30s", "keepaliveTime": "10s" }),
            seconds(90),
            seconds(10),
        ),
        (json!({ "holdTime": "0s" }), seconds(0), seconds(0)),
        (
            json!({ "holdTime": "", "keepaliveTime": "" }),
            seconds(90),
            seconds(30),
        ),
    ];
    for (extra, hold, keepalive) in rows {
        let peer = peer(&extra).unwrap();
        assert_eq!(
            (peer.hold_time, peer.keepalive_time),
            (hold, keepalive),
            "{extra}"
        );
    }
    assert_eq!(peer(&json!({})).unwrap().peer_asn, PeerAsn::Number(64513));
    assert_eq!(peer(&json!({})).unwrap().port, 179);
    assert_eq!(peer(&json!({ "peerPort": 0 })).unwrap().port, 179);
    let internal = peer(&json!({ "peerASN": 0, "dynamicASN": "internal" })).unwrap();
    assert_eq!(internal.peer_asn, PeerAsn::Internal);
    let unnumbered = peer(&json!({ "peerAddress": "", "interface": "eth0" })).unwrap();
    assert_eq!(
        unnumbered.neighbour,
        Neighbour::Interface("eth0".to_owned())
    );
}

#[test]
fn routers_that_metallb_refuses_are_refused() {
    let rows = [
        json!({ "myASN": 0 }),
        json!({ "peerASN": 0 }),
        json!({ "peerASN": 4_294_967_296_u64 }),
        json!({ "dynamicASN": "internal" }),
        json!({ "peerASN": 0, "dynamicASN": "both" }),
        json!({ "peerAddress": "" }),
        json!({ "peerAddress": "10.0.0.300" }),
        json!({ "interface": "eth0" }),
        json!({ "sourceAddress": "x" }),
        json!({ "routerID": "x" }),
        json!({ "peerPort": 70_000 }),
        json!({ "holdTime": "2s" }),
        json!({ "holdTime": 90 }),
        json!({ "holdTime": "10s", "keepaliveTime": "11s" }),
        json!({ "connectTime": "0s" }),
        json!({ "connectTime": "70000s" }),
        json!({ "password": "x", "passwordSecret": { "name": "s" } }),
        json!({ "peerASN": 64512, "ebgpMultiHop": true }),
        json!({ "localASN": 0 }),
    ];
    for extra in rows {
        assert!(peer(&extra).is_err(), "{extra}");
    }
}
