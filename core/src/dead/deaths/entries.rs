//! The entries of the `ConfigMap` of votes: how long each of them counts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use crate::Instant;
use crate::dead::LIFETIME;
use crate::dead::vote::{MOST_VOTERS, Opinion, Unreadable, Vote, VotesView, decode};
use crate::removal::Removal;

/// An entry counts at least so long from when it was first seen: a node's clock may be wrong. One that
/// is nobody's, or cannot be read, stays as long, for people to see.
const AT_LEAST: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(super) struct Entries {
    resource_version: String,
    /// By voter.
    all: BTreeMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    text: Option<String>,
    votes: Vec<Vote>,
    seen: Instant,
    until: Instant,
}

impl Entries {
    /// Returns what is wrong with new ones.
    pub(super) fn take(
        &mut self,
        votes: Option<VotesView>,
        time: Timestamp,
        now: Instant,
    ) -> Vec<String> {
        let Some(votes) = votes else {
            *self = Self::default();
            return Vec::new();
        };
        self.resource_version = votes.resource_version;
        let mut former = std::mem::take(&mut self.all);
        let mut problems = Vec::new();
        for (voter, text) in votes.entries.into_iter().take(MOST_VOTERS) {
            let known = former.remove(&voter).filter(|entry| entry.text == text);
            let entry = known.unwrap_or_else(|| {
                let read = text.as_ref().ok_or(Unreadable::Length);
                let read = read.and_then(|text| decode(&voter, text));
                let read = read.map_err(|error| problems.push(format!("entry {voter:?}: {error}")));
                let votes = read.unwrap_or_default();
                let newest = votes.iter().map(|vote| vote.since).max();
                let age = newest.map(|since| time.duration_since(since));
                let age = age.and_then(|age| Duration::try_from(age).ok());
                let left = match newest {
                    None => Duration::ZERO,
                    Some(_) => LIFETIME.saturating_sub(age.unwrap_or_default()),
                };
                Entry {
                    text,
                    votes,
                    seen: now,
                    until: now + left.max(AT_LEAST),
                }
            });
            self.all.insert(voter, entry);
        }
        problems
    }

    /// What counts, by voter.
    pub(super) fn votes(&self, now: Instant) -> BTreeMap<String, Vec<Vote>> {
        let valid = self.all.iter().filter(|(_, entry)| now < entry.until);
        valid
            .map(|(voter, entry)| (voter.clone(), entry.votes.clone()))
            .collect()
    }

    /// The nodes that anybody takes for dead.
    pub(super) fn accused(&self, now: Instant) -> BTreeSet<String> {
        let valid = self.all.values().filter(|entry| now < entry.until);
        let votes = valid.flat_map(|entry| &entry.votes);
        let accusing = votes.filter(|vote| vote.opinion == Opinion::Dead);
        accusing.map(|vote| vote.node.clone()).collect()
    }

    /// The entries whose time is over, and those of nobody.
    pub(super) fn outdated(&self, is_node: impl Fn(&str) -> bool, now: Instant) -> Option<Removal> {
        let over = self
            .all
            .iter()
            .filter(|(voter, entry)| entry.end(is_node(voter)) <= now);
        let keys: Vec<_> = over.map(|(voter, _)| voter.clone()).collect();
        (!keys.is_empty()).then(|| Removal {
            resource_version: self.resource_version.clone(),
            keys,
        })
    }

    pub(super) fn due(&self, is_node: impl Fn(&str) -> bool) -> Option<Instant> {
        let all = self.all.iter();
        all.map(|(voter, entry)| entry.end(is_node(voter))).min()
    }
}

impl Entry {
    fn end(&self, is_a_nodes: bool) -> Instant {
        match is_a_nodes {
            true => self.until,
            false => self.until.min(self.seen + AT_LEAST),
        }
    }
}
