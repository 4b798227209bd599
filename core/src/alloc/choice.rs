//! Which addresses a Service can have: the pools that may serve it, and what is left in them.

mod candidates;
mod claimed;
mod contended;

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::first_use::FirstUse;
use super::holdings::{Holdings, Obstacle, Usage};
use super::node_ports::{self, needed_port};
use super::request::{Request, listed};
use super::surroundings::Surroundings;
use super::{Granted, Refusal};
use crate::Reason;
use crate::address::Family;
use crate::config::{Config, Pool, Sharing};
use crate::names::event::ADDRESSES_LEFT_OUT;
use crate::view::{ServiceKey, ServiceView};

/// Where a pool's addresses are shared without a key, so many of those in use are looked at before a free
/// one is taken: a thousand Services with one port would look at all of them in vain.
const MOST_LOOKED_AT: usize = 512;

/// Everything that a choice depends on.
pub(super) struct Choice<'a> {
    pub(super) config: &'a Config,
    /// Indices of `config.pools`, in the order of trying.
    pub(super) order: &'a [usize],
    pub(super) holdings: &'a Holdings,
    pub(super) surroundings: &'a Surroundings,
    /// Services that are being deleted, each with the finalizers that hold it.
    pub(super) deleting: &'a BTreeMap<ServiceKey, Box<str>>,
    pub(super) first_use: &'a FirstUse,
    pub(super) view: &'a ServiceView,
    pub(super) usage: &'a Usage,
    pub(super) request: &'a Request,
    /// What the Service has now and may keep.
    pub(super) current: &'a [IpAddr],
}

/// What becomes of addresses that other Services list in `externalIPs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Listed {
    /// They are passed over.
    Passed,
    /// They are given if there are no others.
    Taken,
}

/// What one pool can give.
struct Filled<'a> {
    pool: &'a Pool,
    addresses: BTreeMap<Family, IpAddr>,
    /// At least one of them is shared with another Service.
    shares: bool,
}

impl<'a> Choice<'a> {
    /// Whether what the Service has is what it asks for by name. An address that no pool holds any
    /// more was of the right pool once: a change of the configuration moves nobody.
    pub(super) fn current_is_as_requested(&self) -> bool {
        let addresses = self.request.addresses.values();
        addresses
            .into_iter()
            .all(|wanted| self.current.contains(wanted))
            && self.request.pool.as_deref().is_none_or(|name| {
                let mut pools = self.current.iter().map(|one| self.config.pool_of(*one));
                pools.all(|pool| pool.is_none_or(|pool| pool.name == name))
            })
    }

    /// Keeps what the Service has; a family that it lacks comes from the same pool if possible.
    pub(super) fn complete_current(&self) -> Result<Granted, Refusal> {
        let pool = self.pool_of_current()?;
        let filled = self.fill(pool, Listed::Taken);
        if self
            .current
            .iter()
            .any(|address| !filled.addresses.values().any(|kept| kept == address))
        {
            // Only a clash with a request gets here, and those are refused where they are met.
            return Err(self.exhausted(&[pool]));
        }
        self.accept(&filled).ok_or_else(|| self.exhausted(&[pool]))
    }

    /// The one pool that covers all that the Service has, and may serve it.
    fn pool_of_current(&self) -> Result<&'a Pool, Refusal> {
        let outside = |text: String| Refusal::new(Reason::HeldOutsidePools, text);
        let addresses = joined(self.current);
        let mut pools = self
            .current
            .iter()
            .map(|address| self.config.pool_of(*address));
        let pool = pools.next().flatten().ok_or_else(|| {
            outside(format!(
                "keeps {addresses}, although no pool holds it: add it to a pool again, or delete \
                 and create the Service to get another address"
            ))
        })?;
        if pools.any(|other| other.map(|other| &other.name) != Some(&pool.name)) {
            return Err(outside(format!(
                "keeps {addresses}, although no single pool holds them all: delete and create the \
                 Service to get addresses from one pool"
            )));
        }
        match self.unserved(pool) {
            None => Ok(pool),
            Some(why) => Err(outside(format!(
                "keeps {addresses}, although {why}: delete and create the Service to get another \
                 address"
            ))),
        }
    }

    /// Chooses anew, preferring an address already shared under the same key.
    pub(super) fn choose(&self) -> Result<Granted, Refusal> {
        let pools = self.candidates()?;
        self.check_requested_are_free()?;
        let fills =
            |listed| -> Vec<_> { pools.iter().map(|pool| self.fill(pool, listed)).collect() };
        let unlisted = fills(Listed::Passed);
        if let Some(complete) = self.complete(&unlisted) {
            return Ok(complete);
        }
        // What others list comes after every pool's other addresses, and before one family alone.
        let all = match self.surroundings.external.is_empty() {
            true => Vec::new(),
            false => fills(Listed::Taken),
        };
        let one_family = || {
            let mut fills = unlisted.iter().chain(&all);
            fills.find_map(|fill| self.accept(fill))
        };
        self.complete(&all)
            .or_else(one_family)
            .ok_or_else(|| self.exhausted(&pools))
    }

    /// All that the Service needs, of a pool where it shares an address or else of the first one.
    fn complete(&self, fills: &[Filled<'_>]) -> Option<Granted> {
        let complete = |fill: &&Filled<'_>| fill.addresses.len() == self.request.families.len();
        let mut shared = fills.iter().filter(complete).filter(|fill| fill.shares);
        let chosen = shared.next().or_else(|| fills.iter().find(complete));
        chosen.and_then(|fill| self.accept(fill))
    }

    /// What the Service gets of `filled`: all, or with `PreferDualStack` what there is.
    fn accept(&self, filled: &Filled<'_>) -> Option<Granted> {
        let requested = self.request.addresses.keys();
        let lacks_requested = requested
            .into_iter()
            .any(|family| !filled.addresses.contains_key(family));
        let families = self.request.families.iter();
        let missing: Vec<_> = families
            .filter(|family| !filled.addresses.contains_key(family))
            .copied()
            .collect();
        let too_few = !missing.is_empty() && self.request.all_families;
        if filled.addresses.is_empty() || lacks_requested || too_few {
            return None;
        }
        // A pool without the family is a choice of the user; a full one is worth a word.
        let full = missing.iter().any(|family| filled.pool.has_family(*family));
        let warning = full.then(|| {
            Refusal::new(
                Reason::PoolExhausted,
                format!(
                    "pool {} has no {} address left, so the Service has only {}: add addresses to \
                     it",
                    filled.pool.name,
                    listed(&missing),
                    joined(&filled.addresses.values().copied().collect::<Vec<_>>()),
                ),
            )
        });
        let families = self.request.families.iter();
        let addresses = families.filter_map(|family| filled.addresses.get(family).copied());
        Some(Granted {
            addresses: addresses.collect(),
            warning,
        })
    }

    fn fill(&self, pool: &'a Pool, listed: Listed) -> Filled<'a> {
        let mut filled = Filled {
            pool,
            addresses: BTreeMap::new(),
            shares: false,
        };
        for family in &self.request.families {
            if let Some((address, shares)) = self.pick(pool, *family, listed) {
                filled.addresses.insert(*family, address);
                filled.shares |= shares;
            }
        }
        filled
    }

    /// One address of that family, and whether it is shared: the one asked for, else the one that
    /// the Service has, else one shared under its key, else one of a pool that needs no key, else the lowest
    /// free one that nobody else lists, else the lowest free one.
    fn pick(&self, pool: &Pool, family: Family, listed: Listed) -> Option<(IpAddr, bool)> {
        let fits = |address: &IpAddr| {
            Family::of(*address) == family
                && pool.contains(*address)
                && self
                    .surroundings
                    .shadowed(*address, self.view, Some(pool))
                    .is_none()
        };
        // Two that share an address may disagree for a while, and keep it.
        let is_ours = |address: &IpAddr| {
            self.current.contains(address) || self.clash(*address, pool.shares()).is_none()
        };
        let usable = |address: &IpAddr| fits(address) && is_ours(address);
        if let Some(wanted) = self.request.addresses.get(&family) {
            return Some((*wanted, false)).filter(|(address, _)| usable(address));
        }
        if let Some(current) = self.current.iter().find(|address| fits(address)) {
            return Some((*current, false));
        }
        let key = self.view.sharing_key.as_deref();
        let (holdings, surroundings) = (self.holdings, self.surroundings);
        let sound = |address: &IpAddr| {
            usable(address)
                && !surroundings.conflicts.contains_key(address)
                && (surroundings.reserved.end_of(*address).is_none()
                    || surroundings.only_reserved_in(pool, family))
        };
        if let Some(shared) = key.and_then(|key| holdings.shared_under(key).find(sound)) {
            return Some((shared, true));
        }
        let held = || {
            let ranges = pool.ranges.iter().filter(|_| pool.sharing);
            ranges.flat_map(|range| holdings.held_in(range))
        };
        if let Some(shared) = held().take(MOST_LOOKED_AT).find(sound) {
            return Some((shared, true));
        }
        let free = |listed| {
            lowest_free(
                pool,
                family,
                holdings,
                surroundings,
                Some(self.view),
                listed,
            )
        };
        let taken = || free(listed).filter(|_| listed == Listed::Taken);
        let fresh = free(Listed::Passed).or_else(taken);
        let shared = || held().skip(MOST_LOOKED_AT).find(sound);
        fresh
            .map(|address| (address, false))
            .or_else(|| Some((shared()?, true)))
    }

    /// Another Service that keeps this one from coming to have `address`, and what stands in the way.
    fn clash(&self, address: IpAddr, sharing: Sharing) -> Option<(&'a ServiceKey, Obstacle)> {
        self.holdings
            .conflict(address, &self.view.key, self.usage, sharing)
    }

    fn check_requested_are_free(&self) -> Result<(), Refusal> {
        let has = |address: &&IpAddr| self.current.contains(*address);
        for address in self.request.addresses.values().filter(|one| !has(one)) {
            let pool = self.config.pool_of(*address);
            if let Some(refusal) = pool.and_then(|pool| self.refuse_gateway(*address, pool)) {
                return Err(refusal);
            }
            let shadowed = self.surroundings.shadowed(*address, self.view, pool);
            if let Some((node, port)) = shadowed {
                let what = format!("{address} is the address of node {node}");
                return Err(node_ports::refusal(&what, port, pool));
            }
            let sharing = pool.map(Pool::shares).unwrap_or_default();
            if let Some((user, obstacle)) = self.clash(*address, sharing) {
                let leaving = self.deleting.get(user);
                let text = leaving.map_or_else(
                    || {
                        format!(
                            "{address} is in use by Service {user} ({obstacle}): ask for another \
                             address, or free it there"
                        )
                    },
                    |finalizers| still_there(*address, user, finalizers),
                );
                return Err(Refusal::new(Reason::RequestedAddressInUse, text));
            }
        }
        Ok(())
    }

    /// Which of the families that the Service needs `pools` do not have.
    fn lacking(&self, pools: &[&Pool], names: &str) -> String {
        if pools.iter().all(|pool| pool.ranges.is_empty()) {
            return format!(
                "pool {names} has no usable address: correct the lines that the Event \
                 {ADDRESSES_LEFT_OUT} on the ConfigMap names"
            );
        }
        let needed = self.request.families.iter();
        let lacking: Vec<_> = needed
            .filter(|family| !pools.iter().any(|pool| pool.has_family(**family)))
            .copied()
            .collect();
        if lacking.is_empty() {
            return format!(
                "no single pool of {names} has {} addresses, and ipFamilyPolicy: RequireDualStack \
                 takes both from one: add to one of them what it lacks, or set ipFamilyPolicy: \
                 PreferDualStack",
                listed(&self.request.families)
            );
        }
        let instead = if lacking.len() < self.request.families.len() {
            "set ipFamilyPolicy: PreferDualStack for the Service to have what there is"
        } else {
            "change the Service's ipFamilies"
        };
        format!(
            "pool {names} has no {} addresses: add some to it, or {instead}",
            listed(&lacking)
        )
    }

    /// Why none of `pools` could give what is asked for.
    fn exhausted(&self, pools: &[&Pool]) -> Refusal {
        let only_nodes = |pool: &&Pool| {
            let mut families = self.request.families.iter();
            families.any(|family| self.surroundings.only_nodes_in(pool, *family))
        };
        let mut of_nodes = pools.iter().filter(|pool| only_nodes(pool));
        let needed = of_nodes.find_map(|pool| Some((pool, needed_port(self.view, Some(pool))?)));
        if let Some((pool, port)) = needed {
            let what = format!("pool {} has only addresses of nodes", pool.name);
            return node_ports::refusal(&what, port, Some(pool));
        }
        let left_out = self.left_out(pools) + &self.gateway_left_out(pools);
        let families = listed(&self.request.families);
        let names: Vec<_> = pools.iter().map(|pool| pool.name.clone()).collect();
        let names = some_of(&names, ", ");
        let all = |pool: &&Pool| {
            self.request
                .families
                .iter()
                .all(|one| pool.has_family(*one))
        };
        let any = |pool: &&Pool| {
            self.request
                .families
                .iter()
                .any(|one| pool.has_family(*one))
        };
        let possible = if self.request.all_families {
            pools.iter().any(all)
        } else {
            pools.iter().any(any)
        };
        if possible {
            let text = format!(
                "no {families} address is left in pool {names}{left_out}: add addresses to it, or \
                 delete a Service that it serves"
            );
            Refusal::new(Reason::PoolExhausted, text)
        } else {
            Refusal::new(Reason::NoPoolMatches, self.lacking(pools, &names))
        }
    }
}

/// The lowest address of `pool` that is free for `view`, or for a Service that takes no port from a
/// node. Addresses of the cluster itself are left out, unless the pool has no others.
pub(super) fn lowest_free(
    pool: &Pool,
    family: Family,
    holdings: &Holdings,
    surroundings: &Surroundings,
    view: Option<&ServiceView>,
    listed: Listed,
) -> Option<IpAddr> {
    let only_reserved = surroundings.only_reserved_in(pool, family);
    let takes_port = view.is_some_and(|view| needed_port(view, Some(pool)).is_some());
    let key = view.map(|view| &view.key);
    let skips = |address: IpAddr| {
        let avoided = pool.avoids(address)
            || surroundings.conflicts.contains_key(&address)
            || (takes_port && surroundings.nodes.contains_key(&address))
            || (listed == Listed::Passed && surroundings.external.is_listed(address, key));
        match surroundings.reserved.end_of(address) {
            Some(last) if !only_reserved => Some(last),
            _ => avoided.then_some(address),
        }
    };
    let mut ranges = pool.ranges.iter().filter(|range| range.family() == family);
    ranges.find_map(|range| holdings.taken().lowest_free(range, skips))
}

/// Whoever waits for a Service that is being deleted has to know what keeps it.
fn still_there(address: IpAddr, user: &ServiceKey, finalizers: &str) -> String {
    let what = format!("{address} is in use by Service {user}, which is being deleted");
    if finalizers.is_empty() {
        format!("{what}: it is free as soon as that one is gone")
    } else {
        format!(
            "{what} and is held by its finalizers ({finalizers}): see why whoever set them does not \
             remove them; the address is free as soon as that Service is gone"
        )
    }
}

fn joined(addresses: &[IpAddr]) -> String {
    addresses
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(" and ")
}

/// At most five, so that a text stays readable and fits into an Event.
fn some_of(items: &[String], separator: &str) -> String {
    const SHOWN: usize = 5;
    let shown = items
        .iter()
        .take(SHOWN)
        .cloned()
        .collect::<Vec<_>>()
        .join(separator);
    match items.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
