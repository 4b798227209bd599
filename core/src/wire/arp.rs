//! Address resolution for IPv4 on Ethernet (RFC 826, RFC 5227).

use std::net::Ipv4Addr;

use pnet_base::MacAddr;
use pnet_packet::arp::{ArpHardwareTypes, ArpOperations, ArpPacket, MutableArpPacket};
use pnet_packet::ethernet::EtherTypes;

use super::{Frame, ethernet};
use crate::Reason;

/// Header and two addresses of each kind: 8 + 2 * (6 + 4) bytes.
pub const PACKET_LEN: usize = 28;

/// `ar$op` (RFC 826).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// 1: who has the target protocol address?
    Request,
    /// 2: the sender has the sender protocol address.
    Reply,
}

/// An ARP packet for IPv4 on Ethernet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repr {
    /// `ar$op`
    pub operation: Operation,
    /// `ar$sha`
    pub sender_hardware: MacAddr,
    /// `ar$spa`: 0.0.0.0 in a probe (RFC 5227 §1.1).
    pub sender_protocol: Ipv4Addr,
    /// `ar$tha`
    pub target_hardware: MacAddr,
    /// `ar$tpa`
    pub target_protocol: Ipv4Addr,
}

impl Repr {
    /// The packet in an Ethernet payload; what follows it is padding.
    pub fn parse(payload: &[u8]) -> Result<Self, Reason> {
        let packet = ArpPacket::new(payload).ok_or(Reason::Truncated)?;
        // RFC 826 "Packet Reception": the hardware type, then optionally its length, then the
        // protocol, then optionally its length. Both lengths are checked: with others the
        // addresses would stand elsewhere.
        let ethernet_ipv4 = packet.get_hardware_type() == ArpHardwareTypes::Ethernet
            && packet.get_hw_addr_len() == 6
            && packet.get_protocol_type() == EtherTypes::Ipv4
            && packet.get_proto_addr_len() == 4;
        if !ethernet_ipv4 {
            return Err(Reason::NotEthernetIpv4);
        }
        let operation = match packet.get_operation() {
            ArpOperations::Request => Operation::Request,
            ArpOperations::Reply => Operation::Reply,
            _ => return Err(Reason::UnknownOperation),
        };
        Ok(Self {
            operation,
            sender_hardware: packet.get_sender_hw_addr(),
            sender_protocol: packet.get_sender_proto_addr(),
            target_hardware: packet.get_target_hw_addr(),
            target_protocol: packet.get_target_proto_addr(),
        })
    }

    /// A gratuitous packet: "`address` is at `hardware`", to whom it may concern.
    ///
    /// The target hardware address is the sender's: Linux takes no other reply as gratuitous
    /// (`arp_is_garp`), and in a request nobody reads it.
    #[must_use]
    pub const fn gratuitous(operation: Operation, hardware: MacAddr, address: Ipv4Addr) -> Self {
        Self {
            operation,
            sender_hardware: hardware,
            sender_protocol: address,
            target_hardware: hardware,
            target_protocol: address,
        }
    }

    /// A probe (RFC 5227 §2.1.1): does anybody have `address`? The sender address is 0.0.0.0, so
    /// that no neighbour learns anything from it.
    #[must_use]
    pub const fn probe(hardware: MacAddr, address: Ipv4Addr) -> Self {
        Self {
            operation: Operation::Request,
            sender_hardware: hardware,
            sender_protocol: Ipv4Addr::UNSPECIFIED,
            target_hardware: MacAddr(0, 0, 0, 0, 0, 0),
            target_protocol: address,
        }
    }

    /// The answer to this request: the wanted address is at `hardware`. RFC 826: swap sender and
    /// target, put the local hardware address in. A probe's sender 0.0.0.0 becomes the target as
    /// it is (RFC 5227 §2.1.1 wants any reply about the address).
    #[must_use]
    pub const fn reply(&self, hardware: MacAddr) -> Self {
        Self {
            operation: Operation::Reply,
            sender_hardware: hardware,
            sender_protocol: self.target_protocol,
            target_hardware: self.sender_hardware,
            target_protocol: self.sender_protocol,
        }
    }

    /// The whole frame to the station `destination`.
    #[must_use]
    pub fn emit(&self, destination: MacAddr) -> Frame {
        let mut payload = [0; PACKET_LEN];
        if let Some(mut packet) = MutableArpPacket::new(&mut payload) {
            packet.set_hardware_type(ArpHardwareTypes::Ethernet);
            packet.set_protocol_type(EtherTypes::Ipv4);
            packet.set_hw_addr_len(6);
            packet.set_proto_addr_len(4);
            packet.set_operation(match self.operation {
                Operation::Request => ArpOperations::Request,
                Operation::Reply => ArpOperations::Reply,
            });
            packet.set_sender_hw_addr(self.sender_hardware);
            packet.set_sender_proto_addr(self.sender_protocol);
            packet.set_target_hw_addr(self.target_hardware);
            packet.set_target_proto_addr(self.target_protocol);
        }
        let header = ethernet::Repr {
            destination,
            source: self.sender_hardware,
            ethertype: EtherTypes::Arp,
        };
        header.emit(&payload)
    }
}

#[cfg(test)]
mod tests;
