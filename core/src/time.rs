//! Time as an argument.

use std::ops::Add;
use std::time::Duration;

/// A point in time: microseconds since the driver started.
///
/// `std::time::Instant` can be neither constructed nor stored in a test; this one can. Only a
/// daemon's driver converts from the real, monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant {
    micros: u64,
}

impl Instant {
    /// The moment at which the driver started.
    pub const START: Self = Self { micros: 0 };

    /// `micros` microseconds after the start.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self { micros }
    }

    /// `millis` milliseconds after the start.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self {
            micros: millis * 1_000,
        }
    }

    /// Microseconds since the start.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.micros
    }

    /// So long before; the start, if that is longer ago.
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Self {
            micros: self.micros.saturating_sub(micros),
        }
    }

    /// How long ago `earlier` was; zero if it lies in the future.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.micros.saturating_sub(earlier.micros))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Self {
            micros: self.micros.saturating_add(micros),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_added_can_be_measured_again() {
        let start = Instant::from_millis(3);
        let later = start + Duration::from_micros(1_500);
        assert_eq!(later.saturating_since(start), Duration::from_micros(1_500));
        assert_eq!(later.as_micros(), 4_500);
    }

    #[test]
    fn time_since_a_future_instant_is_zero() {
        assert_eq!(
            Instant::START.saturating_since(Instant::from_millis(1)),
            Duration::ZERO
        );
    }
}
