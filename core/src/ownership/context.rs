//! What every part is handed for one call: what it may look at, and where it says what has to follow.

use std::net::IpAddr;

use super::effects::Effects;
use super::interface::{Event, Transmit};
use super::members::{Member, Members};
use super::node::{NodeId, Random};
use super::settings::Settings;
use super::wire::{self, Header, Keys, Message};
use crate::Instant;

/// What the owner keeps for them.
#[derive(Debug, Clone)]
pub(super) struct Common {
    pub(super) me: NodeId,
    pub(super) settings: Settings,
    pub(super) keys: Keys,
    pub(super) members: Members,
    pub(super) random: Random,
    pub(super) effects: Effects,
}

impl Common {
    /// `own` is this member itself; `seed` decides which members are asked.
    pub(super) fn new(me: NodeId, settings: Settings, keys: Keys, seed: u64, own: Member) -> Self {
        Self {
            me,
            members: Members::new(me, own, &settings),
            settings,
            keys,
            random: Random::new(seed),
            effects: Effects::default(),
        }
    }

    pub(super) const fn ctx(&self, now: Instant) -> Ctx<'_> {
        Ctx {
            now,
            me: self.me,
            settings: &self.settings,
            members: &self.members,
        }
    }

    pub(super) const fn step(&mut self, now: Instant) -> Step<'_> {
        Step {
            now,
            me: self.me,
            settings: &self.settings,
            keys: &self.keys,
            members: &mut self.members,
            random: &mut self.random,
            effects: &mut self.effects,
        }
    }
}

/// For questions: nothing can be changed through it.
#[derive(Clone, Copy)]
pub(super) struct Ctx<'a> {
    pub(super) now: Instant,
    pub(super) me: NodeId,
    pub(super) settings: &'a Settings,
    pub(super) members: &'a Members,
}

/// For everything that may change the table, send, or have something follow in other parts.
pub(super) struct Step<'a> {
    pub(super) now: Instant,
    pub(super) me: NodeId,
    pub(super) settings: &'a Settings,
    pub(super) keys: &'a Keys,
    pub(super) members: &'a mut Members,
    random: &'a mut Random,
    effects: &'a mut Effects,
}

impl Step<'_> {
    pub(super) const fn ctx(&self) -> Ctx<'_> {
        Ctx {
            now: self.now,
            me: self.me,
            settings: self.settings,
            members: self.members,
        }
    }

    pub(super) fn send(&mut self, to: NodeId, message: &Message) {
        if let Some(member) = self.members.get(to) {
            let (address, echo) = (member.address, member.boot);
            self.send_to(address, echo, message);
        }
    }

    /// `echo` is the boot of the receiver that this answers.
    pub(super) fn send_to(&mut self, to: IpAddr, echo: u64, message: &Message) {
        let own = self.members.own();
        let header = Header {
            sender: self.me,
            counter: self.effects.count(),
            boot: own.boot,
            echo,
            inc: own.inc,
        };
        let bytes = wire::seal(self.keys, to, &header, message);
        self.effects.transmit(Transmit::Datagram { to, bytes });
    }

    pub(super) fn send_to_all(&mut self, message: &Message) {
        let live: Vec<NodeId> = self.members.live_others().collect();
        for id in live {
            self.send(id, message);
        }
    }

    /// Asks the kernel of this member's node for a sign of life.
    pub(super) fn probe(&mut self, id: NodeId) {
        if let Some(member) = self.members.get(id) {
            self.effects.transmit(Transmit::Probe(member.address));
        }
    }

    /// The same, where the member has another address.
    pub(super) fn probe_at(&mut self, address: IpAddr) {
        self.effects.transmit(Transmit::Probe(address));
    }

    pub(super) fn probe_gateway(&mut self) {
        self.effects.transmit(Transmit::ProbeGateway);
    }

    pub(super) fn tell(&mut self, event: Event) {
        self.effects.tell(event);
    }

    /// The own record has changed: it is published at the end of this step (C7).
    pub(super) const fn publish(&mut self) {
        self.effects.publish();
    }

    /// That member may not know the own record, which is sent to it at the end of this step: once, for
    /// however many addresses that is asked.
    pub(super) fn send_record_to(&mut self, id: NodeId) {
        self.effects.send_record_to(id);
    }

    /// Something has changed that decisions about these addresses rest on.
    pub(super) fn reconsider(&mut self, vips: impl IntoIterator<Item = IpAddr>) {
        self.effects.reconsider(vips);
    }

    pub(super) fn random(&mut self) -> u64 {
        self.random.next()
    }

    /// `count` of `choices`, at random.
    pub(super) fn pick(&mut self, count: usize, mut choices: Vec<NodeId>) -> Vec<NodeId> {
        (0..count)
            .map_while(|_| self.random.take(&mut choices))
            .collect()
    }
}
