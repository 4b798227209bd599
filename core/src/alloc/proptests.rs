//! Any sequence of events, against what must always hold and against a naive model.

use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;

use super::tests::{address, contended, pool, service, unconfigured};
use super::*;
use crate::address::{AddressRange, successor};
use crate::config::Pool;
use crate::view::{AddressRequest, FamilyPolicy, Protocol};

/// What a Service of the generated world says; small numbers, so that wishes collide.
#[derive(Debug, Clone)]
struct Spec {
    asks_for: Option<u8>,
    pool: Option<u8>,
    sharing: Option<u8>,
    port: u16,
    dual: bool,
    required: bool,
}

#[derive(Debug, Clone)]
enum Step {
    Apply(u8, Spec),
    Delete(u8),
    SetConfig(u8),
    /// Nodes' own addresses, of 10.0.0.0 to 10.0.0.7.
    SetNodes(BTreeSet<u8>),
    /// Addresses that other hosts use, of the same.
    SetConflicts(BTreeSet<u8>),
    /// Seconds pass.
    Wait(u8),
    /// The process starts anew and knows only the statuses.
    Restart,
    /// Another replica has led meanwhile: again only the statuses count.
    Lead,
}

/// One of them a node needs.
const PORTS: [u16; 3] = [80, 81, 22];

fn spec() -> impl Strategy<Value = Spec> {
    (
        option::weighted(0.3, 0_u8..8),
        option::weighted(0.2, 0_u8..4),
        option::weighted(0.4, 0_u8..2),
        0_u16..3,
        prop::bool::weighted(0.3),
        any::<bool>(),
    )
        .prop_map(|(asks_for, pool, sharing, port, dual, required)| Spec {
            asks_for,
            pool,
            sharing,
            port,
            dual,
            required,
        })
}

fn plain() -> impl Strategy<Value = Spec> {
    Just(Spec {
        asks_for: None,
        pool: None,
        sharing: None,
        port: 0,
        dual: false,
        required: false,
    })
}

/// A step, and whether the statuses decided on were written before the next one.
fn steps(
    spec: impl Strategy<Value = Spec>,
    surroundings: u32,
) -> impl Strategy<Value = Vec<(Step, bool)>> {
    let some = || btree_set(0_u8..8, 0..3);
    let step = prop_oneof![
        6 => (0_u8..10, spec).prop_map(|(name, spec)| Step::Apply(name, spec)),
        3 => (0_u8..10).prop_map(Step::Delete),
        1 => (0_u8..4).prop_map(Step::SetConfig),
        surroundings => some().prop_map(Step::SetNodes),
        surroundings => some().prop_map(Step::SetConflicts),
        2 => (0_u8..70).prop_map(Step::Wait),
        1 => Just(Step::Restart),
        1 => Just(Step::Lead),
    ];
    vec((step, prop::bool::weighted(0.8)), 1..60)
}

fn low(octets: &BTreeSet<u8>) -> BTreeSet<IpAddr> {
    let octets = octets.iter();
    octets
        .map(|octet| IpAddr::from([10, 0, 0, *octet]))
        .collect()
}

fn config(variant: u8) -> Config {
    let pools = match variant {
        0 => vec![pool(
            "p0",
            &[("10.0.0.0", "10.0.0.3"), ("fd00::1", "fd00::2")],
        )],
        1 => vec![
            pool("p0", &[("10.0.0.4", "10.0.0.5"), ("10.0.0.1", "10.0.0.2")]),
            Pool {
                priority: Some(1),
                ..pool("p1", &[("10.0.0.6", "10.0.0.7")])
            },
        ],
        2 => vec![
            Pool {
                auto_assign: false,
                ..pool("p1", &[("10.0.0.0", "10.0.0.2")])
            },
            Pool {
                avoid_buggy_ips: true,
                ..pool("p2", &[("10.0.1.254", "10.0.2.1")])
            },
            pool("p3", &[("fd00::1", "fd00::1")]),
        ],
        _ => Vec::new(),
    };
    Config {
        pools,
        ..Config::default()
    }
}

/// The API server and the controller: what is written, and what decides.
struct World {
    views: BTreeMap<ServiceKey, ServiceView>,
    config: Config,
    nodes: BTreeSet<IpAddr>,
    conflicts: BTreeSet<IpAddr>,
    now: Instant,
    /// What statuses show, and since when.
    shown: BTreeMap<(ServiceKey, IpAddr), Instant>,
    allocator: Allocator,
    decisions: BTreeMap<ServiceKey, Decision>,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            views: BTreeMap::new(),
            config: Config::default(),
            nodes: BTreeSet::new(),
            conflicts: BTreeSet::new(),
            now: Instant::START,
            shown: BTreeMap::new(),
            allocator: Allocator::new(unconfigured()),
            decisions: BTreeMap::new(),
        };
        world.take(&Step::SetConfig(0));
        world
    }

    fn take(&mut self, step: &Step) {
        let mut changed = BTreeSet::new();
        match step {
            Step::Apply(name, spec) => {
                let view = self.view(*name, spec);
                changed.insert(view.key.clone());
                self.views.insert(view.key.clone(), view);
            }
            Step::Delete(name) => {
                let key = named(*name);
                self.views.remove(&key);
                self.decisions.remove(&key);
                self.shown.retain(|(shown, _), _| *shown != key);
                self.allocator.release(&key);
            }
            Step::SetConfig(variant) => {
                self.config = config(*variant);
                self.allocator.set_config(self.config.clone());
                changed = self.views.keys().cloned().collect();
            }
            Step::SetNodes(octets) => {
                self.nodes = low(octets);
                if self.allocator.set_nodes(self.named_nodes()) {
                    changed = self.views.keys().cloned().collect();
                }
            }
            Step::SetConflicts(octets) => {
                self.conflicts = low(octets);
                if self.allocator.set_conflicts(self.found()) {
                    changed = self.views.keys().cloned().collect();
                }
            }
            Step::Wait(seconds) => {
                self.now = self.now + Duration::from_secs((*seconds).into());
                self.allocator.handle_timeout(self.now);
            }
            Step::Restart => {
                self.allocator = Allocator::new(unconfigured());
                self.allocator.set_config(self.config.clone());
                self.allocator.set_nodes(self.named_nodes());
                self.allocator.set_conflicts(self.found());
                self.allocator.handle_timeout(self.now);
                changed = self.views.keys().cloned().collect();
            }
            Step::Lead => {
                self.allocator.forget_holdings();
                changed = self.views.keys().cloned().collect();
            }
        }
        let decided = self.allocator.settle(changed, |key| self.views.get(key));
        self.decisions.extend(decided);
    }

    /// Hosts have all of them.
    fn found(&self) -> BTreeMap<IpAddr, Finding> {
        let conflicts = self.conflicts.iter();
        conflicts
            .map(|address| (*address, contended::by_a_host()))
            .collect()
    }

    fn named_nodes(&self) -> BTreeMap<IpAddr, String> {
        let nodes = self.nodes.iter();
        nodes
            .map(|address| (*address, address.to_string()))
            .collect()
    }

    /// Whether the Service asks for the address, or comes from a pool that has only nodes' own.
    fn is_meant(&self, view: &ServiceView, address: IpAddr) -> bool {
        let asked_for = view.address_requests.iter();
        let asked_for = asked_for
            .into_iter()
            .any(|one| one.text == address.to_string());
        let pool = self.config.pool_of(address);
        asked_for
            || pool.is_some_and(|pool| {
                let mut all = pool.ranges.iter().flat_map(addresses);
                all.all(|one| !one.is_ipv4() || !pool.contains(one) || self.nodes.contains(&one))
            })
    }

    fn view(&self, name: u8, spec: &Spec) -> ServiceView {
        let mut view = service(&name.to_string());
        view.key = named(name);
        view.ports = [(Protocol::Tcp, PORTS[usize::from(spec.port)])].into();
        view.sharing_key = spec.sharing.map(|key| format!("k{key}").into());
        view.requested_pool = spec.pool.map(|pool| format!("p{pool}").into());
        if spec.dual {
            view.cluster_ips.push(address("fd96::1"));
        }
        view.family_policy = match (spec.dual, spec.required) {
            (false, _) => FamilyPolicy::SingleStack,
            (true, false) => FamilyPolicy::PreferDualStack,
            (true, true) => FamilyPolicy::RequireDualStack,
        };
        let request = |octet| AddressRequest {
            source: "spec.loadBalancerIP".to_owned(),
            text: format!("10.0.0.{octet}"),
        };
        view.address_requests = spec.asks_for.map(request).into_iter().collect();
        let former = self.views.get(&view.key);
        view.assigned = former
            .map(|former| former.assigned.clone())
            .unwrap_or_default();
        view
    }

    /// The statuses are written, and the watch shows them.
    fn write_statuses(&mut self) {
        let mut changed = BTreeSet::new();
        for (key, decision) in &self.decisions {
            if let Some(view) = self.views.get_mut(key)
                && view.assigned != decision.addresses()
            {
                view.assigned = decision.addresses().to_vec();
                changed.insert(key.clone());
            }
        }
        let former = std::mem::take(&mut self.shown);
        for view in self.views.values() {
            for address in &view.assigned {
                let place = (view.key.clone(), *address);
                let since = former.get(&place).copied().unwrap_or(self.now);
                self.shown.insert(place, since);
            }
        }
        let decided = self.allocator.settle(changed, |key| self.views.get(key));
        self.decisions.extend(decided);
    }

    /// What statuses have shown for long enough, by a naive model.
    fn in_use(&self) -> BTreeSet<IpAddr> {
        let old = self.shown.iter();
        let old = old.filter(|(_, at)| self.now.saturating_since(**at) >= FIRST_USE);
        old.map(|((_, address), _)| *address).collect()
    }

    fn held(&self) -> BTreeMap<ServiceKey, Vec<IpAddr>> {
        let held = self.allocator.holdings.iter();
        held.map(|(key, addresses)| (key.clone(), addresses.to_vec()))
            .collect()
    }
}

fn named(name: u8) -> ServiceKey {
    ServiceKey::new("shop", name.to_string())
}

fn addresses(range: &AddressRange) -> impl Iterator<Item = IpAddr> {
    let range = *range;
    std::iter::successors(Some(range.first()), |address| successor(*address))
        .take_while(move |address| range.contains(*address))
}

/// The lowest free IPv4 address for a Service that asks for nothing, by looking at each.
fn scan(config: &Config, held: &BTreeSet<IpAddr>) -> Option<IpAddr> {
    let mut pools: Vec<_> = config
        .pools
        .iter()
        .filter(|pool| pool.auto_assign)
        .collect();
    pools.sort_by_key(|pool| pool.priority.unwrap_or(u32::MAX));
    pools
        .into_iter()
        .flat_map(|pool| {
            pool.ranges
                .iter()
                .flat_map(addresses)
                .filter(|one| pool.contains(*one))
        })
        .find(|address| address.is_ipv4() && !held.contains(address))
}

proptest! {
    /// Nothing is held twice (but shared), given from outside the pools, or lost.
    #[test]
    fn whatever_happens_addresses_are_given_once_and_kept(steps in steps(spec(), 1)) {
        let mut world = World::new();
        for (step, written) in steps {
            let before = world.held();
            let mut waited = world.allocator.waiting.clone();
            // Who had to leave a shared address for a port returns as soon as it may.
            waited.extend(world.allocator.parted.keys().cloned());
            let in_use = world.in_use();
            world.take(&step);
            world.allocator.holdings.check();
            let after = world.held();
            let touched = |key: &ServiceKey| match &step {
                Step::Apply(name, _) | Step::Delete(name) => named(*name) == *key,
                // After a restart only the statuses count; those are compared below.
                Step::Restart | Step::Lead => true,
                Step::SetConfig(_)
                | Step::SetNodes(_)
                | Step::SetConflicts(_)
                | Step::Wait(_) => false,
            };
            for (key, had) in &before {
                let has = after.get(key);
                // A range that changed pools: who asks for a pool by name follows the name.
                let asked = world.views.get(key).and_then(|view| view.requested_pool.as_deref());
                let pool = world.config.pool_of(had[0]).map(|pool| pool.name.as_str());
                let elsewhere = asked.is_some() && pool.is_some() && asked != pool;
                // Another host uses it, and no status has shown it; or its ports would lock people out.
                let dangerous = |one: &IpAddr| {
                    (world.conflicts.contains(one) && !in_use.contains(one))
                        || world.nodes.contains(one)
                };
                if had.iter().any(dangerous) {
                    continue;
                }
                let kept = has.is_some_and(|has| had.iter().all(|one| has.contains(one)));
                prop_assert!(
                    kept || touched(key) || ((elsewhere || waited.contains(key)) && has.is_some()),
                    "{key} had {had:?} and has {has:?} after {step:?}"
                );
            }
            for (key, has) in &after {
                let view = &world.views[key];
                let had = before.get(key).into_iter().flatten().chain(&view.assigned);
                let had: BTreeSet<_> = had.copied().collect();
                for address in has.iter().filter(|address| !had.contains(address)) {
                    let pool = world.config.pool_of(*address);
                    prop_assert!(pool.is_some(), "{key} was given {address}, which is in no pool");
                    let put_aside = world.conflicts.contains(address)
                        && !view.address_requests.iter().any(|one| one.text == address.to_string());
                    prop_assert!(!put_aside, "{key} was given {address}, which a host uses");
                    let unasked = world.nodes.contains(address) && !world.is_meant(view, *address);
                    prop_assert!(!unasked, "{key} was given {address}, which is a node's own");
                    let families = families(view);
                    prop_assert!(families.contains(&Family::of(*address)));
                }
                let locks_out = view.ports.contains(&(Protocol::Tcp, 22))
                    && has.iter().any(|one| world.nodes.contains(one));
                prop_assert!(!locks_out, "{key} takes port 22 from a node after {step:?}");
                prop_assert_eq!(world.decisions[key].addresses(), has.as_slice());
            }
            if written {
                world.write_statuses();
            }
        }
    }

    /// A restart changes nothing once the statuses are written; nor does looking again.
    #[test]
    fn a_restart_after_all_writes_decides_the_same(steps in steps(spec(), 1)) {
        let mut world = World::new();
        for (step, written) in steps {
            world.take(&step);
            if !written {
                continue;
            }
            world.write_statuses();
            // Not the words: what stands in the way of an impossible wish may change unnoticed.
            let (held, waiting) = (world.held(), world.allocator.waiting.clone());
            let all = world.views.keys().cloned().collect();
            world.allocator.settle(all, |key| world.views.get(key));
            prop_assert_eq!(&world.held(), &held, "settling again after {:?}", step);
            prop_assert_eq!(&world.allocator.waiting, &waiting);
            world.take(&Step::Restart);
            prop_assert_eq!(&world.held(), &held, "restarting after {:?}", step);
            prop_assert_eq!(&world.allocator.waiting, &waiting);
        }
    }

    /// Services that ask for nothing get what a naive model gives them, whatever the sequence.
    #[test]
    fn plain_services_get_the_lowest_free_address(steps in steps(plain(), 0)) {
        let mut world = World::new();
        let mut model: BTreeMap<ServiceKey, IpAddr> = BTreeMap::new();
        for (step, _) in steps {
            world.take(&step);
            world.write_statuses();
            model.retain(|key, _| world.views.contains_key(key));
            for key in world.views.keys() {
                let held = model.values().copied().collect();
                if let (false, Some(free)) = (model.contains_key(key), scan(&world.config, &held)) {
                    model.insert(key.clone(), free);
                }
            }
            let held = world.held();
            let held: BTreeMap<_, _> = held.into_iter().map(|(key, has)| (key, has[0])).collect();
            prop_assert_eq!(&held, &model, "after {:?}", step);
        }
    }

    /// What is seen together is decided alike, in whatever order it was handed in.
    #[test]
    fn the_order_of_events_that_are_settled_together_is_of_no_account(
        specs in vec(spec(), 8),
        order in Just((0_u8..8).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let settle = |order: &[u8]| {
            let mut world = World::new();
            for name in 0..4 {
                let spec = &specs[usize::from(name + 4)];
                world.take(&Step::Apply(name, spec.clone()));
            }
            let mut changed = BTreeSet::new();
            for name in order {
                if *name % 3 == 2 {
                    world.views.remove(&named(*name));
                    world.allocator.release(&named(*name));
                } else {
                    let view = world.view(*name, &specs[usize::from(*name)]);
                    changed.insert(view.key.clone());
                    world.views.insert(view.key.clone(), view);
                }
            }
            let decisions = world.allocator.settle(changed, |key| world.views.get(key));
            (decisions, world.held())
        };
        let ascending: Vec<_> = (0..8).collect();
        prop_assert_eq!(settle(&order), settle(&ascending));
    }
}
