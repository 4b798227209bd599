//! Which Service gets which addresses.
//!
//! ```text
//!  set_config ─┐
//!  release ────┼─▶ Allocator ──▶ settle ──▶ Decision per Service that was looked at
//!  views ──────┘      └─ Holdings: service → addresses (the truth) and what follows from it
//! ```
//!
//! An address that a Service has stays with it: no busy or impossible request, and no change of
//! the configuration takes it away, nor does anything that is heard on the network, once it is in use
//! (see [`FIRST_USE`]). Two things do, if there is another one to give: another host that has the
//! address before it is in use, and an address that no host can have. And two do in any case: a port that
//! a node needs, on the node's own address, because nobody can repair a cluster that he is locked out of;
//! and a port that another Service has on a shared address (see `sharing`). What cannot be done is
//! said in a [`Refusal`] and tried again as soon as anything is given up or the configuration changes.
//!
//! Equal inputs give equal results: pools are tried by priority, then in the order of the file,
//! addresses ascend, and Services that wait together are served in the order of their keys, those
//! that ask for an address by name first.

mod choice;
mod external;
mod first_use;
mod foreign;
mod holdings;
mod node_ports;
#[cfg(test)]
mod proptests;
mod request;
mod reserved;
mod runs;
mod sharing;
mod surroundings;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use crate::address::Family;
use crate::address::host::can_be_a_hosts;
use crate::adopt::Adoption;
use crate::config::{Config, Pool};
use crate::conflict::Finding;
use crate::labels::Labels;
use crate::text::shortened;
use crate::view::{ServiceKey, ServiceView};
use crate::{Instant, Reason};

use choice::{Choice, Listed};
pub use external::{Lister, MOST_OF_A_SERVICE};
use first_use::FirstUse;
pub use first_use::{FIRST_USE, MOST_REPLACED, REPLACED_WITHIN};
use foreign::{contested, foreign, looping};
use holdings::{Holdings, Usage};
use request::{Request, families};
pub use reserved::ClusterNetwork;
use sharing::Parted;
use surroundings::Surroundings;

/// The longest sentence of a refusal: it quotes what tenants and administrators write, and is kept
/// for each Service. An Event's message has at most as many bytes.
const LONGEST_TEXT: usize = 1_024;

/// Why a Service did not get what it asks for, in a word and in a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The word.
    pub reason: Reason,
    /// What, on what, and what to do: for people.
    pub text: String,
}

impl Refusal {
    /// A refusal with its sentence.
    #[must_use]
    pub fn new(reason: Reason, text: impl Into<String>) -> Self {
        Self {
            reason,
            text: shortened(&text.into(), LONGEST_TEXT),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What a Service's status has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It holds these addresses.
    Hold {
        /// Primary family first; never empty.
        addresses: Vec<IpAddr>,
        /// The pool that they come from; `None` if no pool holds them (any more).
        pool: Option<String>,
        /// What it asks for besides and does not get.
        warning: Option<Refusal>,
    },
    /// It holds nothing.
    Refuse(Refusal),
    /// Another load balancer serves it: its status is left as it is.
    Leave {
        /// What the status shows.
        addresses: Vec<IpAddr>,
        /// Who that is.
        why: Refusal,
    },
}

impl Decision {
    /// The addresses that the status has to show.
    #[must_use]
    pub fn addresses(&self) -> &[IpAddr] {
        match self {
            Self::Hold { addresses, .. } | Self::Leave { addresses, .. } => addresses,
            Self::Refuse(_) => &[],
        }
    }

    /// What the Service does not get, and why.
    #[must_use]
    pub const fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Hold { warning, .. } => warning.as_ref(),
            Self::Refuse(refusal) | Self::Leave { why: refusal, .. } => Some(refusal),
        }
    }
}

/// Addresses chosen, and what could not be had besides.
struct Granted {
    addresses: Vec<IpAddr>,
    warning: Option<Refusal>,
}

/// What was decided for a Service.
struct Decided {
    outcome: Granted,
    /// Whether it gets other addresses in place of some that cannot serve.
    replaces: bool,
}

/// How full a pool is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolUsage {
    /// Its name.
    pub pool: String,
    /// Addresses that it may give out.
    pub total: u128,
    /// Distinct addresses of it that are held.
    pub in_use: u128,
    /// The same two numbers of IPv4 and of IPv6.
    pub by_family: [(u128, u128); 2],
    /// The lowest one of each family that a Service would get.
    pub first_free: Vec<IpAddr>,
}

/// How long a contested status is left as it is: a rival that has been stopped by then is not noticed
/// otherwise, and one that has not costs two writes each time.
pub const CONTESTED_FOR: Duration = Duration::from_secs(10 * 60);

/// Why a status is left as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Left {
    /// It was there before us.
    Foreign,
    /// It rewrites what we write. Who only empties a status leaves no name in it.
    Contested(Option<String>),
    /// It was written again and again.
    Looping,
}

/// Gives addresses to Services. See the module's documentation.
#[derive(Debug, Clone)]
pub struct Allocator {
    config: Result<Config, Refusal>,
    /// Indices of the pools in the order of trying.
    order: Vec<usize>,
    holdings: Holdings,
    surroundings: Surroundings,
    first_use: FirstUse,
    /// Services whose status is left as it is, mostly to another load balancer. What it shows counts as
    /// held.
    left: BTreeMap<ServiceKey, Left>,
    /// What stands in the way of taking such a status over, where somebody asks for it.
    adoptions: BTreeMap<ServiceKey, Adoption>,
    /// Services that are being deleted, each with the finalizers that hold it.
    deleting: BTreeMap<ServiceKey, Box<str>>,
    /// Services that did not get all that they ask for.
    waiting: BTreeSet<ServiceKey>,
    /// Services that had to leave a shared address a moment ago.
    parted: BTreeMap<ServiceKey, Parted>,
    /// Services that have come to agree or disagree with another one at their address.
    touched: BTreeSet<ServiceKey>,
    /// Something was given up or is used differently since the waiting Services were looked at.
    freed: bool,
}

impl Allocator {
    /// Nothing is held; until there is a configuration, `unconfigured` is said to all who wait.
    #[must_use]
    pub fn new(unconfigured: Refusal) -> Self {
        Self {
            config: Err(unconfigured),
            order: Vec::new(),
            holdings: Holdings::default(),
            surroundings: Surroundings::default(),
            first_use: FirstUse::default(),
            left: BTreeMap::new(),
            adoptions: BTreeMap::new(),
            deleting: BTreeMap::new(),
            waiting: BTreeSet::new(),
            parted: BTreeMap::new(),
            touched: BTreeSet::new(),
            freed: false,
        }
    }

    /// Puts a configuration in force. Every Service has to be settled anew.
    pub fn set_config(&mut self, config: Config) {
        let mut order: Vec<_> = (0..config.pools.len()).collect();
        // Sorting is stable: equal ones stay in the order of the file, or of the objects' names.
        order.sort_by_key(|index| {
            let pool = config.pools.get(*index);
            let priority = pool.and_then(|pool| pool.priority);
            let is_pinned = pool.is_some_and(|pool| pool.pinned);
            (!is_pinned, priority.is_none(), priority)
        });
        self.order = order;
        self.config = Ok(config);
        self.freed = true;
    }

    /// Says why there is no configuration yet. One that is in force stays in force.
    pub fn set_unconfigured(&mut self, why: Refusal) {
        if let Err(current) = &mut self.config {
            *current = why;
            self.freed = true;
        }
    }

    /// The nodes' own addresses, each with the node's name. Every Service has to be settled anew
    /// if it returns true.
    pub fn set_nodes(&mut self, nodes: BTreeMap<IpAddr, String>) -> bool {
        let news = self.surroundings.set_nodes(nodes);
        self.freed |= news;
        news
    }

    /// What else the cluster uses. Every Service has to be settled anew if it returns true.
    pub fn set_network(&mut self, network: ClusterNetwork) -> bool {
        let news = self.surroundings.set_network(network);
        self.freed |= news;
        news
    }

    /// The labels of all namespaces. Every Service has to be settled anew if it returns true.
    pub fn set_namespaces(&mut self, labels: &BTreeMap<String, Labels>) -> bool {
        let news = self.surroundings.namespaces.as_ref() != Some(labels);
        if news {
            self.surroundings.namespaces = Some(labels.clone());
        }
        self.freed |= news;
        news
    }

    /// The addresses that cannot serve: put aside until they are no longer among them. Every Service
    /// has to be settled anew if it returns true.
    pub fn set_conflicts(&mut self, conflicts: BTreeMap<IpAddr, Finding>) -> bool {
        let news = self.surroundings.conflicts != conflicts;
        self.surroundings.conflicts = conflicts;
        self.freed |= news;
        news
    }

    /// Time has passed: an address may have come into use. Whatever is decided, is decided at this time.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.freed |= self.first_use.handle_timeout(now) && self.depends_on_first_use();
    }

    /// When to call [`Self::handle_timeout`], at the latest.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let due = self.first_use.poll_timeout();
        due.filter(|_| self.depends_on_first_use())
    }

    fn depends_on_first_use(&self) -> bool {
        !(self.surroundings.conflicts.is_empty() && self.parted.is_empty())
    }

    /// The node whose own address it is.
    #[must_use]
    pub fn node_of(&self, address: IpAddr) -> Option<&str> {
        self.surroundings.nodes.get(&address).map(String::as_str)
    }

    /// Gives in to whoever rewrites the Service's status again and again, until it is released.
    pub fn give_in(&mut self, key: &ServiceKey, rival: Option<&str>) {
        self.release(key);
        let rival = rival.map(str::to_owned);
        self.left.insert(key.clone(), Left::Contested(rival));
    }

    /// Leaves the Service's status as it is until it is released: it was written again and again.
    pub fn stop_loop(&mut self, key: &ServiceKey) {
        self.release(key);
        self.left.insert(key.clone(), Left::Looping);
    }

    /// Forgets what every Service holds; what is known of the world stays.
    pub fn forget_holdings(&mut self) {
        self.holdings = Holdings::default();
        self.first_use.forget_all();
        self.left.clear();
        self.adoptions.clear();
        self.deleting.clear();
        self.waiting.clear();
        self.parted.clear();
        self.touched.clear();
        self.freed = true;
    }

    /// Frees what the Service holds: it is gone, or no longer ours, or the time for which it was left
    /// to a rival is over.
    pub fn release(&mut self, key: &ServiceKey) {
        self.waiting.remove(key);
        self.left.remove(key);
        self.deleting.remove(key);
        self.parted.remove(key);
        let former = self.holdings.addresses(key).to_vec();
        self.touch_disagreeing(key);
        self.freed |= self.holdings.release(key);
        self.forget_unheld(&former);
    }

    /// Follows how the Service uses what it holds. If it holds nothing yet, takes over the addresses in
    /// its status, one of each family that it needs. They need not lie in a pool.
    pub fn restore(&mut self, view: &ServiceView) {
        if self.leave(view).is_some() {
            return;
        }
        let usage = Usage::of(view);
        let addresses = self.keep(view, &usage);
        self.hold(view, addresses, usage);
    }

    /// Decides what the Service holds from now on.
    pub fn ensure(&mut self, view: &ServiceView) -> Decision {
        self.note_deletion(view);
        let not_adopted = self.adopt(view).err();
        if let Some(why) = self.leave(view) {
            let addresses = view.assigned.clone();
            if not_adopted.is_some() {
                self.waiting.insert(view.key.clone());
            }
            let why = not_adopted.unwrap_or(why);
            return Decision::Leave { addresses, why };
        }
        let usage = Usage::of(view);
        let current = self.keep(view, &usage);
        self.end_parting(&view.key, &current);
        for address in view.assigned.iter().filter(|one| current.contains(one)) {
            self.first_use.show(*address);
        }
        let decided = match self.return_of_parted(view, &usage, &current) {
            Some(returns) => Ok(returns),
            None => self.decide(view, &usage, &current),
        };
        let outcome = match decided {
            Ok(Decided { outcome, replaces }) => {
                if replaces {
                    self.first_use.count_replaced();
                }
                outcome
            }
            Err(refusal) => Granted {
                addresses: current,
                warning: Some(refusal),
            },
        };
        if outcome.warning.is_some() {
            self.waiting.insert(view.key.clone());
        } else {
            self.waiting.remove(&view.key);
        }
        let outcome = self.with_sharing_said(view, &usage, outcome);
        self.hold(view, outcome.addresses.clone(), usage);
        match outcome {
            Granted {
                addresses,
                warning: Some(refusal),
            } if addresses.is_empty() => Decision::Refuse(refusal),
            Granted { addresses, warning } => Decision::Hold {
                pool: self.pool_name(&addresses),
                addresses,
                warning,
            },
        }
    }

    /// Settles the Services in `changed`, and those that wait if there is anything new for them.
    /// Statuses are restored before anything new is given. Returns what was decided.
    pub fn settle<'a>(
        &mut self,
        changed: BTreeSet<ServiceKey>,
        view_of: impl Fn(&ServiceKey) -> Option<&'a ServiceView>,
    ) -> BTreeMap<ServiceKey, Decision> {
        let mut decisions = BTreeMap::new();
        let mut batch = changed;
        loop {
            if std::mem::take(&mut self.freed) {
                batch.extend(self.waiting.iter().chain(self.parted.keys()).cloned());
            }
            batch.append(&mut self.touched);
            let mut views: Vec<_> = batch.iter().filter_map(&view_of).collect();
            self.follow(&views);
            // Stable: in the order of keys within both halves.
            views.sort_by_key(|view| view.address_requests.is_empty());
            for view in views {
                decisions.insert(view.key.clone(), self.ensure(view));
            }
            // It ends: only a Service that gets what it asks for by name, or returns to where it was,
            // gives anything up, and then it waits no longer.
            if !self.freed && self.touched.is_empty() {
                return decisions;
            }
            batch.clear();
        }
    }

    /// How full each pool is, in the order of the file.
    #[must_use]
    pub fn usage(&self) -> Vec<PoolUsage> {
        let pools = self.config.iter().flat_map(|config| &config.pools);
        let usage = pools.map(|pool| {
            let of = |family| (pool.capacity_of(family), self.in_use(pool, family));
            let by_family = [Family::V4, Family::V6].map(of);
            PoolUsage {
                pool: pool.name.clone(),
                total: pool.capacity(),
                in_use: by_family[0].1.saturating_add(by_family[1].1),
                by_family,
                first_free: self.first_free(pool),
            }
        });
        usage.collect()
    }

    /// How many addresses of that family are held, each counted once.
    fn in_use(&self, pool: &Pool, family: Family) -> u128 {
        let ranges = pool.ranges.iter().filter(|range| range.family() == family);
        ranges
            .map(|range| self.holdings.taken().count_in(range))
            .fold(0, u128::saturating_add)
    }

    /// Whether and why the Service's status is left to another load balancer. What it shows is taken
    /// for held, so that nobody else gets it.
    fn leave(&mut self, view: &ServiceView) -> Option<Refusal> {
        let key = &view.key;
        let left = self.left.get(key).cloned();
        let (left, why) = match (left, view.foreign_manager()) {
            (Some(Left::Contested(rival)), _) => {
                let why = contested(key, rival.as_deref());
                (Left::Contested(rival), why)
            }
            (Some(Left::Looping), _) => (Left::Looping, looping()),
            (Some(Left::Foreign), None) => {
                self.release(key);
                return None;
            }
            (None, None) => return None,
            // It was ours: what another one wrote is repaired.
            (None, Some(_)) if !self.holdings.addresses(key).is_empty() => return None,
            (_, Some(manager)) => {
                let asked = self.adoptions.get(key).unwrap_or(&Adoption::NotAsked);
                (Left::Foreign, foreign(key, manager, asked))
            }
        };
        let usage = Usage::of(view);
        let addresses = self.own(&view.assigned, view, &usage);
        self.hold(view, addresses, usage);
        self.waiting.remove(key);
        self.left.insert(key.clone(), left);
        Some(why)
    }

    /// Makes the Service hold `addresses`. Follows which of them nobody has used before, and who agrees
    /// with whom.
    fn hold(&mut self, view: &ServiceView, addresses: Vec<IpAddr>, usage: Usage) {
        let key = &view.key;
        let former = self.holdings.addresses(key).to_vec();
        if former == addresses && (former.is_empty() || self.holdings.usage(key) == Some(&usage)) {
            return;
        }
        let is_fresh =
            |one: &&IpAddr| !(self.holdings.is_held(**one) || view.assigned.contains(*one));
        let fresh: Vec<_> = addresses.iter().filter(is_fresh).copied().collect();
        self.touch_disagreeing(key);
        self.holdings.set(key, addresses, usage);
        self.touch_disagreeing(key);
        // A first assignment helps nobody who waits; a change may.
        self.freed |= !former.is_empty();
        self.forget_unheld(&former);
        for address in fresh {
            self.first_use.give(address);
        }
    }

    /// An address that nobody has any more was never used by whoever gets it next.
    fn forget_unheld(&mut self, addresses: &[IpAddr]) {
        for address in addresses {
            if !self.holdings.is_held(*address) {
                self.first_use.forget(*address);
            }
        }
    }

    fn first_free(&self, pool: &Pool) -> Vec<IpAddr> {
        let free = |family, listed| {
            let (holdings, surroundings) = (&self.holdings, &self.surroundings);
            choice::lowest_free(pool, family, holdings, surroundings, None, listed)
        };
        let families = [Family::V4, Family::V6].into_iter();
        families
            .filter_map(|family| {
                free(family, Listed::Passed).or_else(|| free(family, Listed::Taken))
            })
            .collect()
    }

    /// Those of `had` that the Service may keep: one of each family that it needs, and none that locks
    /// people out or of which another Service has a port that it wants.
    fn own(&self, had: &[IpAddr], view: &ServiceView, usage: &Usage) -> Vec<IpAddr> {
        let needed = families(view);
        let mut seen = BTreeSet::new();
        let mine = had.iter().filter(|address| {
            let family = Family::of(**address);
            (needed.is_empty() || needed.contains(&family))
                // A status may hold anything, `0.0.0.0` too.
                && can_be_a_hosts(**address)
                && self
                    .surroundings
                    .shadowed(**address, view, self.pool_of(**address))
                    .is_none()
                && self
                    .holdings
                    .collision(**address, &view.key, usage)
                    .is_none()
                && seen.insert(family)
        });
        let mut mine: Vec<_> = mine.copied().collect();
        mine.sort_by_key(|address| needed.iter().position(|one| *one == Family::of(*address)));
        mine
    }

    fn decide(
        &self,
        view: &ServiceView,
        usage: &Usage,
        current: &[IpAddr],
    ) -> Result<Decided, Refusal> {
        let config = match &self.config {
            Ok(config) => config,
            Err(unconfigured) if current.is_empty() => return Err(unconfigured.clone()),
            Err(_) => {
                return Ok(Decided {
                    outcome: Granted {
                        addresses: current.to_vec(),
                        warning: None,
                    },
                    replaces: false,
                });
            }
        };
        let request = Request::of(view)?;
        let choice = Choice {
            config,
            order: &self.order,
            holdings: &self.holdings,
            surroundings: &self.surroundings,
            deleting: &self.deleting,
            first_use: &self.first_use,
            view,
            usage,
            request: &request,
            current,
        };
        let stays = !current.is_empty() && choice.current_is_as_requested();
        let chosen = if stays {
            choice
                .without_contended()
                .map_or_else(|| choice.complete_current(), Ok)
        } else {
            choice.choose()
        };
        chosen.map(|outcome| Decided {
            replaces: stays && choice.has_replaced(&outcome),
            outcome: choice.with_contention_said(outcome),
        })
    }

    fn pool_of(&self, address: IpAddr) -> Option<&Pool> {
        self.config.as_ref().ok()?.pool_of(address)
    }

    fn pool_name(&self, addresses: &[IpAddr]) -> Option<String> {
        let pool = self.pool_of(*addresses.first()?)?;
        Some(pool.name.clone())
    }
}
