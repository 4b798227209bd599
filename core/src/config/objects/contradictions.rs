//! BGP advertisements that contradict each other: of one pool, by one node, to one router, in prefixes of
//! one length, and with another `localPref` or `asPathPrepend`. A route has one of each. So `MetalLB` judges
//! them, too (validateBGPAdvPerPool in its internal/config).

use std::collections::{BTreeMap, BTreeSet};

use super::versions::{self, Candidate, Version};
use crate::address::Family;
use crate::config::{BgpAdvertisement, LabelOperator, LabelSelector, Pool};

/// An advertisement, with the pools that it covers.
pub(super) struct Reach<'a> {
    pub(super) one: &'a BgpAdvertisement,
    /// Their indices, ascending.
    pools: Vec<usize>,
}

/// What becomes of an advertisement.
pub(super) type Verdict = versions::Verdict<Contradiction>;

/// What one says and another one does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Contradiction {
    pub(super) about: Preference,
    pub(super) mine: u32,
    pub(super) theirs: u32,
    /// The index of a pool that both cover.
    pub(super) pool: usize,
    /// The index of the other one.
    pub(super) of: usize,
}

/// Of which a route has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Preference {
    LocalPref,
    Prepend,
}

/// Whether two advertisements have a node in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Shared {
    No,
    /// If some node has the labels of both.
    Perhaps,
    /// Whichever nodes there are, if both have any.
    Yes,
}

impl<'a> Reach<'a> {
    pub(super) fn of(one: &'a BgpAdvertisement, pools: &[Pool]) -> Self {
        let covered = pools.iter().enumerate();
        let covered = covered.filter(|(_, pool)| one.scope.covers_pool(pool));
        Self {
            one,
            pools: covered.map(|(index, _)| index).collect(),
        }
    }
}

/// The verdict for each candidate.
pub(super) fn judge(candidates: &[Candidate<'_, Reach<'_>>], pools: &[Pool]) -> Vec<Verdict> {
    versions::settled(candidates, |candidates| once(candidates, pools))
}

/// What follows from what is in force now.
fn once(candidates: &[Candidate<'_, Reach<'_>>], pools: &[Pool]) -> Vec<Verdict> {
    // Those that fall back to what is in force, and what their newest version contradicts.
    let with_errors = candidates
        .iter()
        .enumerate()
        .filter(|(_, one)| one.newest.is_none() && one.former.is_some());
    let mut back: BTreeMap<usize, Option<Contradiction>> =
        with_errors.map(|(index, _)| (index, None)).collect();
    loop {
        let verdicts = round(candidates, &back, pools);
        let before = back.len();
        for (index, verdict) in verdicts.iter().enumerate() {
            if verdict.in_force.is_none() && candidates[index].former.is_some() {
                back.insert(index, verdict.why.clone());
            }
        }
        if back.len() == before {
            return verdicts;
        }
    }
}

fn round<'c>(
    candidates: &'c [Candidate<'_, Reach<'_>>],
    back: &BTreeMap<usize, Option<Contradiction>>,
    pools: &[Pool],
) -> Vec<Verdict> {
    let mut verdicts = vec![Verdict::default(); candidates.len()];
    let mut accepted: Vec<(usize, &'c Reach<'_>)> = Vec::new();
    // Nothing takes out of force what is in force.
    for (index, why) in back {
        accepted.extend(candidates[*index].former.map(|former| (*index, former)));
        verdicts[*index] = Verdict {
            in_force: Some(Version::Former),
            why: why.clone(),
        };
    }
    let is_unedited = |one: &Candidate<'_, Reach<'_>>| {
        let versions = one.newest.zip(one.former);
        versions.is_some_and(|(newest, former)| newest.one == former.one)
    };
    let mut order = versions::order(candidates);
    // Whoever edits one has to suit those that nobody edits.
    order.sort_by_key(|index| !is_unedited(&candidates[*index]));
    for index in order {
        let one = &candidates[index];
        let Some(newest) = one.newest.filter(|_| !back.contains_key(&index)) else {
            continue;
        };
        // If they contradict each other all the same, a pool has changed: the younger one is told.
        let is_in_force = is_unedited(one);
        let mut others = accepted
            .iter()
            .filter(|(of, _)| !(is_in_force && back.contains_key(of)));
        let why = others.find_map(|(of, other)| {
            let (shared, why) = contradiction(newest, (*of, other), pools)?;
            (shared == Shared::Yes).then_some(why)
        });
        if why.is_none() || is_in_force {
            accepted.push((index, newest));
        }
        let in_force = match why {
            None => Some(Version::Newest),
            Some(_) if is_in_force => Some(Version::Former),
            Some(_) => None,
        };
        verdicts[index] = Verdict { in_force, why };
    }
    verdicts
}

/// What each that is in force would contradict, if some node had the labels of both.
pub(super) fn possible(
    candidates: &[Candidate<'_, Reach<'_>>],
    verdicts: &[Verdict],
    pools: &[Pool],
) -> BTreeMap<usize, Contradiction> {
    let mut before: Vec<(usize, &Reach<'_>)> = Vec::new();
    let mut found = BTreeMap::new();
    for index in versions::order(candidates) {
        let Some(one) = candidates[index].version(verdicts[index].in_force) else {
            continue;
        };
        let why = before.iter().find_map(|(of, other)| {
            let (shared, why) = contradiction(one, (*of, other), pools)?;
            (shared == Shared::Perhaps).then_some(why)
        });
        found.extend(why.map(|why| (index, why)));
        before.push((index, one));
    }
    found
}

fn contradiction(
    one: &Reach<'_>,
    (of, other): (usize, &Reach<'_>),
    pools: &[Pool],
) -> Option<(Shared, Contradiction)> {
    let (mine, theirs) = (one.one, other.one);
    let prefer = |it: &BgpAdvertisement| (it.route.localpref, u32::from(it.route.as_path_prepend));
    let (about, values) = match (prefer(mine), prefer(theirs)) {
        ((mine, _), (theirs, _)) if mine != theirs => (Preference::LocalPref, (mine, theirs)),
        ((_, mine), (_, theirs)) if mine != theirs => (Preference::Prepend, (mine, theirs)),
        _ => return None,
    };
    // Of which Services they are, only the Services say.
    if mine.scope.chooses_services() || theirs.scope.chooses_services() {
        return None;
    }
    let to_all = mine.peers.is_empty() || theirs.peers.is_empty();
    if !to_all && mine.peers.is_disjoint(&theirs.peers) {
        return None;
    }
    let same_length = |pool: &Pool| {
        let (mine, theirs) = (&mine.route, &theirs.route);
        let v4 = mine.aggregation_length == theirs.aggregation_length;
        let v6 = mine.aggregation_length_v6 == theirs.aggregation_length_v6;
        (v4 && pool.has_family(Family::V4)) || (v6 && pool.has_family(Family::V6))
    };
    let mut shared = one
        .pools
        .iter()
        .filter(|index| other.pools.binary_search(index).is_ok());
    let pool = *shared.find(|index| same_length(&pools[**index]))?;
    let nodes = nodes_in_common(&mine.scope.node_selectors, &theirs.scope.node_selectors);
    let why = Contradiction {
        about,
        mine: values.0,
        theirs: values.1,
        pool,
        of,
    };
    (nodes != Shared::No).then_some((nodes, why))
}

fn nodes_in_common(mine: &[LabelSelector], theirs: &[LabelSelector]) -> Shared {
    if mine.is_empty() || theirs.is_empty() {
        return Shared::Yes;
    }
    let pairs = mine
        .iter()
        .flat_map(|one| theirs.iter().map(move |other| in_common(one, other)));
    pairs.max().unwrap_or(Shared::No)
}

/// What two selectors demand of a label.
#[derive(Default)]
struct Demand<'s> {
    /// One of these, if it is not `None`.
    among: Option<BTreeSet<&'s str>>,
    not: BTreeSet<&'s str>,
    exists: bool,
    is_absent: bool,
}

impl<'s> Demand<'s> {
    fn one_of(&mut self, values: BTreeSet<&'s str>) {
        self.exists = true;
        let among = self.among.take();
        self.among = Some(match among {
            Some(before) => before.intersection(&values).copied().collect(),
            None => values,
        });
    }

    fn can_be_met(&self) -> bool {
        let allowed = |among: &BTreeSet<&str>| among.iter().any(|value| !self.not.contains(value));
        !(self.exists && self.is_absent) && self.among.as_ref().is_none_or(allowed)
    }
}

fn in_common(one: &LabelSelector, other: &LabelSelector) -> Shared {
    let mut demands: BTreeMap<&str, Demand<'_>> = BTreeMap::new();
    for selector in [one, other] {
        for (key, value) in &selector.match_labels {
            let demand = demands.entry(key).or_default();
            demand.one_of([value.as_str()].into());
        }
        for expression in &selector.match_expressions {
            let demand = demands.entry(&expression.key).or_default();
            match &expression.operator {
                LabelOperator::In(values) => {
                    demand.one_of(values.iter().map(String::as_str).collect());
                }
                LabelOperator::NotIn(values) => {
                    demand.not.extend(values.iter().map(String::as_str));
                }
                LabelOperator::Exists => demand.exists = true,
                LabelOperator::DoesNotExist => demand.is_absent = true,
            }
        }
    }
    if !demands.values().all(Demand::can_be_met) {
        return Shared::No;
    }
    let keys = |selector: &LabelSelector| selector.names().collect::<BTreeSet<_>>();
    let (mine, theirs) = (keys(one), keys(other));
    // Whoever has the labels of the one with more of them has those of the other one.
    if mine.is_subset(&theirs) || theirs.is_subset(&mine) {
        Shared::Yes
    } else {
        Shared::Perhaps
    }
}
