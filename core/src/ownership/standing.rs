//! How a member stands in this member's table: one state, of which each part of the rules asks a question.

use super::model::{Life, Verdict};
use crate::Instant;

/// How a member stands in this member's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Listed, and nothing was ever heard from it or of it.
    NeverHeard,
    /// Present.
    Live,
    /// Not heard by this member, and nobody confirms it: a private opinion, never told (L6).
    Lost {
        /// It was held until then, and is for all others.
        held: Option<Hold>,
    },
    /// Its process is away, its node is not; its addresses wait for it (R1).
    Held(Hold),
    /// Gone; its claims count no more.
    Gone(Verdict),
}

/// For how long addresses wait for a process that is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hold {
    /// What is known of the process.
    pub verdict: Verdict,
    /// When the wait ends.
    pub until: Instant,
}

impl Standing {
    /// After a verdict that is everybody's. Addresses of a process that is away wait `until` then.
    pub(super) const fn of_verdict(verdict: Verdict, until: Instant) -> Self {
        match verdict.life() {
            Life::Held => Self::Held(Hold { verdict, until }),
            _ => Self::Gone(verdict),
        }
    }

    /// What others say of the member's process. `None` until anything was heard.
    pub(super) const fn life(self) -> Option<Life> {
        Some(match self {
            Self::NeverHeard => return None,
            Self::Live | Self::Lost { held: None } => Life::Live,
            Self::Held(_) | Self::Lost { held: Some(_) } => Life::Held,
            Self::Gone(Verdict::Left) => Life::Left,
            Self::Gone(_) => Life::Dead,
        })
    }

    /// The verdict over a member that is held or gone, for whoever else.
    pub(super) const fn verdict(self) -> Option<Verdict> {
        match self {
            Self::Held(hold) | Self::Lost { held: Some(hold) } => Some(hold.verdict),
            Self::Gone(verdict) => Some(verdict),
            Self::NeverHeard | Self::Live | Self::Lost { held: None } => None,
        }
    }

    pub(super) const fn is_lost(self) -> bool {
        matches!(self, Self::Lost { .. })
    }

    pub(super) const fn is_heard_of(self) -> bool {
        !matches!(self, Self::NeverHeard)
    }

    /// It said good-bye after it had handed over everything.
    pub(super) const fn has_left(self) -> bool {
        matches!(self, Self::Gone(Verdict::Left))
    }

    /// After hearsay, which tells no verdict: the one that is known stays if it agrees.
    pub(super) fn told(self, life: Life, until: Instant) -> Self {
        let known = self.verdict();
        match life {
            Life::Live => Self::Live,
            Life::Held => {
                let known = known.filter(|verdict| verdict.life() == Life::Held);
                let verdict = known.unwrap_or(Verdict::Process);
                Self::Held(Hold { verdict, until })
            }
            Life::Dead => {
                let known = known.filter(|verdict| *verdict != Verdict::Left);
                Self::Gone(known.unwrap_or(Verdict::Node))
            }
            Life::Left => Self::Gone(Verdict::Left),
        }
    }

    /// It lives, by its own word: in another boot, or incarnation. This member has to hear it to
    /// lose it no more.
    pub(super) const fn revived(self) -> Self {
        match self {
            Self::Lost { .. } => Self::Lost { held: None },
            _ => Self::Live,
        }
    }

    /// This member hears it no more.
    pub(super) const fn lost(self) -> Self {
        match self {
            Self::Live => Self::Lost { held: None },
            Self::Held(hold) => Self::Lost { held: Some(hold) },
            Self::NeverHeard | Self::Lost { .. } | Self::Gone(_) => self,
        }
    }

    /// All loss was on this side: it is again what it is for all others.
    pub(super) const fn found(self) -> Self {
        match self {
            Self::Lost { held: None } => Self::Live,
            Self::Lost { held: Some(hold) } => Self::Held(hold),
            _ => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNTIL: Instant = Instant::from_millis(7);

    fn held(verdict: Verdict) -> Standing {
        Standing::Held(Hold {
            verdict,
            until: UNTIL,
        })
    }

    #[test]
    fn a_verdict_and_what_is_told_of_it_are_the_same_life() {
        for verdict in Verdict::ALL {
            let standing = Standing::of_verdict(verdict, UNTIL);
            assert_eq!(standing.life(), Some(verdict.life()), "{verdict:?}");
            assert_eq!(standing.verdict(), Some(verdict));
        }
    }

    #[test]
    fn hearsay_keeps_a_verdict_that_agrees_with_it_and_no_other() {
        let of = |verdict| Standing::of_verdict(verdict, UNTIL);
        for (known, life, then) in [
            (Standing::NeverHeard, Life::Held, held(Verdict::Process)),
            (Standing::Live.lost(), Life::Held, held(Verdict::Process)),
            (
                of(Verdict::Restarting),
                Life::Held,
                held(Verdict::Restarting),
            ),
            (of(Verdict::Deaf), Life::Held, held(Verdict::Process)),
            (
                of(Verdict::Restarting),
                Life::Dead,
                Standing::Gone(Verdict::Restarting),
            ),
            (of(Verdict::Left), Life::Dead, Standing::Gone(Verdict::Node)),
            (
                Standing::NeverHeard,
                Life::Dead,
                Standing::Gone(Verdict::Node),
            ),
            (
                of(Verdict::Stalled),
                Life::Left,
                Standing::Gone(Verdict::Left),
            ),
            (of(Verdict::Stalled), Life::Live, Standing::Live),
        ] {
            assert_eq!(known.told(life, UNTIL), then, "{known:?}, {life:?}");
            assert_eq!(then.life(), Some(life));
        }
    }

    /// L6
    #[test]
    fn to_lose_a_member_is_no_business_of_others_and_is_taken_back() {
        for standing in [Standing::Live, held(Verdict::Stalled)] {
            let lost = standing.lost();
            assert!(lost.is_lost());
            assert_eq!(lost.life(), standing.life(), "others are told the same");
            assert_eq!(lost.lost(), lost);
            assert_eq!(lost.found(), standing);
            assert_eq!(lost.revived().found(), Standing::Live);
        }
        for standing in [Standing::NeverHeard, Standing::Gone(Verdict::Node)] {
            assert_eq!(standing.lost(), standing);
        }
    }
}
