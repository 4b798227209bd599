//! L4, L5, L9: what the watcher does about a late beat, and its verdict.

use std::collections::BTreeSet;
use std::time::Duration;

use super::super::members::Way;
use super::super::wire::Message;
use super::super::{Event, KernelAnswer, NodeId, Ownership, Settings, Transmit, Verdict};
use super::Phase;
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
    /// A witness heard nothing.
    witness_silent: bool,
    told: BTreeSet<NodeId>,
    witnesses: Vec<NodeId>,
}

impl Suspicion {
    /// Every probe has had its time.
    pub(super) fn is_ripe(&self, settings: &Settings, now: Instant) -> bool {
        self.rounds >= settings.probes && now >= self.since + settings.verdict()
    }
}

impl Ownership {
    /// L4: late. Probe it, its kernel and the gateway, and ask witnesses: its other watchers, as
    /// they may have heard the same, then random ones.
    pub(in super::super) fn suspect(&mut self, id: NodeId, now: Instant) {
        let mut witnesses = self
            .members
            .neighbours(id, Way::After, self.settings.watchers + 1);
        witnesses.retain(|&witness| witness != self.me);
        witnesses.truncate(self.settings.watchers.min(self.settings.witnesses));
        let rest = self.possible_witnesses(id, &witnesses);
        witnesses.extend(self.pick(self.settings.witnesses - witnesses.len(), rest));
        let nonce = self.random.next() as u32;
        let Some(watch) = self.watching.get_mut(id) else {
            return;
        };
        watch.phase = Phase::Suspecting(Suspicion {
            since: now,
            rounds: 0,
            nonce,
            kernel_answered: false,
            witness_heard: false,
            witness_silent: false,
            told: BTreeSet::new(),
            witnesses,
        });
        self.probe_round(id, now);
    }

    fn possible_witnesses(&self, id: NodeId, asked: &[NodeId]) -> Vec<NodeId> {
        self.members
            .live_others()
            .filter(|other| *other != id && !asked.contains(other))
            .collect()
    }

    pub(super) fn probe_round(&mut self, id: NodeId, now: Instant) {
        self.ask_more_widely(id);
        let Some(watch) = self.watching.watches.get_mut(&id) else {
            return;
        };
        watch.deadline = now + self.settings.probe_gap;
        let is_held = watch.held;
        let Phase::Suspecting(suspicion) = &mut watch.phase else {
            return;
        };
        suspicion.rounds += 1;
        let ask = Message::Ask {
            target: id,
            nonce: suspicion.nonce,
        };
        let silent = suspicion
            .witnesses
            .iter()
            .filter(|witness| !suspicion.told.contains(witness));
        for witness in silent.copied().collect::<Vec<_>>() {
            self.send(witness, &ask);
        }
        let ping = self.ping(!is_held, None);
        self.send(id, &ping);
        self.probe(id);
        self.transmits.push_back(Transmit::ProbeGateway);
    }

    /// L4: as long as no witness has told anything, each round asks one more.
    fn ask_more_widely(&mut self, id: NodeId) {
        let Some(Phase::Suspecting(suspicion)) = self.watching.watches.get(&id).map(|w| &w.phase)
        else {
            return;
        };
        if suspicion.rounds == 0
            || !suspicion.told.is_empty()
            || suspicion.witnesses.len() >= MAX_WITNESSES
        {
            return;
        }
        let rest = self.possible_witnesses(id, &suspicion.witnesses);
        let more = self.pick(1, rest);
        if let Some(Phase::Suspecting(suspicion)) = self.watching.get_mut(id).map(|w| &mut w.phase)
        {
            suspicion.witnesses.extend(more);
        }
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
            self.watching.get_mut(target).map(|w| &mut w.phase)
            && suspicion.nonce == nonce
        {
            suspicion.told.insert(from);
            suspicion.witness_heard |= udp;
            suspicion.kernel_answered |= kernel;
            suspicion.witness_silent |= !udp && !kernel;
        }
    }

    /// A kernel's answer counts only while it is asked for: nobody authenticates it.
    pub(in super::super) fn kernel_answered(
        &mut self,
        id: NodeId,
        answer: KernelAnswer,
        now: Instant,
    ) {
        if !self.proves_kernel(id, answer, now) {
            return;
        }
        let Some(watch) = self.watching.get_mut(id) else {
            self.kernel_answered_witness(id);
            return;
        };
        let was_heard = watch.was_heard;
        if let Phase::Suspecting(suspicion) = &mut watch.phase {
            suspicion.kernel_answered = true;
            // L5 b. It must have been heard before: a firewall may reject every datagram.
            if answer == KernelAnswer::PortUnreachable && was_heard && !watch.held {
                self.give_up(id, Verdict::Process, now);
            }
        } else if watch.held {
            watch.kernel_at = now;
        }
        self.kernel_answered_witness(id);
    }

    /// L5: the verdict, when every probe has had its time.
    pub(super) fn judge(&mut self, id: NodeId, now: Instant) {
        let Settings {
            stalled,
            alone,
            look_again,
            ..
        } = self.settings;
        // L13: without its kernel's word, a stopped process looks like a dead node.
        let patience = if self.kernel_is_silent(id) {
            self.settings.unanswering
        } else {
            Duration::ZERO
        };
        let Some(watch) = self.watching.watches.get_mut(&id) else {
            return;
        };
        let Phase::Suspecting(suspicion) = &watch.phase else {
            return;
        };
        let (since, age) = (suspicion.since, now.saturating_since(suspicion.since));
        if self.received_at < since {
            self.isolate();
        }
        let Some(watch) = self.watching.watches.get_mut(&id) else {
            return;
        };
        let Phase::Suspecting(suspicion) = &watch.phase else {
            return;
        };
        if suspicion.kernel_answered {
            watch.kernel_at = now;
        }
        let was_stalled = watch.stalled_since.is_some();
        if suspicion.witness_heard {
            // c: my path to it is bad, the member is well.
            watch.stalled_since = None;
            watch.listen_until(now + look_again);
        } else if watch.held && suspicion.kernel_answered {
            watch.listen_until(now + self.settings.beat);
        } else if was_stalled && !suspicion.kernel_answered && !watch.missed_one {
            // d: of a kernel that has just answered, one unanswered round is no death. It is asked
            // again at once: the node may have died since, and each round costs its users as much.
            watch.missed_one = true;
            self.suspect(id, now);
        } else if suspicion.kernel_answered {
            // d: its kernel answers somebody, its process nobody.
            watch.missed_one = false;
            let stalled_since = *watch.stalled_since.get_or_insert(since);
            if now >= stalled_since + stalled {
                self.give_up(id, Verdict::Stalled, now);
            } else {
                watch.listen_until(now + look_again);
            }
        } else if suspicion.witness_silent && age >= patience {
            // e: two members, independently, heard neither process nor kernel.
            self.give_up(id, Verdict::Node, now);
        } else if age >= alone.max(patience) {
            // f: there is nobody to ask.
            self.watching.verdicts.push(now);
            self.watching.watches.remove(&id);
            self.lose(id, now);
        } else {
            self.probe_round(id, now);
        }
    }

    pub(super) fn give_up(&mut self, id: NodeId, verdict: Verdict, now: Instant) {
        self.watching.verdicts.push(now);
        self.watching.watches.remove(&id);
        self.watching.is_stale = true;
        self.pronounce(id, verdict, now);
    }

    /// L9: nothing at all was received since the suspicion began: it is this node that is cut off.
    /// What it announces it keeps, as it cannot know better; it takes nothing.
    fn isolate(&mut self) {
        if !self.watching.isolated {
            self.watching.isolated = true;
            self.events.push_back(Event::Isolated);
            self.unjoin();
        }
    }
}
