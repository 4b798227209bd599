//! Whether an address is free, and what happens when it is not.

use super::*;

fn hear(announcer: &mut Announcer, frame: &Frame, now: Instant) -> FrameOutcome {
    announcer.handle_frame(LAN, frame.as_bytes(), now)
}

fn gratuitous(vip: IpAddr, mac: MacAddr) -> Frame {
    wire::announcement(vip, mac).next().unwrap()
}

fn kinds(sent: &[(u64, Vec<Transmit>)]) -> Vec<(u64, Kind)> {
    sent.iter().map(|(at, sent)| (*at, sent[0].kind)).collect()
}

/// Wants the Vip with a probe; the first probe is already taken.
fn prober(net: Net) -> Announcer {
    let mut announcer = on_lan();
    announcer.set_wanted(probed(net.vip), Instant::START);
    let sent = drain(&mut announcer);
    let [probe] = sent.as_slice() else {
        panic!("one probe, not {sent:?}")
    };
    assert_eq!(
        (probe.kind, probe.frame),
        (Kind::Probe, wire::probe(net.vip, OUR_MAC))
    );
    announcer
}

#[test]
fn a_fresh_vip_is_probed_thrice_within_a_quarter_of_a_second_and_then_announced() {
    for net in BOTH {
        let mut announcer = prober(net);
        let asked = question(net.vip, CLIENT_MAC, net.client);
        assert_eq!(
            hear(&mut announcer, &asked, millis(1)),
            FrameOutcome::Dropped(Reason::Probing)
        );
        assert_eq!(announcer.owned().count(), 0);
        assert_eq!(announcer.heard_on(LAN).collect::<Vec<_>>(), [net.vip]);
        let sent = run(&mut announcer, millis(250));
        let expected = [
            (80, Kind::Probe),
            (160, Kind::Probe),
            (240, Kind::Gratuitous),
        ];
        assert_eq!(kinds(&sent), expected);
        assert_eq!(
            hear(&mut announcer, &asked, millis(241)),
            FrameOutcome::Answered(net.vip)
        );
        assert_eq!(announcer.poll_event(), Some(announced(net.vip, false)));
        assert_eq!(announcer.poll_event(), None);
    }
}

#[test]
fn a_takeover_is_never_probed() {
    for net in BOTH {
        let mut announcer = on_lan();
        announcer.set_wanted(want(&[net.vip]), Instant::START);
        let sent = drain(&mut announcer);
        assert_eq!(sent.len(), net.frames);
        assert!(sent.iter().all(|sent| sent.kind == Kind::Gratuitous));
    }
}

#[test]
fn a_takeover_of_what_another_host_had_is_probed_all_the_same() {
    for net in BOTH {
        let mut announcer = on_lan();
        let wanted = Assignment {
            in_conflict: true,
            ..Assignment::default()
        };
        let wanted = BTreeMap::from([(net.vip, wanted)]);
        announcer.set_wanted(wanted.clone(), Instant::START);
        let kinds: Vec<_> = drain(&mut announcer).iter().map(|sent| sent.kind).collect();
        assert_eq!(kinds, [Kind::Probe]);
        run(&mut announcer, millis(250));
        assert_eq!(announcer.poll_event(), Some(announced(net.vip, true)));

        let mut announcer = owner(net);
        announcer.set_wanted(wanted, millis(1));
        assert_eq!(drain(&mut announcer), [], "who announces it goes on");
        assert_eq!(announcer.owned().count(), 1);
    }
}

#[test]
fn a_vip_that_was_claimed_once_is_not_probed_again_when_its_link_comes_back() {
    for net in BOTH {
        let mut announcer = prober(net);
        run(&mut announcer, millis(250));
        let mut down = lan();
        down.get_mut(&LAN).unwrap().carrier = false;
        announcer.set_links(down, millis(300));
        announcer.set_links(lan(), millis(400));
        let kinds: Vec<_> = drain(&mut announcer).iter().map(|sent| sent.kind).collect();
        assert_eq!(kinds, vec![Kind::Gratuitous; net.frames]);
    }
}

#[test]
fn another_host_that_answers_a_probe_announces_or_probes_keeps_a_vip_silent() {
    for net in BOTH {
        for (what, frame) in [
            ("answer", answer_to_probe(net.vip, CLIENT_MAC)),
            ("announcement", gratuitous(net.vip, CLIENT_MAC)),
            ("probe", question(net.vip, CLIENT_MAC, net.unspecified())),
        ] {
            let mut announcer = prober(net);
            let outcome = hear(&mut announcer, &frame, millis(90));
            assert_eq!(
                outcome,
                FrameOutcome::Dropped(Reason::AddressConflict),
                "{what}"
            );
            let event = announcer.poll_event();
            let expected = Event::Conflict {
                vip: net.vip,
                link: LAN,
                mac: CLIENT_MAC,
                before_use: true,
                node: None,
            };
            assert_eq!(event, Some(expected), "{what}");
            assert_eq!(announcer.owned().count(), 0, "{what}");
            assert_eq!(run(&mut announcer, millis(1_089)), [], "{what}: silent");
            let asked = question(net.vip, NODE_MAC, net.client);
            let outcome = hear(&mut announcer, &asked, millis(1_089));
            assert_eq!(
                outcome,
                FrameOutcome::Dropped(Reason::ClusterNode),
                "{what}"
            );
        }
    }
}

#[test]
fn a_vip_in_conflict_is_asked_for_again_after_1_2_4_to_30_s_and_announced_when_it_is_free() {
    for net in BOTH {
        let mut announcer = prober(net);
        let answer = answer_to_probe(net.vip, CLIENT_MAC);
        let mut at = 90;
        hear(&mut announcer, &answer, millis(at));
        assert!(announcer.poll_event().is_some());
        for wait in [1, 2, 4, 8, 16, 30, 30] {
            // What the host goes on saying puts the question off no further.
            for kind in [gratuitous(net.vip, CLIENT_MAC), answer] {
                hear(&mut announcer, &kind, millis(at + 500));
            }
            let retry = at + wait * 1_000;
            assert_eq!(announcer.poll_timeout(), Some((millis(retry), "retry")));
            assert_eq!(
                kinds(&run(&mut announcer, millis(retry))),
                [(retry, Kind::Probe)]
            );
            at = retry + 10;
            hear(&mut announcer, &answer, millis(at));
            assert_eq!(announcer.poll_event(), None, "told already");
            assert_eq!(announcer.owned().count(), 0);
        }
        let free = at + 30_000;
        let sent = run(&mut announcer, millis(free + 300));
        let expected = [
            (free, Kind::Probe),
            (free + 80, Kind::Probe),
            (free + 160, Kind::Probe),
            (free + 240, Kind::Gratuitous),
        ];
        assert_eq!(kinds(&sent), expected);
        assert_eq!(announcer.poll_event(), Some(announced(net.vip, true)));
        assert_eq!(announcer.poll_event(), None);
    }
}

/// Whatever form a lie has, what is announced stays so.
#[test]
fn no_frame_of_another_host_silences_a_vip_in_use() {
    for net in BOTH {
        let announcement = |n| wire::announcement(net.vip, CLIENT_MAC).nth(n).unwrap();
        let probe = question(net.vip, CLIENT_MAC, net.unspecified());
        let mut frames = vec![
            ("answer", answer_to_probe(net.vip, CLIENT_MAC), true),
            ("announcement", announcement(0), true),
            ("probe", probe, false),
        ];
        match net.vip {
            IpAddr::V4(_) => frames.push(("announcement, as a reply", announcement(1), true)),
            IpAddr::V6(vip) => {
                for flags in 0..8_u8 {
                    let mut advertisement = ndp::Repr::unsolicited(CLIENT_MAC, vip);
                    if let ndp::Body::Advertisement { flags: set, .. } = &mut advertisement.body {
                        set.overrides = flags & 1 == 1;
                        set.router = flags & 2 == 2;
                        set.solicited = flags & 4 == 4 && !advertisement.destination.is_multicast();
                    }
                    let all_nodes = MacAddr(0x33, 0x33, 0, 0, 0, 1);
                    let frame = advertisement.emit(CLIENT_MAC, all_nodes);
                    frames.push(("advertisement", frame, true));
                }
            }
        }
        for state in ["claiming", "held"] {
            for (what, frame, is_a_claim) in &frames {
                let mut announcer = owner(net);
                let now = millis(if state == "held" { 10_000 } else { 10 });
                run(&mut announcer, now);
                let outcome = hear(&mut announcer, frame, now);
                let expected = if *is_a_claim {
                    FrameOutcome::Dropped(Reason::AddressConflict)
                } else {
                    FrameOutcome::Answered(net.vip)
                };
                assert_eq!(outcome, expected, "{what}, {state}");
                assert_eq!(announcer.poll_event().is_some(), *is_a_claim, "{what}");
                assert!(!drain(&mut announcer).is_empty(), "{what}: spoken against");
                assert_eq!(announcer.owned().count(), 1, "{what}, {state}");
                let asked = question(net.vip, MacAddr(2, 0, 0, 0, 0, 0x65), net.client);
                let outcome = hear(&mut announcer, &asked, now);
                assert_eq!(outcome, FrameOutcome::Answered(net.vip), "{what}, {state}");
            }
        }
    }
}

#[test]
fn hosts_that_take_turns_are_told_of_less_and_less_often() {
    let mut announcer = owner(V4);
    let mut told = Vec::new();
    for second in 0..1_800 {
        let mac = MacAddr(0x02, 0xff, 0, 0, 0, u8::try_from(second % 2).unwrap());
        hear(
            &mut announcer,
            &gratuitous(V4.vip, mac),
            millis(second * 1_000),
        );
        if announcer.poll_event().is_some() {
            told.push(second);
        }
    }
    assert_eq!(told, [0, 11, 32, 73, 154, 315, 636, 1_116, 1_596]);
}

/// A router with `proxy_arp` has them all.
#[test]
fn a_station_that_answers_for_everything_is_asked_as_fast_as_the_pace_allows_and_no_faster() {
    let vips: BTreeSet<_> = (0..200_u32)
        .map(|n| IpAddr::V4(Ipv4Addr::from(0xc0a8_4000 + 20 + n)))
        .collect();
    let wanted = vips.iter().flat_map(|vip| probed(*vip)).collect();
    let mut announcer = on_lan();
    announcer.set_wanted(wanted, Instant::START);
    let mut probes = 0;
    while let Some((at, _)) = announcer
        .poll_timeout()
        .filter(|(at, _)| *at <= millis(60_000))
    {
        announcer.handle_timeout(at);
        for sent in drain(&mut announcer) {
            assert_eq!(sent.kind, Kind::Probe, "it is not announced");
            probes += 1;
            hear(&mut announcer, &answer_to_probe(sent.vip, CLIENT_MAC), at);
        }
    }
    // At 0, 1, 3, 7, 15 and 31 s.
    assert_eq!(probes, 6 * vips.len());
    let events = std::iter::from_fn(|| announcer.poll_event()).count();
    assert_eq!(events, vips.len());
}

#[test]
fn a_vip_that_no_host_of_the_links_subnet_can_have_is_told_of_and_announced_all_the_same() {
    let rows = [
        ("192.168.64.0", Some("192.168.64.0/24")),
        ("192.168.64.255", Some("192.168.64.0/24")),
        ("fd00:64::", Some("fd00:64::/64")),
        ("192.168.64.200", None),
        ("fd00:64::ffff:ffff:ffff:ffff", None),
        // On no subnet, and on that of a link that may not announce it.
        ("172.16.0.255", None),
        ("10.9.0.255", None),
    ];
    for (vip, subnet) in rows {
        let vip: IpAddr = vip.parse().unwrap();
        for probe_first in [false, true] {
            let mut announcer = Announcer::new(Settings::default());
            announcer.set_links(lan_and_dmz(), Instant::START);
            let wanted = Assignment {
                interfaces: ["lan0".to_owned()].into(),
                probe_first,
                ..Assignment::default()
            };
            announcer.set_wanted([(vip, wanted)].into(), Instant::START);
            let expected = subnet.map(|subnet| Event::NoHost {
                vip,
                link: LAN,
                subnet: subnet.parse().unwrap(),
            });
            let mut told = Vec::new();
            for hour in [0, 11, 12, 23, 24] {
                run(&mut announcer, millis(hour * 3_600_000 + 60_000));
                let events = std::iter::from_fn(|| announcer.poll_event());
                let events = events.filter(|event| !matches!(event, Event::Announced { .. }));
                told.push(events.collect::<Vec<_>>());
            }
            let again = Vec::from_iter(expected);
            let none = Vec::new();
            assert_eq!(
                told,
                [&again, &none, &again, &none, &again].map(Clone::clone),
                "{vip}, each half a day"
            );
            assert_eq!(announcer.owned().count(), 1);
        }
    }
}

#[test]
fn a_host_that_takes_a_vip_in_use_is_told_of_and_announced_against_once_in_ten_seconds() {
    for net in BOTH {
        let mut announcer = owner(net);
        let theirs = gratuitous(net.vip, CLIENT_MAC);
        let mut announced = Vec::new();
        for second in 0..=20 {
            let now = millis(100_000 + second * 1_000);
            let outcome = hear(&mut announcer, &theirs, now);
            assert_eq!(outcome, FrameOutcome::Dropped(Reason::AddressConflict));
            let sent = drain(&mut announcer);
            if !sent.is_empty() {
                assert_eq!(sent.len(), net.frames);
                assert!(sent.iter().all(|sent| sent.kind == Kind::Gratuitous));
                announced.push(second);
            }
        }
        assert_eq!(announced, [0, 10, 20]);
        let event = announcer.poll_event();
        let expected = Event::Conflict {
            vip: net.vip,
            link: LAN,
            mac: CLIENT_MAC,
            before_use: false,
            node: None,
        };
        assert_eq!(event, Some(expected));
        assert_eq!(announcer.poll_event(), None, "one event, not twenty");
        assert_eq!(announcer.owned().count(), 1, "it is not given up");
    }
}

/// RFC 5227 §2.4: any ARP packet with our address as its sender, also a question for another one.
#[test]
fn a_host_that_asks_with_our_address_as_its_own_is_a_conflict() {
    let mut announcer = owner(V4);
    let asked = question(V4.other, CLIENT_MAC, V4.vip);
    let outcome = hear(&mut announcer, &asked, millis(10));
    assert_eq!(outcome, FrameOutcome::Dropped(Reason::AddressConflict));
    assert!(announcer.poll_event().is_some());
}

#[test]
fn a_flood_of_false_owners_gives_one_event_and_one_announcement_in_ten_seconds() {
    for net in BOTH {
        let mut announcer = owner(net);
        for n in 0..1_000_u16 {
            let [high, low] = n.to_be_bytes();
            let mac = MacAddr(0x02, 0xff, 0, 0, high, low);
            let now = millis(u64::from(n) * 9);
            hear(&mut announcer, &gratuitous(net.vip, mac), now);
        }
        assert_eq!(drain(&mut announcer).len(), net.frames);
        assert!(announcer.poll_event().is_some());
        assert_eq!(announcer.poll_event(), None);
    }
}

#[test]
fn a_node_whose_kernel_answers_is_told_of_and_keeps_nobody_from_announcing() {
    // IPv6: what a kernel with forwarding sends (`ndisc_recv_ns`) has the Router flag.
    let IpAddr::V6(vip) = V6.vip else { panic!() };
    let mut advertisement = ndp::Repr::unsolicited(NODE_MAC, vip);
    if let ndp::Body::Advertisement { flags, .. } = &mut advertisement.body {
        flags.router = true;
    }
    let all_nodes = MacAddr(0x33, 0x33, 0, 0, 0, 1);
    for (net, answer) in [
        (V4, answer_to_probe(V4.vip, NODE_MAC)),
        (V6, advertisement.emit(NODE_MAC, all_nodes)),
    ] {
        let mut announcer = prober(net);
        let outcome = hear(&mut announcer, &answer, millis(10));
        assert_eq!(outcome, FrameOutcome::Dropped(Reason::PeerKernelAnswers));
        let expected = Event::Conflict {
            vip: net.vip,
            link: LAN,
            mac: NODE_MAC,
            before_use: true,
            node: Some("n2".to_owned()),
        };
        assert_eq!(announcer.poll_event(), Some(expected));
        run(&mut announcer, millis(250));
        assert_eq!(announcer.owned().collect::<Vec<_>>(), [(net.vip, LAN)]);
        assert_eq!(announcer.poll_event(), Some(announced(net.vip, false)));
        assert_eq!(announcer.poll_event(), None);
    }
}

#[test]
fn a_host_that_turns_out_to_be_a_node_is_waited_for_no_longer() {
    for net in BOTH {
        let mut announcer = prober(net);
        let answer = answer_to_probe(net.vip, CLIENT_MAC);
        hear(&mut announcer, &answer, millis(10));
        let nodes = ClusterNodes {
            macs: [NODE_MAC, CLIENT_MAC]
                .map(|mac| (mac, "n2".to_owned()))
                .into(),
            addresses: BTreeSet::new(),
        };
        announcer.set_cluster_nodes(nodes, millis(50));
        let sent = drain(&mut announcer);
        assert_eq!((sent.len(), sent[0].kind), (1, Kind::Probe));
        run(&mut announcer, millis(500));
        assert_eq!(announcer.owned().count(), 1);
    }
}
