//! What the index knows beside Services and the configuration: nodes, namespaces, and addresses that
//! cannot serve. Only what the controller may read; the rest is taken for empty.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ferrolb_core::Instant;
use ferrolb_core::address::AddressRange;
use ferrolb_core::conflict::Finding;
use ferrolb_core::view::NamespaceView;

use super::Index;

/// A Node's own addresses, and those of its pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeAddresses {
    /// `metadata.name`
    pub node: String,
    /// `status.addresses`
    pub addresses: Vec<IpAddr>,
    /// `spec.podCIDRs`
    pub pod_ranges: Vec<AddressRange>,
}

/// Objects of one kind that have to be listed before anything is decided, if they can be at all.
#[derive(Debug)]
pub(super) struct Known<K, V> {
    awaited: bool,
    listed: bool,
    objects: BTreeMap<K, V>,
}

impl<K, V> Default for Known<K, V> {
    fn default() -> Self {
        Self {
            awaited: false,
            listed: false,
            objects: BTreeMap::new(),
        }
    }
}

impl<K: Ord, V> Known<K, V> {
    pub(super) const fn await_list(&mut self) {
        self.awaited = true;
    }

    pub(super) const fn is_awaited(&self) -> bool {
        self.awaited
    }

    pub(super) const fn is_missing(&self) -> bool {
        self.awaited && !self.listed
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.objects.values()
    }

    fn list(&mut self, objects: impl Iterator<Item = (K, V)>) {
        self.listed = true;
        self.objects = objects.collect();
    }
}

/// What happened to objects of one kind.
#[derive(Debug)]
pub enum Change<V> {
    /// Created or changed.
    Applied(V),
    /// The one of this name is gone.
    Deleted(String),
    /// Everything there is.
    Listed(Vec<V>),
    /// The same, but for those of these names, which cannot be decoded: what is known of them stays.
    ListedInPart {
        /// What can be decoded.
        objects: Vec<V>,
        /// What cannot.
        unreadable: BTreeSet<String>,
    },
}

impl Index {
    /// Nodes can be read: nothing is decided before they have been.
    pub const fn await_nodes(&mut self) {
        self.nodes.await_list();
    }

    /// The same of namespaces.
    pub const fn await_namespaces(&mut self) {
        self.namespaces.await_list();
    }

    /// The same of the addresses that cannot serve.
    pub const fn await_conflicts(&mut self) {
        self.conflicts.await_list();
    }

    /// Nodes have changed.
    pub fn handle_nodes(&mut self, change: Change<NodeAddresses>) {
        let of = |node: NodeAddresses| (node.node.clone(), node);
        take(&mut self.nodes, change, of);
        let nodes = self.nodes.objects.iter();
        let addresses = nodes.flat_map(|(name, node)| {
            node.addresses
                .iter()
                .map(|address| (*address, name.clone()))
        });
        if self.allocator.set_nodes(addresses.collect()) {
            self.settle_all();
        }
        self.network_changed();
    }

    /// Namespaces have changed.
    pub fn handle_namespaces(&mut self, change: Change<NamespaceView>) {
        let is_list = matches!(change, Change::Listed(_) | Change::ListedInPart { .. });
        take(&mut self.namespaces, change, |namespace| {
            (namespace.name, namespace.labels)
        });
        // Each of them is looked at anew when pools select by them, which is rare.
        if self.allocator.set_namespaces(&self.namespaces.objects) {
            self.settle_all();
        }
        if is_list {
            self.namespaces_have_labels();
        }
    }

    /// The addresses that cannot serve, each with why.
    pub fn set_conflicts(&mut self, conflicts: BTreeMap<IpAddr, Finding>, now: Instant) {
        self.allocator.handle_timeout(now);
        self.conflicts
            .list(conflicts.iter().map(|(at, it)| (*at, it.clone())));
        if self.allocator.set_conflicts(conflicts) {
            self.settle_all();
        }
    }

    /// Why `address` cannot serve.
    pub(super) fn finding_at(&self, address: IpAddr) -> Option<&Finding> {
        self.conflicts.objects.get(&address)
    }

    /// The addresses that cannot serve, each with why.
    pub fn findings(&self) -> impl Iterator<Item = (IpAddr, &Finding)> {
        let findings = self.conflicts.objects.iter();
        findings.map(|(address, finding)| (*address, finding))
    }

    pub(super) fn settle_all(&mut self) {
        let all = self.services.keys();
        self.changed.extend(all.map(|key| key.as_ref().clone()));
    }
}

fn take<T, V>(known: &mut Known<String, V>, change: Change<T>, of: impl Fn(T) -> (String, V)) {
    match change {
        Change::Applied(object) => {
            let (name, value) = of(object);
            known.objects.insert(name, value);
        }
        Change::Deleted(name) => drop(known.objects.remove(&name)),
        Change::Listed(objects) => known.list(objects.into_iter().map(of)),
        Change::ListedInPart {
            objects,
            unreadable,
        } => {
            let mut former = std::mem::take(&mut known.objects);
            former.retain(|name, _| unreadable.contains(name));
            known.list(former.into_iter().chain(objects.into_iter().map(of)));
        }
    }
}
