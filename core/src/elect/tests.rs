use proptest::prelude::*;

use super::*;
use crate::config::Announcement;
use crate::view::{FamilyPolicy, ServiceKey};

const ADDRESS: &str = "192.168.64.200";

fn address() -> IpAddr {
    ADDRESS.parse().unwrap()
}

fn service(traffic_policy: TrafficPolicy) -> ServiceView {
    ServiceView {
        key: ServiceKey {
            namespace: "shop".into(),
            name: "web".into(),
        },
        uid: String::new(),
        resource_version: String::new(),
        labels: BTreeMap::new(),
        load_balancer: true,
        class: None,
        cluster_ips: Vec::new(),
        family_policy: FamilyPolicy::SingleStack,
        traffic_policy,
        ports: Vec::new(),
        selector: String::new(),
        address_requests: Vec::new(),
        requested_pool: None,
        sharing_key: None,
        allow_node_ports: false,
        assigned: vec![address()],
        status_is_canonical: true,
        status_manager: None,
    }
}

/// `n2`, with marks: `n2!` its network is unavailable, `n2-` it has the exclude label, `n2~` its
/// speaker is silent, `n2=` the address is its own. Each node has the label `name`.
fn nodes(marked: &str) -> (BTreeMap<String, NodeView>, BTreeSet<String>) {
    let mut nodes = BTreeMap::new();
    let mut alive = BTreeSet::new();
    for word in marked.split_whitespace() {
        let name = word.trim_end_matches(['!', '-', '~', '=']).to_owned();
        if !word.contains('~') {
            alive.insert(name.clone());
        }
        let node = NodeView {
            labels: [("name".to_owned(), name.clone())].into(),
            addresses: if word.contains('=') {
                vec![address()]
            } else {
                Vec::new()
            },
            network_unavailable: word.contains('!'),
            excluded: word.contains('-'),
            unschedulable: false,
            name: name.clone(),
        };
        nodes.insert(name, node);
    }
    (nodes, alive)
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

fn pool_for(names: &[&str]) -> Pool {
    Pool {
        name: "default".into(),
        protocol: Announcement::Layer2,
        ranges: Vec::new(),
        auto_assign: true,
        avoid_buggy_ips: false,
        bgp_advertisements: Vec::new(),
        priority: None,
        namespaces: Vec::new(),
        namespace_selectors: Vec::new(),
        service_selectors: Vec::new(),
        node_selectors: names
            .iter()
            .map(|name| LabelSelector {
                match_labels: [("name".to_owned(), (*name).to_owned())].into(),
                match_expressions: Vec::new(),
            })
            .collect(),
        interfaces: Vec::new(),
    }
}

fn election(
    policy: TrafficPolicy,
    marked_nodes: &str,
    marked_endpoints: &str,
    pool: Option<&Pool>,
) -> Election {
    let (nodes, alive) = nodes(marked_nodes);
    let endpoints = endpoints(marked_endpoints);
    let endpoints: Vec<_> = endpoints.iter().collect();
    let electorate = Electorate {
        nodes: &nodes,
        alive: &alive,
    };
    elect(address(), &service(policy), pool, &endpoints, electorate)
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

/// By the hashes above the order for the address is n2, n1, n3.
#[test]
fn the_owner_is_the_first_eligible_node_in_rank() {
    use Reason::{
        ExcludedNode, NetworkUnavailable, NoEndpoint, NoLocalEndpoint, NodeNotSelected,
        SpeakerSilent,
    };
    use TrafficPolicy::{Cluster, Local};
    let any = None;
    let n1_n3 = pool_for(&["n1", "n3"]);
    let nowhere = pool_for(&["n9"]);
    let speaker = |node: &str| Owner::Speaker(node.to_owned());
    let rows = [
        (Cluster, "n1 n2 n3", "n3", any, speaker("n2")),
        (Cluster, "n1 n2 n3", "*", any, speaker("n2")),
        (Cluster, "n1 n2~ n3", "n3", any, speaker("n1")),
        (Cluster, "n1 n2! n3", "n3", any, speaker("n1")),
        (Cluster, "n1 n2- n3", "n3", any, speaker("n1")),
        (Cluster, "n1- n2- n3-", "n3", any, speaker("n2")),
        (Cluster, "n1- n2- n3~", "n3", any, speaker("n2")),
        (Cluster, "n1 n2 n3", "n3", Some(&n1_n3), speaker("n1")),
        (
            Cluster,
            "n1 n2 n3",
            "n3",
            Some(&nowhere),
            Owner::Nobody(NodeNotSelected),
        ),
        (Cluster, "n1 n2 n3", "", any, Owner::Nobody(NoEndpoint)),
        (
            Cluster,
            "n1 n2 n3",
            "n1! n2!",
            any,
            Owner::Nobody(NoEndpoint),
        ),
        (Cluster, "n1 n2 n3", "n1! n2?", any, speaker("n2")),
        (
            Cluster,
            "n1~ n2~ n3~",
            "n3",
            any,
            Owner::Nobody(SpeakerSilent),
        ),
        (Cluster, "", "n3", any, Owner::Nobody(SpeakerSilent)),
        (
            Cluster,
            "n1! n2~",
            "n3",
            any,
            Owner::Nobody(NetworkUnavailable),
        ),
        (Local, "n1 n2 n3", "n1 n3", any, speaker("n1")),
        (Local, "n1 n2 n3", "n1? n3", any, speaker("n3")),
        (Local, "n1 n2 n3", "n1? n3?", any, speaker("n1")),
        (Local, "n1 n2 n3~", "n1? n3", any, speaker("n1")),
        (
            Local,
            "n1 n2 n3~",
            "n3",
            any,
            Owner::Nobody(NoLocalEndpoint),
        ),
        (Local, "n1 n2 n3", "*", any, Owner::Nobody(NoLocalEndpoint)),
        (Local, "n1 n2- n3", "n2", any, speaker("n2")),
        (Local, "n1 n2- n3", "n2 n3", any, speaker("n3")),
        (
            Cluster,
            "n1 n2 n3=",
            "n1",
            any,
            Owner::Kernel("n3".to_owned()),
        ),
        (
            Cluster,
            "n1 n2 n3=~",
            "",
            any,
            Owner::Kernel("n3".to_owned()),
        ),
    ];
    for (policy, nodes, endpoints, pool, want) in rows {
        let election = election(policy, nodes, endpoints, pool);
        assert_eq!(
            election.owner, want,
            "{policy:?}, nodes {nodes}, endpoints {endpoints}"
        );
    }
    let declined = election(Cluster, "n1~ n2 n3-", "n2", None).declined;
    let declined: Vec<_> = declined
        .iter()
        .map(|(node, why)| (node.as_str(), *why))
        .collect();
    assert_eq!(declined, [("n1", SpeakerSilent), ("n3", ExcludedNode)]);
}

#[test]
fn every_node_that_does_not_announce_says_why() {
    use Decision::{Announce, Decline};
    let rows = [
        (TrafficPolicy::Cluster, "n1 n2 n3", "n2", "n2", Announce),
        (
            TrafficPolicy::Cluster,
            "n1 n2 n3",
            "n2",
            "n1",
            Decline(Reason::NotOwner),
        ),
        (
            TrafficPolicy::Cluster,
            "n1- n2 n3",
            "n2",
            "n1",
            Decline(Reason::ExcludedNode),
        ),
        (
            TrafficPolicy::Local,
            "n1 n2 n3",
            "n2",
            "n1",
            Decline(Reason::NoLocalEndpoint),
        ),
        (
            TrafficPolicy::Cluster,
            "n1 n2 n3",
            "",
            "n1",
            Decline(Reason::NoEndpoint),
        ),
        (
            TrafficPolicy::Cluster,
            "n1= n2 n3",
            "n2",
            "n1",
            Decline(Reason::NodeAddress),
        ),
        (
            TrafficPolicy::Cluster,
            "n1= n2 n3",
            "n2",
            "n2",
            Decline(Reason::NodeAddress),
        ),
        (
            TrafficPolicy::Local,
            "n1! n2~ n3~",
            "n2",
            "n1",
            Decline(Reason::NetworkUnavailable),
        ),
    ];
    for (policy, nodes, endpoints, me, want) in rows {
        let election = election(policy, nodes, endpoints, None);
        assert_eq!(
            election.decision(me),
            want,
            "{me} of {nodes}, endpoints {endpoints}"
        );
    }
}

#[test]
fn endpoints_are_judged_by_family() {
    let slice = |family, nodes| crate::view::EndpointSliceView {
        name: "web-x".into(),
        service: ServiceKey {
            namespace: "shop".into(),
            name: "web".into(),
        },
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
    /// All nodes decide with the same view: exactly one announces, or nobody and all know why.
    #[test]
    fn nodes_with_the_same_view_agree_on_exactly_one(
        local in any::<bool>(),
        marks in proptest::collection::vec(0_usize..5, 1..12),
        places in proptest::collection::vec((0_usize..14, 0_usize..3), 0..6),
    ) {
        let marked: Vec<_> = marks
            .iter()
            .enumerate()
            .map(|(n, mark)| format!("n{n}{}", ["", "", "!", "-", "~"][*mark]))
            .collect();
        let placed: Vec<_> =
            places.iter().map(|(n, mark)| format!("n{n}{}", ["", "?", "!"][*mark])).collect();
        let policy = if local { TrafficPolicy::Local } else { TrafficPolicy::Cluster };
        let election = election(policy, &marked.join(" "), &placed.join(" "), None);
        let announcers: Vec<_> = (0..marks.len())
            .map(|n| format!("n{n}"))
            .filter(|node| election.decision(node) == Decision::Announce)
            .collect();
        match &election.owner {
            Owner::Speaker(node) => {
                prop_assert_eq!(&announcers, std::slice::from_ref(node));
                prop_assert!(!election.declined.contains_key(node));
            }
            Owner::Nobody(_) => prop_assert!(announcers.is_empty()),
            Owner::Kernel(_) => prop_assert!(false, "no node has the address"),
        }
    }

    /// Losing a node moves only what that node owned.
    #[test]
    fn a_node_that_leaves_moves_nothing_of_the_others(leaver in 0_usize..8) {
        let all: Vec<_> = (0..8).map(|n| format!("n{n}")).collect();
        let mut fewer = all.clone();
        fewer[leaver].push('~');
        let before = election(TrafficPolicy::Cluster, &all.join(" "), "*", None).owner;
        let after = election(TrafficPolicy::Cluster, &fewer.join(" "), "*", None).owner;
        if before != Owner::Speaker(all[leaver].clone()) {
            prop_assert_eq!(before, after);
        }
    }
}
