//! Who holds which addresses. One map is the truth; the others are derived from it, here alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::runs::Runs;
use crate::address::AddressRange;
use crate::config::{ShareWithin, Sharing};
use crate::key_set::KeySet;
use crate::view::{Protocol, ServiceKey, ServiceView, TrafficPolicy};

/// How a Service uses its addresses, as far as sharing them is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Usage {
    ports: Box<[(Protocol, u16)]>,
    sharing_key: Option<Box<str>>,
    /// With policy Local the node's endpoints decide who gets the traffic, so both must have the same
    /// pods: its selector. `None` for policy Cluster.
    local: Option<Box<str>>,
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
    /// `share-within: namespace`, and they are of two.
    Namespace,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key => f.write_str("sharing needs the same allow-shared-ip annotation on both"),
            Self::Port(protocol, port) => write!(f, "both want port {port}/{protocol}"),
            Self::Backend => f.write_str(
                "with externalTrafficPolicy Local, sharing needs the same policy, selector and namespace \
                 on both",
            ),
            Self::Namespace => f.write_str(
                "the pool's addresses are shared within a namespace alone: share-within: namespace",
            ),
        }
    }
}

impl Usage {
    pub(super) fn of(view: &ServiceView) -> Self {
        Self {
            ports: view.ports.clone(),
            sharing_key: view.sharing_key.clone().filter(|key| !key.is_empty()),
            local: match view.traffic_policy {
                TrafficPolicy::Cluster => None,
                TrafficPolicy::Local => Some(view.selector.clone()),
            },
        }
    }

    fn collision(&self, other: &Self) -> Option<Obstacle> {
        let port = first_common(&self.ports, &other.ports);
        port.map(|(protocol, port)| Obstacle::Port(protocol, port))
    }

    /// Whether the pods are the same, where that matters. A selector means other pods in another
    /// namespace. As for `MetalLB`, who has policy Local and no selector shares with policy Cluster.
    fn has_pods_of(&self, other: &Self, same_namespace: bool) -> bool {
        match (&self.local, &other.local) {
            (None, None) => true,
            (Some(one), Some(two)) => same_namespace && one == two,
            (Some(selector), None) | (None, Some(selector)) => selector.is_empty(),
        }
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

/// One of those who share an address, or might.
#[derive(Clone, Copy)]
struct Party<'a> {
    key: &'a ServiceKey,
    usage: &'a Usage,
}

impl Party<'_> {
    /// `MetalLB`'s rules: the same key, no port in common, the same pods where that matters. And the
    /// pool's, which may need no key: then only two that differ are in the way.
    fn obstacle(self, other: Party<'_>, sharing: Sharing) -> Option<Obstacle> {
        match self.disagreement(other, sharing) {
            Some(Obstacle::Key) => Some(Obstacle::Key),
            another => self.usage.collision(other.usage).or(another),
        }
    }

    /// The same, but for their ports.
    fn disagreement(self, other: Party<'_>, sharing: Sharing) -> Option<Obstacle> {
        let (mine, its) = (self.usage, other.usage);
        let same_namespace = self.key.namespace == other.key.namespace;
        let agree_on_key = match (&mine.sharing_key, &its.sharing_key) {
            (Some(mine), Some(its)) => mine == its,
            _ => sharing.without_key,
        };
        if !agree_on_key {
            Some(Obstacle::Key)
        } else if sharing.within == ShareWithin::Namespace && !same_namespace {
            Some(Obstacle::Namespace)
        } else {
            (!mine.has_pods_of(its, same_namespace)).then_some(Obstacle::Backend)
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
    shared: BTreeMap<Box<str>, BTreeSet<IpAddr>>,
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

    /// The addresses of `range` that anybody holds, ascending.
    pub(super) fn held_in(&self, range: &AddressRange) -> impl Iterator<Item = IpAddr> {
        let held = self.users.range(range.first()..=range.last());
        held.map(|(address, _)| *address)
    }

    /// Another Service that keeps `key`, used so, from coming to have `address`, and what stands in
    /// the way.
    pub(super) fn conflict(
        &self,
        address: IpAddr,
        key: &ServiceKey,
        usage: &Usage,
        sharing: Sharing,
    ) -> Option<(&ServiceKey, Obstacle)> {
        let asks = Party { key, usage };
        let mut others = self.others(address, key);
        others.find_map(|other| Some((other.key, asks.obstacle(other, sharing)?)))
    }

    /// Another Service that keeps `key`, used so, from going on to have `address`: one that has a port
    /// of it there.
    pub(super) fn collision<'a>(
        &'a self,
        address: IpAddr,
        key: &'a ServiceKey,
        usage: &'a Usage,
    ) -> Option<(&'a ServiceKey, Obstacle)> {
        self.colliding(address, key, usage).next()
    }

    /// All of those.
    pub(super) fn colliding<'a>(
        &'a self,
        address: IpAddr,
        key: &'a ServiceKey,
        usage: &'a Usage,
    ) -> impl Iterator<Item = (&'a ServiceKey, Obstacle)> {
        let others = self.others(address, key);
        others.filter_map(move |other| Some((other.key, usage.collision(other.usage)?)))
    }

    /// Those who have `address` beside `key`, used so, and could not come to share it any more.
    pub(super) fn disagreeing<'a>(
        &'a self,
        address: IpAddr,
        key: &'a ServiceKey,
        usage: &'a Usage,
        sharing: Sharing,
    ) -> impl Iterator<Item = (&'a ServiceKey, Obstacle)> {
        let asks = Party { key, usage };
        let others = self.others(address, key);
        others.filter_map(move |other| Some((other.key, asks.disagreement(other, sharing)?)))
    }

    /// Who has the address.
    pub(super) fn users(&self, address: IpAddr) -> impl Iterator<Item = &ServiceKey> {
        self.users.get(&address).into_iter().flat_map(KeySet::iter)
    }

    fn others(&self, address: IpAddr, key: &ServiceKey) -> impl Iterator<Item = Party<'_>> {
        let others = self.users(address).filter(move |user| *user != key);
        others.filter_map(|key| {
            let usage = &self.services.get(key)?.usage;
            Some(Party { key, usage })
        })
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
        if *holding.usage.ports == *wanted {
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

    /// Whether one of `wanted` is no port that `key` uses so far.
    pub(super) fn lacks_port_of(&self, key: &ServiceKey, wanted: &[(Protocol, u16)]) -> bool {
        self.usage(key).is_some_and(|usage| *usage.ports != *wanted)
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
