//! L4, L5, L9: what the watcher does about a late beat, and its verdict.

use std::collections::BTreeSet;
use std::time::Duration;

use super::super::beats::ping;
use super::super::context::{Ctx, Step};
use super::super::join::Join;
use super::super::liveness::lose;
use super::super::members::Way;
use super::super::model::Verdict;
use super::super::node::NodeId;
use super::super::settings::Settings;
use super::super::wire::Message;
use super::{Phase, Watch, Watching};
use crate::Instant;

/// Most witnesses of one suspicion: when many die at once, most of those asked are dead.
const MAX_WITNESSES: usize = 12;

#[derive(Debug, Clone)]
pub(super) struct Suspicion {
    since: Instant,
    rounds: u32,
    nonce: u32,
    kernel_answered: bool,
    /// A witness heard its process.
    witness_heard: bool,
    /// A witness that heard nothing.
    silent_witness: Option<NodeId>,
    told: BTreeSet<NodeId>,
    witnesses: Vec<NodeId>,
}

/// What follows once every probe has had its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// It is well, or may be: its beats, or its kernel, are listened for until then.
    Listen(Instant),
    /// It is asked again from the start.
    Suspect,
    /// It is asked once more.
    Ask,
    /// Everybody is told that it is gone.
    GiveUp(Verdict),
    /// Nobody is told.
    Lose,
}

impl Suspicion {
    /// Every probe has had its time.
    pub(super) fn is_ripe(&self, settings: &Settings, now: Instant) -> bool {
        self.rounds >= settings.probes && now >= self.since + settings.verdict()
    }

    pub(super) const fn note_kernel(&mut self) {
        self.kernel_answered = true;
    }
}

impl Watching {
    /// L4: late. Probe it, its kernel and the gateway, and ask witnesses: its other watchers, as
    /// they may have heard the same, then random ones.
    pub(super) fn suspect(&mut self, id: NodeId, joined: bool, step: &mut Step<'_>) {
        let (most, me) = (step.settings.witnesses, step.me);
        let mut witnesses = step
            .members
            .neighbours(id, Way::After, step.settings.watchers + 1);
        witnesses.retain(|&witness| witness != me);
        witnesses.truncate(step.settings.watchers.min(most));
        let rest = possible_witnesses(id, &witnesses, step.ctx());
        witnesses.extend(step.pick(most - witnesses.len(), rest));
        let nonce = step.random() as u32;
        let Some(watch) = self.watches.get_mut(&id) else {
            return;
        };
        watch.phase = Phase::Suspecting(Suspicion {
            since: step.now,
            rounds: 0,
            nonce,
            kernel_answered: false,
            witness_heard: false,
            silent_witness: None,
            told: BTreeSet::new(),
            witnesses,
        });
        self.probe_round(id, joined, step);
    }

    pub(super) fn probe_round(&mut self, id: NodeId, joined: bool, step: &mut Step<'_>) {
        let Some(watch) = self.watches.get_mut(&id) else {
            return;
        };
        if let Phase::Suspecting(suspicion) = &mut watch.phase {
            suspicion.ask_more_widely(id, step);
        }
        watch.deadline = step.now + step.settings.probe_gap;
        let is_held = watch.held;
        let Phase::Suspecting(suspicion) = &mut watch.phase else {
            return;
        };
        suspicion.rounds += 1;
        let ask = Message::Ask {
            target: id,
            nonce: suspicion.nonce,
        };
        let witnesses = suspicion.witnesses.iter();
        for witness in witnesses.filter(|witness| !suspicion.told.contains(witness)) {
            step.send(*witness, &ask);
        }
        step.send(id, &ping(joined, !is_held, None, step.ctx()));
        step.probe(id);
        step.probe_gateway();
    }

    pub(in super::super) fn handle_tell(
        &mut self,
        from: NodeId,
        target: NodeId,
        nonce: u32,
        udp: bool,
        kernel: bool,
    ) {
        if let Some(Phase::Suspecting(suspicion)) =
            self.watches.get_mut(&target).map(|watch| &mut watch.phase)
            && suspicion.nonce == nonce
        {
            suspicion.told.insert(from);
            suspicion.witness_heard |= udp;
            suspicion.kernel_answered |= kernel;
            if !udp && !kernel {
                suspicion.silent_witness.get_or_insert(from);
            }
        }
    }

    /// L5: the verdict, when every probe has had its time.
    pub(super) fn judge(&mut self, id: NodeId, join: &mut Join, step: &mut Step<'_>) {
        let is_kernel_silent = step.members.is_kernel_silent(id);
        let Some(watch) = self.watches.get_mut(&id) else {
            return;
        };
        let Phase::Suspecting(suspicion) = &watch.phase else {
            return;
        };
        let witness = suspicion.silent_witness;
        if self.received_at < suspicion.since {
            self.isolate(join, step);
        }
        let Some(watch) = self.watches.get_mut(&id) else {
            return;
        };
        let joined = join.is_joined();
        match watch.judge(is_kernel_silent, step.ctx()) {
            Outcome::Listen(until) => watch.listen_until(until),
            Outcome::Suspect => self.suspect(id, joined, step),
            Outcome::Ask => self.probe_round(id, joined, step),
            Outcome::GiveUp(verdict) => {
                self.give_up(id, verdict, step);
                if let (Verdict::Node, Some(witness)) = (verdict, witness) {
                    self.found.push((id, witness));
                }
            }
            Outcome::Lose => {
                self.verdicts.push(step.now);
                self.watches.remove(&id);
                lose(id, step);
            }
        }
    }
}

impl Watch {
    fn judge(&mut self, is_kernel_silent: bool, ctx: Ctx<'_>) -> Outcome {
        let (settings, now) = (ctx.settings, ctx.now);
        let Phase::Suspecting(suspicion) = &self.phase else {
            return Outcome::Ask;
        };
        let age = now.saturating_since(suspicion.since);
        // L13: without its kernel's word, a stopped process looks like a dead node.
        let patience = if is_kernel_silent {
            settings.unanswering
        } else {
            Duration::ZERO
        };
        if suspicion.kernel_answered {
            self.kernel_at = now;
        }
        let was_stalled = self.stalled_since.is_some();
        if suspicion.witness_heard {
            // c: my path to it is bad, the member is well.
            self.stalled_since = None;
            Outcome::Listen(now + settings.look_again)
        } else if self.held && suspicion.kernel_answered {
            Outcome::Listen(now + settings.beat)
        } else if was_stalled && !suspicion.kernel_answered && !self.missed_one {
            // d: of a kernel that has just answered, one unanswered round is no death. It is asked
            // again at once: the node may have died since, and each round costs its users as much.
            self.missed_one = true;
            Outcome::Suspect
        } else if suspicion.kernel_answered {
            // d: its kernel answers somebody, its process nobody.
            self.missed_one = false;
            let stalled_since = *self.stalled_since.get_or_insert(suspicion.since);
            if now >= stalled_since + settings.stalled {
                Outcome::GiveUp(Verdict::Stalled)
            } else {
                Outcome::Listen(now + settings.look_again)
            }
        } else if suspicion.silent_witness.is_some() && age >= patience {
            // e: two members, independently, heard neither process nor kernel.
            Outcome::GiveUp(Verdict::Node)
        } else if age >= settings.alone.max(patience) {
            // f: there is nobody to ask.
            Outcome::Lose
        } else {
            Outcome::Ask
        }
    }
}

impl Suspicion {
    /// L4: as long as no witness has told anything, each round asks one more.
    fn ask_more_widely(&mut self, id: NodeId, step: &mut Step<'_>) {
        let is_enough = self.witnesses.len() >= MAX_WITNESSES;
        if self.rounds == 0 || !self.told.is_empty() || is_enough {
            return;
        }
        let rest = possible_witnesses(id, &self.witnesses, step.ctx());
        let more = step.pick(1, rest);
        self.witnesses.extend(more);
    }
}

fn possible_witnesses(id: NodeId, asked: &[NodeId], ctx: Ctx<'_>) -> Vec<NodeId> {
    ctx.members
        .live_others()
        .filter(|other| *other != id && !asked.contains(other))
        .collect()
}
