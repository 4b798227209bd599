//! A6 to A8: this node got another address while its speaker runs.
//!
//! With a key others follow at once, since the signature says who it is. Without one they take datagrams
//! from the addresses that the Nodes list has, and it has the new one seconds later. Until then nobody
//! hears this member: they hold its node dead and take over what it announces, so it leaves that to them.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::members::Member;
use super::wire::{Message, Signature};
use super::{NodeId, Ownership};
use crate::Instant;
use crate::address::Family;
use crate::wire::MacAddr;

/// So many are told at a time, after all have been told once.
const PER_ROUND: usize = 64;
/// Others may sign for any of the addresses that the Node lists: one of each family is usual.
const MOST_LISTED: usize = 4;

#[derive(Debug, Clone)]
pub(super) struct Moved {
    /// This node's addresses, the one that others are told first.
    addresses: Vec<IpAddr>,
    /// What was first among them until the last move.
    former: Option<IpAddr>,
    /// Others can hear this member: it signs, or its Node lists its address (A7).
    is_heard: bool,
    /// It could not be heard until now, and has yet to learn what became of its addresses.
    has_to_learn: bool,
    /// The last move that others could hear of.
    since: Option<Instant>,
    /// All have been told once.
    told_all: bool,
    next: Instant,
}

impl Moved {
    pub(super) fn new(address: IpAddr) -> Self {
        Self {
            addresses: vec![address],
            former: None,
            is_heard: true,
            has_to_learn: false,
            since: None,
            told_all: true,
            next: Instant::START,
        }
    }
}

impl Ownership {
    /// Where this node is reached: at most one address of each family, first the one that others are
    /// told, whose hardware address `mac` is. Without any it stays what it was: a node that has lost its
    /// address is nowhere else.
    pub fn set_station(&mut self, addresses: &[IpAddr], mac: MacAddr, now: Instant) {
        let Some(&address) = addresses.first() else {
            return;
        };
        addresses.clone_into(&mut self.moved.addresses);
        let families: BTreeSet<Family> = addresses.iter().copied().map(Family::of).collect();
        self.members.set_families(families, now);
        if (self.identity.address, self.identity.mac) == (address, mac) {
            return;
        }
        let before = std::mem::replace(&mut self.identity.address, address);
        self.identity.mac = mac;
        self.members
            .change(self.me, now, |own| own.address = address);
        if before != address {
            self.moved.former = Some(before);
        }
        self.begin_telling(now);
        self.note_whether_heard(now);
    }

    /// Those that others may sign for.
    pub(super) fn own_addresses(&self) -> Vec<IpAddr> {
        let own = self.moved.addresses.iter().copied();
        let listed = self.members.own().listed_at.iter().copied();
        let all = own.chain(self.moved.former).chain(listed.take(MOST_LISTED));
        let mut distinct = Vec::new();
        for address in all {
            if !distinct.contains(&address) {
                distinct.push(address);
            }
        }
        distinct
    }

    /// A7: whether others hear this member follows from the keys, the Nodes list and its own address.
    pub(super) fn note_whether_heard(&mut self, now: Instant) {
        let is_heard =
            self.keys.signs.is_some() || self.members.may_be_at(self.me, self.identity.address);
        if std::mem::replace(&mut self.moved.is_heard, is_heard) != is_heard {
            self.claims.reconsider_all();
            self.claims.dirty.extend(self.claims.owned.keys());
            self.moved.has_to_learn = true;
            if is_heard {
                self.begin_telling(now);
            }
        }
    }

    /// A7: whether this member, whom nobody hears, leaves the address to others: they are about to
    /// announce it, if there are any.
    pub(super) fn leaves_to_others(&self, vip: IpAddr) -> bool {
        let Moved {
            is_heard,
            has_to_learn,
            ..
        } = self.moved;
        let wanted = self
            .claims
            .wanted(vip)
            .filter(|_| !is_heard || has_to_learn);
        let candidates = wanted.into_iter().flat_map(|one| one.candidates.iter());
        let mut others = candidates.filter(|candidate| candidate.node != self.me);
        others.any(|candidate| {
            let member = self.members.get(candidate.node);
            member.is_some_and(|one| one.is_live() || self.has_kernel(one))
        })
    }

    /// Its speaker is not heard here, as those of all others, and its node lives.
    fn has_kernel(&self, member: &Member) -> bool {
        let is_fresh = |at: Instant| self.handled_at < at + self.settings.kernel_fresh;
        !member.standing.has_left() && member.kernel_at.is_some_and(is_fresh)
    }

    /// A7: whether any of the others lives may be another thing by now.
    pub(super) fn look_after_unheard(&mut self) {
        if !self.moved.is_heard {
            self.claims.reconsider_all();
        }
    }

    /// A2: without a signature a member is where the Nodes list says, whoever says otherwise.
    pub(super) fn with_believed_addresses(&self, message: Message, by: Signature) -> Message {
        let Message::Records(mut entries) = message else {
            return message;
        };
        for entry in entries.iter_mut().filter(|_| by == Signature::Absent) {
            if !self.members.may_be_at(entry.member, entry.address)
                && let Some(member) = self.members.get(entry.member)
            {
                entry.address = member.address;
            }
        }
        Message::Records(entries)
    }

    /// A7: somebody speaks to it again, or nobody will. It learns as one that starts does (J1).
    pub(super) fn learn_what_was_missed(&mut self, now: Instant) {
        if self.moved.is_heard && std::mem::take(&mut self.moved.has_to_learn) {
            self.rejoin(now);
            self.claims.reconsider_all();
        }
    }

    fn begin_telling(&mut self, now: Instant) {
        (self.moved.since, self.moved.next) = (Some(now), now);
        self.moved.told_all = false;
        self.claims.publish = true;
    }

    /// A6: everybody is told, also those that are held gone; and again who has not been heard since.
    pub(super) fn tell_where_this_is(&mut self, now: Instant) {
        let Some(since) = self.moved.since.filter(|_| now >= self.moved.next) else {
            return;
        };
        if now >= since + self.settings.tell_moved || !self.moved.is_heard {
            self.moved.since = None;
            self.learn_what_was_missed(now);
            return;
        }
        let others = self.members.iter().filter(|(id, _)| *id != self.me);
        let unheard = others.filter(|(_, one)| one.heard_at.is_none_or(|at| at <= since));
        let unheard: Vec<NodeId> = unheard.map(|(id, _)| id).collect();
        if unheard.is_empty() {
            self.moved.since = None;
            self.learn_what_was_missed(now);
            return;
        }
        let told = if std::mem::replace(&mut self.moved.told_all, true) {
            self.pick(PER_ROUND, unheard)
        } else {
            // The live have it just now, with all that is published.
            let others = unheard.into_iter();
            others.filter(|id| !self.members.is_live(*id)).collect()
        };
        for id in told {
            self.send_own_record(id);
        }
        self.moved.next = now + self.settings.recontact;
    }

    pub(super) fn moved_due(&self) -> Option<(Instant, &'static str)> {
        let since = self.moved.since;
        since.map(|_| (self.moved.next, "others to be told where this node is"))
    }
}
