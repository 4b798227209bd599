//! L12: whether this process was stopped, and may have missed that others took over.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ferrolb_core::Instant;
use ferrolb_core::ownership::STOPPED;

/// What was missed is asked for and told within a few milliseconds.
const CATCHING_UP: Duration = Duration::from_millis(100);

/// What is told while the peers' thread hears nothing.
const NEVER: Instant = Instant::from_micros(u64::MAX);

/// When the peers' thread last knew what there was to know. A process that was stopped, or whose
/// machine was paused or cut off, wakes up in the belief that it still owns what others took over
/// meanwhile: until that thread has caught up, nothing is answered and nothing announced (L12).
#[derive(Debug, Clone, Default)]
pub struct Pulse(Arc<Moments>);

#[derive(Debug, Default)]
struct Moments {
    last: AtomicU64,
    caught_up: AtomicU64,
}

impl Pulse {
    /// Everything received up to now has been acted on. Unless it `hears`, that was nothing at all.
    pub fn beat(&self, hears: bool, now: Instant) {
        if !hears {
            self.set_caught_up(NEVER);
        } else if self.is_late(now) || self.caught_up() == NEVER {
            self.set_caught_up(now + CATCHING_UP);
        }
        self.0.last.store(now.as_micros(), Ordering::Release);
    }

    /// Whether that was too long ago, or has been until a moment ago.
    #[must_use]
    pub fn has_stopped(&self, now: Instant) -> bool {
        // In this order: `beat` writes them in the other one.
        self.is_late(now) || now < self.caught_up()
    }

    fn caught_up(&self) -> Instant {
        Instant::from_micros(self.0.caught_up.load(Ordering::Acquire))
    }

    fn set_caught_up(&self, at: Instant) {
        self.0.caught_up.store(at.as_micros(), Ordering::Release);
    }

    fn is_late(&self, now: Instant) -> bool {
        let last = Instant::from_micros(self.0.last.load(Ordering::Acquire));
        now.saturating_since(last) > STOPPED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_stopped_for_more_than_a_second_has_to_catch_up() {
        let pulse = Pulse::default();
        let at = Instant::from_millis;
        pulse.beat(true, at(400));
        assert!(!pulse.has_stopped(at(1_400)));
        assert!(pulse.has_stopped(at(1_401)));
        pulse.clone().beat(true, at(9_000));
        assert!(
            pulse.has_stopped(at(9_099)),
            "it may have missed that it is no owner any more"
        );
        pulse.beat(true, at(9_050));
        assert!(!pulse.has_stopped(at(9_100)));
    }

    #[test]
    fn who_hears_nothing_at_all_says_nothing() {
        let pulse = Pulse::default();
        let at = Instant::from_millis;
        pulse.beat(true, at(400));
        pulse.beat(false, at(500));
        assert!(pulse.has_stopped(at(501)));
        pulse.beat(false, at(900));
        pulse.beat(true, at(1_000));
        assert!(pulse.has_stopped(at(1_099)));
        assert!(!pulse.has_stopped(at(1_100)));
    }
}
