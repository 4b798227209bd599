//! `BGPAdvertisement` objects, with the communities that they name, for the pools that they cover, and
//! beside each other.

use super::advertisement::{LOCAL_PREF, PREPEND};
use super::community;
use super::compile::{Aliases, Compilation, of_kind, problem};
use super::contradictions::{self, Contradiction, Preference, Reach};
use super::in_force::Item;
use super::read::{Community, Names, Read, Said, SaidRoute};
use super::versions::{Candidate, Version};
use super::{Finding, Kind, Severity};
use crate::Reason;
use crate::address::{AddressRange, Family, joined};
use crate::config::bgp::{Narrowest, check_aggregation, narrowest};
use crate::config::place::Origin;
use crate::config::problem::{Problem, Problems, Report, quoted};
use crate::config::{BgpAdvertisement, Place, Pool};
use crate::suggest::nearest;

impl Compilation {
    /// BGP advertisements: what each says with all that it names, then one beside the other.
    pub(super) fn routes(&mut self, read: &[Read], aliases: &Aliases) {
        let pools: Vec<Pool> = self.now.pools().cloned().collect();
        let lengths: Vec<_> = pools
            .iter()
            .map(|pool| (pool, narrowest(&whole(pool))))
            .collect();
        let mut all = Vec::new();
        for read in of_kind(read, Kind::BgpAdvertisement) {
            let newest = match &read.said {
                Ok(Said::Bgp(said)) => match checked(said, &lengths, aliases) {
                    Ok(resolved) => Some(resolved),
                    Err(problems) => {
                        self.refuse(&read.object, Reason::ConfigRefused, problems);
                        None
                    }
                },
                _ => None,
            };
            let former = match self.former.of_object(&read.object) {
                Some(Item::Bgp(former)) => Some(former.clone()),
                _ => None,
            };
            all.push((read, newest, former));
        }
        self.beside_each_other(&all, &pools);
    }

    fn beside_each_other(&mut self, all: &[Versions<'_>], pools: &[Pool]) {
        let reaches: Vec<[Option<Reach<'_>>; 2]> = all
            .iter()
            .map(|(_, newest, former)| {
                let of = |one| Reach::of(one, pools);
                [newest.as_ref().map(of), former.as_ref().map(of)]
            })
            .collect();
        let candidates: Vec<_> = all
            .iter()
            .zip(&reaches)
            .map(|((read, ..), [newest, former])| Candidate {
                created: read.created,
                name: &read.object.name,
                newest: newest.as_ref(),
                former: former.as_ref(),
            })
            .collect();
        let verdicts = contradictions::judge(&candidates, pools);
        for (((read, ..), candidate), verdict) in all.iter().zip(&candidates).zip(&verdicts) {
            if let Some(one) = candidate.version(verdict.in_force) {
                self.now.set(&read.object, Item::Bgp(one.one.clone()));
            }
            if let Some(why) = &verdict.why {
                let former_in_force = verdict.in_force == Some(Version::Former);
                let instead = match former_in_force {
                    true => "the last good version of this one stays in force",
                    false => "this one is left out",
                };
                let told = Told { all, pools, read };
                let problem = told.of(
                    why,
                    "which stays in force: both announce",
                    &format!(": until then {instead}"),
                );
                self.findings.push(Finding {
                    object: read.object.clone(),
                    severity: Severity::Refused,
                    reason: Reason::ConfigRefused,
                    problems: Problems::one(problem),
                    former_in_force,
                });
            }
        }
        for (index, why) in contradictions::possible(&candidates, &verdicts, pools) {
            let (read, ..) = &all[index];
            let told = Told { all, pools, read };
            let problem = told.of(
                &why,
                "and a node with the labels of both would announce",
                "",
            );
            self.warn(&read.object, Reason::ConfigWarning, vec![problem]);
        }
        let mut in_force: Vec<(&Read, &BgpAdvertisement)> = Vec::new();
        for (((read, ..), candidate), verdict) in all.iter().zip(&candidates).zip(&verdicts) {
            let Some(one) = candidate.version(verdict.in_force) else {
                continue;
            };
            let mut before = in_force.iter();
            if let Some((first, _)) = before.find(|(_, other)| say_the_same(one.one, other)) {
                let message = format!(
                    "it says the same as BGPAdvertisement {}{}",
                    quoted(&first.object.name),
                    first.place.other_file(&read.place)
                );
                let problem = problem(&read.place, message, "remove one of the two");
                self.warn(&read.object, Reason::ConfigWarning, vec![problem]);
            }
            in_force.push((read, one.one));
        }
    }
}

/// An object, its newest version if that has no errors, and the one in force.
type Versions<'r> = (&'r Read, Option<BgpAdvertisement>, Option<BgpAdvertisement>);

fn say_the_same(one: &BgpAdvertisement, other: &BgpAdvertisement) -> bool {
    (&one.scope, &one.route, &one.peers) == (&other.scope, &other.route, &other.peers)
}

/// What is said of a contradiction.
struct Told<'t> {
    all: &'t [Versions<'t>],
    pools: &'t [Pool],
    /// The one that it is said of.
    read: &'t Read,
}

impl Told<'_> {
    fn of(&self, why: &Contradiction, how: &str, until_then: &str) -> Problem {
        let (key, which) = match why.about {
            Preference::LocalPref => (LOCAL_PREF, 0),
            Preference::Prepend => (PREPEND, 1),
        };
        let value = |number: u32| match (why.about, number) {
            (Preference::Prepend, 0) => "none".to_owned(),
            _ => number.to_string(),
        };
        let other = self.all.get(why.of).map(|(other, ..)| *other);
        let name = other.map_or("", |other| other.object.name.as_str());
        let here = &self.read.place;
        let file = other.map_or_else(String::new, |other| other.place.other_file(here));
        let pool = self.pools.get(why.pool);
        let pool = pool.map_or("", |pool| pool.name.as_str());
        let message = format!(
            "`{key}` is {} here and {} in BGPAdvertisement {}{file}, {how} the same routes of pool {} to the \
             same routers",
            value(why.mine),
            value(why.theirs),
            quoted(name),
            quoted(pool)
        );
        let help = format!(
            "write the same value in both, or give them different pools, peers or nodes{until_then}"
        );
        let place = preference(self.read, which).unwrap_or(&self.read.place);
        let mut problem = problem(place, message, help);
        problem.related = other.map(|other| {
            let place = preference(other, which).unwrap_or(&other.place);
            (place.clone(), "the other one".to_owned())
        });
        problem
    }
}

/// The place of `localPref` or `asPathPrepend`.
fn preference(read: &Read, which: usize) -> Option<&Place> {
    match &read.said {
        Ok(Said::Bgp(said)) => said.preferences.get(which),
        _ => None,
    }
}

/// What it says, with communities in place of their names, if it suits each pool that it covers.
fn checked(
    said: &SaidRoute,
    lengths: &[(&Pool, Narrowest)],
    aliases: &Aliases,
) -> Result<BgpAdvertisement, Problems> {
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
        Some(problems) => Err(problems),
        None => Ok(resolved),
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
