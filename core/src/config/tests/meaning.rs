//! What a valid configuration means.

use std::time::Duration;

use super::{EVERYTHING, valid, with_addresses};
use crate::config::*;

#[test]
fn every_key_reaches_its_field() {
    let config = valid(EVERYTHING);
    insta::assert_debug_snapshot!(config);
}

#[test]
fn what_is_not_written_has_the_documented_default() {
    let config = valid(
        "peers: [{my-asn: 1, peer-asn: 2, peer-address: 10.0.0.1, hold-time: 10s}, {my-asn: 1, peer-asn: 2, peer-address: 10.0.0.2}]\n\
         address-pools:\n- {name: a, protocol: layer2, addresses: [10.0.0.1]}\n- {name: b, protocol: bgp, addresses: [10.0.0.2]}\n",
    );
    let [short, peer] = config.peers.as_slice() else {
        panic!("two peers")
    };
    assert_eq!((peer.port, peer.hold_time), (179, Duration::from_secs(90)));
    assert_eq!(peer.keepalive_time, Duration::from_secs(30));
    assert_eq!(
        short.keepalive_time,
        Duration::from_secs(10) / 3,
        "a third of the hold time"
    );
    let pool = config.pool("a").unwrap();
    assert!(pool.auto_assign && !pool.avoid_buggy_ips);
    assert_eq!(pool.priority, None);
    assert_eq!(pool.share_within, ShareWithin::Cluster);
    assert!(pool.allow_node_ports);
    let of = |name: &str| Scope {
        pools: [name.to_owned()].into(),
        pool_selectors: vec![],
        service_selectors: vec![],
        node_selectors: vec![],
    };
    let everywhere = Layer2Advertisement {
        name: "a".to_owned(),
        scope: of("a"),
        interfaces: vec![],
        preferred_nodes: vec![],
    };
    assert_eq!(
        config.layer2,
        [everywhere],
        "a pool of layer2 is one of them"
    );
    let expected = BgpAdvertisement {
        name: "b".to_owned(),
        peers: std::collections::BTreeSet::new(),
        scope: of("b"),
        route: RouteAttributes {
            aggregation_length: 32,
            aggregation_length_v6: 128,
            localpref: 0,
            as_path_prepend: 0,
            communities: vec![],
            large_communities: vec![],
        },
    };
    assert_eq!(config.bgp, [expected], "and one of bgp is announced once");
}

#[test]
fn entries_mean_the_addresses_that_they_meant_to_metallb() {
    let rows = [
        ("10.20.30.40/24", "10.20.30.0-10.20.30.255"),
        ("10.20.30.40/32", "10.20.30.40"),
        ("10.20.30.40/024", "10.20.30.0-10.20.30.255"),
        ("128.0.0.0/2", "128.0.0.0-191.255.255.255"),
        ("'10.0.0.1 - 10.0.0.5'", "10.0.0.1-10.0.0.5"),
        ("'10.0.0.1-10.0.0.5 '", "10.0.0.1-10.0.0.5"),
        ("192.168.064.004", "192.168.64.4"),
        ("2001:DB8::1/126", "2001:db8::-2001:db8::3"),
        ("2001:db8::1-2001:db8::1", "2001:db8::1"),
        ("::ffff:10.0.0.7/120", "10.0.0.0-10.0.0.255"),
        ("::ffff:10.0.0.7", "10.0.0.7"),
    ];
    for (entry, want) in rows {
        let config = valid(&with_addresses(&[entry]));
        assert_eq!(config.pools[0].ranges[0].to_string(), want, "{entry}");
    }
}

#[test]
fn capacity_leaves_out_what_avoid_buggy_ips_keeps_back() {
    let rows = [
        ("10.0.0.0/24", 254),
        ("10.0.0.0/16", 65_536 - 512),
        ("10.0.0.1-10.0.0.254", 254),
        ("10.0.0.0", 0),
        ("10.0.0.255-10.0.1.0", 0),
        ("fd00::/120", 256),
    ];
    for (entry, want) in rows {
        let text = with_addresses(&[entry]) + "  avoid-buggy-ips: true\n";
        assert_eq!(valid(&text).pools[0].capacity(), want, "{entry}");
    }
    let half = valid(&with_addresses(&["'8000::/2'", "10.0.0.1"])).pools[0].capacity();
    assert_eq!(half, (1 << 126) + 1);
}

#[test]
fn advertisements_may_aggregate_up_to_the_largest_prefix_of_each_range() {
    let text = |range: &str, length: u8| {
        format!(
            "address-pools:\n- name: a\n  protocol: bgp\n  addresses: [{range}]\n  \
             bgp-advertisements: [{{aggregation-length: {length}}}]\n"
        )
    };
    // 10.0.0.5, .6/31, .8/29, .16/31 are the prefixes of this range.
    let range = "10.0.0.5-10.0.0.17";
    valid(&text(range, 29));
    assert!(matches!(parse(&text(range, 28)), Outcome::Refused(_)));
    valid(&text("128.0.0.0/2", 2));
}
