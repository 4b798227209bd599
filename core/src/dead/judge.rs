//! Whom to believe: quorum, and the limits of what may be dead at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use jiff::Timestamp;

use super::QUORUM;
use super::vote::{Opinion, Process, Vote};
use crate::Reason;

/// What is read of a Node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeFacts {
    /// `metadata.uid`
    pub uid: String,
    /// `status.addresses` of type `InternalIP`.
    pub addresses: Vec<IpAddr>,
    /// Condition `Ready` is true.
    pub ready: bool,
}

/// What the votes on one process come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Who says that it is dead, of those who count.
    pub by: Vec<String>,
    /// The first of them, by its clock.
    pub since: Option<Timestamp>,
    /// Somebody has heard the same process again.
    pub heard: bool,
    /// Why it is not taken for dead; nothing if it is.
    pub reason: Option<Reason>,
}

/// What the votes come to, by node and process. `votes` is by voter.
///
/// A vote counts if its voter is a Node that is ready and not itself held dead. Two make a death. At most
/// a third of the nodes (at least one) is taken for dead at a time, and with those that the API server
/// itself holds not ready, fewer than half.
#[must_use]
pub fn judge(
    nodes: &BTreeMap<String, NodeFacts>,
    votes: &BTreeMap<String, Vec<Vote>>,
) -> BTreeMap<(String, Process), Verdict> {
    let is_ready = |name: &str| nodes.get(name).is_some_and(|node| node.ready);
    let ballots = || {
        let ready = votes.iter().filter(|(voter, _)| is_ready(voter));
        let all = ready.flat_map(|(voter, votes)| votes.iter().map(move |vote| (voter, vote)));
        all.filter(|(_, vote)| nodes.contains_key(&vote.node))
    };
    // Two who accuse each other would each disqualify the other: whoever two others accuse does not count.
    let mut accusers: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (voter, vote) in ballots().filter(|(_, vote)| vote.opinion == Opinion::Dead) {
        accusers.entry(&vote.node).or_default().insert(voter);
    }
    accusers.retain(|_, voters| voters.len() >= QUORUM);
    let accused: BTreeSet<&str> = accusers.into_keys().collect();
    let unready = nodes.iter().filter(|(_, node)| !node.ready);
    let away: BTreeSet<_> = unready.map(|(name, _)| name.as_str()).collect();
    let away = away.union(&accused).count();
    let too_many = accused.len() > (nodes.len() / 3).max(1) || away * 2 >= nodes.len();

    let mut verdicts: BTreeMap<(String, Process), Verdict> = BTreeMap::new();
    for (voter, vote) in ballots() {
        let verdict = verdicts.entry((vote.node.clone(), vote.process));
        let verdict = verdict.or_insert_with(|| Verdict {
            by: Vec::new(),
            since: None,
            heard: false,
            reason: None,
        });
        verdict.heard |= vote.opinion == Opinion::Heard;
        if vote.opinion == Opinion::Dead && !accused.contains(voter.as_str()) {
            verdict.by.push(voter.clone());
            let earlier = verdict.since.is_none_or(|since| vote.since < since);
            verdict.since = if earlier {
                Some(vote.since)
            } else {
                verdict.since
            };
        }
    }
    for verdict in verdicts.values_mut() {
        verdict.reason = if verdict.by.len() < QUORUM {
            Some(Reason::DeathNotConfirmed)
        } else {
            too_many.then_some(Reason::TooManyDead)
        };
    }
    verdicts
}
