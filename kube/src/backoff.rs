//! Delays between attempts to reach the API server.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use ferrolb_core::spread::Spread;

/// The API server of a small cluster is back within seconds; five is as long as anybody waits
/// for it to be noticed.
const LONGEST: Duration = Duration::from_secs(5);
const SHORTEST: Duration = Duration::from_millis(250);

/// The delay after that many failures in a row, the first one included.
#[must_use]
pub fn delay(failures: u32) -> Duration {
    let factor = 2_u32.saturating_pow(failures.saturating_sub(1));
    SHORTEST.saturating_mul(factor).min(LONGEST)
}

/// The same or down to half of it: an API server that comes back is not asked by a thousand at once.
pub fn spread_delay(failures: u32, spread: &mut Spread) -> Duration {
    let longest = delay(failures);
    spread.between(longest / 2, longest)
}

/// One that no other process has, nor another part of this one.
#[must_use]
pub fn spread() -> Spread {
    Spread::of_seed(RandomState::new().hash_one(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_that_failed_at_once_try_again_at_different_times() {
        let mut parts = [0_usize; 10];
        for _ in 0..1_000 {
            let delay = spread_delay(40, &mut spread());
            let part = (delay - LONGEST / 2).as_millis() / 250;
            parts[usize::try_from(part).unwrap()] += 1;
        }
        assert!(parts.iter().all(|part| *part < 160), "{parts:?}");
    }

    #[test]
    fn delays_double_up_to_the_longest() {
        let delays: Vec<_> = [1, 2, 3, 5, 6, 40].map(delay).to_vec();
        let millis: Vec<_> = delays.iter().map(Duration::as_millis).collect();
        assert_eq!(millis, [250, 500, 1_000, 4_000, 5_000, 5_000]);
    }
}
