//! The table: what this member knows of each member, itself included.
//!
//! A record has one writer, its member (C1). Knowledge is versioned and only grows: a higher boot
//! beats a lower one, within a boot a higher incarnation, within an incarnation the graver life,
//! and, apart from that, a higher sequence number of the record. So it may arrive in any order,
//! twice, or through others, and every table ends the same.

mod entry;
mod index;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;
use std::time::Duration;

use entry::Assembly;
pub(super) use entry::{Merged, pack};
pub(super) use index::{BUCKETS, Changes, Index};

use super::node::{NodeId, mix};
use super::wire::{Death, Window};
use super::{Settings, Verdict};
use crate::Instant;
use crate::wire::MacAddr;

/// What others say of a member's process. Within an incarnation it only gets graver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Life {
    /// Its process answers.
    Live = 0,
    /// Its process is away, its node is not: its addresses are reserved to it for a while (R1).
    Held = 1,
    /// It is gone; its claims count no more.
    Dead = 2,
    /// It said good-bye after it had handed over everything.
    Left = 3,
}

impl Life {
    pub(super) fn from_code(code: u8) -> Option<Self> {
        [Self::Live, Self::Held, Self::Dead, Self::Left]
            .get(usize::from(code))
            .copied()
    }
}

/// What a member says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// It is still learning, and claims nothing new.
    Joining = 0,
    Serving = 1,
    /// It hands over what it has.
    Leaving = 2,
    /// It serves, and its forwarding is in doubt: it takes what nobody else would.
    Doubtful = 3,
}

impl Stage {
    pub(super) fn from_code(code: u8) -> Option<Self> {
        [Self::Joining, Self::Serving, Self::Leaving, Self::Doubtful]
            .get(usize::from(code))
            .copied()
    }

    /// May claim.
    pub(super) const fn serves(self) -> bool {
        matches!(self, Self::Serving | Self::Doubtful)
    }
}

/// "I answer for this address."
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claim {
    /// Made, or since confirmed, by a member that saw a majority (C3).
    pub(super) strong: bool,
    /// One more than any claim known when it was made.
    pub(super) epoch: u32,
    /// The claimant's rank for the address: not everybody may know its name yet.
    pub(super) rank: u32,
}

impl Claim {
    /// C2: the greatest of all claims on an address is its owner's. A total order that does not
    /// depend on who compares.
    pub(super) const fn strength(
        &self,
        owner: NodeId,
    ) -> (bool, u32, Reverse<u32>, Reverse<NodeId>) {
        (self.strong, self.epoch, Reverse(self.rank), Reverse(owner))
    }
}

/// Where a member is reached on a link that no beat passes (L14).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LinkAddress {
    pub(super) address: IpAddr,
    /// It hears nobody there.
    pub(super) silent: bool,
}

/// What a member publishes of itself; written by that member alone (C1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) seq: u32,
    pub(super) stage: Stage,
    pub(super) mac: MacAddr,
    pub(super) links: Vec<LinkAddress>,
    pub(super) claims: BTreeMap<IpAddr, Claim>,
}

impl Record {
    pub(super) fn empty() -> Self {
        Self {
            seq: 0,
            stage: Stage::Joining,
            mac: MacAddr::zero(),
            links: Vec::new(),
            claims: BTreeMap::new(),
        }
    }
}

/// The last record of a member's boot before: its addresses stay reserved to it (R2).
#[derive(Debug, Clone)]
pub(super) struct Former {
    pub(super) boot: u64,
    pub(super) record: Arc<Record>,
    pub(super) until: Instant,
}

#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) address: IpAddr,
    /// In the Nodes list.
    pub(super) listed: bool,
    /// `None` until anything was heard from it or of it.
    pub(super) life: Option<Life>,
    /// Nobody hears it as far as we can tell, but nobody confirms it either: a private opinion,
    /// never told (L6).
    pub(super) lost: bool,
    pub(super) verdict: Option<Verdict>,
    pub(super) boot: u64,
    pub(super) inc: u32,
    pub(super) record: Arc<Record>,
    pub(super) former: Option<Former>,
    /// While `life` is held.
    pub(super) hold_until: Instant,
    /// Since when `life` and `lost` are what they are.
    pub(super) since: Instant,
    /// The last datagram from it.
    pub(super) heard_at: Option<Instant>,
    /// Its node once answered an echo request: then only echoes prove its kernel alive (§7).
    pub(super) echoes: bool,
    /// When its kernel was last asked in peace, and when it last answered anything (L13).
    pub(super) asked_at: Option<Instant>,
    pub(super) kernel_at: Option<Instant>,
    /// Questions in a row that its kernel did not answer although its process was heard.
    pub(super) unanswered: u32,
    /// Its kernel last said that no process listens.
    pub(super) no_process_at: Option<Instant>,
    /// The hardware address that its kernel answers with, as long as it has told none itself.
    pub(super) kernel_mac: MacAddr,
    /// It has signed with one of our keys: from then on it must.
    pub(super) signs: bool,
    /// When it was last told that it is held gone.
    pub(super) told_at: Option<Instant>,
    window: Window,
    assembly: Assembly,
    former_assembly: Assembly,
}

impl Member {
    pub(super) fn new(address: IpAddr, now: Instant) -> Self {
        Self {
            address,
            listed: false,
            life: None,
            lost: false,
            verdict: None,
            boot: 0,
            inc: 0,
            record: Arc::new(Record::empty()),
            former: None,
            hold_until: now,
            since: now,
            heard_at: None,
            echoes: false,
            asked_at: None,
            kernel_at: None,
            unanswered: 0,
            no_process_at: None,
            kernel_mac: MacAddr::zero(),
            signs: false,
            told_at: None,
            window: Window::default(),
            assembly: Assembly::default(),
            former_assembly: Assembly::default(),
        }
    }

    /// Counts as present: known, not gone, not lost.
    pub(super) fn is_live(&self) -> bool {
        self.life == Some(Life::Live) && !self.lost
    }

    pub(super) fn is_held(&self) -> bool {
        self.life == Some(Life::Held) && !self.lost
    }

    /// Neither live nor departed for good: to be found again (L10).
    pub(super) fn is_absent(&self) -> bool {
        !self.is_live() && self.life != Some(Life::Left) && (self.listed || self.lost)
    }

    /// Its node was deleted, and it is gone: as if it had never been.
    pub(super) fn is_forgotten(&self) -> bool {
        !self.listed && !matches!(self.life, Some(Life::Live | Life::Held))
    }

    /// Counts for the majority (C3).
    fn is_known(&self) -> bool {
        self.life.is_some_and(|life| life != Life::Left) && !self.is_forgotten()
    }

    /// What the table's digest takes of it: everything that SYNC would repair.
    fn hash(&self, id: NodeId) -> u64 {
        let Some(life) = self.life else { return 0 };
        if self.is_forgotten() {
            return 0;
        }
        let hash = mix(mix(id.0 ^ mix(self.boot)) ^ (u64::from(self.inc) << 8 | life as u64));
        let former = self
            .former
            .as_ref()
            .map_or(0, |f| mix(f.boot) ^ u64::from(f.record.seq));
        mix(hash ^ u64::from(self.record.seq) ^ former.rotate_left(32))
    }

    /// Whether this datagram was never seen.
    pub(super) fn admit(&mut self, boot: u64, counter: u64) -> bool {
        self.window.admit(boot, counter)
    }

    /// L11, R2: a higher boot voids what the boot before had claimed, but reserves it to the name.
    fn restart(&mut self, boot: u64, hold: Duration, rejoin: Duration, now: Instant) {
        let was_live = self.life == Some(Life::Live);
        let record = std::mem::replace(&mut self.record, Arc::new(Record::empty()));
        if !record.claims.is_empty() && matches!(self.life, Some(Life::Live | Life::Held)) {
            let until = if was_live {
                now + hold
            } else {
                self.hold_until.max(now + rejoin)
            };
            self.former = Some(Former {
                boot: self.boot,
                record,
                until,
            });
        }
        (self.boot, self.inc, self.life) = (boot, 0, Some(Life::Live));
    }

    /// Takes a whole record, newer than the one known.
    pub(super) fn take_record(&mut self, record: Record) {
        if record.stage != Stage::Joining {
            // It has claimed what it wants of its former addresses.
            self.former = None;
        }
        self.record = Arc::new(record);
    }
}

/// All members, by their place on the ring.
#[derive(Debug, Clone)]
pub(super) struct Members {
    me: NodeId,
    all: BTreeMap<NodeId, Member>,
    index: Index,
    hold: Duration,
    hold_restart: Duration,
    rejoin: Duration,
}

impl Members {
    pub(super) fn new(me: NodeId, own: Member, settings: &Settings) -> Self {
        let (hold, hold_restart) = (settings.hold, settings.hold_restart);
        let mut members = Self {
            me,
            all: BTreeMap::new(),
            index: Index::default(),
            hold,
            hold_restart,
            rejoin: 2 * settings.join,
        };
        members.insert(me, own);
        members
    }

    pub(super) fn get(&self, id: NodeId) -> Option<&Member> {
        self.all.get(&id)
    }

    /// For what the index does not know of; everything else goes through [`Self::change`].
    pub(super) fn get_mut(&mut self, id: NodeId) -> Option<&mut Member> {
        self.all.get_mut(&id)
    }

    pub(super) fn own(&self) -> &Member {
        &self.all[&self.me]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (NodeId, &Member)> {
        self.all.iter().map(|(&id, member)| (id, member))
    }

    pub(super) const fn index(&self) -> &Index {
        &self.index
    }

    pub(super) fn take_changes(&mut self) -> Changes {
        std::mem::take(&mut self.index.changes)
    }

    pub(super) fn is_live(&self, id: NodeId) -> bool {
        self.index.live.contains(&id)
    }

    /// The live members but this one.
    pub(super) fn live_others(&self) -> impl Iterator<Item = NodeId> {
        self.index.live.iter().copied().filter(|&id| id != self.me)
    }

    pub(super) fn by_address(&self, address: IpAddr) -> Option<NodeId> {
        self.iter()
            .find(|(_, member)| member.address == address)
            .map(|(id, _)| id)
    }

    /// By the hardware address of its record, or else the one that its kernel answers with.
    pub(super) fn by_mac(&self, mac: MacAddr) -> Option<NodeId> {
        let has_it = |member: &Member| match member.life {
            Some(_) => member.record.mac == mac,
            None => member.kernel_mac == mac,
        };
        let mut all = self.iter();
        all.find(|(_, member)| !mac.is_zero() && has_it(member))
            .map(|(id, _)| id)
    }

    /// The one way in which a member changes: the index follows, and notes what has to follow it.
    pub(super) fn change(&mut self, id: NodeId, now: Instant, edit: impl FnOnce(&mut Member)) {
        let Some(member) = self.all.get_mut(&id) else {
            return;
        };
        let before = member.clone();
        edit(member);
        if (member.life, member.lost) != (before.life, before.lost) {
            member.since = now;
        }
        self.index
            .update(id, Some(&before), Some(member), id == self.me);
    }

    pub(super) fn insert(&mut self, id: NodeId, member: Member) {
        self.index.update(id, None, Some(&member), id == self.me);
        self.all.insert(id, member);
    }

    /// The Nodes list.
    pub(super) fn set_listed(&mut self, nodes: &BTreeMap<NodeId, IpAddr>, now: Instant) {
        for (&id, &address) in nodes {
            if !self.all.contains_key(&id) {
                self.insert(id, Member::new(address, now));
            }
        }
        let ids: Vec<NodeId> = self.all.keys().copied().collect();
        for id in ids {
            let address = nodes.get(&id).copied();
            self.change(id, now, |member| {
                member.listed = address.is_some();
                if let (Some(address), None) = (address, member.life) {
                    member.address = address;
                }
            });
        }
        let me = self.me;
        self.all
            .retain(|&id, member| id == me || !member.is_forgotten());
    }

    /// A verdict that is everybody's (L6). False if it is old, or no graver than what is known.
    pub(super) fn bury(&mut self, death: &Death, now: Instant) -> bool {
        let Death {
            member: id,
            boot,
            inc,
            verdict,
        } = *death;
        let life = verdict.life();
        let hold_until = match verdict {
            Verdict::Restarting => now + self.hold_restart,
            _ => now + self.hold,
        };
        let is_news = self.all.get(&id).is_some_and(|member| {
            member.boot == boot
                && member
                    .life
                    .is_some_and(|known| (inc, life) > (member.inc, known))
        });
        if is_news {
            self.change(id, now, |member| {
                (member.inc, member.life, member.lost) = (inc, Some(life), false);
                (member.verdict, member.hold_until) = (Some(verdict), hold_until);
            });
        }
        is_news
    }

    /// R1, R2: reservations end with their time.
    pub(super) fn end_reservations(&mut self, now: Instant) {
        let due: Vec<NodeId> = self
            .reservations()
            .filter(|&(_, until)| until <= now)
            .map(|(id, _)| id)
            .collect();
        for id in due {
            self.change(id, now, |member| {
                if member.is_held() && member.hold_until <= now {
                    member.life = Some(Life::Dead);
                }
                member.former.take_if(|former| former.until <= now);
            });
        }
    }

    pub(super) fn reservations(&self) -> impl Iterator<Item = (NodeId, Instant)> {
        self.index.reserving.iter().map(|&id| {
            let member = &self.all[&id];
            let held = member.is_held().then_some(member.hold_until);
            let former = member.former.as_ref().map(|former| former.until);
            (
                id,
                held.into_iter()
                    .chain(former)
                    .min()
                    .expect("reserving members have an end"),
            )
        })
    }

    /// Whose boot before held `vip` and may claim it again before anybody else (R2).
    pub(super) fn reserved_to(&self, vip: IpAddr) -> Option<NodeId> {
        self.index.reserving.iter().copied().find(|id| {
            let member = &self.all[id];
            (member.is_live() || member.is_held())
                && member
                    .former
                    .as_ref()
                    .is_some_and(|former| former.record.claims.contains_key(&vip))
        })
    }

    /// C2: the owner, by the best claim of members that are live, or held and so still entitled.
    pub(super) fn owner(&self, vip: IpAddr) -> Option<(NodeId, Claim)> {
        self.claims(vip)
            .max_by_key(|(id, claim)| claim.strength(*id))
    }

    /// The claims on `vip` that count.
    pub(super) fn claims(&self, vip: IpAddr) -> impl Iterator<Item = (NodeId, Claim)> {
        self.index.claims(vip).filter(|(id, _)| {
            let member = &self.all[id];
            member.is_live() || member.is_held()
        })
    }

    /// This member's claim, known to its own table before it is published.
    pub(super) fn set_own_claim(&mut self, vip: IpAddr, claim: Option<Claim>) {
        self.index.set_claim(vip, self.me, claim);
    }

    /// The `count` live members next before (`Way::Before`) or after `id` on the ring.
    pub(super) fn neighbours(&self, id: NodeId, way: Way, count: usize) -> Vec<NodeId> {
        let live = &self.index.live;
        let (below, above) = (live.range(..id), live.range((Excluded(id), Unbounded)));
        match way {
            Way::After => above.chain(below).take(count).copied().collect(),
            Way::Before => below
                .rev()
                .chain(above.rev())
                .take(count)
                .copied()
                .collect(),
        }
    }
}

/// A direction on the ring.
#[derive(Debug, Clone, Copy)]
pub(super) enum Way {
    Before,
    After,
}
