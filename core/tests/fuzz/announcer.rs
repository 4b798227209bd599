//! Any order of events, told by bytes: wishes, links, nodes, frames and time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use ferrolb_core::Instant;
use ferrolb_core::announce::{
    Announcer, Assignment, ClusterNodes, FrameOutcome, Kind, Link, LinkId, Settings,
};
use ferrolb_core::wire::{MacAddr, Message, announcement, probe, question};

const VIPS: [&str; 6] = [
    "192.168.64.200",
    "192.168.64.201",
    "10.9.0.200",
    "172.16.0.1",
    "fd00:64::200",
    "fd00:9::200",
];
const STATIONS: [MacAddr; 4] = [
    MacAddr(2, 0, 0, 0, 0, 0x64),
    MacAddr(2, 0, 0, 0, 0, 0x0c),
    MacAddr(0xff, 0xff, 0xff, 0xff, 0xff, 0xff),
    MacAddr(2, 0, 0, 0, 0, 0x0b),
];
const LINKS: [LinkId; 2] = [LinkId(2), LinkId(3)];
const RATE: u32 = 1_000;
const BURST: u32 = 8;

/// Eaten from the front; zeroes at the end.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::from(self.next()) % choices.len()]
    }

    fn take(&mut self, length: usize) -> &[u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn wanted(choice: u8, how: u8) -> BTreeMap<IpAddr, Assignment> {
    let chosen = VIPS
        .iter()
        .enumerate()
        .filter(|(n, _)| choice >> n & 1 == 1);
    let wanted = Assignment {
        interfaces: if how & 4 == 4 {
            ["dmz0".to_owned()].into()
        } else {
            BTreeSet::new()
        },
        probe_first: how & 1 == 1,
        in_conflict: how & 2 == 2,
        on_subnet_only: how & 8 == 8,
        ..Assignment::default()
    };
    chosen
        .map(|(_, vip)| (address(vip), wanted.clone()))
        .collect()
}

fn links(choice: u8) -> BTreeMap<LinkId, Link> {
    let link = |name: &str, last, prefixes: [&str; 2], carrier| Link {
        name: name.into(),
        mac: MacAddr(2, 0, 0, 0, u8::from(choice & 16 == 16), last),
        prefixes: prefixes
            .map(|prefix| prefix.parse().expect("a prefix"))
            .into(),
        routes: BTreeMap::new(),
        carrier,
    };
    let lan = ["192.168.64.11/24", "fd00:64::11/64"];
    let dmz = ["10.9.0.11/24", "fd00:9::11/64"];
    let mut links = BTreeMap::new();
    if choice & 1 == 0 {
        links.insert(LINKS[0], link("lan0", 0x0b, lan, choice & 2 == 0));
    }
    if choice & 4 == 0 {
        links.insert(LINKS[1], link("dmz0", 0x1b, dmz, choice & 8 == 0));
    }
    links
}

/// A frame of another host about one of the addresses, changed in some bytes; or any bytes.
fn frame(bytes: &mut Bytes<'_>) -> Vec<u8> {
    let vip = address(bytes.one_of(&VIPS));
    let station = bytes.one_of(&STATIONS);
    let asker = address(bytes.one_of(&["192.168.64.100", "fd00:64::100", "192.168.64.12", "::"]));
    let asked = || Message::parse(probe(vip, MacAddr(2, 0, 0, 0, 0, 0x0b)).as_bytes());
    let known = match bytes.next() % 5 {
        0 => question(vip, station, asker),
        1 => Some(probe(vip, station)),
        2 => announcement(vip, station).last(),
        3 => asked().ok().map(|asked| asked.reply(station)),
        _ => None,
    };
    let Some(known) = known else {
        let length = bytes.next().into();
        return bytes.take(length).to_vec();
    };
    let mut frame = known.as_bytes().to_vec();
    for _ in 0..bytes.next() % 4 {
        let at = usize::from(bytes.next()) % frame.len();
        frame[at] = bytes.next();
    }
    frame
}

/// Whatever happens, only what is wanted is spoken for, on links that carry it, to no node, and no
/// faster than the pace.
pub(crate) fn run(bytes: &[u8]) {
    let mut bytes = Bytes(bytes);
    let mut announcer = Announcer::new(Settings {
        rounds_per_second: RATE,
        burst: BURST,
        ..Settings::default()
    });
    let mut wants = BTreeMap::new();
    let mut carriers = BTreeSet::new();
    let mut nodes = ClusterNodes::default();
    let mut now = Instant::START;
    let mut rounds = 0_u64;
    while !bytes.0.is_empty() {
        let mut answers = 0;
        let mut heard = false;
        match bytes.next() % 8 {
            0 => {
                wants = wanted(bytes.next(), bytes.next());
                announcer.set_wanted(wants.clone(), now);
            }
            1 => {
                let links = links(bytes.next());
                let up = links.iter().filter(|(_, link)| link.carrier);
                carriers = up.map(|(id, _)| *id).collect();
                announcer.set_links(links, now);
            }
            2 => {
                let macs = [(STATIONS[1], "n2".to_owned())];
                nodes = match bytes.next() % 2 {
                    0 => ClusterNodes::default(),
                    _ => ClusterNodes {
                        macs: macs.into(),
                        addresses: [address("192.168.64.12")].into(),
                    },
                };
                announcer.set_cluster_nodes(nodes.clone(), now);
            }
            3 => announcer.announce_again(now),
            4 | 5 => {
                let link = bytes.one_of(&LINKS);
                let frame = frame(&mut bytes);
                heard = true;
                if let FrameOutcome::Answered(vip) = announcer.handle_frame(link, &frame, now) {
                    answers += 1;
                    assert!(announcer.owned().any(|owned| owned == (vip, link)));
                }
            }
            6 => {
                now = now + Duration::from_micros(u64::from(bytes.next()).pow(3));
                announcer.handle_timeout(now);
            }
            _ => {
                if let Some((at, _)) = announcer.poll_timeout() {
                    now = now.max(at);
                    announcer.handle_timeout(now);
                }
            }
        }
        if !heard {
            // Whoever waits for it does not wait in vain.
            assert!(announcer.poll_timeout().is_none_or(|(at, _)| at > now));
        }
        while let Some(sent) = announcer.poll_transmit() {
            let message = Message::parse(sent.frame.as_bytes()).expect("what we send can be read");
            assert!(wants.contains_key(&sent.vip) && carriers.contains(&sent.link));
            match sent.kind {
                Kind::Reply => {
                    answers -= 1;
                    assert_eq!(message.claimed(), Some(sent.vip));
                    assert!(!nodes.macs.contains_key(&message.ethernet.destination));
                }
                Kind::Probe => {
                    assert_eq!((message.claimed(), message.asked()), (None, Some(sent.vip)));
                    rounds += 2;
                }
                Kind::Gratuitous => {
                    assert_eq!(message.claimed(), Some(sent.vip));
                    // Against another host it is announced at once, but seldom.
                    if !heard {
                        rounds += if sent.vip.is_ipv4() { 1 } else { 2 };
                    }
                }
            }
        }
        assert_eq!(answers, 0, "an answer that does not leave");
        let allowed = u64::from(BURST) + now.as_micros() * u64::from(RATE) / 1_000_000;
        assert!(
            rounds <= 2 * allowed + 2,
            "{rounds} half rounds until {now:?}"
        );
        let owned: Vec<_> = announcer.owned().collect();
        assert!(owned.iter().all(|(vip, _)| wants.contains_key(vip)));
        let events = std::iter::from_fn(|| announcer.poll_event()).count();
        assert!(events <= 2 * VIPS.len(), "{events} events at once");
    }
}
