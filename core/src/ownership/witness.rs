//! L4: a second opinion, asked for by a watcher. A witness never answers from memory: what it heard
//! a moment ago says nothing about now.

use super::wire::Message;
use super::{NodeId, Ownership};
use crate::Instant;

/// Questions that a witness works on at once; more are a flood.
const MAX_QUESTIONS: usize = 256;

#[derive(Debug, Clone, Default)]
pub(super) struct Witness {
    questions: Vec<Question>,
}

#[derive(Debug, Clone)]
struct Question {
    from: NodeId,
    target: NodeId,
    nonce: u32,
    since: Instant,
    next: Instant,
    probes: u32,
    finding: Option<Finding>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finding {
    /// Its process answered.
    Heard,
    /// Its kernel did.
    Kernel,
    Nothing,
}

impl Question {
    const fn tell(&self, finding: Finding) -> Message {
        Message::Tell {
            target: self.target,
            nonce: self.nonce,
            udp: matches!(finding, Finding::Heard),
            kernel: matches!(finding, Finding::Heard | Finding::Kernel),
        }
    }
}

impl Ownership {
    pub(super) fn handle_ask(&mut self, from: NodeId, target: NodeId, nonce: u32, now: Instant) {
        let asked = |question: &&Question| question.from == from && question.nonce == nonce;
        if let Some(question) = self.witness.questions.iter().find(asked) {
            // Asked again: the answer was lost, if there was one.
            if let Some(finding) = question.finding {
                let tell = question.tell(finding);
                self.send(from, &tell);
            }
        } else if target != self.me && self.witness.questions.len() < MAX_QUESTIONS {
            self.witness.questions.push(Question {
                from,
                target,
                nonce,
                since: now,
                next: now,
                probes: 0,
                finding: None,
            });
        }
    }

    /// A datagram of the target, after this witness began to probe it.
    pub(super) fn heard_asked(&mut self, target: NodeId) {
        let is_open = |question: &Question| {
            question.probes > 0
                && !matches!(question.finding, Some(Finding::Heard | Finding::Nothing))
        };
        self.find(target, Finding::Heard, is_open);
    }

    pub(super) fn kernel_answered_witness(&mut self, target: NodeId) {
        self.find(target, Finding::Kernel, |question| {
            question.probes > 0 && question.finding.is_none()
        });
    }

    fn find(&mut self, target: NodeId, finding: Finding, is_open: impl Fn(&Question) -> bool) {
        let mut tells = Vec::new();
        for question in &mut self.witness.questions {
            if question.target == target && is_open(question) {
                question.finding = Some(finding);
                tells.push((question.from, question.tell(finding)));
            }
        }
        for (to, tell) in tells {
            self.send(to, &tell);
        }
    }

    pub(super) fn witness_when_due(&mut self, now: Instant) {
        let limit = self.settings.alone;
        self.witness
            .questions
            .retain(|question| now < question.since + limit);
        let (mut probes, mut tells) = (Vec::new(), Vec::new());
        for question in &mut self.witness.questions {
            let is_done = matches!(question.finding, Some(Finding::Heard | Finding::Nothing));
            if is_done || question.next > now {
                continue;
            }
            if question.probes < self.settings.probes {
                question.probes += 1;
                question.next = question.since + self.settings.witness_gap * question.probes;
                probes.push(question.target);
            } else if question.finding.is_none() {
                question.finding = Some(Finding::Nothing);
                tells.push((question.from, question.tell(Finding::Nothing)));
            } else {
                question.next = question.since + limit;
            }
        }
        for target in probes {
            let ping = self.ping(false, None);
            self.send(target, &ping);
            self.probe(target);
        }
        for (to, tell) in tells {
            self.send(to, &tell);
        }
    }

    pub(super) fn witness_due(&self) -> Option<(Instant, &'static str)> {
        let open = self.witness.questions.iter().filter(|question| {
            !matches!(question.finding, Some(Finding::Heard | Finding::Nothing))
        });
        open.map(|question| question.next)
            .min()
            .map(|at| (at, "a witness's probe"))
    }
}
