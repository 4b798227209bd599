//! What the cluster wants announced, with this node's own eligibility.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::candidates::{Candidate, Candidates};
use super::interface::Wanted;
use super::node::NodeId;

#[derive(Debug, Clone, Default)]
pub(super) struct Demand {
    wanted: BTreeMap<IpAddr, Wanted>,
}

impl Demand {
    /// Gives back what was wanted before.
    pub(super) const fn replace(&mut self, wanted: BTreeMap<IpAddr, Wanted>) -> Self {
        Self {
            wanted: std::mem::replace(&mut self.wanted, wanted),
        }
    }

    pub(super) fn get(&self, vip: IpAddr) -> Option<&Wanted> {
        self.wanted.get(&vip)
    }

    pub(super) fn contains(&self, vip: IpAddr) -> bool {
        self.wanted.contains_key(&vip)
    }

    pub(super) fn vips(&self) -> impl Iterator<Item = IpAddr> {
        self.wanted.keys().copied()
    }

    /// Whoever may announce it, the best first; nobody if it is not wanted.
    pub(super) fn candidates(&self, vip: IpAddr) -> impl Iterator<Item = &Candidate> {
        self.of(vip).into_iter().flat_map(Candidates::in_order)
    }

    /// How `id` stands for it, if it may announce it.
    pub(super) fn candidate(&self, vip: IpAddr, id: NodeId) -> Option<Candidate> {
        self.of(vip)?.get(id)
    }

    /// Whether it lies on a subnet of this node.
    pub(super) fn is_on_subnet(&self, vip: IpAddr) -> bool {
        self.get(vip).is_some_and(|wanted| wanted.on_subnet)
    }

    /// Whether `id` is a candidate, and before `other` if that is one too.
    pub(super) fn ranks_before(&self, vip: IpAddr, id: NodeId, other: NodeId) -> bool {
        self.of(vip).is_some_and(|all| all.has_before(id, other))
    }

    fn of(&self, vip: IpAddr) -> Option<&Candidates> {
        self.get(vip).map(|wanted| &wanted.candidates)
    }
}
