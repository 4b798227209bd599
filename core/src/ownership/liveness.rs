//! L6, L7, L11: what a datagram says of its sender, and how verdicts spread.

use std::net::IpAddr;

use super::members::Merged;
use super::model::{Death, Entry, Life, Record};
use super::numbers::LAST_INC;
use super::wire::{Header, Message, Signature};
use super::{Event, NodeId, Ownership, Transmit, Verdict};
use crate::{Instant, Reason};

/// So many members are doubted at once: the others are seen by their own watchers.
const DOUBTED: usize = 32;

impl Ownership {
    pub(super) fn receive(
        &mut self,
        from: IpAddr,
        header: &Header,
        message: Message,
        signature: Signature,
        now: Instant,
    ) -> Result<(), Reason> {
        let sender = header.sender;
        let is_new = self.meet(header, now);
        let message = self.with_believed_addresses(message, signature);
        if signature == Signature::Valid || self.members.may_be_at(sender, from) {
            self.members.note_source(sender, from, now);
        }
        self.tell_if_gone(from, header, &message, now)?;
        self.hear(sender, &message, now);
        if is_new {
            self.send_own_record(sender);
        }
        self.dispatch(sender, message, now);
        Ok(())
    }

    /// Only what was said to this boot, by the sender's latest boot, for the first time, counts.
    pub(super) fn check_freshness(
        &mut self,
        from: IpAddr,
        header: &Header,
        now: Instant,
    ) -> Result<(), Reason> {
        let known_boot = self
            .members
            .get(header.sender)
            .map_or(0, |member| member.boot);
        let (reason, answer) = if header.echo != self.boot() {
            // The sender does not know this boot yet, or this was said to the one before.
            (Reason::NotFresh, self.ping(false, None))
        } else if header.boot < known_boot {
            (Reason::StaleBoot, Message::Stale { boot: known_boot })
        } else {
            let member = self.members.get_mut(header.sender);
            let is_new = member.is_none_or(|member| member.admit(header.boot, header.counter));
            return if is_new {
                Ok(())
            } else {
                Err(Reason::Replayed)
            };
        };
        self.answer(from, header, &answer, now);
        Err(reason)
    }

    /// Notes the sender's boot and incarnation. Whether it is new here: a first contact or restart.
    fn meet(&mut self, header: &Header, now: Instant) -> bool {
        let known = self
            .members
            .get(header.sender)
            .filter(|member| member.standing.is_heard_of());
        let is_new = known.is_none_or(|member| member.boot < header.boot);
        self.members
            .heard_of(header.sender, header.boot, header.inc, now);
        if is_new && let Some(member) = self.members.get_mut(header.sender) {
            member.admit(header.boot, header.counter);
        }
        is_new
    }

    /// L6: it does not know that it is held gone; it alone can refute. It may have moved since: so it is
    /// told where it speaks from as well (A8).
    fn tell_if_gone(
        &mut self,
        from: IpAddr,
        header: &Header,
        message: &Message,
        now: Instant,
    ) -> Result<(), Reason> {
        let sender = header.sender;
        let Some(member) = self.members.get_mut(sender) else {
            return Ok(());
        };
        let Some(verdict) = member.standing.verdict() else {
            return Ok(());
        };
        if matches!(verdict, Verdict::Restarting | Verdict::Left) {
            return Err(Reason::Leaving);
        }
        let pause = self.settings.tell_the_dead;
        if member.told_at.is_none_or(|at| now >= at + pause) {
            member.told_at = Some(now);
            let death = Death {
                member: sender,
                boot: header.boot,
                inc: member.inc,
                verdict,
            };
            let is_elsewhere = member.address != from;
            self.send(sender, &Message::Dead(death));
            if is_elsewhere {
                self.send_to(from, header.boot, &Message::Dead(death));
            }
        }
        match message {
            // Knowledge is knowledge, whoever brings it.
            Message::Dead(_)
            | Message::Sync { .. }
            | Message::Records(_)
            | Message::Stale { .. } => Ok(()),
            _ => Err(Reason::SpeakerSilent),
        }
    }

    /// Any datagram of a member proves it well; of a lost one, that all loss was on this side (L6).
    fn hear(&mut self, sender: NodeId, message: &Message, now: Instant) {
        let Some(member) = self.members.get_mut(sender) else {
            return;
        };
        member.heard_at = Some(now);
        let is_lost = member.standing.is_lost();
        self.learn_what_was_missed(now);
        if is_lost {
            self.clear_lost(now);
        }
        let is_scheduled = matches!(message, Message::Beat { answer: false, .. });
        self.heard_watched(sender, is_scheduled, now);
        self.heard_asked(sender);
    }

    pub(super) fn clear_lost(&mut self, now: Instant) {
        let lost: Vec<NodeId> = self
            .members
            .iter()
            .filter(|(_, member)| member.standing.is_lost())
            .map(|(id, _)| id)
            .collect();
        for id in lost {
            self.members
                .change(id, now, |member| member.standing = member.standing.found());
        }
    }

    fn dispatch(&mut self, from: NodeId, message: Message, now: Instant) {
        match message {
            Message::Beat {
                digest,
                deaf,
                joined,
                ..
            } => {
                self.note_deaf(from, deaf, now);
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
            Message::Ask { target, nonce } => self.handle_ask(from, target, nonce, now),
            Message::Tell {
                target,
                nonce,
                udp,
                kernel,
            } => {
                self.handle_tell(from, target, nonce, udp, kernel);
            }
            Message::Dead(death) => self.handle_dead(from, death, now),
            Message::Stale { boot } => self.handle_stale(boot, now),
            Message::Records(entries) => {
                for entry in entries {
                    if self.is_plausible_entry(&entry, now) {
                        self.handle_entry(&entry, now);
                    }
                }
            }
            Message::Sync {
                answer,
                joined,
                buckets,
            } => {
                self.handle_sync(from, answer, joined, &buckets, now);
            }
            Message::Give(offers) => self.handle_give(from, &offers),
            Message::Offer(offers) => self.handle_offer(from, &offers),
            Message::Decline(vips) => self.handle_decline(from, &vips, now),
            Message::Refuse(vips) => self.handle_refuse(from, &vips, now),
            Message::Yield(vips) => self.handle_yield(&vips),
        }
    }

    fn handle_entry(&mut self, entry: &Entry, now: Instant) {
        if entry.member == self.me {
            self.handle_own_entry(entry, now);
            return;
        }
        match self.members.merge(entry, now) {
            Merged::Known => {}
            Merged::Changed => self.spread_repair(now),
            Merged::Doubt => self.doubt(entry.member, entry.inc, now),
        }
    }

    /// What others remember of this name.
    fn handle_own_entry(&mut self, entry: &Entry, now: Instant) {
        if entry.former {
            self.members.merge(entry, now);
        } else if entry.boot > self.boot() {
            self.outbid_boot(entry.boot, now);
        } else if entry.boot == self.boot() {
            if entry.life != Life::Live && entry.inc >= self.inc() {
                self.refute(entry.inc, now);
            }
            if entry.seq > self.members.own().record.seq {
                self.outnumber(entry.seq, now);
            }
        }
    }

    /// C1: somebody else wrote a record in this member's name. The next one of its own is newer.
    fn outnumber(&mut self, seq: u32, now: Instant) {
        self.members.change(self.me, now, |own| {
            own.take_record(Record {
                seq,
                ..Record::clone(&own.record)
            });
        });
        self.claims.publish = true;
    }

    /// L7: deaths do not travel by SYNC. Whoever is said to be gone is watched, and told, so that it
    /// can refute.
    fn doubt(&mut self, id: NodeId, inc: u32, now: Instant) {
        if self.watching.doubt(id, now + self.settings.doubt, DOUBTED) {
            let ping = self.ping(true, Some(inc));
            self.send(id, &ping);
        }
    }

    /// L6: a verdict of ours, confirmed by a witness or by the kernel, is everybody's.
    pub(super) fn pronounce(&mut self, id: NodeId, verdict: Verdict, now: Instant) {
        let Some(member) = self.members.get(id) else {
            return;
        };
        let death = Death {
            member: id,
            boot: member.boot,
            inc: member.inc,
            verdict,
        };
        self.send(id, &Message::Dead(death));
        if self.members.bury(&death, now) {
            self.events.push_back(Event::Gone { node: id, verdict });
            self.send_to_all(&Message::Dead(death));
        }
    }

    /// L6: nobody can confirm it, so nobody is told.
    pub(super) fn lose(&mut self, id: NodeId, now: Instant) {
        self.members
            .change(id, now, |member| member.standing = member.standing.lost());
        self.events.push_back(Event::Lost { node: id });
    }

    fn handle_dead(&mut self, from: NodeId, death: Death, now: Instant) {
        if death.member == self.me {
            if death.boot == self.boot() && death.inc >= self.inc() {
                self.refute(death.inc, now);
                self.sync_with(from);
            }
            return;
        }
        self.members.bury(&death, now);
    }

    /// L6: only the member itself raises its incarnation. Its record tells those it holds live, and
    /// every datagram's header whoever else hears it.
    pub(super) fn refute(&mut self, inc: u32, now: Instant) {
        if inc >= LAST_INC {
            self.take_boot(self.boot() + 1, now);
        } else {
            self.members.change(self.me, now, |own| own.inc = inc + 1);
        }
        self.claims.publish = true;
        self.remind_once_heard(now);
    }

    /// L11: others know a later boot of this name; clocks go back.
    fn handle_stale(&mut self, boot: u64, now: Instant) {
        if boot > self.boot() {
            self.outbid_boot(boot, now);
        }
    }

    fn outbid_boot(&mut self, boot: u64, now: Instant) {
        if self.contact.is_name_shared(now) {
            // Whoever outbids last has the name.
            return;
        }
        if self.contact.note_stale(&self.settings, now) {
            self.events.push_back(Event::NameShared);
        }
        self.take_boot(boot + 1, now);
    }

    /// N2, L11: as if this process had started anew, except that it keeps what it announces.
    pub(super) fn take_boot(&mut self, boot: u64, now: Instant) {
        self.members.change(self.me, now, |own| {
            (own.boot, own.inc) = (boot, 0);
            own.take_record(Record {
                seq: 0,
                ..Record::clone(&own.record)
            });
        });
        self.claims.publish = true;
    }

    /// This node can hear. If it could not before, it has to learn what it missed (L9).
    pub(super) fn received(&mut self, now: Instant) {
        self.received_at = now;
        if self.watching.end_isolation() {
            self.rejoin(now);
            self.remind_soon(now);
        }
    }

    pub(super) fn probe(&mut self, id: NodeId) {
        if let Some(member) = self.members.get(id) {
            self.transmits.push_back(Transmit::Probe(member.address));
        }
    }
}
