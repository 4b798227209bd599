//! L1, L3, L4, L5, L8, L9: a late beat, what the watcher does about it, and its verdict.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::members::Way;
use super::wire::Message;
use super::{Event, KernelAnswer, NodeId, Ownership, Settings, Transmit, Verdict};
use crate::Instant;

/// After a suspicion that was no death, the next look.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// How long a member must say that it hears nothing, while it is pinged.
const DEAF: Duration = Duration::from_millis(60);
/// Verdicts in this time widen the watch (L8).
const RECENT: Duration = Duration::from_millis(2_000);
/// K is doubled at most this often: to 64.
const WIDENINGS: usize = 5;
/// Most witnesses of one suspicion: when many die at once, most of those asked are dead.
const MAX_WITNESSES: usize = 12;

/// Whom this member watches.
#[derive(Debug, Clone)]
pub(super) struct Watching {
    watches: BTreeMap<NodeId, Watch>,
    /// Members that others hold gone, watched until then (L7).
    doubted: BTreeMap<NodeId, Instant>,
    /// When this member last gave somebody up (L8).
    verdicts: Vec<Instant>,
    renew_at: Instant,
    isolated: bool,
    is_stale: bool,
    /// The longest time between two beats of a member since the last [`Ownership::poll_gap`].
    gap: Option<Duration>,
}

#[derive(Debug, Clone)]
pub(super) struct Watch {
    phase: Phase,
    /// When the next beat is late; while suspecting, when the next round is due.
    pub(super) deadline: Instant,
    /// R1: its process is away; its kernel is watched instead.
    pub(super) held: bool,
    was_heard: bool,
    stalled_since: Option<Instant>,
    /// Since then its kernel has left one round unanswered.
    missed_one: bool,
    /// The last answer of its kernel.
    pub(super) kernel_at: Instant,
    deaf_since: Option<Instant>,
    /// Its last scheduled beat.
    beat_at: Option<Instant>,
    /// Since when its table differs from ours (C7).
    pub(super) differs_since: Option<Instant>,
}

#[derive(Debug, Clone)]
enum Phase {
    Listening,
    Suspecting(Suspicion),
}

#[derive(Debug, Clone)]
struct Suspicion {
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

impl Watching {
    pub(super) const fn new(renew_at: Instant) -> Self {
        Self {
            watches: BTreeMap::new(),
            doubted: BTreeMap::new(),
            verdicts: Vec::new(),
            renew_at,
            isolated: false,
            is_stale: false,
            gap: None,
        }
    }

    pub(super) const fn is_isolated(&self) -> bool {
        self.isolated
    }

    pub(super) const fn end_isolation(&mut self) -> bool {
        std::mem::replace(&mut self.isolated, false)
    }

    pub(super) fn get_mut(&mut self, id: NodeId) -> Option<&mut Watch> {
        self.watches.get_mut(&id)
    }

    /// L7; false if too many are watched already.
    pub(super) fn doubt(&mut self, id: NodeId, until: Instant, most: usize) -> bool {
        if self.doubted.len() >= most && !self.doubted.contains_key(&id) {
            return false;
        }
        self.is_stale |= self.doubted.insert(id, until).is_none();
        true
    }
}

impl Watch {
    fn new(held: bool, deadline: Instant, now: Instant) -> Self {
        Self {
            phase: Phase::Listening,
            deadline,
            held,
            was_heard: false,
            stalled_since: None,
            missed_one: false,
            kernel_at: now,
            deaf_since: None,
            beat_at: None,
            differs_since: None,
        }
    }

    pub(super) const fn is_suspecting(&self) -> bool {
        matches!(self.phase, Phase::Suspecting(_))
    }

    pub(super) fn listen_until(&mut self, deadline: Instant) {
        self.phase = Phase::Listening;
        self.deadline = deadline;
    }
}

impl Ownership {
    /// L1: whom to watch follows from who is live. The watched are told at once.
    pub(super) fn rewatch(&mut self, now: Instant) {
        self.watching.is_stale = false;
        self.watching.verdicts.retain(|&at| now < at + RECENT);
        self.watching.doubted.retain(|_, until| *until > now);
        // L8: where one died, its neighbours, and the watchers of others, may be dead too.
        let watched = self.settings.watchers << self.watching.verdicts.len().min(WIDENINGS);
        let mut wanted: BTreeMap<NodeId, bool> = self
            .members
            .neighbours(self.me, Way::Before, watched)
            .into_iter()
            .map(|id| (id, false))
            .collect();
        let doubted = self
            .watching
            .doubted
            .keys()
            .filter(|id| self.members.is_live(**id));
        wanted.extend(doubted.map(|&id| (id, false)));
        wanted.extend(self.held_to_watch().into_iter().map(|id| (id, true)));
        self.watching
            .watches
            .retain(|id, watch| wanted.get(id) == Some(&watch.held));
        for (id, held) in wanted {
            if self.watching.watches.contains_key(&id) {
                continue;
            }
            let wait = if held {
                self.settings.beat
            } else {
                self.settings.slack
            };
            self.watching
                .watches
                .insert(id, Watch::new(held, now + wait, now));
            if !held {
                let ping = self.ping(true, None);
                self.send(id, &ping);
            }
        }
    }

    /// L3: only scheduled beats move the deadline, any datagram ends a suspicion. An answer to a
    /// PING that came late would otherwise hide the beats that did not come.
    pub(super) fn heard_watched(&mut self, from: NodeId, is_scheduled: bool, now: Instant) {
        let late = self.settings.late();
        let Some(watch) = self.watching.get_mut(from).filter(|watch| !watch.held) else {
            return;
        };
        if is_scheduled || watch.is_suspecting() || !watch.was_heard {
            watch.deadline = now + late;
        }
        let gap = is_scheduled
            .then(|| watch.beat_at.replace(now))
            .flatten()
            .map(|before| now.saturating_since(before));
        watch.phase = Phase::Listening;
        watch.stalled_since = None;
        watch.was_heard = true;
        self.watching.gap = self.watching.gap.max(gap);
    }

    /// The longest time between two beats of a member that this one watches, since the last call.
    pub fn poll_gap(&mut self) -> Option<Duration> {
        self.watching.gap.take()
    }

    pub(super) fn watch_when_due(&mut self, now: Instant) {
        if now >= self.watching.renew_at {
            self.watching.renew_at = now + self.settings.subscribe;
            let is_widened =
                !self.watching.verdicts.is_empty() || !self.watching.doubted.is_empty();
            self.watching.is_stale |= is_widened;
            self.renew_subscriptions();
            self.ask_kernels(now);
            self.confirm_claims(now);
        }
        let due: Vec<NodeId> = self
            .watching
            .watches
            .iter()
            .filter(|(_, watch)| watch.deadline <= now)
            .map(|(&id, _)| id)
            .collect();
        for id in due {
            self.watch_one(id, now);
        }
        if self.watching.is_stale {
            self.rewatch(now);
        }
    }

    /// The members whose beats are watched.
    pub(super) fn watched(&self) -> Vec<NodeId> {
        let watches = self.watching.watches.iter();
        let live = watches.filter(|(_, watch)| !watch.held);
        live.map(|(&id, _)| id).collect()
    }

    fn renew_subscriptions(&mut self) {
        for id in self.watched() {
            let ping = self.ping(true, None);
            self.send(id, &ping);
        }
    }

    fn watch_one(&mut self, id: NodeId, now: Instant) {
        let Some(watch) = self.watching.watches.get(&id) else {
            return;
        };
        match &watch.phase {
            Phase::Listening if watch.held => self.watch_kernel(id, now),
            Phase::Listening => self.suspect(id, now),
            Phase::Suspecting(suspicion) => {
                let is_ripe = suspicion.rounds >= self.settings.probes
                    && now >= suspicion.since + self.settings.verdict();
                if is_ripe {
                    self.judge(id, now)
                } else {
                    self.probe_round(id, now)
                }
            }
        }
    }

    /// L4: late. Probe it, its kernel and the gateway, and ask witnesses: its other watchers, as
    /// they may have heard the same, then random ones.
    pub(super) fn suspect(&mut self, id: NodeId, now: Instant) {
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

    fn probe_round(&mut self, id: NodeId, now: Instant) {
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

    pub(super) fn handle_tell(
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
    pub(super) fn kernel_answered(&mut self, id: NodeId, answer: KernelAnswer, now: Instant) {
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
    fn judge(&mut self, id: NodeId, now: Instant) {
        let Settings { stalled, alone, .. } = self.settings;
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
            watch.listen_until(now + LOOK_AGAIN);
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
                watch.listen_until(now + LOOK_AGAIN);
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

    fn give_up(&mut self, id: NodeId, verdict: Verdict, now: Instant) {
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

    /// L9: a member that sends but hears nothing keeps its addresses and serves nobody.
    pub(super) fn note_deaf(&mut self, from: NodeId, deaf: bool, now: Instant) {
        let Some(watch) = self.watching.get_mut(from) else {
            return;
        };
        if !deaf {
            watch.deaf_since = None;
            return;
        }
        let since = *watch.deaf_since.get_or_insert(now);
        if now >= since + DEAF {
            self.give_up(from, Verdict::Deaf, now);
        } else {
            // If it hears this, it is deaf no more.
            let ping = self.ping(false, None);
            self.send(from, &ping);
        }
    }

    pub(super) fn watch_due(&self) -> Option<(Instant, &'static str)> {
        let deadlines = self
            .watching
            .watches
            .values()
            .map(|watch| (watch.deadline, "a late beat"));
        let stale = self
            .watching
            .is_stale
            .then_some((Instant::START, "whom to watch"));
        deadlines
            .chain(stale)
            .chain([(self.watching.renew_at, "subscriptions")])
            .min()
    }
}
