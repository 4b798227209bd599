//! What the cluster uses itself, and what Services list in `externalIPs`. Such addresses are given last or
//! only to who asks for them, so nothing is decided before they are known, where they can be.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ferrolb_core::address::AddressRange;
use ferrolb_core::alloc::{ClusterNetwork, Lister};
use ferrolb_core::view::ServiceKey;

use super::Index;
use crate::network::{Found, Source};
use crate::watch::Seen;

#[derive(Debug, Default)]
pub(super) struct Network {
    /// What is not listed yet.
    awaited: BTreeSet<Source>,
    api_server: Vec<IpAddr>,
    service_ranges: BTreeMap<String, Vec<AddressRange>>,
}

impl Network {
    /// What must be listed before addresses are given.
    pub(super) fn blockers(&self) -> impl Iterator<Item = String> {
        self.awaited.iter().map(|source| {
            let what = match source {
                Source::Services => "externalIPs of Services",
                Source::ApiServer => "endpoints of the API server",
                Source::ServiceRanges => "ranges of cluster IPs",
            };
            format!("{what}: not listed yet")
        })
    }
}

impl Index {
    /// It can be read: nothing is decided before it has been.
    pub fn await_source(&mut self, source: Source) {
        self.network.awaited.insert(source);
    }

    fn await_no_longer(&mut self, source: Source) {
        self.network.awaited.remove(&source);
    }

    /// What a watch saw.
    pub fn handle_network(&mut self, found: Found) {
        match found {
            Found::Services(seen) => self.handle_lists(seen),
            Found::ApiServer(seen) => self.handle_api_server(seen),
            Found::ServiceRanges(seen) => self.handle_service_ranges(seen),
        }
    }

    fn handle_lists(&mut self, seen: Seen<(ServiceKey, Box<[IpAddr]>)>) {
        match seen {
            Seen::Applied((key, addresses)) => self.list(Lister::Other, &key, &addresses),
            Seen::Deleted(key) => self.list(Lister::Other, &key, &[]),
            Seen::Listed { views, unreadable } => {
                let listed = views.iter().map(|(key, _)| key);
                let known: BTreeSet<_> = listed.chain(&unreadable).cloned().collect();
                for key in self.allocator.listers(Lister::Other) {
                    if !known.contains(&key) {
                        self.list(Lister::Other, &key, &[]);
                    }
                }
                for (key, addresses) in &views {
                    self.list(Lister::Other, key, addresses);
                }
                self.await_no_longer(Source::Services);
            }
            Seen::Unreadable(_) => {}
        }
    }

    /// What a Service lists from now on. Whoever has one of the addresses is told.
    pub(super) fn list(&mut self, lister: Lister, key: &ServiceKey, addresses: &[IpAddr]) {
        let holders = self.allocator.set_external_ips(lister, key, addresses);
        self.changed.extend(holders);
    }

    fn handle_api_server(&mut self, seen: Seen<Vec<IpAddr>>) {
        self.network.api_server = match seen {
            Seen::Applied(addresses) => addresses,
            Seen::Deleted(_) => Vec::new(),
            // What cannot be decoded exists all the same.
            Seen::Listed { unreadable, .. } if !unreadable.is_empty() => return,
            Seen::Listed { views, .. } => {
                self.await_no_longer(Source::ApiServer);
                views.into_iter().flatten().collect()
            }
            Seen::Unreadable(_) => return,
        };
        self.network_changed();
    }

    fn handle_service_ranges(&mut self, seen: Seen<(String, Vec<AddressRange>)>) {
        let known = &mut self.network.service_ranges;
        match seen {
            Seen::Applied((name, ranges)) => drop(known.insert(name, ranges)),
            Seen::Deleted(key) => drop(known.remove(&*key.name)),
            Seen::Listed { views, unreadable } => {
                known.retain(|name, _| unreadable.iter().any(|key| *key.name == **name));
                known.extend(views);
                self.await_no_longer(Source::ServiceRanges);
            }
            Seen::Unreadable(_) => return,
        }
        self.network_changed();
    }

    /// Nodes have ranges of pods, too.
    pub(super) fn network_changed(&mut self) {
        let of_services = self.network.service_ranges.values().flatten();
        let of_pods = self
            .nodes
            .views()
            .values()
            .flat_map(|node| &node.pod_ranges);
        let network = ClusterNetwork {
            api_server: self.network.api_server.iter().copied().collect(),
            service_ranges: of_services.copied().collect(),
            pod_ranges: of_pods.copied().collect(),
        };
        if self.allocator.set_network(network) {
            self.settle_all();
        }
    }
}

#[cfg(test)]
mod tests;
