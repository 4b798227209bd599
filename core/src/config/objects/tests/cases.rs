//! Cases that MetalLB's own tests and code decide, by their numbers A01 to A38; where we differ on
//! purpose it says so.

use super::*;
use crate::view::AddressRequest;

fn pools(all: &[(&'static str, Json)]) -> World {
    let all: Vec<_> = all
        .iter()
        .map(|(name, spec)| (Kind::IpAddressPool, *name, spec.clone()))
        .collect();
    World::of(&all)
}

fn asking_for_pool(pool: &str, view: ServiceView) -> ServiceView {
    ServiceView {
        requested_pool: Some(pool.into()),
        ..view
    }
}

fn asking_for(address: &str, view: ServiceView) -> ServiceView {
    ServiceView {
        address_requests: [AddressRequest {
            source: "metallb.io/loadBalancerIPs".to_owned(),
            text: address.to_owned(),
        }]
        .into(),
        ..view
    }
}

#[test]
fn without_objects_there_is_nothing_and_nobody_is_told_of_an_error() {
    let world = World::new(); // A01
    assert_eq!(world.compiled.config, Config::default());
    assert_eq!(world.compiled.findings, []);
}

#[test]
fn addresses_mean_what_they_mean_to_metallb() {
    // A02 to A04, A11: the last is a difference, MetalLB refuses bare addresses.
    let rows = [
        (
            json!(["10.20.0.0/16"]),
            vec!["10.20.0.0-10.20.255.255"],
            65_536,
        ),
        (
            json!(["10.20.30.40/24"]),
            vec!["10.20.30.0-10.20.30.255"],
            256,
        ),
        (
            json!([
                "40.0.0.150-40.0.0.200",
                "40.0.0.210 - 40.0.0.240",
                "40.0.0.250 - 40.0.0.250"
            ]),
            vec![
                "40.0.0.150-40.0.0.200",
                "40.0.0.210-40.0.0.240",
                "40.0.0.250",
            ],
            51 + 31 + 1,
        ),
        (json!(["192.168.64.240"]), vec!["192.168.64.240"], 1),
    ];
    for (addresses, ranges, capacity) in rows {
        let world = pools(&[("p", json!({ "addresses": addresses }))]);
        let pool = world.pool("p").unwrap();
        let read: Vec<_> = pool.ranges.iter().map(ToString::to_string).collect();
        assert_eq!(
            (read, pool.capacity()),
            (
                ranges.iter().map(|one| (*one).to_owned()).collect(),
                capacity
            )
        );
        assert!(pool.auto_assign && !pool.avoid_buggy_ips && !pool.pinned);
        assert!(!world.is_refused("p"));
    }
}

#[test]
fn pools_that_metallb_refuses_are_refused() {
    let rows = [
        json!({ "addresses": [] }),                     // A05
        json!({ "addresses": ["100.200.300.400/24"] }), // A06
        json!({ "addresses": ["1.2.3.0/33"] }),         // A07
        json!({ "addresses": ["1.2.3.10-1.2.3.1"] }),   // A08
        json!({ "addresses": ["10.0.0.0/24"], "serviceAllocation": { "namespaces": ["ns1", "ns1"] } }), // A13
        // Of the same kinds.
        json!({}),
        Json::Null,
        json!({ "addresses": "10.0.0.0/24" }),
        json!({ "addresses": ["10.0.0.0/24", "10.0.0.7/32"] }),
        json!({ "addresses": ["10.0.0.1-fd00::1"] }),
        json!({ "addresses": ["nonsense"] }),
        json!({ "addresses": [""] }),
        json!({ "addresses": ["10.0.0.0/24"], "autoAssign": "no way" }),
        json!({ "addresses": ["10.0.0.0/24"], "serviceAllocation": { "serviceSelectors": [
            { "matchLabels": { "a": "b" } }, { "matchLabels": { "a": "b" } }] } }),
        json!({ "addresses": ["10.0.0.0/24"], "serviceAllocation": { "namespaceSelectors": [
            { "matchExpressions": [{ "key": "a", "operator": "Surrounds" }] }] } }),
        json!({ "addresses": ["10.0.0.0/24"], "serviceAllocation": { "namespaceSelectors": [
            { "matchExpressions": [{ "key": "a", "operator": "In" }] }] } }),
        json!({ "addresses": ["10.0.0.0/24"], "serviceAllocation": { "namespaceSelectors": [
            { "matchExpressions": [{ "key": "a", "operator": "Exists", "values": ["x"] }] }] } }),
        json!({ "addresses": ["10.0.0.0/24"], "serviceAllocation": { "namespaceSelectors": [
            { "matchLabels": { "not a label": "b" } }] } }),
    ];
    for spec in rows {
        let world = pools(&[
            ("p", spec.clone()),
            ("other", json!({ "addresses": ["10.9.0.0/24"] })),
        ]);
        assert!(world.is_refused("p") && world.pool("p").is_none(), "{spec}");
        assert!(
            world.pool("other").is_some(),
            "others are not affected: {spec}"
        );
    }
}

#[test]
fn of_overlapping_pools_the_older_one_is_in_force_until_it_goes() {
    // A09. MetalLB refuses all of it.
    let mut world = pools(&[
        ("a", json!({ "addresses": ["10.0.0.0/8"] })),
        ("b", json!({ "addresses": ["10.0.0.0/16"] })),
    ]);
    assert!(world.pool("a").is_some() && world.pool("b").is_none());
    let said = world.said("b").concat();
    assert!(
        said.starts_with("refused pool_overlaps: spec.addresses[0]: ")
            && said.contains("IPAddressPool `a`"),
        "{said}"
    );
    world.delete(Kind::IpAddressPool, "a");
    assert!(world.pool("b").is_some());
}

#[test]
fn an_edit_that_overlaps_another_pool_leaves_the_last_good_version_in_force() {
    let mut world = World::new(); // A10
    let set = |world: &mut World, name: &str, range: &str| {
        world.apply(Kind::IpAddressPool, name, json!({ "addresses": [range] }));
    };
    set(&mut world, "w1", "1.1.1.1-1.1.1.100");
    set(&mut world, "w2", "1.1.1.15-1.1.1.20");
    assert!(world.pool("w2").is_none() && world.is_refused("w2"));
    set(&mut world, "w2", "1.1.1.101-1.1.1.200");
    assert!(!world.is_refused("w2"));
    set(&mut world, "w2", "1.1.1.0/24");
    assert!(
        world
            .said("w2")
            .concat()
            .starts_with("former pool_overlaps: ")
    );
    assert_eq!(
        world.pool("w2").unwrap().ranges[0].to_string(),
        "1.1.1.101-1.1.1.200"
    );
}

#[test]
fn a_pool_serves_the_namespaces_and_services_that_it_is_for() {
    // A12
    let mut world = pools(&[
        (
            "p1",
            json!({ "addresses": ["10.50.0.0/24"], "serviceAllocation": { "priority": 1, "namespaces": ["ns1"] } }),
        ),
        (
            "p2",
            json!({ "addresses": ["30.0.0.0/24"], "serviceAllocation": { "priority": 2, "namespaceSelectors": [selector("team", "metallb")] } }),
        ),
    ]);
    for (name, all) in [
        ("ns1", &[][..]),
        ("ns2", &[("team", "metallb")][..]),
        ("ns3", &[]),
    ] {
        world.namespaces.insert(name.to_owned(), labels(all));
    }
    for (namespace, pool) in [("ns1", "p1"), ("ns2", "p2"), ("ns3", "none")] {
        assert_eq!(
            world.pool_for(&in_namespace(namespace, "s")),
            pool,
            "{namespace}"
        );
    }
    // A14
    let world = pools(&[
        (
            "p1",
            json!({ "addresses": ["30.0.0.0/24"], "serviceAllocation": { "priority": 2, "serviceSelectors": [selector("team", "metallb")] } }),
        ),
        (
            "p2",
            json!({ "addresses": ["40.0.0.0/24"], "serviceAllocation": { "priority": 3, "serviceSelectors": [selector("team", "red")] } }),
        ),
    ]);
    for (all, pool) in [
        (&[("team", "metallb")][..], "p1"),
        (&[("team", "red")], "p2"),
        (&[], "none"),
    ] {
        assert_eq!(world.pool_for(&labelled("s", all)), pool);
    }
    // A15: namespaces and Services.
    let world = pools(&[(
        "p1",
        json!({ "addresses": ["30.0.0.0/24"], "serviceAllocation": { "namespaces": ["ns1"], "serviceSelectors": [selector("s", "1")] } }),
    )]);
    for (namespace, all, pool) in [
        ("ns1", &[("s", "1")][..], "p1"),
        ("ns1", &[], "none"),
        ("ns2", &[("s", "1")], "none"),
    ] {
        let view = ServiceView {
            labels: labels(all),
            ..in_namespace(namespace, "s")
        };
        assert_eq!(world.pool_for(&view), pool, "{namespace} {all:?}");
    }
}

#[test]
fn namespace_selectors_that_match_no_namespace_serve_nobody() {
    let mut world = pools(&[(
        "p",
        json!({ "addresses": ["30.0.0.0/24"], "serviceAllocation": { "namespaceSelectors": [selector("team", "none")] } }),
    )]);
    world
        .namespaces
        .insert("shop".to_owned(), Labels::default());
    assert_eq!(world.pool_for(&service("s")), "none");
}

#[test]
fn pools_for_somebody_go_before_pools_for_all() {
    let three = || ["a", "b", "c"].map(service);
    // A16: a priority alone is for everybody.
    let world = pools(&[
        (
            "lo",
            json!({ "addresses": ["192.168.5.0/32"], "serviceAllocation": { "priority": 20 } }),
        ),
        (
            "hi",
            json!({ "addresses": ["192.168.10.0/32"], "serviceAllocation": { "priority": 10 } }),
        ),
    ]);
    assert_eq!(world.addresses(&three()), "192.168.10.0 192.168.5.0 none");
    // A17: tied ones also without a priority.
    let world = pools(&[
        ("a-general", json!({ "addresses": ["192.168.64.0/28"] })),
        (
            "b-team",
            json!({ "addresses": ["192.168.64.32/28"], "serviceAllocation": { "namespaces": ["shop"] } }),
        ),
    ]);
    assert_eq!(world.pool_for(&in_namespace("shop", "s")), "b-team");
    assert_eq!(world.pool_for(&in_namespace("blog", "s")), "a-general");
    // A18: no priority is the last one.
    let tied = |priority: Option<u32>, address: &str| {
        let mut allocation = json!({ "namespaces": ["t"] });
        if let Some(priority) = priority {
            allocation["priority"] = priority.into();
        }
        json!({ "addresses": [address], "serviceAllocation": allocation })
    };
    for none in [None, Some(0)] {
        let world = pools(&[
            ("p1", tied(Some(20), "192.168.5.0/32")),
            ("p2", tied(Some(10), "192.168.10.0/32")),
            ("p3", tied(none, "192.168.20.0/32")),
        ]);
        let services = ["a", "b", "c"].map(|name| in_namespace("t", name));
        assert_eq!(
            world.addresses(&services),
            "192.168.10.0 192.168.5.0 192.168.20.0"
        );
    }
    // A tied one of a worse priority still goes before one that is for all.
    let world = pools(&[
        ("all", json!({ "addresses": ["192.168.1.1"] })),
        (
            "tied",
            json!({ "addresses": ["192.168.1.2"], "serviceAllocation": {} }),
        ),
    ]);
    assert_eq!(
        world.addresses(&three()),
        "192.168.1.2 192.168.1.1 none",
        "a full one falls through"
    );
}

#[test]
fn a_pool_without_auto_assign_has_to_be_asked_for() {
    // A19
    let world = pools(&[(
        "p",
        json!({ "addresses": ["192.168.64.0/28"], "autoAssign": false }),
    )]);
    let services = [
        service("a"),
        asking_for_pool("p", service("b")),
        asking_for("192.168.64.9", service("c")),
    ];
    assert_eq!(world.addresses(&services), "none 192.168.64.0 192.168.64.9");
}

#[test]
fn a_pool_for_others_is_given_neither_by_name_nor_by_address() {
    // A20
    let world = pools(&[(
        "p",
        json!({ "addresses": ["1.2.5.0/24"], "serviceAllocation": { "namespaces": ["ns1"] } }),
    )]);
    let services = [
        asking_for_pool("p", in_namespace("ns2", "a")),
        asking_for("1.2.5.10", in_namespace("ns2", "b")),
        asking_for("1.2.5.10", in_namespace("ns1", "c")),
    ];
    assert_eq!(world.addresses(&services), "none none 1.2.5.10");
}

/// Who announces an address of `p1` and of `p2`, `-` for nobody.
fn covered(labels_of: &[(&str, &[(&str, &str)])], spec: Json) -> (World, [bool; 2]) {
    let mut world = World::of(&[lan("p1"), lan("p2"), l2("l", spec)]);
    for (pool, all) in labels_of {
        let key = (Kind::IpAddressPool, (*pool).to_owned());
        world.views.get_mut(&key).unwrap().labels = labels(all);
    }
    world.compile();
    let all = [P1, P2].map(|address| world.announcers(address));
    let is_covered = all.map(|who| {
        assert!(
            ["n3 n1 n2", "not_advertised"].contains(&who.as_str()) || who.len() == 8,
            "{who}"
        );
        who != "not_advertised"
    });
    (world, is_covered)
}

#[test]
fn an_advertisement_covers_the_pools_that_it_names_and_selects() {
    let pool1: &[(&str, &[(&str, &str)])] =
        &[("p1", &[("test", "pool1")]), ("p2", &[("test", "pool2")])];
    let select = |value: &str| json!([selector("test", value)]);
    let rows = [
        (Json::Null, [true, true]), // A21
        (json!({}), [true, true]),
        (
            json!({ "ipAddressPools": [], "ipAddressPoolSelectors": [] }),
            [true, true],
        ),
        (json!({ "ipAddressPools": ["p1"] }), [true, false]), // A22
        (
            json!({ "ipAddressPoolSelectors": select("pool1") }),
            [true, false],
        ), // A23
        (
            json!({ "ipAddressPoolSelectors": select("no-such") }),
            [false, false],
        ), // A24
        (json!({ "ipAddressPools": ["gone"] }), [false, false]), // A25
        (
            json!({ "ipAddressPools": ["p1"], "ipAddressPoolSelectors": select("pool1") }),
            [true, false],
        ), // A27
        (
            json!({ "ipAddressPools": ["p1"], "ipAddressPoolSelectors": select("pool2") }),
            [true, true],
        ),
        (
            json!({ "ipAddressPools": ["gone"], "ipAddressPoolSelectors": select("pool2") }),
            [false, true],
        ),
        (json!({ "ipAddressPoolSelectors": [{}] }), [true, true]),
        (
            json!({ "ipAddressPoolSelectors": [{ "matchExpressions": [
            { "key": "test", "operator": "In", "values": ["pool1", "x"] }] }] }),
            [true, false],
        ),
        (
            json!({ "ipAddressPoolSelectors": [{ "matchExpressions": [
            { "key": "test", "operator": "NotIn", "values": ["pool1"] }] }] }),
            [false, true],
        ),
        (
            json!({ "ipAddressPoolSelectors": [{ "matchExpressions": [
            { "key": "test", "operator": "Exists" }] }] }),
            [true, true],
        ),
        (
            json!({ "ipAddressPoolSelectors": [{ "matchExpressions": [
            { "key": "test", "operator": "DoesNotExist" }] }] }),
            [false, false],
        ),
    ];
    for (spec, want) in rows {
        let (world, is_covered) = covered(pool1, spec.clone());
        assert_eq!(is_covered, want, "{spec}");
        assert!(!world.is_refused("l"), "{spec}");
        let told = ["p1", "p2"].map(|name| world.said(name).concat().contains("not_advertised"));
        assert_eq!(told, want.map(|is_covered| !is_covered), "{spec}");
    }
}

#[test]
fn a_pool_that_an_advertisement_names_before_it_exists_is_announced_once_it_does() {
    let mut world = World::of(&[lan("p1"), l2("l", json!({ "ipAddressPools": ["p2"] }))]); // A25
    let said = world.said("l").concat();
    assert!(
        said.contains("warning unknown_reference: spec.ipAddressPools[0]: no pool is called `p2`"),
        "{said}"
    );
    world.apply(Kind::IpAddressPool, "p2", lan("p2").2);
    assert_eq!(world.said("l"), [""; 0]);
    assert_ne!(world.announcers(P2), "not_advertised");
}

#[test]
fn what_says_the_same_twice_is_refused() {
    let twice = |key: &str, entry: Json| json!({ key: [entry.clone(), entry] });
    let rows = [
        twice("ipAddressPools", json!("p1")),               // A26
        twice("nodeSelectors", selector("second", "true")), // A35
        twice("ipAddressPoolSelectors", selector("a", "b")),
        twice("serviceSelectors", selector("a", "b")),
    ];
    for spec in rows {
        let world = World::of(&[lan("p1"), l2("l", spec.clone())]);
        assert!(world.is_refused("l"), "{spec}");
        assert_eq!(world.announcers(P1), "not_advertised", "{spec}");
    }
}

#[test]
fn an_object_of_another_namespace_has_no_effect_and_says_so() {
    let mut world = World::of(&[lan("p1")]); // A28
    world.set(Kind::L2Advertisement, "l", json!({})).namespace = "other".to_owned();
    world.compile();
    assert_eq!(world.announcers(P1), "not_advertised");
    let said = world.said("l").concat();
    assert!(
        said.starts_with("warning other_namespace: ") && said.contains("metallb-system"),
        "{said}"
    );
}

#[test]
fn nodes_are_those_that_any_selector_selects() {
    // A29
    let spec = json!({ "nodeSelectors": [host("n1"), host("n2")] });
    let world = World::of(&[lan("p1"), l2("l", spec)]);
    assert_eq!(world.announcers(P1), "n1 n2");
    // A30
    let mut world = World::of(&[
        lan("p1"),
        l2("l", json!({ "nodeSelectors": [selector("lb", "yes")] })),
    ]);
    assert_eq!(world.announcers(P1), "node_not_selected");
    world.node_labels.insert("n2", ("lb", "yes"));
    assert_eq!(world.announcers(P1), "n2");
    world.node_labels.clear();
    assert_eq!(world.announcers(P1), "node_not_selected");
}

#[test]
fn advertisements_of_one_pool_add_up_node_by_node() {
    let of =
        |node: &str, link: &str| json!({ "nodeSelectors": [host(node)], "interfaces": [link] });
    // A31
    let world = World::of(&[
        lan("p1"),
        l2("a", of("n1", "eth0")),
        l2("b", of("n2", "eth1")),
    ]);
    assert_eq!(world.announcers("192.168.64.241"), "n1 n2");
    assert_eq!(world.links(P1), "n1:eth0 n2:eth1");
    // A32
    let world = World::of(&[
        lan("p1"),
        l2("a", json!({ "interfaces": ["eth0"] })),
        l2("b", json!({ "interfaces": ["eth1", "eth2"] })),
    ]);
    assert_eq!(
        world.links(P1),
        "n1:eth0,eth1,eth2 n2:eth0,eth1,eth2 n3:eth0,eth1,eth2"
    );
    // A33
    let world = World::of(&[
        lan("p1"),
        l2("a", json!({ "interfaces": ["eth0"] })),
        l2("b", json!({})),
    ]);
    assert_eq!(world.links(P1), "n1:* n2:* n3:*");
    // A34: no node has it, which each node finds for itself.
    let world = World::of(&[lan("p1"), l2("a", json!({ "interfaces": ["foo"] }))]);
    assert_eq!(world.links(P1), "n1:foo n2:foo n3:foo");
    // A name that no link can have still is none of the others.
    let world = World::of(&[
        lan("p1"),
        l2("a", json!({ "interfaces": ["a/very/long/name/of/a/link"] })),
    ]);
    assert_eq!(world.links(P1).matches("a/very").count(), 3);
}

#[test]
fn an_advertisement_may_be_about_some_services() {
    // A36
    let spec = json!({ "serviceSelectors": [selector("app", "nginx"), selector("app", "apache")] });
    let world = World::of(&[lan("p1"), l2("l", spec)]);
    for (app, want) in [
        ("nginx", "n3 n1 n2"),
        ("apache", "n3 n1 n2"),
        ("other", "not_advertised"),
    ] {
        let view = labelled("s", &[("app", app)]);
        assert_eq!(world.announcers_of(P1, &[&view]), want, "{app}");
    }
    // A37
    let mut world = World::of(&[
        lan("a"),
        lan("b"),
        l2(
            "l",
            json!({ "ipAddressPoolSelectors": [selector("pool", "a")], "serviceSelectors": [selector("expose", "true")] }),
        ),
    ]);
    for name in ["a", "b"] {
        let key = (Kind::IpAddressPool, name.to_owned());
        world.views.get_mut(&key).unwrap().labels = labels(&[("pool", name)]);
    }
    world.compile();
    for (address, expose, want) in [
        (P1, "true", "n3 n1 n2"),
        (P2, "true", "not_advertised"),
        (P1, "false", "not_advertised"),
        (P1, "true", "n3 n1 n2"),
    ] {
        let view = labelled("s", &[("expose", expose)]);
        assert_eq!(
            world.announcers_of(address, &[&view]),
            want,
            "{address} {expose}"
        );
    }
}

#[test]
fn who_shares_an_address_by_key_is_not_announced_where_advertisements_choose_services() {
    // A38
    let world = World::of(&[
        lan("p1"),
        l2("all", Json::Null),
        l2(
            "some",
            json!({ "serviceSelectors": [selector("app", "nginx")] }),
        ),
    ]);
    let shared = |app: &str, key: Option<&str>| ServiceView {
        sharing_key: key.map(Into::into),
        ..labelled("s", &[("app", app)])
    };
    let rows = [
        ("nginx", Some("k"), "shared_with_selectors"),
        ("nginx", Some(""), "shared_with_selectors"),
        ("nginx", None, "n3 n1 n2"),
        ("web", Some("k"), "n3 n1 n2"),
    ];
    for (app, key, want) in rows {
        assert_eq!(
            world.announcers_of(P1, &[&shared(app, key)]),
            want,
            "{app} {key:?}"
        );
    }
    let (blocked, free) = (shared("nginx", Some("k")), shared("web", Some("k")));
    assert_eq!(
        world.announcers_of(P1, &[&blocked, &free]),
        "n3 n1 n2",
        "the other one is announced"
    );
}

#[test]
fn preferred_nodes_are_read_with_their_weights() {
    let spec = json!({ "preferredNodeSelectors": [{ "weight": 10, "preference": host("n2") }] });
    let world = World::of(&[lan("p1"), l2("l", spec)]);
    let [one] = world.compiled.config.layer2.as_slice() else {
        panic!("one")
    };
    assert_eq!(one.preferred_nodes[0].weight, 10);
    for weight in [json!(0), json!(101), json!("10"), Json::Null] {
        let spec = json!({ "preferredNodeSelectors": [{ "weight": weight, "preference": {} }] });
        assert!(World::of(&[l2("l", spec)]).is_refused("l"), "{weight}");
    }
    let without = json!({ "preferredNodeSelectors": [{ "weight": 1 }] });
    assert!(World::of(&[l2("l", without)]).is_refused("l"));
}
