//! Delays between attempts to reach the API server.

use std::time::Duration;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_longest() {
        let delays: Vec<_> = [1, 2, 3, 5, 6, 40].map(delay).to_vec();
        let millis: Vec<_> = delays.iter().map(Duration::as_millis).collect();
        assert_eq!(millis, [250, 500, 1_000, 4_000, 5_000, 5_000]);
    }
}
