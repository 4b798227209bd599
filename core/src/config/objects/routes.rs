//! `BGPAdvertisement` objects, with the communities that they name, for the pools that they cover.

use super::community;
use super::compile::{Aliases, Compilation};
use super::in_force::Item;
use super::read::{Community, Names, Read, Said};
use crate::Reason;
use crate::address::{AddressRange, Family, joined};
use crate::config::bgp::{check_aggregation, narrowest};
use crate::config::place::Origin;
use crate::config::problem::{Report, quoted};
use crate::config::{BgpAdvertisement, Pool};
use crate::suggest::nearest;

impl Compilation {
    /// BGP advertisements, with the communities that they name, for the pools that they cover.
    pub(super) fn routes(&mut self, read: &[Read], aliases: &Aliases) {
        let config = self.now.config();
        let lengths: Vec<_> = config
            .pools
            .iter()
            .map(|pool| (pool, narrowest(&whole(pool))))
            .collect();
        for read in read {
            let Ok(Said::Bgp(said)) = &read.said else {
                continue;
            };
            let one = &said.one;
            let mut report = Report::new("", &Origin::Whole);
            let resolved = resolved(one, &said.communities, aliases, &mut report);
            let route = &resolved.route;
            let sides = [
                ("aggregationLength", route.aggregation_length, Family::V4),
                (
                    "aggregationLengthV6",
                    route.aggregation_length_v6,
                    Family::V6,
                ),
            ];
            for ((key, length, family), place) in sides.into_iter().zip(&said.lengths) {
                // Whole addresses fit into any pool.
                let is_whole = length == if family == Family::V4 { 32 } else { 128 };
                let pools = lengths.iter().filter(|_| !is_whole);
                let mut covered = pools.filter(|(pool, narrowest)| {
                    let too_long = narrowest
                        .get(&family)
                        .is_some_and(|(_, shortest)| *shortest > length);
                    too_long && one.scope.covers_pool(pool)
                });
                if let Some((_, narrowest)) = covered.next() {
                    check_aggregation(place, key, length, family, narrowest, &mut report);
                }
            }
            match report.finish().problems {
                Some(problems) => {
                    self.refuse(&read.object, Reason::ConfigRefused, problems);
                    self.keep_former(&read.object);
                }
                None => self.now.set(&read.object, Item::Bgp(resolved)),
            }
        }
    }
}

/// What a pool has addresses of, also where some are left out of it.
fn whole(pool: &Pool) -> Vec<AddressRange> {
    if pool.exclude.is_empty() {
        return pool.ranges.clone();
    }
    joined(pool.ranges.iter().chain(&pool.exclude).copied())
}

fn resolved(
    one: &BgpAdvertisement,
    communities: &Names,
    aliases: &Aliases,
    report: &mut Report<'_>,
) -> BgpAdvertisement {
    let mut resolved = one.clone();
    let route = &mut resolved.route;
    for (name, place) in communities {
        match aliases
            .get(name)
            .copied()
            .or_else(|| community::number(name))
        {
            Some(Community::Plain(number)) => route.communities.push(number),
            Some(Community::Large(numbers)) => route.large_communities.push(numbers),
            None => {
                let help = nearest(name, aliases.keys().map(String::as_str)).map_or_else(
                    || "define it in a Community, or write two numbers from 0 to 65535 with a colon: `64512:100`".to_owned(),
                    |alias| format!("did you mean `{alias}`?"),
                );
                report.add(
                    place,
                    format!("no community is called {}", quoted(name)),
                    help,
                );
            }
        }
    }
    route.communities.sort_unstable();
    route.communities.dedup();
    route.large_communities.sort_unstable();
    route.large_communities.dedup();
    resolved
}
