//! Which watches of `EndpointSlices` a speaker has open.
//!
//! A speaker needs the slices of its own Services alone, and a cluster has many others. So it selects
//! them by the names of their Services, while these fit into a URL. A watch cannot be given another
//! selector:
//!
//! ```text
//!  the first Services ──▶ one watch that selects their names
//!  a new Service      ──▶ a small one of its own beside it
//!  minutes later      ──▶ one that selects them all; once it is in sync and says the same, the
//!                         former ones are closed: no endpoint is ever forgotten meanwhile
//!  too many names, or
//!  too many new ones  ──▶ one watch of everything, until there has been quiet for long
//! ```
//!
//! Names repeat across namespaces, and what a watch brings of other Services is thrown away as it comes
//! in. Therefore a watch covers the Services that it was opened for, not their names.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::Instant;
use crate::names::LABEL_SERVICE_NAME;
use crate::spread::Spread;
use crate::view::ServiceKey;

/// What the names of a selector may take in a URL, in bytes: the API server takes a megabyte, proxies in
/// front of it 8 KiB for all headers.
pub const MOST_BYTES: usize = 4_000;
/// A comma between two names, as a URL has it.
const COMMA: usize = 3;
/// Watches that are open at once. Whoever would need more watches everything.
pub const MOST_WATCHES: usize = 8;

/// After a watch was opened, new Services are gathered for so long before the next one is.
const GATHER: Duration = Duration::from_millis(200);
/// A thousand speakers open a watch for the same new Service within a second: so long for each of them.
const EACH_MEMBER: Duration = Duration::from_millis(1);
/// As long as anybody waits for the others.
const LONGEST_TURN: Duration = Duration::from_secs(1);
/// Small watches become one after a time between these.
const FOLD: [Duration; 2] = [Duration::from_secs(120), Duration::from_secs(300)];
/// It is put off for so long, while a watch is not in sync.
const LATER: [Duration; 2] = [Duration::from_secs(30), Duration::from_secs(60)];
/// Without a new Service for a time between these, a watch of everything is done with.
const QUIET: [Duration; 2] = [Duration::from_secs(600), Duration::from_secs(1_200)];
/// Whether two watches say the same is looked at this often.
const LOOK: Duration = Duration::from_secs(1);
/// The former watch is closed so long after the later one's sync, whatever it says: its connection may
/// be dead.
const OVERDUE: Duration = Duration::from_secs(30);

/// The name of a watch; later ones have greater numbers.
pub type WatchId = u32;

/// What a watch selects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// All slices.
    Everything,
    /// Those of these Services, and of others with their names.
    Services(BTreeSet<ServiceKey>),
}

impl Scope {
    /// Whether it has the slices of `service`.
    #[must_use]
    pub fn has(&self, service: &ServiceKey) -> bool {
        match self {
            Self::Everything => true,
            Self::Services(services) => services.contains(service),
        }
    }

    /// As a label selector; `None` selects everything.
    #[must_use]
    pub fn selector(&self) -> Option<String> {
        let Self::Services(services) = self else {
            return None;
        };
        let names: BTreeSet<_> = services.iter().map(|key| &*key.name).collect();
        let names: Vec<_> = names.into_iter().collect();
        Some(format!("{LABEL_SERVICE_NAME} in ({})", names.join(",")))
    }
}

/// The Services whose slices are needed.
pub trait Wanted {
    /// Whether those of `service` are.
    fn wants(&self, service: &ServiceKey) -> bool;
    /// All of them.
    fn all(&self) -> impl Iterator<Item = &ServiceKey>;
    /// How many speakers the cluster has, which want the same at the same time.
    fn members(&self) -> usize;
}

/// What has to be done with a watch.
#[derive(Debug, PartialEq, Eq)]
pub enum Order {
    /// Begin one with this label selector.
    Open(WatchId, Option<String>),
    /// End it.
    Close(WatchId),
}

/// The watches that are open.
#[derive(Debug)]
pub struct Cover {
    watches: BTreeMap<WatchId, Watch>,
    next: WatchId,
    spread: Spread,
    /// The Services are known.
    has_begun: bool,
    /// Every Service has been covered once.
    is_complete: bool,
    /// `EndpointSlices` can be selected by labels.
    selects: bool,
    /// The watch of everything stays, whatever was opened to follow it.
    stays: bool,
    /// Services have come or gone since the last look.
    is_stale: bool,
    /// One has come.
    has_more: bool,
    /// When the next watch of new Services begins.
    next_at: Option<Instant>,
    opened_at: Option<Instant>,
    fold_at: Option<Instant>,
    look_at: Option<Instant>,
}

#[derive(Debug)]
struct Watch {
    scope: Scope,
    sync: Sync,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sync {
    None,
    /// Since the last look.
    Just,
    Since(Instant),
}

impl Cover {
    /// None, until the Services are known. `spread` has the times at which watches are renewed.
    #[must_use]
    pub const fn new(spread: Spread) -> Self {
        Self {
            watches: BTreeMap::new(),
            next: 0,
            spread,
            has_begun: false,
            is_complete: false,
            selects: true,
            stays: false,
            is_stale: false,
            has_more: false,
            next_at: None,
            opened_at: None,
            fold_at: None,
            look_at: None,
        }
    }

    /// All Services have been listed.
    pub const fn handle_listed(&mut self) {
        if !self.has_begun {
            self.has_begun = true;
            self.is_stale = true;
        }
    }

    /// A Service has come, `is_new`, or gone.
    pub const fn handle_service(&mut self, is_new: bool) {
        self.is_stale = true;
        self.has_more |= is_new;
    }

    /// The first list of a watch is complete.
    pub fn handle_synced(&mut self, id: WatchId) {
        if let Some(watch) = self.watches.get_mut(&id)
            && watch.sync == Sync::None
        {
            watch.sync = Sync::Just;
            self.is_stale = true;
        }
    }

    /// A watch has everything, whatever it was to select: it reads Endpoints, which have no such label.
    pub fn handle_unselectable(&mut self, id: WatchId) {
        if let Some(watch) = self.watches.get_mut(&id)
            && watch.scope != Scope::Everything
        {
            watch.scope = Scope::Everything;
            self.selects = false;
            self.is_stale = true;
        }
    }

    /// What a watch was opened for; `None` if it is closed.
    #[must_use]
    pub fn scope(&self, id: WatchId) -> Option<&Scope> {
        Some(&self.watches.get(&id)?.scope)
    }

    /// The watch that says what slices a Service has: the oldest one in sync.
    #[must_use]
    pub fn speaks_for(&self, service: &ServiceKey) -> Option<WatchId> {
        self.synced(service).next()
    }

    fn synced<'a>(&'a self, service: &'a ServiceKey) -> impl Iterator<Item = WatchId> + 'a {
        let watches = self.watches.iter();
        let synced =
            watches.filter(|(_, watch)| watch.sync != Sync::None && watch.scope.has(service));
        synced.map(|(id, _)| *id)
    }

    /// Whether each Service that was there at the start has been covered by a watch in sync.
    pub fn is_complete(&mut self, wanted: &impl Wanted) -> bool {
        if !self.is_complete && self.has_begun {
            let everything = self.of_everything();
            self.is_complete = match everything {
                Some(watch) => watch.sync != Sync::None,
                None => wanted.all().all(|key| self.speaks_for(key).is_some()),
            };
        }
        self.is_complete
    }

    /// The next order. `says_the_same` compares two watches as to a Service.
    pub fn poll_order(
        &mut self,
        wanted: &impl Wanted,
        says_the_same: impl Fn(WatchId, WatchId, &ServiceKey) -> bool,
        now: Instant,
    ) -> Option<Order> {
        for watch in self.watches.values_mut() {
            if watch.sync == Sync::Just {
                watch.sync = Sync::Since(now);
            }
        }
        self.is_complete(wanted);
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if self.has_begun && (self.is_stale || is_due(self.next_at)) {
            self.is_stale = false;
            self.look_at = Some(now);
            if let Some(scope) = self.missing(wanted, now) {
                return Some(self.open(scope, now));
            }
        }
        if is_due(self.fold_at) {
            self.fold_at = None;
            self.look_at = Some(now);
            if let Some(scope) = self.fold(wanted, now) {
                return Some(self.open(scope, now));
            }
        }
        if is_due(self.look_at) {
            let (closed, look_again) = self.redundant(wanted, says_the_same, now);
            self.look_at = match closed {
                Some(_) => Some(now),
                None => look_again.then(|| now + LOOK),
            };
            let id = closed?;
            self.watches.remove(&id);
            return Some(Order::Close(id));
        }
        None
    }

    /// When to ask for the next order, if nothing happens until then.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.next_at, self.fold_at, self.look_at]
            .into_iter()
            .flatten()
            .min()
    }

    fn open(&mut self, scope: Scope, now: Instant) -> Order {
        self.opened_at = Some(now);
        let id = self.next;
        self.next += 1;
        let order = Order::Open(id, scope.selector());
        let sync = Sync::None;
        self.watches.insert(id, Watch { scope, sync });
        order
    }

    fn of_everything(&self) -> Option<&Watch> {
        let mut watches = self.watches.values();
        watches.find(|watch| watch.scope == Scope::Everything)
    }

    fn after(&mut self, [shortest, longest]: [Duration; 2], now: Instant) -> Option<Instant> {
        Some(now + self.spread.between(shortest, longest))
    }

    /// What has to be watched besides, at once.
    fn missing(&mut self, wanted: &impl Wanted, now: Instant) -> Option<Scope> {
        let has_more = std::mem::take(&mut self.has_more);
        if self.of_everything().is_some() {
            self.next_at = None;
            let may_end = self.fold_at.is_none() && self.selects && fits(wanted, MOST_BYTES / 2);
            if has_more || may_end {
                self.fold_at = self.after(QUIET, now);
            }
            return None;
        }
        let fits = self.selects && fits(wanted, MOST_BYTES);
        let is_covered = |key: &ServiceKey| self.watches.values().any(|one| one.scope.has(key));
        let services = if fits {
            let uncovered = wanted.all().filter(|key| !is_covered(key));
            uncovered.cloned().collect()
        } else {
            BTreeSet::new()
        };
        if fits && services.is_empty() {
            self.next_at = None;
            let are_several = self.watches.len() > 1;
            if self.fold_at.is_none() && (are_several || self.has_former(wanted)) {
                self.fold_at = self.after(FOLD, now);
            }
            return None;
        }
        let at = match self.next_at {
            Some(at) => at,
            None => self.turn(wanted.members(), now),
        };
        if now < at {
            self.next_at = Some(at);
            return None;
        }
        self.next_at = None;
        if fits && self.watches.len() < MOST_WATCHES {
            if self.fold_at.is_none() && !self.watches.is_empty() {
                self.fold_at = self.after(FOLD, now);
            }
            return Some(Scope::Services(services));
        }
        self.fold_at = self.after(QUIET, now);
        Some(Scope::Everything)
    }

    /// When this one's turn is to watch new Services, which the other speakers have seen as well.
    fn turn(&mut self, members: usize, now: Instant) -> Instant {
        let gathered = self.opened_at.map_or(now, |at| at + GATHER);
        if !self.is_complete {
            return gathered;
        }
        let members = u32::try_from(members).unwrap_or(u32::MAX);
        let longest = EACH_MEMBER.saturating_mul(members).min(LONGEST_TURN);
        gathered.max(now + self.spread.between(Duration::ZERO, longest))
    }

    /// Whether a Service is watched that is not wanted any more.
    fn has_former(&self, wanted: &impl Wanted) -> bool {
        self.watches.values().any(|watch| match &watch.scope {
            Scope::Everything => false,
            Scope::Services(services) => services.iter().any(|key| !wanted.wants(key)),
        })
    }

    /// What the one watch has to select that follows all others, if that is better.
    fn fold(&mut self, wanted: &impl Wanted, now: Instant) -> Option<Scope> {
        let is_in_sync = |watch: &Watch| watch.sync != Sync::None;
        if !self.watches.values().all(is_in_sync) {
            self.fold_at = self.after(LATER, now);
            return None;
        }
        let fits = match self.of_everything() {
            Some(_) if !(self.selects && fits(wanted, MOST_BYTES / 2)) => {
                self.stays = true;
                return None;
            }
            Some(_) => true,
            None if self.watches.len() < 2 && !self.has_former(wanted) => return None,
            None => fits(wanted, MOST_BYTES),
        };
        let services: BTreeSet<_> = wanted.all().cloned().collect();
        if services.is_empty() {
            return None;
        }
        self.stays = false;
        Some(if fits {
            Scope::Services(services)
        } else {
            Scope::Everything
        })
    }

    /// A watch that nothing hangs on any more; and whether one is only waited for until it says the same
    /// as the one that follows it.
    fn redundant(
        &self,
        wanted: &impl Wanted,
        says_the_same: impl Fn(WatchId, WatchId, &ServiceKey) -> bool,
        now: Instant,
    ) -> (Option<WatchId>, bool) {
        let is_overdue = |id: WatchId| match self.watches.get(&id).map(|watch| watch.sync) {
            Some(Sync::Since(at)) => at + OVERDUE <= now,
            _ => false,
        };
        let mut look_again = false;
        for (id, watch) in &self.watches {
            let mut needed: Box<dyn Iterator<Item = &ServiceKey>> = match &watch.scope {
                Scope::Everything => Box::new(wanted.all()),
                Scope::Services(services) => {
                    Box::new(services.iter().filter(|key| wanted.wants(key)))
                }
            };
            let mut is_different = false;
            let is_followed = needed.all(|key| {
                let follows = |other: &WatchId| other > id || self.has_the_last_word(*other, watch);
                let Some(later) = self.synced(key).find(follows) else {
                    return false;
                };
                is_different |= self.speaks_for(key) == Some(*id)
                    && !is_overdue(later)
                    && !says_the_same(*id, later, key);
                true
            });
            // One of everything outlives the last Service, as long as another one may soon come.
            let awaits_more = watch.scope == Scope::Everything && self.fold_at.is_some();
            if is_followed && !is_different && !(awaits_more && wanted.all().next().is_none()) {
                return (Some(*id), false);
            }
            look_again |= is_followed && is_different;
        }
        (None, look_again)
    }

    /// Whether the other one has everything for good.
    fn has_the_last_word(&self, other: WatchId, watch: &Watch) -> bool {
        let stays = self.stays || !self.selects;
        let scope = self.scope(other);
        stays && scope == Some(&Scope::Everything) && watch.scope != Scope::Everything
    }
}

/// Whether the names of these Services take at most `bytes` in a URL.
fn fits(wanted: &impl Wanted, bytes: usize) -> bool {
    let mut names = BTreeSet::new();
    let mut taken = 0;
    wanted.all().all(|key| {
        if names.insert(&*key.name) {
            taken += key.name.len() + COMMA;
        }
        taken <= bytes
    })
}

#[cfg(test)]
mod tests;
