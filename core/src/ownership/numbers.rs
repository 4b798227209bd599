//! Numbers that only grow come to an end, and whoever can sign may push another's numbers there: its
//! member would be held gone, and its address lost to it, until every process had restarted. So no
//! number has a last value that matters.
//!
//! - N1 A number that nobody can have reached by counting is refused: with it goes the entry, claim
//!   or datagram that it stands in.
//! - N2 Who is pushed to the last incarnation or record takes a new boot, and counts from the start.
//! - N3 Epochs go round (`epoch`): of two, the one that is fewer steps ahead is the newer.

use super::model::{Death, Entry};
use super::settings::AHEAD;
use super::wire::{Header, Message};
use crate::Instant;

/// An incarnation refutes one death: ten a second for a day come to fewer.
pub(super) const LAST_INC: u32 = 1 << 20;
/// A record is published when it changes: a hundred a second for half a year come to fewer.
pub(super) const LAST_SEQ: u32 = 1 << 31;
/// Parts of one record: 40,000 addresses on one node.
const MAX_PARTS: u16 = 1 << 10;

/// What the boots of others are compared with: this process's own, and when it was taken.
#[derive(Debug, Clone, Copy)]
pub(super) struct Horizon {
    boot: u64,
    since: Instant,
}

impl Horizon {
    pub(super) const fn new(boot: u64, now: Instant) -> Self {
        Self { boot, since: now }
    }

    fn admits(self, boot: u64, now: Instant) -> bool {
        let ahead = (now.saturating_since(self.since) + AHEAD).as_micros();
        let ahead = u64::try_from(ahead).unwrap_or(u64::MAX);
        boot <= self.boot.saturating_add(ahead)
    }

    /// N1: what a datagram says of its sender, and of one other.
    pub(super) fn admits_message(self, header: &Header, message: &Message, now: Instant) -> bool {
        let says = match message {
            Message::Dead(Death { inc, .. })
            | Message::Ping {
                gone: Some(inc), ..
            } => *inc <= LAST_INC,
            Message::Stale { boot } => self.admits(*boot, now),
            _ => true,
        };
        says && header.inc <= LAST_INC && self.admits(header.boot, now)
    }

    /// N1: an entry may come from one who believed too much; the others beside it are good.
    pub(super) fn admits_entry(self, entry: &Entry, now: Instant) -> bool {
        entry.inc <= LAST_INC
            && entry.seq <= LAST_SEQ
            && entry.parts <= MAX_PARTS
            && self.admits(entry.boot, now)
    }
}
