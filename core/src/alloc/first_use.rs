//! Whether an address is in use: what is heard on the network takes away only what nobody knows yet.
//!
//! A Service that was given an address that another host has gets another one, before anybody uses the
//! first. But anybody on the network can say to have any address, so that is over 10 s after a status
//! first shows it. An address that a status shows already when a reign begins is in use at once.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use crate::Instant;

/// After which time a status has been read: a speaker that finds another host does so within a second.
pub const FIRST_USE: Duration = Duration::from_secs(10);
/// So many Services get another address within [`REPLACED_WITHIN`]: a router that answers for all
/// addresses, or whoever does so on purpose, gets no pool put aside.
pub const MOST_REPLACED: usize = 5;
/// See [`MOST_REPLACED`].
pub const REPLACED_WITHIN: Duration = Duration::from_secs(60);

/// See the module's documentation.
#[derive(Debug, Clone, Default)]
pub(super) struct FirstUse {
    now: Instant,
    /// Addresses first given in this reign, and when a status first showed each.
    given: BTreeMap<IpAddr, Option<Instant>>,
    /// Those that a status shows, in that order.
    shown: VecDeque<(Instant, IpAddr)>,
    /// When Services got another address.
    replaced: VecDeque<Instant>,
}

impl FirstUse {
    /// Time has passed; whether more may be replaced now, or less.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> bool {
        self.now = now;
        let mut news = false;
        while let Some((at, address)) = self.shown.front().copied()
            && now.saturating_since(at) >= FIRST_USE
        {
            self.shown.pop_front();
            if self.given.get(&address) == Some(&Some(at)) {
                self.given.remove(&address);
                news = true;
            }
        }
        while let Some(at) = self.replaced.front().copied()
            && now.saturating_since(at) >= REPLACED_WITHIN
        {
            self.replaced.pop_front();
            news = true;
        }
        news
    }

    /// When something changes next.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let shown = self.shown.front().map(|(at, _)| *at + FIRST_USE);
        let replaced = self.replaced.front().map(|at| *at + REPLACED_WITHIN);
        shown.into_iter().chain(replaced).min()
    }

    /// An address that nobody had is given.
    pub(super) fn give(&mut self, address: IpAddr) {
        self.given.insert(address, None);
    }

    /// A status shows the address to the Service that has it.
    pub(super) fn show(&mut self, address: IpAddr) {
        if let Some(shown @ None) = self.given.get_mut(&address) {
            *shown = Some(self.now);
            self.shown.push_back((self.now, address));
        }
    }

    /// Nobody has the address any more.
    pub(super) fn forget(&mut self, address: IpAddr) {
        self.given.remove(&address);
    }

    /// Only what statuses show counts from now on, and is in use.
    pub(super) fn forget_all(&mut self) {
        self.given.clear();
        self.shown.clear();
    }

    /// Whether an address that a Service has is in use.
    pub(super) fn is_over(&self, address: IpAddr) -> bool {
        !self.given.contains_key(&address)
    }

    /// Whether one more Service may get another address.
    pub(super) fn may_replace(&self) -> bool {
        self.replaced.len() < MOST_REPLACED
    }

    /// One got it.
    pub(super) fn count_replaced(&mut self) {
        self.replaced.push_back(self.now);
    }
}
