//! C7: knowledge is published at once, said twice, and repaired where digests differ.

use super::members::Index;
use super::model::{BUCKETS, Entry, Record};
use super::numbers::LAST_SEQ;
use super::wire::{Message, pack};
use super::{NodeId, Ownership};
use crate::Instant;

#[derive(Debug, Clone)]
pub(super) struct Sync {
    spread_at: Option<Instant>,
    spread_last: Instant,
    repeat_at: Option<Instant>,
}

impl Sync {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            spread_at: None,
            spread_last: now,
            repeat_at: None,
        }
    }
}

impl Ownership {
    /// The digest in a beat.
    pub(super) fn compare(&mut self, from: NodeId, digest: u64, joined: bool, now: Instant) {
        let is_equal = digest == self.members.index().digest();
        if self.learn(from, is_equal, joined, now) {
            return;
        }
        let Some(watch) = self.watching.get_mut(from) else {
            if !is_equal {
                self.sync_with(from);
            }
            return;
        };
        if is_equal {
            watch.differs_since = None;
        } else if now >= *watch.differs_since.get_or_insert(now) + self.settings.differs {
            watch.differs_since = Some(now);
            self.sync_with(from);
        }
    }

    /// The digest in a PING. One in four that differ is enough: it comes again.
    pub(super) fn compare_casually(
        &mut self,
        from: NodeId,
        digest: u64,
        joined: bool,
        now: Instant,
    ) {
        let is_equal = digest == self.members.index().digest();
        if !self.learn(from, is_equal, joined, now)
            && !is_equal
            && self.random.next().is_multiple_of(4)
        {
            self.sync_with(from);
        }
    }

    pub(super) fn sync_with(&mut self, id: NodeId) {
        let message = self.sync_message(false);
        self.send(id, &message);
    }

    fn sync_message(&self, answer: bool) -> Message {
        let buckets = Box::new(self.members.index().buckets);
        Message::Sync {
            answer,
            joined: self.join.is_joined(),
            buckets,
        }
    }

    /// Sends whatever lies in buckets that differ; a question is answered, an answer is not.
    pub(super) fn handle_sync(
        &mut self,
        from: NodeId,
        answer: bool,
        joined: bool,
        theirs: &[u64; BUCKETS],
        now: Instant,
    ) {
        let ours = self.members.index().buckets;
        let differs = |id: NodeId| ours[Index::bucket_of(id)] != theirs[Index::bucket_of(id)];
        let ids: Vec<NodeId> = self
            .members
            .iter()
            .map(|(id, _)| id)
            .filter(|&id| differs(id))
            .collect();
        let entries: Vec<Entry> = ids
            .into_iter()
            .flat_map(|id| self.members.entries(id))
            .collect();
        for records in pack(entries) {
            self.send(from, &records);
        }
        if !answer {
            let message = self.sync_message(true);
            self.send(from, &message);
        }
        if ours == *theirs {
            self.learn(from, true, joined, now);
        }
    }

    /// A table that changed by repair is compared with two more.
    pub(super) fn spread_repair(&mut self, now: Instant) {
        if self.join.is_joined() {
            let at = (self.sync.spread_last + self.settings.spread).max(now);
            self.sync.spread_at = Some(self.sync.spread_at.map_or(at, |earlier| earlier.min(at)));
        }
    }

    pub(super) fn repair_when_due(&mut self, now: Instant) {
        if self.sync.spread_at.is_some_and(|at| at <= now) {
            self.sync.spread_at = None;
            self.sync.spread_last = now;
            let live = self.members.live_others().collect();
            for id in self.pick(2, live) {
                self.sync_with(id);
            }
        }
    }

    /// Publishes this member's record if it changed, and once more: at 5 % loss one datagram of 20
    /// would leave a member to claim what is held already.
    pub(super) fn publish_when_due(&mut self, now: Instant) {
        if self.claims.publish {
            self.claims.publish = false;
            self.renew_own_record(now);
            self.publish();
            self.sync.repeat_at = Some(now + self.settings.record_repeat);
        } else if self.sync.repeat_at.is_some_and(|at| at <= now) {
            self.sync.repeat_at = None;
            self.publish();
            self.repeat_yields();
        }
    }

    fn publish(&mut self) {
        let live: Vec<NodeId> = self.members.live_others().collect();
        for id in live {
            self.send_own_record(id);
        }
    }

    fn renew_own_record(&mut self, now: Instant) {
        if self.members.own().record.seq >= LAST_SEQ {
            self.take_boot(self.boot() + 1, now);
        }
        let (links, tells_subnets) = self.links.own();
        let record = Record {
            seq: self.members.own().record.seq + 1,
            stage: self.stage(),
            consents: true,
            address: self.identity.address,
            mac: self.identity.mac,
            links,
            tells_subnets,
            claims: self.claims.own(),
        };
        self.members
            .change(self.me, now, |own| own.take_record(record));
    }

    pub(super) fn send_own_record(&mut self, to: NodeId) {
        let entries = self
            .members
            .entries(self.me)
            .into_iter()
            .filter(|entry| !entry.former);
        for records in pack(entries) {
            self.send(to, &records);
        }
    }

    pub(super) fn repair_due(&self) -> Option<(Instant, &'static str)> {
        let publish = self.claims.publish.then_some(Instant::START);
        [
            publish.map(|at| (at, "a record to publish")),
            self.sync.repeat_at.map(|at| (at, "a record to repeat")),
            self.sync.spread_at.map(|at| (at, "a repair to pass on")),
        ]
        .into_iter()
        .flatten()
        .min()
    }
}
