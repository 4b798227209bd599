//! Which version of each pool is in force where pools want the same addresses.
//!
//! [`versions`] has the rule. Edits that are seen together are judged together: two pools may swap their
//! addresses.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::versions::{self, Candidate, Version};
use crate::address::AddressRange;
use crate::config::Pool;

/// What becomes of a pool.
pub(super) type Verdict = versions::Verdict<Overlap>;

/// Addresses that another pool has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Overlap {
    pub(super) mine: AddressRange,
    pub(super) theirs: AddressRange,
    /// The index of that pool.
    pub(super) of: usize,
}

/// The verdict for each candidate.
pub(super) fn judge(candidates: &[Candidate<'_, Pool>]) -> Vec<Verdict> {
    versions::settled(candidates, once)
}

/// What follows from what is in force now.
fn once(candidates: &[Candidate<'_, Pool>]) -> Vec<Verdict> {
    let verdicts = round(candidates, false);
    let mut all = candidates.iter().zip(&verdicts);
    // Whoever falls back to what is in force must find its addresses there.
    let falls_back = all.any(|(one, verdict)| one.former.is_some() && verdict.why.is_some());
    if falls_back {
        round(candidates, true)
    } else {
        verdicts
    }
}

/// With `keeps_all`, nobody gets addresses that another pool has in force, even if that one gives them
/// up.
fn round(candidates: &[Candidate<'_, Pool>], keeps_all: bool) -> Vec<Verdict> {
    let mut kept = Taken::default();
    for (index, one) in candidates.iter().enumerate() {
        let former = one.former.iter().flat_map(|pool| &pool.ranges);
        match one.newest {
            Some(newest) if !keeps_all => {
                for range in former.flat_map(|range| common(range, &newest.ranges)) {
                    kept.add(range, index);
                }
            }
            _ => former.for_each(|range| kept.add(*range, index)),
        }
    }
    let order = versions::order(candidates);
    let mut taken = Taken::default();
    let mut verdicts = vec![Verdict::default(); candidates.len()];
    for index in order {
        let one = &candidates[index];
        let overlap = |pool: &Pool, with: &[&Taken]| {
            let mut ranges = pool.ranges.iter();
            ranges.find_map(|range| with.iter().find_map(|with| with.overlap(range, index)))
        };
        let of_newest = one.newest.and_then(|pool| overlap(pool, &[&taken, &kept]));
        let of_former = |pool: &Pool| overlap(pool, &[&taken]).is_none();
        let (version, pool) = match (one.newest, &of_newest, one.former) {
            (Some(pool), None, _) => (Version::Newest, pool),
            (_, _, Some(pool)) if of_former(pool) => (Version::Former, pool),
            _ => {
                verdicts[index].why = of_newest;
                continue;
            }
        };
        for range in &pool.ranges {
            taken.add(*range, index);
        }
        verdicts[index] = Verdict {
            in_force: Some(version),
            why: of_newest,
        };
    }
    verdicts
}

/// What `range` has in common with `others`.
fn common<'r>(
    range: &'r AddressRange,
    others: &'r [AddressRange],
) -> impl Iterator<Item = AddressRange> + 'r {
    others.iter().filter_map(|other| range.shared_with(other))
}

/// Ranges that do not overlap, each with its pool's index.
#[derive(Default)]
struct Taken(BTreeMap<IpAddr, (AddressRange, usize)>);

impl Taken {
    fn add(&mut self, range: AddressRange, of: usize) {
        self.0.insert(range.first(), (range, of));
    }

    /// What of it another pool than `but` has.
    fn overlap(&self, range: &AddressRange, but: usize) -> Option<Overlap> {
        let below = self.0.range(..=range.last()).rev();
        let mut reaching = below
            .map(|(_, one)| one)
            .take_while(|(theirs, _)| theirs.overlaps(range));
        reaching
            .find(|(_, of)| *of != but)
            .map(|(theirs, of)| Overlap {
                mine: *range,
                theirs: *theirs,
                of: *of,
            })
    }
}
