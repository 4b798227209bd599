//! Any sequence of edits of Services that share addresses, against a naive model of the rules.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;

use crate::alloc::tests::{pool, service, unconfigured};
use crate::alloc::{Allocator, Decision};
use crate::config::{Config, Pool, ShareWithin};
use crate::view::{Protocol, ServiceKey, ServiceView, TrafficPolicy};
use crate::{Instant, Reason};

/// What a Service of the generated world says; few values, so that they meet.
#[derive(Debug, Clone)]
struct Spec {
    key: Option<u8>,
    ports: BTreeSet<u16>,
    local: bool,
    selector: u8,
}

#[derive(Debug, Clone)]
enum Step {
    /// One Service or several are made or edited, and seen together.
    Edit(Vec<(u8, Spec)>),
    Delete(u8),
    Wait(u8),
    Restart,
    Share(bool),
}

fn spec() -> impl Strategy<Value = Spec> {
    (
        option::weighted(0.9, 0_u8..2),
        btree_set(80_u16..86, 1..3),
        any::<bool>(),
        0_u8..2,
    )
        .prop_map(|(key, ports, local, selector)| Spec {
            key,
            ports,
            local,
            selector,
        })
}

/// Steps, and whether the statuses decided on were written before the next one.
fn steps() -> impl Strategy<Value = Vec<(Step, bool)>> {
    let step = prop_oneof![
        8 => vec((0_u8..8, spec()), 1..3).prop_map(Step::Edit),
        1 => (0_u8..8).prop_map(Step::Delete),
        2 => (0_u8..15).prop_map(Step::Wait),
        1 => Just(Step::Restart),
        1 => any::<bool>().prop_map(Step::Share),
    ];
    vec((step, prop::bool::weighted(0.8)), 1..40)
}

struct World {
    views: BTreeMap<ServiceKey, ServiceView>,
    within: ShareWithin,
    allocator: Allocator,
    decisions: BTreeMap<ServiceKey, Decision>,
    now: Instant,
}

type Held = BTreeMap<ServiceKey, IpAddr>;

fn key_of(number: u8) -> ServiceKey {
    ServiceKey {
        namespace: format!("ns{}", number % 2).into(),
        ..service(&number.to_string()).key
    }
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            views: BTreeMap::new(),
            within: ShareWithin::Cluster,
            allocator: Allocator::new(unconfigured()),
            decisions: BTreeMap::new(),
            now: Instant::START,
        };
        world.configure();
        world
    }

    /// There is an address for each Service.
    fn configure(&mut self) {
        let pool = Pool {
            share_within: self.within,
            ..pool("default", &[("10.0.0.1", "10.0.0.20")])
        };
        self.allocator.set_config(Config {
            pools: vec![pool],
            ..Config::default()
        });
    }

    fn take(&mut self, step: &Step) {
        let mut changed: BTreeSet<_> = self.views.keys().cloned().collect();
        match step {
            Step::Edit(edits) => {
                changed = edits.iter().map(|(number, _)| key_of(*number)).collect();
                for (number, spec) in edits {
                    let view = self.view(*number, spec);
                    self.views.insert(view.key.clone(), view);
                }
            }
            Step::Delete(number) => {
                changed.clear();
                self.views.remove(&key_of(*number));
                self.decisions.remove(&key_of(*number));
                self.allocator.release(&key_of(*number));
            }
            Step::Wait(seconds) => {
                changed.clear();
                self.now = self.now + Duration::from_secs((*seconds).into());
                self.allocator.handle_timeout(self.now);
            }
            Step::Restart => {
                self.allocator = Allocator::new(unconfigured());
                self.configure();
                self.allocator.handle_timeout(self.now);
            }
            Step::Share(within) => {
                self.within = match within {
                    true => ShareWithin::Namespace,
                    false => ShareWithin::Cluster,
                };
                self.configure();
            }
        }
        self.settle(changed);
    }

    fn settle(&mut self, changed: BTreeSet<ServiceKey>) {
        let decided = self.allocator.settle(changed, |key| self.views.get(key));
        self.decisions.extend(decided);
        self.allocator.holdings.check();
    }

    fn view(&self, number: u8, spec: &Spec) -> ServiceView {
        let key = key_of(number);
        let former = self.views.get(&key);
        ServiceView {
            assigned: former.map_or_else(Vec::new, |former| former.assigned.clone()),
            ports: spec
                .ports
                .iter()
                .map(|port| (Protocol::Tcp, *port))
                .collect(),
            sharing_key: spec.key.map(|key| format!("k{key}").into()),
            traffic_policy: match spec.local {
                true => TrafficPolicy::Local,
                false => TrafficPolicy::Cluster,
            },
            selector: format!("app={}", spec.selector).into(),
            key,
            ..service("")
        }
    }

    fn write_statuses(&mut self) {
        let mut changed = BTreeSet::new();
        for (key, decision) in &self.decisions {
            let view = self.views.get_mut(key).unwrap();
            if view.assigned != decision.addresses() {
                view.assigned = decision.addresses().to_vec();
                changed.insert(key.clone());
            }
        }
        self.settle(changed);
    }

    fn held(&self) -> Held {
        let held = self.allocator.holdings.iter();
        held.map(|(key, addresses)| (key.clone(), addresses[0]))
            .collect()
    }

    fn agree(&self, one: &ServiceKey, other: &ServiceKey) -> bool {
        let (a, b) = (&self.views[one], &self.views[other]);
        let same_namespace = one.namespace == other.namespace;
        let pods = |view: &ServiceView| {
            let is_local = view.traffic_policy == TrafficPolicy::Local;
            is_local.then(|| (view.key.namespace.clone(), view.selector.clone()))
        };
        a.sharing_key.is_some()
            && a.sharing_key == b.sharing_key
            && pods(a) == pods(b)
            && (same_namespace || self.within == ShareWithin::Cluster)
    }
}

/// Who has the address beside `key`.
fn others<'a>(held: &'a Held, key: &'a ServiceKey, address: IpAddr) -> Vec<&'a ServiceKey> {
    let others = held
        .iter()
        .filter(|(other, has)| **has == address && *other != key);
    others.map(|(other, _)| other).collect()
}

proptest! {
    /// Who has an address loses it to a port alone, and comes to share one by the whole rule alone.
    #[test]
    fn whoever_shares_an_address_keeps_it_whatever_is_edited_but_a_port_that_another_has(
        steps in steps(),
    ) {
        let mut world = World::new();
        for (step, written) in steps {
            let before = world.held();
            let parted = world.allocator.parted.clone();
            let shown: Held = world
                .views
                .values()
                .filter_map(|view| Some((view.key.clone(), *view.assigned.first()?)))
                .collect();
            // After a restart only the statuses count.
            let had_by = if matches!(step, Step::Restart) { &shown } else { &before };
            let ports_before: BTreeMap<_, _> =
                world.views.iter().map(|(key, view)| (key.clone(), view.ports.clone())).collect();
            world.take(&step);
            let after = world.held();
            prop_assert_eq!(after.len(), world.views.len(), "nobody goes without after {:?}", step);
            for (key, has) in &after {
                let sharers = others(&after, key, *has);
                let Some(had) = had_by.get(key).filter(|had| *had != has) else {
                    if !had_by.contains_key(key) {
                        for other in sharers.iter().filter(|other| had_by.contains_key(**other)) {
                            prop_assert!(world.agree(key, other), "{key} came to {has} of {other}");
                        }
                    }
                    continue;
                };
                // It moved: for a port that one who stays has there, or back to where it was.
                // Who was there may have gone back itself after that.
                let there = others(had_by, key, *had).into_iter();
                let stayed = there.filter(|other| {
                    after.get(*other) == Some(had) || parted.contains_key(*other)
                });
                let stayed = stayed.filter(|other| world.views.contains_key(*other));
                let taken: BTreeSet<_> =
                    stayed.flat_map(|other| &world.views[other].ports).collect();
                let mut lost = world.views[key].ports.iter().filter(|port| taken.contains(port));
                let was_first = |port: &(Protocol, u16)| {
                    let is_edit = matches!(step, Step::Edit(_));
                    is_edit && ports_before.get(key).is_some_and(|ports| ports.contains(port))
                };
                let returned = sharers.iter().all(|other| world.agree(key, other))
                    && parted.get(key).is_some_and(|left| left.addresses.contains(has));
                prop_assert!(
                    returned || lost.any(|port| !was_first(port)),
                    "{key} had {had} and has {has} after {step:?}"
                );
            }
            // What is said, and of whom.
            for (key, has) in &after {
                let mut sharers = others(&after, key, *has).into_iter();
                let disagrees = sharers.any(|other| !world.agree(key, other));
                let said = world.decisions[key].refusal().map(|refusal| refusal.reason);
                let parted = said == Some(Reason::SharedPortTaken);
                prop_assert!(
                    parted || (said == Some(Reason::SharedInDiscord)) == disagrees,
                    "{key} at {has} is told {said:?} after {step:?}"
                );
            }
            if written {
                world.write_statuses();
            }
        }
    }
}
