//! Who is let in: what a datagram has to pass before anything follows from it, the cheap questions
//! first. Nobody who does not pass leaves a trace, or is told anything.
//!
//! - G1 It names a member that the Nodes list knows.
//! - G2 With a key its signature says that it speaks for that member. Where it comes from only decides
//!   how soon it is looked at: what comes from no node's address must not cost more than a small part
//!   of a processor.
//! - G3 Without a signature, while there is no key or not everybody has it, it comes from a node's
//!   address.
//! - G4 Nothing in it lies beyond what can be true (`numbers`).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::context::{Ctx, Step};
use super::moved::Moved;
use super::node::NodeId;
use super::numbers::Horizon;
use super::settings::{ANSWER, PROVEN};
use super::wire::{self, Header, Keys, Message, Sealed, Signature};
use crate::address::Family;
use crate::{Instant, Reason};

/// Signatures looked at in one second that come from no node's address: each takes some microseconds.
const STRANGERS: u32 = 2_000;
/// And at once: what a few nodes behind address translation say in their first moment.
const STRANGERS_AT_ONCE: u32 = 500;
/// Members behind address translation, each with an address that it spoke from: as many as a cluster
/// has nodes.
const MOST_PROVEN: usize = 4_096;

#[derive(Debug, Clone)]
pub(super) struct Gate {
    /// The addresses of the Nodes, all of them.
    nodes: BTreeSet<IpAddr>,
    /// Other addresses from which members spoke, and when last.
    proven: BTreeMap<IpAddr, Instant>,
    answered_at: BTreeMap<IpAddr, Instant>,
    /// How many datagrams of strangers may yet be looked at, and as of when.
    allowance: u32,
    as_of: Instant,
}

impl Gate {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            nodes: BTreeSet::new(),
            proven: BTreeMap::new(),
            answered_at: BTreeMap::new(),
            allowance: STRANGERS_AT_ONCE,
            as_of: now,
        }
    }

    fn is_node(&self, from: IpAddr) -> bool {
        self.nodes.contains(&from)
    }

    fn is_known(&self, from: IpAddr, now: Instant) -> bool {
        let proven = self.proven.get(&from);
        self.is_node(from) || proven.is_some_and(|&at| now < at + PROVEN)
    }

    /// G2: whether one more of a stranger may be looked at.
    fn admits_stranger(&mut self, now: Instant) -> bool {
        let earned = now.saturating_since(self.as_of).as_micros() * u128::from(STRANGERS);
        let earned = u32::try_from(earned / 1_000_000).unwrap_or(u32::MAX);
        if earned > 0 {
            self.allowance = self.allowance.saturating_add(earned).min(STRANGERS_AT_ONCE);
            self.as_of = now;
        }
        let is_admitted = self.allowance > 0;
        self.allowance = self.allowance.saturating_sub(1);
        is_admitted
    }

    fn note_proven(&mut self, from: IpAddr, now: Instant) {
        if self.proven.len() >= MOST_PROVEN {
            self.proven.retain(|_, at| now < *at + PROVEN);
        }
        if self.proven.len() < MOST_PROVEN || self.proven.contains_key(&from) {
            self.proven.insert(from, now);
        }
    }

    /// Whether to answer a datagram that cannot count.
    fn may_answer(&mut self, from: IpAddr, now: Instant) -> bool {
        self.answered_at.retain(|_, at| now < *at + ANSWER);
        let is_due = !self.answered_at.contains_key(&from);
        if is_due {
            self.answered_at.insert(from, now);
        }
        is_due
    }

    pub(super) fn set_nodes(&mut self, nodes: &BTreeMap<NodeId, Vec<IpAddr>>) {
        self.nodes = nodes.values().flatten().copied().collect();
    }

    /// Whether no member is known there.
    pub(super) fn is_stranger(&self, from: IpAddr, now: Instant) -> bool {
        !self.is_known(from, now)
    }

    /// Where members are known.
    pub(super) fn known_sources(&self, now: Instant) -> BTreeSet<IpAddr> {
        let proven = self.proven.iter().filter(|(_, at)| now < **at + PROVEN);
        let proven = proven.map(|(address, _)| address);
        self.nodes.iter().chain(proven).copied().collect()
    }

    pub(super) fn let_in(
        &mut self,
        from: IpAddr,
        bytes: &[u8],
        here: &Moved,
        horizon: Horizon,
        step: &Step<'_>,
    ) -> Result<(Header, Message, Signature), Reason> {
        let is_node = self.is_node(from);
        let is_locked = step.keys.is_locked();
        if !is_locked && !is_node {
            return Err(Reason::UnknownPeer);
        }
        let sealed = wire::read(bytes)?;
        let header = sealed.header;
        if header.sender == step.me {
            // Also another speaker under this name: the others tell by STALE (L11).
            return Err(Reason::OwnFrame);
        }
        let member = step.members.get(header.sender);
        let Some(member) = member.filter(|member| member.may_speak()) else {
            return Err(Reason::UnknownPeer);
        };
        let must_sign = is_locked && (!is_node || member.signs || !step.keys.takes_unsigned());
        if must_sign && !sealed.has_tag() {
            return Err(Reason::BadSignature);
        }
        if !self.is_known(from, step.now) && !self.admits_stranger(step.now) {
            return Err(Reason::TooManyStrangers);
        }
        let signature = verify(&sealed, from, here, step.keys, step.ctx())?;
        let message = sealed.message()?;
        if !horizon.admits_message(&header, &message, step.now) {
            return Err(Reason::Implausible);
        }
        Ok((header, message, signature))
    }

    /// Its sender is who it says, and speaks now.
    pub(super) fn has_proven(&mut self, sender: NodeId, from: IpAddr, step: &mut Step<'_>) {
        step.members.note_signed(sender);
        if !self.is_node(from) {
            self.note_proven(from, step.now);
        }
    }

    /// Tells a member that what it said cannot count: where it came from, since two speakers may
    /// have one name (L11). While somebody is believed without a signature, nobody but a node is told
    /// the boot that makes a datagram fresh: whoever repeats a member's old datagram, signature and
    /// all, would learn it.
    pub(super) fn answer(
        &mut self,
        from: IpAddr,
        header: &Header,
        answer: &Message,
        step: &mut Step<'_>,
    ) {
        let is_safe = !step.keys.takes_unsigned() || self.is_node(from);
        if is_safe && self.may_answer(from, step.now) {
            step.send_to(from, header.boot, answer);
        }
    }
}

/// It was signed for one of the addresses that this node has, or has had until now: the sender may
/// not have heard yet.
fn verify(
    sealed: &Sealed<'_>,
    from: IpAddr,
    here: &Moved,
    keys: &Keys,
    ctx: Ctx<'_>,
) -> Result<Signature, Reason> {
    let mut here = here.own_addresses(ctx.members);
    here.sort_by_key(|own| Family::of(*own) != Family::of(from));
    let mut answers = here.into_iter().map(|own| sealed.verify(keys, own));
    let first = answers.next().unwrap_or(Err(Reason::BadSignature));
    first.or_else(|error| answers.find(Result::is_ok).unwrap_or(Err(error)))
}

#[cfg(test)]
mod tests;
