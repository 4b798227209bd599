use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;
use crate::wire::ethernet;

const LAN: LinkId = LinkId(2);
const DMZ: LinkId = LinkId(3);
const OUR_MAC: MacAddr = MacAddr(0x02, 0, 0, 0, 0, 0x0b);
const DMZ_MAC: MacAddr = MacAddr(0x02, 0, 0, 0, 1, 0x0b);
const CLIENT_MAC: MacAddr = MacAddr(0x02, 0, 0, 0, 0, 0x64);
const NODE_MAC: MacAddr = MacAddr(0x02, 0, 0, 0, 0, 0x0c);
const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 168, 64, 100);
const NODE: Ipv4Addr = Ipv4Addr::new(192, 168, 64, 12);
const VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 64, 200);
const OTHER: Ipv4Addr = Ipv4Addr::new(192, 168, 64, 201);

fn millis(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

fn link(name: &str, mac: MacAddr, prefix: &str) -> Link {
    Link {
        name: name.into(),
        mac,
        prefixes: vec![prefix.parse().unwrap()],
        carrier: true,
    }
}

fn lan() -> BTreeMap<LinkId, Link> {
    BTreeMap::from([(LAN, link("lan0", OUR_MAC, "192.168.64.11/24"))])
}

fn lan_and_dmz() -> BTreeMap<LinkId, Link> {
    let mut links = lan();
    links.insert(DMZ, link("dmz0", DMZ_MAC, "10.9.0.11/24"));
    links
}

fn want(vips: &[Ipv4Addr]) -> BTreeMap<IpAddr, Wanted> {
    vips.iter()
        .map(|vip| (IpAddr::V4(*vip), Wanted::default()))
        .collect()
}

/// Owns `VIP` on the LAN since the start; its first round is already taken.
fn owner() -> Announcer {
    let mut announcer = Announcer::new(Settings::default());
    announcer.set_links(lan(), Instant::START);
    announcer.set_cluster_nodes(
        ClusterNodes {
            macs: [NODE_MAC].into(),
            addresses: [IpAddr::V4(NODE)].into(),
        },
        Instant::START,
    );
    announcer.set_wanted(want(&[VIP]), Instant::START);
    drain(&mut announcer);
    announcer
}

fn drain(announcer: &mut Announcer) -> Vec<Transmit> {
    std::iter::from_fn(|| announcer.poll_transmit()).collect()
}

/// Runs the timers until `end`; the times at which something was sent, and how much.
fn run(announcer: &mut Announcer, end: Instant) -> Vec<(u64, usize)> {
    let mut sent = Vec::new();
    while let Some((at, _)) = announcer.poll_timeout().filter(|(at, _)| *at <= end) {
        announcer.handle_timeout(at);
        sent.push((at.as_micros() / 1_000, drain(announcer).len()));
    }
    sent
}

fn request() -> arp::Repr {
    arp::Repr {
        operation: Operation::Request,
        sender_hardware: CLIENT_MAC,
        sender_protocol: CLIENT,
        target_hardware: MacAddr::zero(),
        target_protocol: VIP,
    }
}

fn ask(announcer: &mut Announcer, packet: &arp::Repr, destination: MacAddr) -> Outcome {
    announcer.handle_frame(LAN, packet.emit(destination).as_bytes(), millis(1))
}

#[test]
fn a_wanted_vip_is_announced_at_once_in_both_forms() {
    let mut announcer = Announcer::new(Settings::default());
    announcer.set_links(lan(), millis(5));
    announcer.set_wanted(want(&[VIP]), millis(5));
    let sent = drain(&mut announcer);
    let operations: Vec<_> = sent
        .iter()
        .map(|transmit| {
            assert_eq!((transmit.link, transmit.kind), (LAN, Kind::Gratuitous));
            let (header, payload) = ethernet::Repr::parse(transmit.frame.as_bytes()).unwrap();
            assert!(header.destination.is_broadcast());
            let packet = arp::Repr::parse(payload).unwrap();
            assert_eq!(
                packet,
                arp::Repr::gratuitous(packet.operation, OUR_MAC, VIP)
            );
            packet.operation
        })
        .collect();
    assert_eq!(operations, [Operation::Request, Operation::Reply]);
}

#[test]
fn rounds_follow_over_a_second_apart_and_then_a_slow_refresh() {
    let mut announcer = owner();
    let sent = run(&mut announcer, millis(125_000));
    assert_eq!(
        sent,
        [
            (1_100, 2),
            (2_200, 2),
            (3_300, 2),
            (4_400, 2),
            (64_400, 2),
            (124_400, 2)
        ]
    );
}

#[test]
fn without_refresh_a_held_vip_sends_nothing_by_itself() {
    let mut announcer = Announcer::new(Settings {
        refresh: None,
        ..Settings::default()
    });
    announcer.set_links(lan(), Instant::START);
    announcer.set_wanted(want(&[VIP]), Instant::START);
    drain(&mut announcer);
    assert_eq!(run(&mut announcer, millis(3_600_000)).len(), 4);
    assert_eq!(announcer.poll_timeout(), None);
    assert_eq!(
        announcer.owned().collect::<Vec<_>>(),
        [(IpAddr::V4(VIP), LAN)]
    );
}

#[test]
fn the_same_wish_again_causes_no_new_rounds() {
    let mut announcer = owner();
    announcer.set_wanted(want(&[VIP]), millis(10));
    announcer.set_links(lan(), millis(10));
    assert_eq!(drain(&mut announcer), []);
    assert_eq!(announcer.poll_timeout(), Some((millis(1_100), "round")));
}

#[test]
fn an_unwanted_vip_is_silent_at_once() {
    let mut announcer = owner();
    assert_eq!(
        ask(&mut announcer, &request(), MacAddr::broadcast()),
        Outcome::Answered(VIP.into())
    );
    announcer.set_wanted(want(&[]), millis(2));
    assert_eq!(
        drain(&mut announcer),
        [],
        "also the answer that had not left yet"
    );
    assert_eq!(
        ask(&mut announcer, &request(), MacAddr::broadcast()),
        Outcome::Dropped(Reason::NotOurs)
    );
    assert_eq!(announcer.poll_timeout(), None);
}

#[test]
fn broadcast_and_unicast_requests_and_probes_are_answered_to_the_asker() {
    let probe = arp::Repr {
        sender_protocol: Ipv4Addr::UNSPECIFIED,
        ..request()
    };
    for (packet, destination) in [
        (request(), MacAddr::broadcast()),
        (request(), OUR_MAC),
        (probe, MacAddr::broadcast()),
    ] {
        let mut announcer = owner();
        let outcome = ask(&mut announcer, &packet, destination);
        assert_eq!(outcome, Outcome::Answered(VIP.into()));
        let sent = drain(&mut announcer);
        let [answer] = sent.as_slice() else {
            panic!("one answer, not {sent:?}")
        };
        assert_eq!(answer.kind, Kind::Reply);
        assert_eq!(answer.frame, packet.reply(OUR_MAC).emit(CLIENT_MAC));
    }
}

#[test]
fn what_is_not_answered_has_its_reason() {
    let broadcast = MacAddr::broadcast();
    let rows: [(&str, arp::Repr, MacAddr, Reason); 10] = [
        (
            "an address that nobody wants here",
            arp::Repr {
                target_protocol: OTHER,
                ..request()
            },
            broadcast,
            Reason::NotOurs,
        ),
        (
            "another station's frame",
            request(),
            NODE_MAC,
            Reason::OtherDestination,
        ),
        (
            "a multicast",
            request(),
            MacAddr(1, 0, 0x5e, 0, 0, 1),
            Reason::OtherDestination,
        ),
        (
            "our own kernel's question",
            arp::Repr {
                sender_hardware: OUR_MAC,
                ..request()
            },
            broadcast,
            Reason::OwnFrame,
        ),
        (
            "another node, known by its hardware address",
            arp::Repr {
                sender_hardware: NODE_MAC,
                ..request()
            },
            broadcast,
            Reason::ClusterNode,
        ),
        (
            "another node, known by its address",
            arp::Repr {
                sender_protocol: NODE,
                ..request()
            },
            broadcast,
            Reason::ClusterNode,
        ),
        (
            "a reply",
            arp::Repr {
                operation: Operation::Reply,
                ..request()
            },
            OUR_MAC,
            Reason::ArpReply,
        ),
        (
            "somebody else's gratuitous request",
            arp::Repr::gratuitous(Operation::Request, CLIENT_MAC, VIP),
            broadcast,
            Reason::AddressConflict,
        ),
        (
            "a sender that is everybody",
            arp::Repr {
                sender_hardware: broadcast,
                ..request()
            },
            broadcast,
            Reason::BadSenderHardware,
        ),
        (
            "a sender that is nobody",
            arp::Repr {
                sender_hardware: MacAddr::zero(),
                ..request()
            },
            broadcast,
            Reason::BadSenderHardware,
        ),
    ];
    for (what, packet, destination, reason) in rows {
        let mut announcer = owner();
        assert_eq!(
            ask(&mut announcer, &packet, destination),
            Outcome::Dropped(reason),
            "{what}"
        );
        assert_eq!(drain(&mut announcer), [], "{what}");
    }
}

#[test]
fn a_nodes_frame_with_a_foreign_arp_sender_is_still_a_nodes_frame() {
    let mut announcer = owner();
    let mut frame = request().emit(MacAddr::broadcast()).as_bytes().to_vec();
    frame[6..12].copy_from_slice(&NODE_MAC.octets());
    assert_eq!(
        announcer.handle_frame(LAN, &frame, millis(1)),
        Outcome::Dropped(Reason::ClusterNode)
    );
}

#[test]
fn a_vip_belongs_to_the_link_whose_prefix_contains_it() {
    let mut announcer = Announcer::new(Settings::default());
    announcer.set_links(lan_and_dmz(), Instant::START);
    announcer.set_wanted(want(&[VIP]), Instant::START);
    assert_eq!(announcer.owned().collect::<Vec<_>>(), [(VIP.into(), LAN)]);
    let frame = request().emit(MacAddr::broadcast());
    assert_eq!(
        announcer.handle_frame(DMZ, frame.as_bytes(), millis(1)),
        Outcome::Dropped(Reason::NotOurs),
        "not on the wrong link"
    );
}

#[test]
fn a_vip_on_no_subnet_is_announced_on_every_allowed_link() {
    let vip = IpAddr::V4(Ipv4Addr::new(172, 16, 0, 1));
    let mut announcer = Announcer::new(Settings::default());
    announcer.set_links(lan_and_dmz(), Instant::START);
    announcer.set_wanted([(vip, Wanted::default())].into(), Instant::START);
    assert_eq!(
        announcer.owned().collect::<Vec<_>>(),
        [(vip, LAN), (vip, DMZ)]
    );
    let only_dmz = Wanted {
        interfaces: ["dmz0".to_owned()].into(),
    };
    announcer.set_wanted([(vip, only_dmz)].into(), millis(1));
    assert_eq!(announcer.owned().collect::<Vec<_>>(), [(vip, DMZ)]);
}

#[test]
fn without_carrier_a_vip_moves_to_no_other_subnets_link() {
    let mut announcer = Announcer::new(Settings::default());
    announcer.set_links(lan_and_dmz(), Instant::START);
    announcer.set_wanted(want(&[VIP]), Instant::START);
    let mut links = lan_and_dmz();
    links.get_mut(&LAN).unwrap().carrier = false;
    announcer.set_links(links, millis(1));
    assert_eq!(announcer.owned().count(), 0);
    assert_eq!(
        announcer.carried_by_no_link().collect::<Vec<_>>(),
        [IpAddr::V4(VIP)]
    );
    announcer.set_links(lan_and_dmz(), millis(2));
    assert_eq!(announcer.carried_by_no_link().count(), 0);
}

#[test]
fn a_returned_carrier_and_a_changed_hardware_address_claim_afresh() {
    let mut down = lan();
    down.get_mut(&LAN).unwrap().carrier = false;
    let mut changed = lan();
    changed.get_mut(&LAN).unwrap().mac = DMZ_MAC;
    for (what, links) in [("carrier", vec![down, lan()]), ("address", vec![changed])] {
        let mut announcer = owner();
        run(&mut announcer, millis(10_000));
        for links in links {
            announcer.set_links(links, millis(10_000));
        }
        assert_eq!(drain(&mut announcer).len(), 2, "{what}");
        assert_eq!(
            announcer.poll_timeout(),
            Some((millis(11_100), "round")),
            "{what}"
        );
    }
}

#[test]
fn an_announcement_can_be_repeated_without_a_new_claim() {
    let mut announcer = owner();
    announcer.announce_again(millis(500));
    assert_eq!(
        drain(&mut announcer),
        [],
        "the next round of a fresh claim is near"
    );
    run(&mut announcer, millis(10_000));
    announcer.announce_again(millis(10_000));
    assert_eq!(drain(&mut announcer).len(), 2);
    assert_eq!(announcer.poll_timeout(), Some((millis(70_000), "round")));
}

#[test]
fn a_thousand_vips_at_once_leave_paced_within_a_tenth_of_a_second() {
    let vips: Vec<_> = (0..1_000_u32)
        .map(|n| Ipv4Addr::from(0x0a00_0000 + n))
        .collect();
    let mut announcer = Announcer::new(Settings::default());
    announcer.set_links(lan(), Instant::START);
    announcer.set_wanted(want(&vips), Instant::START);
    assert_eq!(drain(&mut announcer).len(), 2 * 64, "the burst");
    let sent = run(&mut announcer, millis(100));
    assert!(sent.iter().all(|(_, frames)| *frames <= 2), "then evenly");
    assert_eq!(
        sent.iter().map(|(_, frames)| frames).sum::<usize>(),
        2 * (1_000 - 64)
    );
}

proptest! {
    #[test]
    fn no_bytes_make_the_announcer_panic(
        head in proptest::collection::vec(any::<u8>(), 0..22),
        tail in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        let mut announcer = owner();
        announcer.handle_frame(LAN, &[head.as_slice(), &tail].concat(), millis(1));
        // The same behind a header that passes the first gates.
        let mut frame = request().emit(MacAddr::broadcast()).as_bytes()[..22].to_vec();
        frame.extend(tail);
        announcer.handle_frame(LAN, &frame, millis(1));
    }

    #[test]
    fn claims_are_always_what_is_wanted_on_links_with_carrier(
        steps in proptest::collection::vec((0_u8..4, any::<bool>(), any::<bool>()), 1..20),
    ) {
        let mut announcer = owner();
        for (step, (choice, carrier, both)) in steps.into_iter().enumerate() {
            let now = millis(step as u64 * 700);
            match choice {
                0 => announcer.set_wanted(want(&[VIP, OTHER][..1 + usize::from(both)]), now),
                1 => announcer.set_wanted(want(&[]), now),
                2 => {
                    let mut links = if both { lan_and_dmz() } else { lan() };
                    links.get_mut(&LAN).unwrap().carrier = carrier;
                    announcer.set_links(links, now);
                }
                _ => announcer.handle_timeout(now),
            }
            let up = announcer.links[&LAN].carrier;
            let owned: Vec<_> = announcer.owned().collect();
            let expected: Vec<_> = announcer
                .wanted
                .keys()
                .filter(|_| up)
                .map(|vip| (*vip, LAN))
                .collect();
            prop_assert_eq!(owned, expected);
            for transmit in drain(&mut announcer) {
                prop_assert!(announcer.claims.contains_key(&(transmit.vip, transmit.link)));
            }
        }
    }
}
