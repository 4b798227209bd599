//! What a person may ask: who is there, who owns what, and why.

use std::net::IpAddr;

use super::epoch::{epoch_age, is_newer};
use super::model::Stage;
use super::scene::is_reserved_to_another;
use super::subnets::lacks_subnet;
use super::{NodeId, Ownership, Standing};
use crate::wire::MacAddr;
use crate::{Instant, Reason};

/// One line of `/status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemberStatus {
    /// The member.
    pub node: NodeId,
    /// Where it is reached.
    pub address: IpAddr,
    /// How it stands.
    pub standing: Standing,
    /// Raised by itself alone, to refute its death.
    pub incarnation: u32,
    /// The last datagram from it.
    pub heard_at: Option<Instant>,
    /// The hardware address that answers ARP for its address.
    pub mac: MacAddr,
    /// How many addresses it answers for.
    pub addresses: usize,
    /// What keeps its death from being found at once, or itself from being heard; or that it hears
    /// nobody on one of its links.
    pub reason: Option<Reason>,
}

/// Who answers for an address, and why this node does or does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VipStatus {
    /// The owner and its epoch.
    pub owner: Option<(NodeId, u32)>,
    /// Whether the owner still asks whether another host has it: then it announces nothing (C9).
    pub asking: bool,
    /// Why this node does not answer; `None` if it does.
    pub reason: Option<Reason>,
}

impl Ownership {
    /// The addresses that this node answers for, in order.
    pub fn owned(&self) -> impl Iterator<Item = IpAddr> {
        self.claims.owned()
    }

    /// Whether this speaker has learned what there is to know, and may claim.
    #[must_use]
    pub const fn is_joined(&self) -> bool {
        self.join.is_joined()
    }

    /// Whether this speaker hears nothing at all (L9).
    #[must_use]
    pub const fn is_isolated(&self) -> bool {
        self.watching.is_isolated()
    }

    /// Differs from its last value whenever [`Self::members`] may tell something else than before,
    /// the time of the last datagram aside.
    #[must_use]
    pub fn version(&self) -> (u64, usize, usize) {
        let members = &self.common.members;
        let index = members.index();
        (index.shown(), index.live.len(), members.count())
    }

    /// Every member, this one included.
    pub fn members(&self) -> impl Iterator<Item = MemberStatus> {
        self.common
            .members
            .iter()
            .map(|(node, member)| MemberStatus {
                node,
                address: member.address,
                standing: member.standing,
                incarnation: member.inc,
                heard_at: member.heard_at,
                mac: member.station(),
                addresses: member.record.claims.len(),
                reason: self.impediment(node),
            })
    }

    fn impediment(&self, node: NodeId) -> Option<Reason> {
        if self.blocked.contains(node) {
            return Some(Reason::PeerBlocked);
        }
        if self.common.members.is_kernel_silent(node) {
            return Some(Reason::KernelSilent);
        }
        let member = self.common.members.get(node)?;
        if member.record.links.iter().any(|link| link.silent) {
            return Some(Reason::LinkSilent);
        }
        let is_doubtful = member.is_live() && member.record.stage == Stage::Doubtful;
        is_doubtful.then_some(Reason::KubeProxyUnhealthy)
    }

    /// Who answers for `vip`.
    #[must_use]
    pub fn vip_status(&self, vip: IpAddr, now: Instant) -> VipStatus {
        let owner = self.common.members.owner(vip);
        let is_own = self.claims.owns(vip);
        VipStatus {
            owner: owner.map(|(id, claim)| (id, claim.epoch)),
            asking: owner.is_some_and(|(_, claim)| claim.asking),
            reason: (!is_own).then(|| self.why_not(vip, now)),
        }
    }

    fn why_not(&self, vip: IpAddr, now: Instant) -> Reason {
        let ctx = self.common.ctx(now);
        match self.demand.get(vip) {
            None => Reason::Unwanted,
            Some(wanted) if !wanted.eligible => Reason::Ineligible,
            Some(_) if lacks_subnet(ctx.me, vip, &self.demand, ctx) => Reason::SubnetElsewhere,
            Some(_) if self.moved.leaves_to_others(vip, &self.demand, ctx) => {
                Reason::AddressNotListed
            }
            Some(_) if self.links.is_silent(vip) => Reason::LinkSilent,
            Some(_) if ctx.members.owner(vip).is_some() && self.presence.is_doubtful() => {
                Reason::KubeProxyUnhealthy
            }
            Some(_) if ctx.members.owner(vip).is_some() => Reason::NotOwner,
            Some(_) if is_reserved_to_another(vip, ctx) => Reason::Reserved,
            Some(_) if self.blocked.is_announced_elsewhere(vip, ctx) => Reason::PeerAnnounces,
            Some(_) if self.watching.is_isolated() => Reason::Isolated,
            Some(_) => match self.presence.stage(self.join.is_joined()) {
                Stage::Joining => Reason::Joining,
                Stage::Leaving => Reason::Leaving,
                _ if self.contact.is_quiet(now) => Reason::NameShared,
                Stage::Doubtful => Reason::KubeProxyUnhealthy,
                Stage::Serving if self.blocked.is_listening(now) => Reason::Joining,
                Stage::Serving => Reason::NotOwner,
            },
        }
    }

    /// The member that announced `vip` before this node took it: of those that are there, else of those that have
    /// gone, the one with the newest claim before this node's own. That may be several epochs older: a process that
    /// restarts counts on from what it has heard of itself, and others have heard of more. None if this node has no
    /// claim, or if nobody else has one.
    #[must_use]
    pub fn giver_of(&self, vip: IpAddr) -> Option<NodeId> {
        let own = self.claims.get(vip)?;
        let others = self
            .common
            .members
            .iter()
            .filter(|(id, _)| *id != self.common.me);
        let earlier = others.filter_map(|(id, member)| {
            let claim = member.record.claims.get(&vip)?;
            let is_earlier = !claim.asking && is_newer(own.epoch, claim.epoch);
            let has_gone = !(member.is_live() || member.is_held());
            is_earlier.then(|| ((has_gone, epoch_age(own.epoch, claim.epoch)), id))
        });
        earlier.min().map(|(_, id)| id)
    }

    /// The process of a member that is live: its boot and incarnation.
    #[must_use]
    pub fn live_process(&self, node: NodeId) -> Option<(u64, u32)> {
        let member = self.common.members.get(node)?;
        member.is_live().then_some((member.boot, member.inc))
    }

    /// How a member stands; `None` if there is none of this name.
    #[must_use]
    pub fn standing_of(&self, node: NodeId) -> Option<Standing> {
        self.common.members.get(node).map(|member| member.standing)
    }

    /// Every address that a member is known to have, by its own word and by the Nodes list, with the
    /// hardware address that it tells: that of the link of the first one.
    pub fn addresses_of(&self, node: NodeId) -> impl Iterator<Item = (IpAddr, MacAddr)> {
        let member = self.common.members.get(node).into_iter();
        member.flat_map(|member| {
            let links = member.record.links.iter().map(|link| link.address);
            let listed = member.listed_at.iter().copied();
            let all = std::iter::once(member.address).chain(links).chain(listed);
            all.map(|address| (address, member.station()))
        })
    }
}
