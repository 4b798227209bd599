//! The pools that a Service may have addresses from, and why the others not.

use std::net::IpAddr;

use super::{Choice, some_of};
use crate::Reason;
use crate::alloc::Refusal;
use crate::config::Pool;

impl<'a> Choice<'a> {
    /// The pools to try, in order; never empty.
    pub(super) fn candidates(&self) -> Result<Vec<&'a Pool>, Refusal> {
        if let Some(name) = &self.request.pool {
            return Ok(vec![self.requested_pool(name)?]);
        }
        if let Some(pool) = self.pool_of_requested()? {
            return Ok(vec![pool]);
        }
        let mut pools = Vec::new();
        let mut reasons = Vec::new();
        for pool in self
            .order
            .iter()
            .filter_map(|index| self.config.pools.get(*index))
        {
            let why_not = (!pool.auto_assign)
                .then(|| format!("pool {} has auto-assign: false", pool.name))
                .or_else(|| self.unserved(pool));
            match why_not {
                None => pools.push(pool),
                Some(why) => reasons.push(why),
            }
        }
        if pools.is_empty() {
            let text = if reasons.is_empty() {
                "the configuration has no address pool: add one".to_owned()
            } else {
                format!(
                    "no pool may serve the Service: {}; change a pool, or ask for one with the \
                     annotation metallb.universe.tf/address-pool",
                    some_of(&reasons, "; ")
                )
            };
            return Err(Refusal::new(Reason::NoPoolMatches, text));
        }
        Ok(pools)
    }

    fn requested_pool(&self, name: &str) -> Result<&'a Pool, Refusal> {
        let Some(pool) = self.config.pool(name) else {
            let names: Vec<_> = self
                .config
                .pools
                .iter()
                .map(|pool| pool.name.clone())
                .collect();
            return Err(Refusal::new(
                Reason::UnknownPool,
                format!(
                    "the Service asks for pool {name:?}, which does not exist: ask for one of {}",
                    some_of(&names, ", ")
                ),
            ));
        };
        if let Some(why) = self.unserved(pool) {
            return Err(Refusal::new(
                Reason::NoPoolMatches,
                format!("the Service asks for a pool that may not serve it: {why}"),
            ));
        }
        if let Some(outside) = self
            .request
            .addresses
            .values()
            .find(|one| !pool.contains(**one))
        {
            return Err(Refusal::new(
                Reason::RequestedAddressOutsidePools,
                format!(
                    "the Service asks for {outside} and for pool {name}, which does not give it \
                     out ({}): change one of the two",
                    ranges(pool)
                ),
            ));
        }
        Ok(pool)
    }

    /// The pool of the addresses asked for; `None` if none is asked for.
    fn pool_of_requested(&self) -> Result<Option<&'a Pool>, Refusal> {
        let outside = |text| Err(Refusal::new(Reason::RequestedAddressOutsidePools, text));
        let mut found: Option<(&'a Pool, IpAddr)> = None;
        for address in self.request.addresses.values() {
            let Some(pool) = self.config.pool_of(*address) else {
                return outside(self.not_given_out(*address));
            };
            if let Some((other, other_address)) = found.filter(|(other, _)| other.name != pool.name)
            {
                return outside(format!(
                    "{other_address} is in pool {} and {address} in pool {}: ask for addresses of \
                     one pool",
                    other.name, pool.name
                ));
            }
            found = Some((pool, *address));
        }
        let Some((pool, address)) = found else {
            return Ok(None);
        };
        match self.unserved(pool) {
            None => Ok(Some(pool)),
            Some(why) => Err(Refusal::new(
                Reason::NoPoolMatches,
                format!("{address} is in a pool that may not serve the Service: {why}"),
            )),
        }
    }

    fn not_given_out(&self, address: IpAddr) -> String {
        let avoiding = self.config.pools.iter().find(|pool| {
            pool.avoids(address) && pool.ranges.iter().any(|range| range.contains(address))
        });
        let excluding = self.config.pools.iter().find(|pool| {
            let mut excluded = pool.exclude.iter();
            excluded.any(|range| range.contains(address))
        });
        match avoiding {
            None if excluding.is_some() => format!(
                "pool {} leaves {address} out (exclude): ask for another address",
                excluding.map_or("", |pool| pool.name.as_str())
            ),
            Some(pool) => format!(
                "pool {} does not give out {address} (avoid-buggy-ips: true): ask for another \
                 address",
                pool.name
            ),
            None => format!(
                "no pool holds {address}: ask for an address of a pool, or add it to one ({})",
                some_of(&self.described(), "; ")
            ),
        }
    }

    fn described(&self) -> Vec<String> {
        let pools = self.config.pools.iter();
        pools
            .map(|pool| format!("{}: {}", pool.name, ranges(pool)))
            .collect()
    }

    /// Why `pool` may not serve the Service.
    pub(super) fn unserved(&self, pool: &Pool) -> Option<String> {
        let namespace = &*self.view.key.namespace;
        let name = &pool.name;
        let unrestricted = pool.namespaces.is_empty() && pool.namespace_selectors.is_empty();
        if !unrestricted && !pool.namespaces.iter().any(|one| one == namespace) {
            let selectors = &pool.namespace_selectors;
            let selected = self.surroundings.namespaces.as_ref().map(|namespaces| {
                let labels = namespaces.get(namespace);
                labels.is_some_and(|labels| selectors.iter().any(|one| one.matches(labels)))
            });
            match selected {
                Some(true) => {}
                _ if selectors.is_empty() => {
                    return Some(format!("pool {name} does not list namespace {namespace}"));
                }
                Some(false) => {
                    return Some(format!(
                        "no namespace-selectors of pool {name} match the labels of namespace \
                         {namespace}"
                    ));
                }
                None => {
                    return Some(format!(
                        "pool {name} has namespace-selectors, and the controller may not read \
                         namespaces here: list {namespace} under namespaces"
                    ));
                }
            }
        }
        let selectors = &pool.service_selectors;
        let selected = selectors
            .iter()
            .any(|selector| selector.matches(&self.view.labels));
        (!selectors.is_empty() && !selected)
            .then(|| format!("no service-selectors of pool {name} match the Service's labels"))
    }
}

/// The pool's ranges, as text.
fn ranges(pool: &Pool) -> String {
    if pool.ranges.is_empty() {
        return "it has no address that a host can have".to_owned();
    }
    let ranges: Vec<_> = pool.ranges.iter().map(ToString::to_string).collect();
    some_of(&ranges, ", ")
}
