//! Each row of `MetalLB`'s schema, from both sides: what it accepted, and what it refused. Pools
//! are here, the rest in [`bgp`].

mod bgp;

use super::{parse, refused, valid};
use crate::config::Outcome;

struct Row {
    name: &'static str,
    accepted: Vec<String>,
    /// The text, and a part of the only message.
    refused: Vec<(String, &'static str)>,
}

fn row(
    name: &'static str,
    build: fn(&str) -> String,
    accepted: &[&str],
    refused: &[(&str, &'static str)],
) -> Row {
    Row {
        name,
        accepted: accepted.iter().map(|part| build(part)).collect(),
        refused: refused
            .iter()
            .map(|(part, message)| (build(part), *message))
            .collect(),
    }
}

fn assert_rows(rows: Vec<Row>) {
    for Row {
        name,
        accepted,
        refused: wrong,
    } in rows
    {
        assert!(
            !accepted.is_empty() && !wrong.is_empty(),
            "{name}: both sides"
        );
        for text in accepted {
            assert!(
                matches!(parse(&text), Outcome::Valid(_)),
                "{name}: {:?}\n{text}",
                parse(&text)
            );
        }
        for (text, message) in wrong {
            let problems = refused(&text);
            let messages: Vec<_> = problems
                .iter()
                .map(|problem| problem.message.as_str())
                .collect();
            assert!(
                messages.len() == 1 && messages[0].contains(message),
                "{name}: want only {message:?}, got {messages:#?}\n{text}"
            );
        }
    }
}

/// A pool with everything but the name; `keys` is indented by two blanks.
fn nameless(name: &str) -> String {
    format!("address-pools:\n- protocol: layer2\n  addresses: [10.0.0.0/24]\n{name}")
}

fn protocol(line: &str) -> String {
    format!("address-pools:\n- name: a\n  addresses: [10.0.0.0/24]\n{line}")
}

fn addresses(lines: &str) -> String {
    format!("address-pools:\n- name: a\n  protocol: layer2\n{lines}")
}

fn layer2(lines: &str) -> String {
    format!("address-pools:\n- name: a\n  protocol: layer2\n  addresses: [10.0.0.0/24]\n{lines}")
}

#[test]
fn rows_of_address_pools() {
    assert_rows(vec![
        row(
            "address-pools[].name",
            nameless,
            &[
                "  name: default\n",
                "  name: 123\n",
                "  name: yes\n",
                "  name: 'a b'\n",
            ],
            &[
                ("", "a pool has no `name`"),
                ("  name:\n", "`name` has no value"),
                ("  name: ''\n", "the pool's name is blank"),
                ("  name: [a]\n", "`name` must be a text, not a list"),
                (
                    "  name: a\n- {name: a, protocol: bgp, addresses: [10.9.0.0/24]}\n",
                    "another pool is called `a`, on line 4",
                ),
            ],
        ),
        row(
            ".protocol",
            protocol,
            &[
                "  protocol: layer2\n",
                "  protocol: bgp\n",
                "  protocol: 'bgp'\n",
            ],
            &[
                ("", "has no `protocol`"),
                ("  protocol: ''\n", "no protocol is called ``"),
                ("  protocol: Layer2\n", "no protocol is called `Layer2`"),
                ("  protocol: arp\n", "no protocol is called `arp`"),
            ],
        ),
        row(
            ".addresses[]",
            addresses,
            &[
                "  addresses: [10.20.30.40/24]\n",
                "  addresses: [10.0.0.1-10.0.0.9]\n",
                "  addresses: ['10.0.0.1  -  10.0.0.9']\n",
                "  addresses: [10.0.0.1-10.0.0.1]\n",
                "  addresses: ['fd00::/64', 'fd01::1-fd01::9', 10.0.0.0/32]\n",
                "  addresses: ['::ffff:10.0.0.1-10.0.0.9']\n",
                // Refused by MetalLB, accepted here by intent.
                "  addresses: [10.0.0.1, 'fd00::1']\n",
            ],
            &[
                ("", "pool `a` has no `addresses`"),
                ("  addresses:\n", "`addresses` has no value"),
                ("  addresses: []\n", "`addresses` is an empty list"),
                (
                    "  addresses: 10.0.0.0/24\n",
                    "`addresses` must be a list, not a single value",
                ),
                ("  addresses: ['']\n", "an address is blank"),
                ("  addresses: [10.0.0.0/33]\n", "has no valid prefix length"),
                (
                    "  addresses: ['fd00::/129']\n",
                    "has no valid prefix length",
                ),
                ("  addresses: [10.0.0.0/]\n", "has no valid prefix length"),
                (
                    "  addresses: [10.0.0.0/-1]\n",
                    "is a range and a prefix at once",
                ),
                ("  addresses: [10.0.0.0/255.255.255.0]\n", "has a netmask"),
                (
                    "  addresses: [10.0.0.9-10.0.0.1]\n",
                    "ends before it starts",
                ),
                ("  addresses: [10.0.0.9-]\n", "has no end"),
                ("  addresses: ['-10.0.0.9']\n", "has no start"),
                ("  addresses: [10.0.0.1-x]\n", "`x` is not an IP address"),
                ("  addresses: [fnord]\n", "`fnord` is not an IP address"),
                // MetalLB made an empty pool of it; refused here by intent.
                (
                    "  addresses: ['10.0.0.1-fd00::1']\n",
                    "starts with IPv4 and ends with IPv6",
                ),
                (
                    "  addresses: [10.0.0.0/24, 10.0.0.7]\n",
                    "`10.0.0.7` overlaps `10.0.0.0/24` on line 4",
                ),
                (
                    "  addresses: [10.0.0.0/24]\n- {name: b, protocol: bgp, addresses: [10.0.0.9-10.0.1.1]}\n",
                    "`10.0.0.9-10.0.1.1` overlaps `10.0.0.0/24` of pool `a` on line 4",
                ),
            ],
        ),
        row(
            ".auto-assign",
            layer2,
            &[
                "  auto-assign: true\n",
                "  auto-assign: off\n",
                "  auto-assign: No\n",
                "  auto-assign:\n",
            ],
            &[
                (
                    "  auto-assign: 0\n",
                    "`auto-assign` must be true or false, not `0`",
                ),
                ("  auto-assign: 'true'\n", "not a text in quotes"),
                (
                    "  auto-assign: []\n",
                    "`auto-assign` must be true or false, not a list",
                ),
            ],
        ),
        row(
            ".avoid-buggy-ips",
            layer2,
            &["  avoid-buggy-ips: true\n", "  avoid-buggy-ips: n\n"],
            &[(
                "  avoid-buggy-ips: maybe\n",
                "must be true or false, not `maybe`",
            )],
        ),
    ]);
}

#[test]
fn rows_of_our_own_keys() {
    assert_rows(vec![
        row(
            ".priority",
            layer2,
            &["  priority: 1\n", "  priority: 4294967295\n"],
            &[
                ("  priority: 0\n", "must be from 1 to"),
                ("  priority: high\n", "must be a whole number"),
            ],
        ),
        row(
            ".namespaces",
            layer2,
            &["  namespaces: [a, b-1]\n", "  namespaces: []\n"],
            &[
                (
                    "  namespaces: web\n",
                    "`namespaces` must be a list, not a single value",
                ),
                ("  namespaces: [Web]\n", "`Web` can be none of `namespaces`"),
            ],
        ),
        row(
            ".namespace-selectors, service-selectors, node-selectors",
            layer2,
            &[
                "  namespace-selectors: [{match-labels: {a: b}}]\n  service-selectors: [{}]\n  node-selectors: []\n",
            ],
            &[
                ("  namespace-selectors: a=b\n", "must be a list"),
                (
                    "  service-selectors: [a]\n",
                    "must be a mapping, not a single value",
                ),
                ("  node-selectors: [{labels: {}}]\n", "has no key `labels`"),
            ],
        ),
        row(
            ".interfaces",
            layer2,
            &["  interfaces: [eth0, bond0.100, enp0s31f6]\n"],
            &[
                (
                    "  interfaces: [eth0/1]\n",
                    "`eth0/1` can be none of `interfaces`",
                ),
                (
                    "  interfaces: [averyverylongname]\n",
                    "can be none of `interfaces`",
                ),
            ],
        ),
        row(
            ".share-within",
            layer2,
            &[
                "  share-within: namespace\n",
                "  share-within: \"cluster\"\n",
                "  share-within:\n",
            ],
            &[
                (
                    "  share-within: namspace\n",
                    "`share-within` must be namespace or cluster, not `namspace`",
                ),
                ("  share-within: false\n", "must be namespace or cluster"),
                ("  share-within: [namespace]\n", "must be a text"),
                ("  shareWithin: namespace\n", "has no key `shareWithin`"),
            ],
        ),
        row(
            ".allow-node-ports",
            layer2,
            &["  allow-node-ports: false\n", "  allow-node-ports: yes\n"],
            &[
                ("  allow-node-ports: \"false\"\n", "must be true or false"),
                ("  allow-node-ports: [22]\n", "must be true or false"),
                ("  allow-node-port: false\n", "has no key `allow-node-port`"),
            ],
        ),
    ]);
}

#[test]
fn every_key_may_stand_there_once_and_unknown_ones_may_not() {
    let text = layer2("  addresses: [10.1.0.0/24]\n  color: red\npools: []\n");
    let messages: Vec<_> = refused(&text)
        .iter()
        .map(|problem| problem.message.clone())
        .collect();
    assert_eq!(
        messages,
        [
            "`addresses` is already there on line 4",
            "pool `a` has no key `color`",
            "the configuration has no key `pools`",
        ]
    );
    valid(&layer2(""));
}
