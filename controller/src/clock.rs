//! The monotonic clock, as core's points in time.

use std::time::Duration;

use ferrolb_core::Instant;

/// Counts from its making.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: tokio::time::Instant,
}

impl Clock {
    /// Starts now.
    #[must_use]
    pub fn start() -> Self {
        Self {
            start: tokio::time::Instant::now(),
        }
    }

    /// The time.
    #[must_use]
    pub fn now(self) -> Instant {
        Instant::START + self.start.elapsed()
    }

    /// `at`, for a timer.
    #[must_use]
    pub fn timer(self, at: Instant) -> tokio::time::Instant {
        self.start + at.saturating_since(Instant::START)
    }
}

/// A name that no other process has had: that of the pod, which containers of one pod share one
/// after the other, and the time.
#[must_use]
pub fn identity(instance: &str) -> String {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed();
    format!(
        "{instance}_{:x}",
        since.unwrap_or(Duration::ZERO).as_nanos()
    )
}
