//! What the index knows beside Services and the configuration: nodes, namespaces, and addresses that
//! cannot serve. Only what the controller may read; the rest is taken for empty.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ferrolb_core::Instant;
use ferrolb_core::address::AddressRange;
use ferrolb_core::conflict::Finding;
use ferrolb_core::view::NamespaceView;
use ferrolb_kube::watch::Event;

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

/// What has to be listed before anything is decided, if it can be at all.
#[derive(Debug, Default)]
pub(super) struct Awaited {
    nodes: bool,
    namespaces: bool,
    conflicts: bool,
}

impl Index {
    /// Nodes can be read: nothing is decided before they have been.
    pub const fn await_nodes(&mut self) {
        self.awaited.nodes = true;
    }

    /// The same of namespaces.
    pub const fn await_namespaces(&mut self) {
        self.awaited.namespaces = true;
    }

    /// The same of the addresses that cannot serve.
    pub const fn await_conflicts(&mut self) {
        self.awaited.conflicts = true;
    }

    /// What is awaited, each with whether it is not there yet.
    pub(super) const fn missing(&self) -> [(&'static str, bool); 3] {
        let Awaited {
            nodes,
            namespaces,
            conflicts,
        } = self.awaited;
        [
            ("nodes", nodes && !self.nodes.listed()),
            ("namespaces", namespaces && !self.namespaces.listed()),
            ("conflict reports", conflicts && self.conflicts.is_none()),
        ]
    }

    /// Whether Namespaces can be read.
    pub(super) const fn awaits_namespaces(&self) -> bool {
        self.awaited.namespaces
    }

    /// Nodes by name.
    pub fn handle_nodes(&mut self, event: Event<(String, Option<NodeAddresses>)>) {
        let was_listed = self.nodes.listed();
        let changed = self.nodes.handle(event);
        if changed.is_empty() && was_listed == self.nodes.listed() {
            return;
        }
        let nodes = self.nodes.views().iter();
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

    /// Namespaces by name.
    pub fn handle_namespaces(&mut self, event: Event<(String, Option<NamespaceView>)>) {
        let is_list = matches!(event, Event::InitDone);
        let labels = event.map(|(name, view)| (name, view.map(|view| view.labels)));
        let changed = self.namespaces.handle(labels);
        // Each of them is looked at anew when pools select by them, which is rare.
        if !changed.is_empty() && self.allocator.set_namespaces(self.namespaces.views()) {
            self.settle_all();
        }
        if is_list {
            self.namespaces_have_labels();
        }
    }

    /// The addresses that cannot serve, each with why.
    pub fn set_conflicts(&mut self, conflicts: BTreeMap<IpAddr, Finding>, now: Instant) {
        self.allocator.handle_timeout(now);
        self.conflicts = Some(conflicts.clone());
        if self.allocator.set_conflicts(conflicts) {
            self.settle_all();
        }
    }

    /// Why `address` cannot serve.
    pub(super) fn finding_at(&self, address: IpAddr) -> Option<&Finding> {
        self.conflicts.as_ref()?.get(&address)
    }

    /// The addresses that cannot serve, each with why.
    pub fn findings(&self) -> impl Iterator<Item = (IpAddr, &Finding)> {
        let findings = self.conflicts.iter().flatten();
        findings.map(|(address, finding)| (*address, finding))
    }

    pub(super) fn settle_all(&mut self) {
        let all = self.services.keys();
        self.changed.extend(all.map(|key| key.as_ref().clone()));
    }
}
