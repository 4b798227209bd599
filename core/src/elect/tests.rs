use proptest::prelude::*;

use super::*;
use crate::config::{LabelSelector, Layer2Advertisement, PreferredNodes, Scope};
use crate::view::ServiceKey;

const ADDRESS: &str = "192.168.64.200";

fn address() -> IpAddr {
    ADDRESS.parse().unwrap()
}

/// `n2`, with marks: `n2!` its network is unavailable, `n2-` it has the exclude label, `n2~` it is
/// cordoned, `n2^` it is being deleted, `n2=` the address is its own. Each node has the label `name`.
fn nodes(marked: &str) -> BTreeMap<String, NodeView> {
    let node = |word: &str| {
        let name = word.trim_end_matches(['!', '-', '~', '^', '=']).to_owned();
        let node = NodeView {
            labels: [("name", &name)].into_iter().collect(),
            addresses: word.contains('=').then(address).into_iter().collect(),
            network_unavailable: word.contains('!'),
            excluded: word.contains('-'),
            unschedulable: word.contains('~'),
            leaving: word.contains('^'),
            name: name.clone(),
        };
        (name, node)
    };
    marked.split_whitespace().map(node).collect()
}

/// `n1` a ready endpoint on n1, `n1?` one that only serves, `n1!` one that does neither, `*` ready
/// without a node.
fn endpoints(marked: &str) -> Vec<EndpointView> {
    let endpoint = |word: &str| EndpointView {
        node: (!word.starts_with('*')).then(|| word.trim_end_matches(['?', '!']).to_owned()),
        ready: !word.ends_with(['?', '!']),
        serving: !word.ends_with('!'),
    };
    marked.split_whitespace().map(endpoint).collect()
}

/// What nodes of these names announce; any node if there are none.
fn announced_by(names: &[&str]) -> Layer2Advertisement {
    let selector = |name: &&str| LabelSelector {
        match_labels: [("name".to_owned(), (*name).to_owned())].into(),
        match_expressions: Vec::new(),
    };
    Layer2Advertisement {
        scope: Scope {
            node_selectors: names.iter().map(selector).collect(),
            ..Scope::default()
        },
        ..Layer2Advertisement::default()
    }
}

/// What comes of it, in words: candidates as `n2 n1-node_leaving`, or why there are none.
fn outcome(
    services: &[(TrafficPolicy, &str)],
    marked_nodes: &str,
    advertisement: Option<&Layer2Advertisement>,
) -> Result<String, Reason> {
    let nodes = nodes(marked_nodes);
    let endpoints: Vec<_> = services
        .iter()
        .map(|(_, marked)| endpoints(marked))
        .collect();
    let backends = services
        .iter()
        .zip(&endpoints)
        .map(|((policy, _), endpoints)| Backend {
            policy: *policy,
            endpoints: endpoints.iter().collect(),
            move_to: None,
        });
    let backends: Vec<_> = backends.collect();
    let layer2 = advertisement.map_or(Layer2::Anywhere, |one| Layer2::By(vec![one]));
    let standings = standings(address(), &backends, &layer2, &nodes, ExcludeLabel::Prefer)?;
    let words = standings
        .candidates(address())
        .into_iter()
        .map(|(name, tier)| match tier.drawback() {
            None => name.to_owned(),
            Some(drawback) => format!("{name}-{drawback}"),
        });
    Ok(words.collect::<Vec<_>>().join(" "))
}

fn hex(rank: Rank) -> String {
    rank.0.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Computed with `printf '%s' n1#192.168.64.200 | sha256sum`.
#[test]
fn the_rank_is_the_sha256_of_node_and_address() {
    for (node, address, want) in [
        (
            "n1",
            "192.168.64.200",
            "46d243740783d7b8e43bdf570c6443f1c8737825703367d37418ad6e755bdc51",
        ),
        (
            "n2",
            "192.168.64.200",
            "3e6f1c0e8b66871a70de75d907594b0ecff1cbc7f6769172227f9ed3df03e61c",
        ),
        (
            "n3",
            "192.168.64.200",
            "f33a81696bd34d884660a791b334acb8b535cf0cb886d9a468f2fe6935bb3859",
        ),
        (
            "n1",
            "2001:DB8:0::1",
            "dd9a9d9c5240efc681ded6e0e0c073f9cc0037d2185a777987c1f75c1821a313",
        ),
        (
            "node-a",
            "10.0.0.1",
            "dd41591fe8f31f9f38e297fe9892a8eff47892ea017c4167619a62f366fb8149",
        ),
    ] {
        assert_eq!(
            hex(rank(node, address.parse().unwrap())),
            want,
            "{node}#{address}"
        );
    }
}

/// By the hashes below the order without weights is n2, n1, n3.
#[test]
fn preferred_nodes_come_first_among_those_that_are_as_good() {
    use TrafficPolicy::Cluster;
    let preferring = |selected: &[&str], weights: &[(u8, &str)]| {
        let weights = weights.iter().map(|(weight, name)| PreferredNodes {
            weight: *weight,
            selector: LabelSelector {
                match_labels: [("name".to_owned(), (*name).to_owned())].into(),
                match_expressions: Vec::new(),
            },
        });
        Layer2Advertisement {
            preferred_nodes: weights.collect(),
            ..announced_by(selected)
        }
    };
    let rows = [
        (vec![preferring(&[], &[(1, "n3")])], "n1 n2 n3", "n3 n2 n1"),
        (
            vec![preferring(&[], &[(1, "n3"), (2, "n1")])],
            "n1 n2 n3",
            "n1 n3 n2",
        ),
        // Weights of all entries and advertisements add up.
        (
            vec![preferring(&[], &[(2, "n1"), (1, "n3"), (2, "n3")])],
            "n1 n2 n3",
            "n3 n1 n2",
        ),
        (
            vec![preferring(&[], &[(2, "n1")]), preferring(&[], &[(3, "n3")])],
            "n1 n2 n3",
            "n3 n1 n2",
        ),
        // But those of nodes that the advertisement does not select.
        (
            vec![
                preferring(&["n1"], &[(100, "n3")]),
                preferring(&[], &[(1, "n1")]),
            ],
            "n1 n2 n3",
            "n1 n2 n3",
        ),
        // Any drawback counts more.
        (
            vec![preferring(&[], &[(100, "n3")])],
            "n1 n2- n3~",
            "n1 n2-excluded_node n3-node_leaving",
        ),
        (vec![preferring(&[], &[])], "n1 n2 n3", "n2 n1 n3"),
    ];
    for (advertisements, marked, want) in rows {
        let nodes = nodes(marked);
        let endpoints = endpoints("*");
        let backend = || Backend {
            policy: Cluster,
            endpoints: endpoints.iter().collect(),
            move_to: None,
        };
        let layer2 = Layer2::By(advertisements.iter().collect());
        let order = |backend| {
            let standings =
                standings(address(), &[backend], &layer2, &nodes, ExcludeLabel::Prefer).unwrap();
            let words = standings.candidates(address()).into_iter();
            let words: Vec<_> = words
                .map(|(name, tier)| match tier.drawback() {
                    None => name.to_owned(),
                    Some(drawback) => format!("{name}-{drawback}"),
                })
                .collect();
            words.join(" ")
        };
        assert_eq!(order(backend()), want, "{advertisements:?}");
        // Whoever is asked for comes before whoever is preferred.
        let moved = Backend {
            move_to: Some("n2"),
            ..backend()
        };
        let first = order(moved);
        assert!(
            marked.contains("n2-") || first.starts_with("n2 "),
            "{first}"
        );
    }
}

#[test]
fn of_many_nodes_the_first_come_by_rank_and_the_others_as_speakers_take_it() {
    let names: Vec<_> = (0..60).map(|number| format!("n{number}")).collect();
    let nodes = nodes(&names.join(" "));
    let endpoints = endpoints("*");
    let backends = [Backend {
        policy: TrafficPolicy::Cluster,
        endpoints: endpoints.iter().collect(),
        move_to: None,
    }];
    let anywhere = Layer2::Anywhere;
    let standings = standings(
        address(),
        &backends,
        &anywhere,
        &nodes,
        ExcludeLabel::Prefer,
    );
    let standings = standings.unwrap();
    let ranked: Vec<_> = standings.ranked(address()).collect();
    let order = standings.candidates(address());
    assert_eq!(order[..16], ranked[..16]);
    assert_ne!(order, ranked);
    let candidate = |&(name, tier): &(&str, Tier)| tier.candidate(NodeId::of(name));
    let candidates = Candidates::of(address(), ranked.iter().map(candidate));
    let taken: Vec<_> = candidates.in_order().copied().collect();
    assert_eq!(order.iter().map(candidate).collect::<Vec<_>>(), taken);
}

/// By the hashes above the order for the address is n2, n1, n3.
#[test]
fn candidates_come_by_tier_and_then_by_rank() {
    use TrafficPolicy::{Cluster, Local};
    let any = None;
    let n1_n3 = announced_by(&["n1", "n3"]);
    let nowhere = announced_by(&["n9"]);
    let rows = [
        (Cluster, "n1 n2 n3", "n3", any, "n2 n1 n3"),
        (Cluster, "n1 n2 n3", "*", any, "n2 n1 n3"),
        (Cluster, "n1 n2! n3", "n3", any, "n1 n3"),
        (Cluster, "n1 n2- n3", "n3", any, "n1 n3 n2-excluded_node"),
        (
            Cluster,
            "n1- n2-",
            "n3",
            any,
            "n2-excluded_node n1-excluded_node",
        ),
        (Cluster, "n1 n2~ n3", "n3", any, "n1 n3 n2-node_leaving"),
        (
            Cluster,
            "n1 n2^ n3-",
            "n3",
            any,
            "n1 n3-excluded_node n2-node_leaving",
        ),
        (Cluster, "n1 n2 n3", "n3", Some(&n1_n3), "n1 n3"),
        (Cluster, "n1 n2 n3", "n3", Some(&nowhere), ""),
        (Cluster, "n1 n2 n3", "n1! n2?", any, "n2 n1 n3"),
        (Cluster, "", "n3", any, ""),
        (Local, "n1 n2 n3", "n1 n3", any, "n1 n3"),
        (
            Local,
            "n1 n2 n3",
            "n1? n3",
            any,
            "n3 n1-endpoint_terminating",
        ),
        (Local, "n1 n2 n3", "n1? n1 n3!", any, "n1"),
        (
            Local,
            "n1 n2~ n3",
            "n2 n3?",
            any,
            "n2-node_leaving n3-endpoint_terminating",
        ),
        (Local, "n1 n2 n3", "*", any, ""),
    ];
    for (policy, nodes, endpoints, by, want) in rows {
        let got = outcome(&[(policy, endpoints)], nodes, by);
        assert_eq!(
            got.as_deref(),
            Ok(want),
            "{policy:?}, nodes {nodes}, endpoints {endpoints}"
        );
    }
}

#[test]
fn an_address_that_nobody_announces_has_a_reason() {
    use TrafficPolicy::{Cluster, Local};
    for (policy, nodes, endpoints, want) in [
        (Cluster, "n1 n2", "", Reason::NoEndpoint),
        (Cluster, "n1 n2", "n1! n2!", Reason::NoEndpoint),
        (Local, "n1 n2", "", Reason::NoEndpoint),
        (Cluster, "n1 n2 n3=", "n1", Reason::NodeAddress),
        (Cluster, "n1 n2 n3=!", "", Reason::NodeAddress),
    ] {
        assert_eq!(
            outcome(&[(policy, endpoints)], nodes, None),
            Err(want),
            "{nodes}, {endpoints}"
        );
    }
}

#[test]
fn a_node_that_may_not_has_the_first_reason() {
    let nodes = nodes("n1! n2 n3");
    let n1_n3 = announced_by(&["n1", "n3"]);
    let endpoints = endpoints("n2");
    let backend = Backend {
        policy: TrafficPolicy::Local,
        endpoints: endpoints.iter().collect(),
        move_to: None,
    };
    let standings = standings(
        address(),
        &[backend],
        &Layer2::By(vec![&n1_n3]),
        &nodes,
        ExcludeLabel::Prefer,
    )
    .unwrap();
    let reasons = ["n1", "n2", "n3", "n4"].map(|node| standings.of(node).unwrap_err());
    assert_eq!(
        reasons,
        [
            Reason::NetworkUnavailable,
            Reason::NodeNotSelected,
            Reason::NoLocalEndpoint,
            Reason::UnknownNode,
        ]
    );
}

#[test]
fn the_node_that_a_service_asks_for_comes_first_as_long_as_it_is_as_good_as_others() {
    let endpoints = endpoints("*");
    for (marked, want) in [
        ("n1 n2 n3", "n3"),
        ("n1 n2 n3~", "n2"),
        ("n1 n2 n3-", "n2"),
        ("n1 n2 n3!", "n2"),
        ("n1 n2", "n2"),
    ] {
        let nodes = nodes(marked);
        let backend = Backend {
            policy: TrafficPolicy::Cluster,
            endpoints: endpoints.iter().collect(),
            move_to: Some("n3"),
        };
        let standings = standings(
            address(),
            &[backend],
            &Layer2::Anywhere,
            &nodes,
            ExcludeLabel::Prefer,
        )
        .unwrap();
        assert_eq!(standings.candidates(address())[0].0, want, "{marked}");
        let drawback = standings.of("n1").unwrap().drawback();
        assert_eq!(drawback, Some(Reason::OtherNodeChosen));
    }
}

#[test]
fn a_node_that_not_all_services_at_an_address_ask_for_moves_nothing() {
    let [everywhere, nowhere] = ["*", ""].map(endpoints);
    let nodes = nodes("n1 n2 n3");
    // Each Service: the node that it asks for, and whether any pod of it is ready.
    for (services, want) in [
        (vec![(Some("n3"), true)], "n3"),
        (vec![(Some("n3"), true), (None, true)], "n2"),
        (vec![(None, true), (Some("n3"), true)], "n2"),
        (vec![(Some("n3"), true), (Some("n1"), true)], "n2"),
        (vec![(Some("n3"), true), (Some("n3"), true)], "n3"),
        (
            vec![(Some("n3"), true), (Some("n3"), true), (None, true)],
            "n2",
        ),
        // One that nobody can serve has no voice, for or against.
        (vec![(Some("n3"), true), (None, false)], "n3"),
        (vec![(None, true), (Some("n3"), false)], "n2"),
        (vec![], "nobody"),
    ] {
        let backends = services.iter().map(|(move_to, has_pods)| Backend {
            policy: TrafficPolicy::Cluster,
            endpoints: match has_pods {
                true => everywhere.iter().collect(),
                false => nowhere.iter().collect(),
            },
            move_to: *move_to,
        });
        let backends: Vec<_> = backends.collect();
        let standings = standings(
            address(),
            &backends,
            &Layer2::Anywhere,
            &nodes,
            ExcludeLabel::Prefer,
        );
        let first = standings.map(|standings| standings.candidates(address())[0].0);
        assert_eq!(first.unwrap_or("nobody"), want, "{services:?}");
    }
}

#[test]
fn a_shared_address_goes_to_a_node_that_serves_all_its_services_if_there_is_one() {
    use TrafficPolicy::{Cluster, Local};
    for (services, want) in [
        (
            [(Local, "n1 n3"), (Cluster, "*")],
            "n1 n3 n2-no_local_endpoint",
        ),
        (
            [(Local, "n1 n3"), (Local, "n2 n3")],
            "n3 n2-no_local_endpoint n1-no_local_endpoint",
        ),
        (
            [(Local, "n1"), (Local, "n2")],
            "n2-no_local_endpoint n1-no_local_endpoint",
        ),
        ([(Local, ""), (Local, "n3")], "n3"),
        ([(Cluster, ""), (Local, "n3")], "n3"),
    ] {
        assert_eq!(
            outcome(&services, "n1 n2 n3", None).as_deref(),
            Ok(want),
            "{services:?}"
        );
    }
}

#[test]
fn endpoints_are_judged_by_family() {
    let slice = |family, nodes| EndpointSliceView {
        service: ServiceKey::new("shop", "web"),
        family,
        endpoints: endpoints(nodes),
    };
    let slices = [
        slice(Family::V4, "n1 n2"),
        slice(Family::V6, ""),
        slice(Family::V4, "n3"),
    ];
    assert_eq!(endpoints_of(&slices, Family::V4).len(), 3);
    assert_eq!(endpoints_of(&slices, Family::V6).len(), 0);
}

proptest! {
    /// A node is judged alone: another one that goes or comes changes neither its standing nor the
    /// order of the rest.
    #[test]
    fn a_node_that_leaves_changes_nothing_for_the_others(
        local in any::<bool>(),
        marks in proptest::collection::vec(0_usize..5, 2..12),
        places in proptest::collection::vec((0_usize..14, 0_usize..3), 1..6),
        leaver in any::<proptest::sample::Index>(),
    ) {
        let mut marked: Vec<_> = marks
            .iter()
            .enumerate()
            .map(|(n, mark)| format!("n{n}{}", ["", "!", "-", "~", "^"][*mark]))
            .collect();
        let placed: Vec<_> =
            places.iter().map(|(n, mark)| format!("n{n}{}", ["", "?", "!"][*mark])).collect();
        let policy = if local { TrafficPolicy::Local } else { TrafficPolicy::Cluster };
        let services = [(policy, placed.join(" "))];
        let services: Vec<_> = services.iter().map(|(p, e)| (*p, e.as_str())).collect();
        let before = outcome(&services, &marked.join(" "), None);
        let gone = marked.remove(leaver.index(marks.len()));
        let gone = gone.trim_end_matches(['!', '-', '~', '^']);
        let after = outcome(&services, &marked.join(" "), None);
        let without = |words: String| {
            let others = words.split(' ').filter(|word| word.split('-').next() != Some(gone));
            others.collect::<Vec<_>>().join(" ")
        };
        prop_assert_eq!(before.map(without), after);
    }
}

#[test]
fn taken_strictly_the_exclude_label_keeps_a_node_out_also_where_no_other_is() {
    let endpoints = endpoints("n1 n2");
    let backends = || {
        [Backend {
            policy: TrafficPolicy::Cluster,
            endpoints: endpoints.iter().collect(),
            move_to: None,
        }]
    };
    for (marked, want) in [("n1- n2", vec!["n2"]), ("n1- n2-", vec![])] {
        let nodes = nodes(marked);
        let strict = ExcludeLabel::Strict;
        let standings =
            standings(address(), &backends(), &Layer2::Anywhere, &nodes, strict).unwrap();
        let candidates = standings.candidates(address()).into_iter();
        assert_eq!(candidates.map(|(name, _)| name).collect::<Vec<_>>(), want);
        assert_eq!(
            standings.of("n1"),
            Err(Reason::StrictlyExcludedNode),
            "{marked}"
        );
    }
}

#[test]
fn the_two_meanings_of_the_exclude_label_are_read_as_they_are_written() {
    for one in [ExcludeLabel::Prefer, ExcludeLabel::Strict] {
        assert_eq!(one.as_str().parse(), Ok(one));
    }
    assert!("stict".parse::<ExcludeLabel>().is_err());
}

#[test]
fn why_nobody_announces_is_the_reason_that_a_node_comes_furthest_with() {
    let why = |marked: &str, selected: &[&str], local: &str| {
        let (nodes, advertisement) = (nodes(marked), announced_by(selected));
        let endpoints = endpoints(local);
        let backend = Backend {
            policy: TrafficPolicy::Local,
            endpoints: endpoints.iter().collect(),
            move_to: None,
        };
        let standings = standings(
            address(),
            &[backend],
            &Layer2::By(vec![&advertisement]),
            &nodes,
            ExcludeLabel::Strict,
        );
        standings.unwrap().why_nobody()
    };
    assert_eq!(why("n1 n2", &[], "n2"), None);
    assert_eq!(why("n1! n2", &[], "n1"), Some(Reason::NoLocalEndpoint));
    assert_eq!(why("n1 n2", &["n3"], "n1"), Some(Reason::NodeNotSelected));
    assert_eq!(
        why("n1- n2", &["n1"], "n1"),
        Some(Reason::StrictlyExcludedNode)
    );
    assert_eq!(why("n1! n2!", &[], "n1"), Some(Reason::NetworkUnavailable));
}
