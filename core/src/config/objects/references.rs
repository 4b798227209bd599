//! What objects say of each other: pools that nobody announces, and names that nothing has. Objects are
//! applied one after the other, so nothing of this is an error.

use std::collections::{BTreeMap, BTreeSet};

use super::read::{ChosenPools, Names};
use crate::config::problem::{Problem, quoted};
use crate::config::{Config, LabelSelector, Place, Pool, Scope};
use crate::suggest::nearest;

/// What is there for others to name.
pub(super) struct Known<'c> {
    pub(super) config: &'c Config,
    /// The names of all pools, peers and profiles that there are, with errors or not.
    pub(super) pools: BTreeSet<&'c str>,
    pub(super) peers: BTreeSet<&'c str>,
    pub(super) profiles: BTreeSet<&'c str>,
    /// Whether some pool has such labels.
    pub(super) selects: BTreeMap<&'c LabelSelector, bool>,
}

impl<'c> Known<'c> {
    pub(super) fn of(config: &'c Config) -> Self {
        let mut selects = BTreeMap::new();
        for selector in scopes(config).flat_map(|scope| &scope.pool_selectors) {
            selects.entry(selector).or_insert_with(|| {
                let mut pools = config.pools.iter();
                pools.any(|pool| selector.matches(&pool.labels))
            });
        }
        Self {
            config,
            pools: BTreeSet::new(),
            peers: BTreeSet::new(),
            profiles: BTreeSet::new(),
            selects,
        }
    }

    /// The pools that no advertisement covers.
    pub(super) fn not_advertised(&self) -> impl Iterator<Item = &'c Pool> {
        let all = scopes(self.config).any(Scope::covers_all_pools);
        let names: BTreeSet<_> = scopes(self.config).flat_map(|scope| &scope.pools).collect();
        let selectors: Vec<_> = self
            .selects
            .iter()
            .filter(|(_, selects)| **selects)
            .collect();
        let is_covered = move |pool: &Pool| {
            let mut selectors = selectors.iter();
            all || names.contains(&pool.name)
                || selectors.any(|(selector, _)| selector.matches(&pool.labels))
        };
        self.config
            .pools
            .iter()
            .filter(move |pool| !is_covered(pool))
    }

    /// What is wrong with the pools that an advertisement chooses.
    pub(super) fn of_pools(&self, scope: &Scope, chosen: &ChosenPools) -> Vec<Problem> {
        let mut problems = missing(&chosen.names, &self.pools, "pool", "IPAddressPool");
        for (name, place) in &chosen.names {
            if self.pools.contains(name.as_str()) && self.config.pool(name).is_none() {
                problems.push(problem(
                    place,
                    format!("pool {} is not in force", quoted(name)),
                    "correct that IPAddressPool: an Event on it says what is wrong".to_owned(),
                ));
            }
        }
        let mut selectors = scope.pool_selectors.iter();
        let selects = |selector| self.selects.get(selector).copied().unwrap_or_default();
        if !scope.pool_selectors.is_empty() && !selectors.any(selects) {
            problems.push(problem(
                &chosen.selectors,
                "no pool has such labels, so they select nothing".to_owned(),
                "label an IPAddressPool, or correct the selector".to_owned(),
            ));
        }
        problems
    }

    pub(super) fn of_peers(&self, names: &Names) -> Vec<Problem> {
        missing(names, &self.peers, "peer", "BGPPeer")
    }

    pub(super) fn of_profile(&self, name: &str, place: &Place) -> Vec<Problem> {
        let names = vec![(name.to_owned(), place.clone())];
        missing(&names, &self.profiles, "BFD profile", "BFDProfile")
    }
}

fn scopes(config: &Config) -> impl Iterator<Item = &Scope> {
    let layer2 = config.layer2.iter().map(|one| &one.scope);
    layer2.chain(config.bgp.iter().map(|one| &one.scope))
}

fn missing(names: &Names, known: &BTreeSet<&str>, what: &str, kind: &str) -> Vec<Problem> {
    let names = names
        .iter()
        .filter(|(name, _)| !known.contains(name.as_str()));
    names
        .map(|(name, place)| {
            let help = nearest(name, known.iter().copied()).map_or_else(
                || format!("create the {kind}, or remove the name"),
                |meant| format!("did you mean `{meant}`?"),
            );
            problem(place, format!("no {what} is called {}", quoted(name)), help)
        })
        .collect()
}

fn problem(place: &Place, message: String, help: String) -> Problem {
    Problem {
        place: place.clone(),
        message,
        help,
        related: None,
    }
}
