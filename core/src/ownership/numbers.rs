//! Numbers that only grow come to an end, and whoever can sign may push another's numbers there: its
//! member would be held gone, and its address lost to it, until every process had restarted. So no
//! number has a last value that matters.
//!
//! - N1 A number that nobody can have reached by counting is refused: with it goes the entry, claim
//!   or datagram that it stands in.
//! - N2 Who is pushed to the last incarnation or record takes a new boot, and counts from the start.
//! - N3 Epochs go round: of two, the one that is fewer steps ahead is the newer.

use super::settings::AHEAD;
use super::wire::{Death, Entry, Header, Message};
use super::{Identity, Ownership};
use crate::Instant;

/// An incarnation refutes one death: ten a second for a day come to fewer.
pub(super) const LAST_INC: u32 = 1 << 20;
/// A record is published when it changes: a hundred a second for half a year come to fewer.
pub(super) const LAST_SEQ: u32 = 1 << 31;
/// A claim's epoch counts takeovers of one address; of so many at once nobody has missed.
const EPOCH_JUMP: u32 = 1 << 20;
/// Parts of one record: 40,000 addresses on one node.
const MAX_PARTS: u16 = 1 << 10;

/// What the boots of others are compared with: this process's own, and when it was taken.
#[derive(Debug, Clone, Copy)]
pub(super) struct Horizon {
    boot: u64,
    since: Instant,
}

impl Horizon {
    pub(super) const fn new(identity: &Identity, now: Instant) -> Self {
        Self {
            boot: identity.boot,
            since: now,
        }
    }

    fn admits(self, boot: u64, now: Instant) -> bool {
        let ahead = (now.saturating_since(self.since) + AHEAD).as_micros();
        let ahead = u64::try_from(ahead).unwrap_or(u64::MAX);
        boot <= self.boot.saturating_add(ahead)
    }
}

impl Ownership {
    /// N1: what a datagram says of its sender, and of one other.
    pub(super) fn is_plausible(&self, header: &Header, message: &Message, now: Instant) -> bool {
        let says = match message {
            Message::Dead(Death { inc, .. })
            | Message::Ping {
                gone: Some(inc), ..
            } => *inc <= LAST_INC,
            Message::Stale { boot } => self.horizon.admits(*boot, now),
            _ => true,
        };
        says && header.inc <= LAST_INC && self.horizon.admits(header.boot, now)
    }

    /// N1: an entry may come from one who believed too much; the others beside it are good.
    pub(super) fn is_plausible_entry(&self, entry: &Entry, now: Instant) -> bool {
        entry.inc <= LAST_INC
            && entry.seq <= LAST_SEQ
            && entry.parts <= MAX_PARTS
            && self.horizon.admits(entry.boot, now)
    }
}

/// The epoch of the next claim; 0 is none.
pub(super) const fn next_epoch(newest: u32) -> u32 {
    match newest.wrapping_add(1) {
        0 => 1,
        next => next,
    }
}

/// N3: how many steps `epoch` lies behind the newest one.
pub(super) const fn epoch_age(newest: u32, epoch: u32) -> u32 {
    newest.wrapping_sub(epoch)
}

/// N3
pub(super) const fn is_newer(epoch: u32, than: u32) -> bool {
    let ahead = epoch.wrapping_sub(than);
    0 < ahead && ahead < 1 << 31
}

/// N1: whether it is too far ahead of the newest one known, if any is.
pub(super) const fn is_leap(epoch: u32, newest: u32) -> bool {
    newest != 0 && is_newer(epoch, newest) && epoch.wrapping_sub(newest) > EPOCH_JUMP
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_go_round_and_never_are_none() {
        for (newest, next) in [(0, 1), (7, 8), (u32::MAX - 1, u32::MAX), (u32::MAX, 1)] {
            assert_eq!(next_epoch(newest), next);
            assert!(is_newer(next, newest), "{next} after {newest}");
            assert!(!is_newer(newest, next), "{newest} before {next}");
            assert!(epoch_age(next, next) < epoch_age(next, newest));
            assert!(!is_leap(next, newest));
        }
        assert!(!is_newer(5, 5));
    }

    #[test]
    fn an_epoch_far_ahead_is_a_leap_unless_none_is_known() {
        assert!(is_leap(u32::MAX / 2, 7));
        assert!(is_leap(7 + EPOCH_JUMP + 1, 7));
        assert!(!is_leap(7 + EPOCH_JUMP, 7));
        assert!(!is_leap(u32::MAX, 0), "who joins knows none");
        assert!(!is_leap(3, 7), "an old one is merely old");
    }
}
