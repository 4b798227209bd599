//! Asks the LAN who has an address, and collects every answer.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use pnet_packet::arp::{ArpHardwareTypes, ArpOperations, MutableArpPacket};
use pnet_packet::ethernet::{EtherTypes, MutableEthernetPacket};

use super::frame::ArpOperation;
use super::packet_socket::PacketSocket;
use crate::net::MacAddress;

const ETHERNET_HEADER: usize = 14;
const BROADCAST: [u8; 6] = [0xff; 6];
const ARP_LENGTH: usize = 28;

/// A station that claims the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArpAnswer {
    pub mac: MacAddress,
    pub round_trip: Duration,
}

/// Broadcasts one request for `address` on `link` and listens for the whole of `patience`: a second
/// answer, from a second station, is what such a question is about. The kernel's neighbour table is
/// not asked and not changed.
pub fn arp_ask(link: &str, address: Ipv4Addr, patience: Duration) -> io::Result<Vec<ArpAnswer>> {
    let socket = PacketSocket::open(link, Duration::from_millis(10))?;
    let mac = socket.mac()?;
    let request = request(mac, own_address_towards(address)?, address);
    let sent = Instant::now();
    socket.send(&request)?;
    let mut answers = Vec::new();
    while sent.elapsed() < patience {
        let Some(frame) = socket.receive()? else {
            continue;
        };
        let Some(arp) = frame.arp() else { continue };
        let answers_us = arp.operation == ArpOperation::Reply
            && arp.sender == address
            && frame.destination == mac
            && !frame.outgoing;
        if answers_us {
            let round_trip = frame.at.saturating_duration_since(sent);
            answers.push(ArpAnswer {
                mac: arp.sender_mac,
                round_trip,
            });
        }
    }
    Ok(answers)
}

/// The stations that answer for `address`, asked for `patience` at a time until one does, or until `deadline`. One that
/// stopped for a while answers what was asked before, too, and the kernel asks now and then by itself: what one
/// station answers twice is asked again, and whoever answers everything twice does so to the end.
pub fn stations(
    link: &str,
    address: Ipv4Addr,
    patience: Duration,
    deadline: Instant,
) -> io::Result<Vec<MacAddress>> {
    loop {
        let answers = arp_ask(link, address, patience)?;
        let macs: Vec<_> = answers.iter().map(|answer| answer.mac).collect();
        let each_once = macs.iter().collect::<BTreeSet<_>>().len() == macs.len();
        if (each_once && !macs.is_empty()) || Instant::now() > deadline {
            return Ok(macs);
        }
    }
}

/// The address that the kernel would ask from.
pub(super) fn own_address_towards(address: Ipv4Addr) -> io::Result<Ipv4Addr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    // Connecting a datagram socket sends nothing; any port does.
    socket.connect(SocketAddr::from((address, 9)))?;
    match socket.local_addr()?.ip() {
        IpAddr::V4(own) => Ok(own),
        IpAddr::V6(own) => Err(io::Error::other(format!("{own} is no IPv4 address"))),
    }
}

pub(super) fn request(mac: MacAddress, own: Ipv4Addr, address: Ipv4Addr) -> Vec<u8> {
    let mut bytes = vec![0; ETHERNET_HEADER + ARP_LENGTH];
    let (header, body) = bytes.split_at_mut(ETHERNET_HEADER);
    let mut ethernet = MutableEthernetPacket::new(header).expect("the header is 14 bytes long");
    ethernet.set_destination(BROADCAST.into());
    ethernet.set_source(mac.0.into());
    ethernet.set_ethertype(EtherTypes::Arp);
    let mut arp = MutableArpPacket::new(body).expect("the body is 28 bytes long");
    arp.set_hardware_type(ArpHardwareTypes::Ethernet);
    arp.set_protocol_type(EtherTypes::Ipv4);
    arp.set_hw_addr_len(6);
    arp.set_proto_addr_len(4);
    arp.set_operation(ArpOperations::Request);
    arp.set_sender_hw_addr(mac.0.into());
    arp.set_sender_proto_addr(own);
    arp.set_target_proto_addr(address);
    bytes
}
