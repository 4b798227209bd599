//! S1 to S4: subnets that only some nodes have.
//!
//! An address on no node's subnet is announced on every link, since a router may know better. One that
//! only this node is no longer on, since its lease ended or its network restarted, is another thing:
//! who answers for it there swallows what it gets. So each member tells the subnets that its links have
//! (S1). Whoever lacks the one that another has may not serve (S2), and nobody waits for it or hands it
//! anything (S3). What nobody tells is not known, and keeps nobody from serving; but where a cluster
//! starts, who is on no subnet of the address leaves the others the time to tell (S4).
//!
//! Also members that are gone count: a node that has lost its address hears nobody.

use std::net::IpAddr;

use super::context::Ctx;
use super::demand::Demand;
use super::members::Members;
use super::node::NodeId;

/// Whether another node is on the subnet of `vip`, as far as is known.
pub(super) fn is_on_anothers_subnet(vip: IpAddr, members: &Members) -> bool {
    members.index().has_subnet_of(vip)
}

/// S2, S3: whether `id` is not on the subnet of `vip`, and somebody is.
pub(super) fn lacks_subnet(id: NodeId, vip: IpAddr, demand: &Demand, ctx: Ctx<'_>) -> bool {
    let is_on_subnet = demand.is_on_subnet(vip);
    if id == ctx.me {
        return !is_on_subnet && is_on_anothers_subnet(vip, ctx.members);
    }
    let record = ctx.members.get(id).map(|member| &member.record);
    let lacks = record.is_some_and(|one| one.tells_subnets && !one.has_subnet_of(vip));
    lacks && (is_on_subnet || is_on_anothers_subnet(vip, ctx.members))
}
