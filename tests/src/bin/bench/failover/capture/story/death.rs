//! A node's death.

use std::time::Duration;

use super::*;

/// Kinds of the speakers' datagrams.
const PING: u8 = 2;
const ASK: u8 = 3;
const TELL: u8 = 4;
const DEAD: u8 = 5;
/// After the last write to the API: some connections more, all served.
const AFTER_LAST: Duration = Duration::from_millis(350);

/// What is told of it: each datagram and probe about the dead node, the controller's look, and of the client's
/// connections those that are passed on to the dead node's pod.
pub(in super::super) struct Death {
    names: Names,
    dead: (MacAddress, Ipv4Addr),
    name: String,
    owner: MacAddress,
    owner_name: String,
    vip: Ipv4Addr,
}

impl Death {
    pub(in super::super) fn new(names: Names, dead: &str, owner: &str, vip: Ipv4Addr) -> Self {
        let of = |name: &str| {
            let found = names.hosts.iter().find(|(its, ..)| its == name);
            found.map_or(
                (MacAddress([0; 6]), Ipv4Addr::UNSPECIFIED),
                |(_, mac, ip)| (*mac, *ip),
            )
        };
        Self {
            dead: of(dead),
            owner: of(owner).0,
            name: dead.to_owned(),
            owner_name: owner.to_owned(),
            vip,
            names,
        }
    }

    pub(in super::super) fn tell(&self, packets: &[Packet], api: &[Line], zero: Zero) {
        let told_gone = |packet: &&Packet| matches!(&packet.content, Content::Udp { port: SPEAKERS, payload } if payload.get(3) == Some(&DEAD));
        let mut votes = api.iter().filter(|(_, text)| text.contains("\"verdict\""));
        let told = Telling {
            served: served(packets, self.vip),
            cut: zero.0,
            gone: packets.iter().find(told_gone).map(|packet| packet.at),
            voted: votes.next().map(|(at, _)| *at),
        };
        // What follows tells nothing new.
        let last = api.last().map_or(zero.0, |(at, _)| *at);
        let end = last.max(zero.0) + AFTER_LAST;
        let (mut lines, mut left_out) = (Vec::new(), Vec::new());
        let mut begun = BTreeSet::new();
        for packet in packets.iter().filter(|packet| packet.at < end) {
            match self.what(packet, &told, &mut begun) {
                Some(what) => lines.push(self.names.line(packet, &what)),
                None => left_out.push(packet.at),
            }
        }
        let cut = format!(
            "{:<13} its port of the switch passes nothing on any more",
            self.name
        );
        lines.push((zero.0, cut));
        print(lines, left_out, api, zero);
    }

    fn what(&self, packet: &Packet, told: &Telling, begun: &mut BTreeSet<u16>) -> Option<String> {
        let name = &self.name;
        let silence = match packet.at < told.cut {
            true => String::new(),
            false => format!("; {name}'s kernel does not answer"),
        };
        let when = told.when(packet.at);
        match &packet.content {
            Content::Arp {
                request: true,
                target,
                ..
            } if *target == self.dead.1 => Some(format!("ARP, who has {name}{when}{silence}")),
            Content::Arp { sender, target, .. } if *sender == self.vip && sender == target => {
                Some(format!("ARP: {sender} is here, said again"))
            }
            Content::Icmp {
                kind: ECHO_REQUEST,
                destination,
            } if *destination == self.dead.1 => Some(format!("ping of {name}{when}{silence}")),
            Content::Udp {
                port: SPEAKERS,
                payload,
            } => self.datagram(packet, payload, told),
            Content::Tcp(segment) => self.segment(packet, segment, told, begun),
            _ => None,
        }
    }

    /// The kind is the fourth byte; what follows is signed, not secret.
    fn datagram(&self, packet: &Packet, payload: &[u8], told: &Telling) -> Option<String> {
        let (name, about_dead) = (&self.name, packet.to == self.dead.0);
        let text = match *payload.get(3)? {
            PING if !about_dead => return None,
            PING if packet.at < told.cut => "speakers, PING: are you well?".to_owned(),
            PING if told.gone.is_some_and(|gone| packet.at > gone) => {
                format!("speakers, PING: is {name} back?")
            }
            PING => format!("speakers, PING: are you well? {name}'s speaker does not answer"),
            ASK => format!("speakers, ASK: probe {name}, now, and tell me"),
            TELL => format!("speakers, TELL: what my own probes of {name} brought"),
            DEAD => format!(
                "speakers, DEAD: {name} is gone, its process and its kernel are silent to two"
            ),
            _ => return None,
        };
        Some(text)
    }

    fn segment(
        &self,
        packet: &Packet,
        segment: &Segment,
        told: &Telling,
        begun: &mut BTreeSet<u16>,
    ) -> Option<String> {
        let line = format!("{} {}", self.names.ends(segment), segment.told());
        let (_, to_port) = segment.destination;
        if to_port == KUBELET && segment.begins() {
            let whose = self.names.address(segment.destination.0);
            return Some(match packet.to == self.dead.0 {
                true => format!("{line}: the controller looks itself; nothing comes back"),
                false => format!(
                    "{line}: and looks at the kubelet of {whose}, a voter, in the same moment"
                ),
            });
        }
        if segment.source.1 == KUBELET && segment.accepts() {
            return Some(format!(
                "{line}: that one answers, so the look was not blind"
            ));
        }
        if to_port == WEB && packet.to == self.dead.0 {
            let dead = if packet.at < told.cut { "" } else { "dead " };
            let owner = &self.owner_name;
            return segment
                .begins()
                .then(|| format!("{line}: {owner} passes it on to the {dead}pod"));
        }
        if to_port != WEB
            || packet.to != self.owner
            || !segment.begins()
            || segment.destination.0 != self.vip
        {
            return None;
        }
        let again = !begun.insert(segment.source.1);
        Some(match (again, told.served.contains(&segment.source.1)) {
            (true, _) => format!(
                "{line}: once more after a second; {} sends it where it sent the first",
                self.owner_name
            ),
            (_, true) => format!("{line}: a new connection, which is served"),
            (_, false) => format!("{line}: a new connection, which is NOT served"),
        })
    }
}

/// What is known when the lines are written.
struct Telling {
    /// The client's ports that got an answer.
    served: BTreeSet<u16>,
    cut: SystemTime,
    /// The first speaker said that the node is gone.
    gone: Option<SystemTime>,
    /// The first vote was written.
    voted: Option<SystemTime>,
}

impl Telling {
    /// Why the node is probed at this time.
    fn when(&self, at: SystemTime) -> &'static str {
        let after = |moment: Option<SystemTime>| moment.is_some_and(|moment| at > moment);
        match (after(self.gone), after(self.voted)) {
            (false, _) => "",
            (true, false) => ", once more before the vote",
            (true, true) => ", in case it is back",
        }
    }
}

/// The client's ports that got an answer.
fn served(packets: &[Packet], vip: Ipv4Addr) -> BTreeSet<u16> {
    let ports = packets.iter().filter_map(|packet| match &packet.content {
        Content::Tcp(segment) if segment.source.0 == vip && segment.accepts() => {
            Some(segment.destination.1)
        }
        _ => None,
    });
    ports.collect()
}
