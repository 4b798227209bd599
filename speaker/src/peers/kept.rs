//! Open connections through addresses that move here: what the keeper of this node is told.

use std::net::IpAddr;

use ferrolb_core::Instant;
use ferrolb_core::keep::Ended;
use ferrolb_core::keep::shown::{KeepingStatus, KeptStatus};
use ferrolb_core::ownership::{NodeId, Ownership, Standing};
use ferrolb_core::wire::MacAddr;

use super::FromPeers;
use super::driver::Driver;
use crate::keep::Table;
use crate::port::Network;

/// What the protocol knows of the others.
struct Others<'a> {
    me: NodeId,
    ownership: &'a Ownership,
}

impl Table for Others<'_> {
    fn giver_of(&self, vip: IpAddr) -> Option<NodeId> {
        self.ownership.giver_of(vip)
    }

    fn standing_of(&self, node: NodeId) -> Option<Standing> {
        self.ownership.standing_of(node)
    }

    fn addresses_of(&self, node: NodeId) -> Vec<(IpAddr, MacAddr)> {
        self.ownership.addresses_of(node).collect()
    }

    fn others(&self) -> Vec<NodeId> {
        let members = self.ownership.members().map(|member| member.node);
        members.filter(|node| *node != self.me).collect()
    }

    fn has(&self, vip: IpAddr) -> bool {
        self.ownership.owned().any(|own| own == vip)
    }

    fn is_joined(&self) -> bool {
        self.ownership.is_joined()
    }
}

impl<N: Network> Driver<N> {
    /// This node has taken these over from others, and announces them next.
    pub(super) fn keep(&mut self, taken: &[IpAddr]) {
        let now = self.clock.now();
        let me = NodeId::of(&self.me);
        let (Some(keeper), Some(ownership), Some(links)) =
            (&mut self.keeper, &self.ownership, &self.links)
        else {
            return;
        };
        if taken.is_empty() {
            return;
        }
        let kept = keeper.take(taken, &Others { me, ownership }, links, now);
        let time = keeper.longest();
        for (vip, from) in kept {
            let from = self.name(from);
            let _ = self.tell.send(FromPeers::Kept(vip, from, time));
        }
    }

    /// What `/status` says of it.
    pub(super) fn keeping(&self, now: Instant) -> Option<KeepingStatus> {
        let keeper = self.keeper.as_ref()?;
        let addresses = keeper.kept(now).map(|kept| KeptStatus {
            address: kept.vip,
            from: self.name(kept.from),
            seconds_left: kept.left.as_secs(),
            packets: kept.packets,
            idle_seconds: kept.idle.as_secs(),
        });
        Some(KeepingStatus {
            ready: keeper.is_ready(),
            problem: keeper.problem().map(str::to_owned),
            max_seconds: keeper.longest().as_secs(),
            addresses: addresses.collect(),
        })
    }

    /// What is due in each turn.
    pub(super) fn keep_on(&mut self) {
        let now = self.clock.now();
        let me = NodeId::of(&self.me);
        let (Some(keeper), Some(ownership), Some(links)) =
            (&mut self.keeper, &self.ownership, &self.links)
        else {
            return;
        };
        for address in keeper.turn(&Others { me, ownership }, links, now) {
            self.prober.probe(address, now);
        }
        for Ended { vip, from, end } in keeper.take_ended() {
            let from = self.name(from);
            let _ = self.tell.send(FromPeers::KeptNoMore(vip, from, end));
        }
    }
}
