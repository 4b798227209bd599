//! Each behaviour is shown for both families by the same test.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::*;
use crate::ownership::Cause;
use crate::wire::arp::{self, Operation};
use crate::wire::{Message, ethernet, ndp};

mod conflicts;
mod hearing;
mod properties;

const LAN: LinkId = LinkId(2);
const DMZ: LinkId = LinkId(3);
const OUR_MAC: MacAddr = MacAddr(0x02, 0, 0, 0, 0, 0x0b);
const DMZ_MAC: MacAddr = MacAddr(0x02, 0, 0, 0, 1, 0x0b);
const CLIENT_MAC: MacAddr = MacAddr(0x02, 0, 0, 0, 0, 0x64);
const NODE_MAC: MacAddr = MacAddr(0x02, 0, 0, 0, 0, 0x0c);

/// The addresses of one family.
#[derive(Debug, Clone, Copy)]
struct Net {
    vip: IpAddr,
    other: IpAddr,
    client: IpAddr,
    node: IpAddr,
    /// On no link's subnet.
    elsewhere: IpAddr,
    /// Of one round.
    frames: usize,
}

const V4: Net = Net {
    vip: IpAddr::V4(Ipv4Addr::new(192, 168, 64, 200)),
    other: IpAddr::V4(Ipv4Addr::new(192, 168, 64, 201)),
    client: IpAddr::V4(Ipv4Addr::new(192, 168, 64, 100)),
    node: IpAddr::V4(Ipv4Addr::new(192, 168, 64, 12)),
    elsewhere: IpAddr::V4(Ipv4Addr::new(172, 16, 0, 1)),
    frames: 2,
};

const V6: Net = Net {
    vip: IpAddr::V6(Ipv6Addr::new(0xfd00, 0x64, 0, 0, 0, 0, 0, 0x200)),
    other: IpAddr::V6(Ipv6Addr::new(0xfd00, 0x64, 0, 0, 0, 0, 0, 0x201)),
    client: IpAddr::V6(Ipv6Addr::new(0xfd00, 0x64, 0, 0, 0, 0, 0, 0x100)),
    node: IpAddr::V6(Ipv6Addr::new(0xfd00, 0x64, 0, 0, 0, 0, 0, 0x12)),
    elsewhere: IpAddr::V6(Ipv6Addr::new(0xfd00, 0x99, 0, 0, 0, 0, 0, 1)),
    frames: 1,
};

const BOTH: [Net; 2] = [V4, V6];

impl Net {
    const fn unspecified(self) -> IpAddr {
        match self.vip {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        }
    }
}

fn millis(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

fn link(name: &str, mac: MacAddr, prefixes: [&str; 2]) -> Link {
    Link {
        name: name.into(),
        mac,
        prefixes: prefixes.map(|prefix| prefix.parse().unwrap()).into(),
        routes: BTreeMap::new(),
        carrier: true,
    }
}

fn lan() -> BTreeMap<LinkId, Link> {
    let prefixes = ["192.168.64.11/24", "fd00:64::11/64"];
    BTreeMap::from([(LAN, link("lan0", OUR_MAC, prefixes))])
}

fn lan_and_dmz() -> BTreeMap<LinkId, Link> {
    let mut links = lan();
    let prefixes = ["10.9.0.11/24", "fd00:9::11/64"];
    links.insert(DMZ, link("dmz0", DMZ_MAC, prefixes));
    links
}

fn want(vips: &[IpAddr]) -> BTreeMap<IpAddr, Assignment> {
    vips.iter()
        .map(|vip| (*vip, Assignment::default()))
        .collect()
}

fn probed(vip: IpAddr) -> BTreeMap<IpAddr, Assignment> {
    let wanted = Assignment {
        probe_first: true,
        ..Assignment::default()
    };
    [(vip, wanted)].into()
}

/// On the LAN, with one other node in the cluster.
fn on_lan() -> Announcer {
    let mut announcer = Announcer::new(Settings::default());
    announcer.set_links(lan(), Instant::START);
    announcer.set_cluster_nodes(
        ClusterNodes {
            macs: [(NODE_MAC, "n2".to_owned())].into(),
            addresses: BOTH.map(|net| net.node).into(),
        },
        Instant::START,
    );
    announcer
}

/// Owns the Vip on the LAN since the start; its first round is already taken.
fn owner(net: Net) -> Announcer {
    let mut announcer = on_lan();
    announcer.set_wanted(want(&[net.vip]), Instant::START);
    drain(&mut announcer);
    assert_eq!(announcer.poll_event(), Some(announced(net.vip, false)));
    announcer
}

fn announced(vip: IpAddr, was_in_conflict: bool) -> Event {
    Event::Announced {
        vip,
        link: LAN,
        cause: Cause::New,
        was_in_conflict,
    }
}

fn drain(announcer: &mut Announcer) -> Vec<Transmit> {
    std::iter::from_fn(|| announcer.poll_transmit()).collect()
}

/// Runs the timers until `end`; the times at which something was sent, and what.
fn run(announcer: &mut Announcer, end: Instant) -> Vec<(u64, Vec<Transmit>)> {
    let mut sent = Vec::new();
    while let Some((at, _)) = announcer.poll_timeout().filter(|(at, _)| *at <= end) {
        announcer.handle_timeout(at);
        sent.push((at.as_micros() / 1_000, drain(announcer)));
    }
    sent
}

/// The times of [`run`], and how many frames each.
fn counts(sent: &[(u64, Vec<Transmit>)]) -> Vec<(u64, usize)> {
    sent.iter()
        .map(|(at, frames)| (*at, frames.len()))
        .collect()
}

/// `who has target?` by the station `mac` with the address `from`, which may be unspecified.
fn question(target: IpAddr, mac: MacAddr, from: IpAddr) -> Frame {
    let asked = wire::question(target, mac, from).unwrap();
    if from.is_unspecified() {
        wire::probe(target, mac)
    } else {
        asked
    }
}

/// The answer of the station `mac` to our probe: "I have `address`".
fn answer_to_probe(address: IpAddr, mac: MacAddr) -> Frame {
    let probe = Message::parse(wire::probe(address, OUR_MAC).as_bytes()).unwrap();
    probe.reply(mac)
}

/// The same frame, with other Ethernet addresses.
fn readdressed(frame: &Frame, destination: MacAddr, source: MacAddr) -> Vec<u8> {
    let mut bytes = frame.as_bytes().to_vec();
    bytes[..6].copy_from_slice(&destination.octets());
    bytes[6..12].copy_from_slice(&source.octets());
    bytes
}

#[test]
fn a_wanted_ipv4_vip_is_announced_at_once_in_both_forms() {
    let mut announcer = on_lan();
    announcer.set_wanted(want(&[V4.vip]), millis(5));
    let sent = drain(&mut announcer);
    let IpAddr::V4(vip) = V4.vip else { panic!() };
    let operations: Vec<_> = sent
        .iter()
        .map(|transmit| {
            assert_eq!((transmit.link, transmit.kind), (LAN, Kind::Gratuitous));
            let (header, payload) = ethernet::Repr::parse(transmit.frame.as_bytes()).unwrap();
            assert!(header.destination.is_broadcast());
            let packet = arp::Repr::parse(payload).unwrap();
            assert_eq!(
                packet,
                arp::Repr::gratuitous(packet.operation, OUR_MAC, vip)
            );
            packet.operation
        })
        .collect();
    assert_eq!(operations, [Operation::Request, Operation::Reply]);
}

#[test]
fn a_wanted_ipv6_vip_is_advertised_at_once_to_all_nodes() {
    let mut announcer = on_lan();
    announcer.set_wanted(want(&[V6.vip]), millis(5));
    let sent = drain(&mut announcer);
    let [transmit] = sent.as_slice() else {
        panic!("one frame, not {sent:?}")
    };
    assert_eq!((transmit.link, transmit.kind), (LAN, Kind::Gratuitous));
    let IpAddr::V6(vip) = V6.vip else { panic!() };
    let expected = ndp::Repr::unsolicited(OUR_MAC, vip);
    let all_nodes = MacAddr(0x33, 0x33, 0, 0, 0, 1);
    assert_eq!(transmit.frame, expected.emit(OUR_MAC, all_nodes));
}

#[test]
fn rounds_follow_over_a_second_apart_and_then_a_slow_refresh() {
    for net in BOTH {
        let mut announcer = owner(net);
        let sent = run(&mut announcer, millis(125_000));
        let times = [1_100, 2_200, 3_300, 4_400, 64_400, 124_400];
        assert_eq!(counts(&sent), times.map(|time| (time, net.frames)));
    }
}

#[test]
fn without_refresh_a_held_vip_sends_nothing_by_itself() {
    for net in BOTH {
        let mut announcer = Announcer::new(Settings {
            refresh: None,
            ..Settings::default()
        });
        announcer.set_links(lan(), Instant::START);
        announcer.set_wanted(want(&[net.vip]), Instant::START);
        drain(&mut announcer);
        assert_eq!(run(&mut announcer, millis(3_600_000)).len(), 4);
        assert_eq!(announcer.poll_timeout(), None);
        assert_eq!(announcer.owned().collect::<Vec<_>>(), [(net.vip, LAN)]);
    }
}

#[test]
fn the_same_wish_again_causes_no_new_rounds() {
    for net in BOTH {
        let mut announcer = owner(net);
        announcer.set_wanted(want(&[net.vip]), millis(10));
        announcer.set_links(lan(), millis(10));
        assert_eq!(drain(&mut announcer), []);
        assert_eq!(announcer.poll_timeout(), Some((millis(1_100), "round")));
    }
}

#[test]
fn an_unwanted_vip_is_silent_at_once() {
    for net in BOTH {
        let mut announcer = owner(net);
        let question = question(net.vip, CLIENT_MAC, net.client);
        let ask =
            |announcer: &mut Announcer| announcer.handle_frame(LAN, question.as_bytes(), millis(1));
        assert_eq!(ask(&mut announcer), FrameOutcome::Answered(net.vip));
        announcer.set_wanted(want(&[]), millis(2));
        assert_eq!(
            drain(&mut announcer),
            [],
            "also the answer that had not left yet"
        );
        assert_eq!(ask(&mut announcer), FrameOutcome::Dropped(Reason::NotOurs));
        assert_eq!(announcer.poll_timeout(), None);
        assert_eq!(announcer.heard_on(LAN).count(), 0);
    }
}

#[test]
fn a_vip_belongs_to_the_link_whose_prefix_contains_it() {
    for net in BOTH {
        let mut announcer = Announcer::new(Settings::default());
        announcer.set_links(lan_and_dmz(), Instant::START);
        announcer.set_wanted(want(&[net.vip]), Instant::START);
        assert_eq!(announcer.owned().collect::<Vec<_>>(), [(net.vip, LAN)]);
        assert_eq!(announcer.heard_on(LAN).collect::<Vec<_>>(), [net.vip]);
        assert_eq!(announcer.heard_on(DMZ).count(), 0);
        assert_eq!(announcer.on_no_subnet().count(), 0);
        let frame = question(net.vip, CLIENT_MAC, net.client);
        assert_eq!(
            announcer.handle_frame(DMZ, frame.as_bytes(), millis(1)),
            FrameOutcome::Dropped(Reason::NotOurs),
            "not on the wrong link"
        );
    }
}

#[test]
fn a_vip_on_no_subnet_is_announced_on_every_allowed_link_and_said() {
    for vip in BOTH.map(|net| net.elsewhere) {
        let mut announcer = Announcer::new(Settings::default());
        announcer.set_links(lan_and_dmz(), Instant::START);
        announcer.set_wanted(want(&[vip]), Instant::START);
        let owned: Vec<_> = announcer.owned().collect();
        assert_eq!(owned, [(vip, LAN), (vip, DMZ)]);
        assert_eq!(announcer.on_no_subnet().collect::<Vec<_>>(), [vip]);
        let only_dmz = Assignment {
            interfaces: ["dmz0".to_owned()].into(),
            ..Assignment::default()
        };
        announcer.set_wanted([(vip, only_dmz)].into(), millis(1));
        assert_eq!(announcer.owned().collect::<Vec<_>>(), [(vip, DMZ)]);
    }
}

#[test]
fn without_carrier_a_vip_moves_to_no_other_subnets_link() {
    for net in BOTH {
        let mut announcer = Announcer::new(Settings::default());
        announcer.set_links(lan_and_dmz(), Instant::START);
        announcer.set_wanted(want(&[net.vip]), Instant::START);
        let mut links = lan_and_dmz();
        links.get_mut(&LAN).unwrap().carrier = false;
        announcer.set_links(links, millis(1));
        assert_eq!(announcer.owned().count(), 0);
        let without: Vec<_> = announcer.carried_by_no_link().collect();
        assert_eq!(without, [net.vip]);
        announcer.set_links(lan_and_dmz(), millis(2));
        assert_eq!(announcer.carried_by_no_link().count(), 0);
    }
}

#[test]
fn a_returned_carrier_and_a_changed_hardware_address_claim_afresh() {
    let mut down = lan();
    down.get_mut(&LAN).unwrap().carrier = false;
    let mut changed = lan();
    changed.get_mut(&LAN).unwrap().mac = DMZ_MAC;
    for net in BOTH {
        for (what, links) in [
            ("carrier", vec![down.clone(), lan()]),
            ("address", vec![changed.clone()]),
        ] {
            let mut announcer = owner(net);
            run(&mut announcer, millis(10_000));
            for links in links {
                announcer.set_links(links, millis(10_000));
            }
            assert_eq!(drain(&mut announcer).len(), net.frames, "{what}");
            let next = announcer.poll_timeout();
            assert_eq!(next, Some((millis(11_100), "round")), "{what}");
        }
    }
}

#[test]
fn an_announcement_can_be_repeated_without_a_new_claim() {
    for net in BOTH {
        let mut announcer = owner(net);
        announcer.announce_again(millis(500));
        assert_eq!(
            drain(&mut announcer),
            [],
            "the next round of a fresh claim is near"
        );
        run(&mut announcer, millis(10_000));
        announcer.announce_again(millis(10_000));
        assert_eq!(drain(&mut announcer).len(), net.frames);
        assert_eq!(announcer.poll_timeout(), Some((millis(70_000), "round")));
    }
}

#[test]
fn a_thousand_vips_at_once_leave_paced_within_a_tenth_of_a_second() {
    let vips: Vec<_> = (0..1_000_u32)
        .map(|n| match n % 2 {
            0 => IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + n)),
            _ => IpAddr::V6(Ipv6Addr::from(0xfd00_u128 << 112 | u128::from(n))),
        })
        .collect();
    let mut announcer = Announcer::new(Settings::default());
    announcer.set_links(lan(), Instant::START);
    announcer.set_wanted(want(&vips), Instant::START);
    let first = drain(&mut announcer);
    let spoken: BTreeSet<_> = first.iter().map(|transmit| transmit.vip).collect();
    assert_eq!(spoken.len(), 64, "the burst");
    let sent = run(&mut announcer, millis(100));
    assert!(
        sent.iter().all(|(_, frames)| frames.len() <= 2),
        "then evenly"
    );
    let frames = sent.iter().map(|(_, frames)| frames.len()).sum::<usize>();
    assert_eq!(first.len() + frames, 500 * (V4.frames + V6.frames));
}
