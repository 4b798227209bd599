//! One LAN segment: what arrives where, and when.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::random::Random;

/// A station: a host's index, or the client and gateway (they are never cut from each other).
pub(crate) type Station = usize;

/// A message's kind, as its header has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Tell = 4,
    Records = 7,
    Yield = 11,
    Offer = 12,
}

/// The network's faults. All start healthy.
#[derive(Debug, Clone, Default)]
pub(crate) struct Network {
    /// Of 1,000 packets so many are lost; half as many are doubled, twice as many overtaken.
    pub(crate) loss: u64,
    /// Stations in different segments do not hear each other.
    pub(crate) segment: BTreeMap<Station, u8>,
    /// Ports that send nothing.
    pub(crate) mute: BTreeSet<Station>,
    /// Ports that receive nothing.
    pub(crate) deaf: BTreeSet<Station>,
    /// Paths dead in this direction.
    pub(crate) cut: BTreeSet<(Station, Station)>,
    /// Paths that take longer, both ways.
    pub(crate) slow: BTreeMap<(Station, Station), Duration>,
    /// Messages of this kind that never arrive: kind, from, to.
    pub(crate) losing: BTreeSet<(Kind, Station, Station)>,
    /// Stations that no datagram of port 7946 leaves or reaches.
    pub(crate) firewalled: BTreeSet<Station>,
    /// Stations whose kernels answer nothing, or whose answers a router keeps.
    pub(crate) unanswering: BTreeSet<Station>,
    /// ARP is answered for hosts that are dead, with the right hardware address.
    pub(crate) answers_for_the_dead: bool,
    /// Nothing arrives anywhere.
    pub(crate) blackout: bool,
}

impl Network {
    /// Whether anything sent now from `from` to `to` can arrive.
    pub(crate) fn connects(&self, from: Station, to: Station) -> bool {
        let segment = |station| self.segment.get(&station).copied().unwrap_or(0);
        !self.blackout
            && segment(from) == segment(to)
            && !self.mute.contains(&from)
            && !self.deaf.contains(&to)
            && !self.cut.contains(&(from, to))
    }

    /// Whether this datagram is one of those that are lost.
    pub(crate) fn loses(&self, from: Station, to: Station, bytes: &[u8]) -> bool {
        let of_kind = |kind: Kind| bytes.get(3) == Some(&(kind as u8));
        let mut losing = self.losing.iter();
        losing.any(|&(kind, a, b)| (a, b) == (from, to) && of_kind(kind))
    }

    /// When the copies of one packet arrive: none, one or two.
    pub(crate) fn deliver(&self, from: Station, to: Station, random: &mut Random) -> Vec<Duration> {
        if !self.connects(from, to) {
            return Vec::new();
        }
        let copies = if random.chance(self.loss / 2) { 2 } else { 1 };
        (0..copies)
            .filter_map(|_| self.hop(from, to, random))
            .collect()
    }

    /// 80 to 200 µs from wire to wire, or lost.
    fn hop(&self, from: Station, to: Station, random: &mut Random) -> Option<Duration> {
        if random.chance(self.loss) {
            return None;
        }
        let path = (from.min(to), from.max(to));
        let slow = self.slow.get(&path).copied().unwrap_or_default();
        let overtaken = if random.chance(2 * self.loss) {
            random.below(8_000)
        } else {
            0
        };
        Some(slow + Duration::from_micros(80 + random.below(120) + overtaken))
    }

    /// There and back, for a question that a kernel answers.
    pub(crate) fn round_trip(
        &self,
        from: Station,
        to: Station,
        random: &mut Random,
    ) -> Option<Duration> {
        if !self.connects(from, to) || !self.connects(to, from) {
            return None;
        }
        Some(self.hop(from, to, random)? + self.hop(to, from, random)?)
    }

    /// Whether all stations hear each other, but for loss.
    pub(crate) fn is_symmetric(&self) -> bool {
        self.mute.is_empty() && self.deaf.is_empty() && self.cut.is_empty() && !self.blackout
    }
}
