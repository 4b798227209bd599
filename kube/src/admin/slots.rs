//! Who may have a connection. Nobody is turned away: where all places are taken, the newcomer gets that
//! of an idle connection of whoever has most. So many connections of one source take places from each
//! other only, and those of many sources last as long as it takes others to come.
//!
//! That has to be long enough for an honest client to send its request, so there are many places for
//! those that have only connected, and cost little; and few for those that have begun to speak.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

/// Connections of this node itself: its kubelet's probes, port-forwards.
const OF_THE_NODE: usize = 256;
/// Connections of all others together: Prometheus, and whoever else reaches the port.
const OF_STRANGERS: usize = 64;
/// Those of either kind that have begun to speak, and so have buffers.
const SPEAKING: usize = 32;
/// Those of one of them.
const OF_ONE_STRANGER: usize = 8;

/// Where a connection comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    /// An address of this node.
    Node(IpAddr),
    /// An IPv4 address, or the first 64 bits of an IPv6 one: a host has all addresses below them.
    Stranger(IpAddr),
}

impl Source {
    /// `peer` has connected to `here`, on a node that has these addresses as well.
    pub(super) fn of(peer: IpAddr, here: IpAddr, node: &[IpAddr]) -> Self {
        let (peer, here) = (peer.to_canonical(), here.to_canonical());
        if peer.is_loopback() || peer == here || node.contains(&peer) {
            return Self::Node(peer);
        }
        Self::Stranger(match peer {
            IpAddr::V4(_) => peer,
            IpAddr::V6(peer) => Ipv6Addr::from_bits(peer.to_bits() & !u128::from(u64::MAX)).into(),
        })
    }

    const fn is_node(self) -> bool {
        matches!(self, Self::Node(_))
    }
}

/// How far a connection has come; the first is the first to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// It has its answer, as far as the kernel could send it.
    Answered,
    /// Nothing has come yet.
    Silent,
    /// No whole request has come yet.
    Speaking,
    /// Its answer is made, or read.
    Asked,
}

#[derive(Debug)]
struct Guest<H> {
    source: Source,
    stage: Stage,
    handle: H,
}

/// The connections that there are, by the order in which they came.
#[derive(Debug)]
pub(super) struct Slots<H> {
    next: u64,
    guests: BTreeMap<u64, Guest<H>>,
}

impl<H> Default for Slots<H> {
    fn default() -> Self {
        Self {
            next: 0,
            guests: BTreeMap::new(),
        }
    }
}

impl<H> Slots<H> {
    /// Lets one in, and tells its number, and the handle of the one that has to go for it.
    pub(super) fn admit(&mut self, source: Source, handle: H) -> (u64, Option<H>) {
        let displaced = self.who_has_to_go(source);
        let displaced = displaced.and_then(|id| self.guests.remove(&id));
        let id = self.next;
        self.next += 1;
        let stage = Stage::Silent;
        let guest = Guest {
            source,
            stage,
            handle,
        };
        self.guests.insert(id, guest);
        (id, displaced.map(|guest| guest.handle))
    }

    /// Something has come. Tells the handle of the one that has to go for it.
    pub(super) fn speaks(&mut self, id: u64) -> Option<H> {
        let source = self.guests.get(&id)?.source;
        let of_its_kind = self.of_kind(source).collect::<Vec<_>>();
        let speaking = || {
            let others = of_its_kind.iter().filter(|(other, _)| **other != id);
            others.filter(|(_, guest)| guest.stage != Stage::Silent)
        };
        let is_full = speaking().count() >= SPEAKING;
        let victim = is_full
            .then(|| self.first_to_go(speaking().copied(), None))
            .flatten();
        self.set(id, Stage::Speaking);
        let guest = self.guests.remove(&victim?);
        guest.map(|guest| guest.handle)
    }

    /// A whole request has come.
    pub(super) fn asked(&mut self, id: u64) {
        self.set(id, Stage::Asked);
    }

    /// It has its answer.
    pub(super) fn answered(&mut self, id: u64) {
        self.set(id, Stage::Answered);
    }

    /// It is closed; nothing happens to one that had to go.
    pub(super) fn leave(&mut self, id: u64) {
        self.guests.remove(&id);
    }

    fn set(&mut self, id: u64, stage: Stage) {
        if let Some(guest) = self.guests.get_mut(&id) {
            guest.stage = stage;
        }
    }

    fn who_has_to_go(&self, newcomer: Source) -> Option<u64> {
        let (limit, of_one) = match newcomer {
            Source::Node(_) => (OF_THE_NODE, OF_THE_NODE),
            Source::Stranger(_) => (OF_STRANGERS, OF_ONE_STRANGER),
        };
        let of_its_own = || {
            let guests = self.of_kind(newcomer);
            guests.filter(|(_, guest)| guest.source == newcomer)
        };
        if of_its_own().count() >= of_one {
            return self.first_to_go(of_its_own(), Some(newcomer));
        }
        let is_full = self.of_kind(newcomer).count() >= limit;
        is_full
            .then(|| self.first_to_go(self.of_kind(newcomer), Some(newcomer)))
            .flatten()
    }

    /// Those of the node, or those of strangers.
    fn of_kind(&self, source: Source) -> impl Iterator<Item = (&u64, &Guest<H>)> {
        let guests = self.guests.iter();
        guests.filter(move |(_, guest)| guest.source.is_node() == source.is_node())
    }

    /// Of whoever has most connections, together with the one that is about to come, the one that
    /// deserves it least, and of those the oldest.
    fn first_to_go<'a>(
        &self,
        guests: impl Iterator<Item = (&'a u64, &'a Guest<H>)>,
        newcomer: Option<Source>,
    ) -> Option<u64>
    where
        H: 'a,
    {
        let mut counts: BTreeMap<Source, usize> = BTreeMap::new();
        let present = self.guests.values().map(|guest| guest.source);
        for source in present.chain(newcomer) {
            *counts.entry(source).or_default() += 1;
        }
        let rank = |(id, guest): &(&u64, &Guest<H>)| {
            let count = counts.get(&guest.source).copied();
            (std::cmp::Reverse(count), guest.stage, **id)
        };
        guests.min_by_key(rank).map(|(id, _)| *id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stranger(address: &str) -> Source {
        Source::of(
            address.parse().unwrap(),
            "192.0.2.1".parse().unwrap(),
            &["192.0.2.7".parse().unwrap()],
        )
    }

    /// Admits it under its own name and tells whose place it took.
    fn admit(slots: &mut Slots<String>, address: &str) -> (u64, Option<String>) {
        slots.admit(stranger(address), address.to_owned())
    }

    #[test]
    fn an_address_of_the_node_is_no_stranger_and_a_network_of_ipv6_is_one() {
        for (address, is_node) in [
            ("127.0.0.1", true),
            ("127.9.9.9", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("192.0.2.1", true),
            ("::ffff:192.0.2.1", true),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("2001:db8::1", false),
        ] {
            assert_eq!(stranger(address).is_node(), is_node, "{address}");
        }
        assert_eq!(stranger("2001:db8::1"), stranger("2001:db8::ffff:0:0:9"));
        assert_ne!(stranger("2001:db8::1"), stranger("2001:db8:0:1::1"));
        assert_ne!(stranger("198.51.100.1"), stranger("198.51.100.2"));
        assert_eq!(stranger("198.51.100.1"), stranger("::ffff:198.51.100.1"));
    }

    #[test]
    fn a_source_with_many_connections_takes_places_from_itself_alone() {
        let mut slots = Slots::default();
        admit(&mut slots, "198.51.100.1");
        for _ in 0..OF_ONE_STRANGER {
            assert_eq!(admit(&mut slots, "203.0.113.9").1, None);
        }
        for _ in 0..2_000 {
            let (_, displaced) = admit(&mut slots, "203.0.113.9");
            assert_eq!(displaced.as_deref(), Some("203.0.113.9"));
        }
        assert_eq!(slots.guests.len(), 1 + OF_ONE_STRANGER);
    }

    #[test]
    fn addresses_below_one_network_of_ipv6_count_as_one_source() {
        let mut slots = Slots::default();
        for host in 0..2_000 {
            admit(&mut slots, &format!("2001:db8::{host:x}"));
        }
        assert_eq!(slots.guests.len(), OF_ONE_STRANGER);
    }

    #[test]
    fn a_newcomer_takes_the_place_of_the_greediest() {
        let mut slots = Slots::default();
        for source in 0..OF_STRANGERS - 3 {
            admit(&mut slots, &format!("198.51.100.{source}"));
        }
        for _ in 0..3 {
            admit(&mut slots, "203.0.113.9");
        }
        let displaced: Vec<_> = (100..103)
            .map(|source| admit(&mut slots, &format!("198.51.100.{source}")).1)
            .collect();
        assert_eq!(
            displaced,
            [
                Some("203.0.113.9".to_owned()),
                Some("203.0.113.9".to_owned()),
                // Now all have one, and the oldest goes.
                Some("198.51.100.0".to_owned()),
            ]
        );
    }

    #[test]
    fn who_has_asked_stays_longer_than_who_is_silent_and_who_has_its_answer_goes_first() {
        let mut slots = Slots::default();
        let ids: Vec<u64> = (0..OF_STRANGERS)
            .map(|source| admit(&mut slots, &format!("198.51.100.{source}")).0)
            .collect();
        slots.asked(ids[0]);
        slots.asked(ids[9]);
        slots.answered(ids[9]);
        let mut displaced = || admit(&mut slots, "203.0.113.9").1.unwrap();
        assert_eq!(displaced(), "198.51.100.9");
        // It has two now, more than anybody else would.
        assert_eq!(displaced(), "203.0.113.9");
        assert_eq!(admit(&mut slots, "203.0.113.1").1.unwrap(), "198.51.100.1");
    }

    #[test]
    fn of_those_that_speak_there_are_few_and_the_greediest_go_first() {
        let mut slots = Slots::default();
        for source in 0..SPEAKING - 2 {
            let (id, _) = admit(&mut slots, &format!("198.51.100.{source}"));
            assert_eq!(slots.speaks(id), None);
        }
        let silent = admit(&mut slots, "203.0.113.8").0;
        for _ in 0..2 {
            let (id, _) = admit(&mut slots, "203.0.113.9");
            assert_eq!(slots.speaks(id), None);
        }
        let mut displaced = |address| {
            let (id, displaced) = admit(&mut slots, address);
            assert_eq!(displaced, None);
            slots.speaks(id).unwrap()
        };
        assert_eq!(displaced("203.0.113.1"), "203.0.113.9");
        // Now all have one, and the oldest that speaks goes, not the one that is silent.
        assert_eq!(displaced("203.0.113.2"), "198.51.100.0");
        assert!(slots.guests.contains_key(&silent));
        // Those of the node have places of their own.
        let (id, _) = admit(&mut slots, "127.0.0.1");
        assert_eq!(slots.speaks(id), None);
        assert_eq!(slots.speaks(u64::MAX), None, "it had to go");
    }

    #[test]
    fn strangers_take_no_place_of_the_node_nor_one_address_of_it_that_of_another() {
        let mut slots = Slots::default();
        let kubelet = admit(&mut slots, "192.0.2.7").0;
        for source in 0..2_000 {
            let address = format!("203.0.{}.{}", source / 250, source % 250);
            admit(&mut slots, &address);
            admit(&mut slots, "127.0.0.1");
        }
        assert_eq!(slots.guests.len(), OF_STRANGERS + OF_THE_NODE);
        assert!(slots.guests.contains_key(&kubelet));
        slots.leave(kubelet);
        slots.leave(kubelet);
        assert_eq!(slots.guests.len(), OF_STRANGERS + OF_THE_NODE - 1);
    }
}
