//! L1, L3, L8: whom this member watches, and when a beat is late. L9: who hears nothing.

mod held;
mod suspicion;

use std::collections::BTreeMap;
use std::time::Duration;

use suspicion::Suspicion;

use super::beats::ping;
use super::context::{Ctx, Step};
use super::interface::{Event, KernelAnswer};
use super::join::Join;
use super::liveness::pronounce;
use super::members::Way;
use super::model::Verdict;
use super::node::NodeId;
use crate::Instant;

/// So many members are doubted at once: the others are seen by their own watchers.
const DOUBTED: usize = 32;
/// So many kernels of members that are watched by others are asked at a time.
const FURTHER_KERNELS: usize = 8;
/// K is doubled at most this often: to 64.
const WIDENINGS: usize = 5;

/// Whom this member watches.
#[derive(Debug, Clone)]
pub(super) struct Watching {
    watches: BTreeMap<NodeId, Watch>,
    /// Members that others hold gone, watched until then (L7).
    doubted: BTreeMap<NodeId, Instant>,
    /// When this member last gave somebody up (L8).
    verdicts: Vec<Instant>,
    renew_at: Instant,
    /// The last reception of anything: proves that this node can hear (L9).
    received_at: Instant,
    isolated: bool,
    is_stale: bool,
    /// Whom it just found dead, each with the witness that agreed.
    found: Vec<(NodeId, NodeId)>,
    /// The longest time between two beats of a member since that was last asked for.
    gap: Option<Duration>,
}

#[derive(Debug, Clone)]
struct Watch {
    phase: Phase,
    /// When the next beat is late; while suspecting, when the next round is due.
    deadline: Instant,
    /// R1: its process is away; its kernel is watched instead.
    held: bool,
    was_heard: bool,
    stalled_since: Option<Instant>,
    /// Since then its kernel has left one round unanswered.
    missed_one: bool,
    /// The last answer of its kernel.
    kernel_at: Instant,
    deaf_since: Option<Instant>,
    /// Its last scheduled beat.
    beat_at: Option<Instant>,
    /// Since when its table differs from ours (C7).
    differs_since: Option<Instant>,
}

#[derive(Debug, Clone)]
enum Phase {
    Listening,
    Suspecting(Suspicion),
}

impl Watching {
    pub(super) const fn new(renew_at: Instant, now: Instant) -> Self {
        Self {
            watches: BTreeMap::new(),
            doubted: BTreeMap::new(),
            verdicts: Vec::new(),
            renew_at,
            received_at: now,
            isolated: false,
            is_stale: false,
            found: Vec::new(),
            gap: None,
        }
    }

    pub(super) const fn is_isolated(&self) -> bool {
        self.isolated
    }

    /// This node can hear. Whether it could not before: then it has to learn what it missed (L9).
    pub(super) const fn received(&mut self, now: Instant) -> bool {
        self.received_at = now;
        std::mem::replace(&mut self.isolated, false)
    }

    /// L7: whoever is said to be gone is watched, and told, so that it can refute.
    pub(super) fn doubt(&mut self, id: NodeId, inc: u32, joined: bool, step: &mut Step<'_>) {
        if self.doubted.len() >= DOUBTED && !self.doubted.contains_key(&id) {
            return;
        }
        let until = step.now + step.settings.doubt;
        self.is_stale |= self.doubted.insert(id, until).is_none();
        step.send(id, &ping(joined, true, Some(inc), step.ctx()));
    }

    /// L1: whom to watch follows from who is live. The watched are told at once.
    pub(super) fn rewatch(&mut self, joined: bool, step: &mut Step<'_>) {
        let now = step.now;
        self.is_stale = false;
        self.verdicts.retain(|&at| now < at + step.settings.recent);
        self.doubted.retain(|_, until| *until > now);
        let wanted = self.to_watch(step.ctx());
        self.watches
            .retain(|id, watch| wanted.get(id) == Some(&watch.held));
        for (id, held) in wanted {
            if self.watches.contains_key(&id) {
                continue;
            }
            let wait = if held {
                step.settings.beat
            } else {
                step.settings.slack
            };
            self.watches.insert(id, Watch::new(held, now + wait, now));
            if !held {
                step.send(id, &ping(joined, true, None, step.ctx()));
            }
        }
    }

    /// Each with whether its process is held.
    fn to_watch(&self, ctx: Ctx<'_>) -> BTreeMap<NodeId, bool> {
        // L8: where one died, its neighbours, and the watchers of others, may be dead too.
        let watched = ctx.settings.watchers << self.verdicts.len().min(WIDENINGS);
        let neighbours = ctx.members.neighbours(ctx.me, Way::Before, watched);
        let doubted = self.doubted.keys().copied();
        let doubted = doubted.filter(|&id| ctx.members.is_live(id));
        let live = neighbours.into_iter().chain(doubted).map(|id| (id, false));
        let held = held::to_watch(ctx).map(|id| (id, true));
        live.chain(held).collect()
    }

    /// L3: only scheduled beats move the deadline, any datagram ends a suspicion. An answer to a
    /// PING that came late would otherwise hide the beats that did not come.
    pub(super) fn heard(&mut self, from: NodeId, is_scheduled: bool, ctx: Ctx<'_>) {
        let watch = self.watches.get_mut(&from);
        let Some(watch) = watch.filter(|watch| !watch.held) else {
            return;
        };
        if is_scheduled || watch.is_suspecting() || !watch.was_heard {
            watch.deadline = ctx.now + ctx.settings.late();
        }
        let gap = is_scheduled
            .then(|| watch.beat_at.replace(ctx.now))
            .flatten()
            .map(|before| ctx.now.saturating_since(before));
        watch.phase = Phase::Listening;
        watch.stalled_since = None;
        watch.was_heard = true;
        self.gap = self.gap.max(gap);
    }

    /// The longest time between two beats of a member that this one watches, since the last call.
    pub(super) const fn poll_gap(&mut self) -> Option<Duration> {
        self.gap.take()
    }

    /// Renews what is renewed each second, with a look at the kernels. Whether that was due.
    pub(super) fn renew_when_due(&mut self, joined: bool, step: &mut Step<'_>) -> bool {
        if step.now < self.renew_at {
            return false;
        }
        self.renew_at = step.now + step.settings.subscribe;
        self.is_stale |= !self.verdicts.is_empty() || !self.doubted.is_empty();
        for id in self.watched() {
            step.send(id, &ping(joined, true, None, step.ctx()));
        }
        self.ask_kernels(step);
        true
    }

    /// L13: asks the kernels of those who are watched, with their subscriptions; for votes those of all others
    /// as well (D1), a few at a time.
    fn ask_kernels(&self, step: &mut Step<'_>) {
        let mut asked: Vec<NodeId> = self.watched().collect();
        if step.settings.votes_after.is_some() {
            let others = step.members.live_others();
            let others = others.filter(|id| !asked.contains(id));
            let others: Vec<NodeId> = others.collect();
            asked.extend(step.pick(FURTHER_KERNELS, others));
        }
        for id in asked {
            let heard_at = step.members.get(id).and_then(|member| member.heard_at);
            let kernel = step.members.kernel_mut(id);
            let question =
                kernel.and_then(|one| one.ask_when_due(heard_at, step.settings, step.now));
            let Some(question) = question else {
                continue;
            };
            if question.is_found_silent {
                step.tell(Event::KernelSilent { node: id });
            }
            step.probe(id);
        }
    }

    /// The members whose beats are watched.
    fn watched(&self) -> impl Iterator<Item = NodeId> {
        let watches = self.watches.iter();
        let live = watches.filter(|(_, watch)| !watch.held);
        live.map(|(&id, _)| id)
    }

    /// Does what is due for each watched member. If this node finds that it hears nothing at all it
    /// `join`s anew once it does.
    pub(super) fn watch_when_due(&mut self, join: &mut Join, step: &mut Step<'_>) {
        let due = self.watches.iter();
        let due = due.filter(|(_, watch)| watch.deadline <= step.now);
        let due: Vec<NodeId> = due.map(|(&id, _)| id).collect();
        for id in due {
            self.watch_one(id, join, step);
        }
        if self.is_stale {
            self.rewatch(join.is_joined(), step);
        }
    }

    fn watch_one(&mut self, id: NodeId, join: &mut Join, step: &mut Step<'_>) {
        let Some(watch) = self.watches.get(&id) else {
            return;
        };
        match &watch.phase {
            Phase::Listening if watch.held => self.watch_kernel(id, join.is_joined(), step),
            Phase::Listening => self.suspect(id, join.is_joined(), step),
            Phase::Suspecting(suspicion) if suspicion.is_ripe(step.settings, step.now) => {
                self.judge(id, join, step);
            }
            Phase::Suspecting(_) => self.probe_round(id, join.is_joined(), step),
        }
    }

    /// L9: a member that sends but hears nothing keeps its addresses and serves nobody.
    pub(super) fn note_deaf(
        &mut self,
        from: NodeId,
        deaf: bool,
        joined: bool,
        step: &mut Step<'_>,
    ) {
        let Some(watch) = self.watches.get_mut(&from) else {
            return;
        };
        if !deaf {
            watch.deaf_since = None;
            return;
        }
        let since = *watch.deaf_since.get_or_insert(step.now);
        if step.now >= since + step.settings.deaf {
            self.give_up(from, Verdict::Deaf, step);
        } else {
            // If it hears this, it is deaf no more.
            step.send(from, &ping(joined, false, None, step.ctx()));
        }
    }

    /// C7: whether to compare tables with a member whose beat says that its own `is_equal`, or not. What
    /// is under way to one of the two makes them differ for a moment.
    pub(super) fn has_to_compare(&mut self, from: NodeId, is_equal: bool, ctx: Ctx<'_>) -> bool {
        let Some(watch) = self.watches.get_mut(&from) else {
            return !is_equal;
        };
        if is_equal {
            watch.differs_since = None;
            return false;
        }
        let since = *watch.differs_since.get_or_insert(ctx.now);
        let is_due = ctx.now >= since + ctx.settings.differs;
        if is_due {
            watch.differs_since = Some(ctx.now);
        }
        is_due
    }

    /// A kernel's answer counts only while it is asked for: nobody authenticates it.
    pub(super) fn kernel_answered(
        &mut self,
        id: NodeId,
        answer: KernelAnswer,
        step: &mut Step<'_>,
    ) {
        let Some(watch) = self.watches.get_mut(&id) else {
            return;
        };
        let was_heard = watch.was_heard;
        if let Phase::Suspecting(suspicion) = &mut watch.phase {
            suspicion.note_kernel();
            // L5 b. It must have been heard before: a firewall may reject every datagram.
            if answer == KernelAnswer::PortUnreachable && was_heard && !watch.held {
                self.give_up(id, Verdict::Process, step);
            }
        } else if watch.held {
            watch.kernel_at = step.now;
        }
    }

    /// Whom it found dead since the last call, each with the witness that agreed.
    pub(super) fn take_found(&mut self) -> Vec<(NodeId, NodeId)> {
        std::mem::take(&mut self.found)
    }

    fn give_up(&mut self, id: NodeId, verdict: Verdict, step: &mut Step<'_>) {
        self.verdicts.push(step.now);
        self.watches.remove(&id);
        self.is_stale = true;
        pronounce(id, verdict, step);
    }

    /// L9: nothing at all was received since the suspicion began: it is this node that is cut off.
    /// What it announces it keeps, as it cannot know better; it takes nothing.
    fn isolate(&mut self, join: &mut Join, step: &mut Step<'_>) {
        if !self.isolated {
            self.isolated = true;
            step.tell(Event::Isolated);
            join.wait(step);
        }
    }

    pub(super) fn due(&self) -> Option<(Instant, &'static str)> {
        let deadlines = self
            .watches
            .values()
            .map(|watch| (watch.deadline, "a late beat"));
        let stale = self.is_stale.then_some((Instant::START, "whom to watch"));
        deadlines
            .chain(stale)
            .chain([(self.renew_at, "subscriptions")])
            .min()
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

    const fn is_suspecting(&self) -> bool {
        matches!(self.phase, Phase::Suspecting(_))
    }

    fn listen_until(&mut self, deadline: Instant) {
        self.phase = Phase::Listening;
        self.deadline = deadline;
    }
}
