//! Who holds which addresses. One map is the truth; the others are derived from it, here alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::runs::Runs;
use crate::key_set::KeySet;
use crate::view::{Protocol, ServiceKey, ServiceView, TrafficPolicy};

/// How a Service uses its addresses, as far as sharing them is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Usage {
    ports: Vec<(Protocol, u16)>,
    sharing_key: Option<String>,
    /// With policy Local the node's endpoints decide who gets the traffic, so both must select the
    /// same pods; empty for policy Cluster.
    backend: String,
}

/// Why two Services do not come to share an address. That of a port alone parts two that share one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Obstacle {
    /// Not both have the same `allow-shared-ip`.
    Key,
    /// Both want this port.
    Port(Protocol, u16),
    /// `externalTrafficPolicy: Local` with other pods.
    Backend,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key => f.write_str("sharing needs the same allow-shared-ip annotation on both"),
            Self::Port(protocol, port) => write!(f, "both want port {port}/{protocol}"),
            Self::Backend => f.write_str(
                "with externalTrafficPolicy Local, sharing needs the same policy and selector on both",
            ),
        }
    }
}

impl Usage {
    pub(super) fn of(view: &ServiceView) -> Self {
        Self {
            ports: view.ports.clone(),
            sharing_key: view.sharing_key.clone(),
            backend: match view.traffic_policy {
                TrafficPolicy::Cluster => String::new(),
                TrafficPolicy::Local => view.selector.clone(),
            },
        }
    }

    /// `MetalLB`'s rules: the same key, no port in common, the same backends where that matters.
    fn obstacle(&self, other: &Self) -> Option<Obstacle> {
        match self.disagreement(other) {
            Some(Obstacle::Key) => Some(Obstacle::Key),
            other_than_key => self.collision(other).or(other_than_key),
        }
    }

    fn collision(&self, other: &Self) -> Option<Obstacle> {
        let port = first_common(&self.ports, &other.ports);
        port.map(|(protocol, port)| Obstacle::Port(protocol, port))
    }

    /// What would keep the two from coming to share an address, but for their ports.
    fn disagreement(&self, other: &Self) -> Option<Obstacle> {
        if self.sharing_key.is_none() || self.sharing_key != other.sharing_key {
            return Some(Obstacle::Key);
        }
        (self.backend != other.backend).then_some(Obstacle::Backend)
    }

    /// The same with those of its ports alone that are among `wanted`.
    fn with_ports_of(&self, wanted: &[(Protocol, u16)]) -> Self {
        let wanted: BTreeSet<_> = wanted.iter().collect();
        let kept = self.ports.iter().filter(|port| wanted.contains(port));
        Self {
            ports: kept.copied().collect(),
            ..self.clone()
        }
    }
}

/// The first of `ports` that is among `others`. A Service may have ten thousand of them.
fn first_common(ports: &[(Protocol, u16)], others: &[(Protocol, u16)]) -> Option<(Protocol, u16)> {
    const FEW: usize = 16;
    if ports.len().min(others.len()) <= FEW {
        return ports.iter().find(|port| others.contains(port)).copied();
    }
    let others: BTreeSet<_> = others.iter().collect();
    ports.iter().find(|port| others.contains(port)).copied()
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Holding {
    addresses: Vec<IpAddr>,
    usage: Usage,
}

/// The addresses that are held, by whom and how.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Holdings {
    /// The truth.
    // Boxed: a tree keeps half of its places empty.
    services: BTreeMap<Arc<ServiceKey>, Box<Holding>>,
    /// Derived: who uses an address.
    users: BTreeMap<IpAddr, KeySet>,
    /// Derived: the keys of `users`.
    taken: Runs,
    /// Derived: the addresses under each sharing key.
    shared: BTreeMap<String, BTreeSet<IpAddr>>,
}

impl Holdings {
    /// What the Service holds; empty if nothing.
    pub(super) fn addresses(&self, key: &ServiceKey) -> &[IpAddr] {
        self.services
            .get(key)
            .map_or(&[], |holding| holding.addresses.as_slice())
    }

    /// Whether anyone holds the address.
    pub(super) fn is_held(&self, address: IpAddr) -> bool {
        self.users.contains_key(&address)
    }

    /// Every address that is held by anyone.
    pub(super) const fn taken(&self) -> &Runs {
        &self.taken
    }

    /// The addresses held under that sharing key, ascending.
    pub(super) fn shared_under(&self, key: &str) -> impl Iterator<Item = IpAddr> {
        self.shared.get(key).into_iter().flatten().copied()
    }

    /// Another Service that keeps `key`, used so, from coming to have `address`, and what stands in
    /// the way.
    pub(super) fn conflict(
        &self,
        address: IpAddr,
        key: &ServiceKey,
        usage: &Usage,
    ) -> Option<(&ServiceKey, Obstacle)> {
        let mut others = self.others(address, key);
        others.find_map(|(user, other)| Some((user, usage.obstacle(other)?)))
    }

    /// Another Service that keeps `key`, used so, from going on to have `address`: one that has a port
    /// of it there.
    pub(super) fn collision(
        &self,
        address: IpAddr,
        key: &ServiceKey,
        usage: &Usage,
    ) -> Option<(&ServiceKey, Obstacle)> {
        let mut others = self.others(address, key);
        others.find_map(|(user, other)| Some((user, usage.collision(other)?)))
    }

    /// Those who have `address` beside `key`, used so, and could not come to share it any more.
    pub(super) fn disagreeing(
        &self,
        address: IpAddr,
        key: &ServiceKey,
        usage: &Usage,
    ) -> impl Iterator<Item = (&ServiceKey, Obstacle)> {
        let others = self.others(address, key);
        others.filter_map(|(user, other)| Some((user, usage.disagreement(other)?)))
    }

    /// Who has the address.
    pub(super) fn users(&self, address: IpAddr) -> impl Iterator<Item = &ServiceKey> {
        self.users.get(&address).into_iter().flat_map(KeySet::iter)
    }

    fn others(
        &self,
        address: IpAddr,
        key: &ServiceKey,
    ) -> impl Iterator<Item = (&ServiceKey, &Usage)> {
        let others = self.users(address).filter(move |user| *user != key);
        others.filter_map(|user| Some((user, &self.services.get(user)?.usage)))
    }

    /// How the Service uses what it holds.
    pub(super) fn usage(&self, key: &ServiceKey) -> Option<&Usage> {
        self.services.get(key).map(|holding| &holding.usage)
    }

    /// `key` goes on with those of its ports alone that are among `wanted`; whether it had others.
    pub(super) fn give_up_ports(&mut self, key: &ServiceKey, wanted: &[(Protocol, u16)]) -> bool {
        let Some(holding) = self.services.get(key) else {
            return false;
        };
        if holding.usage.ports == wanted {
            return false;
        }
        let usage = holding.usage.with_ports_of(wanted);
        self.set(key, holding.addresses.clone(), usage)
    }

    /// Makes `key` hold exactly `addresses` and use them so; whether anything changed.
    pub(super) fn set(&mut self, key: &ServiceKey, addresses: Vec<IpAddr>, usage: Usage) -> bool {
        let wanted = (!addresses.is_empty()).then(|| Box::new(Holding { addresses, usage }));
        if self.services.get(key) == wanted.as_ref() {
            return false;
        }
        if let Some(former) = self.services.remove(key) {
            self.forget(key, &former);
        }
        if let Some(holding) = wanted {
            let key = Arc::new(key.clone());
            self.note(&key, &holding);
            self.services.insert(key, holding);
        }
        true
    }

    /// Takes everything from `key`; whether it held anything.
    pub(super) fn release(&mut self, key: &ServiceKey) -> bool {
        let former = self.services.remove(key);
        if let Some(former) = &former {
            self.forget(key, former);
        }
        former.is_some()
    }

    fn note(&mut self, key: &Arc<ServiceKey>, holding: &Holding) {
        for address in &holding.addresses {
            self.users.entry(*address).or_default().insert(key);
            self.taken.insert(*address);
            if let Some(sharing_key) = &holding.usage.sharing_key {
                self.shared
                    .entry(sharing_key.clone())
                    .or_default()
                    .insert(*address);
            }
        }
    }

    fn forget(&mut self, key: &ServiceKey, former: &Holding) {
        for address in &former.addresses {
            let users = self.users.entry(*address).or_default();
            users.remove(key);
            let others = users.clone();
            if others.is_empty() {
                self.users.remove(address);
                self.taken.remove(*address);
            }
            self.unshare(*address, &former.usage, &others);
        }
    }

    /// Drops `address` from the sharing key's addresses unless one of `others` uses it so too.
    fn unshare(&mut self, address: IpAddr, former: &Usage, others: &KeySet) {
        let Some(sharing_key) = &former.sharing_key else {
            return;
        };
        let still = others.iter().filter_map(|user| self.services.get(user));
        if still
            .into_iter()
            .any(|holding| holding.usage.sharing_key == former.sharing_key)
        {
            return;
        }
        let Some(addresses) = self.shared.get_mut(sharing_key) else {
            return;
        };
        addresses.remove(&address);
        if addresses.is_empty() {
            self.shared.remove(sharing_key);
        }
    }

    /// Panics if a derived map differs from the truth, or if two Services hold an address and use one
    /// port of it.
    #[cfg(test)]
    pub(super) fn check(&self) {
        let mut fresh = Self::default();
        for (key, holding) in &self.services {
            for address in &holding.addresses {
                let collision = fresh.collision(*address, key, &holding.usage);
                assert_eq!(collision, None, "{key} and another hold {address}");
            }
            assert!(!holding.addresses.is_empty(), "{key} holds an empty list");
            fresh.set(key, holding.addresses.clone(), holding.usage.clone());
        }
        assert_eq!(*self, fresh, "the derived maps follow from the truth");
    }

    /// Everyone who holds something, with what.
    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = (&ServiceKey, &[IpAddr])> {
        self.services
            .iter()
            .map(|(key, holding)| (key.as_ref(), holding.addresses.as_slice()))
    }
}
