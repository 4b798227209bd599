//! Null where Go's YAML library put the zero value: in a list an entry with all its defaults, or the
//! empty text; under a key nothing.

use super::*;

fn bgp(lines: &str) -> String {
    format!(
        "peers:\n- {{my-asn: 1, peer-asn: 2, peer-address: 10.0.0.1}}\naddress-pools:\n- name: a\n  \
         protocol: bgp\n  addresses: [10.0.0.0/24]\n{lines}"
    )
}

#[test]
fn an_advertisement_that_is_null_is_the_default_one() {
    let default = valid(&bgp("")).bgp;
    assert_eq!(default.len(), 1);
    assert_eq!(default[0].route, RouteAttributes::default());
    for written in ["[null]", "[~]", "[{}]", "[Null]", "\n  -", "null", "[]"] {
        let config = valid(&bgp(&format!("  bgp-advertisements: {written}\n")));
        assert_eq!(config.bgp, default, "{written}");
    }
    let with_another = bgp("  bgp-advertisements: [{localpref: 7}, null]\n");
    let advertisements = valid(&with_another).bgp;
    assert_eq!(advertisements.len(), 2);
    assert_eq!(advertisements[1].route, RouteAttributes::default());
}

#[test]
fn a_selector_of_a_peer_that_is_null_selects_every_node() {
    let peer = |selectors: &str| {
        let text = bgp("").replace(
            "10.0.0.1}",
            &format!("10.0.0.1, node-selectors: {selectors}}}"),
        );
        valid(&text).peers.remove(0).node_selectors
    };
    assert_eq!(peer("[null]"), peer("[{}]"));
    assert_eq!(peer("null"), []);
    assert_eq!(
        peer("[{match-labels: null, match-expressions: null}]"),
        peer("[{}]")
    );
}

#[test]
fn an_entry_that_has_to_say_something_may_not_be_null() {
    let layer2 = |lines: &str| {
        format!("address-pools:\n- name: a\n  protocol: layer2\n  addresses: [10.0.0.1]\n{lines}")
    };
    let rows = [
        (
            "address-pools: [null]\n".to_owned(),
            "a pool must be a mapping",
        ),
        ("peers: [~]\n".to_owned(), "a peer must be a mapping"),
        (
            "bfd-profiles:\n-\n".to_owned(),
            "a BFD profile must be a mapping",
        ),
        (
            "bgp-communities: {a: null}\n".to_owned(),
            "`` is not a BGP community",
        ),
        (with_addresses(&["null"]), "an address is blank"),
        (with_addresses(&["~"]), "an address is blank"),
        (with_addresses(&[""]), "an address is blank"),
        (
            layer2("  namespaces: [null]\n"),
            "`` can be none of `namespaces`",
        ),
        (
            layer2("  interfaces: [~]\n"),
            "`` can be none of `interfaces`",
        ),
        // Ours, and a restriction: a blank entry opens the pool to nobody.
        (
            layer2("  service-selectors: [null]\n"),
            "must be a mapping, not nothing",
        ),
        (
            layer2("  namespace-selectors: [~]\n"),
            "must be a mapping, not nothing",
        ),
        (
            layer2("  node-selectors: [null]\n"),
            "must be a mapping, not nothing",
        ),
        (
            bgp("  bgp-advertisements: [{communities: [null]}]\n"),
            "no community is called ``",
        ),
    ];
    for (text, want) in rows {
        let problems = refused(&text);
        let messages: Vec<_> = problems.iter().map(|one| one.message.clone()).collect();
        assert!(
            messages.len() == 1 && messages[0].contains(want),
            "{messages:?}\n{text}"
        );
    }
}

#[test]
fn a_key_without_a_value_is_as_if_it_were_not_there() {
    let keys = |value: &str| {
        let pool = [
            "auto-assign",
            "avoid-buggy-ips",
            "bgp-advertisements",
            "priority",
            "namespaces",
            "namespace-selectors",
            "service-selectors",
            "node-selectors",
            "interfaces",
        ];
        let peer = [
            "source-address",
            "peer-port",
            "hold-time",
            "keepalive-time",
            "router-id",
            "node-selectors",
            "password",
            "bfd-profile",
            "ebgp-multihop",
        ];
        let profile = [
            "receive-interval",
            "transmit-interval",
            "echo-interval",
            "detect-multiplier",
            "minimum-ttl",
            "echo-mode",
            "passive-mode",
        ];
        let lines = |keys: &[&str]| -> String {
            keys.iter()
                .map(|key| format!("  {key}: {value}\n"))
                .collect()
        };
        format!(
            "bgp-communities: {value}\nbfd-profiles:\n- name: p\n{}peers:\n- my-asn: 1\n  \
             peer-asn: 2\n  peer-address: 10.0.0.1\n{}address-pools:\n- name: a\n  protocol: bgp\n  \
             addresses: [10.0.0.0/24]\n{}",
            lines(&profile),
            lines(&peer),
            lines(&pool)
        )
    };
    let bare = "bfd-profiles:\n- name: p\npeers:\n- my-asn: 1\n  peer-asn: 2\n  peer-address: \
                10.0.0.1\naddress-pools:\n- name: a\n  protocol: bgp\n  addresses: [10.0.0.0/24]\n";
    for null in ["null", "~", "", "NULL"] {
        assert_eq!(valid(&keys(null)), valid(bare), "{null:?}");
    }
}
