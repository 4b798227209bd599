//! The controller's side: from votes to pods that are marked, and back.
//!
//! ```text
//!  quorum ─▶ Waiting ─look─▶ Looking ─silent─▶ Marking ─8 at a time─▶ Marked ─heard─▶ Restoring ─▶ Over
//!               ▲   too many, blind, answers      │
//!               └──────────── Left ◀──────────────┘
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;

use super::judge::NodeFacts;
use super::report::DeadNodesStatus;
use super::serving::Serving;
use super::vote::{Process, VotesView};
use crate::names::event::EventReason;
use crate::removal::Removal;
use crate::{Instant, Reason};

mod death;
mod entries;
mod follow;
mod words;

use death::{Death, Phase};
use entries::Entries;
pub use words::{Action, Look, Looked, Notice, Outcome, Write};

/// The replica that does not lead gives the other one so long.
pub(super) const FOLLOWER: Duration = Duration::from_millis(300);
/// Marks that have not begun by then are given up: Kubernetes will do it.
pub(super) const MARKING: Duration = Duration::from_secs(2);
/// A write that takes longer is given up.
const PATIENCE: Duration = Duration::from_secs(2);
/// The same of a first try to mark: the API server that has the connection may have died with the node, and
/// there is time for a second try.
const PATIENCE_AT_FIRST: Duration = Duration::from_millis(500);
const _: () = assert!(PATIENCE_AT_FIRST.as_millis() < MARKING.as_millis());
/// A look that decided nothing is repeated, so often and after so long.
pub(super) const LOOKS: u32 = 10;
/// See [`LOOKS`].
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// A node is marked at most once in this time, whoever votes.
pub(super) const MARK_AGAIN: Duration = Duration::from_mins(1);
/// After its kubelet has said that a marked pod is ready, the node is not marked for so long.
pub(super) const CONTRADICTED: Duration = Duration::from_mins(10);
/// Addresses of one node that are tried.
const ADDRESSES: usize = 4;

/// What was done to pods, for metrics: result and reason.
type Counts = BTreeMap<(&'static str, &'static str), u64>;

/// Decides which pods are out of rotation.
#[derive(Debug, Default)]
pub struct DeadNodes {
    leads: bool,
    /// An address of the node that this controller runs on.
    own: Option<IpAddr>,
    nodes: Option<BTreeMap<String, NodeFacts>>,
    serving: Serving,
    has_slices: bool,
    has_services: bool,
    has_namespaces: bool,
    entries: Option<Entries>,
    deaths: BTreeMap<(String, Process), Death>,
    /// Nodes that are not marked again before that, and why.
    spared: BTreeMap<String, (Instant, Reason)>,
    /// Until then nobody looks for marks of a controller before this one.
    swept: BTreeMap<String, Instant>,
    notices: VecDeque<Notice>,
    counts: Counts,
}

impl DeadNodes {
    /// Whether this replica leads: the other one waits a moment.
    pub const fn set_leading(&mut self, leads: bool) {
        self.leads = leads;
    }

    /// An address of the node that this controller runs on: it reaches that one through no network.
    pub const fn set_own_address(&mut self, own: Option<IpAddr>) {
        self.own = own;
    }

    /// All Nodes.
    pub fn set_nodes(&mut self, nodes: BTreeMap<String, NodeFacts>, now: Instant) {
        self.nodes = Some(nodes);
        self.settle(now);
    }

    /// One Node was created or changed, or deleted.
    pub fn set_node(&mut self, name: String, facts: Option<NodeFacts>, now: Instant) {
        let nodes = self.nodes.get_or_insert_default();
        match facts {
            Some(facts) => nodes.insert(name, facts),
            None => nodes.remove(&name),
        };
        self.settle(now);
    }

    /// Who serves what, to be changed; [`Self::handle_slices`] and so on follow.
    pub const fn serving(&mut self) -> &mut Serving {
        &mut self.serving
    }

    /// `EndpointSlices` have been listed, or have changed.
    pub fn handle_slices(&mut self, now: Instant) {
        self.has_slices = true;
        self.settle(now);
    }

    /// The same of Services.
    pub fn handle_services(&mut self, now: Instant) {
        self.has_services = true;
        self.settle(now);
    }

    /// The same of Namespaces.
    pub fn handle_namespaces(&mut self, now: Instant) {
        self.has_namespaces = true;
        self.settle(now);
    }

    /// The `ConfigMap` of votes was read; `None` if there is none. `time` is the wall clock's.
    ///
    /// Returns what is wrong with entries that were not read before.
    pub fn handle_votes(
        &mut self,
        votes: Option<VotesView>,
        time: Timestamp,
        now: Instant,
    ) -> Vec<String> {
        let entries = self.entries.get_or_insert_default();
        let problems = entries.take(votes, time, now);
        self.settle(now);
        problems
    }

    /// What it waits for before it does anything.
    #[must_use]
    pub const fn is_ready(&self) -> bool {
        let listed = self.has_slices && self.has_services && self.has_namespaces;
        listed && self.nodes.is_some() && self.entries.is_some()
    }

    /// The next look that is due.
    pub fn poll_look(&mut self, now: Instant) -> Option<Look> {
        let mut deaths = self.deaths.iter_mut();
        let ((node, process), death) =
            deaths.find(|(_, death)| matches!(death.phase, Phase::Waiting(due) if due <= now))?;
        death.phase = Phase::Looking;
        death.looks += 1;
        let nodes = self.nodes.as_ref();
        let of = |name: &String| {
            let addresses = nodes.and_then(|nodes| nodes.get(name));
            let addresses = addresses.map(|node| node.addresses.as_slice());
            addresses
                .unwrap_or_default()
                .iter()
                .copied()
                .take(ADDRESSES)
        };
        // Its own node answers also behind a firewall that makes all others look dead.
        let own = self.own;
        let elsewhere = |name: &&String| own.is_none_or(|own| !of(name).any(|at| at == own));
        let voters = death.verdict.by.iter().filter(elsewhere);
        Some(Look {
            node: node.clone(),
            process: *process,
            at: of(node).collect(),
            voters: voters.take(ADDRESSES).flat_map(of).collect(),
        })
    }

    /// What came of a look.
    pub fn handle_look(&mut self, look: &Look, looked: Looked, now: Instant) {
        let key = (look.node.clone(), look.process);
        let Some(death) = self.deaths.get_mut(&key) else {
            return;
        };
        // Votes that came meanwhile go first.
        if death.phase != Phase::Looking {
            return;
        }
        let why = match looked {
            Looked::Silent => return self.mark(&key, now),
            Looked::Answers => Reason::NodeAnswers,
            Looked::Blind => Reason::LookBlind,
        };
        death.phase = match death.looks {
            LOOKS.. => Phase::Left(why),
            _ => Phase::Waiting(now + LOOK_AGAIN),
        };
        death.why = Some(why);
        self.say_that_it_is_left(&key, why);
    }

    fn mark(&mut self, key: &(String, Process), now: Instant) {
        let node = &key.0;
        let accused = self.entries.as_ref().map(|entries| entries.accused(now));
        let accused = accused.unwrap_or_default();
        let nodes = self.nodes.as_ref();
        let is_ready = |name: &str| {
            let node = nodes.and_then(|nodes| nodes.get(name));
            node.is_some_and(|node| node.ready)
        };
        let lives = |name: &str| is_ready(name) && !accused.contains(name);
        let choice = self.serving.choose(node, lives);
        let Some(death) = self.deaths.get_mut(key) else {
            return;
        };
        death.phase = Phase::Marking(now + MARKING);
        death.why = None;
        death.queue = choice.mark.into_iter().map(|pod| (pod, 0)).collect();
        (death.services, death.last_of) = (choice.services, choice.last_of);
        death.left = choice.left;
        let reasons: Vec<_> = death.left.values().map(|why| why.as_str()).collect();
        self.spared
            .insert(node.clone(), (now + MARK_AGAIN, Reason::MarkedLately));
        for reason in reasons {
            self.count("kept", reason, 1);
        }
        self.finish(key, now);
    }

    /// The next write; at most eight are under way at a time, which is the caller's to see to.
    pub fn poll_write(&mut self, now: Instant) -> Option<Write> {
        for ((node, process), death) in &mut self.deaths {
            let is_due = match death.phase {
                Phase::Marking(until) => now < until,
                Phase::Restoring(due) => due.is_none(),
                _ => false,
            };
            if !is_due {
                continue;
            }
            let Some((pod, attempts)) = death.queue.pop_front() else {
                continue;
            };
            death.under_way.insert(pod.clone(), attempts);
            let action = match death.phase {
                Phase::Restoring(_) => Action::Restore,
                _ => Action::Mark(format!(
                    "{}: ferrolb took the pod out of rotation",
                    death.who(node)
                )),
            };
            let patience = match (&action, attempts) {
                (Action::Mark(_), 0) => PATIENCE_AT_FIRST,
                _ => PATIENCE,
            };
            return Some(Write {
                node: node.clone(),
                process: *process,
                pod,
                action,
                patience,
            });
        }
        None
    }

    /// What became of a write.
    pub fn handle_written(&mut self, write: &Write, outcome: Outcome, now: Instant) {
        let key = (write.node.clone(), write.process);
        let result = match (&write.action, outcome) {
            (Action::Mark(_), Outcome::Done) => "removed",
            (Action::Restore, Outcome::Done) => "restored",
            (Action::Restore, Outcome::NotOurs) => "",
            (_, Outcome::NotOurs) => "gone",
            (_, Outcome::Refused) => "refused",
            (_, Outcome::Failed) => "failed",
        };
        if !result.is_empty() {
            self.count(result, "", 1);
        }
        let Some(death) = self.deaths.get_mut(&key) else {
            return;
        };
        let attempts = death.under_way.remove(&write.pod).unwrap_or_default();
        let pod = write.pod.clone();
        match (&write.action, outcome) {
            (Action::Mark(_), Outcome::Done) => {
                death.removed.insert(pod.clone());
                // It was heard again while this was on its way.
                if matches!(death.phase, Phase::Restoring(_)) {
                    death.queue.push_back((pod, 0));
                }
            }
            (Action::Restore, Outcome::Done) => death.restored += 1,
            (_, Outcome::Failed) if attempts == 0 => death.queue.push_back((pod, 1)),
            (_, Outcome::NotOurs) => {}
            (_, Outcome::Refused) => (death.failed, death.refused) = (death.failed + 1, true),
            (_, Outcome::Failed) => death.failed += 1,
        }
        self.finish(&key, now);
    }

    fn count(&mut self, result: &'static str, reason: &'static str, by: u64) {
        *self.counts.entry((result, reason)).or_default() += by;
    }

    fn notify(
        &mut self,
        node: &str,
        event: EventReason,
        warning: bool,
        message: String,
        marked_since: Option<Timestamp>,
    ) {
        let facts = self.nodes.as_ref().and_then(|nodes| nodes.get(node));
        self.notices.push_back(Notice {
            node: node.to_owned(),
            uid: facts.map(|facts| facts.uid.clone()).unwrap_or_default(),
            event,
            warning,
            message,
            marked_since,
        });
    }

    /// The next thing to say.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        self.notices.pop_front()
    }

    /// What was done to pods since the last call, by result and reason.
    pub fn take_counts(&mut self) -> Counts {
        std::mem::take(&mut self.counts)
    }

    /// Nodes whose pods are out of rotation.
    #[must_use]
    pub fn marked(&self) -> usize {
        let nodes = self.deaths.iter().filter(|(_, death)| death.is_out());
        nodes
            .map(|((node, _), _)| node)
            .collect::<BTreeSet<_>>()
            .len()
    }

    /// Time passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.settle(now);
    }

    /// Votes that are out of date, for the one that leads to remove.
    #[must_use]
    pub fn poll_removal(&self, now: Instant) -> Option<Removal> {
        let nodes = self.nodes.as_ref().filter(|_| self.leads)?;
        let entries = self.entries.as_ref()?;
        entries.outdated(|voter| nodes.contains_key(voter), now)
    }

    /// When there is something to remove, for the one that leads.
    #[must_use]
    pub fn removal_due(&self) -> Option<Instant> {
        let nodes = self.nodes.as_ref().filter(|_| self.leads)?;
        let entries = self.entries.as_ref()?;
        entries.due(|voter| nodes.contains_key(voter))
    }

    /// When to poll again.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deaths.values().filter_map(Death::due).min()
    }

    /// For `/status`.
    #[must_use]
    pub fn status(&self) -> DeadNodesStatus {
        let nodes = self.deaths.iter();
        let nodes = nodes.map(|((node, _), death)| {
            let spared = self.spared.get(node).map(|(_, why)| *why);
            death.report(node, spared)
        });
        DeadNodesStatus {
            reason: None,
            nodes: nodes.collect(),
        }
    }
}
