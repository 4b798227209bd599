//! What the rules note in the table, each in a word of its own: so a member changes nowhere else.

use super::{Member, Members};
use crate::Instant;
use crate::ownership::interface::KernelAnswer;
use crate::ownership::kernels::Kernel;
use crate::ownership::model::Record;
use crate::ownership::node::NodeId;
use crate::ownership::settings::Settings;

impl Members {
    /// No datagram counts twice: whether this one is the first. The caller has ruled out older boots.
    pub(in super::super) fn admit(&mut self, id: NodeId, boot: u64, counter: u64) -> bool {
        let member = self.get_mut(id);
        member.is_none_or(|member| member.admit(boot, counter))
    }

    /// A datagram of it has come.
    pub(in super::super) fn note_heard(&mut self, id: NodeId, now: Instant) {
        self.note(id, |member| member.heard_at = Some(now));
    }

    /// It has signed with one of our keys: from then on it must (G3).
    pub(in super::super) fn note_signed(&mut self, id: NodeId) {
        self.note(id, |member| member.signs = true);
    }

    /// It is tried again (L10).
    pub(in super::super) fn note_tried(&mut self, id: NodeId, now: Instant) {
        self.note(id, |member| member.tried_at = Some(now));
    }

    /// Whether to tell it that it is held gone, which whoever asks does (L6).
    pub(in super::super) fn is_to_be_told(
        &mut self,
        id: NodeId,
        settings: &Settings,
        now: Instant,
    ) -> bool {
        let Some(member) = self.get_mut(id) else {
            return false;
        };
        let pause = settings.tell_the_dead;
        let is_due = member.told_at.is_none_or(|at| now >= at + pause);
        if is_due {
            member.told_at = Some(now);
        }
        is_due
    }

    /// For questions to its kernel (L13).
    pub(in super::super) fn kernel_mut(&mut self, id: NodeId) -> Option<&mut Kernel> {
        self.get_mut(id).map(|member| &mut member.kernel)
    }

    /// Whether this answer proves that its kernel runs (L13).
    pub(in super::super) fn proves_kernel(
        &mut self,
        id: NodeId,
        answer: KernelAnswer,
        now: Instant,
    ) -> bool {
        let Some(member) = self.all.get_mut(&id) else {
            return false;
        };
        let said = member.standing.is_heard_of().then_some(member.record.mac);
        let before = member.station_hash(id);
        let is_proof = member.kernel.proves(answer, said, now);
        self.index.stations ^= before ^ member.station_hash(id);
        is_proof
    }

    /// Whether its kernel answers nothing (L13).
    pub(in super::super) fn is_kernel_silent(&self, id: NodeId) -> bool {
        self.get(id).is_some_and(|member| member.kernel.is_silent())
    }

    /// This member hears it no more (L6).
    pub(in super::super) fn lose(&mut self, id: NodeId, now: Instant) {
        self.change(id, now, |member| member.standing = member.standing.lost());
    }

    /// All loss was on this side (L6).
    pub(in super::super) fn find_lost(&mut self, now: Instant) {
        let lost: Vec<NodeId> = self
            .iter()
            .filter(|(_, member)| member.standing.is_lost())
            .map(|(id, _)| id)
            .collect();
        for id in lost {
            self.change(id, now, |member| member.standing = member.standing.found());
        }
    }

    pub(in super::super) fn raise_own_inc(&mut self, inc: u32, now: Instant) {
        self.change(self.me, now, |own| own.inc = inc);
    }

    /// Its record is counted anew, and so is its incarnation.
    pub(in super::super) fn take_own_boot(&mut self, boot: u64, now: Instant) {
        self.change(self.me, now, |own| (own.boot, own.inc) = (boot, 0));
        self.take_own_seq(0, now);
    }

    /// The own record, with another number.
    pub(in super::super) fn take_own_seq(&mut self, seq: u32, now: Instant) {
        let record = Record::clone(&self.own().record);
        self.take_own_record(Record { seq, ..record }, now);
    }

    pub(in super::super) fn take_own_record(&mut self, record: Record, now: Instant) {
        self.change(self.me, now, |own| own.take_record(record));
    }

    pub(in super::super) fn move_own(&mut self, address: std::net::IpAddr, now: Instant) {
        self.change(self.me, now, |own| own.address = address);
    }

    /// For what the index does not know of.
    fn note(&mut self, id: NodeId, edit: impl FnOnce(&mut Member)) {
        if let Some(member) = self.get_mut(id) {
            edit(member);
        }
    }
}
