//! L1, L2: who gets this member's beats, and when.

use super::context::{Ctx, Step};
use super::node::NodeId;
use super::settings::Settings;
use super::wire::Message;
use crate::Instant;

/// The watchers of this member.
#[derive(Debug, Clone)]
pub(super) struct Beats {
    /// Beats fall on multiples of the beat interval after this moment.
    phase: Instant,
    watchers: Vec<Watcher>,
}

#[derive(Debug, Clone)]
struct Watcher {
    id: NodeId,
    lease_until: Instant,
    next: Instant,
}

/// What a beat says of this member, besides its table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Condition {
    /// It hears nothing (L9).
    pub(super) deaf: bool,
    pub(super) joined: bool,
}

impl Beats {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            phase: now,
            watchers: Vec::new(),
        }
    }

    /// A PING is answered by a beat; it may ask for more of them.
    pub(super) fn handle_ping(&mut self, from: NodeId, subscribe: bool, ctx: Ctx<'_>) {
        if subscribe {
            self.subscribe(from, ctx.settings, ctx.now);
        }
    }

    /// L1: the watcher decides whom it watches; beats go to it until its lease ends.
    fn subscribe(&mut self, id: NodeId, settings: &Settings, now: Instant) {
        let lease_until = now + settings.lease;
        match self.watchers.iter_mut().find(|watcher| watcher.id == id) {
            Some(watcher) => watcher.lease_until = lease_until,
            None => {
                self.watchers.push(Watcher {
                    id,
                    lease_until,
                    next: now,
                });
                self.shift(settings, now);
            }
        }
    }

    /// L2: beats to the i-th of n watchers are shifted by i/n of the interval, so that one of them
    /// finds a death within 20 ms and half an interval, not a whole one.
    fn shift(&mut self, settings: &Settings, now: Instant) {
        let beat = settings.beat.as_micros() as u64;
        let count = self.watchers.len() as u64;
        for (watcher, i) in self.watchers.iter_mut().zip(0..) {
            let offset = i * beat / count;
            let into = (now.as_micros() + beat - (self.phase.as_micros() + offset) % beat) % beat;
            watcher.next = now + std::time::Duration::from_micros(beat - into);
        }
    }

    pub(super) fn handle_timeout(&mut self, condition: Condition, step: &mut Step<'_>) {
        let now = step.now;
        let count = self.watchers.len();
        self.watchers.retain(|watcher| watcher.lease_until > now);
        if self.watchers.len() != count {
            self.shift(step.settings, now);
        }
        for watcher in self.watchers.iter_mut().filter(|one| one.next <= now) {
            // After a stop one beat makes up for all that were missed.
            while watcher.next <= now {
                watcher.next = watcher.next + step.settings.beat;
            }
            step.send(watcher.id, &beat(condition, false, step.ctx()));
        }
    }

    pub(super) fn due(&self) -> Option<(Instant, &'static str)> {
        let due = self
            .watchers
            .iter()
            .map(|watcher| watcher.next.min(watcher.lease_until))
            .min();
        due.map(|at| (at, "a beat"))
    }
}

/// A beat, by its time or as the `answer` to a PING.
pub(super) fn beat(condition: Condition, answer: bool, ctx: Ctx<'_>) -> Message {
    Message::Beat {
        digest: ctx.members.index().digest(),
        deaf: condition.deaf,
        joined: condition.joined,
        answer,
    }
}

/// A question for a beat, and for more of them. `gone` is the incarnation that this member holds gone.
pub(super) fn ping(joined: bool, subscribe: bool, gone: Option<u32>, ctx: Ctx<'_>) -> Message {
    Message::Ping {
        digest: ctx.members.index().digest(),
        subscribe,
        joined,
        gone,
    }
}
