//! Which nodes may announce a Vip, and in which order they are asked: a pure function of views.
//!
//! It says nothing of who is alive and who announces now: that is [`crate::ownership`]'s. Nodes are
//! judged one by one and never by comparison, so that a node which is dead and not yet known to be
//! keeps nobody out. What is a preference among nodes is a tier: a node of a worse one serves as long
//! as none of a better one is there.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use crate::Reason;
use crate::address::Family;
use crate::advertise::Layer2;
use crate::ownership::{Candidate, Candidates, NodeId};
use crate::view::{EndpointSliceView, EndpointView, NodeView, ServiceView, TrafficPolicy};

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

/// SHA-256 of `node#address`, the address in its canonical text: `MetalLB`'s order, so that a switch
/// over from it moves nothing.
#[must_use]
pub fn rank(node: &str, address: IpAddr) -> Rank {
    Rank(Sha256::digest(format!("{node}#{address}")).into())
}

/// A Service that has the address, as far as it says which nodes may serve it.
#[derive(Debug, Clone)]
pub struct Backend<'a> {
    /// `spec.externalTrafficPolicy`
    pub policy: TrafficPolicy,
    /// Its endpoints of the address's family.
    pub endpoints: Vec<&'a EndpointView>,
    /// The node that it asks for.
    pub move_to: Option<&'a str>,
}

impl<'a> Backend<'a> {
    /// `service` at an address of `family`, with its slices of both.
    #[must_use]
    pub fn of(
        service: &'a ServiceView,
        slices: impl IntoIterator<Item = &'a EndpointSliceView>,
        family: Family,
    ) -> Self {
        Self {
            policy: service.traffic_policy,
            endpoints: endpoints_of(slices, family),
            move_to: service.move_to.as_deref(),
        }
    }
}

/// What makes a node of a worse tier, the gravest last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Drawback {
    OtherNodeChosen,
    ExcludedNode,
    NodeLeaving,
    EndpointTerminating,
    NoLocalEndpoint,
}

impl Drawback {
    const GRAVEST_FIRST: [Self; 5] = [
        Self::NoLocalEndpoint,
        Self::EndpointTerminating,
        Self::NodeLeaving,
        Self::ExcludedNode,
        Self::OtherNodeChosen,
    ];

    /// Of [`Tier`]'s bits; a graver drawback outweighs all lesser ones together.
    const fn bit(self) -> u8 {
        1 << self as u8
    }

    const fn reason(self) -> Reason {
        match self {
            Self::OtherNodeChosen => Reason::OtherNodeChosen,
            Self::ExcludedNode => Reason::ExcludedNode,
            Self::NodeLeaving => Reason::NodeLeaving,
            Self::EndpointTerminating => Reason::EndpointTerminating,
            Self::NoLocalEndpoint => Reason::NoLocalEndpoint,
        }
    }
}

/// How willingly a node serves; the lowest is the best. Drawbacks count before preferences, so that
/// `ferrolb.io/move-to` wins over weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Tier {
    /// The bits of its drawbacks.
    drawbacks: u8,
    /// The weights of all preferred nodes that this one does not get (`preferred-nodes`). Zero where no
    /// weights are set.
    unpreferred: u32,
}

impl Tier {
    fn of(drawbacks: impl IntoIterator<Item = Drawback>, unpreferred: u32) -> Self {
        let bits = drawbacks.into_iter().map(Drawback::bit);
        Self {
            drawbacks: bits.fold(0, |all, bit| all | bit),
            unpreferred,
        }
    }

    /// Its drawbacks as a number, for comparisons elsewhere: for a better one of these an address moves at
    /// once.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.drawbacks
    }

    /// How far behind the weights that all preferred nodes have together; zero where none are set.
    #[must_use]
    pub const fn unpreferred(self) -> u32 {
        self.unpreferred
    }

    /// `node` as a candidate with it.
    #[must_use]
    pub const fn candidate(self, node: NodeId) -> Candidate {
        Candidate {
            tier: self.drawbacks,
            unpreferred: self.unpreferred,
            node,
        }
    }

    /// The gravest drawback.
    #[must_use]
    pub fn drawback(self) -> Option<Reason> {
        let mut gravest_first = Drawback::GRAVEST_FIRST.into_iter();
        let gravest = gravest_first.find(|one| self.drawbacks & one.bit() != 0)?;
        Some(gravest.reason())
    }
}

/// What the label `node.kubernetes.io/exclude-from-external-load-balancers` means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExcludeLabel {
    /// Nodes without it come first: a cluster of control planes alone is served, too.
    #[default]
    Prefer,
    /// A node with it announces nothing.
    Strict,
}

impl ExcludeLabel {
    /// As options say it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Prefer => "prefer",
            Self::Strict => "strict",
        }
    }
}

impl FromStr for ExcludeLabel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Prefer, Self::Strict]
            .into_iter()
            .find(|one| one.as_str() == text)
            .ok_or_else(|| format!("{text:?} is neither prefer nor strict"))
    }
}

/// How each node stands for one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standings<'a>(BTreeMap<&'a str, Result<Tier, Reason>>);

impl<'a> Standings<'a> {
    /// How this node stands; the first reason if it may not announce the address.
    pub fn of(&self, node: &str) -> Result<Tier, Reason> {
        self.0
            .get(node)
            .copied()
            .unwrap_or(Err(Reason::UnknownNode))
    }

    /// Why no node may; `None` if one may. Of several reasons the one that a node comes furthest with.
    #[must_use]
    pub fn why_nobody(&self) -> Option<Reason> {
        // In the order in which a node is judged.
        const ORDER: [Reason; 4] = [
            Reason::NetworkUnavailable,
            Reason::NodeNotSelected,
            Reason::StrictlyExcludedNode,
            Reason::NoLocalEndpoint,
        ];
        if self.0.values().any(Result::is_ok) {
            return None;
        }
        let reasons = self.0.values().filter_map(|standing| standing.err());
        let place = |reason: &Reason| ORDER.iter().position(|one| one == reason);
        reasons.max_by_key(place)
    }

    /// The nodes that may, by name.
    pub fn able(&self) -> impl Iterator<Item = (&'a str, Tier)> {
        let all = self.0.iter();
        all.filter_map(|(name, standing)| Some((*name, standing.ok()?)))
    }

    /// The nodes that may, best tier first (of one's drawbacks the most preferred), then by rank for
    /// `address`.
    pub fn ranked(&self, address: IpAddr) -> impl Iterator<Item = (&'a str, Tier)> + use<'a> {
        let mut ranked: Vec<_> = self
            .able()
            .map(|(name, tier)| (tier, rank(name, address), name))
            .collect();
        ranked.sort_unstable();
        ranked.into_iter().map(|(tier, _, name)| (name, tier))
    }

    /// The same in the order in which they take the address: those after the first few have one of their
    /// own ([`Candidates`]).
    #[must_use]
    pub fn candidates(&self, address: IpAddr) -> Vec<(&'a str, Tier)> {
        let of = |(name, tier): (&'a str, Tier)| (tier.candidate(NodeId::of(name)), (name, tier));
        let ranked: Vec<_> = self.ranked(address).map(of).collect();
        let candidates = Candidates::of(address, ranked.iter().map(|(one, _)| *one));
        let nodes: BTreeMap<_, _> = ranked.into_iter().collect();
        candidates.in_order().map(|one| nodes[one]).collect()
    }
}

/// How each node stands for `address`, which `backends` have and `layer2` announces. `Err` if it is
/// announced by nobody.
pub fn standings<'a>(
    address: IpAddr,
    backends: &[Backend<'_>],
    layer2: &Layer2<'_>,
    nodes: &'a BTreeMap<String, NodeView>,
    exclude: ExcludeLabel,
) -> Result<Standings<'a>, Reason> {
    let is_nodes_own = |node: &NodeView| node.addresses.contains(&address);
    if nodes.values().any(is_nodes_own) {
        return Err(Reason::NodeAddress);
    }
    // A Service that nobody can serve at all says nothing of the address that it shares.
    let is_served = |backend: &&Backend<'_>| backend.endpoints.iter().any(|one| one.is_usable());
    let backends: Vec<_> = backends.iter().filter(is_served).collect();
    if backends.is_empty() {
        return Err(Reason::NoEndpoint);
    }
    let judged = nodes
        .values()
        .map(|node| (node.name.as_str(), judge(node, &backends, layer2, exclude)));
    Ok(Standings(judged.collect()))
}

fn judge(
    node: &NodeView,
    backends: &[&Backend<'_>],
    layer2: &Layer2<'_>,
    exclude: ExcludeLabel,
) -> Result<Tier, Reason> {
    if node.network_unavailable {
        return Err(Reason::NetworkUnavailable);
    }
    if !layer2.selects(node) {
        return Err(Reason::NodeNotSelected);
    }
    if node.excluded && exclude == ExcludeLabel::Strict {
        return Err(Reason::StrictlyExcludedNode);
    }
    let served = backends
        .iter()
        .filter_map(|backend| backend.service_on(node))
        .collect::<Vec<_>>();
    if served.is_empty() {
        return Err(Reason::NoLocalEndpoint);
    }
    let chosen = agreed(backends.iter().map(|backend| backend.move_to));
    let has = |drawback| match drawback {
        Drawback::NoLocalEndpoint => served.len() < backends.len(),
        Drawback::EndpointTerminating => served.contains(&Local::Terminating),
        Drawback::NodeLeaving => node.unschedulable || node.leaving,
        Drawback::ExcludedNode => node.excluded,
        Drawback::OtherNodeChosen => chosen.is_some_and(|chosen| chosen != node.name),
    };
    let drawbacks = Drawback::GRAVEST_FIRST.into_iter().filter(|one| has(*one));
    Ok(Tier::of(drawbacks, layer2.unpreferred(node)))
}

/// The node that all Services at one address ask for: each move resets the connections of all, so that
/// no one of them moves the others.
#[must_use]
pub fn agreed<'a>(asked_for: impl IntoIterator<Item = Option<&'a str>>) -> Option<&'a str> {
    let mut asked_for = asked_for.into_iter();
    let first = asked_for.next()??;
    asked_for.all(|other| other == Some(first)).then_some(first)
}

/// What a node has for a Service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Local {
    Ready,
    /// Only endpoints that terminate and still serve: during the rolling update of a single pod
    /// there is nothing better.
    Terminating,
}

impl Backend<'_> {
    /// With policy Cluster any node serves, through endpoints elsewhere.
    fn service_on(&self, node: &NodeView) -> Option<Local> {
        if self.policy == TrafficPolicy::Cluster {
            return Some(Local::Ready);
        }
        let local = self
            .endpoints
            .iter()
            .filter(|one| one.node.as_ref() == Some(&node.name) && one.is_usable());
        let states = local.map(|one| one.ready);
        states.max().map(|is_ready| {
            if is_ready {
                Local::Ready
            } else {
                Local::Terminating
            }
        })
    }
}

/// The endpoints of one family, from all slices of a Service.
pub fn endpoints_of<'a>(
    slices: impl IntoIterator<Item = &'a EndpointSliceView>,
    family: Family,
) -> Vec<&'a EndpointView> {
    let slices = slices.into_iter().filter(|slice| slice.family == family);
    slices.flat_map(|slice| &slice.endpoints).collect()
}

#[cfg(test)]
mod tests;
