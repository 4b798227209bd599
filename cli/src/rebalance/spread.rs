//! Which addresses go where, so that it is even.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ferrolb_core::report::SpeakerStatus;
use ferrolb_core::view::ServiceKey;

use crate::election::Election;
use crate::move_to::obstacle;
use crate::plan::Asked;

/// Services that share addresses, and all their addresses: they move together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) services: Vec<ServiceKey>,
    pub(super) addresses: BTreeSet<IpAddr>,
    /// One of them asks for a node.
    pub(super) is_bound: bool,
}

/// A group's way to another node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) group: Group,
    pub(super) from: BTreeSet<String>,
    pub(super) to: String,
}

/// What moves, and how many addresses each node announces before and afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    pub(super) before: BTreeMap<String, usize>,
    pub(super) after: BTreeMap<String, usize>,
}

/// The fewest moves that make it even: each time the one that evens out the most, until none does.
pub(super) fn plan(election: &Election, observer: &SpeakerStatus, asked: &Asked) -> Plan {
    let owner = |address: IpAddr| observer.vip(address)?.owner.clone();
    let mut owners: BTreeMap<IpAddr, String> = observer
        .vips
        .iter()
        .filter_map(|vip| Some((vip.address, owner(vip.address)?)))
        .collect();
    let nodes = observer
        .live()
        .filter(|node| election.nodes.contains_key(*node));
    let mut load: BTreeMap<String, usize> = nodes.map(|node| (node.to_owned(), 0)).collect();
    for owner in owners.values() {
        *load.entry(owner.clone()).or_default() += 1;
    }
    let before = load.clone();
    // Where one of these is preferred to the node, an address would go back there.
    let live: Vec<String> = load.keys().cloned().collect();
    let groups: Vec<Group> = groups(election)
        .into_iter()
        .filter(|group| {
            !group.is_bound && group.addresses.iter().all(|one| owners.contains_key(one))
        })
        .collect();
    let mut may = BTreeMap::new();
    let mut may_take = |group: &Group, to: &str| {
        group.addresses.iter().all(|&address| {
            *may.entry((address, to.to_owned())).or_insert_with(|| {
                let stays = |other: &str| !election.prefers(address, other, to);
                live.iter().all(|other| stays(other)) && may_announce(election, address, to, asked)
            })
        })
    };
    let mut steps = Vec::new();
    loop {
        let mut gains: Vec<(usize, usize, &String)> = Vec::new();
        for (number, group) in groups.iter().enumerate() {
            for to in load.keys() {
                let gain = gain(&load, &owners, group, to);
                gains.extend((gain > 0).then_some((gain, number, to)));
            }
        }
        gains.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| (a.1, a.2).cmp(&(b.1, b.2))));
        let best = gains
            .into_iter()
            .find(|(_, number, to)| may_take(&groups[*number], to));
        let Some((_, number, to)) = best else { break };
        let (group, to) = (groups[number].clone(), to.clone());
        let mut from = BTreeSet::new();
        for address in &group.addresses {
            if let Some(owner) = owners.insert(*address, to.clone())
                && owner != to
            {
                *load.entry(owner.clone()).or_default() -= 1;
                *load.entry(to.clone()).or_default() += 1;
                from.insert(owner);
            }
        }
        steps.push(Step { group, from, to });
    }
    Plan {
        steps,
        before,
        after: load,
    }
}

/// By how much the sum of the squares of all loads shrinks if the group goes there; 0 if it does not.
fn gain(
    load: &BTreeMap<String, usize>,
    owners: &BTreeMap<IpAddr, String>,
    group: &Group,
    to: &str,
) -> usize {
    let mut leaving: BTreeMap<&str, usize> = BTreeMap::new();
    for owner in group.addresses.iter().filter_map(|one| owners.get(one)) {
        if owner != to {
            *leaving.entry(owner).or_default() += 1;
        }
    }
    let square = |number: usize| number * number;
    let of = |node: &str| load.get(node).copied().unwrap_or(0);
    let coming: usize = leaving.values().sum();
    let less = leaving
        .iter()
        .map(|(node, count)| square(of(node)) - square(of(node) - count));
    let more = square(of(to) + coming) - square(of(to));
    less.sum::<usize>().saturating_sub(more)
}

/// Whether it would be the first to announce the address, once its Services ask for it.
pub(super) fn may_announce(
    election: &Election,
    address: IpAddr,
    node: &str,
    asked: &Asked,
) -> bool {
    let is_willing = match asked.get(node) {
        None => true,
        Some(None) => false,
        Some(Some(said)) => said.may_announce(address, None),
    };
    is_willing && obstacle(election, address, node).is_none()
}

/// An address moves for all Services that have it, a Service with all its addresses.
fn groups(election: &Election) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for service in &election.services {
        if !service.load_balancer || service.assigned.is_empty() {
            continue;
        }
        let mut merged = Group {
            services: vec![service.key.clone()],
            addresses: service.assigned.iter().copied().collect(),
            is_bound: service.move_to.is_some(),
        };
        let (joined, apart) = groups
            .into_iter()
            .partition::<Vec<_>, _>(|group| !group.addresses.is_disjoint(&merged.addresses));
        for group in joined {
            merged.services.extend(group.services);
            merged.addresses.extend(group.addresses);
            merged.is_bound |= group.is_bound;
        }
        groups = apart;
        groups.push(merged);
    }
    groups.sort_by(|a, b| a.addresses.cmp(&b.addresses));
    groups
}
