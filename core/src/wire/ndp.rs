//! Neighbour discovery for IPv6 on Ethernet (RFC 4861): solicitations and advertisements.
//!
//! Options are read by hand: `pnet_packet` computes their length in a `u8`, which overflows.

use std::net::Ipv6Addr;

use pnet_base::MacAddr;
use pnet_packet::Packet as _;
use pnet_packet::ethernet::EtherTypes;
use pnet_packet::icmpv6::ndp::{
    MutableNeighborAdvertPacket, MutableNeighborSolicitPacket, NeighborAdvertPacket,
    NeighborSolicitPacket,
};
use pnet_packet::icmpv6::{self, Icmpv6Code, Icmpv6Packet, Icmpv6Types};
use pnet_packet::ip::IpNextHeaderProtocols;
use pnet_packet::ipv6::{Ipv6Packet, MutableIpv6Packet};

use super::{Frame, ethernet};
use crate::Reason;

/// All nodes of the link (RFC 4291 §2.7.1).
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

const IP_HEADER_LEN: usize = 40;
/// Type, code, checksum, flags or reserved, target (RFC 4861 §4.3, §4.4).
const MESSAGE_LEN: usize = 24;
/// A link-layer address option on Ethernet (RFC 4861 §4.6.1).
const OPTION_LEN: usize = 8;
/// The longest packet that we send.
pub(super) const LONGEST: usize = IP_HEADER_LEN + MESSAGE_LEN + OPTION_LEN;

/// Routers forward nothing with this hop limit as they got it: who sends it is on the link.
const HOP_LIMIT: u8 = 255;

// Option types.
const SOURCE_LINK_LAYER: u8 = 1;
const TARGET_LINK_LAYER: u8 = 2;

/// A solicitation or an advertisement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repr {
    /// IPv6 source: `::` in the probe of duplicate address detection (RFC 4862 §5.4.2).
    pub source: Ipv6Addr,
    /// IPv6 destination.
    pub destination: Ipv6Addr,
    /// The address that it is about.
    pub target: Ipv6Addr,
    /// Which of the two.
    pub body: Body,
}

/// What a solicitation and an advertisement do not have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// 135: who has the target?
    Solicitation {
        /// The asker's hardware address, if the option is there.
        source_link_layer: Option<MacAddr>,
    },
    /// 136: somebody has the target.
    Advertisement {
        /// Router, Solicited, Override.
        flags: Flags,
        /// Where the target is, if the option is there.
        target_link_layer: Option<MacAddr>,
    },
}

/// The flags of an advertisement (RFC 4861 §4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags {
    /// R: the sender is a router.
    pub router: bool,
    /// S: it answers a solicitation.
    pub solicited: bool,
    /// O: it replaces what neighbours know.
    pub overrides: bool,
}

impl Flags {
    const ROUTER: u8 = 0x80;
    const SOLICITED: u8 = 0x40;
    const OVERRIDE: u8 = 0x20;

    const fn parse(byte: u8) -> Self {
        Self {
            router: byte & Self::ROUTER != 0,
            solicited: byte & Self::SOLICITED != 0,
            overrides: byte & Self::OVERRIDE != 0,
        }
    }

    const fn emit(self) -> u8 {
        let mut byte = 0;
        if self.router {
            byte |= Self::ROUTER;
        }
        if self.solicited {
            byte |= Self::SOLICITED;
        }
        if self.overrides {
            byte |= Self::OVERRIDE;
        }
        byte
    }
}

impl Repr {
    /// The packet in an Ethernet payload, valid by RFC 4861 §7.1.1 and §7.1.2. An extension header
    /// before ICMPv6 is not read: nobody sends one, and RFC 6980 forbids the fragment header.
    pub fn parse(payload: &[u8]) -> Result<Self, Reason> {
        let ip = Ipv6Packet::new(payload).ok_or(Reason::Truncated)?;
        if ip.get_version() != 6 || ip.get_next_header() != IpNextHeaderProtocols::Icmpv6 {
            return Err(Reason::NotNeighbourDiscovery);
        }
        let (source, destination) = (ip.get_source(), ip.get_destination());
        let length = usize::from(ip.get_payload_length());
        let message = payload
            .get(IP_HEADER_LEN..IP_HEADER_LEN + length)
            .ok_or(Reason::Truncated)?;
        let icmp = Icmpv6Packet::new(message).ok_or(Reason::Truncated)?;
        // Empty, too, in a message that is too short; then the fixed part is missing first.
        let options = message.get(MESSAGE_LEN..).unwrap_or_default();
        let (target, body) = match icmp.get_icmpv6_type() {
            Icmpv6Types::NeighborSolicit => {
                let packet = NeighborSolicitPacket::new(message).ok_or(Reason::Truncated)?;
                let source_link_layer = link_layer(options, SOURCE_LINK_LAYER)?;
                let body = Body::Solicitation { source_link_layer };
                (packet.get_target_addr(), body)
            }
            Icmpv6Types::NeighborAdvert => {
                let packet = NeighborAdvertPacket::new(message).ok_or(Reason::Truncated)?;
                let body = Body::Advertisement {
                    flags: Flags::parse(packet.get_flags()),
                    target_link_layer: link_layer(options, TARGET_LINK_LAYER)?,
                };
                (packet.get_target_addr(), body)
            }
            _ => return Err(Reason::NotNeighbourDiscovery),
        };
        if ip.get_hop_limit() != HOP_LIMIT {
            return Err(Reason::ForwardedNeighbourDiscovery);
        }
        if icmp.get_checksum() != icmpv6::checksum(&icmp, &source, &destination) {
            return Err(Reason::BadChecksum);
        }
        let repr = Self {
            source,
            destination,
            target,
            body,
        };
        if icmp.get_icmpv6_code() == Icmpv6Code(0) && repr.is_valid() {
            Ok(repr)
        } else {
            Err(Reason::InvalidNeighbourDiscovery)
        }
    }

    /// The rules of RFC 4861 §7.1 that concern more than one field.
    fn is_valid(&self) -> bool {
        let fits = match self.body {
            // A probe goes to the group of its target, and has no hardware address to tell.
            Body::Solicitation { source_link_layer } => {
                !self.source.is_unspecified()
                    || (is_solicited_node(self.destination) && source_link_layer.is_none())
            }
            Body::Advertisement { flags, .. } => {
                !(self.destination.is_multicast() && flags.solicited)
            }
        };
        fits && !self.target.is_multicast()
    }

    /// An unsolicited advertisement (RFC 4861 §7.2.6): "`address` is at the sender of this", to
    /// everybody. Override is set, so that neighbours replace what they know; not Solicited, since
    /// nobody asked; not Router: we forward nothing for anybody.
    ///
    /// RFC 9131 asks who gets a new address to tell the routers (ff02::2), so that they have an entry
    /// before the first packet comes. Routers are among all nodes: one frame does for both.
    #[must_use]
    pub const fn unsolicited(hardware: MacAddr, address: Ipv6Addr) -> Self {
        Self {
            source: address,
            destination: ALL_NODES,
            target: address,
            body: Body::Advertisement {
                flags: Flags {
                    router: false,
                    solicited: false,
                    overrides: true,
                },
                target_link_layer: Some(hardware),
            },
        }
    }

    /// The probe of duplicate address detection (RFC 4862 §5.4.2): does anybody have `address`?
    #[must_use]
    pub const fn probe(address: Ipv6Addr) -> Self {
        Self {
            source: Ipv6Addr::UNSPECIFIED,
            destination: solicited_node(address),
            target: address,
            body: Body::Solicitation {
                source_link_layer: None,
            },
        }
    }

    /// The answer to this solicitation (RFC 4861 §7.2.4): to the asker with Solicited set, or, when
    /// it has no address yet, to everybody without. Override is set: the address is neither anycast
    /// nor a proxy's. The hardware address is always told, since the asker may have lost it.
    #[must_use]
    pub const fn reply(&self, hardware: MacAddr) -> Self {
        let probed = self.source.is_unspecified();
        Self {
            source: self.target,
            destination: if probed { ALL_NODES } else { self.source },
            target: self.target,
            body: Body::Advertisement {
                flags: Flags {
                    router: false,
                    solicited: !probed,
                    overrides: true,
                },
                target_link_layer: Some(hardware),
            },
        }
    }

    /// The whole frame from the station `source` to the station `destination`.
    #[must_use]
    pub fn emit(&self, source: MacAddr, destination: MacAddr) -> Frame {
        let mut packet = [0; LONGEST];
        let (header, message) = packet.split_at_mut(IP_HEADER_LEN);
        let option = match self.body {
            Body::Solicitation { source_link_layer } => {
                if let Some(mut packet) = MutableNeighborSolicitPacket::new(message) {
                    packet.set_icmpv6_type(Icmpv6Types::NeighborSolicit);
                    packet.set_target_addr(self.target);
                }
                source_link_layer.map(|mac| (SOURCE_LINK_LAYER, mac))
            }
            Body::Advertisement {
                flags,
                target_link_layer,
            } => {
                if let Some(mut packet) = MutableNeighborAdvertPacket::new(message) {
                    packet.set_icmpv6_type(Icmpv6Types::NeighborAdvert);
                    packet.set_flags(flags.emit());
                    packet.set_target_addr(self.target);
                }
                target_link_layer.map(|mac| (TARGET_LINK_LAYER, mac))
            }
        };
        let mut length = MESSAGE_LEN;
        if let Some((kind, mac)) = option {
            message[length] = kind;
            // In units of 8 bytes.
            message[length + 1] = 1;
            message[length + 2..length + OPTION_LEN].copy_from_slice(&mac.octets());
            length += OPTION_LEN;
        }
        let message = &mut message[..length];
        let checksum = Icmpv6Packet::new(message).map_or(0, |icmp| {
            icmpv6::checksum(&icmp, &self.source, &self.destination)
        });
        message[2..4].copy_from_slice(&checksum.to_be_bytes());
        if let Some(mut ip) = MutableIpv6Packet::new(header) {
            ip.set_version(6);
            ip.set_payload_length(length as u16);
            ip.set_next_header(IpNextHeaderProtocols::Icmpv6);
            ip.set_hop_limit(HOP_LIMIT);
            ip.set_source(self.source);
            ip.set_destination(self.destination);
            debug_assert!(ip.payload().is_empty(), "the buffer is the header alone");
        }
        let header = ethernet::Repr {
            destination,
            source,
            ethertype: EtherTypes::Ipv6,
        };
        header.emit(&packet[..IP_HEADER_LEN + length])
    }
}

/// The address in the option of this type. An option that ends nowhere or has no length makes the
/// whole packet invalid (RFC 4861 §7.1); one that is not Ethernet's tells us nothing.
fn link_layer(mut options: &[u8], wanted: u8) -> Result<Option<MacAddr>, Reason> {
    let mut found = None;
    while let [kind, units, ..] = *options {
        let length = usize::from(units) * OPTION_LEN;
        if length == 0 || length > options.len() {
            return Err(Reason::InvalidNeighbourDiscovery);
        }
        let (option, rest) = options.split_at(length);
        if let [_, _, a, b, c, d, e, f] = *option
            && kind == wanted
        {
            found = Some(MacAddr(a, b, c, d, e, f));
        }
        options = rest;
    }
    if options.is_empty() {
        Ok(found)
    } else {
        Err(Reason::InvalidNeighbourDiscovery)
    }
}

/// The group that a host with this address listens to (RFC 4291 §2.7.1).
#[must_use]
pub const fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., high, low] = address.segments();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | high & 0xff, low)
}

fn is_solicited_node(address: Ipv6Addr) -> bool {
    address == solicited_node(address)
}

/// The Ethernet address of an IPv6 group (RFC 2464 §7).
#[must_use]
pub const fn group_mac(group: Ipv6Addr) -> MacAddr {
    let [.., a, b, c, d] = group.octets();
    MacAddr(0x33, 0x33, a, b, c, d)
}

#[cfg(test)]
mod tests;
