use super::*;
use crate::address::AddressRange;
use crate::config::{LabelSelector, Pool, ShareWithin};
use crate::view::{AddressRequest, FamilyPolicy, Protocol, TooLong, TrafficPolicy};

pub(super) mod contended;
mod edges;
mod network;

pub(super) fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(crate) fn pool(name: &str, ranges: &[(&str, &str)]) -> Pool {
    let ranges = ranges
        .iter()
        .map(|(first, last)| AddressRange::new(address(first), address(last)));
    Pool {
        name: name.to_owned(),
        labels: Labels::default(),
        exclude: Vec::new(),
        pinned: false,
        sharing: false,
        ranges: ranges.map(Option::unwrap).collect(),
        auto_assign: true,
        avoid_buggy_ips: false,
        priority: None,
        namespaces: Vec::new(),
        namespace_selectors: Vec::new(),
        service_selectors: Vec::new(),
        share_within: ShareWithin::Cluster,
        allow_node_ports: true,
    }
}

pub(crate) fn service(name: &str) -> ServiceView {
    ServiceView {
        key: ServiceKey::new("shop", name),
        uid: format!("uid-{name}").into(),
        created: None,
        resource_version: "1".into(),
        labels: Labels::default(),
        load_balancer: true,
        class: None,
        cluster_ips: vec![address("10.96.0.1")],
        family_policy: FamilyPolicy::SingleStack,
        traffic_policy: TrafficPolicy::Cluster,
        ports: [(Protocol::Tcp, 80)].into(),
        selector: format!("app={name}").into(),
        address_requests: Box::default(),
        requested_pool: None,
        sharing_key: None,
        allow_node_ports: false,
        assigned: Vec::new(),
        status_is_canonical: true,
        status_manager: None,
        too_long: Box::default(),
        status_written: None,
        adopt_from: None,
        unknown_annotations: None,
        deleting: None,
        external_ips: Box::default(),
        move_to: None,
    }
}

pub(super) fn dual(name: &str, policy: FamilyPolicy) -> ServiceView {
    let cluster_ips = vec![address("10.96.0.1"), address("fd96::1")];
    ServiceView {
        cluster_ips,
        family_policy: policy,
        ..service(name)
    }
}

pub(super) fn asking(text: &str, view: ServiceView) -> ServiceView {
    let request = AddressRequest {
        source: "spec.loadBalancerIP".to_owned(),
        text: text.to_owned(),
    };
    ServiceView {
        address_requests: [request].into(),
        ..view
    }
}

fn from_pool(pool: &str, view: ServiceView) -> ServiceView {
    ServiceView {
        requested_pool: Some(pool.into()),
        ..view
    }
}

pub(super) fn sharing(key: &str, port: u16, view: ServiceView) -> ServiceView {
    ServiceView {
        sharing_key: Some(key.into()),
        ports: [(Protocol::Tcp, port)].into(),
        ..view
    }
}

pub(super) fn unconfigured() -> Refusal {
    Refusal::new(Reason::NotConfigured, "no configuration yet")
}

pub(super) fn configured(pools: Vec<Pool>) -> Allocator {
    let mut allocator = Allocator::new(unconfigured());
    allocator.set_config(Config {
        pools,
        ..Config::default()
    });
    allocator
}

/// Pool `default` with 10.0.0.1 to 10.0.0.3.
pub(super) fn three() -> Allocator {
    configured(vec![pool("default", &[("10.0.0.1", "10.0.0.3")])])
}

/// Settles the view alone, and says in a few words what came of it.
pub(super) fn ensure(allocator: &mut Allocator, view: &ServiceView) -> String {
    let decision = allocator.ensure(view);
    allocator.holdings.check();
    told(&decision)
}

pub(super) fn told(decision: &Decision) -> String {
    let mut words: Vec<_> = decision
        .addresses()
        .iter()
        .map(ToString::to_string)
        .collect();
    words.extend(decision.refusal().map(|refusal| refusal.reason.to_string()));
    words.join(" ")
}

#[test]
fn the_lowest_free_address_of_the_first_pool_is_given() {
    let mut allocator = configured(vec![
        pool(
            "first",
            &[("10.0.0.9", "10.0.0.9"), ("10.0.0.1", "10.0.0.2")],
        ),
        pool("second", &[("10.0.1.1", "10.0.1.1")]),
    ]);
    assert_eq!(
        ensure(&mut allocator, &service("a")),
        "10.0.0.9",
        "the order of the file counts"
    );
    assert_eq!(ensure(&mut allocator, &service("b")), "10.0.0.1");
    assert_eq!(ensure(&mut allocator, &service("c")), "10.0.0.2");
    assert_eq!(ensure(&mut allocator, &service("d")), "10.0.1.1");
    assert_eq!(ensure(&mut allocator, &service("e")), "pool_exhausted");
    allocator.release(&service("b").key);
    assert_eq!(ensure(&mut allocator, &service("e")), "10.0.0.1");
}

#[test]
fn pools_are_tried_by_priority_and_those_without_come_last() {
    let one = |name, last, priority| {
        let address = format!("10.0.0.{last}");
        Pool {
            priority,
            ..pool(name, &[(&address, &address)])
        }
    };
    let mut allocator = configured(vec![
        one("none", 1, None),
        one("later", 2, Some(7)),
        one("sooner", 3, Some(0)),
        one("later-too", 4, Some(7)),
    ]);
    let given: Vec<_> = ["a", "b", "c", "d"]
        .map(|name| ensure(&mut allocator, &service(name)))
        .to_vec();
    assert_eq!(given, ["10.0.0.3", "10.0.0.2", "10.0.0.4", "10.0.0.1"]);
}

#[test]
fn buggy_addresses_are_skipped_where_the_pool_says_so() {
    let avoiding = Pool {
        avoid_buggy_ips: true,
        ..pool("p", &[("10.0.0.254", "10.0.2.0")])
    };
    let mut allocator = configured(vec![avoiding]);
    assert_eq!(
        allocator.usage()[0].total,
        1 + 254,
        "one of .254/.255, 254 of the next, no .0"
    );
    assert_eq!(ensure(&mut allocator, &service("a")), "10.0.0.254");
    assert_eq!(ensure(&mut allocator, &service("b")), "10.0.1.1");
    let asked = asking("10.0.1.0", service("c"));
    assert_eq!(
        ensure(&mut allocator, &asked),
        "requested_address_outside_pools"
    );
}

#[test]
fn a_pool_without_auto_assign_serves_only_those_who_ask() {
    let reserved = Pool {
        auto_assign: false,
        ..pool("p", &[("10.0.0.1", "10.0.0.2")])
    };
    let mut allocator = configured(vec![reserved]);
    assert_eq!(ensure(&mut allocator, &service("a")), "no_pool_matches");
    assert_eq!(
        ensure(&mut allocator, &from_pool("p", service("a"))),
        "10.0.0.1"
    );
    assert_eq!(
        ensure(&mut allocator, &asking("10.0.0.2", service("b"))),
        "10.0.0.2"
    );
    assert_eq!(
        ensure(&mut allocator, &service("b")),
        "10.0.0.2",
        "what is held stays"
    );
}

#[test]
fn namespaces_and_service_selectors_both_restrict_a_pool() {
    let selector = LabelSelector {
        match_labels: BTreeMap::from([("tier".to_owned(), "edge".to_owned())]),
        ..LabelSelector::default()
    };
    let restricted = Pool {
        namespaces: vec!["shop".to_owned()],
        service_selectors: vec![selector],
        ..pool("p", &[("10.0.0.1", "10.0.0.9")])
    };
    let mut allocator = configured(vec![restricted]);
    assert_eq!(ensure(&mut allocator, &service("a")), "no_pool_matches");
    assert_eq!(
        ensure(&mut allocator, &from_pool("p", service("a"))),
        "no_pool_matches"
    );
    assert_eq!(
        ensure(&mut allocator, &asking("10.0.0.1", service("a"))),
        "no_pool_matches"
    );
    let mut edge = service("b");
    edge.labels = [("tier", "edge")].into_iter().collect();
    assert_eq!(ensure(&mut allocator, &edge), "10.0.0.1");
    edge.key = ServiceKey::new("other", "b");
    assert_eq!(ensure(&mut allocator, &edge), "no_pool_matches");
}

#[test]
fn a_pool_that_selects_namespaces_by_label_never_matches_silently() {
    let selecting = Pool {
        namespaces: vec!["named".to_owned()],
        namespace_selectors: vec![LabelSelector::default()],
        ..pool("p", &[("10.0.0.1", "10.0.0.9")])
    };
    let mut allocator = configured(vec![selecting]);
    let decision = allocator.ensure(&service("a"));
    let refusal = decision.refusal().unwrap();
    assert_eq!(refusal.reason, Reason::NoPoolMatches);
    assert!(refusal.text.contains("namespace-selectors"), "{refusal}");
    let mut named = service("b");
    named.key.namespace = "named".into();
    assert_eq!(
        ensure(&mut allocator, &named),
        "10.0.0.1",
        "the list counts without labels"
    );
}

#[test]
fn an_impossible_request_is_refused_with_its_reason() {
    let mut allocator = configured(vec![
        pool("default", &[("10.0.0.1", "10.0.0.3")]),
        pool("six", &[("fd00::1", "fd00::3")]),
    ]);
    ensure(&mut allocator, &service("holder"));
    let two_sources = {
        let mut view = asking("10.0.0.2", service("a"));
        let other = AddressRequest {
            source: "metallb.io/loadBalancerIPs".to_owned(),
            text: "10.0.0.3".to_owned(),
        };
        view.address_requests = [&view.address_requests[..], &[other]].concat().into();
        view
    };
    let headless = ServiceView {
        cluster_ips: Vec::new(),
        ..service("a")
    };
    let both = || dual("a", FamilyPolicy::PreferDualStack);
    let rows = [
        (asking("10.0.0.1", service("a")), "requested_address_in_use"),
        (
            asking("10.0.9.9", service("a")),
            "requested_address_outside_pools",
        ),
        (asking("nonsense", service("a")), "bad_requested_address"),
        (
            asking("10.0.0.2,10.0.0.3", service("a")),
            "bad_requested_address",
        ),
        (asking("fd00::1", service("a")), "bad_requested_address"),
        (
            asking("10.0.0.2,fd00::1", both()),
            "requested_address_outside_pools",
        ),
        (two_sources, "bad_requested_address"),
        (from_pool("nowhere", service("a")), "unknown_pool"),
        (from_pool("six", service("a")), "no_pool_matches"),
        (
            from_pool("six", asking("10.0.0.2", service("a"))),
            "requested_address_outside_pools",
        ),
        (headless, "no_cluster_ip"),
    ];
    for (view, want) in rows {
        let decision = allocator.ensure(&view);
        assert_eq!(told(&decision), want, "{view:?}");
        let text = &decision.refusal().unwrap().text;
        assert!(
            text.chars().next().unwrap().is_lowercase() || text.starts_with("10."),
            "{text}"
        );
        assert!(!text.ends_with('.'), "{text}");
    }
}

#[test]
fn a_busy_or_impossible_request_never_takes_the_current_address_away() {
    let mut allocator = three();
    ensure(&mut allocator, &service("holder"));
    assert_eq!(ensure(&mut allocator, &service("a")), "10.0.0.2");
    let rows = [
        (
            asking("10.0.0.1", service("a")),
            "10.0.0.2 requested_address_in_use",
        ),
        (
            asking("10.0.9.9", service("a")),
            "10.0.0.2 requested_address_outside_pools",
        ),
        (asking("?", service("a")), "10.0.0.2 bad_requested_address"),
        (from_pool("nowhere", service("a")), "10.0.0.2 unknown_pool"),
        (asking("10.0.0.3", service("a")), "10.0.0.3"),
        (service("a"), "10.0.0.3"),
    ];
    for (view, want) in rows {
        assert_eq!(ensure(&mut allocator, &view), want);
    }
}

#[test]
fn a_configuration_that_no_longer_covers_an_address_keeps_it_and_warns() {
    let mut allocator = three();
    ensure(&mut allocator, &service("a"));
    let elsewhere = Config {
        pools: vec![pool("new", &[("10.1.0.1", "10.1.0.9")])],
        ..Config::default()
    };
    allocator.set_config(elsewhere);
    assert_eq!(
        ensure(&mut allocator, &service("a")),
        "10.0.0.1 held_outside_pools"
    );
    assert_eq!(ensure(&mut allocator, &service("b")), "10.1.0.1");
    let wants_pool = from_pool("new", service("a"));
    assert_eq!(
        ensure(&mut allocator, &wants_pool),
        "10.0.0.1 held_outside_pools"
    );
    let wants_address = asking("10.1.0.2", service("a"));
    assert_eq!(ensure(&mut allocator, &wants_address), "10.1.0.2");
}

#[test]
fn services_share_an_address_by_key_with_disjoint_ports() {
    let mut allocator = three();
    ensure(&mut allocator, &service("holder"));
    assert_eq!(
        ensure(&mut allocator, &sharing("k", 80, service("a"))),
        "10.0.0.2"
    );
    allocator.release(&service("holder").key);
    let b = sharing("k", 443, service("b"));
    assert_eq!(
        ensure(&mut allocator, &b),
        "10.0.0.2",
        "the shared address before a lower free one"
    );
    assert_eq!(
        ensure(&mut allocator, &sharing("k", 80, service("c"))),
        "10.0.0.1",
        "port taken"
    );
    assert_eq!(
        ensure(&mut allocator, &sharing("other", 81, service("d"))),
        "10.0.0.3"
    );
    let asked = asking("10.0.0.2", sharing("other", 82, service("e")));
    assert_eq!(ensure(&mut allocator, &asked), "requested_address_in_use");
}

#[test]
fn with_policy_local_sharing_needs_the_same_backends() {
    let mut allocator = three();
    let local = |port, name: &str, selector: &str| ServiceView {
        traffic_policy: TrafficPolicy::Local,
        selector: selector.into(),
        ..sharing("k", port, service(name))
    };
    assert_eq!(
        ensure(&mut allocator, &local(80, "a", "app=web")),
        "10.0.0.1"
    );
    assert_eq!(
        ensure(&mut allocator, &local(81, "b", "app=web")),
        "10.0.0.1"
    );
    assert_eq!(
        ensure(&mut allocator, &local(82, "c", "app=db")),
        "10.0.0.2"
    );
    assert_eq!(
        ensure(&mut allocator, &sharing("k", 83, service("d"))),
        "10.0.0.3"
    );
}

#[test]
fn a_service_that_starts_to_collide_on_a_shared_address_moves_and_the_other_stays() {
    let mut allocator = three();
    ensure(&mut allocator, &sharing("k", 80, service("a")));
    ensure(&mut allocator, &sharing("k", 81, service("b")));
    assert_eq!(
        ensure(&mut allocator, &sharing("k", 80, service("b"))),
        "10.0.0.2 shared_port_taken"
    );
    assert_eq!(
        ensure(&mut allocator, &sharing("k", 80, service("a"))),
        "10.0.0.1"
    );
}

#[test]
fn dual_stack_takes_both_families_from_one_pool() {
    let mut allocator = configured(vec![
        pool("four", &[("10.0.0.1", "10.0.0.1")]),
        pool("both", &[("10.1.0.1", "10.1.0.1"), ("fd00::1", "fd00::1")]),
    ]);
    let require = |name| dual(name, FamilyPolicy::RequireDualStack);
    let prefer = |name| dual(name, FamilyPolicy::PreferDualStack);
    assert_eq!(
        ensure(&mut allocator, &prefer("a")),
        "10.1.0.1 fd00::1",
        "a pool with both wins"
    );
    assert_eq!(ensure(&mut allocator, &require("b")), "pool_exhausted");
    assert_eq!(
        ensure(&mut allocator, &prefer("c")),
        "10.0.0.1",
        "what is there"
    );
    allocator.release(&prefer("a").key);
    assert_eq!(ensure(&mut allocator, &require("b")), "10.1.0.1 fd00::1");
}

#[test]
fn a_family_that_comes_free_completes_what_is_held() {
    let mut allocator = configured(vec![pool(
        "both",
        &[("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::1")],
    )]);
    let prefer = |name| dual(name, FamilyPolicy::PreferDualStack);
    ensure(&mut allocator, &prefer("a"));
    assert_eq!(
        ensure(&mut allocator, &prefer("b")),
        "10.0.0.2 pool_exhausted"
    );
    allocator.release(&prefer("a").key);
    assert_eq!(ensure(&mut allocator, &prefer("b")), "10.0.0.2 fd00::1");
}

#[test]
fn a_family_that_is_dropped_is_trimmed_and_an_added_one_is_completed() {
    let mut allocator = configured(vec![pool(
        "both",
        &[("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2")],
    )]);
    assert_eq!(ensure(&mut allocator, &service("a")), "10.0.0.1");
    let require = dual("a", FamilyPolicy::RequireDualStack);
    assert_eq!(ensure(&mut allocator, &require), "10.0.0.1 fd00::1");
    assert_eq!(ensure(&mut allocator, &service("a")), "10.0.0.1");
    assert_eq!(
        ensure(&mut allocator, &dual("b", FamilyPolicy::PreferDualStack)),
        "10.0.0.2 fd00::1"
    );
}

#[test]
fn one_requested_address_of_a_dual_stack_service_leaves_the_other_to_us() {
    let mut allocator = configured(vec![pool(
        "both",
        &[("10.0.0.1", "10.0.0.9"), ("fd00::1", "fd00::9")],
    )]);
    let view = asking("10.0.0.5", dual("a", FamilyPolicy::RequireDualStack));
    assert_eq!(ensure(&mut allocator, &view), "10.0.0.5 fd00::1");
    let view = asking(
        "fd00::7, 10.0.0.7",
        dual("a", FamilyPolicy::RequireDualStack),
    );
    assert_eq!(ensure(&mut allocator, &view), "10.0.0.7 fd00::7");
}

#[test]
fn statuses_are_restored_before_anything_new_is_given() {
    let mut allocator = three();
    let held = ServiceView {
        assigned: vec![address("10.0.0.1")],
        ..service("z")
    };
    let views = BTreeMap::from([service("a"), held].map(|view| (view.key.clone(), view)));
    let decisions = allocator.settle(views.keys().cloned().collect(), |key| views.get(key));
    let told: Vec<_> = decisions.values().map(told).collect();
    assert_eq!(told, ["10.0.0.2", "10.0.0.1"]);
}

#[test]
fn without_a_configuration_statuses_are_kept_and_the_others_wait() {
    let mut allocator = Allocator::new(unconfigured());
    let held = ServiceView {
        assigned: vec![address("10.9.9.9")],
        ..service("a")
    };
    assert_eq!(ensure(&mut allocator, &held), "10.9.9.9");
    assert_eq!(ensure(&mut allocator, &service("b")), "not_configured");
}

#[test]
fn junk_in_a_status_is_not_restored() {
    let mut allocator = three();
    let junk = ["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255"]
        .map(address)
        .to_vec();
    let view = ServiceView {
        assigned: junk,
        ..service("a")
    };
    assert_eq!(ensure(&mut allocator, &view), "10.0.0.1");
}

#[test]
fn of_two_services_with_one_address_in_their_statuses_the_first_by_key_keeps_it() {
    let views = ["b", "a"].map(|name| {
        let view = ServiceView {
            assigned: vec![address("10.0.0.3")],
            ..service(name)
        };
        (view.key.clone(), view)
    });
    let views = BTreeMap::from(views);
    let decisions = three().settle(views.keys().cloned().collect(), |key| views.get(key));
    assert_eq!(
        decisions.values().map(told).collect::<Vec<_>>(),
        ["10.0.0.3", "10.0.0.1 shared_port_taken"]
    );
}

#[test]
fn who_asks_for_an_address_by_name_is_served_before_those_who_take_any() {
    let views = [service("a"), asking("10.0.0.1", service("z"))];
    let views = BTreeMap::from(views.map(|view| (view.key.clone(), view)));
    let decisions = three().settle(views.keys().cloned().collect(), |key| views.get(key));
    assert_eq!(
        decisions.values().map(told).collect::<Vec<_>>(),
        ["10.0.0.2", "10.0.0.1"]
    );
}

#[test]
fn an_address_given_up_goes_to_those_who_wait_in_the_same_settling() {
    let mut allocator = configured(vec![pool("p", &[("10.0.0.1", "10.0.0.2")])]);
    let mut views: BTreeMap<_, _> = ["a", "b", "c"]
        .map(|name| (service(name).key, service(name)))
        .into();
    allocator.settle(views.keys().cloned().collect(), |key| views.get(key));
    assert!(allocator.waiting.contains(&service("c").key));

    views.remove(&service("a").key);
    allocator.release(&service("a").key);
    let decisions = allocator.settle(BTreeSet::new(), |key| views.get(key));
    assert_eq!(decisions.len(), 1, "only who waits is looked at");
    assert_eq!(told(&decisions[&service("c").key]), "10.0.0.1");
}

#[test]
fn a_move_frees_an_address_for_one_that_waits_for_it() {
    let mut allocator = three();
    let mut views = BTreeMap::from([
        (service("a").key, service("a")),
        (
            service("b").key,
            asking(
                "10.0.0.1",
                ServiceView {
                    assigned: vec![address("10.0.0.2")],
                    ..service("b")
                },
            ),
        ),
    ]);
    views.get_mut(&service("a").key).unwrap().assigned = vec![address("10.0.0.1")];
    let all = views.keys().cloned().collect();
    let decisions = allocator.settle(all, |key| views.get(key));
    assert_eq!(
        told(&decisions[&service("b").key]),
        "10.0.0.2 requested_address_in_use"
    );

    views.insert(service("a").key, asking("10.0.0.3", service("a")));
    let changed = BTreeSet::from([service("a").key]);
    let decisions = allocator.settle(changed, |key| views.get(key));
    assert_eq!(
        decisions.values().map(told).collect::<Vec<_>>(),
        ["10.0.0.3", "10.0.0.1"]
    );
}

#[test]
fn a_search_in_a_full_pool_of_65536_addresses_is_no_scan() {
    let mut allocator = configured(vec![pool("big", &[("10.0.0.0", "10.0.255.255")])]);
    for index in 0..65_536_u32 {
        let mut view = service("x");
        view.key.name = format!("s{index:05}").into();
        assert!(!allocator.ensure(&view).addresses().is_empty());
    }
    let usage = allocator.usage();
    assert_eq!((usage[0].in_use, usage[0].total), (65_536, 65_536));
    // A scan would look at 65,536 addresses for each: 6.5 billion looks in all.
    for index in 0..100_000 {
        let mut view = service("y");
        view.key.name = format!("w{}", index % 10).into();
        assert_eq!(told(&allocator.ensure(&view)), "pool_exhausted");
    }
}

pub(super) fn at_node(allocator: &mut Allocator, address_of_node: &str) {
    let nodes = BTreeMap::from([(address(address_of_node), "n1".to_owned())]);
    assert!(allocator.set_nodes(nodes));
}

pub(super) fn on_port(port: u16, view: ServiceView) -> ServiceView {
    ServiceView {
        ports: [(Protocol::Tcp, port)].into(),
        ..view
    }
}

#[test]
fn a_nodes_own_address_is_given_to_whom_asks_for_it_and_to_nobody_else() {
    let mut allocator = three();
    at_node(&mut allocator, "10.0.0.1");
    assert_eq!(allocator.usage()[0].first_free, [address("10.0.0.2")]);
    assert_eq!(ensure(&mut allocator, &service("a")), "10.0.0.2");
    assert_eq!(ensure(&mut allocator, &service("b")), "10.0.0.3");
    let none = ensure(&mut allocator, &service("c"));
    assert!(none.contains("pool_exhausted"), "{none}");
    let Decision::Refuse(refusal) = allocator.ensure(&service("c")) else {
        panic!("nothing is left");
    };
    assert!(
        refusal.text.contains("1 of nodes themselves left out"),
        "{refusal}"
    );
    let asking = asking("10.0.0.1", service("d"));
    assert_eq!(ensure(&mut allocator, &asking), "10.0.0.1");
}

#[test]
fn a_pool_of_nodes_own_addresses_alone_means_them() {
    let mut allocator = configured(vec![pool("default", &[("10.0.0.4", "10.0.0.4")])]);
    at_node(&mut allocator, "10.0.0.4");
    let web = on_port(30_000, service("web"));
    assert_eq!(ensure(&mut allocator, &web), "10.0.0.4");
}

#[test]
fn a_port_that_the_node_needs_is_not_taken_from_it_unless_the_service_insists() {
    let mut allocator = configured(vec![pool("default", &[("10.0.0.4", "10.0.0.4")])]);
    at_node(&mut allocator, "10.0.0.4");
    for wish in [service("ssh"), asking("10.0.0.4", service("ssh"))] {
        let refused = allocator.ensure(&on_port(22, wish));
        assert!(refused.addresses().is_empty());
        let refusal = refused.refusal().unwrap();
        assert_eq!(refusal.reason, Reason::PortShadowsNode);
        assert!(
            refusal.text.contains("ferrolb.io/allow-node-ports"),
            "{refusal}"
        );
    }
    let insists = ServiceView {
        allow_node_ports: true,
        ..on_port(22, service("ssh"))
    };
    assert_eq!(ensure(&mut allocator, &insists), "10.0.0.4");
    let udp = ServiceView {
        ports: [(Protocol::Udp, 22)].into(),
        ..service("ssh")
    };
    assert_eq!(ensure(&mut allocator, &udp), "10.0.0.4");
}

#[test]
fn an_address_whose_ports_would_lock_people_out_is_taken_away_again() {
    let mut allocator = configured(vec![pool("default", &[("10.0.0.4", "10.0.0.5")])]);
    at_node(&mut allocator, "10.0.0.4");
    let web = asking("10.0.0.4", on_port(80, service("web")));
    assert_eq!(ensure(&mut allocator, &web), "10.0.0.4");
    let dangerous = on_port(6443, web);
    assert!(allocator.ensure(&dangerous).addresses().is_empty());
    let elsewhere = on_port(6443, service("web"));
    assert_eq!(ensure(&mut allocator, &elsewhere), "10.0.0.5");
}

#[test]
fn namespace_selectors_choose_by_the_labels_of_the_namespace_where_those_are_known() {
    let selector = LabelSelector {
        match_labels: BTreeMap::from([("team".to_owned(), "red".to_owned())]),
        ..LabelSelector::default()
    };
    let mut allocator = configured(vec![Pool {
        namespace_selectors: vec![selector],
        ..pool("default", &[("10.0.0.1", "10.0.0.3")])
    }]);
    let text = |allocator: &mut Allocator| {
        let decision = allocator.ensure(&service("a"));
        decision
            .refusal()
            .map(ToString::to_string)
            .unwrap_or_default()
    };
    assert!(text(&mut allocator).contains("may not read namespaces"));
    let labelled = |value: &str| {
        let labels = [("team", value)].into_iter().collect();
        BTreeMap::from([("shop".to_owned(), labels)])
    };
    assert!(allocator.set_namespaces(&labelled("blue")));
    assert!(text(&mut allocator).contains("no namespace-selectors of pool default match"));
    assert!(allocator.set_namespaces(&labelled("red")));
    assert_eq!(ensure(&mut allocator, &service("a")), "10.0.0.1");
}

fn written_by(manager: &str, assigned: &str, view: ServiceView) -> ServiceView {
    ServiceView {
        assigned: vec![address(assigned)],
        status_manager: Some(manager.into()),
        ..view
    }
}

#[test]
fn a_status_that_another_load_balancer_wrote_is_left_alone_and_its_address_not_given_again() {
    let mut allocator = three();
    let theirs = written_by("servicelb", "10.0.0.1", service("theirs"));
    let left = allocator.ensure(&theirs);
    assert_eq!(left.addresses(), [address("10.0.0.1")]);
    assert!(matches!(&left, Decision::Leave { why, .. } if why.reason == Reason::ForeignStatus));
    assert_eq!(ensure(&mut allocator, &service("a")), "10.0.0.2");
    assert_eq!(
        allocator.ensure(&theirs),
        left,
        "looking again changes nothing"
    );
    // They let go of it: an ordinary Service from then on.
    assert_eq!(ensure(&mut allocator, &service("theirs")), "10.0.0.1");
}

#[test]
fn metallbs_statuses_and_those_made_by_hand_are_taken_over() {
    let mut allocator = three();
    for (name, manager, held) in [
        ("a", "controller", "10.0.0.3"),
        ("b", "ferrolb-controller", "10.0.0.2"),
        ("c", "kubectl-edit", "10.0.0.1"),
    ] {
        let view = written_by(manager, held, service(name));
        assert_eq!(ensure(&mut allocator, &view), held);
    }
}

#[test]
fn who_rewrites_a_status_of_ours_is_overruled_until_we_give_in() {
    let mut allocator = three();
    ensure(&mut allocator, &service("a"));
    let rewritten = written_by("rival", "10.9.9.9", service("a"));
    assert_eq!(ensure(&mut allocator, &rewritten), "10.0.0.1");
    allocator.give_in(&rewritten.key, Some("rival"));
    let left = allocator.ensure(&rewritten);
    assert!(matches!(&left, Decision::Leave { why, .. } if why.reason == Reason::StatusContested));
    assert!(
        left.refusal().unwrap().text.starts_with("rival rewrites"),
        "{left:?}"
    );
    assert_eq!(
        ensure(&mut allocator, &service("b")),
        "10.0.0.1",
        "it is free again"
    );
    // The time is over. Who is still there has written the status, and keeps it.
    allocator.release(&rewritten.key);
    assert_eq!(
        ensure(&mut allocator, &rewritten),
        "10.9.9.9 foreign_status"
    );

    // Who empties a status leaves no name, and no sign when it stops.
    let emptied = service("b");
    allocator.give_in(&emptied.key, None);
    let left = allocator.ensure(&emptied);
    assert!(
        left.refusal()
            .unwrap()
            .text
            .starts_with("a program without a name empties"),
        "{left:?}"
    );
    allocator.release(&emptied.key);
    assert_eq!(ensure(&mut allocator, &emptied), "10.0.0.1");
}

#[test]
fn a_value_that_is_too_long_gives_nothing_and_takes_nothing_away() {
    let long = |service: ServiceView| ServiceView {
        too_long: [TooLong {
            source: "metallb.io/address-pool".to_owned(),
            bytes: 260_000,
        }]
        .into(),
        ..service
    };
    let mut allocator = configured(vec![pool("a", &[("10.0.0.1", "10.0.0.9")])]);
    let Decision::Refuse(refusal) = allocator.ensure(&long(service("new"))) else {
        panic!("it was given an address");
    };
    assert_eq!(refusal.reason, Reason::ValueTooLong);
    assert_eq!(
        refusal.text,
        "metallb.io/address-pool has 260000 bytes, and at most 1024 are read: shorten it, or remove it"
    );
    let held = allocator.ensure(&service("old"));
    let kept = allocator.ensure(&long(service("old")));
    assert_eq!(kept.addresses(), held.addresses());
    assert_eq!(kept.refusal(), Some(&refusal));
}

#[test]
fn what_is_said_is_bounded_and_ends_with_what_to_do() {
    let wild = "\u{1}".repeat(1_024);
    let asks = |pool: &str, text: &str| ServiceView {
        requested_pool: Some(pool).filter(|pool| !pool.is_empty()).map(Into::into),
        address_requests: Some(text)
            .filter(|text| !text.is_empty())
            .map(|text| AddressRequest {
                source: "metallb.io/loadBalancerIPs".to_owned(),
                text: text.to_owned(),
            })
            .into_iter()
            .collect(),
        ..service("wild")
    };
    let mut allocator = configured(vec![pool("a", &[("10.0.0.1", "10.0.0.9")])]);
    for (view, end) in [
        (asks(&wild, ""), "ask for one of a"),
        (asks("", &wild), "write addresses separated by commas"),
    ] {
        let decision = allocator.ensure(&view);
        let text = &decision.refusal().expect("a refusal").text;
        assert!(text.len() <= LONGEST_TEXT, "{}", text.len());
        assert!(text.ends_with(end), "{text}");
    }
}

#[test]
fn two_services_of_ten_thousand_ports_share_unless_one_is_in_common() {
    let with = |name: &str, ports: std::ops::Range<u16>| ServiceView {
        ports: ports.map(|port| (Protocol::Udp, port)).collect(),
        sharing_key: Some("k".into()),
        ..service(name)
    };
    let mut allocator = configured(vec![pool("a", &[("10.0.0.1", "10.0.0.9")])]);
    let first = allocator.ensure(&with("a", 1..10_001));
    let shares = allocator.ensure(&with("b", 10_001..20_001));
    assert_eq!(shares.addresses(), first.addresses());
    let clashes = allocator.ensure(&with("c", 10_000..10_020));
    assert_ne!(clashes.addresses(), first.addresses());
}

#[test]
fn a_family_that_no_pool_has_is_named_alone() {
    let require = dual("a", FamilyPolicy::RequireDualStack);
    let text = |pools| {
        let decision = configured(pools).ensure(&require);
        let refusal = decision.refusal().unwrap().clone();
        assert_eq!(refusal.reason, Reason::NoPoolMatches);
        refusal.text
    };
    let four = || pool("four", &[("10.0.0.1", "10.0.0.3")]);
    let six = || pool("six", &[("fd00::1", "fd00::3")]);
    let said = text(vec![four()]);
    assert!(
        said.starts_with("pool four has no IPv6 addresses:"),
        "{said}"
    );
    assert!(said.contains("PreferDualStack"), "{said}");
    let said = text(vec![six()]);
    assert!(
        said.starts_with("pool six has no IPv4 addresses:"),
        "{said}"
    );
    let said = text(vec![four(), six()]);
    assert!(
        said.starts_with("no single pool of four, six has IPv4 and IPv6 addresses"),
        "{said}"
    );
    let single = ServiceView {
        cluster_ips: vec![address("fd96::1")],
        ..service("a")
    };
    let decision = configured(vec![four()]).ensure(&single);
    let said = decision.refusal().unwrap().to_string();
    assert!(
        said.ends_with("or change the Service's ipFamilies"),
        "{said}"
    );
}
