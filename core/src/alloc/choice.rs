//! Which addresses a Service can have: the pools that may serve it, and what is left in them.

mod candidates;

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::holdings::{Holdings, Usage};
use super::request::{Request, listed};
use super::{Outcome, Refusal};
use crate::Reason;
use crate::address::Family;
use crate::config::{Config, Pool};
use crate::view::ServiceView;

/// Everything that a choice depends on.
pub(super) struct Choice<'a> {
    pub(super) config: &'a Config,
    /// Indices of `config.pools`, in the order of trying.
    pub(super) order: &'a [usize],
    pub(super) holdings: &'a Holdings,
    pub(super) view: &'a ServiceView,
    pub(super) usage: &'a Usage,
    pub(super) request: &'a Request,
    /// What the Service has now and may keep.
    pub(super) current: &'a [IpAddr],
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
    pub(super) fn complete_current(&self) -> Result<Outcome, Refusal> {
        let pool = self.pool_of_current()?;
        let filled = self.fill(pool);
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
    pub(super) fn choose(&self) -> Result<Outcome, Refusal> {
        let pools = self.candidates()?;
        self.check_requested_are_free()?;
        let fills: Vec<_> = pools.iter().map(|pool| self.fill(pool)).collect();
        let complete = |fill: &&Filled<'_>| fill.addresses.len() == self.request.families.len();
        let chosen = fills
            .iter()
            .filter(complete)
            .find(|fill| fill.shares)
            .or_else(|| fills.iter().find(complete))
            .or_else(|| fills.iter().find(|fill| self.accept(fill).is_some()));
        chosen
            .and_then(|fill| self.accept(fill))
            .ok_or_else(|| self.exhausted(&pools))
    }

    /// What the Service gets of `filled`: all, or with `PreferDualStack` what there is.
    fn accept(&self, filled: &Filled<'_>) -> Option<Outcome> {
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
        Some(Outcome {
            addresses: addresses.collect(),
            warning,
        })
    }

    fn fill(&self, pool: &'a Pool) -> Filled<'a> {
        let mut filled = Filled {
            pool,
            addresses: BTreeMap::new(),
            shares: false,
        };
        for family in &self.request.families {
            if let Some((address, shares)) = self.pick(pool, *family) {
                filled.addresses.insert(*family, address);
                filled.shares |= shares;
            }
        }
        filled
    }

    /// One address of that family, and whether it is shared: the one asked for, else the one that
    /// the Service has, else one shared under its key, else the lowest free one.
    fn pick(&self, pool: &Pool, family: Family) -> Option<(IpAddr, bool)> {
        let usable = |address: &IpAddr| {
            Family::of(*address) == family
                && pool.contains(*address)
                && self
                    .holdings
                    .conflict(*address, &self.view.key, self.usage)
                    .is_none()
        };
        if let Some(wanted) = self.request.addresses.get(&family) {
            return Some((*wanted, false)).filter(|(address, _)| usable(address));
        }
        if let Some(current) = self.current.iter().find(|address| usable(address)) {
            return Some((*current, false));
        }
        let key = self.view.sharing_key.as_deref();
        if let Some(shared) = key.and_then(|key| self.holdings.shared_under(key).find(usable)) {
            return Some((shared, true));
        }
        let ranges = pool.ranges.iter().filter(|range| range.family() == family);
        let free = |range| {
            self.holdings
                .taken()
                .lowest_free(range, |address| pool.avoids(address))
        };
        ranges
            .into_iter()
            .find_map(free)
            .map(|address| (address, false))
    }

    fn check_requested_are_free(&self) -> Result<(), Refusal> {
        for address in self.request.addresses.values() {
            let conflict = self.holdings.conflict(*address, &self.view.key, self.usage);
            if let Some((user, obstacle)) = conflict {
                return Err(Refusal::new(
                    Reason::RequestedAddressInUse,
                    format!(
                        "{address} is in use by Service {user} ({obstacle}): ask for another \
                         address, or free it there"
                    ),
                ));
            }
        }
        Ok(())
    }

    /// Why none of `pools` could give what is asked for.
    fn exhausted(&self, pools: &[&Pool]) -> Refusal {
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
                "no {families} address is left in pool {names}: add addresses to it, or delete a \
                 Service that it serves"
            );
            Refusal::new(Reason::PoolExhausted, text)
        } else {
            let text = format!(
                "pool {names} has no {families} addresses: add some to it, or change the Service's \
                 ipFamilies"
            );
            Refusal::new(Reason::NoPoolMatches, text)
        }
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
