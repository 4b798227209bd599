//! Which pods serve which Service, and which of a dead node's may be marked.

use std::collections::{BTreeMap, BTreeSet};

use crate::Reason;
use crate::view::ServiceKey;

/// A pod, as an `EndpointSlice` names it (`targetRef`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pod {
    /// `namespace`
    pub namespace: Box<str>,
    /// `name`
    pub name: Box<str>,
    /// `uid`: the fence of every write.
    pub uid: Box<str>,
}

/// An endpoint that is a pod on a known node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// The pod.
    pub pod: Pod,
    /// `nodeName`
    pub node: Box<str>,
    /// `conditions.ready`
    pub ready: bool,
}

/// What is read of an `EndpointSlice`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SliceFacts {
    /// Namespace and name of the slice.
    pub key: ServiceKey,
    /// The Service that it belongs to.
    pub service: ServiceKey,
    /// Its endpoints that are pods.
    pub endpoints: Vec<Endpoint>,
}

/// What is read of a Service; most are neither, and not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceFacts {
    /// Namespace and name.
    pub key: ServiceKey,
    /// `spec.type` is `LoadBalancer`: its pods are marked first.
    pub load_balancer: bool,
    /// It is annotated: its pods are left alone.
    pub ignored: bool,
}

/// Who serves what.
#[derive(Debug, Default)]
pub struct Serving {
    slices: BTreeMap<ServiceKey, (ServiceKey, Vec<Endpoint>)>,
    services: BTreeMap<ServiceKey, (bool, bool)>,
    /// Namespaces that are annotated.
    ignored: BTreeSet<String>,
}

/// The pods of a node: those to mark, in their order, and why the others are left.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) mark: Vec<Pod>,
    /// Services of the pods to mark.
    pub(super) services: BTreeSet<ServiceKey>,
    pub(super) left: BTreeMap<Pod, Reason>,
    /// Services that have their last endpoints there.
    pub(super) last_of: usize,
}

impl Serving {
    /// All `EndpointSlices`.
    pub fn list_slices(&mut self, slices: Vec<SliceFacts>) {
        self.slices.clear();
        for slice in slices {
            self.set_slice(slice);
        }
    }

    /// One was created or changed.
    pub fn set_slice(&mut self, slice: SliceFacts) {
        self.slices
            .insert(slice.key, (slice.service, slice.endpoints));
    }

    /// One was deleted.
    pub fn remove_slice(&mut self, key: &ServiceKey) {
        self.slices.remove(key);
    }

    /// All Services that matter.
    pub fn list_services(&mut self, services: Vec<ServiceFacts>) {
        self.services.clear();
        for service in services {
            self.set_service(service);
        }
    }

    /// One was created or changed.
    pub fn set_service(&mut self, service: ServiceFacts) {
        self.services
            .insert(service.key, (service.load_balancer, service.ignored));
    }

    /// One was deleted, or matters no more.
    pub fn remove_service(&mut self, key: &ServiceKey) {
        self.services.remove(key);
    }

    /// The namespaces whose pods are left alone.
    pub fn set_ignored_namespaces(&mut self, names: BTreeSet<String>) {
        self.ignored = names;
    }

    /// A namespace was created or changed, or deleted.
    pub fn set_ignored_namespace(&mut self, name: String, ignored: bool) {
        if ignored {
            self.ignored.insert(name);
        } else {
            self.ignored.remove(&name);
        }
    }

    /// The pods of `node` that may be marked: those that are ready, leave another ready endpoint on a
    /// node that `lives` to each of their Services, and are not to be left alone. Those of `LoadBalancer`
    /// Services come first.
    pub(super) fn choose(&self, node: &str, lives: impl Fn(&str) -> bool) -> Choice {
        let mut has_other: BTreeMap<&ServiceKey, bool> = BTreeMap::new();
        let mut here: BTreeMap<&Pod, BTreeSet<&ServiceKey>> = BTreeMap::new();
        for (service, endpoints) in self.slices.values() {
            for endpoint in endpoints.iter().filter(|endpoint| endpoint.ready) {
                if &*endpoint.node == node {
                    here.entry(&endpoint.pod).or_default().insert(service);
                } else if lives(&endpoint.node) {
                    has_other.insert(service, true);
                }
            }
        }
        let of = |service: &ServiceKey| self.services.get(service).copied().unwrap_or_default();
        let mut choice = Choice::default();
        let (mut first, mut rest, mut served) = (Vec::new(), Vec::new(), BTreeSet::new());
        let mut last_of = BTreeSet::new();
        for (pod, services) in here {
            let ignored = self.ignored.contains(&*pod.namespace)
                || services.iter().any(|service| of(service).1);
            let last: Vec<_> = services
                .iter()
                .filter(|service| !has_other.contains_key(*service))
                .collect();
            if ignored {
                choice.left.insert(pod.clone(), Reason::DeadNodeIgnored);
            } else if !last.is_empty() {
                last_of.extend(last.into_iter().copied());
                choice.left.insert(pod.clone(), Reason::LastEndpoint);
            } else {
                let urgent = services.iter().any(|service| of(service).0);
                served.extend(services.into_iter().cloned());
                let pods = if urgent { &mut first } else { &mut rest };
                pods.push(pod.clone());
            }
        }
        first.append(&mut rest);
        (choice.mark, choice.services, choice.last_of) = (first, served, last_of.len());
        choice
    }

    /// The pods of `node` that are not ready, whoever said so.
    pub(super) fn unready(&self, node: &str) -> BTreeSet<Pod> {
        let all = self.slices.values().flat_map(|(_, endpoints)| endpoints);
        let unready = all.filter(|endpoint| &*endpoint.node == node && !endpoint.ready);
        unready.map(|endpoint| endpoint.pod.clone()).collect()
    }

    /// Of these pods those that are ready.
    pub(super) fn ready_again<'a>(
        &self,
        pods: impl Iterator<Item = &'a Pod>,
        node: &str,
    ) -> Vec<Pod> {
        let all = self.slices.values().flat_map(|(_, endpoints)| endpoints);
        let ready = all.filter(|endpoint| &*endpoint.node == node && endpoint.ready);
        let ready: BTreeSet<_> = ready.map(|endpoint| &endpoint.pod).collect();
        pods.filter(|pod| ready.contains(pod)).cloned().collect()
    }
}
