//! C4: what a decision about an address looks at, besides the table of members: what other parts know of it.
//! Whoever decides changes none of that.

use std::net::IpAddr;

use super::blocked::Blocked;
use super::context::Ctx;
use super::demand::Demand;
use super::links::Links;
use super::model::Stage;
use super::moved::Moved;
use super::node::NodeId;
use super::subnets;
use crate::Instant;

#[derive(Clone, Copy)]
pub(super) struct Scene<'a> {
    pub(super) demand: &'a Demand,
    pub(super) links: &'a Links,
    pub(super) blocked: &'a Blocked,
    pub(super) moved: &'a Moved,
    pub(super) stage: Stage,
    /// This node may be unable to forward, whatever its stage.
    pub(super) doubtful: bool,
    /// When this member began to join, if its cluster may be starting just now.
    pub(super) starting_since: Option<Instant>,
}

impl Scene<'_> {
    /// C4: a node judges its own eligibility alone.
    pub(super) fn may_serve(&self, vip: IpAddr, ctx: Ctx<'_>) -> bool {
        let is_eligible = self.demand.get(vip).is_some_and(|one| one.eligible);
        is_eligible && !self.lacks_subnet(ctx.me, vip, ctx) && !self.leaves_to_others(vip, ctx)
    }

    /// S2, S3: whether a node is not on the subnet of `vip`, and somebody is.
    pub(super) fn lacks_subnet(&self, id: NodeId, vip: IpAddr, ctx: Ctx<'_>) -> bool {
        subnets::lacks_subnet(id, vip, self.demand, ctx)
    }

    /// A7
    pub(super) fn leaves_to_others(&self, vip: IpAddr, ctx: Ctx<'_>) -> bool {
        self.moved.leaves_to_others(vip, self.demand, ctx)
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.stage == Stage::Leaving
    }
}

/// R2: what a node's boot before held, unless it is this one's. Others wait for it.
pub(super) fn is_reserved_to_another(vip: IpAddr, ctx: Ctx<'_>) -> bool {
    ctx.members.reserved_to(vip).is_some_and(|id| id != ctx.me)
}
