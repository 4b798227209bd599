//! L13: whether a member's kernel answers at all.
//!
//! A verdict rests on the kernel: whose process is silent and whose kernel answers is no dead node.
//! Where routers or firewalls keep the questions from it, a stopped process would look like a dead
//! node; so each watcher asks in peace, and is patient where nothing comes back.

use std::time::Duration;

use super::interface::KernelAnswer;
use super::settings::Settings;
use crate::Instant;
use crate::wire::MacAddr;

/// So many questions in a row without an answer: at 5 % loss both ways it happens once in 1,000.
const UNANSWERED: u32 = 3;

/// What is known of the kernel of one member's node.
#[derive(Debug, Clone)]
pub(super) struct Kernel {
    /// It once answered an echo request: then only echoes prove it alive.
    echoes: bool,
    /// When it was last asked in peace, and when it last answered anything.
    asked_at: Option<Instant>,
    answered_at: Option<Instant>,
    /// Questions in a row that it did not answer although its member's process was heard.
    unanswered: u32,
    /// It last said that no process listens.
    no_process_at: Option<Instant>,
    /// The hardware address that it answers with.
    mac: MacAddr,
}

/// It is time to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Question {
    /// It has just been found to answer nothing.
    pub(super) is_found_silent: bool,
}

impl Kernel {
    pub(super) fn new() -> Self {
        Self {
            echoes: false,
            asked_at: None,
            answered_at: None,
            unanswered: 0,
            no_process_at: None,
            mac: MacAddr::zero(),
        }
    }

    /// What it answered at another address says nothing about this one.
    pub(super) fn forget_answers(&mut self) {
        *self = Self {
            mac: self.mac,
            ..Self::new()
        };
    }

    pub(super) const fn mac(&self) -> MacAddr {
        self.mac
    }

    pub(super) const fn asked_at(&self) -> Option<Instant> {
        self.asked_at
    }

    pub(super) const fn answered_at(&self) -> Option<Instant> {
        self.answered_at
    }

    /// Whether it has answered within this time.
    pub(super) fn has_answered_within(&self, time: Duration, now: Instant) -> bool {
        self.answered_at.is_some_and(|at| now < at + time)
    }

    /// Whether it has said within this time that no process listens.
    pub(super) fn has_denied_within(&self, time: Duration, now: Instant) -> bool {
        self.no_process_at.is_some_and(|at| now < at + time)
    }

    /// Whether nothing is known of the node but what its process says.
    pub(super) const fn is_silent(&self) -> bool {
        self.unanswered >= UNANSWERED
    }

    /// It answered when it was last asked in peace: its silence is a sign (D1).
    pub(super) const fn is_known_to_answer(&self) -> bool {
        self.answered_at.is_some() && self.unanswered == 0
    }

    pub(super) const fn note_asked(&mut self, now: Instant) {
        self.asked_at = Some(now);
    }

    /// Whether to ask it again, of a member that was last heard then.
    pub(super) fn ask_when_due(
        &mut self,
        heard_at: Option<Instant>,
        settings: &Settings,
        now: Instant,
    ) -> Option<Question> {
        let since_asked = |at: Option<Instant>| at >= self.asked_at;
        let is_answered = self.answered_at.is_some() && since_asked(self.answered_at);
        let wait = match is_answered {
            true => settings.ask_again,
            false if self.is_silent() => settings.ask_the_silent,
            false => Duration::ZERO,
        };
        if self.asked_at.is_some_and(|at| now < at + wait) {
            return None;
        }
        let was_heard = self.asked_at.is_some() && since_asked(heard_at);
        if !is_answered && was_heard {
            self.unanswered = self.unanswered.saturating_add(1);
        }
        let is_found_silent = self.unanswered == UNANSWERED && !is_answered;
        if is_found_silent {
            // Perhaps it answers ARP, and no echo any more.
            self.echoes = false;
        }
        self.asked_at = Some(now);
        Some(Question { is_found_silent })
    }

    /// Whether this proves that it runs. `said` is the hardware address that its member has told. An ARP
    /// proxy answers for the dead with its own, and some fabrics with the right one; so echoes decide
    /// for a node that is known to answer them.
    pub(super) fn proves(
        &mut self,
        answer: KernelAnswer,
        said: Option<MacAddr>,
        now: Instant,
    ) -> bool {
        let is_proof = match answer {
            KernelAnswer::Neighbour(mac) => {
                self.mac = mac;
                let is_its_own = said.is_none_or(|said| said == mac);
                is_its_own && !self.echoes
            }
            KernelAnswer::Echo => {
                self.echoes = true;
                true
            }
            KernelAnswer::PortUnreachable => {
                self.no_process_at = Some(now);
                true
            }
        };
        if is_proof {
            self.answered_at = Some(now);
            // The other one is no answer to what is asked while its process lives.
            if answer != KernelAnswer::PortUnreachable {
                self.unanswered = 0;
            }
        }
        is_proof
    }
}
