//! Ranges that share addresses.

use crate::address::{AddressRange, joined, predecessor, successor, to_number};

/// Pairs of indices of ranges that overlap, the smaller index first. No pair if and only if no two
/// ranges overlap; every range that overlaps any other is in at least one pair. (All pairs could be
/// too many to tell.)
pub(super) fn overlapping(ranges: &[AddressRange]) -> Vec<(usize, usize)> {
    let mut order: Vec<usize> = (0..ranges.len()).collect();
    order.sort_by_key(|&index| {
        (
            ranges[index].family(),
            to_number(ranges[index].first()),
            index,
        )
    });
    let mut pairs = Vec::new();
    // The range that reaches farthest of those that start lower: what overlaps any of them
    // overlaps it.
    let mut farthest: Option<usize> = None;
    for index in order {
        let range = &ranges[index];
        if let Some(other) = farthest
            && ranges[other].overlaps(range)
        {
            pairs.push((index.min(other), index.max(other)));
        }
        let reaches_farther = farthest.is_none_or(|other| {
            ranges[other].family() != range.family() || ranges[other].last() < range.last()
        });
        if reaches_farther {
            farthest = Some(index);
        }
    }
    pairs.sort_unstable();
    pairs
}

/// What is left of `range` beside `other`, if that is one range.
pub(super) fn rest(range: &AddressRange, other: &AddressRange) -> Option<AddressRange> {
    let below = (range.first() < other.first())
        .then(|| predecessor(other.first()))
        .flatten()
        .and_then(|last| AddressRange::new(range.first(), last));
    let above = (range.last() > other.last())
        .then(|| successor(other.last()))
        .flatten()
        .and_then(|first| AddressRange::new(first, range.last()));
    match (below, above) {
        (Some(part), None) | (None, Some(part)) => Some(part),
        _ => None,
    }
}

/// What is left of `ranges` without `excluded`, in the same order.
pub(super) fn without(ranges: &[AddressRange], excluded: &[AddressRange]) -> Vec<AddressRange> {
    let excluded = joined(excluded.iter().copied());
    ranges
        .iter()
        .flat_map(|range| without_ascending(*range, &excluded))
        .collect()
}

/// `excluded` are disjoint and ascend.
fn without_ascending(range: AddressRange, excluded: &[AddressRange]) -> Vec<AddressRange> {
    let mut left = Vec::new();
    let mut rest = Some(range);
    let from = excluded.partition_point(|one| one.last() < range.first());
    for gap in excluded[from..]
        .iter()
        .take_while(|one| one.overlaps(&range))
    {
        let Some(part) = rest else { break };
        let below = predecessor(gap.first()).filter(|_| gap.first() > part.first());
        left.extend(below.and_then(|last| AddressRange::new(part.first(), last)));
        rest = successor(gap.last()).and_then(|first| AddressRange::new(first, part.last()));
    }
    left.extend(rest);
    left
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    use super::*;

    fn small_range() -> impl Strategy<Value = AddressRange> {
        (0_u32..40, 0_u32..8).prop_map(|(first, more)| {
            let end = |n: u32| Ipv4Addr::from(0x0a00_0000 + n).into();
            AddressRange::new(end(first), end(first + more)).unwrap()
        })
    }

    proptest! {
        #[test]
        fn overlaps_are_found_as_by_comparing_every_pair(
            ranges in proptest::collection::vec(small_range(), 0..12),
        ) {
            let found = overlapping(&ranges);
            for (a, b) in &found {
                prop_assert!(a < b && ranges[*a].overlaps(&ranges[*b]), "{a} and {b} do not overlap");
            }
            for a in 0..ranges.len() {
                let touched = (0..ranges.len()).any(|b| a != b && ranges[a].overlaps(&ranges[b]));
                let named = found.iter().any(|pair| pair.0 == a || pair.1 == a);
                prop_assert_eq!(touched, named, "range {}", a);
            }
        }

        #[test]
        fn the_rest_is_all_of_a_range_that_the_other_does_not_hold(
            range in small_range(), other in small_range(),
        ) {
            if range.overlaps(&other) && let Some(rest) = rest(&range, &other) {
                prop_assert!(!rest.overlaps(&other));
                let shared = range.first().max(other.first())..=range.last().min(other.last());
                let shared = AddressRange::new(*shared.start(), *shared.end()).unwrap();
                prop_assert_eq!(rest.size() + shared.size(), range.size());
            }
        }

        #[test]
        fn what_is_left_is_each_address_that_is_not_excluded_once_and_in_order(
            ranges in proptest::collection::vec(small_range(), 0..4),
            excluded in proptest::collection::vec(small_range(), 0..6),
        ) {
            let addresses = |ranges: &[AddressRange]| {
                let numbers = ranges.iter().flat_map(|one| to_number(one.first())..=to_number(one.last()));
                numbers.collect::<Vec<_>>()
            };
            let gone = addresses(&excluded);
            let mut want = addresses(&ranges);
            want.retain(|one| !gone.contains(one));
            prop_assert_eq!(addresses(&without(&ranges, &excluded)), want);
        }
    }
}
