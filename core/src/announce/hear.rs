//! What a received frame means for us: a question to answer, another host with our address, or
//! nothing.

use std::net::IpAddr;

use super::vip_on_link::{State, VipOnLink};
use super::{Announcer, Event, Kind, LinkId};
use crate::wire::{self, Frame, MacAddr, Message};
use crate::{Instant, Reason};

impl Announcer {
    /// The answer to `frame` and the Vip that it speaks for.
    pub(super) fn hear(
        &mut self,
        id: LinkId,
        frame: &[u8],
        now: Instant,
    ) -> Result<(IpAddr, Frame), Reason> {
        let mac = self.links.get(&id).ok_or(Reason::UnknownLink)?.mac;
        let message = Message::parse(frame)?;
        let (source, sender) = (message.ethernet.source, message.sender_hardware());
        // The owner's own kernel asks for the Vip, about once a second, while somebody uses a port
        // of it that no Service has: that is no question to us and no conflict.
        if self.is_own(source) || self.is_own(sender) {
            return Err(Reason::OwnFrame);
        }
        // Unicast requests keep a neighbour's entry fresh (RFC 1122 §2.3.2.1, RFC 4861 §7.3.3): they
        // count, too.
        if message.ethernet.destination != mac && !message.is_to_many() {
            return Err(Reason::OtherDestination);
        }
        if let Some(vip) = message.claimed()
            && self.claim(vip, id).is_some()
        {
            return Err(self.contend(vip, id, &message, now));
        }
        let vip = message.asked().ok_or(Reason::NotARequest)?;
        let claim = self.claim(vip, id).ok_or(Reason::NotOurs)?;
        // Two nodes that answer and one packet to a closed port make a loop between them until its
        // TTL ends. No node needs the answer: kube-proxy rewrites before the node routes.
        if self.is_cluster_node(&message) {
            return Err(Reason::ClusterNode);
        }
        if sender.is_multicast() || sender.is_broadcast() || sender.is_zero() {
            return Err(Reason::BadSenderHardware);
        }
        match claim.state {
            // RFC 5227 §2.1.1, RFC 4862 §5.4.3: two that probe the same address are in conflict.
            State::Probing { .. } if message.sender().is_unspecified() => {
                Err(self.contend(vip, id, &message, now))
            }
            State::Probing { .. } => Err(Reason::Probing),
            State::Conflicting => Err(Reason::AddressConflict),
            State::Claiming { .. } | State::Held => Ok((vip, message.reply(mac))),
        }
    }

    /// Another station has one of our Vips, or is about to.
    fn contend(&mut self, vip: IpAddr, id: LinkId, message: &Message, now: Instant) -> Reason {
        let mac = message.sender_hardware();
        if mac.is_multicast() || mac.is_broadcast() || mac.is_zero() {
            return Reason::BadSenderHardware;
        }
        let node = self.node_of(message);
        let cluster_node = node.is_some() || self.is_cluster_node(message);
        let order = self.orders.get_mut(&vip);
        let Some(claim) = order.and_then(|order| order.claim_mut(id)) else {
            return Reason::NotOurs;
        };
        let before_use = !claim.state.answers();
        let reason = match (cluster_node, before_use) {
            (false, _) => Reason::AddressConflict,
            // Speakers answer no node: it was the kernel. (IPVS without strictARP, `proxy_arp`.)
            (true, true) if message.is_kernels_answer() => Reason::PeerKernelAnswers,
            // Another speaker announces it: who keeps it is for the owners' protocol to settle.
            (true, _) => return Reason::ClusterNode,
        };
        if claim.tells(mac, &self.settings, now) {
            self.events.push_back(Event::Conflict {
                vip,
                link: id,
                mac,
                before_use,
                node,
            });
        }
        if cluster_node {
            return reason;
        }
        if before_use {
            if let Some(wait) = claim.give_way(&self.settings) {
                claim.reschedule(now + wait, &mut self.due, (vip, id));
            }
        } else if claim.defends(&self.settings, now)
            && let Some(link) = self.links.get(&id)
        {
            let frames = wire::announcement(vip, link.mac);
            self.send(id, vip, Kind::Gratuitous, frames);
        }
        reason
    }

    fn claim(&self, vip: IpAddr, id: LinkId) -> Option<&VipOnLink> {
        self.orders.get(&vip)?.claim(id)
    }

    fn is_own(&self, mac: MacAddr) -> bool {
        self.links.values().any(|link| link.mac == mac)
    }

    fn is_cluster_node(&self, message: &Message) -> bool {
        let macs = &self.cluster.macs;
        macs.contains_key(&message.ethernet.source)
            || macs.contains_key(&message.sender_hardware())
            || self.cluster.addresses.contains(&message.sender())
    }

    /// The name of the node that sent it, if its hardware address is known.
    fn node_of(&self, message: &Message) -> Option<String> {
        let macs = &self.cluster.macs;
        let node = macs.get(&message.ethernet.source);
        node.or_else(|| macs.get(&message.sender_hardware()))
            .cloned()
    }
}
