//! A6 to A8: this node got another address while its speaker runs.
//!
//! With a key others follow at once, since the signature says who it is. Without one they take datagrams
//! from the addresses that the Nodes list has, and it has the new one seconds later. Until then nobody
//! hears this member: they hold its node dead and take over what it announces, so it leaves that to them.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::context::{Ctx, Step};
use super::demand::Demand;
use super::members::{Member, Members};
use super::node::NodeId;
use super::sync::send_own_record;
use super::wire::{Message, Signature};
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
    /// The hardware address of the first.
    mac: MacAddr,
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

/// What follows where this member was, or is, not heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Follows {
    Nothing,
    /// All addresses are decided on again.
    Reconsider,
    /// So they are, after this member has learned what it missed (J1).
    Learn,
}

impl Moved {
    pub(super) fn new(address: IpAddr, mac: MacAddr) -> Self {
        Self {
            addresses: vec![address],
            mac,
            former: None,
            is_heard: true,
            has_to_learn: false,
            since: None,
            told_all: true,
            next: Instant::START,
        }
    }

    /// Where others reach this node, as its record tells.
    pub(super) fn station(&self) -> (IpAddr, MacAddr) {
        (self.addresses[0], self.mac)
    }

    /// Where this node is reached: at most one address of each family, first the one that others are
    /// told, whose hardware address `mac` is. Without any it stays what it was: a node that has lost its
    /// address is nowhere else.
    pub(super) fn set_station(
        &mut self,
        addresses: &[IpAddr],
        mac: MacAddr,
        step: &mut Step<'_>,
    ) -> Follows {
        let Some(&address) = addresses.first() else {
            return Follows::Nothing;
        };
        let before = self.station();
        addresses.clone_into(&mut self.addresses);
        self.mac = mac;
        let families: BTreeSet<Family> = addresses.iter().copied().map(Family::of).collect();
        step.members.set_families(families, step.now);
        if before == (address, mac) {
            return Follows::Nothing;
        }
        step.members.move_own(address, step.now);
        if before.0 != address {
            self.former = Some(before.0);
        }
        self.begin_telling(step);
        self.note_whether_heard(step)
    }

    /// Whether others may look for this member at another address.
    pub(super) const fn has_moved(&self) -> bool {
        self.former.is_some()
    }

    /// Those that others may sign for.
    pub(super) fn own_addresses(&self, members: &Members) -> Vec<IpAddr> {
        let own = self.addresses.iter().copied();
        let listed = members.own().listed_at.iter().copied();
        let all = own.chain(self.former).chain(listed.take(MOST_LISTED));
        let mut distinct = Vec::new();
        for address in all {
            if !distinct.contains(&address) {
                distinct.push(address);
            }
        }
        distinct
    }

    /// A7: whether others hear this member follows from the keys, the Nodes list and its own address.
    pub(super) fn note_whether_heard(&mut self, step: &mut Step<'_>) -> Follows {
        let (address, _) = self.station();
        let is_heard = step.keys.signs.is_some() || step.members.may_be_at(step.me, address);
        if std::mem::replace(&mut self.is_heard, is_heard) == is_heard {
            return Follows::Nothing;
        }
        self.has_to_learn = true;
        if is_heard {
            self.begin_telling(step);
        }
        Follows::Reconsider
    }

    /// A7: whether this member, whom nobody hears, leaves the address to others: they are about to
    /// announce it, if there are any.
    pub(super) fn leaves_to_others(&self, vip: IpAddr, demand: &Demand, ctx: Ctx<'_>) -> bool {
        let Self {
            is_heard,
            has_to_learn,
            ..
        } = *self;
        let wanted = Some(vip).filter(|_| !is_heard || has_to_learn);
        let candidates = wanted.into_iter().flat_map(|vip| demand.candidates(vip));
        let mut others = candidates.filter(|candidate| candidate.node != ctx.me);
        others.any(|candidate| {
            let member = ctx.members.get(candidate.node);
            member.is_some_and(|one| one.is_live() || has_kernel(one, ctx))
        })
    }

    /// A7: whether any of the others lives may be another thing by now.
    pub(super) const fn look_again(&self) -> Follows {
        match self.is_heard {
            true => Follows::Nothing,
            false => Follows::Reconsider,
        }
    }

    /// A7: somebody speaks to it again, or nobody will. It learns as one that starts does (J1).
    pub(super) const fn learn_what_was_missed(&mut self) -> Follows {
        if self.is_heard && std::mem::replace(&mut self.has_to_learn, false) {
            Follows::Learn
        } else {
            Follows::Nothing
        }
    }

    fn begin_telling(&mut self, step: &mut Step<'_>) {
        (self.since, self.next) = (Some(step.now), step.now);
        self.told_all = false;
        step.publish();
    }

    /// A6: everybody is told, also those that are held gone; and again who has not been heard since.
    pub(super) fn handle_timeout(&mut self, step: &mut Step<'_>) -> Follows {
        let Some(since) = self.since.filter(|_| step.now >= self.next) else {
            return Follows::Nothing;
        };
        let is_over = step.now >= since + step.settings.tell_moved || !self.is_heard;
        let others = step.members.iter().filter(|(id, _)| *id != step.me);
        let unheard = others.filter(|(_, one)| one.heard_at.is_none_or(|at| at <= since));
        let unheard: Vec<NodeId> = unheard.map(|(id, _)| id).collect();
        if is_over || unheard.is_empty() {
            self.since = None;
            return self.learn_what_was_missed();
        }
        let told = if std::mem::replace(&mut self.told_all, true) {
            step.pick(PER_ROUND, unheard)
        } else {
            // The live have it just now, with all that is published.
            let others = unheard.into_iter();
            others.filter(|id| !step.members.is_live(*id)).collect()
        };
        for id in told {
            send_own_record(id, step);
        }
        self.next = step.now + step.settings.recontact;
        Follows::Nothing
    }

    pub(super) fn due(&self) -> Option<(Instant, &'static str)> {
        let since = self.since;
        since.map(|_| (self.next, "others to be told where this node is"))
    }
}

/// Its speaker is not heard here, as those of all others, and its node lives.
fn has_kernel(member: &Member, ctx: Ctx<'_>) -> bool {
    let is_fresh = |at: Instant| ctx.now < at + ctx.settings.kernel_fresh;
    !member.standing.has_left() && member.kernel.answered_at().is_some_and(is_fresh)
}

/// A2: without a signature a member is where the Nodes list says, whoever says otherwise.
pub(super) fn with_believed_addresses(
    message: Message,
    by: Signature,
    members: &Members,
) -> Message {
    let Message::Records(mut entries) = message else {
        return message;
    };
    for entry in entries.iter_mut().filter(|_| by == Signature::Absent) {
        if !members.may_be_at(entry.member, entry.address)
            && let Some(member) = members.get(entry.member)
        {
            entry.address = member.address;
        }
    }
    Message::Records(entries)
}
