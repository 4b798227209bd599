//! What is done about one dead process.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::dead::judge::Verdict;
use crate::dead::report::{DeadNodeStatus, LEFT, LeftPod, REMOVED, RESTORED, WAITING};
use crate::dead::serving::Pod;
use crate::text::counted;
use crate::view::ServiceKey;
use crate::{Instant, Reason};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// It is looked at then.
    Waiting(Instant),
    Looking,
    /// Its pods stay in rotation.
    Left(Reason),
    /// Marks may begin until then.
    Marking(Instant),
    Marked,
    /// What was marked is given back; by the replica that does not lead, from then on.
    Restoring(Option<Instant>),
    /// Nothing more is done about this process; it is remembered until then.
    Over(Instant),
}

#[derive(Debug)]
pub(super) struct Death {
    pub(super) phase: Phase,
    /// The last one by a quorum.
    pub(super) verdict: Verdict,
    pub(super) looks: u32,
    /// Why the last look did not decide.
    pub(super) why: Option<Reason>,
    /// Pods to write to, and how often that was tried.
    pub(super) queue: VecDeque<(Pod, u8)>,
    pub(super) under_way: BTreeMap<Pod, u8>,
    pub(super) removed: BTreeSet<Pod>,
    /// Those of them that were seen out of rotation.
    pub(super) away: BTreeSet<Pod>,
    pub(super) left: BTreeMap<Pod, Reason>,
    /// Those that they serve.
    pub(super) services: BTreeSet<ServiceKey>,
    pub(super) last_of: usize,
    pub(super) failed: usize,
    pub(super) refused: bool,
    pub(super) restored: usize,
    pub(super) said: BTreeSet<Reason>,
}

impl Death {
    pub(super) fn new(phase: Phase) -> Self {
        Self {
            phase,
            verdict: Verdict {
                by: Vec::new(),
                since: None,
                heard: false,
                reason: None,
            },
            looks: 0,
            why: None,
            queue: VecDeque::new(),
            under_way: BTreeMap::new(),
            removed: BTreeSet::new(),
            away: BTreeSet::new(),
            left: BTreeMap::new(),
            services: BTreeSet::new(),
            last_of: 0,
            failed: 0,
            refused: false,
            restored: 0,
            said: BTreeSet::new(),
        }
    }

    pub(super) fn queue_restores(&mut self, pods: BTreeSet<Pod>) {
        self.queue = pods.into_iter().map(|pod| (pod, 0)).collect();
    }

    /// As the beginning of a sentence.
    pub(super) fn who(&self, node: &str) -> String {
        format!(
            "node {node} answers nobody (found by {})",
            self.verdict.by.join(", ")
        )
    }

    pub(super) fn removed_in_words(&self, node: &str) -> String {
        let mut message = format!(
            "{}: {} of {} {} out of rotation",
            self.who(node),
            counted(self.removed.len(), "pod"),
            counted(self.services.len(), "Service"),
            if self.removed.len() == 1 { "is" } else { "are" },
        );
        match self.last_of {
            0 => {}
            1 => message.push_str("; 1 Service has its last endpoints there and keeps them"),
            many => message.push_str(&format!(
                "; {many} Services have their last endpoints there and keep them"
            )),
        }
        if self.failed > 0 {
            let failed = counted(self.failed, "pod");
            message.push_str(&format!("; {failed} could not be marked"));
        }
        if self.refused {
            message.push_str(", the API server refuses it (the log has its words)");
        }
        message
    }

    pub(super) const fn is_out(&self) -> bool {
        matches!(self.phase, Phase::Marking(_) | Phase::Marked)
    }

    /// When something is to be done about it.
    pub(super) fn due(&self) -> Option<Instant> {
        match self.phase {
            Phase::Waiting(due) | Phase::Over(due) => Some(due),
            Phase::Restoring(due) => due,
            Phase::Marking(until) if !self.queue.is_empty() => Some(until),
            Phase::Marking(_) | Phase::Looking | Phase::Left(_) | Phase::Marked => None,
        }
    }

    /// For `/status`; `spared` is why the node is not looked at yet.
    pub(super) fn report(&self, node: &str, spared: Option<Reason>) -> DeadNodeStatus {
        let (state, reason) = match self.phase {
            Phase::Waiting(_) => (WAITING, self.why.or(spared)),
            Phase::Looking => (WAITING, self.why),
            Phase::Left(why) => (LEFT, Some(why)),
            Phase::Marking(_) | Phase::Marked => (REMOVED, self.left.values().next().copied()),
            Phase::Restoring(_) | Phase::Over(_) => (RESTORED, None),
        };
        let name = |pod: &Pod| format!("{}/{}", pod.namespace, pod.name);
        let left = self.left.iter().map(|(pod, why)| LeftPod {
            pod: name(pod),
            reason: why.as_str().to_owned(),
        });
        DeadNodeStatus {
            node: node.to_owned(),
            found_by: self.verdict.by.clone(),
            since: self.verdict.since.map(|since| since.to_string()),
            state: state.to_owned(),
            reason: reason.map(|why| why.as_str().to_owned()),
            pods: self.removed.iter().map(name).collect(),
            services: self.services.iter().map(ToString::to_string).collect(),
            left: left.collect(),
        }
    }
}
