//! A rate limit with room for a burst.

use std::time::Duration;

use crate::Instant;

/// Lets `burst` events pass at once and then one each `spacing`. It keeps one instant: the time at
/// which all that has passed would have passed at an even pace (the generic cell rate algorithm).
#[derive(Debug)]
pub(super) struct Pace {
    spacing: Duration,
    tolerance: Duration,
    even: Instant,
}

impl Pace {
    pub(super) fn new(per_second: u32, burst: u32) -> Self {
        let spacing = Duration::from_secs(1) / per_second.max(1);
        Self {
            spacing,
            tolerance: spacing * burst.saturating_sub(1),
            even: Instant::START,
        }
    }

    /// When the next event may pass: `now`, or later.
    pub(super) fn next(&self, now: Instant) -> Instant {
        now + self
            .even
            .saturating_since(now)
            .saturating_sub(self.tolerance)
    }

    /// Counts one event.
    pub(super) fn pass(&mut self, now: Instant) {
        self.even = self.even.max(now) + self.spacing;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_at_once_and_the_rest_evenly() {
        let mut pace = Pace::new(1_000, 3);
        let now = Instant::from_millis(50);
        for _ in 0..3 {
            assert_eq!(pace.next(now), now);
            pace.pass(now);
        }
        assert_eq!(pace.next(now), Instant::from_millis(51));
        pace.pass(Instant::from_millis(51));
        assert_eq!(pace.next(now), Instant::from_millis(52));
        assert_eq!(
            pace.next(Instant::from_millis(900)),
            Instant::from_millis(900)
        );
    }
}
