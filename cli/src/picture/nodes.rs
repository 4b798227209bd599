//! How each node is, by its own word and that of the others.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ferrolb_core::Reason;
use ferrolb_core::report::{MemberStatus, SpeakerStatus};
use jiff::Timestamp;

use super::{Heard, Node, NodeFacts, NodeState};
use crate::daemons::Daemon;
use crate::speaker::Said;

/// How a member is called that will be back in a moment.
const RESTARTING: &str = "restarting";

fn is_absent(member: &MemberStatus) -> bool {
    !member.is_live() && !member.is_blocked()
}

/// The views that count: not those of speakers that hear nobody, and not those that more of the others do not hear
/// than hear. One that is cut off holds all others dead, and one that is blocked calls all others blocked. If none is
/// left, all count.
pub(super) fn witnesses(said: &Said) -> Vec<&SpeakerStatus> {
    let views = said.iter().filter_map(|(_, told)| told.as_ref().ok());
    let views: Vec<_> = views.collect();
    let mut votes: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for view in &views {
        for member in view.members.iter().filter(|one| one.node != view.node) {
            let (live, unheard) = votes.entry(&member.node).or_default();
            if member.is_live() {
                *live += 1;
            } else if member.verdict.as_deref() != Some(RESTARTING) {
                *unheard += 1;
            }
        }
    }
    let counts = |view: &&SpeakerStatus| {
        let (live, unheard) = votes.get(view.node.as_str()).copied().unwrap_or_default();
        !view.isolated && unheard <= live
    };
    let (good, others): (Vec<_>, Vec<_>) = views.into_iter().partition(counts);
    if good.is_empty() { others } else { good }
}

/// Whether every witness says that the node is gone. No one is a witness to itself.
pub(super) fn is_held_dead(node: &str, witnesses: &[&SpeakerStatus]) -> bool {
    let seen = seen(node, witnesses);
    !seen.is_empty()
        && seen
            .iter()
            .all(|(_, member)| is_absent(member) && member.verdict.as_deref() != Some(RESTARTING))
}

fn seen<'a>(node: &str, witnesses: &[&'a SpeakerStatus]) -> Vec<(&'a str, &'a MemberStatus)> {
    let others = witnesses.iter().filter(|view| view.node != node);
    let seen = others.filter_map(|view| {
        let mut members = view.members.iter();
        let member = members.find(|member| member.node == node)?;
        Some((view.node.as_str(), member))
    });
    seen.collect()
}

/// Every node that there is or that has a speaker, in the order of names.
pub(super) fn joined(heard: &Heard, witnesses: &[&SpeakerStatus], now: Timestamp) -> Vec<Node> {
    let facts: BTreeMap<&str, &NodeFacts> = heard
        .nodes
        .iter()
        .flatten()
        .map(|node| (node.view.name.as_str(), node))
        .collect();
    let speakers = heard.daemons.iter().filter(|one| one.is_speaker());
    let speaking: BTreeSet<_> = speakers.filter_map(|one| one.node.as_deref()).collect();
    let names: BTreeSet<&str> = facts.keys().chain(&speaking).copied().collect();
    let answers: BTreeMap<&str, &SpeakerStatus> = heard
        .speakers
        .iter()
        .filter_map(|(node, told)| Some((node.as_str(), told.as_ref().ok()?)))
        .collect();
    let node = |name: &str| {
        let own = answers.get(name).copied();
        let mut node = Node {
            name: name.to_owned(),
            state: NodeState::NoSpeaker,
            since: None,
            by: Vec::new(),
            verdict: None,
            reasons: Vec::new(),
            addresses: 0,
            cordoned: facts.get(name).is_some_and(|one| one.view.unschedulable),
            ready: facts.get(name).map(|one| one.ready),
        };
        if speaking.contains(name) {
            node.judge(&seen(name, witnesses), own, now);
        }
        node
    };
    names.into_iter().map(node).collect()
}

impl Node {
    fn judge(
        &mut self,
        seen: &[(&str, &MemberStatus)],
        own: Option<&SpeakerStatus>,
        now: Timestamp,
    ) {
        let absent: Vec<_> = seen.iter().filter(|(_, one)| is_absent(one)).collect();
        self.by = absent.iter().map(|(by, _)| (*by).to_owned()).collect();
        if let Some((_, first)) = absent.first() {
            let word = first.verdict.as_ref().unwrap_or(&first.standing);
            self.verdict = Some(word.clone());
        }
        let heard = absent.iter().filter_map(|(_, one)| one.heard_millis_ago);
        let before = heard.min().map(Duration::from_millis);
        self.since = before.and_then(|before| now.checked_sub(before).ok());
        let is_heard = seen.iter().any(|(_, one)| one.is_live());
        self.state = match absent.len() {
            0 if own.is_none() && !is_heard => NodeState::Unknown,
            0 => NodeState::Live,
            _ if self.verdict.as_deref() == Some(RESTARTING) => NodeState::Restarting,
            all if all == seen.len() => NodeState::Dead,
            _ => NodeState::Doubted,
        };
        // A speaker alone on its network has nobody else to say it.
        let of_own = own.and_then(|own| own.members.iter().find(|one| one.node == own.node));
        let lines = seen.iter().map(|(_, one)| *one).chain(of_own);
        let mut reasons: BTreeSet<String> = lines
            .filter_map(|one| Some(one.reason.as_ref()?.to_string()))
            .collect();
        let of_itself = own.into_iter().flat_map(reasons_of);
        reasons.extend(of_itself.map(str::to_owned));
        self.reasons = reasons.into_iter().collect();
    }
}

/// What a speaker says of itself that keeps it from announcing what it should.
fn reasons_of(own: &SpeakerStatus) -> Vec<&'static str> {
    let says = |reason: &Reason| {
        let mut vips = own.vips.iter();
        vips.any(|vip| vip.reason.as_deref() == Some(reason.as_str()))
    };
    let alone = own.isolated.then_some(Reason::Isolated);
    let said = [Reason::KubeProxyUnhealthy, Reason::NameShared];
    let all = alone.into_iter().chain(said.into_iter().filter(says));
    all.map(Reason::as_str).collect()
}

impl Daemon {
    pub(crate) fn is_speaker(&self) -> bool {
        self.component == crate::daemons::Component::Speaker
    }
}
