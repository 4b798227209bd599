//! `externalIPs` of Services, of whatever type. Kubernetes lets every tenant write any address there, and
//! kube-proxy then takes its traffic on each node. So an address that a Service lists is given last; but
//! it is given, taken from nobody, and refused to nobody who asks for it: else a tenant could drain every
//! pool. And a tenant fills no memory: what is beyond the numbers below is not known.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::Allocator;
use crate::view::ServiceKey;

/// Of one Service.
pub const MOST_OF_A_SERVICE: usize = 16;
/// Of one namespace, for each kind.
const MOST_OF_A_NAMESPACE: usize = 128;
/// Of all.
const MOST: usize = 4_096;

/// What kind of Service lists an address: both are watched apart, and a Service may change its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lister {
    /// One of type `LoadBalancer`.
    LoadBalancer,
    /// Any other one.
    Other,
}

/// See the module's documentation.
#[derive(Debug, Clone, Default)]
pub(super) struct ExternalIps {
    /// The truth. Nobody lists nothing here.
    services: BTreeMap<(Lister, ServiceKey), BTreeSet<IpAddr>>,
    /// Derived: who lists an address.
    listers: BTreeMap<IpAddr, BTreeSet<(ServiceKey, Lister)>>,
    /// Derived: the size of the truth.
    count: usize,
}

impl ExternalIps {
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Services other than `key` that list the address.
    pub(super) fn others<'a>(
        &'a self,
        address: IpAddr,
        key: &'a ServiceKey,
    ) -> impl Iterator<Item = &'a ServiceKey> {
        let listers = self.listers.get(&address).into_iter().flatten();
        listers
            .map(|(lister, _)| lister)
            .filter(move |one| *one != key)
    }

    /// Whether any Service but `key` lists the address; any at all if there is none.
    pub(super) fn is_listed(&self, address: IpAddr, key: Option<&ServiceKey>) -> bool {
        let Some(listers) = self.listers.get(&address) else {
            return false;
        };
        listers.iter().any(|(lister, _)| Some(lister) != key)
    }

    /// What the Service lists from now on; the addresses of which that is news.
    fn set(&mut self, lister: Lister, key: &ServiceKey, addresses: &[IpAddr]) -> BTreeSet<IpAddr> {
        let place = (lister, key.clone());
        let former = self.services.remove(&place).unwrap_or_default();
        self.count -= former.len();
        let room = self.room_for(&place);
        let wanted: BTreeSet<_> = addresses.iter().copied().take(room).collect();
        self.count += wanted.len();
        let name = (key.clone(), lister);
        for address in former.difference(&wanted) {
            if let Some(listers) = self.listers.get_mut(address) {
                listers.remove(&name);
                if listers.is_empty() {
                    self.listers.remove(address);
                }
            }
        }
        for address in wanted.difference(&former) {
            self.listers
                .entry(*address)
                .or_default()
                .insert(name.clone());
        }
        let news = former.symmetric_difference(&wanted).copied().collect();
        if !wanted.is_empty() {
            self.services.insert(place, wanted);
        }
        news
    }

    fn room_for(&self, place: &(Lister, ServiceKey)) -> usize {
        let (lister, key) = place;
        let first = ServiceKey::new(key.namespace.clone(), "");
        let neighbours = self
            .services
            .range((*lister, first)..)
            .take_while(|((other, one), _)| other == lister && one.namespace == key.namespace);
        let of_namespace: usize = neighbours.map(|(_, addresses)| addresses.len()).sum();
        let room = MOST_OF_A_NAMESPACE.saturating_sub(of_namespace);
        room.min(MOST_OF_A_SERVICE)
            .min(MOST.saturating_sub(self.count))
    }
}

impl Allocator {
    /// What the Service lists in `externalIPs` from now on; empty when it is gone. The Services to settle
    /// anew: those that have one of the addresses, to be told.
    pub fn set_external_ips(
        &mut self,
        lister: Lister,
        key: &ServiceKey,
        addresses: &[IpAddr],
    ) -> BTreeSet<ServiceKey> {
        // Most Services list nothing.
        if addresses.is_empty() && self.surroundings.external.is_empty() {
            return BTreeSet::new();
        }
        let place = (lister, key.clone());
        if addresses.is_empty() && !self.surroundings.external.services.contains_key(&place) {
            return BTreeSet::new();
        }
        let news = self.surroundings.external.set(lister, key, addresses);
        let holders = news
            .iter()
            .flat_map(|address| self.holdings.users(*address));
        holders.cloned().collect()
    }

    /// The Services of that kind that list any.
    #[must_use]
    pub fn listers(&self, kind: Lister) -> Vec<ServiceKey> {
        let services = self.surroundings.external.services.keys();
        let services = services.filter(|(lister, _)| *lister == kind);
        services.map(|(_, key)| key.clone()).collect()
    }
}

#[cfg(test)]
mod tests;
