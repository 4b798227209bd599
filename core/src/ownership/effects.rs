//! What parts want done by others. A part changes its own state; everything else it asks for here, and
//! the owner carries it out in the order that [`Ownership::handle_timeout`](super::Ownership::handle_timeout)
//! states.

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;

use super::interface::{Event, Transmit};
use super::node::NodeId;

#[derive(Debug, Clone, Default)]
pub(super) struct Effects {
    transmits: VecDeque<Transmit>,
    events: VecDeque<Event>,
    /// Datagrams sent so far: each carries its number.
    counter: u64,
    /// The own record changed (C7).
    publish: bool,
    /// Members that are to have it once more.
    record_to: BTreeSet<NodeId>,
    /// Addresses to be decided on again.
    reconsider: BTreeSet<IpAddr>,
}

impl Effects {
    pub(super) fn transmit(&mut self, transmit: Transmit) {
        self.transmits.push_back(transmit);
    }

    /// The number of the next datagram.
    pub(super) const fn count(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    pub(super) fn tell(&mut self, event: Event) {
        self.events.push_back(event);
    }

    pub(super) const fn publish(&mut self) {
        self.publish = true;
    }

    pub(super) fn send_record_to(&mut self, id: NodeId) {
        self.record_to.insert(id);
    }

    pub(super) fn reconsider(&mut self, vips: impl IntoIterator<Item = IpAddr>) {
        self.reconsider.extend(vips);
    }

    pub(super) fn next_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    pub(super) fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Whether the own record has to be published, which whoever asks does.
    pub(super) const fn take_publish(&mut self) -> bool {
        std::mem::replace(&mut self.publish, false)
    }

    /// Who is to have the own record once more, which whoever asks sends.
    pub(super) fn take_record_to(&mut self) -> BTreeSet<NodeId> {
        std::mem::take(&mut self.record_to)
    }

    pub(super) fn has_to_publish(&self) -> bool {
        self.publish || !self.record_to.is_empty()
    }

    pub(super) fn next_to_reconsider(&mut self) -> Option<IpAddr> {
        self.reconsider.pop_first()
    }

    pub(super) fn has_to_reconsider(&self) -> bool {
        !self.reconsider.is_empty()
    }
}
