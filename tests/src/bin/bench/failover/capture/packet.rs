//! What a frame is, as far as a story needs it.

use std::net::Ipv4Addr;
use std::time::SystemTime;

use ferrolb_tests::net::MacAddress;
use pnet_packet::Packet as _;
use pnet_packet::arp::ArpPacket;
use pnet_packet::ethernet::{EtherTypes, EthernetPacket};
use pnet_packet::icmp::IcmpPacket;
use pnet_packet::ip::IpNextHeaderProtocols;
use pnet_packet::ipv4::Ipv4Packet;
use pnet_packet::tcp::{TcpFlags, TcpPacket};
use pnet_packet::udp::UdpPacket;

#[derive(Debug, Clone)]
pub(super) struct Packet {
    pub(super) at: SystemTime,
    pub(super) from: MacAddress,
    pub(super) to: MacAddress,
    pub(super) content: Content,
}

#[derive(Debug, Clone)]
pub(super) enum Content {
    Arp {
        request: bool,
        sender: Ipv4Addr,
        target: Ipv4Addr,
    },
    Icmp {
        kind: u8,
        destination: Ipv4Addr,
    },
    Udp {
        port: u16,
        payload: Vec<u8>,
    },
    Tcp(Segment),
}

/// A TCP segment.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    pub(super) source: (Ipv4Addr, u16),
    pub(super) destination: (Ipv4Addr, u16),
    pub(super) ttl: u8,
    pub(super) flags: u8,
    pub(super) payload: Vec<u8>,
}

impl Segment {
    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The first one of a connection.
    pub(super) fn begins(&self) -> bool {
        self.has(TcpFlags::SYN) && !self.has(TcpFlags::ACK)
    }

    /// The answer to that.
    pub(super) fn accepts(&self) -> bool {
        self.has(TcpFlags::SYN) && self.has(TcpFlags::ACK)
    }

    /// As tcpdump writes it, with what is carried if that is text.
    pub(super) fn told(&self) -> String {
        let flags = [
            (TcpFlags::SYN, "SYN"),
            (TcpFlags::FIN, "FIN"),
            (TcpFlags::RST, "RST"),
            (TcpFlags::ACK, "ACK"),
        ];
        let mut words: Vec<_> = flags
            .iter()
            .filter(|(flag, _)| self.has(*flag))
            .map(|(_, word)| (*word).to_owned())
            .collect();
        if !self.payload.is_empty() {
            words.push(format!("{:?}", String::from_utf8_lossy(&self.payload)));
        }
        words.join(" ")
    }
}

impl Packet {
    /// IPv6 and what is cut short is not told.
    pub(super) fn read(at: SystemTime, frame: &[u8]) -> Option<Self> {
        let ethernet = EthernetPacket::new(frame)?;
        let content = match ethernet.get_ethertype() {
            EtherTypes::Arp => {
                let arp = ArpPacket::new(ethernet.payload())?;
                Content::Arp {
                    request: arp.get_operation().0 == 1,
                    sender: arp.get_sender_proto_addr(),
                    target: arp.get_target_proto_addr(),
                }
            }
            EtherTypes::Ipv4 => read_ipv4(ethernet.payload())?,
            _ => return None,
        };
        Some(Self {
            at,
            from: MacAddress(ethernet.get_source().octets()),
            to: MacAddress(ethernet.get_destination().octets()),
            content,
        })
    }
}

fn read_ipv4(bytes: &[u8]) -> Option<Content> {
    let ip = Ipv4Packet::new(bytes)?;
    let (source, destination) = (ip.get_source(), ip.get_destination());
    Some(match ip.get_next_level_protocol() {
        IpNextHeaderProtocols::Icmp => Content::Icmp {
            kind: IcmpPacket::new(ip.payload())?.get_icmp_type().0,
            destination,
        },
        IpNextHeaderProtocols::Udp => {
            let udp = UdpPacket::new(ip.payload())?;
            Content::Udp {
                port: udp.get_destination(),
                payload: udp.payload().to_vec(),
            }
        }
        IpNextHeaderProtocols::Tcp => {
            let tcp = TcpPacket::new(ip.payload())?;
            Content::Tcp(Segment {
                source: (source, tcp.get_source()),
                destination: (destination, tcp.get_destination()),
                ttl: ip.get_ttl(),
                flags: tcp.get_flags(),
                payload: tcp.payload().to_vec(),
            })
        }
        _ => return None,
    })
}
