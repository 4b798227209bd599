//! L13: whether a member's kernel answers at all.
//!
//! A verdict rests on the kernel: whose process is silent and whose kernel answers is no dead node.
//! Where routers or firewalls keep the questions from it, a stopped process would look like a dead
//! node; so each watcher asks in peace, and is patient where nothing comes back.

use std::time::Duration;

use super::{Event, KernelAnswer, NodeId, Ownership};
use crate::Instant;

/// So many questions in a row without an answer: at 5 % loss both ways it happens once in 1,000.
const UNANSWERED: u32 = 3;

impl Ownership {
    /// Asks the kernels of those who are watched, with their subscriptions.
    pub(super) fn ask_kernels(&mut self, now: Instant) {
        for id in self.watched() {
            let Some(member) = self.members.get_mut(id) else {
                continue;
            };
            let since_asked = |at: Option<Instant>| at >= member.asked_at;
            let is_answered = member.kernel_at.is_some() && since_asked(member.kernel_at);
            let wait = match is_answered {
                true => self.settings.ask_again,
                false if member.unanswered >= UNANSWERED => self.settings.ask_the_silent,
                false => Duration::ZERO,
            };
            if member.asked_at.is_some_and(|at| now < at + wait) {
                continue;
            }
            let was_heard = member.asked_at.is_some() && since_asked(member.heard_at);
            if !is_answered && was_heard {
                member.unanswered = member.unanswered.saturating_add(1);
            }
            if member.unanswered == UNANSWERED && !is_answered {
                // Perhaps it answers ARP, and no echo any more.
                member.echoes = false;
                self.events.push_back(Event::KernelSilent { node: id });
            }
            member.asked_at = Some(now);
            self.probe(id);
        }
    }

    /// Whether nothing is known of this member's node but what its process says.
    pub(super) fn kernel_is_silent(&self, id: NodeId) -> bool {
        let member = self.members.get(id);
        member.is_some_and(|member| member.unanswered >= UNANSWERED)
    }

    /// Whether this proves that the member's kernel runs. An ARP proxy answers for the dead with its
    /// own hardware address, and some fabrics with the right one; so echoes decide for a node that is
    /// known to answer them.
    pub(super) fn proves_kernel(&mut self, id: NodeId, answer: KernelAnswer, now: Instant) -> bool {
        let Some(member) = self.members.get_mut(id) else {
            return false;
        };
        let is_proof = match answer {
            KernelAnswer::Neighbour(mac) => {
                member.kernel_mac = mac;
                let is_its_own = !member.standing.is_heard_of() || mac == member.record.mac;
                is_its_own && !member.echoes
            }
            KernelAnswer::Echo => {
                member.echoes = true;
                true
            }
            KernelAnswer::PortUnreachable => {
                member.no_process_at = Some(now);
                true
            }
        };
        if is_proof {
            member.kernel_at = Some(now);
            // The other one is no answer to what is asked while its process lives.
            if answer != KernelAnswer::PortUnreachable {
                member.unanswered = 0;
            }
        }
        is_proof
    }
}
