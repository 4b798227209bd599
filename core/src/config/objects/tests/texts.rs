//! What people read of an object.

use super::*;

/// All that is said of objects, each in a line.
fn told(objects: &[(Kind, &str, Json)]) -> String {
    let world = World::of(objects);
    let findings = world.compiled.findings.iter();
    findings.map(|one| format!("{one}\n")).collect()
}

#[test]
fn findings_say_what_where_and_what_to_do() {
    let all = told(&[
        (
            Kind::IpAddressPool,
            "lan",
            json!({ "addresses": ["192.168.64.20-192.168.64.10", "192.168.64.0/33", "10.0.0.9-20"] }),
        ),
        (
            Kind::IpAddressPool,
            "dmz",
            json!({ "addresses": ["10.9.0.0/24"], "autoAsign": true }),
        ),
        (
            Kind::IpAddressPool,
            "second",
            json!({ "addresses": ["10.9.0.200-10.9.1.10"] }),
        ),
        (
            Kind::IpAddressPool,
            "loop",
            json!({ "addresses": ["127.0.0.1/8"], "serviceAllocation": { "priority": -1 } }),
        ),
        (
            Kind::L2Advertisement,
            "first",
            json!({ "ipAddressPools": ["dzm", "lan"], "interfaces": ["eth0", "this/one"] }),
        ),
        (
            Kind::L2Advertisement,
            "twice",
            json!({ "nodeSelectors": [host("n1"), host("n1")] }),
        ),
        (
            Kind::BgpAdvertisement,
            "routes",
            json!({ "communities": ["far"], "aggregationLength": 8, "ipAddressPools": ["dmz"] }),
        ),
        (
            Kind::BgpPeer,
            "tor",
            json!({ "myASN": 64512, "peerASN": 64512, "peerAddress": "10.0.0.1", "ebgpMultiHop": true, "holdTime": "90" }),
        ),
        (Kind::BfdProfile, "slow", json!({ "receiveInterval": 5 })),
        (
            Kind::Community,
            "names",
            json!({ "communities": [{ "name": "far", "value": "65536:1" }] }),
        ),
    ]);
    insta::assert_snapshot!(all);
}
