//! A frame as an observer sees it, and its line in a transcript.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{Instant, SystemTime};

use pnet_packet::Packet;
use pnet_packet::arp::{ArpOperations, ArpPacket};
use pnet_packet::ethernet::{EtherTypes, EthernetPacket};
use pnet_packet::icmpv6::ndp::{
    NdpOption, NdpOptionTypes, NeighborAdvertPacket, NeighborSolicitPacket,
};
use pnet_packet::icmpv6::{Icmpv6Packet, Icmpv6Types};
use pnet_packet::ip::IpNextHeaderProtocols;
use pnet_packet::ipv6::Ipv6Packet;

use crate::net::MacAddress;

/// A frame, with the time at which the kernel saw it.
#[derive(Debug, Clone)]
pub struct Frame {
    /// For durations.
    pub at: Instant,
    /// For captures that are read by other tools.
    pub wall: SystemTime,
    /// Sent by the observer's own host.
    pub outgoing: bool,
    pub source: MacAddress,
    pub destination: MacAddress,
    pub content: Content,
    pub bytes: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    Arp(Arp),
    Solicitation(Neighbor),
    Advertisement(Neighbor),
    /// Truncated, or of a kind that is not observed.
    Unreadable,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arp {
    pub operation: ArpOperation,
    pub sender_mac: MacAddress,
    pub sender: Ipv4Addr,
    pub target_mac: MacAddress,
    pub target: Ipv4Addr,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArpOperation {
    Request,
    Reply,
    Other(u16),
}

/// A neighbour solicitation or advertisement (RFC 4861 §4.3, §4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Neighbor {
    pub source: Ipv6Addr,
    pub destination: Ipv6Addr,
    pub hop_limit: u8,
    pub target: Ipv6Addr,
    /// The source link-layer option of a solicitation, the target one of an advertisement.
    pub link_layer: Option<MacAddress>,
    /// The first byte of the flags: Router 0x80, Solicited 0x40, Override 0x20. 0 in solicitations.
    pub flags: u8,
}

impl Frame {
    /// Reads a frame; never fails, since what is on the wire is a fact whatever it looks like.
    pub(super) fn new(bytes: Vec<u8>, at: Instant, wall: SystemTime, outgoing: bool) -> Self {
        let ethernet = EthernetPacket::new(&bytes);
        let (source, destination) = ethernet.as_ref().map_or(([0; 6], [0; 6]), |ethernet| {
            (
                ethernet.get_source().octets(),
                ethernet.get_destination().octets(),
            )
        });
        let content = ethernet
            .as_ref()
            .and_then(read)
            .unwrap_or(Content::Unreadable);
        Self {
            at,
            wall,
            outgoing,
            source: MacAddress(source),
            destination: MacAddress(destination),
            content,
            bytes,
        }
    }

    pub fn arp(&self) -> Option<&Arp> {
        match &self.content {
            Content::Arp(arp) => Some(arp),
            Content::Solicitation(_) | Content::Advertisement(_) | Content::Unreadable => None,
        }
    }

    /// A gratuitous ARP, request or reply, for this address: "from now on it is here".
    pub fn is_gratuitous_for(&self, address: Ipv4Addr) -> bool {
        self.arp()
            .is_some_and(|arp| arp.is_gratuitous() && arp.sender == address)
    }
}

impl Arp {
    /// RFC 5227 §3: an announcement names the same address as sender and target.
    pub fn is_gratuitous(&self) -> bool {
        self.sender == self.target
    }
}

fn read(ethernet: &EthernetPacket<'_>) -> Option<Content> {
    match ethernet.get_ethertype() {
        EtherTypes::Arp => read_arp(ethernet.payload()).map(Content::Arp),
        EtherTypes::Ipv6 => read_neighbor(ethernet.payload()),
        _ => None,
    }
}

fn read_arp(bytes: &[u8]) -> Option<Arp> {
    let packet = ArpPacket::new(bytes)?;
    let ethernet_and_ipv4 = packet.get_hardware_type().0 == 1
        && packet.get_protocol_type() == EtherTypes::Ipv4
        && (packet.get_hw_addr_len(), packet.get_proto_addr_len()) == (6, 4);
    ethernet_and_ipv4.then(|| Arp {
        operation: match packet.get_operation() {
            ArpOperations::Request => ArpOperation::Request,
            ArpOperations::Reply => ArpOperation::Reply,
            other => ArpOperation::Other(other.0),
        },
        sender_mac: MacAddress(packet.get_sender_hw_addr().octets()),
        sender: packet.get_sender_proto_addr(),
        target_mac: MacAddress(packet.get_target_hw_addr().octets()),
        target: packet.get_target_proto_addr(),
    })
}

fn read_neighbor(bytes: &[u8]) -> Option<Content> {
    let ip = Ipv6Packet::new(bytes)?;
    if ip.get_next_header() != IpNextHeaderProtocols::Icmpv6 {
        return None;
    }
    let neighbor = |target, link_layer, flags| Neighbor {
        source: ip.get_source(),
        destination: ip.get_destination(),
        hop_limit: ip.get_hop_limit(),
        target,
        link_layer,
        flags,
    };
    match Icmpv6Packet::new(ip.payload())?.get_icmpv6_type() {
        Icmpv6Types::NeighborSolicit => {
            let packet = NeighborSolicitPacket::new(ip.payload())?;
            let link_layer = link_layer(&packet.get_options(), NdpOptionTypes::SourceLLAddr.0);
            Some(Content::Solicitation(neighbor(
                packet.get_target_addr(),
                link_layer,
                0,
            )))
        }
        Icmpv6Types::NeighborAdvert => {
            let packet = NeighborAdvertPacket::new(ip.payload())?;
            let link_layer = link_layer(&packet.get_options(), NdpOptionTypes::TargetLLAddr.0);
            let flags = packet.get_flags();
            Some(Content::Advertisement(neighbor(
                packet.get_target_addr(),
                link_layer,
                flags,
            )))
        }
        _ => None,
    }
}

fn link_layer(options: &[NdpOption], kind: u8) -> Option<MacAddress> {
    let option = options.iter().find(|option| option.option_type.0 == kind)?;
    let bytes: [u8; 6] = option.data.get(..6)?.try_into().ok()?;
    Some(MacAddress(bytes))
}

/// `aa:… > ff:… arp who-has 192.168.64.4 tell 192.168.64.100`, after tcpdump.
impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.outgoing { " (sent here)" } else { "" };
        write!(
            f,
            "{} > {} {}{mark}",
            self.source, self.destination, self.content
        )
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arp(arp) => arp.fmt(f),
            Self::Solicitation(it) => {
                write!(f, "nd who-has {} tell {}", it.target, it.source)?;
                match it.link_layer {
                    Some(mac) => write!(f, " at {mac}"),
                    None => Ok(()),
                }
            }
            Self::Advertisement(it) => {
                write!(f, "nd {} is-at ", it.target)?;
                match it.link_layer {
                    Some(mac) => write!(f, "{mac}")?,
                    None => f.write_str("?")?,
                }
                write!(f, " flags {:#04x} to {}", it.flags, it.destination)
            }
            Self::Unreadable => f.write_str("unreadable"),
        }
    }
}

impl fmt::Display for Arp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            sender,
            sender_mac,
            target,
            ..
        } = self;
        let gratuitous = if self.is_gratuitous() {
            " (gratuitous)"
        } else {
            ""
        };
        match self.operation {
            ArpOperation::Request if self.is_gratuitous() => {
                write!(
                    f,
                    "arp who-has {target} tell {sender} at {sender_mac}{gratuitous}"
                )
            }
            ArpOperation::Request => write!(f, "arp who-has {target} tell {sender}"),
            ArpOperation::Reply => write!(f, "arp {sender} is-at {sender_mac}{gratuitous}"),
            ArpOperation::Other(code) => write!(f, "arp operation {code} from {sender}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From a capture: 192.168.64.100 asks for 192.168.64.4.
    const REQUEST: [u8; 42] = [
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 0x08, 0x06, //
        0, 1, 0x08, 0, 6, 4, 0, 1, //
        2, 0, 0, 0, 0, 1, 192, 168, 64, 100, //
        0, 0, 0, 0, 0, 0, 192, 168, 64, 4,
    ];

    fn frame(bytes: &[u8]) -> Frame {
        Frame::new(bytes.to_vec(), Instant::now(), SystemTime::now(), false)
    }

    #[test]
    fn an_arp_request_is_read_and_told_in_a_line() {
        assert_eq!(
            frame(&REQUEST).to_string(),
            "02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff arp who-has 192.168.64.4 tell 192.168.64.100"
        );
        assert!(!frame(&REQUEST).is_gratuitous_for(Ipv4Addr::new(192, 168, 64, 100)));
    }

    #[test]
    fn a_request_for_the_senders_own_address_is_gratuitous() {
        let mut bytes = REQUEST;
        bytes[28..32].copy_from_slice(&[192, 168, 64, 4]);
        assert!(frame(&bytes).is_gratuitous_for(Ipv4Addr::new(192, 168, 64, 4)));
        assert!(!frame(&bytes).is_gratuitous_for(Ipv4Addr::new(192, 168, 64, 5)));
    }

    #[test]
    fn a_frame_that_breaks_off_anywhere_is_unreadable_and_never_a_panic() {
        for length in 0..REQUEST.len() {
            assert_eq!(
                frame(&REQUEST[..length]).content,
                Content::Unreadable,
                "{length} bytes"
            );
        }
    }
}
