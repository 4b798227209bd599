//! The one place where the real clock becomes core's [`Instant`].

use std::time::Duration;

use ferrolb_core::Instant;
use rustix::time::{ClockId, clock_gettime};

/// Counts from its making, also while the machine is suspended: a process that slept has to know that
/// others have gone on, as leader or as owner of its addresses (L12). std's clock and tokio's, which are
/// `CLOCK_MONOTONIC`, stand still meanwhile. All threads of a process share one.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Duration,
}

impl Clock {
    /// Starts now.
    #[must_use]
    pub fn start() -> Self {
        Self {
            start: since_boot(),
        }
    }

    /// The time.
    #[must_use]
    pub fn now(self) -> Instant {
        Instant::START + since_boot().saturating_sub(self.start)
    }

    /// `at`, for a timer.
    #[must_use]
    pub fn timer(self, at: Instant) -> tokio::time::Instant {
        tokio::time::Instant::now() + at.saturating_since(self.now())
    }
}

fn since_boot() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    Duration::try_from(time).unwrap_or_default()
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

#[cfg(test)]
mod tests {
    use super::*;

    /// `/proc/uptime` has the same clock, to 10 ms.
    #[tokio::test]
    async fn the_clock_counts_from_boot_never_goes_back_and_a_timer_ends_with_it() {
        let uptime = || -> f64 {
            let text = std::fs::read_to_string("/proc/uptime").unwrap();
            text.split(' ').next().unwrap().parse().unwrap()
        };
        let (before, clock, after) = (uptime(), Clock::start(), uptime());
        let start = clock.start.as_secs_f64();
        assert!((before - 0.01..=after + 0.01).contains(&start), "{start}");
        let first = clock.now();
        assert!(clock.now() >= first);
        assert!(first.saturating_since(Instant::START) < Duration::from_secs(60));
        let at = clock.now() + Duration::from_millis(20);
        tokio::time::sleep_until(clock.timer(at)).await;
        assert!(clock.now() >= at);
    }
}
