//! Which version of each pool is in force where pools want the same addresses.
//!
//! The one in force stays; of others the older one (by `creationTimestamp`, then by name). A version that
//! loses is left out as a whole, and if a former one is in force that one stays. Edits that are seen
//! together are judged together: two pools may swap their addresses.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::address::AddressRange;
use crate::config::Pool;

/// A pool as it is written now, and as it is in force.
pub(super) struct Candidate<'p> {
    pub(super) created: i64,
    pub(super) name: &'p str,
    /// `None` if it has errors.
    pub(super) newest: Option<&'p Pool>,
    pub(super) former: Option<&'p Pool>,
}

impl<'p> Candidate<'p> {
    fn version(&self, version: Option<Version>) -> Option<&'p Pool> {
        match version? {
            Version::Newest => self.newest,
            Version::Former => self.former,
        }
    }
}

/// What becomes of a pool.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Verdict {
    pub(super) in_force: Option<Version>,
    /// Why that is not the newest version, if that one has no errors.
    pub(super) overlap: Option<Overlap>,
}

/// A version of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    Newest,
    Former,
}

/// Addresses that another pool has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Overlap {
    pub(super) mine: AddressRange,
    pub(super) theirs: AddressRange,
    /// The index of that pool.
    pub(super) of: usize,
}

/// The verdict for each candidate.
pub(super) fn judge(candidates: &[Candidate<'_>]) -> Vec<Verdict> {
    let mut verdicts = once(candidates);
    // What a pool gives up may be there for another one only after that. Then it is so at once: nothing
    // may change at the next look, when nobody has edited anything.
    for _ in candidates {
        let settled = candidates
            .iter()
            .zip(&verdicts)
            .map(|(one, verdict)| Candidate {
                former: one.version(verdict.in_force),
                ..*one
            });
        let next = once(&settled.collect::<Vec<_>>());
        let next = next
            .into_iter()
            .zip(&verdicts)
            .map(|(next, verdict)| Verdict {
                in_force: match next.in_force {
                    Some(Version::Former) => verdict.in_force,
                    other => other,
                },
                overlap: next.overlap,
            });
        let next: Vec<_> = next.collect();
        if next == verdicts {
            break;
        }
        verdicts = next;
    }
    verdicts
}

/// What follows from what is in force now.
fn once(candidates: &[Candidate<'_>]) -> Vec<Verdict> {
    let verdicts = round(candidates, false);
    let mut all = candidates.iter().zip(&verdicts);
    // Whoever falls back to what is in force must find its addresses there.
    let falls_back = all.any(|(one, verdict)| one.former.is_some() && verdict.overlap.is_some());
    if falls_back {
        round(candidates, true)
    } else {
        verdicts
    }
}

/// With `keeps_all`, nobody gets addresses that another pool has in force, even if that one gives them
/// up.
fn round(candidates: &[Candidate<'_>], keeps_all: bool) -> Vec<Verdict> {
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
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by_key(|index| {
        let one = &candidates[*index];
        (one.former.is_none(), one.created, one.name)
    });
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
                verdicts[index].overlap = of_newest;
                continue;
            }
        };
        for range in &pool.ranges {
            taken.add(*range, index);
        }
        verdicts[index] = Verdict {
            in_force: Some(version),
            overlap: of_newest,
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
