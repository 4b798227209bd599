//! What the rules look up of all members together, kept while single members change.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnetwork::IpNetwork;

use super::{Member, NodeId};
use crate::ownership::epoch::is_newer;
use crate::ownership::model::{BUCKETS, Claim, LinkAddress, Record};

#[derive(Debug, Clone)]
pub(in super::super) struct Index {
    /// This member included.
    pub(in super::super) live: BTreeSet<NodeId>,
    /// To be found again (L10).
    pub(in super::super) absent: BTreeSet<NodeId>,
    /// Held, or with addresses reserved from the boot before (R1, R2).
    pub(in super::super) reserving: BTreeSet<NodeId>,
    /// All that count for the majority (C3).
    pub(in super::super) known: usize,
    pub(in super::super) buckets: [u64; BUCKETS],
    /// A digest of the stations that only kernels tell of: no record has them.
    pub(super) stations: u64,
    vips: BTreeMap<IpAddr, Claims>,
    /// The subnets that other members tell of, each with how many do (S1).
    subnets: BTreeMap<IpNetwork, usize>,
    pub(super) changes: Changes,
}

/// Everything claimed of one address, by whomever.
#[derive(Debug, Clone, Default)]
struct Claims {
    /// The newest epoch ever seen, also of members that are gone.
    floor: u32,
    /// Nobody claimed it and nobody wanted it when that was last looked at.
    is_idle: bool,
    /// One of them, as a rule: a tree would take a dozen places for each address.
    by_member: Vec<(NodeId, Claim)>,
}

/// What has to follow from changes of the table.
#[derive(Debug, Clone, Default)]
pub(in super::super) struct Changes {
    /// Addresses whose claims changed, or whose claimants' standing did.
    pub(in super::super) vips: BTreeSet<IpAddr>,
    /// Addresses given up by a member that is still there.
    pub(in super::super) released: BTreeSet<IpAddr>,
    /// Who is live changed: the ring has to be looked at again.
    pub(in super::super) ring: bool,
    /// Who may take over an address changed.
    pub(in super::super) candidates: bool,
    /// Somebody is live who was not.
    pub(in super::super) returned: bool,
    /// Somebody is live no more.
    pub(in super::super) gone: bool,
    /// Somebody is away who was not, or was not known: it is to be tried soon.
    pub(in super::super) away: bool,
}

impl Default for Index {
    fn default() -> Self {
        Self {
            live: BTreeSet::new(),
            absent: BTreeSet::new(),
            reserving: BTreeSet::new(),
            known: 0,
            buckets: [0; BUCKETS],
            stations: 0,
            vips: BTreeMap::new(),
            subnets: BTreeMap::new(),
            changes: Changes::default(),
        }
    }
}

impl Index {
    /// The whole table in a number; equal tables have equal digests.
    pub(in super::super) fn digest(&self) -> u64 {
        self.buckets
            .iter()
            .fold(0, |digest, bucket| digest ^ bucket)
    }

    /// Differs whenever something is shown of a member that was not shown before.
    pub(in super::super) fn shown(&self) -> u64 {
        self.digest() ^ self.stations
    }

    pub(in super::super) const fn bucket_of(id: NodeId) -> usize {
        (id.0 % BUCKETS as u64) as usize
    }

    pub(in super::super) fn floor(&self, vip: IpAddr) -> u32 {
        self.vips.get(&vip).map_or(0, |claims| claims.floor)
    }

    pub(in super::super) fn has_changes(&self) -> bool {
        let Changes {
            vips,
            released: _,
            ring,
            candidates,
            returned,
            gone,
            away,
        } = &self.changes;
        *ring || *candidates || *gone || *returned || *away || !vips.is_empty()
    }

    pub(super) fn claims(&self, vip: IpAddr) -> impl Iterator<Item = (NodeId, Claim)> {
        let claims = self.vips.get(&vip).into_iter();
        claims.flat_map(|claims| claims.by_member.iter().copied())
    }

    pub(super) fn set_claim(&mut self, vip: IpAddr, by: NodeId, claim: Option<Claim>) {
        let claims = self.vips.entry(vip).or_default();
        if let Some(claim) = claim {
            if claims.floor == 0 || is_newer(claim.epoch, claims.floor) {
                claims.floor = claim.epoch;
            }
            claims.is_idle = false;
        }
        let place = claims.by_member.binary_search_by_key(&by, |(id, _)| *id);
        match (place, claim) {
            (Ok(place), Some(claim)) => claims.by_member[place].1 = claim,
            (Ok(place), None) => drop(claims.by_member.remove(place)),
            (Err(place), Some(claim)) => {
                claims.by_member.reserve_exact(1);
                claims.by_member.insert(place, (by, claim));
            }
            (Err(_), None) => {}
        }
    }

    /// Forgets addresses that nobody has claimed nor wanted since the last look.
    pub(super) fn forget_idle(&mut self, is_wanted: impl Fn(IpAddr) -> bool) {
        self.vips.retain(|&vip, claims| {
            let was_idle = claims.is_idle;
            claims.is_idle = claims.by_member.is_empty() && !is_wanted(vip);
            !(was_idle && claims.is_idle)
        });
    }

    /// Follows a change of member `id`.
    pub(super) fn update(
        &mut self,
        id: NodeId,
        before: Option<&Member>,
        after: Option<&Member>,
        is_own: bool,
    ) {
        for member in [before, after].into_iter().flatten() {
            self.buckets[Self::bucket_of(id)] ^= member.hash(id);
            self.stations ^= member.station_hash(id);
        }
        self.follow_standing(id, before, after);
        self.follow_record(id, before, after, is_own);
    }

    fn follow_standing(&mut self, id: NodeId, before: Option<&Member>, after: Option<&Member>) {
        let was = |test: fn(&Member) -> bool| before.is_some_and(test);
        let is = |test: fn(&Member) -> bool| after.is_some_and(test);
        let reserves = |member: &Member| member.is_held() || member.former.is_some();
        set(&mut self.live, id, is(Member::is_live));
        set(&mut self.absent, id, is(Member::is_absent));
        set(&mut self.reserving, id, is(reserves));
        self.known =
            self.known + usize::from(is(Member::is_known)) - usize::from(was(Member::is_known));
        self.changes.away |= is(Member::is_absent) && !was(Member::is_absent);
        let live = (was(Member::is_live), is(Member::is_live));
        match live {
            (false, true) => self.changes.returned = true,
            (true, false) => self.changes.gone = true,
            _ => {}
        }
        if live.0 != live.1
            || was(Member::is_held) != is(Member::is_held)
            || was(reserves) != is(reserves)
        {
            self.changes.ring = true;
            self.changes.candidates = true;
            for member in [before, after].into_iter().flatten() {
                self.changes.vips.extend(member.record.claims.keys());
                let former = member.former.iter();
                self.changes
                    .vips
                    .extend(former.flat_map(|former| former.record.claims.keys()));
            }
        }
    }

    fn follow_record(
        &mut self,
        id: NodeId,
        before: Option<&Member>,
        after: Option<&Member>,
        is_own: bool,
    ) {
        let (old, new) = (
            before.map(|member| &member.record),
            after.map(|member| &member.record),
        );
        if let (Some(old), Some(new)) = (old, new)
            && Arc::ptr_eq(old, new)
        {
            return;
        }
        if is_own {
            // Own claims are known here before they are published.
            return;
        }
        let told = |record: &Arc<Record>| {
            let links = record.links.clone();
            (record.stage, links, record.tells_subnets)
        };
        self.changes.candidates |= old.map(told) != new.map(told);
        self.follow_subnets(old, new);
        for &vip in old.iter().flat_map(|record| record.claims.keys()) {
            self.set_claim(vip, id, None);
            self.changes.vips.insert(vip);
            if after.is_some_and(|one| one.is_live() && !one.record.claims.contains_key(&vip)) {
                self.changes.released.insert(vip);
            }
        }
        for (&vip, &claim) in new.iter().flat_map(|record| &record.claims) {
            self.set_claim(vip, id, Some(claim));
            self.changes.vips.insert(vip);
        }
    }

    fn follow_subnets(&mut self, old: Option<&Arc<Record>>, new: Option<&Arc<Record>>) {
        let subnets_of = |record: Option<&Arc<Record>>| {
            let links = record.into_iter().flat_map(|record| &record.links);
            let subnets = links.filter_map(LinkAddress::subnet);
            subnets.collect::<BTreeSet<_>>()
        };
        for subnet in subnets_of(old) {
            if let Some(count) = self.subnets.get_mut(&subnet) {
                *count -= 1;
            }
        }
        for subnet in subnets_of(new) {
            *self.subnets.entry(subnet).or_default() += 1;
        }
        self.subnets.retain(|_, count| *count > 0);
    }

    /// Whether another member has a subnet that `vip` lies on, also one that is gone.
    pub(in super::super) fn has_subnet_of(&self, vip: IpAddr) -> bool {
        self.subnets.keys().any(|subnet| subnet.contains(vip))
    }
}

fn set(members: &mut BTreeSet<NodeId>, id: NodeId, is: bool) {
    if is {
        members.insert(id);
    } else {
        members.remove(&id);
    }
}
