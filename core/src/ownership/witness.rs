//! L4: a second opinion, asked for by a watcher. A witness never answers from memory: what it heard
//! a moment ago says nothing about now.

use super::beats::ping;
use super::context::Step;
use super::node::NodeId;
use super::wire::Message;
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

impl Witness {
    pub(super) fn handle_ask(
        &mut self,
        from: NodeId,
        target: NodeId,
        nonce: u32,
        step: &mut Step<'_>,
    ) {
        let asked = |question: &&Question| question.from == from && question.nonce == nonce;
        if let Some(question) = self.questions.iter().find(asked) {
            // Asked again: the answer was lost, if there was one.
            if let Some(finding) = question.finding {
                step.send(from, &question.tell(finding));
            }
        } else if target != step.me && self.questions.len() < MAX_QUESTIONS {
            self.questions.push(Question {
                from,
                target,
                nonce,
                since: step.now,
                next: step.now,
                probes: 0,
                finding: None,
            });
        }
    }

    /// A datagram of the target, after this witness began to probe it.
    pub(super) fn heard(&mut self, target: NodeId, step: &mut Step<'_>) {
        let is_open = |question: &Question| {
            question.probes > 0
                && !matches!(question.finding, Some(Finding::Heard | Finding::Nothing))
        };
        self.find(target, Finding::Heard, is_open, step);
    }

    pub(super) fn kernel_answered(&mut self, target: NodeId, step: &mut Step<'_>) {
        let is_open = |question: &Question| question.probes > 0 && question.finding.is_none();
        self.find(target, Finding::Kernel, is_open, step);
    }

    fn find(
        &mut self,
        target: NodeId,
        finding: Finding,
        is_open: impl Fn(&Question) -> bool,
        step: &mut Step<'_>,
    ) {
        for question in &mut self.questions {
            if question.target == target && is_open(question) {
                question.finding = Some(finding);
                step.send(question.from, &question.tell(finding));
            }
        }
    }

    /// Whether it was asked just now, probed, and heard nothing.
    pub(super) fn found_nothing_of(&self, target: NodeId) -> bool {
        let mut questions = self.questions.iter();
        questions.any(|one| one.target == target && one.finding == Some(Finding::Nothing))
    }

    pub(super) fn handle_timeout(&mut self, joined: bool, step: &mut Step<'_>) {
        let (now, limit) = (step.now, step.settings.alone);
        self.questions
            .retain(|question| now < question.since + limit);
        let (mut probes, mut tells) = (Vec::new(), Vec::new());
        for question in &mut self.questions {
            let is_done = matches!(question.finding, Some(Finding::Heard | Finding::Nothing));
            if is_done || question.next > now {
                continue;
            }
            if question.probes < step.settings.probes {
                question.probes += 1;
                question.next = question.since + step.settings.witness_gap * question.probes;
                probes.push(question.target);
            } else if question.finding.is_none() {
                question.finding = Some(Finding::Nothing);
                tells.push((question.from, question.tell(Finding::Nothing)));
            } else {
                question.next = question.since + limit;
            }
        }
        for target in probes {
            step.send(target, &ping(joined, false, None, step.ctx()));
            step.probe(target);
        }
        for (to, tell) in tells {
            step.send(to, &tell);
        }
    }

    pub(super) fn due(&self) -> Option<(Instant, &'static str)> {
        let open = self.questions.iter().filter(|question| {
            !matches!(question.finding, Some(Finding::Heard | Finding::Nothing))
        });
        open.map(|question| question.next)
            .min()
            .map(|at| (at, "a witness's probe"))
    }
}
