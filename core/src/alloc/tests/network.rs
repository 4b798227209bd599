//! Addresses of the cluster itself: its API server's, and its ranges of Services and pods.

use super::*;

fn range(text: &str) -> AddressRange {
    AddressRange::of_prefix(text).unwrap()
}

fn network(api_server: &[&str], services: &[&str], pods: &[&str]) -> ClusterNetwork {
    ClusterNetwork {
        api_server: api_server.iter().map(|text| address(text)).collect(),
        service_ranges: services.iter().map(|text| range(text)).collect(),
        pod_ranges: pods.iter().map(|text| range(text)).collect(),
    }
}

fn node(address_of: &str) -> BTreeMap<IpAddr, String> {
    [(address(address_of), "n1".to_owned())].into()
}

#[test]
fn what_the_cluster_has_is_passed_over_as_long_as_the_pool_has_anything_else() {
    let mut allocator = configured(vec![pool("default", &[("10.0.0.1", "10.0.1.1")])]);
    assert!(allocator.set_network(network(&["10.0.0.2"], &["10.0.0.4/30"], &["10.0.0.8/29"])));
    assert!(allocator.set_nodes(node("10.0.0.1")));
    assert_eq!(ensure(&mut allocator, &service("a")), "10.0.0.3");
    assert_eq!(ensure(&mut allocator, &service("b")), "10.0.0.16");
    assert_eq!(allocator.usage()[0].first_free, [address("10.0.0.17")]);
}

#[test]
fn who_asks_for_an_address_of_the_cluster_gets_it_with_a_warning() {
    let mut allocator = configured(vec![pool("default", &[("10.0.0.1", "10.0.0.99")])]);
    allocator.set_network(network(&["10.0.0.2"], &["10.0.0.4/30"], &["10.0.0.8/29"]));
    for (name, wanted, words) in [
        (
            "a",
            "10.0.0.2",
            "which is the API server's (an endpoint of Service default/kubernetes)",
        ),
        (
            "b",
            "10.0.0.5",
            "which lies among the cluster IPs of Services (10.0.0.4-10.0.0.7)",
        ),
        (
            "c",
            "10.0.0.9",
            "which lies among the addresses of pods (10.0.0.8-10.0.0.15)",
        ),
    ] {
        let view = asking(wanted, service(name));
        let decision = allocator.ensure(&view);
        assert_eq!(told(&decision), format!("{wanted} cluster_address"));
        let said = decision.refusal().unwrap().to_string();
        assert!(
            said.contains(words) && said.contains("asks for it"),
            "{said}"
        );
        assert_eq!(allocator.ensure(&view), decision, "looked at again");
    }
}

#[test]
fn a_pool_that_has_nothing_else_gives_it_with_a_warning_and_a_nodes_own_without() {
    // A node's own address that is the API server's as well: a cluster of one node.
    let mut allocator = configured(vec![pool("own", &[("192.168.64.4", "192.168.64.4")])]);
    allocator.set_nodes(node("192.168.64.4"));
    allocator.set_network(network(
        &["192.168.64.4"],
        &["10.96.0.0/12"],
        &["10.244.0.0/24"],
    ));
    assert_eq!(ensure(&mut allocator, &service("page")), "192.168.64.4");

    let mut allocator = configured(vec![pool("inside", &[("10.96.1.0", "10.96.1.1")])]);
    allocator.set_network(network(&[], &["10.96.0.0/12"], &[]));
    let decision = allocator.ensure(&service("a"));
    assert_eq!(told(&decision), "10.96.1.0 cluster_address");
    let said = decision.refusal().unwrap().to_string();
    assert!(said.contains("its pool has no others"), "{said}");

    // A node's own and the API server's: each pool address is the cluster's, so both are meant.
    let mut allocator = configured(vec![pool("both", &[("10.0.0.1", "10.0.0.2")])]);
    allocator.set_nodes(node("10.0.0.1"));
    allocator.set_network(network(&["10.0.0.2"], &[], &[]));
    assert_eq!(ensure(&mut allocator, &service("a")), "10.0.0.1");
    assert_eq!(
        ensure(&mut allocator, &service("b")),
        "10.0.0.2 cluster_address"
    );
}

#[test]
fn a_port_that_a_node_needs_goes_to_no_node_where_a_pool_has_only_the_clusters_own() {
    let mut allocator = configured(vec![pool("both", &[("10.0.0.1", "10.0.0.2")])]);
    allocator.set_nodes(node("10.0.0.1"));
    allocator.set_network(network(&["10.0.0.2"], &[], &[]));
    assert_eq!(
        ensure(&mut allocator, &on_port(22, service("a"))),
        "10.0.0.2 cluster_address"
    );
}

#[test]
fn a_holder_keeps_its_address_whatever_the_cluster_turns_out_to_have() {
    let mut allocator = three();
    assert_eq!(ensure(&mut allocator, &service("a")), "10.0.0.1");
    allocator.set_network(network(&[], &["10.0.0.0/30"], &[]));
    assert_eq!(
        ensure(&mut allocator, &service("a")),
        "10.0.0.1 cluster_address"
    );
    let mut allocator = configured(vec![pool("default", &[("10.0.0.1", "10.0.0.9")])]);
    allocator.set_network(network(&["10.0.0.1"], &[], &[]));
    let held = ServiceView {
        assigned: vec![address("10.0.0.1")],
        ..service("a")
    };
    let decision = allocator.ensure(&held);
    assert_eq!(told(&decision), "10.0.0.1 cluster_address");
    let said = decision.refusal().unwrap().to_string();
    assert!(said.contains("kubectl annotate"), "{said}");
}

#[test]
fn a_full_pool_says_how_many_addresses_the_cluster_has_of_it() {
    let mut allocator = configured(vec![pool("default", &[("10.0.0.1", "10.0.0.4")])]);
    allocator.set_network(network(&["10.0.0.2"], &["10.0.0.4/30"], &[]));
    for name in ["a", "b"] {
        allocator.ensure(&service(name));
    }
    let refusal = allocator
        .ensure(&service("c"))
        .refusal()
        .unwrap()
        .to_string();
    assert!(
        refusal.contains("(2 of nodes and of the cluster's own networks left out)"),
        "{refusal}"
    );
}

#[test]
fn a_range_of_the_cluster_as_large_as_a_pool_of_ipv6_is_passed_in_one_step() {
    let mut allocator = configured(vec![pool(
        "default",
        &[("fd96::", "fd97::1"), ("10.0.0.0", "10.255.255.255")],
    )]);
    allocator.set_network(network(
        &[],
        &["fd96::/16", "10.0.0.0/9"],
        &["10.128.0.0/10"],
    ));
    let v6 = |name: &str| ServiceView {
        cluster_ips: vec![address("fd00::1")],
        ..service(name)
    };
    assert_eq!(ensure(&mut allocator, &v6("a")), "fd97::");
    assert_eq!(ensure(&mut allocator, &service("b")), "10.192.0.0");
}
