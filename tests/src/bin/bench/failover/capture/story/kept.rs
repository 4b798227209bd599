//! A connection that is kept while its address moves.

use super::*;

/// What is told of it: every segment of the one connection, also between the announcing node and the pod, and
/// the announcements of its address.
pub(in super::super) struct Move {
    names: Names,
    old: MacAddress,
    new: MacAddress,
    old_name: String,
    new_name: String,
    vip: Ipv4Addr,
    port: u16,
}

impl Move {
    pub(in super::super) fn new(
        names: Names,
        old: &str,
        new: &str,
        vip: Ipv4Addr,
        port: u16,
    ) -> Self {
        let mac = |name: &str| {
            let found = names.hosts.iter().find(|(its, ..)| its == name);
            found.map_or(MacAddress([0; 6]), |(_, mac, _)| *mac)
        };
        Self {
            old: mac(old),
            new: mac(new),
            old_name: old.to_owned(),
            new_name: new.to_owned(),
            vip,
            port,
            names,
        }
    }

    pub(in super::super) fn tell(&self, packets: &[Packet], api: &[Line], zero: Zero) {
        let (mut lines, mut left_out) = (Vec::new(), Vec::new());
        for packet in packets {
            match self.what(packet) {
                Some(what) => lines.push(self.names.line(packet, &what)),
                None => left_out.push(packet.at),
            }
        }
        print(lines, left_out, api, zero);
    }

    fn what(&self, packet: &Packet) -> Option<String> {
        let (old, new) = (&self.old_name, &self.new_name);
        match &packet.content {
            Content::Arp {
                request,
                sender,
                target,
            } if *sender == self.vip && sender == target => {
                let kind = if *request { "request" } else { "reply" };
                Some(format!(
                    "ARP {kind}, gratuitous: {sender} is here, from now on"
                ))
            }
            Content::Udp {
                port: SPEAKERS,
                payload,
            } => match payload.get(3)? {
                9 => Some("speakers, GIVE: take this address over".to_owned()),
                12 => Some(
                    "speakers, OFFER: take it over if you, too, know that it belongs to you"
                        .to_owned(),
                ),
                11 => {
                    Some("speakers, YIELD: your claim is better, I have fallen silent".to_owned())
                }
                _ => None,
            },
            Content::Tcp(segment) => {
                let its = (self.vip, self.port);
                let to_vip = (segment.destination.0, segment.source.1) == its;
                let from_vip = (segment.source.0, segment.destination.1) == its;
                let inside = !to_vip
                    && !from_vip
                    && (segment.source.1 == WEB || segment.destination.1 == WEB);
                if !to_vip && !from_vip && !inside {
                    return None;
                }
                let told = format!(
                    "{} ttl {} {}",
                    self.names.ends(segment),
                    segment.ttl,
                    segment.told()
                );
                let what = if to_vip && packet.from == self.new && packet.to == self.old {
                    format!("{new} does not know the connection and passes the packet on as it is")
                } else if to_vip && packet.to == self.new {
                    format!("to the new owner, {new}")
                } else if to_vip {
                    format!("to the old owner, {old}")
                } else if from_vip && packet.from == self.old {
                    format!("{old} has it, and answers the client itself")
                } else if from_vip && segment.has(TcpFlags::RST) {
                    "reset".to_owned()
                } else if from_vip {
                    format!("{new} answers")
                } else if segment.destination.1 == WEB {
                    "on to the pod, with the node's own address".to_owned()
                } else {
                    "the pod's answer".to_owned()
                };
                Some(format!("{told}: {what}"))
            }
            _ => None,
        }
    }
}
