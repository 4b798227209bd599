//! L1, L3, L8: whom this member watches, and when a beat is late. L9: who hears nothing.

mod suspicion;

use std::collections::BTreeMap;
use std::time::Duration;

use suspicion::Suspicion;

use super::members::Way;
use super::{NodeId, Ownership, Verdict};
use crate::Instant;

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
        self.watching
            .verdicts
            .retain(|&at| now < at + self.settings.recent);
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
            Phase::Suspecting(suspicion) if suspicion.is_ripe(&self.settings, now) => {
                self.judge(id, now)
            }
            Phase::Suspecting(_) => self.probe_round(id, now),
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
        if now >= since + self.settings.deaf {
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
