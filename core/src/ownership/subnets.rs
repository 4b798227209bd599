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

use ipnetwork::IpNetwork;

use super::{NodeId, Ownership};

impl Ownership {
    /// S1: the subnets of this node's links, each with its address there, those of wanted addresses
    /// first: only a few are told. Unless they `are_all`, nobody concludes from them what it lacks.
    pub fn set_subnets(&mut self, subnets: Vec<(IpNetwork, IpAddr)>, are_all: bool) {
        self.claims.publish |= self.links.set_subnets(subnets, are_all);
    }

    /// Whether another node is on the subnet of `vip`, as far as is known: then it is announced on that
    /// subnet alone.
    #[must_use]
    pub fn is_on_anothers_subnet(&self, vip: IpAddr) -> bool {
        self.members.index().has_subnet_of(vip)
    }

    /// S2, S3: whether `id` is not on the subnet of `vip`, and somebody is.
    pub(super) fn lacks_subnet(&self, id: NodeId, vip: IpAddr) -> bool {
        let is_on_subnet = self.claims.wanted(vip).is_some_and(|one| one.on_subnet);
        if id == self.me {
            return !is_on_subnet && self.is_on_anothers_subnet(vip);
        }
        let record = self.members.get(id).map(|member| &member.record);
        let lacks = record.is_some_and(|one| one.tells_subnets && !one.has_subnet_of(vip));
        lacks && (is_on_subnet || self.is_on_anothers_subnet(vip))
    }
}
