//! C6: of two claims the lesser falls silent first, then tells the winner, which announces again.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::ownership::context::Step;
use crate::ownership::node::NodeId;
use crate::ownership::wire::{Message, VIPS_OF};

/// Addresses given up to a better claim, and to whom.
#[derive(Debug, Clone, Default)]
pub(super) struct Yields {
    to_tell: BTreeMap<NodeId, Vec<IpAddr>>,
    told_once: BTreeMap<NodeId, Vec<IpAddr>>,
}

impl Yields {
    pub(super) fn add(&mut self, to: NodeId, vip: IpAddr) {
        self.to_tell.entry(to).or_default().push(vip);
    }

    pub(super) fn send(&mut self, step: &mut Step<'_>) {
        for (to, vips) in std::mem::take(&mut self.to_tell) {
            send_yield(to, &vips, step);
            self.told_once.entry(to).or_default().extend(vips);
        }
    }

    pub(super) fn repeat(&mut self, step: &mut Step<'_>) {
        for (to, vips) in std::mem::take(&mut self.told_once) {
            send_yield(to, &vips, step);
        }
    }
}

fn send_yield(to: NodeId, vips: &[IpAddr], step: &mut Step<'_>) {
    for chunk in vips.chunks(VIPS_OF) {
        step.send(to, &Message::Yield(chunk.to_vec()));
    }
}
