//! Who announces each address, by the speakers' own word; where one was not asked, by that of the others.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ferrolb_core::Reason;
use ferrolb_core::report::{SpeakerStatus, VipStatus};
use ferrolb_core::view::TrafficPolicy;

use super::{Address, AddressState, Heard, Node, NodeState};

/// What a speaker says that does not know yet, or no longer.
const NO_OPINION: [Reason; 3] = [Reason::Joining, Reason::Leaving, Reason::Unwanted];

/// What all that were asked say of one address.
type Views<'a> = Vec<(&'a str, &'a VipStatus)>;

/// Every address that a Service has.
pub(super) fn joined(heard: &Heard, nodes: &[Node]) -> Vec<Address> {
    let mut views: BTreeMap<IpAddr, Views<'_>> = BTreeMap::new();
    for (node, told) in &heard.speakers {
        for vip in told.iter().flat_map(|status: &SpeakerStatus| &status.vips) {
            views.entry(vip.address).or_default().push((node, vip));
        }
    }
    let held = held(heard);
    let judge = Judge::of(heard, nodes);
    let judged = held.into_iter().map(|(address, holders)| {
        let views = views.get(&address).map_or(&[][..], Vec::as_slice);
        let (state, nodes, reason) = judge.state(views);
        Address {
            address,
            services: holders.services.into_iter().collect(),
            pool: holders.pool,
            policies: holders.policies.into_iter().collect(),
            state,
            nodes,
            reason,
            since: None,
        }
    });
    judged.collect()
}

/// The Services at an address.
#[derive(Default)]
struct Holders {
    services: BTreeSet<String>,
    pool: Option<String>,
    policies: BTreeSet<&'static str>,
}

/// By the controller's word; if none leads, by the Services' statuses.
fn held(heard: &Heard) -> BTreeMap<IpAddr, Holders> {
    let mut held: BTreeMap<IpAddr, Holders> = BTreeMap::new();
    let leading = heard.controller.as_ref().ok().filter(|one| one.leading);
    for service in leading.iter().flat_map(|status| &status.services) {
        for address in service
            .addresses
            .iter()
            .filter_map(|text| text.parse().ok())
        {
            let holders = held.entry(address).or_default();
            let key = format!("{}/{}", service.namespace, service.name);
            holders.services.insert(key);
            holders.pool.clone_from(&service.pool);
        }
    }
    for service in heard.services.iter().flatten() {
        for address in &service.assigned {
            let holders = match leading {
                // Not all of them are ours.
                Some(_) => held.get_mut(address),
                None if service.class.is_none() => Some(held.entry(*address).or_default()),
                None => None,
            };
            let Some(holders) = holders else { continue };
            let key = service.key.to_string();
            if leading.is_none() {
                holders.services.insert(key.clone());
            }
            if holders.services.contains(&key) {
                holders.policies.insert(policy(service.traffic_policy));
            }
        }
    }
    held
}

/// As Services say it.
pub(super) const fn policy(policy: TrafficPolicy) -> &'static str {
    match policy {
        TrafficPolicy::Cluster => "Cluster",
        TrafficPolicy::Local => "Local",
    }
}

struct Judge<'a> {
    /// Nodes whose speaker answered.
    answered: BTreeSet<&'a str>,
    dead: BTreeSet<&'a str>,
    /// Whether each speaker was asked and answered, or is dead.
    all_told: bool,
}

impl<'a> Judge<'a> {
    fn of(heard: &'a Heard, nodes: &'a [Node]) -> Self {
        let answered = heard.speakers.iter().filter(|(_, told)| told.is_ok());
        let answered: BTreeSet<_> = answered.map(|(node, _)| node.as_str()).collect();
        let dead = nodes.iter().filter(|node| node.state == NodeState::Dead);
        let dead: BTreeSet<_> = dead.map(|node| node.name.as_str()).collect();
        let mut asked = heard.speakers.iter();
        let all_told = !answered.is_empty()
            && asked.all(|(node, told)| told.is_ok() || dead.contains(node.as_str()));
        Self {
            answered,
            dead,
            all_told,
        }
    }

    fn state(&self, views: &[(&str, &VipStatus)]) -> (AddressState, Vec<String>, Option<String>) {
        let mut nodes: BTreeSet<&str> = views
            .iter()
            .filter(|(_, vip)| vip.announced_here)
            .map(|(node, _)| *node)
            // Nobody hears a node that is off the network.
            .filter(|node| !self.dead.contains(node))
            .collect();
        // Whoever cannot speak for itself has what the others say that it has.
        let owners = views.iter().filter_map(|(_, vip)| vip.owner.as_deref());
        nodes.extend(
            owners.filter(|owner| !self.answered.contains(owner) && !self.dead.contains(owner)),
        );
        let nodes: Vec<_> = nodes.into_iter().map(str::to_owned).collect();
        let reasons: BTreeSet<&str> = views
            .iter()
            .filter(|(_, vip)| !vip.announced_here)
            .filter_map(|(_, vip)| vip.reason.as_deref())
            .collect();
        match nodes.len() {
            1 => (AddressState::Announced, nodes, None),
            0 if reasons.contains(Reason::NodeAddress.as_str()) => {
                (AddressState::OfNode, nodes, None)
            }
            0 => {
                let state = if is_wanted(&reasons) {
                    AddressState::Quiet
                } else if self.all_told {
                    AddressState::Silent
                } else {
                    // One of those that did not answer may have it.
                    AddressState::Unknown
                };
                let reasons: Vec<_> = worth_telling(&reasons);
                let reason = (!reasons.is_empty()).then(|| reasons.join(", "));
                (state, nodes, reason)
            }
            _ => (AddressState::Twice, nodes, None),
        }
    }
}

fn is_one_of(word: &str, reasons: &[Reason]) -> bool {
    reasons.iter().any(|reason| reason.as_str() == word)
}

/// Whether the speakers say that nobody shall announce it. Who has no opinion does not contradict.
fn is_wanted(reasons: &BTreeSet<&str>) -> bool {
    let mut opinions = reasons
        .iter()
        .filter(|word| !is_one_of(word, &NO_OPINION))
        .peekable();
    opinions.peek().is_some()
        && opinions.all(|word| Reason::of(word).is_some_and(Reason::is_wanted_silence))
}

/// Without those that say nothing, if any says something.
fn worth_telling<'a>(reasons: &BTreeSet<&'a str>) -> Vec<&'a str> {
    let opinions = reasons.iter().copied();
    let opinions: Vec<_> = opinions
        .filter(|word| !is_one_of(word, &NO_OPINION))
        .collect();
    if opinions.is_empty() {
        reasons.iter().copied().collect()
    } else {
        opinions
    }
}
