//! Which node announces a Vip: a pure function of what every speaker sees.
//!
//! Speakers with the same view agree on exactly one node, without speaking to each other. The order
//! of the nodes for an address is `MetalLB`'s, so that a switch over from it moves nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use sha2::{Digest, Sha256};

use crate::Reason;
use crate::address::Family;
use crate::config::{LabelSelector, Pool};
use crate::view::{EndpointView, NodeView, ServiceView, TrafficPolicy};

/// A node's place in the order for one address; the lowest is the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank([u8; 32]);

impl Rank {
    /// Its first bytes: enough to tell the ranks of a few claimants apart.
    #[must_use]
    pub fn prefix(self) -> u32 {
        let [a, b, c, d, ..] = self.0;
        u32::from_be_bytes([a, b, c, d])
    }
}

/// SHA-256 of `node#address`, the address in its canonical text.
#[must_use]
pub fn rank(node: &str, address: IpAddr) -> Rank {
    Rank(Sha256::digest(format!("{node}#{address}")).into())
}

/// What an election reads, besides the Service and the address.
#[derive(Debug, Clone, Copy)]
pub struct Electorate<'a> {
    /// Every Node of the cluster, by name.
    pub nodes: &'a BTreeMap<String, NodeView>,
    /// The nodes whose speaker answers.
    pub alive: &'a BTreeSet<String>,
}

/// Who takes the traffic of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// This node's speaker announces it.
    Speaker(String),
    /// It is this node's own address: its kernel answers, nobody announces.
    Kernel(String),
    /// Nobody; why.
    Nobody(Reason),
}

/// What one node does about an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Announce it.
    Announce,
    /// Be silent; why.
    Decline(Reason),
}

/// Who owns `address` of `service`, and why the others do not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Election {
    /// Who takes the traffic.
    pub owner: Owner,
    /// The nodes that may not announce it, each with the first reason.
    pub declined: BTreeMap<String, Reason>,
}

impl Election {
    /// What the node `me` does.
    #[must_use]
    pub fn decision(&self, me: &str) -> Decision {
        match &self.owner {
            Owner::Speaker(node) if node == me => Decision::Announce,
            Owner::Kernel(_) => Decision::Decline(Reason::NodeAddress),
            Owner::Speaker(_) => {
                let own = self.declined.get(me).copied();
                Decision::Decline(own.unwrap_or(Reason::NotOwner))
            }
            Owner::Nobody(reason) => {
                Decision::Decline(self.declined.get(me).copied().unwrap_or(*reason))
            }
        }
    }
}

/// Elects the owner of `address`, which `pool` holds (if the configuration is known) and
/// `endpoints` (the Service's, of the address's family) serve.
#[must_use]
pub fn elect(
    address: IpAddr,
    service: &ServiceView,
    pool: Option<&Pool>,
    endpoints: &[&EndpointView],
    electorate: Electorate<'_>,
) -> Election {
    let Electorate { nodes, alive } = electorate;
    if let Some(node) = nodes
        .values()
        .find(|node| node.addresses.contains(&address))
    {
        let owner = Owner::Kernel(node.name.clone());
        return Election {
            owner,
            declined: BTreeMap::new(),
        };
    }
    if !endpoints.iter().any(|endpoint| endpoint.is_usable()) {
        let owner = Owner::Nobody(Reason::NoEndpoint);
        return Election {
            owner,
            declined: BTreeMap::new(),
        };
    }
    let mut candidates = Candidates::new(nodes);
    candidates.keep(Reason::SpeakerSilent, |node| alive.contains(&node.name));
    candidates.keep(Reason::NetworkUnavailable, |node| !node.network_unavailable);
    let selectors: &[LabelSelector] = pool.map_or(&[], |pool| &pool.node_selectors);
    candidates.keep(Reason::NodeNotSelected, |node| {
        selectors.is_empty()
            || selectors
                .iter()
                .any(|selector| selector.matches(&node.labels))
    });
    if service.traffic_policy == TrafficPolicy::Local {
        candidates.keep_local(endpoints);
    }
    candidates.prefer(Reason::ExcludedNode, |node| !node.excluded);
    candidates.first_by_rank(address)
}

/// The nodes that are still in the running.
struct Candidates<'a> {
    left: Vec<&'a NodeView>,
    declined: BTreeMap<String, Reason>,
    /// Why the last ones left.
    last: Reason,
}

impl<'a> Candidates<'a> {
    fn new(nodes: &'a BTreeMap<String, NodeView>) -> Self {
        let left = nodes.values().collect();
        Self {
            left,
            declined: BTreeMap::new(),
            last: Reason::SpeakerSilent,
        }
    }

    fn keep(&mut self, reason: Reason, wanted: impl Fn(&NodeView) -> bool) {
        let Self {
            left,
            declined,
            last,
        } = self;
        left.retain(|node| {
            let keep = wanted(node);
            if !keep {
                declined.insert(node.name.clone(), reason);
                *last = reason;
            }
            keep
        });
    }

    /// As [`Self::keep`], unless nobody would be left.
    fn prefer(&mut self, reason: Reason, wanted: impl Fn(&NodeView) -> bool) {
        if self.left.iter().any(|node| wanted(node)) {
            self.keep(reason, wanted);
        }
    }

    /// Nodes with a ready endpoint, else nodes with one that terminates and still serves: during
    /// the rolling update of a single pod there is nothing better.
    fn keep_local(&mut self, endpoints: &[&EndpointView]) {
        let nodes_with = |usable: fn(&EndpointView) -> bool| -> BTreeSet<&str> {
            let usable = endpoints.iter().filter(|endpoint| usable(endpoint));
            usable
                .filter_map(|endpoint| endpoint.node.as_deref())
                .collect()
        };
        let usable = nodes_with(EndpointView::is_usable);
        let ready = nodes_with(|endpoint| endpoint.ready);
        self.keep(Reason::NoLocalEndpoint, |node| {
            usable.contains(node.name.as_str())
        });
        self.prefer(Reason::NoLocalEndpoint, |node| {
            ready.contains(node.name.as_str())
        });
    }

    fn first_by_rank(self, address: IpAddr) -> Election {
        let first = self
            .left
            .iter()
            .min_by_key(|node| rank(&node.name, address));
        let owner = match first {
            Some(node) => Owner::Speaker(node.name.clone()),
            None => Owner::Nobody(self.last),
        };
        Election {
            owner,
            declined: self.declined,
        }
    }
}

/// The endpoints of one family, from all slices of a Service.
pub fn endpoints_of<'a>(
    slices: impl IntoIterator<Item = &'a crate::view::EndpointSliceView>,
    family: Family,
) -> Vec<&'a EndpointView> {
    let slices = slices.into_iter().filter(|slice| slice.family == family);
    slices.flat_map(|slice| &slice.endpoints).collect()
}

#[cfg(test)]
mod tests;
