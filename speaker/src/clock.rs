//! The one place where the real clock becomes core's [`Instant`].

use std::time;

use ferrolb_core::Instant;

/// A monotonic clock that all threads of a process share.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: time::Instant,
}

impl Clock {
    /// A clock that begins now.
    #[must_use]
    pub fn start() -> Self {
        Self {
            start: time::Instant::now(),
        }
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Instant {
        let micros = self.start.elapsed().as_micros();
        Instant::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    /// The same moment in std's terms, for a timer.
    #[must_use]
    pub fn to_std(self, instant: Instant) -> time::Instant {
        self.start + instant.saturating_since(Instant::START)
    }
}
