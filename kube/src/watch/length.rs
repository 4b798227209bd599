//! How long a watch is asked for.
//!
//! A connection that is dead is noticed by TCP within 11 s (`client.rs`). An API server that holds it open
//! and has stopped to tell anything is noticed by its silence: it sends a bookmark about once a minute,
//! whether anything happens or not. So a watch may be long, as long as bookmarks come. Where none do, an
//! older server or a kind of which nothing ever happened, watches are short: each end is a sign of life.

use std::time::Duration;

use ferrolb_core::spread::Spread;

/// Nothing at all for so long: the API server, or the way to it, is dead. Bookmarks come every 60 to 62 s.
pub(super) const SILENCE: Duration = Duration::from_secs(65);
/// Between these, a watch of which bookmarks are expected; so that those of a thousand processes that began
/// together do not end together.
const LONG: [Duration; 2] = [Duration::from_secs(300), Duration::from_secs(600)];
/// The same of one that may be silent while all is well: less than [`SILENCE`].
const SHORT: [Duration; 2] = [Duration::from_secs(45), Duration::from_secs(60)];

/// The lengths of one watch after another.
pub(super) struct Length {
    spread: Spread,
    /// The last watch has told a bookmark.
    is_heard: bool,
}

impl Length {
    pub(super) const fn new(spread: Spread) -> Self {
        let is_heard = false;
        Self { spread, is_heard }
    }

    /// Of the next watch, in seconds.
    pub(super) fn next(&mut self) -> u32 {
        let [shortest, longest] = if self.is_heard { LONG } else { SHORT };
        let length = self.spread.between(shortest, longest);
        u32::try_from(length.as_secs()).unwrap_or(u32::MAX)
    }

    pub(super) const fn handle_bookmark(&mut self) {
        self.is_heard = true;
    }

    /// It was [`SILENCE`].
    pub(super) const fn handle_silence(&mut self) {
        self.is_heard = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_is_long_once_bookmarks_come_and_short_again_after_a_silence() {
        let mut length = Length::new(Spread::of_seed(3));
        let silence = u32::try_from(SILENCE.as_secs()).unwrap();
        for _ in 0..20 {
            let short = length.next();
            assert!((45..=60).contains(&short) && short < silence, "{short}");
        }
        length.handle_bookmark();
        let long: Vec<_> = (0..20).map(|_| length.next()).collect();
        assert!(long.iter().all(|one| (300..=600).contains(one)), "{long:?}");
        assert!(long.iter().any(|one| *one != long[0]));
        length.handle_silence();
        assert!(length.next() <= 60);
    }
}
