//! What ARP and neighbour discovery have in common.

use std::fmt;
use std::net::IpAddr;

use pnet_base::MacAddr;
use pnet_packet::ethernet::EtherTypes;

use super::arp::{self, Operation};
use super::ndp::{self, Body};
use super::{Frame, ethernet};
use crate::Reason;

/// A frame about which station has which address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    /// Its Ethernet header.
    pub ethernet: ethernet::Repr,
    packet: Packet,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packet {
    Arp(arp::Repr),
    Ndp(ndp::Repr),
}

impl Message {
    /// The meaning of a frame.
    pub fn parse(frame: &[u8]) -> Result<Self, Reason> {
        let (ethernet, payload) = ethernet::Repr::parse(frame)?;
        let packet = match ethernet.ethertype {
            EtherTypes::Arp => Packet::Arp(arp::Repr::parse(payload)?),
            EtherTypes::Ipv6 => Packet::Ndp(ndp::Repr::parse(payload)?),
            _ => return Err(Reason::UnknownEthertype),
        };
        Ok(Self { ethernet, packet })
    }

    /// Whether it was sent to all, or to a group that asks on behalf of all.
    #[must_use]
    pub fn is_to_many(&self) -> bool {
        let destination = self.ethernet.destination;
        match self.packet {
            Packet::Arp(_) => destination.is_broadcast(),
            Packet::Ndp(_) => destination.octets()[..2] == [0x33, 0x33],
        }
    }

    /// The hardware address that the sender gives itself in the message, if it gives one: it may
    /// differ from the one that the frame came from.
    #[must_use]
    pub const fn sender_hardware(&self) -> MacAddr {
        match self.packet {
            Packet::Arp(packet) => packet.sender_hardware,
            Packet::Ndp(packet) => match packet.body {
                Body::Solicitation {
                    source_link_layer: Some(mac),
                }
                | Body::Advertisement {
                    target_link_layer: Some(mac),
                    ..
                } => mac,
                Body::Solicitation { .. } | Body::Advertisement { .. } => self.ethernet.source,
            },
        }
    }

    /// The address that it was sent from; unspecified in a probe.
    #[must_use]
    pub const fn sender(&self) -> IpAddr {
        match self.packet {
            Packet::Arp(packet) => IpAddr::V4(packet.sender_protocol),
            Packet::Ndp(packet) => IpAddr::V6(packet.source),
        }
    }

    /// The address that its sender says to have. In ARP every packet says so of its sender, whatever
    /// the operation (RFC 5227 §2.4); an advertisement of its target.
    #[must_use]
    pub fn claimed(&self) -> Option<IpAddr> {
        match self.packet {
            Packet::Arp(packet) => {
                let sender = packet.sender_protocol;
                (!sender.is_unspecified()).then_some(IpAddr::V4(sender))
            }
            Packet::Ndp(packet) => match packet.body {
                Body::Advertisement { .. } => Some(IpAddr::V6(packet.target)),
                Body::Solicitation { .. } => None,
            },
        }
    }

    /// The address that it asks for.
    #[must_use]
    pub const fn asked(&self) -> Option<IpAddr> {
        match self.packet {
            Packet::Arp(packet) => match packet.operation {
                Operation::Request => Some(IpAddr::V4(packet.target_protocol)),
                Operation::Reply => None,
            },
            Packet::Ndp(packet) => match packet.body {
                Body::Solicitation { .. } => Some(IpAddr::V6(packet.target)),
                Body::Advertisement { .. } => None,
            },
        }
    }

    /// Whether it answers somebody, or comes from a station that forwards: in either case no speaker
    /// of ours sent it to another node of the cluster.
    #[must_use]
    pub fn is_kernels_answer(&self) -> bool {
        match self.packet {
            Packet::Arp(packet) => {
                packet.operation == Operation::Reply
                    && packet.sender_protocol != packet.target_protocol
            }
            Packet::Ndp(packet) => match packet.body {
                Body::Advertisement { flags, .. } => flags.solicited || flags.router,
                Body::Solicitation { .. } => false,
            },
        }
    }

    /// The answer to it: the address that it asks for is at `hardware`.
    #[must_use]
    pub fn reply(&self, hardware: MacAddr) -> Frame {
        match self.packet {
            Packet::Arp(packet) => packet.reply(hardware).emit(packet.sender_hardware),
            Packet::Ndp(packet) => {
                let reply = packet.reply(hardware);
                let to = if reply.destination.is_multicast() {
                    ndp::group_mac(reply.destination)
                } else {
                    self.sender_hardware()
                };
                reply.emit(hardware, to)
            }
        }
    }
}

/// In words: who says or asks what, to whom.
impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ethernet = &self.ethernet;
        write!(f, "{} > {} ", ethernet.source, ethernet.destination)?;
        match self.packet {
            Packet::Arp(packet) => {
                let (sender, target) = (packet.sender_protocol, packet.target_protocol);
                let hardware = packet.sender_hardware;
                match packet.operation {
                    Operation::Request if sender.is_unspecified() => {
                        write!(f, "ARP probe: has anybody {target}?")
                    }
                    Operation::Request if sender == target => {
                        write!(f, "ARP announcement (request): {sender} is at {hardware}")
                    }
                    Operation::Request => write!(f, "ARP request: who has {target}? tell {sender}"),
                    Operation::Reply if sender == target => {
                        write!(f, "ARP announcement (reply): {sender} is at {hardware}")
                    }
                    Operation::Reply => write!(f, "ARP reply: {sender} is at {hardware}"),
                }
            }
            Packet::Ndp(packet) => {
                let (source, target) = (packet.source, packet.target);
                let to = packet.destination;
                match packet.body {
                    Body::Solicitation { .. } if source.is_unspecified() => {
                        write!(f, "DAD probe: has anybody {target}?")
                    }
                    Body::Solicitation { .. } => {
                        write!(f, "solicitation: who has {target}? tell {source}")
                    }
                    Body::Advertisement {
                        flags,
                        target_link_layer,
                    } => {
                        let flags = [
                            (flags.router, " router"),
                            (flags.solicited, " solicited"),
                            (flags.overrides, " override"),
                        ];
                        let flags = flags.iter().filter(|(set, _)| *set).map(|(_, word)| *word);
                        let flags: String = flags.collect();
                        write!(f, "advertisement:{flags}, {target} is at ")?;
                        match target_link_layer {
                            Some(hardware) => write!(f, "{hardware}, to {to}"),
                            None => write!(f, "the sender, to {to}"),
                        }
                    }
                }
            }
        }
    }
}

/// The frames of one announcement of `address`. ARP's are both forms, request and reply, since there
/// are receivers that honour only one of them.
pub fn announcement(address: IpAddr, hardware: MacAddr) -> impl Iterator<Item = Frame> {
    let (first, second) = match address {
        IpAddr::V4(address) => {
            let form = |operation| {
                let packet = arp::Repr::gratuitous(operation, hardware, address);
                packet.emit(MacAddr::broadcast())
            };
            (form(Operation::Request), Some(form(Operation::Reply)))
        }
        IpAddr::V6(address) => {
            let packet = ndp::Repr::unsolicited(hardware, address);
            let to = ndp::group_mac(packet.destination);
            (packet.emit(hardware, to), None)
        }
    };
    std::iter::once(first).chain(second)
}

/// The frame that asks whether anybody has `address`, without saying that we want it.
#[must_use]
pub fn probe(address: IpAddr, hardware: MacAddr) -> Frame {
    match address {
        IpAddr::V4(address) => {
            let packet = arp::Repr::probe(hardware, address);
            packet.emit(MacAddr::broadcast())
        }
        IpAddr::V6(address) => {
            let packet = ndp::Repr::probe(address);
            packet.emit(hardware, ndp::group_mac(packet.destination))
        }
    }
}

/// The frame that asks from `own` who has `address`; `None` if they are of two families.
#[must_use]
pub fn question(address: IpAddr, hardware: MacAddr, own: IpAddr) -> Option<Frame> {
    match (address, own) {
        (IpAddr::V4(address), IpAddr::V4(own)) => {
            let packet = arp::Repr {
                sender_protocol: own,
                ..arp::Repr::probe(hardware, address)
            };
            Some(packet.emit(MacAddr::broadcast()))
        }
        (IpAddr::V6(address), IpAddr::V6(own)) => {
            let packet = ndp::Repr {
                source: own,
                body: Body::Solicitation {
                    source_link_layer: Some(hardware),
                },
                ..ndp::Repr::probe(address)
            };
            let to = ndp::group_mac(packet.destination);
            Some(packet.emit(hardware, to))
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => None,
    }
}
