//! Times that differ from process to process, so that a thousand of them do not do the same at once.

use std::time::Duration;

/// A sequence of numbers that another seed has otherwise (SplitMix64): nothing secret hangs on it.
#[derive(Debug, Clone)]
pub struct Spread {
    state: u64,
}

impl Spread {
    /// The sequence of this seed.
    #[must_use]
    pub const fn of_seed(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The sequence of this name, of a node for example (FNV-1a).
    #[must_use]
    pub fn of_name(name: &str) -> Self {
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self::of_seed(hash)
    }

    /// The next time, at least `shortest` and less than `longest`.
    pub fn between(&mut self, shortest: Duration, longest: Duration) -> Duration {
        let width = longest.saturating_sub(shortest).as_micros();
        let part = (u128::from(self.next()) * width) >> 64;
        shortest + Duration::from_micros(u64::try_from(part).unwrap_or_default())
    }

    const fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = self.state;
        let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SHORTEST: Duration = Duration::from_secs(300);
    const LONGEST: Duration = Duration::from_secs(600);

    /// How many of `times` fall into the fullest of these 30 equal parts.
    fn fullest(times: impl Iterator<Item = Duration>) -> usize {
        let mut parts = [0_usize; 30];
        for time in times {
            assert!((SHORTEST..LONGEST).contains(&time), "{time:?}");
            let at = (time - SHORTEST).as_secs() as usize / 10;
            parts[at] += 1;
        }
        parts.into_iter().max().unwrap_or_default()
    }

    proptest! {
        /// With 1,000 in 30 parts each has 33 on average.
        #[test]
        fn a_thousand_nodes_that_begin_at_once_end_at_different_times(
            prefix in "[a-z]{1,8}", first in 0_u32..100_000, turn in 0_usize..5,
        ) {
            let times = (first..first + 1_000).map(|number| {
                let mut spread = Spread::of_name(&format!("{prefix}-{number}"));
                for _ in 0..turn {
                    spread.between(SHORTEST, LONGEST);
                }
                spread.between(SHORTEST, LONGEST)
            });
            prop_assert!(fullest(times) < 80);
        }

        #[test]
        fn one_that_begins_again_and_again_does_not_keep_a_beat(seed: u64) {
            let mut spread = Spread::of_seed(seed);
            let times = (0..1_000).map(|_| spread.between(SHORTEST, LONGEST));
            prop_assert!(fullest(times) < 80);
        }
    }

    #[test]
    fn nothing_lies_between_a_time_and_itself() {
        let mut spread = Spread::of_seed(7);
        assert_eq!(spread.between(SHORTEST, SHORTEST), SHORTEST);
        assert_eq!(spread.between(LONGEST, SHORTEST), LONGEST);
    }
}
