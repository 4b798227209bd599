//! Who may announce an address, in the order in which they take it.
//!
//! Each address has an order of its own (`elect::rank`), and a cluster may have thousands of both: an order of
//! all nodes for each address would take more memory than everything else. So an address keeps the order of
//! its first candidates alone, and shares the list of all with other addresses. Those after the first are
//! asked only where all of these are gone: they come in the order of the list, from a place in it that
//! differs from address to address.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use super::node::{NodeId, mix};

/// So many are kept in their order.
const FIRST: usize = 16;

/// A node that may answer for an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Candidate {
    /// A live owner hands over to a node of a lower tier: one that is cordoned to one that is not.
    pub tier: u8,
    /// How far its weights are behind those of all preferred nodes together; zero where none are set. Within a
    /// tier a live owner hands over to a node with less, once that has been well for a while (H4).
    pub unpreferred: u32,
    /// The node.
    pub node: NodeId,
}

/// Those of one address. Two that have the same candidates in the same order are equal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Candidates {
    /// Sorted.
    all: Arc<[Candidate]>,
    /// Places in `all`, the best first.
    first: Arc<[u32]>,
    /// The others come from here on.
    turn: u64,
}

impl Candidates {
    /// Of `vip`: best tier first, then the most preferred, then by rank. After the first few their order is
    /// this type's own.
    #[must_use]
    pub fn of(vip: IpAddr, in_order: impl IntoIterator<Item = Candidate>) -> Self {
        let mut all: Vec<_> = in_order.into_iter().collect();
        let first: Vec<_> = all.iter().copied().take(FIRST).collect();
        all.sort_unstable();
        let place = |one: &Candidate| {
            let place = all.binary_search(one).expect("it is one of them");
            u32::try_from(place).expect("a cluster has fewer nodes")
        };
        let first = first.iter().map(place).collect();
        let turn = match vip {
            IpAddr::V4(vip) => mix(u64::from(u32::from(vip))),
            // The last 64 bits differ within a subnet.
            IpAddr::V6(vip) => mix(vip.to_bits() as u64),
        };
        Self {
            all: all.into(),
            first,
            turn,
        }
    }

    /// Whether these are `all` candidates, in whatever order: then they have the same order, too.
    #[must_use]
    pub fn are(&self, all: impl IntoIterator<Item = Candidate>) -> bool {
        let mut all: Vec<_> = all.into_iter().collect();
        all.sort_unstable();
        *self.all == *all
    }

    /// The best first.
    pub fn in_order(&self) -> impl Iterator<Item = &Candidate> {
        let first = self.first.iter().map(|place| &self.all[*place as usize]);
        first.chain(self.others())
    }

    /// In no order that means anything.
    pub fn all(&self) -> impl Iterator<Item = &Candidate> {
        self.all.iter()
    }

    /// How `node` stands for the address, if it may announce it.
    #[must_use]
    pub fn get(&self, node: NodeId) -> Option<Candidate> {
        self.all.iter().find(|one| one.node == node).copied()
    }

    /// Whether `node` is one, and before `other` if that is one too.
    #[must_use]
    pub fn has_before(&self, node: NodeId, other: NodeId) -> bool {
        let mut order = self.in_order().map(|one| one.node);
        order.find(|one| [node, other].contains(one)) == Some(node)
    }

    fn others(&self) -> impl Iterator<Item = &Candidate> {
        let is_alike =
            |a: &Candidate, b: &Candidate| (a.tier, a.unpreferred) == (b.tier, b.unpreferred);
        let has_others = self.first.len() < self.all.len();
        let groups = has_others.then(|| self.all.chunk_by(is_alike));
        let in_turn = groups.into_iter().flatten().flat_map(|group| {
            let at = (self.turn % group.len() as u64) as usize;
            let (before, after) = group.split_at(at);
            after.iter().chain(before)
        });
        in_turn.filter(|one| !self.is_first(one))
    }

    fn is_first(&self, candidate: &Candidate) -> bool {
        let mut first = self.first.iter();
        first.any(|place| self.all[*place as usize].node == candidate.node)
    }
}

/// The lists of all candidates that addresses have: equal ones are kept once.
#[derive(Debug, Default)]
pub struct Lists(BTreeSet<Arc<[Candidate]>>);

impl Lists {
    /// Lets `candidates` use the list that others with the same one use.
    pub fn share(&mut self, candidates: &mut Candidates) {
        match self.0.get(&candidates.all) {
            Some(known) => candidates.all = Arc::clone(known),
            None => drop(self.0.insert(Arc::clone(&candidates.all))),
        }
    }

    /// Forgets those that no address has any more.
    pub fn forget_unused(&mut self) {
        self.0.retain(|list| Arc::strong_count(list) > 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elect::rank;

    const NODES: usize = 300;

    fn vip(n: u8) -> IpAddr {
        [192, 168, 64, n].into()
    }

    /// Of the nodes with these numbers; every fifth is cordoned.
    fn of(vip: IpAddr, nodes: impl IntoIterator<Item = usize>) -> Candidates {
        let names = nodes.into_iter().map(|number| format!("n{number}"));
        let mut ranked: Vec<_> = names
            .map(|name| (name.ends_with(['0', '5']), rank(&name, vip), name))
            .collect();
        ranked.sort();
        let all = ranked.into_iter().map(|(is_cordoned, _, name)| Candidate {
            tier: is_cordoned.into(),
            unpreferred: 0,
            node: NodeId::of(&name),
        });
        Candidates::of(vip, all)
    }

    fn order(candidates: &Candidates) -> Vec<Candidate> {
        candidates.in_order().copied().collect()
    }

    #[test]
    fn a_few_come_in_the_order_that_is_given() {
        let node = |name| Candidate {
            tier: 0,
            unpreferred: 0,
            node: NodeId::of(name),
        };
        let given = ["n7", "n1", "n5", "n3"].map(node);
        let candidates = Candidates::of(vip(1), given);
        assert_eq!(order(&candidates), given);
        assert!(candidates.has_before(given[1].node, given[2].node));
        assert!(!candidates.has_before(given[2].node, given[1].node));
        assert!(candidates.has_before(given[2].node, NodeId::of("n9")));
        assert!(!candidates.has_before(NodeId::of("n9"), given[2].node));
        assert_eq!(candidates.get(given[3].node), Some(given[3]));
        assert_eq!(candidates.get(NodeId::of("n9")), None);
        assert_eq!(order(&Candidates::default()), []);
    }

    #[test]
    fn of_many_each_comes_once_and_those_of_a_better_tier_before_all_others() {
        for n in 0..20 {
            let candidates = of(vip(n), 0..NODES);
            let order = order(&candidates);
            let nodes: BTreeSet<_> = order.iter().map(|one| one.node).collect();
            assert_eq!(nodes.len(), NODES, "{n}");
            assert!(order.is_sorted_by_key(|one| one.tier), "{n}");
            assert!(candidates.all().all(|one| order.contains(one)), "{n}");
        }
    }

    #[test]
    fn who_comes_after_the_first_few_differs_from_address_to_address() {
        let next = |n| {
            of(vip(n), 0..NODES)
                .in_order()
                .nth(FIRST)
                .map(|one| one.node)
        };
        let all: BTreeSet<_> = (0..100).map(next).collect();
        assert!(all.len() > 50, "{}", all.len());
    }

    #[test]
    fn the_order_is_the_same_whoever_works_it_out_and_from_whatever_order_of_the_later_ones() {
        let candidates = of(vip(1), 0..NODES);
        assert_eq!(candidates, of(vip(1), (0..NODES).rev()));
        let again = Candidates::of(vip(1), order(&candidates));
        assert_eq!(order(&again), order(&candidates));
        assert!(candidates.are(candidates.all().copied()));
        assert!(!candidates.are(candidates.all().copied().skip(1)));
    }

    #[test]
    fn addresses_with_the_same_candidates_share_one_list_of_them_until_none_has_it() {
        let mut lists = Lists::default();
        let mut all = [1, 2, 3].map(|n| of(vip(n), 0..NODES));
        let mut other = of(vip(4), 0..3);
        for candidates in all.iter_mut().chain([&mut other]) {
            let before = order(candidates);
            lists.share(candidates);
            assert_eq!(order(candidates), before);
        }
        assert!(Arc::ptr_eq(&all[0].all, &all[1].all));
        assert!(Arc::ptr_eq(&all[0].all, &all[2].all));
        lists.forget_unused();
        assert_eq!(lists.0.len(), 2);
        drop(all);
        lists.forget_unused();
        assert_eq!(lists.0.len(), 1);
    }
}
