//! Whether an address is free, and what happens when it is not.

use super::*;

fn hear(announcer: &mut Announcer, frame: &Frame, now: Instant) -> Outcome {
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
            Outcome::Dropped(Reason::Probing)
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
            Outcome::Answered(net.vip)
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
        let wanted = Wanted {
            in_conflict: true,
            ..Wanted::default()
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
            assert_eq!(outcome, Outcome::Dropped(Reason::AddressConflict), "{what}");
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
            assert_eq!(run(&mut announcer, millis(60_000)), [], "{what}: silent");
            let asked = question(net.vip, NODE_MAC, net.client);
            let outcome = hear(&mut announcer, &asked, millis(60_000));
            assert_eq!(outcome, Outcome::Dropped(Reason::ClusterNode), "{what}");
        }
    }
}

#[test]
fn a_vip_in_conflict_is_probed_each_minute_and_announced_when_it_is_free() {
    for net in BOTH {
        let mut announcer = prober(net);
        let answer = answer_to_probe(net.vip, CLIENT_MAC);
        hear(&mut announcer, &answer, millis(90));
        assert!(announcer.poll_event().is_some());
        assert_eq!(announcer.poll_timeout(), Some((millis(60_090), "retry")));
        let sent = run(&mut announcer, millis(60_100));
        assert_eq!(kinds(&sent), [(60_090, Kind::Probe)]);
        hear(&mut announcer, &answer, millis(60_100));
        assert_eq!(announcer.poll_event(), None, "told already");
        let sent = run(&mut announcer, millis(120_400));
        let expected = [
            (120_100, Kind::Probe),
            (120_180, Kind::Probe),
            (120_260, Kind::Probe),
            (120_340, Kind::Gratuitous),
        ];
        assert_eq!(kinds(&sent), expected);
        assert_eq!(announcer.poll_event(), Some(announced(net.vip, true)));
        assert_eq!(announcer.poll_event(), None);
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
            assert_eq!(outcome, Outcome::Dropped(Reason::AddressConflict));
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
    assert_eq!(outcome, Outcome::Dropped(Reason::AddressConflict));
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
        assert_eq!(outcome, Outcome::Dropped(Reason::PeerKernelAnswers));
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
