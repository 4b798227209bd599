//! C7: knowledge is published at once, said twice, and repaired where digests differ.

use super::context::{Ctx, Step};
use super::members::Index;
use super::model::{BUCKETS, Entry, Record};
use super::node::NodeId;
use super::numbers::LAST_SEQ;
use super::own;
use super::wire::{Message, pack};
use crate::Instant;

#[derive(Debug, Clone)]
pub(super) struct Sync {
    spread_at: Option<Instant>,
    spread_last: Instant,
    repeat_at: Option<Instant>,
}

impl Sync {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            spread_at: None,
            spread_last: now,
            repeat_at: None,
        }
    }

    /// A table that changed by repair is compared with two more.
    pub(super) fn spread_repair(&mut self, ctx: Ctx<'_>) {
        let at = (self.spread_last + ctx.settings.spread).max(ctx.now);
        self.spread_at = Some(self.spread_at.map_or(at, |earlier| earlier.min(at)));
    }

    pub(super) fn repair_when_due(&mut self, joined: bool, step: &mut Step<'_>) {
        if self.spread_at.is_some_and(|at| at <= step.now) {
            self.spread_at = None;
            self.spread_last = step.now;
            let live = step.members.live_others().collect();
            for id in step.pick(2, live) {
                compare_with(id, joined, step);
            }
        }
    }

    /// Publishes this member's record, and once more: at 5 % loss one datagram of 20 would leave a member
    /// to claim what is held already. Its number follows from the one before.
    pub(super) fn publish(&mut self, record: Record, step: &mut Step<'_>) {
        if step.members.own().record.seq >= LAST_SEQ {
            own::take_boot(step.members.own().boot + 1, step);
        }
        let seq = step.members.own().record.seq + 1;
        let record = Record { seq, ..record };
        step.members.take_own_record(record, step.now);
        send_own_record_to_all(step);
        self.repeat_at = Some(step.now + step.settings.record_repeat);
    }

    /// Whether it was time to.
    pub(super) fn repeat_when_due(&mut self, step: &mut Step<'_>) -> bool {
        let is_due = self.repeat_at.is_some_and(|at| at <= step.now);
        if is_due {
            self.repeat_at = None;
            send_own_record_to_all(step);
        }
        is_due
    }

    pub(super) fn due(&self) -> Option<(Instant, &'static str)> {
        [
            self.repeat_at.map(|at| (at, "a record to repeat")),
            self.spread_at.map(|at| (at, "a repair to pass on")),
        ]
        .into_iter()
        .flatten()
        .min()
    }
}

/// Asks a member for what it knows and this one does not, and tells it the other way round.
pub(super) fn compare_with(id: NodeId, joined: bool, step: &mut Step<'_>) {
    step.send(id, &digests(false, joined, step.ctx()));
}

fn digests(answer: bool, joined: bool, ctx: Ctx<'_>) -> Message {
    Message::Sync {
        answer,
        joined,
        buckets: Box::new(ctx.members.index().buckets),
    }
}

/// Sends whatever lies in buckets that differ; a question is answered, an answer is not. Whether
/// nothing differs.
pub(super) fn handle_sync(
    from: NodeId,
    answer: bool,
    theirs: &[u64; BUCKETS],
    joined: bool,
    step: &mut Step<'_>,
) -> bool {
    let ours = step.members.index().buckets;
    let differs = |id: NodeId| ours[Index::bucket_of(id)] != theirs[Index::bucket_of(id)];
    let ids = step.members.iter().map(|(id, _)| id);
    let entries: Vec<Entry> = ids
        .filter(|&id| differs(id))
        .flat_map(|id| step.members.entries(id))
        .collect();
    for records in pack(entries) {
        step.send(from, &records);
    }
    if !answer {
        step.send(from, &digests(true, joined, step.ctx()));
    }
    ours == *theirs
}

pub(super) fn send_own_record(to: NodeId, step: &mut Step<'_>) {
    let entries = step.members.entries(step.me).into_iter();
    for records in pack(entries.filter(|entry| !entry.former)) {
        step.send(to, &records);
    }
}

fn send_own_record_to_all(step: &mut Step<'_>) {
    let live: Vec<NodeId> = step.members.live_others().collect();
    for id in live {
        send_own_record(id, step);
    }
}
