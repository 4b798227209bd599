//! L1, L2: who gets this member's beats, and when.

use super::wire::Message;
use super::{NodeId, Ownership, Settings};
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

impl Beats {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            phase: now,
            watchers: Vec::new(),
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
}

impl Ownership {
    /// A PING is answered by a beat; it may ask for more of them.
    pub(super) fn answer_ping(
        &mut self,
        from: NodeId,
        subscribe: bool,
        gone: Option<u32>,
        now: Instant,
    ) {
        if subscribe {
            self.beats.subscribe(from, &self.settings, now);
        }
        match gone {
            Some(inc) if inc >= self.inc() => self.refute(inc, now),
            gone => self.contact.note_ping(gone, &self.settings, now),
        }
        if gone.is_some() {
            self.remind_once_heard(now);
        }
        let beat = self.beat(true);
        self.send(from, &beat);
    }

    pub(super) fn beat_when_due(&mut self, now: Instant) {
        let count = self.beats.watchers.len();
        self.beats
            .watchers
            .retain(|watcher| watcher.lease_until > now);
        if self.beats.watchers.len() != count {
            self.beats.shift(&self.settings, now);
        }
        let mut due = Vec::new();
        for watcher in &mut self.beats.watchers {
            if watcher.next <= now {
                due.push(watcher.id);
                // After a stop one beat makes up for all that were missed.
                while watcher.next <= now {
                    watcher.next = watcher.next + self.settings.beat;
                }
            }
        }
        for id in due {
            let beat = self.beat(false);
            self.send(id, &beat);
        }
    }

    fn beat(&self, answer: bool) -> Message {
        Message::Beat {
            digest: self.members.index().digest(),
            deaf: self.watching.is_isolated(),
            joined: self.join.is_joined(),
            answer,
        }
    }

    pub(super) fn ping(&self, subscribe: bool, gone: Option<u32>) -> Message {
        let digest = self.members.index().digest();
        Message::Ping {
            digest,
            subscribe,
            joined: self.join.is_joined(),
            gone,
        }
    }

    pub(super) fn beat_due(&self) -> Option<(Instant, &'static str)> {
        let watchers = self.beats.watchers.iter();
        let due = watchers
            .map(|watcher| watcher.next.min(watcher.lease_until))
            .min();
        due.map(|at| (at, "a beat"))
    }
}
