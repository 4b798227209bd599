use super::*;

#[test]
fn a_lan_has_control_plane_nodes_and_client_with_addresses_that_read_alike() {
    let nodes = [
        ("n1".to_owned(), lan_address(11)),
        ("n2".to_owned(), lan_address(12)),
    ];
    let network = Network::plan("x", &nodes);
    let seen: Vec<String> = network
        .hosts()
        .iter()
        .map(|host| {
            format!(
                "{} {} {} {}",
                host.namespace, host.ipv4, host.ipv6, host.mac
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            "fl-x-cp 192.168.64.2 fd00:64::2 02:00:c0:a8:40:02",
            "fl-x-n1 192.168.64.11 fd00:64::11 02:00:c0:a8:40:0b",
            "fl-x-n2 192.168.64.12 fd00:64::12 02:00:c0:a8:40:0c",
            "fl-x-client 192.168.64.100 fd00:64::100 02:00:c0:a8:40:64",
        ]
    );
}

#[test]
fn pods_of_different_nodes_have_different_prefixes() {
    let nodes = [
        ("n1".to_owned(), lan_address(11)),
        ("n2".to_owned(), lan_address(12)),
    ];
    let network = Network::plan("x", &nodes);
    let cidrs: Vec<String> = network
        .nodes()
        .filter_map(|node| node.pods)
        .map(|pods| format!("{} {} {}", pods.cidr_v4(), pods.cidr_v6(), pods.ipv6(1)))
        .collect();
    assert_eq!(
        cidrs,
        [
            "10.244.1.0/24 fd00:244:1::/64 fd00:244:1::1",
            "10.244.2.0/24 fd00:244:2::/64 fd00:244:2::1",
        ]
    );
}

#[test]
fn an_unknown_host_is_refused_with_the_names_that_exist() {
    let network = Network::plan("x", &[("n1".to_owned(), lan_address(11))]);
    let error = network.host("n9").unwrap_err().to_string();
    assert_eq!(error, "no host named \"n9\": this lab has cp, n1, client");
}
