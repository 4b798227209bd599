//! BGP advertisements beside each other.

use super::*;

const LANS: [(&str, &str); 2] = [
    ("lan", "192.168.64.240-192.168.64.250"),
    ("dmz", "192.168.65.240-192.168.65.250"),
];

fn bgp(name: &'static str, spec: Json) -> (Kind, &'static str, Json) {
    (Kind::BgpAdvertisement, name, spec)
}

/// Two pools, announced by layer 2 as well, and these.
fn world(objects: &[(Kind, &'static str, Json)]) -> World {
    let pools = LANS.iter().map(|(name, addresses)| {
        (
            Kind::IpAddressPool,
            *name,
            json!({ "addresses": [addresses] }),
        )
    });
    let mut all: Vec<_> = pools.chain([l2("l", Json::Null)]).collect();
    all.extend_from_slice(objects);
    World::of(&all)
}

/// Names and `localPref` of what is in force, as `a:100 b:200`.
fn in_force(world: &World) -> String {
    let routes = world.compiled.config.bgp.iter();
    let routes = routes.map(|one| format!("{}:{}", one.name, one.route.localpref));
    routes.collect::<Vec<_>>().join(" ")
}

fn hosts(names: &[&str]) -> Json {
    let expression = json!({ "key": "kubernetes.io/hostname", "operator": "In", "values": names });
    json!({ "nodeSelectors": [{ "matchExpressions": [expression] }] })
}

fn with(mut spec: Json, more: &Json) -> Json {
    let spec_map = spec.as_object_mut().unwrap();
    spec_map.extend(more.as_object().unwrap().clone());
    spec
}

#[test]
fn of_two_that_contradict_each_other_the_older_one_counts() {
    let pref = |number: u32, more: &Json| with(json!({ "localPref": number }), more);
    let zone = |zone: &str| json!({ "nodeSelectors": [selector("zone", zone)] });
    let none = json!({});
    let same = [
        // Equal, or not about the same route.
        (pref(100, &none), pref(100, &json!({ "peers": ["r"] }))),
        (
            pref(100, &json!({ "ipAddressPools": ["lan"] })),
            pref(200, &json!({ "ipAddressPools": ["dmz"] })),
        ),
        (
            pref(100, &json!({ "peers": ["r"] })),
            pref(200, &json!({ "peers": ["s"] })),
        ),
        (
            pref(100, &none),
            pref(
                200,
                &json!({ "aggregationLength": 30, "aggregationLengthV6": 64 }),
            ),
        ),
        // No pool has IPv6.
        (
            pref(100, &none),
            pref(200, &json!({ "aggregationLength": 30 })),
        ),
        (pref(100, &hosts(&["n1"])), pref(200, &hosts(&["n2", "n3"]))),
        (pref(100, &zone("east")), pref(200, &zone("west"))),
        (
            pref(
                100,
                &json!({ "nodeSelectors": [{ "matchExpressions": [{ "key": "edge", "operator": "Exists" }] }] }),
            ),
            pref(
                200,
                &json!({ "nodeSelectors": [{ "matchExpressions": [{ "key": "edge", "operator": "DoesNotExist" }] }] }),
            ),
        ),
        (
            pref(
                100,
                &json!({ "nodeSelectors": [{ "matchExpressions": [{ "key": "zone", "operator": "NotIn", "values": ["east"] }] }] }),
            ),
            pref(200, &zone("east")),
        ),
        // The Services say which is about what.
        (
            pref(100, &none),
            pref(200, &json!({ "serviceSelectors": [selector("a", "b")] })),
        ),
        (
            pref(100, &json!({ "serviceSelectors": [selector("a", "b")] })),
            pref(200, &none),
        ),
    ];
    for (older, younger) in same {
        let world = world(&[bgp("z", older.clone()), bgp("a", younger.clone())]);
        let said = (world.said("z"), world.said("a"));
        let is_silent = |said: &[String]| said.iter().all(|one| one.contains("unknown_reference"));
        assert!(
            is_silent(&said.0) && is_silent(&said.1),
            "{older} {younger}: {said:?}"
        );
        assert_eq!(world.compiled.config.bgp.len(), 2, "{older} {younger}");
    }
    let contradictory = [
        (pref(100, &none), pref(200, &none)),
        (none.clone(), pref(200, &none)),
        (
            pref(100, &none),
            pref(200, &json!({ "ipAddressPools": ["lan"], "peers": ["r"] })),
        ),
        (
            pref(100, &json!({ "peers": ["r", "s"] })),
            pref(200, &json!({ "peers": ["s", "t"] })),
        ),
        // IPv6 is no matter.
        (
            pref(100, &none),
            pref(200, &json!({ "aggregationLengthV6": 64 })),
        ),
        (pref(100, &hosts(&["n1", "n2"])), pref(200, &hosts(&["n2"]))),
        (pref(100, &zone("east")), pref(200, &none)),
        (
            pref(100, &zone("east")),
            pref(
                200,
                &json!({ "nodeSelectors": [selector("zone", "west"), selector("zone", "east")] }),
            ),
        ),
        (
            pref(100, &zone("east")),
            pref(
                200,
                &json!({ "nodeSelectors": [{ "matchLabels": { "zone": "east", "edge": "yes" } }] }),
            ),
        ),
        (json!({ "asPathPrepend": 1 }), json!({ "asPathPrepend": 2 })),
        (json!({}), json!({ "asPathPrepend": 2 })),
    ];
    for (older, younger) in contradictory {
        let world = world(&[bgp("z", older.clone()), bgp("a", younger.clone())]);
        assert!(world.is_refused("a"), "{older} {younger}");
        assert!(!world.is_refused("z"), "{older} {younger}");
        assert_eq!(world.compiled.config.bgp.len(), 1, "{older} {younger}");
        assert_eq!(
            world.announcers(P1).len(),
            8,
            "layer 2 is as it was: {older} {younger}"
        );
    }
}

#[test]
fn each_family_is_judged_by_its_own_length() {
    let dual = (
        Kind::IpAddressPool,
        "dual",
        json!({ "addresses": ["10.0.0.0/24", "fd00::/112"] }),
    );
    for (length, v6, is_refused) in [
        (32, 128, true),
        (28, 128, true),
        (32, 120, true),
        (28, 120, false),
    ] {
        let other = json!({
            "localPref": 7, "aggregationLength": length, "aggregationLengthV6": v6, "ipAddressPools": ["dual"],
        });
        let world = World::of(&[dual.clone(), bgp("a", json!({})), bgp("b", other)]);
        assert_eq!(world.is_refused("b"), is_refused, "/{length} /{v6}");
    }
}

#[test]
fn a_contradiction_is_said_with_both_values_and_what_to_do() {
    let world = world(&[
        bgp("old", json!({ "localPref": 100 })),
        bgp("new", json!({ "localPref": 200, "peers": ["r"] })),
    ]);
    assert_eq!(
        world.said("new")[0],
        "refused config_refused: spec.localPref: `localPref` is 200 here and 100 in BGPAdvertisement `old`, which \
         stays in force: both announce the same routes of pool `dmz` to the same routers: write the same value in \
         both, or give them different pools, peers or nodes: until then this one is left out"
    );
    let prepended = self::world(&[
        bgp("old", Json::Null),
        bgp("new", json!({ "asPathPrepend": 3 })),
    ]);
    let said = prepended.said("new").concat();
    assert!(
        said.contains("`asPathPrepend` is 3 here and none in BGPAdvertisement `old`"),
        "{said}"
    );
}

#[test]
fn the_one_in_force_stays_and_edits_that_are_seen_together_are_judged_together() {
    let pref = |number: u32| json!({ "localPref": number });
    let in_lan = |number: u32| with(pref(number), &json!({ "ipAddressPools": ["lan"] }));
    let mut world = world(&[bgp("a", pref(100)), bgp("b", in_lan(100))]);
    assert_eq!(in_force(&world), "a:100 b:100");
    // One alone is refused, also the older one: what is in force stays.
    for name in ["a", "b"] {
        world.apply(Kind::BgpAdvertisement, name, in_lan(200));
        assert_eq!(in_force(&world), "a:100 b:100", "{name}");
        let said = world.said(name).concat();
        assert!(
            said.starts_with("former config_refused: spec.localPref"),
            "{said}"
        );
        let other = if name == "a" { "b" } else { "a" };
        assert!(!world.is_refused(other), "nobody has edited {other}");
        assert!(said.contains("the last good version of this one stays in force"));
        world.apply(Kind::BgpAdvertisement, name, in_lan(100));
        assert_eq!(world.said(name).len(), usize::from(name == "b"), "equal");
    }
    // Both at once.
    world.set(Kind::BgpAdvertisement, "a", pref(200));
    world.set(Kind::BgpAdvertisement, "b", in_lan(200));
    world.compile();
    assert_eq!(in_force(&world), "a:200 b:200");
    // A third one comes in as soon as it may.
    world.apply(Kind::BgpAdvertisement, "c", pref(300));
    assert_eq!(in_force(&world), "a:200 b:200");
    world.delete(Kind::BgpAdvertisement, "a");
    assert_eq!(in_force(&world), "b:200");
    world.delete(Kind::BgpAdvertisement, "b");
    assert_eq!(in_force(&world), "c:300");
    assert!(world.said("c").is_empty(), "{:?}", world.said("c"));
}

#[test]
fn a_pool_that_comes_between_two_takes_neither_out_of_force() {
    let team = json!({ "localPref": 200, "ipAddressPoolSelectors": [selector("team", "x")] });
    let lan = json!({ "localPref": 100, "ipAddressPools": ["lan"] });
    let mut world = world(&[bgp("a", lan), bgp("b", team)]);
    let key = (Kind::IpAddressPool, "lan".to_owned());
    world.views.get_mut(&key).unwrap().labels = labels(&[("team", "x")]);
    for _ in 0..2 {
        world.compile();
        assert_eq!(in_force(&world), "a:100 b:200");
        assert!(world.said("a").is_empty(), "{:?}", world.said("a"));
        let said = world.said("b").concat();
        assert!(said.starts_with("former config_refused"), "{said}");
    }
    world.views.get_mut(&key).unwrap().labels = Labels::default();
    world.compile();
    assert!(!world.is_refused("b"));
}

#[test]
fn nodes_that_may_have_both_labels_are_a_warning() {
    let by = |number: u32, label: &str| json!({ "localPref": number, "nodeSelectors": [selector(label, "yes")] });
    let world = world(&[bgp("a", by(100, "edge")), bgp("b", by(200, "rack"))]);
    assert_eq!(in_force(&world), "a:100 b:200");
    let said = world.said("b").concat();
    assert!(
        said.starts_with("warning config_warning: spec.localPref")
            && said.contains("a node with the labels of both would announce the same routes"),
        "{said}"
    );
    assert!(world.said("a").is_empty());
}

#[test]
fn two_that_say_the_same_are_a_warning_on_the_second() {
    let spec = json!({ "localPref": 100, "communities": ["1:2", "large:1:2:3"] });
    let mut world = world(&[bgp("a", spec.clone()), bgp("b", spec)]);
    assert_eq!(
        world.said("b"),
        [
            "warning config_warning: spec: it says the same as BGPAdvertisement `a`: remove one of the two"
        ]
    );
    assert_eq!(in_force(&world), "a:100 b:100");
    world.delete(Kind::BgpAdvertisement, "a");
    assert!(world.said("b").is_empty());
}

#[test]
fn an_aggregate_fits_into_pools_that_are_selected_by_their_labels() {
    let mut world = World::of(&[lan("p1")]);
    let key = (Kind::IpAddressPool, "p1".to_owned());
    world.views.get_mut(&key).unwrap().labels = labels(&[("team", "x")]);
    let spec =
        json!({ "aggregationLength": 24, "ipAddressPoolSelectors": [selector("team", "x")] });
    world.apply(Kind::BgpAdvertisement, "b", spec);
    assert!(world.is_refused("b"), "{:?}", world.said("b"));
}

#[test]
fn what_is_put_in_front_of_a_path_is_read_and_bounded() {
    for (written, want) in [
        (json!(1), Some(1)),
        (json!(10), Some(10)),
        (json!(0), None),
        (json!(11), None),
        (json!(-1), None),
        (json!("3"), None),
        (json!(2.5), None),
    ] {
        let world = world(&[bgp("b", json!({ "asPathPrepend": written.clone() }))]);
        let read = world.compiled.config.bgp.first();
        let read = read.map(|one| one.route.as_path_prepend);
        assert_eq!(read, want, "{written}");
        assert_eq!(world.is_refused("b"), want.is_none(), "{written}");
        assert_eq!(world.announcers(P1).len(), 8, "{written}");
    }
}
