//! A status that is written again and again has an end, whatever the cause.
//!
//! Known causes have rules of their own: a rival who rewrites our statuses, hosts that claim addresses,
//! writes that fail. This is for those that nobody thought of, such as an admission webhook that
//! changes what is written. It costs 8 bytes for each Service, and no timer.

use std::time::Duration;

use crate::Instant;

/// So many writes of one status may follow each other at once. A Service gets its addresses, and other
/// ones, a few times in its life.
pub const MOST_WRITES: u32 = 10;
/// One more may follow after this time.
const PER_WRITE: Duration = Duration::from_secs(6);
/// For so long the status is left as it is then.
pub const LEFT_FOR: Duration = Duration::from_secs(10 * 60);

/// How fast the status of one Service is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WritePace {
    /// When all that was written is forgotten.
    forgotten: Instant,
}

impl WritePace {
    /// The status was written. False if that was one too many.
    #[must_use]
    pub fn count(&mut self, now: Instant) -> bool {
        self.forgotten = self.forgotten.max(now) + PER_WRITE;
        !self.is_exceeded(now)
    }

    /// Whether it was written once too many.
    #[must_use]
    pub fn is_exceeded(&self, now: Instant) -> bool {
        self.forgotten.saturating_since(now) > PER_WRITE * MOST_WRITES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    #[test]
    fn ten_writes_at_once_and_ten_a_minute_are_no_loop() {
        let mut pace = WritePace::default();
        for _ in 0..MOST_WRITES {
            assert!(pace.count(at(0)));
        }
        for write in 1..1_000 {
            assert!(pace.count(at(write * 6_000)), "write {write}");
        }
    }

    #[test]
    fn eleven_at_once_are_one_and_so_are_eleven_a_minute_in_the_long_run() {
        let mut pace = WritePace::default();
        let fast = (0..).find(|write| !pace.count(at(write * 10)));
        assert_eq!(fast, Some(10));
        let mut pace = WritePace::default();
        let slow = (0..).find(|write| !pace.count(at(write * 60_000 / 11)));
        assert!(slow.is_some_and(|write| write < 120), "{slow:?}");
    }
}
