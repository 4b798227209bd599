//! What objects come to together.

use super::*;
use crate::config::Neighbour;

fn range(first: u8, last: u8) -> Json {
    json!({ "addresses": [format!("10.0.0.{first}-10.0.0.{last}")] })
}

/// The pools in force, as `a:10.0.0.1-10.0.0.9`.
fn in_force(world: &World) -> String {
    let pools = world.compiled.config.pools.iter();
    let pools = pools.map(|pool| {
        let ranges: Vec<_> = pool.ranges.iter().map(ToString::to_string).collect();
        format!("{}:{}", pool.name, ranges.join(","))
    });
    pools.collect::<Vec<_>>().join(" ").replace("10.0.0.", "")
}

#[test]
fn a_bad_object_keeps_its_last_good_version_and_freezes_no_other() {
    let mut world = World::of(&[lan("p1"), l2("l", json!({ "interfaces": ["eth0"] }))]);
    world.apply(Kind::L2Advertisement, "l", json!({ "interfaces": "eth1" }));
    assert!(
        world
            .said("l")
            .concat()
            .starts_with("former config_refused: spec.interfaces: ")
    );
    assert_eq!(world.links(P1), "n1:eth0 n2:eth0 n3:eth0");
    world.apply(Kind::IpAddressPool, "p2", lan("p2").2);
    assert_eq!(world.announcers(P2).len(), 8, "another one comes in");
    world.apply(
        Kind::L2Advertisement,
        "l",
        json!({ "interfaces": ["eth1"] }),
    );
    assert_eq!(
        (world.said("l").len(), world.links(P1).as_str()),
        (0, "n1:eth1 n2:eth1 n3:eth1")
    );
}

#[test]
fn an_object_that_was_never_good_is_left_out_and_one_that_was_created_anew_is_another_one() {
    let mut world = World::of(&[(Kind::IpAddressPool, "p", json!({ "addresses": ["x"] }))]);
    assert_eq!(in_force(&world), "");
    world.apply(Kind::IpAddressPool, "p", range(1, 9));
    world.views.clear();
    world.set(Kind::IpAddressPool, "p", json!({ "addresses": ["x"] }));
    world.compile();
    assert_eq!(in_force(&world), "", "it was deleted and created");
    assert!(world.said("p").concat().starts_with("refused"));
}

#[test]
fn what_was_in_force_before_a_restart_stays_beside_an_object_with_errors() {
    let mut world = World::of(&[
        lan("p1"),
        l2(
            "l",
            json!({ "ipAddressPoolSelectors": [selector("a", "b")], "nodeSelectors": [host("n1")] }),
        ),
        (
            Kind::Community,
            "c",
            json!({ "communities": [{ "name": "far", "value": "1:2" }] }),
        ),
        (
            Kind::BgpAdvertisement,
            "b",
            json!({ "communities": ["far"] }),
        ),
        (Kind::BfdProfile, "f", json!({ "receiveInterval": 50 })),
        (
            Kind::BgpPeer,
            "r",
            json!({ "myASN": 1, "peerASN": 2, "peerAddress": "10.0.0.1" }),
        ),
    ]);
    let key = (Kind::IpAddressPool, "p1".to_owned());
    world.views.get_mut(&key).unwrap().labels = labels(&[("a", "b"), ("unread", "x")]);
    world.compile();
    let before = world.compiled.config.clone();
    assert_eq!(
        before.pools[0].labels,
        labels(&[("a", "b")]),
        "what nobody selects by is not kept"
    );
    for (kind, name) in world.views.keys().cloned().collect::<Vec<_>>() {
        world.set(kind, &name, json!({ "addresses": 1, "nodeSelectors": 1, "communities": 1, "receiveInterval": "x", "myASN": 0 }));
    }
    world.objects = Objects::restored(NAMESPACE.to_owned(), &before);
    world.compile();
    assert_eq!(world.compiled.config, before);
    for name in ["p1", "l", "b", "f", "r"] {
        assert!(
            world
                .said(name)
                .concat()
                .starts_with("former config_refused"),
            "{name}"
        );
    }
    assert!(
        world
            .said("c")
            .concat()
            .starts_with("refused config_refused"),
        "its names are not kept"
    );
}

#[test]
fn what_was_in_force_before_a_restart_goes_with_its_object() {
    let before = World::of(&[lan("p1"), lan("p2"), l2("l", Json::Null)])
        .compiled
        .config;
    let mut world = World::of(&[]);
    world.objects = Objects::restored(NAMESPACE.to_owned(), &before);
    world.apply(Kind::IpAddressPool, "p2", lan("p2").2);
    assert_eq!(world.compiled.config.pools.len(), 1);
    assert_eq!(world.compiled.config.layer2, []);
}

#[test]
fn of_overlapping_pools_the_one_in_force_stays_also_if_it_is_younger() {
    let mut world = World::of(&[
        (Kind::IpAddressPool, "old", range(1, 9)),
        (Kind::IpAddressPool, "young", range(11, 19)),
    ]);
    world.apply(Kind::IpAddressPool, "old", range(1, 15));
    assert_eq!(in_force(&world), "old:1-9 young:11-19");
    assert!(
        world
            .said("old")
            .concat()
            .starts_with("former pool_overlaps")
    );
    world.delete(Kind::IpAddressPool, "young");
    assert_eq!(
        (in_force(&world).as_str(), world.said("old").len()),
        ("old:1-15", 1),
        "not advertised"
    );
}

#[test]
fn of_two_edits_that_overlap_neither_takes_what_the_other_has_in_force() {
    let mut world = World::of(&[
        (Kind::IpAddressPool, "a", range(1, 9)),
        (Kind::IpAddressPool, "b", range(11, 19)),
    ]);
    // `b` keeps its addresses and is edited all the same.
    world.set(Kind::IpAddressPool, "a", range(1, 19));
    let spec = json!({ "addresses": ["10.0.0.11-10.0.0.19"], "autoAssign": false });
    world.set(Kind::IpAddressPool, "b", spec);
    world.compile();
    assert_eq!(in_force(&world), "a:1-9 b:11-19");
    assert!(!world.pool("b").unwrap().auto_assign);
}

#[test]
fn pools_may_swap_their_addresses_in_one_step() {
    let mut world = World::of(&[
        (Kind::IpAddressPool, "a", range(1, 9)),
        (Kind::IpAddressPool, "b", range(11, 19)),
    ]);
    world.set(Kind::IpAddressPool, "a", range(11, 19));
    world.set(Kind::IpAddressPool, "b", range(1, 9));
    world.compile();
    assert_eq!(in_force(&world), "a:11-19 b:1-9");
}

#[test]
fn whoever_falls_back_to_what_is_in_force_finds_its_addresses_there() {
    let mut world = World::of(&[
        (Kind::IpAddressPool, "a", range(1, 9)),
        (Kind::IpAddressPool, "b", range(11, 19)),
        (Kind::IpAddressPool, "c", range(21, 29)),
    ]);
    // `a` wants what `b` gives up, and `b` cannot have what it wants.
    world.set(Kind::IpAddressPool, "a", range(11, 19));
    world.set(Kind::IpAddressPool, "b", range(21, 22));
    world.compile();
    assert_eq!(in_force(&world), "a:1-9 b:11-19 c:21-29");
}

#[test]
fn a_pool_with_errors_keeps_its_addresses_from_others() {
    let mut world = World::of(&[(Kind::IpAddressPool, "a", range(1, 9))]);
    world.set(Kind::IpAddressPool, "a", json!({ "addresses": [] }));
    world.set(Kind::IpAddressPool, "b", range(5, 15));
    world.compile();
    assert_eq!(in_force(&world), "a:1-9");
    assert!(
        world
            .said("b")
            .concat()
            .starts_with("refused pool_overlaps")
    );
}

#[test]
fn of_pools_of_one_age_the_first_name_counts() {
    let views = ["b", "a"].map(|name| view(Kind::IpAddressPool, name, range(1, 9), 7));
    let compiled = Objects::new(NAMESPACE.to_owned()).compile(&views);
    assert_eq!(compiled.config.pools[0].name, "a");
}

#[test]
fn an_object_of_bgp_with_errors_hurts_no_layer_2() {
    let good = World::of(&[lan("p1"), l2("l", Json::Null)]);
    let rows = [
        (Kind::BgpPeer, json!({ "myASN": 0 })),
        (Kind::BgpPeer, json!({ "peerAddress": {} })),
        (Kind::BgpAdvertisement, json!({ "aggregationLength": 99 })),
        (
            Kind::BgpAdvertisement,
            json!({ "communities": ["no-such"] }),
        ),
        (Kind::BfdProfile, json!({ "receiveInterval": 1 })),
        (
            Kind::Community,
            json!({ "communities": [{ "name": "x", "value": "y" }] }),
        ),
    ];
    for (kind, spec) in rows {
        let world = World::of(&[lan("p1"), l2("l", Json::Null), (kind, "bad", spec.clone())]);
        assert!(world.is_refused("bad"), "{kind} {spec}");
        assert_eq!(world.compiled.config, good.compiled.config, "{kind} {spec}");
    }
}

#[test]
fn names_of_communities_stand_for_what_the_older_object_says() {
    let community = |value: &str| json!({ "communities": [{ "name": "far", "value": value }] });
    let route = json!({ "communities": ["far", "64512:9", "large:1:2:3"] });
    let mut world = World::of(&[
        (Kind::Community, "z", community("1:1")),
        (Kind::Community, "a", community("2:2")),
        (Kind::BgpAdvertisement, "b", route),
    ]);
    let of = |world: &World| {
        let route = &world.compiled.config.bgp[0].route;
        (route.communities.clone(), route.large_communities.clone())
    };
    assert_eq!(of(&world), (vec![0x1_0001, 0xfc00_0009], vec![[1, 2, 3]]));
    assert!(
        world
            .said("a")
            .concat()
            .contains("warning config_warning: spec.communities[0].name: community `far`")
    );
    world.delete(Kind::Community, "z");
    assert_eq!(of(&world).0, [0x2_0002, 0xfc00_0009]);
    world.delete(Kind::Community, "a");
    assert_eq!(of(&world).0, [0x2_0002, 0xfc00_0009], "the last good one");
    let said = world.said("b").concat();
    assert!(
        said.starts_with(
            "former config_refused: spec.communities[0]: no community is called `far`"
        ),
        "{said}"
    );
}

#[test]
fn an_aggregate_fits_into_each_pool_that_it_stands_for() {
    let pool = |cidr: &str| json!({ "addresses": [cidr] });
    let rows = [
        (json!({ "aggregationLength": 24 }), true, false),
        (json!({ "aggregationLength": 26 }), false, false),
        (
            json!({ "aggregationLength": 24, "ipAddressPools": ["wide"] }),
            false,
            false,
        ),
        (json!({ "aggregationLength": 33 }), true, false),
        (json!({ "aggregationLength": 0 }), true, false),
        (json!({ "aggregationLengthV6": 64 }), false, false),
        (json!({ "aggregationLengthV6": 64 }), true, true),
        (
            json!({ "aggregationLength": 26, "serviceSelectors": [selector("a", "b")] }),
            true,
            false,
        ),
        (
            json!({ "aggregationLength": 32, "serviceSelectors": [selector("a", "b")] }),
            false,
            false,
        ),
    ];
    for (spec, is_refused, with_v6) in rows {
        let mut objects = vec![
            (Kind::IpAddressPool, "wide", pool("10.0.0.0/24")),
            (Kind::IpAddressPool, "narrow", pool("10.0.1.0/26")),
            (Kind::BgpAdvertisement, "b", spec.clone()),
        ];
        if with_v6 {
            objects.push((Kind::IpAddressPool, "six", pool("fd00::/120")));
        }
        assert_eq!(World::of(&objects).is_refused("b"), is_refused, "{spec}");
    }
}

#[test]
fn references_to_nothing_are_warnings() {
    let world = World::of(&[
        (
            Kind::BgpPeer,
            "router",
            json!({ "myASN": 1, "peerASN": 2, "peerAddress": "10.0.0.1", "bfdProfile": "fats" }),
        ),
        (Kind::BfdProfile, "fast", json!({})),
        (
            Kind::BgpAdvertisement,
            "b",
            json!({ "peers": ["routre"], "ipAddressPoolSelectors": [selector("a", "b")] }),
        ),
        (Kind::IpAddressPool, "bad", json!({ "addresses": [] })),
        l2("l", json!({ "ipAddressPools": ["bad"] })),
    ]);
    let rows = [
        (
            "router",
            "no BFD profile is called `fats`: did you mean `fast`?",
        ),
        ("b", "no peer is called `routre`: did you mean `router`?"),
        ("b", "spec.ipAddressPoolSelectors: no pool has such labels"),
        ("l", "pool `bad` is not in force"),
    ];
    for (name, words) in rows {
        let said = world.said(name).concat();
        assert!(
            said.starts_with("warning unknown_reference: ") && said.contains(words),
            "{said}"
        );
    }
    let peer = &world.compiled.config.peers[0];
    assert_eq!(
        peer.neighbour,
        Neighbour::Address("10.0.0.1".parse().unwrap())
    );
    assert_eq!(peer.bfd_profile.as_deref(), Some("fats"));
}

#[test]
fn addresses_that_no_host_can_have_are_left_out_of_a_pool() {
    let world = World::of(&[(
        Kind::IpAddressPool,
        "p",
        json!({ "addresses": ["126.255.255.0-127.0.0.9"] }),
    )]);
    assert_eq!(
        world.pool("p").unwrap().ranges[0].to_string(),
        "126.255.255.0-126.255.255.255"
    );
    assert!(
        world
            .said("p")
            .concat()
            .contains("warning addresses_left_out: spec.addresses[0]: ")
    );
}

#[test]
fn the_order_in_which_objects_come_makes_no_difference() {
    let mut world = World::of(&[
        lan("p1"),
        lan("p2"),
        l2("l", Json::Null),
        l2("m", json!({ "interfaces": ["eth0"] })),
    ]);
    let views: Vec<_> = world.views.values().rev().cloned().collect();
    let reversed = world.objects.clone().compile(&views);
    world.compile();
    assert_eq!(reversed, world.compiled);
    assert_eq!(
        world.objects.compile(&views),
        world.compiled,
        "nor does doing it again"
    );
}

#[test]
fn a_password_is_shown_nowhere() {
    let peer = |extra: Json| {
        let mut spec =
            json!({ "myASN": 1, "peerASN": 2, "peerAddress": "10.0.0.1", "password": "hunter2" });
        for (key, value) in extra.as_object().unwrap() {
            spec[key] = value.clone();
        }
        spec
    };
    let rows = [
        json!({}),
        json!({ "passwordSecret": { "name": "s" } }),
        json!({ "password": ["hunter2"] }),
        json!({ "password": { "hunter2": "x" } }),
        json!({ "pasword": "hunter2" }),
        json!({ "passwordSecret": "hunter2" }),
    ];
    for extra in rows {
        let mut world = World::of(&[]);
        world.apply(Kind::BgpPeer, "r", peer(extra.clone()));
        let all = format!("{:?} {:?} {:?}", world.compiled, world.objects, world.views);
        assert!(!all.contains("hunter2"), "{extra}: {all}");
    }
    let world = World::of(&[(Kind::BgpPeer, "r", peer(json!({})))]);
    assert_eq!(world.compiled.config.peers[0].password.expose(), "hunter2");
}

#[test]
fn an_object_that_is_larger_than_anybody_writes_is_refused() {
    let many = |count: usize| {
        let all: Vec<_> = (0..count)
            .map(|n| format!("10.{}.{}.{}", n >> 16, n >> 8 & 255, n & 255))
            .collect();
        json!({ "addresses": all })
    };
    let world = World::of(&[(Kind::IpAddressPool, "p", many(10_000))]);
    assert_eq!(world.pool("p").unwrap().ranges.len(), 10_000);
    for spec in [many(100_000), json!({ "addresses": vec![1; 30_000] })] {
        let world = World::of(&[(Kind::IpAddressPool, "p", spec)]);
        assert!(world.is_refused("p"));
    }
}

#[test]
fn a_thousand_pools_and_a_thousand_advertisements_are_all_in_force_also_the_second_time() {
    let mut views = Vec::new();
    for n in 0..1_000 {
        let spec = json!({ "addresses": [format!("10.{}.{}.0/24", n / 256, n % 256)] });
        let mut pool = view(Kind::IpAddressPool, &format!("p{n}"), spec, n);
        pool.labels = labels(&[("n", &n.to_string()), ("all", "yes")]);
        views.push(pool);
        let spec = json!({
            "ipAddressPoolSelectors": [selector("n", &format!("x{n}")), selector("all", "no")],
            "nodeSelectors": [host(&format!("n{n}"))],
        });
        views.push(view(Kind::L2Advertisement, &format!("l{n}"), spec, n));
    }
    let mut objects = Objects::new(NAMESPACE.to_owned());
    for round in ["first", "again"] {
        let compiled = objects.compile(&views);
        assert_eq!(
            (compiled.config.pools.len(), compiled.config.layer2.len()),
            (1_000, 1_000),
            "{round}"
        );
    }
}
