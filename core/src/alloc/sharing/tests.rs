use std::collections::{BTreeMap, BTreeSet};

use crate::Instant;
use crate::alloc::tests::{
    address, asking, at_node, configured, dual, on_port, pool, service, sharing, told, unconfigured,
};
use crate::alloc::{Allocator, Decision, FIRST_USE};
use crate::config::{Config, Pool, ShareWithin};
use crate::view::{FamilyPolicy, Protocol, ServiceKey, ServiceView, TrafficPolicy};

/// The API server and the controller: statuses are written after each step.
struct World {
    views: BTreeMap<ServiceKey, ServiceView>,
    pools: Vec<(&'static str, &'static str)>,
    allocator: Allocator,
    /// Each status that was ever written: `web 10.0.0.1`.
    written: Vec<String>,
    decisions: BTreeMap<ServiceKey, Decision>,
    now: Instant,
}

type Edit = fn(&mut ServiceView);

impl World {
    fn new(pools: &[(&'static str, &'static str)], views: Vec<ServiceView>) -> Self {
        let mut world = Self {
            views: views
                .into_iter()
                .map(|view| (view.key.clone(), view))
                .collect(),
            pools: pools.to_vec(),
            allocator: configured(vec![pool("default", pools)]),
            written: Vec::new(),
            decisions: BTreeMap::new(),
            now: Instant::START,
        };
        world.settle(world.views.keys().cloned().collect());
        world
    }

    /// Two that share 10.0.0.1.
    fn of_two(a: ServiceView, b: ServiceView) -> Self {
        let world = Self::new(&[("10.0.0.1", "10.0.0.9")], vec![a, b]);
        assert_eq!(world.told(), ["10.0.0.1", "10.0.0.1"]);
        world
    }

    fn settle(&mut self, changed: BTreeSet<ServiceKey>) {
        let mut changed = changed;
        loop {
            let decided = self.allocator.settle(changed, |key| self.views.get(key));
            self.allocator.holdings.check();
            self.decisions.extend(decided);
            changed = BTreeSet::new();
            for (key, decision) in &self.decisions {
                let view = self.views.get_mut(key).unwrap();
                if view.assigned != decision.addresses() {
                    view.assigned = decision.addresses().to_vec();
                    let addresses = view.assigned.iter().map(ToString::to_string);
                    let addresses: Vec<_> = addresses.collect();
                    self.written
                        .push(format!("{} {}", key.name, addresses.join(" ")));
                    changed.insert(key.clone());
                }
            }
            if changed.is_empty() {
                return;
            }
        }
    }

    fn edit(&mut self, edits: &[(&str, Edit)]) {
        for (name, edit) in edits {
            edit(self.views.get_mut(&service(name).key).unwrap());
        }
        let changed = edits.iter().map(|(name, _)| service(name).key);
        self.settle(changed.collect());
    }

    fn wait(&mut self, seconds: u64) {
        self.now = self.now + std::time::Duration::from_secs(seconds);
        self.allocator.handle_timeout(self.now);
        self.settle(BTreeSet::new());
    }

    fn restart(&mut self) {
        self.allocator = configured(vec![pool("default", &self.pools)]);
        self.allocator.handle_timeout(self.now);
        self.settle(self.views.keys().cloned().collect());
    }

    fn told(&self) -> Vec<String> {
        self.decisions.values().map(told).collect()
    }

    fn text(&self, name: &str) -> String {
        let refusal = self.decisions[&service(name).key].refusal();
        refusal.expect("something is said").text.clone()
    }
}

fn local(view: &mut ServiceView) {
    view.traffic_policy = TrafficPolicy::Local;
}

fn cluster(view: &mut ServiceView) {
    view.traffic_policy = TrafficPolicy::Cluster;
}

fn key_renamed(view: &mut ServiceView) {
    view.sharing_key = Some("renamed".into());
}

fn other_pods(view: &mut ServiceView) {
    view.selector = "app=other".into();
}

fn on_80(view: &mut ServiceView) {
    view.ports = [(Protocol::Tcp, 80)].into();
}

fn on_443(view: &mut ServiceView) {
    view.ports = [(Protocol::Tcp, 443)].into();
}

fn on_80_and_443(view: &mut ServiceView) {
    view.ports = [(Protocol::Tcp, 80), (Protocol::Tcp, 443)].into();
}

fn on_8080(view: &mut ServiceView) {
    view.ports = [(Protocol::Tcp, 8080)].into();
}

fn on_8080_and_443(view: &mut ServiceView) {
    view.ports = [(Protocol::Tcp, 8080), (Protocol::Tcp, 443)].into();
}

/// Port 53 in both protocols, of one set of pods.
fn dns(policy: TrafficPolicy) -> [ServiceView; 2] {
    let dns = |name, protocol| ServiceView {
        ports: [(protocol, 53)].into(),
        selector: "app=dns".into(),
        traffic_policy: policy,
        ..sharing("y", 53, service(name))
    };
    [dns("t2", Protocol::Tcp), dns("u2", Protocol::Udp)]
}

#[test]
fn two_that_share_an_address_keep_it_while_they_are_edited_one_after_the_other() {
    let [cluster_policy, local_policy] = [TrafficPolicy::Cluster, TrafficPolicy::Local];
    let edits: [(&str, TrafficPolicy, Edit); 4] = [
        ("policy to Local", cluster_policy, local),
        ("policy to Cluster", local_policy, cluster),
        ("key", cluster_policy, key_renamed),
        ("selector with policy Local", local_policy, other_pods),
    ];
    for (what, policy, edit) in edits {
        for asks in [false, true] {
            for (first, second) in [("t2", "u2"), ("u2", "t2")] {
                for restarts in [false, true] {
                    let what = format!("{what}, {first} first, asks {asks}, restarts {restarts}");
                    let [t2, u2] = dns(policy).map(|view| match asks {
                        true => asking("10.0.0.1", view),
                        false => view,
                    });
                    let mut world = World::of_two(t2, u2);
                    world.written.clear();
                    world.edit(&[(first, edit)]);
                    if restarts {
                        world.restart();
                    }
                    assert_eq!(world.told(), ["10.0.0.1 shared_in_discord"; 2], "{what}");
                    for (one, other) in [("t2", "u2"), ("u2", "t2")] {
                        let text = world.text(one);
                        assert!(
                            text.contains(&format!("with Service shop/{other},")),
                            "{text}"
                        );
                    }
                    world.edit(&[(second, edit)]);
                    assert_eq!(world.told(), ["10.0.0.1"; 2], "{what}");
                    assert_eq!(world.written, [""; 0], "{what}");
                }
            }
        }
        let [t2, u2] = dns(policy);
        let mut world = World::of_two(t2, u2);
        world.edit(&[("t2", edit), ("u2", edit)]);
        assert_eq!(world.told(), ["10.0.0.1"; 2], "{what} in one batch");
    }
}

#[test]
fn what_is_said_of_two_that_disagree_names_the_other_one_and_why_and_the_way_out() {
    let [t2, u2] = dns(TrafficPolicy::Cluster);
    let mut world = World::of_two(t2, u2);
    world.edit(&[("t2", local)]);
    insta::assert_snapshot!(world.text("t2"));
    world.edit(&[("t2", cluster), ("u2", key_renamed)]);
    insta::assert_snapshot!(world.text("u2"));
    // A third one, and whoever is left when one goes.
    let third = on_port(8080, sharing("y", 8080, service("v2")));
    world.views.insert(
        third.key.clone(),
        ServiceView {
            assigned: vec![address("10.0.0.1")],
            ..third
        },
    );
    world.restart();
    assert!(
        world
            .text("u2")
            .contains("with Service shop/t2 and 1 more,")
    );
    for name in ["v2", "t2"] {
        let gone = service(name).key;
        world.views.remove(&gone);
        world.decisions.remove(&gone);
        world.allocator.release(&gone);
        world.settle(BTreeSet::new());
    }
    assert_eq!(world.told(), ["10.0.0.1"], "nobody is left to agree with");
}

#[test]
fn nobody_comes_to_share_an_address_with_whom_does_not_agree() {
    let [t2, u2] = dns(TrafficPolicy::Cluster);
    let mut world = World::of_two(t2, u2);
    world.edit(&[("t2", key_renamed)]);
    for (name, key) in [("v", "y"), ("w", "renamed")] {
        let view = sharing(key, 9_000, service(name));
        world.views.insert(view.key.clone(), view.clone());
        world.settle([view.key].into());
    }
    let asks = asking("10.0.0.1", sharing("y", 9_001, service("x")));
    world.views.insert(asks.key.clone(), asks.clone());
    world.settle([asks.key].into());
    assert_eq!(
        world.told(),
        [
            "10.0.0.1 shared_in_discord",
            "10.0.0.1 shared_in_discord",
            "10.0.0.2",
            "10.0.0.3",
            "requested_address_in_use"
        ]
    );
}

#[test]
fn a_port_that_moves_from_one_to_the_other_leaves_both_where_they_are() {
    let web = |name, edit: Edit| {
        let mut view = sharing("k", 1, service(name));
        edit(&mut view);
        view
    };
    let two = || World::of_two(web("p1", on_80_and_443), web("p2", on_8080));
    // Given up first.
    let mut world = two();
    world.written.clear();
    world.edit(&[("p1", on_80)]);
    world.edit(&[("p2", on_8080_and_443)]);
    assert_eq!(world.told(), ["10.0.0.1"; 2]);
    assert_eq!(world.written, [""; 0]);
    // Both at once, in whatever order of names.
    for (gives, gives_edit, takes, takes_edit) in [
        ("p1", on_80 as Edit, "p2", on_8080_and_443 as Edit),
        ("p2", on_8080, "p1", on_80_and_443),
    ] {
        let mut world = match gives {
            "p1" => two(),
            _ => World::of_two(web("p1", on_80), web("p2", on_8080_and_443)),
        };
        world.written.clear();
        world.edit(&[(gives, gives_edit), (takes, takes_edit)]);
        assert_eq!(world.told(), ["10.0.0.1"; 2], "{gives} gives");
        assert_eq!(world.written, [""; 0]);
    }
    // The new place first: one has to leave for a moment, and returns.
    let mut world = two();
    world.edit(&[("p2", on_8080_and_443)]);
    assert_eq!(world.told(), ["10.0.0.1", "10.0.0.2 shared_port_taken"]);
    insta::assert_snapshot!(world.text("p2"));
    world.wait(9);
    world.edit(&[("p1", on_80)]);
    assert_eq!(world.told(), ["10.0.0.1"; 2]);
    assert_eq!(world.written[2..], ["p2 10.0.0.2", "p2 10.0.0.1"]);
    // What it was given instead is in use by then: an address that a Service has stays with it.
    let mut world = two();
    world.edit(&[("p2", on_8080_and_443)]);
    world.wait(FIRST_USE.as_secs());
    assert_eq!(world.told(), ["10.0.0.1", "10.0.0.2"], "it is said no more");
    world.edit(&[("p1", on_80)]);
    assert_eq!(world.told(), ["10.0.0.1", "10.0.0.2"]);
}

#[test]
fn two_that_swap_their_ports_end_where_they_were() {
    for batch in [false, true] {
        let mut world = World::of_two(
            sharing("k", 80, service("a")),
            sharing("k", 443, service("b")),
        );
        if batch {
            world.written.clear();
            world.edit(&[("a", on_443), ("b", on_80)]);
            assert_eq!(world.written, [""; 0]);
        } else {
            world.edit(&[("a", on_443)]);
            world.edit(&[("b", on_80)]);
        }
        assert_eq!(world.told(), ["10.0.0.1"; 2]);
    }
}

#[test]
fn who_has_to_leave_and_gets_no_other_address_is_told_and_returns_at_any_time() {
    let only = [("10.0.0.1", "10.0.0.1")];
    for asks in [false, true] {
        let share = |name, port| match asks {
            true => asking("10.0.0.1", sharing("k", port, service(name))),
            false => sharing("k", port, service(name)),
        };
        let mut world = World::new(&only, vec![share("a", 80), share("b", 443)]);
        assert_eq!(world.told(), ["10.0.0.1"; 2]);
        world.edit(&[("b", on_80_and_443)]);
        let reason = match asks {
            true => "requested_address_in_use",
            false => "pool_exhausted",
        };
        assert_eq!(world.told(), ["10.0.0.1", reason]);
        let text = world.text("b");
        let why =
            "had to leave 10.0.0.1, which it shared with Service shop/a (both want port 80/TCP)";
        assert!(text.starts_with(why), "{text}");
        world.wait(1_000);
        world.edit(&[("a", on_8080)]);
        assert_eq!(world.told(), ["10.0.0.1"; 2]);
    }
}

#[test]
fn of_both_families_only_those_move_where_a_port_collides() {
    let ranges = [("10.0.0.1", "10.0.0.9"), ("fd00::1", "fd00::9")];
    let both = |name, port| sharing("k", port, dual(name, FamilyPolicy::PreferDualStack));
    let four = |view: &mut ServiceView| view.cluster_ips.truncate(1);
    let mut a = both("a", 80);
    four(&mut a);
    let mut world = World::new(&ranges, vec![a, both("b", 443)]);
    assert_eq!(world.told(), ["10.0.0.1", "10.0.0.1 fd00::1"]);
    world.wait(100);
    world.edit(&[("b", on_80)]);
    assert_eq!(
        world.told(),
        ["10.0.0.1", "10.0.0.2 fd00::1 shared_port_taken"]
    );
    world.edit(&[("a", on_8080)]);
    assert_eq!(world.told(), ["10.0.0.1", "10.0.0.1 fd00::1"]);
}

#[test]
fn of_two_statuses_with_one_port_the_older_service_keeps_the_address() {
    // As a lodger leaves it who took the host's port while no controller led.
    let created = |name, when: &str| ServiceView {
        created: Some(when.parse().unwrap()),
        assigned: vec![address("10.0.0.1")],
        ..sharing("k", 80, service(name))
    };
    for (a, b, want) in [
        (
            "2026-01-02T00:00:00Z",
            "2026-01-01T00:00:00Z",
            ["10.0.0.2 shared_port_taken", "10.0.0.1"],
        ),
        (
            "2026-01-01T00:00:00Z",
            "2026-01-02T00:00:00Z",
            ["10.0.0.1", "10.0.0.2 shared_port_taken"],
        ),
        (
            "2026-01-01T00:00:00Z",
            "2026-01-01T00:00:00Z",
            ["10.0.0.1", "10.0.0.2 shared_port_taken"],
        ),
    ] {
        let mut world = World::new(
            &[("10.0.0.1", "10.0.0.9")],
            vec![created("a", a), created("b", b)],
        );
        assert_eq!(world.told(), want);
        world.restart();
        let addresses = world.told();
        assert_eq!(addresses[0][..8], want[0][..8]);
        assert_eq!(addresses[1][..8], want[1][..8]);
    }
    // Edited together, and neither had the port.
    let mut world = World::of_two(
        ServiceView {
            created: Some("2026-01-02T00:00:00Z".parse().unwrap()),
            ..sharing("k", 80, service("a"))
        },
        ServiceView {
            created: Some("2026-01-01T00:00:00Z".parse().unwrap()),
            ..sharing("k", 443, service("b"))
        },
    );
    world.edit(&[("a", on_8080), ("b", on_8080)]);
    assert_eq!(world.told(), ["10.0.0.2 shared_port_taken", "10.0.0.1"]);
}

#[test]
fn what_a_refused_services_status_still_shows_is_shared_with_nobody() {
    let mut allocator = configured(vec![pool("default", &[("10.0.0.4", "10.0.0.4")])]);
    at_node(&mut allocator, "10.0.0.4");
    let a = on_port(80, service("a"));
    allocator.ensure(&a);
    let shown = |view: ServiceView| ServiceView {
        assigned: vec![address("10.0.0.4")],
        ..view
    };
    let dangerous = shown(on_port(22, service("a")));
    assert!(allocator.ensure(&dangerous).addresses().is_empty());
    let b = on_port(443, service("b"));
    assert_eq!(allocator.ensure(&b).addresses(), [address("10.0.0.4")]);
    // Its status has not been written yet.
    let harmless = shown(on_port(80, service("a")));
    assert!(allocator.ensure(&harmless).addresses().is_empty());
}

fn of_namespace(namespace: &str, view: ServiceView) -> ServiceView {
    let key = ServiceKey {
        namespace: namespace.into(),
        ..view.key
    };
    ServiceView { key, ..view }
}

#[test]
fn a_pool_may_keep_sharing_within_a_namespace_and_evicts_nobody() {
    let within = |share_within| {
        let pool = Pool {
            share_within,
            ..pool("default", &[("10.0.0.1", "10.0.0.9")])
        };
        Config {
            pools: vec![pool],
            ..Config::default()
        }
    };
    let [host, lodger] = [("host", 80), ("lodger", 81)]
        .map(|(namespace, port)| of_namespace(namespace, sharing("k", port, service("web"))));
    let neighbour = of_namespace("host", sharing("k", 82, service("api")));
    let asks = of_namespace(
        "thief",
        asking("10.0.0.1", sharing("k", 83, service("web"))),
    );
    let given = |allocator: &mut Allocator| {
        [&host, &lodger, &neighbour, &asks].map(|view| told(&allocator.ensure(view)))
    };
    // Across the cluster, as with MetalLB, whoever knows the key.
    let mut allocator = configured(vec![pool("default", &[("10.0.0.1", "10.0.0.9")])]);
    assert_eq!(given(&mut allocator), ["10.0.0.1"; 4]);
    // Nobody has to go, and who shares across namespaces is told.
    allocator.set_config(within(ShareWithin::Namespace));
    assert_eq!(given(&mut allocator), ["10.0.0.1 shared_in_discord"; 4]);
    let text = allocator.ensure(&host).refusal().unwrap().text.clone();
    assert!(text.contains("share-within: namespace"), "{text}");
    // Who comes new stays in its namespace.
    let mut allocator = Allocator::new(unconfigured());
    allocator.set_config(within(ShareWithin::Namespace));
    assert_eq!(
        given(&mut allocator),
        [
            "10.0.0.1",
            "10.0.0.2",
            "10.0.0.1",
            "requested_address_in_use"
        ]
    );
    let refusal = allocator.ensure(&asks).refusal().unwrap().text.clone();
    assert!(refusal.contains("share-within: namespace"), "{refusal}");
    allocator.set_config(within(ShareWithin::Cluster));
    assert_eq!(told(&allocator.ensure(&asks)), "10.0.0.1");
}

/// A pool whose addresses are shared without a key.
fn of_all(share_within: ShareWithin, ranges: &[(&str, &str)]) -> Config {
    let pool = Pool {
        sharing: true,
        share_within,
        ..pool("default", ranges)
    };
    Config {
        pools: vec![pool],
        ..Config::default()
    }
}

#[test]
fn services_of_a_pool_with_sharing_share_where_their_ports_allow_without_a_key() {
    let nine = &[("10.0.0.1", "10.0.0.9")];
    let mut allocator = Allocator::new(unconfigured());
    allocator.set_config(of_all(ShareWithin::Cluster, nine));
    let local = |view| ServiceView {
        traffic_policy: TrafficPolicy::Local,
        ..view
    };
    let rows = [
        (on_port(80, service("web")), "10.0.0.1"),
        (on_port(443, service("api")), "10.0.0.1"),
        (on_port(80, service("other")), "10.0.0.2"),
        (on_port(81, of_namespace("far", service("web"))), "10.0.0.1"),
        (sharing("k", 82, service("keyed")), "10.0.0.1"),
        (sharing("other", 83, service("apart")), "10.0.0.2"),
        // With policy Local the pods have to be the same.
        (local(on_port(84, service("local"))), "10.0.0.3"),
        (asking("10.0.0.1", on_port(85, service("asks"))), "10.0.0.1"),
        (
            asking("10.0.0.1", on_port(80, service("late"))),
            "requested_address_in_use",
        ),
    ];
    for (view, want) in rows {
        assert_eq!(told(&allocator.ensure(&view)), want, "{}", view.key);
        allocator.holdings.check();
    }
}

#[test]
fn sharing_without_a_key_stays_within_the_scope_of_the_pool() {
    let mut allocator = Allocator::new(unconfigured());
    allocator.set_config(of_all(ShareWithin::Namespace, &[("10.0.0.1", "10.0.0.9")]));
    let rows = [
        ("a", 80, "10.0.0.1"),
        ("b", 81, "10.0.0.2"),
        ("a", 82, "10.0.0.1"),
        ("b", 83, "10.0.0.2"),
    ];
    for (namespace, port, want) in rows {
        let name = format!("s{port}");
        let view = of_namespace(namespace, on_port(port, service(&name)));
        assert_eq!(told(&allocator.ensure(&view)), want, "{namespace} {port}");
    }
}

#[test]
fn a_pool_with_sharing_is_full_only_when_no_port_is_left() {
    let mut allocator = Allocator::new(unconfigured());
    allocator.set_config(of_all(ShareWithin::Cluster, &[("10.0.0.1", "10.0.0.2")]));
    let rows = [
        ("a", 80, "10.0.0.1"),
        ("b", 80, "10.0.0.2"),
        ("c", 80, "pool_exhausted"),
        ("d", 81, "10.0.0.1"),
    ];
    for (name, port, want) in rows {
        let view = on_port(port, service(name));
        assert_eq!(told(&allocator.ensure(&view)), want, "{name}");
    }
    // Who shares so goes on when the pool no longer does, and is told.
    allocator.set_config(Config {
        pools: vec![pool("default", &[("10.0.0.1", "10.0.0.2")])],
        ..Config::default()
    });
    let view = on_port(81, service("d"));
    assert_eq!(told(&allocator.ensure(&view)), "10.0.0.1 shared_in_discord");
}

#[test]
fn with_policy_local_the_same_selector_in_another_namespace_means_other_pods() {
    let service = |namespace, name, port, selector: &str, policy| {
        let view = of_namespace(namespace, sharing("k", port, service(name)));
        ServiceView {
            traffic_policy: policy,
            selector: selector.into(),
            ..view
        }
    };
    let local = TrafficPolicy::Local;
    let a = service("a", "web", 80, "app=web", local);
    let b = service("b", "web", 81, "app=web", local);
    let c = service("a", "too", 82, "app=web", local);
    let mut allocator = configured(vec![pool("default", &[("10.0.0.1", "10.0.0.9")])]);
    let given = [&a, &b, &c].map(|view| told(&allocator.ensure(view)));
    assert_eq!(given, ["10.0.0.1", "10.0.0.2", "10.0.0.1"]);
    // Who shares already goes on.
    let share = |view: &ServiceView| ServiceView {
        assigned: vec![address("10.0.0.1")],
        ..view.clone()
    };
    let world = World::new(&[("10.0.0.1", "10.0.0.9")], vec![share(&a), share(&b)]);
    assert_eq!(world.told(), ["10.0.0.1 shared_in_discord"; 2]);
    // A Service without a selector says nothing of pods.
    let without = service("c", "bare", 83, "", local);
    let any = service("d", "any", 84, "app=any", TrafficPolicy::Cluster);
    let mut allocator = configured(vec![pool("default", &[("10.0.0.1", "10.0.0.9")])]);
    let given = [&without, &any].map(|view| told(&allocator.ensure(view)));
    assert_eq!(given, ["10.0.0.1"; 2]);
}
