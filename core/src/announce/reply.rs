//! Whether a received frame is answered, and with what.

use std::net::{IpAddr, Ipv4Addr};

use pnet_packet::ethernet::EtherTypes;

use super::{Announcer, LinkId};
use crate::Reason;
use crate::wire::arp::{self, Operation};
use crate::wire::{Frame, MacAddr, ethernet};

impl Announcer {
    /// The answer to `frame` and the Vip that it speaks for.
    pub(super) fn reply(&self, id: LinkId, frame: &[u8]) -> Result<(IpAddr, Frame), Reason> {
        let link = self.links.get(&id).ok_or(Reason::UnknownLink)?;
        let (header, payload) = ethernet::Repr::parse(frame)?;
        // The owner's own kernel asks for the Vip, about once a second, while somebody uses a port
        // of it that no Service has: that is no question to us and no conflict.
        if self.is_own(header.source) {
            return Err(Reason::OwnFrame);
        }
        // Unicast requests keep a neighbour's entry fresh (RFC 1122 §2.3.2.1): they count too.
        if header.destination != link.mac && !header.destination.is_broadcast() {
            return Err(Reason::OtherDestination);
        }
        if header.ethertype != EtherTypes::Arp {
            return Err(Reason::UnknownEthertype);
        }
        let packet = arp::Repr::parse(payload)?;
        let vip = self.wanted_answer(id, header.source, &packet)?;
        let answer = packet.reply(link.mac);
        Ok((vip, answer.emit(answer.target_hardware)))
    }

    /// The Vip that `packet` asks for, if it is to be answered.
    fn wanted_answer(
        &self,
        id: LinkId,
        source: MacAddr,
        packet: &arp::Repr,
    ) -> Result<IpAddr, Reason> {
        let (hardware, protocol) = (packet.sender_hardware, packet.sender_protocol);
        if self.is_own(hardware) {
            return Err(Reason::OwnFrame);
        }
        if packet.operation == Operation::Reply {
            return Err(Reason::ArpReply);
        }
        let vip = IpAddr::V4(packet.target_protocol);
        if !self.claims.contains_key(&(vip, id)) {
            return Err(Reason::NotOurs);
        }
        // Two nodes that answer and one packet to a closed port make a loop between them until its
        // TTL ends. No node needs the answer: kube-proxy rewrites before the node routes.
        if self.is_cluster_node(source, protocol) || self.is_cluster_node(hardware, protocol) {
            return Err(Reason::ClusterNode);
        }
        // RFC 5227 §2.4: another station uses the address; it does not ask for it.
        if protocol == packet.target_protocol {
            return Err(Reason::AddressConflict);
        }
        if hardware.is_multicast() || hardware.is_zero() {
            return Err(Reason::BadSenderHardware);
        }
        Ok(vip)
    }

    fn is_own(&self, mac: MacAddr) -> bool {
        self.links.values().any(|link| link.mac == mac)
    }

    fn is_cluster_node(&self, mac: MacAddr, address: Ipv4Addr) -> bool {
        self.cluster.macs.contains(&mac) || self.cluster.addresses.contains(&IpAddr::V4(address))
    }
}
