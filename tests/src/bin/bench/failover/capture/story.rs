//! Packets and API writes as lines: when, from whom to whom, what it is.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::SystemTime;

use anyhow::Result;
use ferrolb_core::ownership::PORT as SPEAKERS;
use ferrolb_tests::Lab;
use ferrolb_tests::net::MacAddress;
use pnet_packet::tcp::TcpFlags;

use super::Zero;
use super::heard::Line;
use super::packet::{Content, Packet, Segment};

mod death;
mod kept;

pub(super) use death::Death;
pub(super) use kept::Move;

/// The port of the pods of `web`, and of the Service.
const WEB: u16 = 6379;
const KUBELET: u16 = 10250;
/// A type of ICMP (RFC 792).
const ECHO_REQUEST: u8 = 8;

/// What addresses belong to.
pub(super) struct Names {
    hosts: Vec<(String, MacAddress, Ipv4Addr)>,
    /// The pods of each node: 10.244.N.0/24.
    pods: Vec<(String, [u8; 3])>,
    vip: Ipv4Addr,
}

impl Names {
    pub(super) fn of(lab: &Lab, vip: Ipv4Addr) -> Result<Self> {
        let hosts = lab.network().hosts().iter();
        let nodes = lab.nodes().into_iter();
        Ok(Self {
            hosts: hosts
                .map(|host| (host.name.clone(), host.mac, host.ipv4))
                .collect(),
            pods: nodes
                .filter_map(|node| {
                    let [a, b, c, _] = node.pods?.ipv4(0).octets();
                    Some((node.name.clone(), [a, b, c]))
                })
                .collect(),
            vip,
        })
    }

    fn station(&self, mac: MacAddress) -> String {
        if mac.is_broadcast() {
            return "all".to_owned();
        }
        let found = self.hosts.iter().find(|(_, its, _)| *its == mac);
        found.map_or_else(|| mac.to_string(), |(name, ..)| name.clone())
    }

    fn address(&self, address: Ipv4Addr) -> String {
        if address == self.vip {
            return "web's address".to_owned();
        }
        if let Some((name, ..)) = self.hosts.iter().find(|(_, _, its)| *its == address) {
            return name.clone();
        }
        let [a, b, c, _] = address.octets();
        let pods = self.pods.iter().find(|(_, net)| *net == [a, b, c]);
        pods.map_or_else(
            || address.to_string(),
            |(node, _)| format!("the pod on {node}"),
        )
    }

    fn ends(&self, segment: &Segment) -> String {
        let end = |(address, port)| format!("{}:{port}", self.address(address));
        format!("{} > {}", end(segment.source), end(segment.destination))
    }

    /// The line of a packet.
    fn line(&self, packet: &Packet, what: &str) -> Line {
        let (from, to) = (self.station(packet.from), self.station(packet.to));
        (packet.at, format!("{from:<6} {to:<6} {what}"))
    }
}

/// Lines in the order of their times; what was left out is counted where it was.
fn print(mut lines: Vec<Line>, mut left_out: Vec<SystemTime>, api: &[Line], zero: Zero) {
    lines.extend(
        api.iter()
            .map(|(at, text)| (*at, format!("{:<13} {text}", "API"))),
    );
    lines.sort_by_key(|(at, _)| *at);
    left_out.sort_unstable();
    let mut left_out = left_out.into_iter().peekable();
    let mut count = 0;
    for (at, text) in lines {
        while left_out.next_if(|other| *other <= at).is_some() {
            count += 1;
        }
        if count >= SHOWN {
            println!("           ... {count} other frames");
            count = 0;
        }
        println!("{:>8.1}  {text}", zero.millis(at));
    }
}

/// Fewer that were left out are not worth a line.
const SHOWN: usize = 50;
