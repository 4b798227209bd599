//! What a driver hands in, and what a datagram brings: each goes to the parts that it concerns.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::beats::beat;
use super::blocked::Contest;
use super::join::Learned;
use super::members::Merged;
use super::model::{Death, Entry};
use super::moved::{Follows, with_believed_addresses};
use super::subnets::is_on_anothers_subnet;
use super::sync::{compare_with, handle_sync, send_own_record};
use super::wire::{Header, Message, Signature};
use super::{KernelAnswer, Keys, Leaving, NodeId, Ownership, Wanted, liveness, own};
use crate::wire::MacAddr;
use crate::{Instant, Reason};

impl Ownership {
    /// The Nodes list: where speakers may be, each with its Node's addresses in their order. Joining
    /// begins with the first one (J1).
    pub fn set_nodes(&mut self, nodes: &BTreeMap<NodeId, Vec<IpAddr>>, now: Instant) {
        let step = &mut self.common.step(now);
        step.members.set_listed(nodes, now);
        self.gate.set_nodes(nodes);
        let follows = self.moved.note_whether_heard(step);
        if !self.watching.is_isolated() {
            self.join.begin(step);
        }
        self.follow_moved(follows, now);
    }

    /// The keys in force.
    pub fn set_keys(&mut self, keys: Keys, now: Instant) {
        self.common.keys = keys;
        let follows = self.moved.note_whether_heard(&mut self.common.step(now));
        self.follow_moved(follows, now);
    }

    /// Where this node is reached: at most one address of each family, first the one that others are
    /// told, whose hardware address `mac` is. Without any it stays what it was: a node that has lost its
    /// address is nowhere else.
    pub fn set_station(&mut self, addresses: &[IpAddr], mac: MacAddr, now: Instant) {
        let step = &mut self.common.step(now);
        let follows = self.moved.set_station(addresses, mac, step);
        self.follow_moved(follows, now);
    }

    /// The networks of this node, besides that of its own address, that wanted addresses are in, and
    /// its address in each.
    pub fn set_further_links(&mut self, links: &BTreeMap<IpNetwork, IpAddr>) {
        let step = &mut self.common.step(self.handled_at);
        self.links.set_further(links, step);
    }

    /// S1: the subnets of this node's links, each with its address there, those of wanted addresses
    /// first: only a few are told. Unless they `are_all`, nobody concludes from them what it lacks.
    pub fn set_subnets(&mut self, subnets: Vec<(IpNetwork, IpAddr)>, are_all: bool) {
        let step = &mut self.common.step(self.handled_at);
        self.links.set_subnets(subnets, are_all, step);
    }

    /// The addresses that the cluster wants announced, with this node's own eligibility.
    pub fn set_wanted(&mut self, wanted: BTreeMap<IpAddr, Wanted>) {
        let before = self.demand.replace(wanted);
        let (demand, joined) = (&self.demand, self.join.is_joined());
        let step = &mut self.common.step(self.handled_at);
        self.claims.follow_demand(&before, demand, joined, step);
    }

    /// The driver has found that no other host has this address, and announces it.
    pub fn set_announced(&mut self, vip: IpAddr) {
        let step = &mut self.common.step(self.handled_at);
        self.claims.set_announced(vip, step);
    }

    /// Whether this node's forwarding is in doubt. It keeps what it has, since a doubt resets no
    /// connections, and all others go first with what is new.
    pub fn set_doubtful(&mut self, doubtful: bool) {
        let step = &mut self.common.step(self.handled_at);
        self.presence.set_doubtful(doubtful, step);
    }

    /// SIGTERM, and what it means. The process may exit at [`Event::MayExit`].
    pub fn set_leaving(&mut self, why: Leaving, now: Instant) {
        let step = &mut self.common.step(now);
        if self.presence.set_leaving(why, step) {
            self.claims.reconsider_all(&self.demand, step);
        }
    }

    /// A datagram on port 7946, from anybody. `Err` says why it was not listened to: to be
    /// counted, not logged, since anybody can send them.
    pub fn handle_datagram(
        &mut self,
        from: IpAddr,
        bytes: &[u8],
        now: Instant,
    ) -> Result<(), Reason> {
        if self.presence.has_left() {
            return Err(Reason::Leaving);
        }
        let step = &self.common.step(now);
        let (header, message, signature) =
            self.gate
                .let_in(from, bytes, &self.moved, self.horizon, step)?;
        self.received(now);
        let joined = self.join.is_joined();
        let step = &mut self.common.step(now);
        if let Err(stale) = liveness::check_freshness(&header, joined, step) {
            if let Some(answer) = &stale.answer {
                self.gate.answer(from, &header, answer, step);
            }
            return Err(stale.reason);
        }
        if signature == Signature::Valid {
            self.gate.has_proven(header.sender, from, step);
        }
        self.receive(from, &header, message, signature, now)
    }

    /// A frame of any kind from anybody else: this node can hear (L9).
    pub fn handle_any_frame(&mut self, now: Instant) {
        self.received(now);
    }

    /// The gateway's kernel answered a [`Transmit::ProbeGateway`](super::Transmit::ProbeGateway).
    pub fn handle_gateway_answer(&mut self, now: Instant) {
        self.claims.note_gateway(now);
        self.received(now);
    }

    /// A node's kernel answered a [`Transmit::Probe`](super::Transmit::Probe) or a datagram.
    pub fn handle_kernel_answer(&mut self, from: IpAddr, answer: KernelAnswer, now: Instant) {
        self.received(now);
        let step = &mut self.common.step(now);
        for network in self.links.hear(from, now) {
            let owned = self.claims.owned();
            step.reconsider(owned.filter(|vip| network.contains(*vip)));
        }
        if let Some(id) = step.members.by_address(from)
            && step.members.proves_kernel(id, answer, now)
        {
            self.findings.heard(id);
            self.watching.kernel_answered(id, answer, step);
            self.witness.kernel_answered(id, step);
        }
    }

    /// Another station announced a wanted address. To be called while [`Self::needs_the_wire`].
    pub fn handle_announcement(&mut self, vip: IpAddr, from: MacAddr, now: Instant) {
        self.received(now);
        let asking = self.claims.get(vip).map(|claim| claim.asking);
        let step = &mut self.common.step(now);
        let contest = self
            .blocked
            .handle_announcement(vip, from, asking, &self.demand, step);
        self.settle(vip, contest, now);
    }

    /// Another station asks whether anybody has a wanted address. To be called as
    /// [`Self::handle_announcement`].
    pub fn handle_probe(&mut self, vip: IpAddr, from: MacAddr, now: Instant) {
        self.received(now);
        let asking = self.claims.get(vip).map(|claim| claim.asking);
        let step = &mut self.common.step(now);
        let contest = self
            .blocked
            .handle_probe(vip, from, asking, &self.demand, step);
        self.settle(vip, contest, now);
    }

    fn settle(&mut self, vip: IpAddr, contest: Contest, now: Instant) {
        match contest {
            Contest::Nothing => {}
            Contest::Insist => self.reminders.add([vip]),
            Contest::FallSilent => {
                let step = &mut self.common.step(now);
                self.claims.withdraw(vip, Reason::PeerAnnounces, step);
            }
        }
    }

    /// Whether announcements have to be listened to.
    #[must_use]
    pub fn needs_the_wire(&self) -> bool {
        !self.blocked.is_empty()
    }

    /// Whether no member is known there.
    #[must_use]
    pub fn is_stranger(&self, from: IpAddr, now: Instant) -> bool {
        self.gate.is_stranger(from, now)
    }

    /// Where members are known: what a flood must not keep from being heard.
    #[must_use]
    pub fn known_sources(&self, now: Instant) -> BTreeSet<IpAddr> {
        self.gate.known_sources(now)
    }

    /// The addresses of other members on further links.
    pub fn further_addresses(&self) -> impl Iterator<Item = IpAddr> {
        let (me, all) = (self.common.me, self.common.members.iter());
        let others = all.filter(move |(id, _)| *id != me);
        others.flat_map(|(_, member)| member.record.links.iter().map(|link| link.address))
    }

    /// Whether another node is on the subnet of `vip`, as far as is known: then it is announced on that
    /// subnet alone.
    #[must_use]
    pub fn is_on_anothers_subnet(&self, vip: IpAddr) -> bool {
        is_on_anothers_subnet(vip, &self.common.members)
    }

    /// This node can hear. If it could not before, it has to learn what it missed (L9).
    fn received(&mut self, now: Instant) {
        if self.watching.received(now) {
            let step = &mut self.common.step(now);
            self.join.again(step);
            self.reminders.soon(step.ctx());
        }
    }

    fn receive(
        &mut self,
        from: IpAddr,
        header: &Header,
        message: Message,
        signature: Signature,
        now: Instant,
    ) -> Result<(), Reason> {
        let sender = header.sender;
        let step = &mut self.common.step(now);
        let is_new = liveness::meet(header, step);
        let message = with_believed_addresses(message, signature, step.members);
        if signature == Signature::Valid || step.members.may_be_at(sender, from) {
            step.members.note_source(sender, from, now);
        }
        self.findings.heard(sender);
        liveness::tell_if_gone(from, header, &message, step)?;
        liveness::hear(sender, step);
        let is_scheduled = matches!(message, Message::Beat { answer: false, .. });
        self.watching.heard(sender, is_scheduled, step.ctx());
        self.witness.heard(sender, step);
        let follows = self.moved.learn_what_was_missed();
        self.follow_moved(follows, now);
        if is_new {
            send_own_record(sender, &mut self.common.step(now));
        }
        self.dispatch(sender, message, now);
        Ok(())
    }

    fn dispatch(&mut self, from: NodeId, message: Message, now: Instant) {
        let me = self.common.me;
        let own_joined = self.join.is_joined();
        let step = &mut self.common.step(now);
        match message {
            Message::Beat {
                digest,
                deaf,
                joined,
                ..
            } => {
                self.watching.note_deaf(from, deaf, own_joined, step);
                self.compare(from, digest, joined, now);
            }
            Message::Ping {
                digest,
                subscribe,
                joined,
                gone,
            } => {
                self.answer_ping(from, subscribe, gone, now);
                self.compare_casually(from, digest, joined, now);
            }
            Message::Ask { target, nonce } => self.witness.handle_ask(from, target, nonce, step),
            Message::Tell {
                target,
                nonce,
                udp,
                kernel,
            } => {
                self.watching.handle_tell(from, target, nonce, udp, kernel);
            }
            Message::Dead(death) if death.member == me => self.handle_own_death(from, death, now),
            Message::Dead(death) => {
                step.members.bury(&death, now);
                self.findings.confirm(from, &death, &self.witness, step);
            }
            Message::Stale { boot } => self.contact.outbid(boot, step),
            Message::Records(entries) => {
                for entry in entries {
                    if self.horizon.admits_entry(&entry, now) {
                        self.handle_entry(&entry, now);
                    }
                }
            }
            Message::Sync {
                answer,
                joined,
                buckets,
            } => {
                if handle_sync(from, answer, &buckets, own_joined, step) {
                    self.learn(from, true, joined, now);
                }
            }
            Message::Give(gives) => self.handover.handle_give(from, &gives),
            Message::Offer(offers) => self.handover.handle_offer(from, &offers),
            Message::Decline(vips) => self.handover.handle_decline(from, &vips, step.ctx()),
            Message::Refuse(vips) => self.handover.handle_refuse(from, &vips, now),
            Message::Yield(vips) => self.reminders.add(vips),
        }
    }

    fn answer_ping(&mut self, from: NodeId, subscribe: bool, gone: Option<u32>, now: Instant) {
        let condition = self.condition();
        let step = &mut self.common.step(now);
        self.beats.handle_ping(from, subscribe, step.ctx());
        self.contact.handle_ping(gone, &mut self.reminders, step);
        step.send(from, &beat(condition, true, step.ctx()));
    }

    /// The digest in a beat.
    fn compare(&mut self, from: NodeId, digest: u64, joined: bool, now: Instant) {
        let is_equal = digest == self.common.members.index().digest();
        if self.learn(from, is_equal, joined, now) {
            return;
        }
        let step = &mut self.common.step(now);
        if self.watching.has_to_compare(from, is_equal, step.ctx()) {
            compare_with(from, self.join.is_joined(), step);
        }
    }

    /// The digest in a PING. One in four that differ is enough: it comes again.
    fn compare_casually(&mut self, from: NodeId, digest: u64, joined: bool, now: Instant) {
        let is_equal = digest == self.common.members.index().digest();
        if self.learn(from, is_equal, joined, now) || is_equal {
            return;
        }
        let step = &mut self.common.step(now);
        if step.random().is_multiple_of(4) {
            compare_with(from, self.join.is_joined(), step);
        }
    }

    /// Whether this member joins, and has learned from it.
    fn learn(&mut self, from: NodeId, is_equal: bool, joined: bool, now: Instant) -> bool {
        let step = &mut self.common.step(now);
        let learned = self.join.learn(from, is_equal, joined, step);
        if learned == Learned::Everything {
            self.complete_join(now);
        }
        learned != Learned::NotJoining
    }

    fn handle_own_death(&mut self, from: NodeId, death: Death, now: Instant) {
        let step = &mut self.common.step(now);
        if own::handle_death(death, &mut self.reminders, step) {
            compare_with(from, self.join.is_joined(), step);
        }
    }

    fn handle_entry(&mut self, entry: &Entry, now: Instant) {
        let joined = self.join.is_joined();
        let step = &mut self.common.step(now);
        if entry.member == step.me {
            self.handle_own_entry(entry, now);
            return;
        }
        match step.members.merge(entry, now) {
            Merged::Known => {}
            Merged::Changed if joined => self.sync.spread_repair(step.ctx()),
            Merged::Changed => {}
            Merged::Doubt => self.watching.doubt(entry.member, entry.inc, joined, step),
        }
    }

    /// What others remember of this name.
    fn handle_own_entry(&mut self, entry: &Entry, now: Instant) {
        let step = &mut self.common.step(now);
        if entry.former {
            step.members.merge(entry, now);
        } else if entry.boot > step.members.own().boot {
            self.contact.outbid(entry.boot, step);
        } else if entry.boot == step.members.own().boot {
            own::handle_entry(entry, &mut self.reminders, step);
        }
    }

    /// What follows where others hear this member no more, or again (A7).
    pub(super) fn follow_moved(&mut self, follows: Follows, now: Instant) {
        let step = &mut self.common.step(now);
        match follows {
            Follows::Nothing => return,
            Follows::Reconsider => {}
            Follows::Learn => self.join.again(step),
        }
        self.claims.reconsider_all(&self.demand, step);
    }
}
