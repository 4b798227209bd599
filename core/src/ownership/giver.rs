//! Who had an address before this node, and where it is reached: for connections that it still has.

use std::net::IpAddr;

use super::epoch::next_epoch;
use super::{NodeId, Ownership, Standing};
use crate::wire::MacAddr;

impl Ownership {
    /// The member whose claim on `vip` this node's own is the next one after. None if this node has none, if
    /// nobody announced the address just before, or if whoever did has given it up long since.
    #[must_use]
    pub fn giver_of(&self, vip: IpAddr) -> Option<NodeId> {
        let own = self.claims.get(vip)?;
        let mut claims = self.common.members.iter().filter_map(|(id, member)| {
            let claim = member.record.claims.get(&vip)?;
            (id != self.common.me).then_some((id, claim))
        });
        claims
            .find(|(_, claim)| !claim.asking && next_epoch(claim.epoch) == own.epoch)
            .map(|(id, _)| id)
    }

    /// How a member stands; `None` if there is none of this name.
    #[must_use]
    pub fn standing_of(&self, node: NodeId) -> Option<Standing> {
        self.common.members.get(node).map(|member| member.standing)
    }

    /// Every address that a member is known to have, by its own word and by the Nodes list, with the
    /// hardware address that it tells: that of the link of the first one.
    pub fn addresses_of(&self, node: NodeId) -> impl Iterator<Item = (IpAddr, MacAddr)> {
        let member = self.common.members.get(node).into_iter();
        member.flat_map(|member| {
            let links = member.record.links.iter().map(|link| link.address);
            let listed = member.listed_at.iter().copied();
            let all = std::iter::once(member.address).chain(links).chain(listed);
            all.map(|address| (address, member.station()))
        })
    }
}
