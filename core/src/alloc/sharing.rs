//! Services that share an address while they are edited, one after the other.
//!
//! To come to share an address two Services have to agree: on the key, and with policy Local on the pods.
//! Once they share it, each of these is changed in one of them first and then in the other, and nobody
//! loses an address in between: both are told as long as they disagree. A port alone parts them, since
//! only one can have it there: who had it first, or where neither had it, the older Service. Who has to
//! leave gets another address, and returns if the port comes free before that one is in use: a port that
//! moves from one to the other, the new place edited first.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::holdings::{Obstacle, Usage};
use super::surroundings::Surroundings;
use super::{Allocator, Decided, Granted, Refusal};
use crate::Reason;
use crate::address::Family;
use crate::config::{Pool, Sharing};
use crate::conflict::give_another;
use crate::view::{ServiceKey, ServiceView};

/// Edits that are seen together and want each other's ports are sorted out in so many rounds, one behind
/// the other; what is left is decided by age.
const ROUNDS: usize = 8;

/// The addresses that a Service had to leave for a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parted {
    addresses: Vec<IpAddr>,
}

impl Allocator {
    /// Follows what was edited together, before anything new is given.
    pub(super) fn follow(&mut self, views: &[&ServiceView]) {
        // A port that goes from one Service to another is nobody's in between.
        for view in views {
            self.freed |= self.holdings.give_up_ports(&view.key, &view.ports);
        }
        let mut by_age = views.to_vec();
        // Of several that want a port which none of them had, and of several statuses with one port.
        by_age.sort_by_key(|view| {
            let theirs = view.foreign_manager().is_some();
            (theirs, view.created.is_none(), view.created, &view.key)
        });
        let holds = |view: &&ServiceView| self.holdings.usage(&view.key).is_some();
        let (holders, others): (Vec<_>, Vec<_>) = by_age.into_iter().partition(holds);
        self.follow_holders(holders);
        for view in others {
            self.restore(view);
        }
    }

    /// Whoever can stay stays: who wants a port of one that has to leave is decided after that one.
    fn follow_holders(&mut self, by_age: Vec<&ServiceView>) {
        let mut open: Vec<&ServiceView> = Vec::new();
        for view in by_age {
            if self.holdings.lacks_port_of(&view.key, &view.ports) {
                open.push(view);
            } else {
                self.restore(view);
            }
        }
        for _ in 0..ROUNDS {
            let before = open.len();
            let mut undecided: BTreeSet<_> = open.iter().map(|view| &view.key).collect();
            open.retain(|view| {
                let waits = self.collides_only_with(&undecided, view);
                if !waits {
                    self.restore(view);
                    undecided.remove(&view.key);
                }
                waits
            });
            if open.len() == before
                && let Some(youngest) = open.pop()
            {
                // They want each other's ports.
                self.restore(youngest);
            }
        }
        for view in open {
            self.restore(view);
        }
    }

    fn collides_only_with(&self, undecided: &BTreeSet<&ServiceKey>, view: &ServiceView) -> bool {
        let (key, usage) = (&view.key, Usage::of(view));
        let addresses = self.holdings.addresses(key).iter();
        let others = addresses.flat_map(|one| self.holdings.colliding(*one, key, &usage));
        let mut others = others
            .map(|(other, _)| undecided.contains(other))
            .peekable();
        others.peek().is_some() && others.all(|is_undecided| is_undecided)
    }

    /// Another Service that keeps `key`, used so, from coming to have `address`.
    fn conflict(
        &self,
        address: IpAddr,
        key: &ServiceKey,
        usage: &Usage,
    ) -> Option<(&ServiceKey, Obstacle)> {
        self.holdings
            .conflict(address, key, usage, self.shared_by(address))
    }

    /// Those who have `address` beside `key`, used so, and could not come to share it any more.
    fn disagreeing<'a>(
        &'a self,
        address: IpAddr,
        key: &'a ServiceKey,
        usage: &'a Usage,
    ) -> impl Iterator<Item = (&'a ServiceKey, Obstacle)> {
        self.holdings
            .disagreeing(address, key, usage, self.shared_by(address))
    }

    fn shared_by(&self, address: IpAddr) -> Sharing {
        let pool = self.pool_of(address);
        pool.map(Pool::shares).unwrap_or_default()
    }

    /// Who has the address.
    pub fn users(&self, address: IpAddr) -> impl Iterator<Item = &ServiceKey> {
        self.holdings.users(address)
    }

    /// What the Service has (by our books, or else by its status) and may keep. Notes what it has to
    /// leave for a port.
    pub(super) fn keep(&mut self, view: &ServiceView, usage: &Usage) -> Vec<IpAddr> {
        let had = self.had(view, usage);
        let kept = self.own(&had, view, usage);
        let collides = |address: &IpAddr| {
            let collision = self.holdings.collision(*address, &view.key, usage);
            collision.is_some()
        };
        let addresses: Vec<_> = had.into_iter().filter(collides).collect();
        if !addresses.is_empty() {
            self.parted.insert(view.key.clone(), Parted { addresses });
        }
        kept
    }

    fn had(&self, view: &ServiceView, usage: &Usage) -> Vec<IpAddr> {
        let held = self.holdings.addresses(&view.key);
        if !held.is_empty() {
            return held.to_vec();
        }
        // Who was refused has nothing: what its status still shows may be another one's by now.
        let was_refused = self.waiting.contains(&view.key);
        let is_its_own = |address: &IpAddr| {
            let conflict = self.conflict(*address, &view.key, usage);
            !was_refused || conflict.is_none()
        };
        view.assigned.iter().copied().filter(is_its_own).collect()
    }

    /// The return to what the Service had to leave, if that is free for it and nobody uses yet what it
    /// has now.
    pub(super) fn return_of_parted(
        &self,
        view: &ServiceView,
        usage: &Usage,
        current: &[IpAddr],
    ) -> Option<Decided> {
        let Parted { addresses } = self.parted.get(&view.key)?;
        let Surroundings {
            nodes, conflicts, ..
        } = &self.surroundings;
        let is_free = |address: &IpAddr| {
            let conflict = self.conflict(*address, &view.key, usage);
            let is_sound = !(nodes.contains_key(address) || conflicts.contains_key(address));
            conflict.is_none() && is_sound
        };
        if !addresses.iter().all(is_free) || self.has_settled_elsewhere(addresses, current) {
            return None;
        }
        let had = addresses.iter().chain(current).copied();
        let had = self.own(&had.collect::<Vec<_>>(), view, usage);
        let returns = self.decide(view, usage, &had).ok()?;
        let given = &returns.outcome.addresses;
        addresses
            .iter()
            .all(|one| given.contains(one))
            .then_some(returns)
    }

    /// Whether one of `current`, in place of one of `left`, is in use.
    fn has_settled_elsewhere(&self, left: &[IpAddr], current: &[IpAddr]) -> bool {
        let families: Vec<_> = left.iter().map(|one| Family::of(*one)).collect();
        let mut instead = current
            .iter()
            .filter(|one| families.contains(&Family::of(**one)));
        instead.any(|one| self.first_use.is_over(*one))
    }

    /// The Service has returned, or somebody uses what it has instead: `current`.
    pub(super) fn end_parting(&mut self, key: &ServiceKey, current: &[IpAddr]) {
        let Some(Parted { addresses }) = self.parted.get(key) else {
            return;
        };
        let has_returned = addresses.iter().all(|one| current.contains(one));
        if has_returned || self.has_settled_elsewhere(addresses, current) {
            self.parted.remove(key);
        }
    }

    /// Those who share an address with `key` and disagree with it have to be looked at.
    pub(super) fn touch_disagreeing(&mut self, key: &ServiceKey) {
        let Some(usage) = self.holdings.usage(key) else {
            return;
        };
        let addresses = self.holdings.addresses(key).iter();
        let others = addresses.flat_map(|one| self.disagreeing(*one, key, usage));
        // What another load balancer serves is told nothing.
        let ours = others.filter(|(other, _)| !self.left.contains_key(*other));
        let ours: Vec<_> = ours.map(|(other, _)| other.clone()).collect();
        self.touched.extend(ours);
    }

    /// Says that the Service had to leave an address, or disagrees with another one at its address.
    pub(super) fn with_sharing_said(
        &self,
        view: &ServiceView,
        usage: &Usage,
        outcome: Granted,
    ) -> Granted {
        let parting = self.parting(view, usage, &outcome.addresses);
        let warning = match (parting, outcome.warning) {
            (Some(parting), Some(warning)) => Some(Refusal::new(
                warning.reason,
                format!("{parting}; {warning}"),
            )),
            (Some(parting), None) => Some(parting),
            (None, None) => self.discord(view, usage, &outcome.addresses),
            (None, warning) => warning,
        };
        Granted { warning, ..outcome }
    }

    fn parting(&self, view: &ServiceView, usage: &Usage, given: &[IpAddr]) -> Option<Refusal> {
        let Parted { addresses } = self.parted.get(&view.key)?;
        let mut left = addresses.iter().filter(|one| !given.contains(*one));
        let (address, (user, obstacle)) = left.find_map(|address| {
            let collision = self.holdings.collision(*address, &view.key, usage);
            let conflict = || self.conflict(*address, &view.key, usage);
            Some((address, collision.or_else(conflict)?))
        })?;
        let text = format!(
            "had to leave {address}, which it shared with Service {user} ({obstacle}): give one of the \
             two another port"
        );
        Some(Refusal::new(Reason::SharedPortTaken, text))
    }

    fn discord(&self, view: &ServiceView, usage: &Usage, addresses: &[IpAddr]) -> Option<Refusal> {
        let key = &view.key;
        let (address, (user, obstacle), more) = addresses.iter().find_map(|address| {
            let mut others = self.disagreeing(*address, key, usage);
            let first = others.next()?;
            Some((address, first, others.count()))
        })?;
        let more = match more {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let another = if view.address_requests.is_empty() {
            format!("give one another address: {}", give_another(key, &[]))
        } else {
            "let one ask for another address".to_owned()
        };
        let text = format!(
            "shares {address} with Service {user}{more}, and they do not agree any more ({obstacle}): \
             all keep it; make them agree, or {another}"
        );
        Some(Refusal::new(Reason::SharedInDiscord, text))
    }
}

#[cfg(test)]
mod proptests;
#[cfg(test)]
mod tests;
