//! Which speakers answer, told by the beats that they send to each other.
//!
//! Every speaker sends a beat to every other node each 50 ms; who was heard lately is alive. A
//! datagram counts only if it comes from an address of the Node that it names.

mod beat;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

pub use beat::{Beat, Message};

use crate::wire::MacAddr;
use crate::{Instant, Reason};

/// Times of the beats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Time between two beats.
    pub beat: Duration,
    /// A peer that was not heard for longer is not alive; also how long a speaker that has just
    /// started listens before it takes part.
    pub silence: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        // Eight beats: no loss that a network is usable with, and no scheduling delay of a busy
        // node, looks like a death.
        Self {
            beat: Duration::from_millis(50),
            silence: Duration::from_millis(400),
        }
    }
}

/// The last that was heard of another speaker.
#[derive(Debug)]
struct Peer {
    boot: u64,
    sequence: u64,
    heard: Instant,
    macs: Vec<MacAddr>,
}

/// The state machine: see the module.
#[derive(Debug)]
pub struct Liveness {
    settings: Settings,
    own: Beat,
    nodes: BTreeMap<String, Vec<IpAddr>>,
    peers: BTreeMap<String, Peer>,
    /// Those of `peers` that were heard lately and did not say goodbye.
    answering: BTreeSet<String>,
    /// When to take part: set as soon as the nodes are known, since nobody is heard before.
    listening_until: Option<Instant>,
    listening: bool,
    next_beat: Instant,
    outbox: VecDeque<(IpAddr, Vec<u8>)>,
}

impl Liveness {
    /// The speaker of the node `me`, started as `boot` (any number that differs at each start).
    #[must_use]
    pub fn new(me: String, boot: u64, settings: Settings, now: Instant) -> Self {
        let own = Beat {
            message: Message::Beat,
            boot,
            sequence: 0,
            name: me,
            macs: Vec::new(),
        };
        Self {
            settings,
            own,
            nodes: BTreeMap::new(),
            peers: BTreeMap::new(),
            answering: BTreeSet::new(),
            listening_until: None,
            listening: true,
            next_beat: now,
            outbox: VecDeque::new(),
        }
    }

    /// Every Node of the cluster with its addresses; beats go to the first one.
    pub fn set_nodes(&mut self, nodes: BTreeMap<String, Vec<IpAddr>>, now: Instant) {
        self.listening_until
            .get_or_insert(now + self.settings.silence);
        self.peers.retain(|name, _| nodes.contains_key(name));
        self.answering.retain(|name| nodes.contains_key(name));
        self.nodes = nodes;
    }

    /// The hardware addresses of this node's links, which the others must not answer.
    pub fn set_macs(&mut self, macs: Vec<MacAddr>) {
        self.own.macs = macs;
    }

    /// A datagram came in from `source`.
    pub fn handle_datagram(
        &mut self,
        source: IpAddr,
        datagram: &[u8],
        now: Instant,
    ) -> Result<(), Reason> {
        let beat = Beat::parse(datagram).ok_or(Reason::NotABeat)?;
        let known = self
            .nodes
            .get(&beat.name)
            .is_some_and(|node| node.contains(&source));
        if !known || beat.name == self.own.name {
            return Err(Reason::UnknownPeer);
        }
        let newest = self.peers.get(&beat.name);
        if newest.is_some_and(|peer| peer.boot == beat.boot && peer.sequence >= beat.sequence) {
            return Err(Reason::Overtaken);
        }
        let peer = Peer {
            boot: beat.boot,
            sequence: beat.sequence,
            heard: now,
            macs: beat.macs,
        };
        match beat.message {
            Message::Beat => self.answering.insert(beat.name.clone()),
            Message::Goodbye => self.answering.remove(&beat.name),
        };
        self.peers.insert(beat.name, peer);
        Ok(())
    }

    /// Time has passed: sends the beat that is due and drops who has been silent for too long.
    /// Datagrams that wait in the socket are to be handled first.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.listening_until.is_some_and(|until| until <= now) {
            self.listening = false;
        }
        self.forgive_own_delay(now);
        let Self {
            peers, settings, ..
        } = self;
        self.answering.retain(|name| {
            peers
                .get(name)
                .is_some_and(|peer| now < peer.heard + settings.silence)
        });
        if self.next_beat <= now {
            self.next_beat = now + self.settings.beat;
            self.send(Message::Beat);
        }
    }

    /// While this process had no processor it could hear nobody: that time is no silence of the
    /// others, who may have been starved by the same load.
    fn forgive_own_delay(&mut self, now: Instant) {
        let late = now.saturating_since(self.next_beat);
        if late > self.settings.beat {
            for peer in self.peers.values_mut() {
                peer.heard = now.min(peer.heard + late);
            }
        }
    }

    /// Says goodbye: the others need not wait for silence.
    pub fn leave(&mut self) {
        self.send(Message::Goodbye);
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<(IpAddr, Vec<u8>)> {
        self.outbox.pop_front()
    }

    /// When to call [`Self::handle_timeout`] next, and for what.
    #[must_use]
    pub fn poll_timeout(&self) -> (Instant, &'static str) {
        let listened = self.listening_until.filter(|_| self.listening);
        let answering = self
            .answering
            .iter()
            .filter_map(|name| self.peers.get(name));
        answering
            .map(|peer| (peer.heard + self.settings.silence, "silence"))
            .chain(listened.map(|until| (until, "listened")))
            .fold((self.next_beat, "beat"), Ord::min)
    }

    /// The nodes whose speaker answers, this one included; `None` while it still listens: it does
    /// not know who owns what yet, and must not seize anything.
    #[must_use]
    pub fn alive(&self) -> Option<BTreeSet<String>> {
        let own = self.own.name.clone();
        (!self.listening).then(|| self.answering.iter().cloned().chain([own]).collect())
    }

    /// The hardware addresses of the other nodes, as their speakers told them, with their names.
    #[must_use]
    pub fn macs(&self) -> BTreeMap<MacAddr, String> {
        self.peers
            .iter()
            .flat_map(|(name, peer)| peer.macs.iter().map(|mac| (*mac, name.clone())))
            .collect()
    }

    fn send(&mut self, message: Message) {
        self.own.sequence += 1;
        self.own.message = message;
        let datagram = self.own.emit();
        let others = self
            .nodes
            .iter()
            .filter(|(name, _)| **name != self.own.name);
        let addresses = others.filter_map(|(_, addresses)| addresses.first());
        self.outbox
            .extend(addresses.map(|address| (*address, datagram.clone())));
    }
}

#[cfg(test)]
mod tests;
