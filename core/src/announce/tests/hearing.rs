//! What is answered, and why the rest is not.

use super::*;

#[test]
fn broadcast_and_unicast_questions_and_probes_are_answered() {
    for net in BOTH {
        let asked = question(net.vip, CLIENT_MAC, net.client);
        let probe = question(net.vip, CLIENT_MAC, net.unspecified());
        for frame in [
            asked.as_bytes().to_vec(),
            readdressed(&asked, OUR_MAC, CLIENT_MAC),
            probe.as_bytes().to_vec(),
        ] {
            let mut announcer = owner(net);
            let outcome = announcer.handle_frame(LAN, &frame, millis(1));
            assert_eq!(outcome, FrameOutcome::Answered(net.vip));
            let sent = drain(&mut announcer);
            let [answer] = sent.as_slice() else {
                panic!("one answer, not {sent:?}")
            };
            assert_eq!((answer.kind, answer.link), (Kind::Reply, LAN));
            let expected = Message::parse(&frame).unwrap().reply(OUR_MAC);
            assert_eq!(answer.frame, expected);
        }
    }
}

#[test]
fn an_asker_is_answered_alone_and_a_probe_by_ipv6_to_all() {
    let destination = |net: Net, from: IpAddr| {
        let mut announcer = owner(net);
        let frame = question(net.vip, CLIENT_MAC, from);
        announcer.handle_frame(LAN, frame.as_bytes(), millis(1));
        let answer = drain(&mut announcer).pop().unwrap();
        let message = Message::parse(answer.frame.as_bytes()).unwrap();
        assert_eq!(message.claimed(), Some(net.vip));
        assert_eq!(message.sender_hardware(), OUR_MAC);
        message.ethernet.destination
    };
    for net in BOTH {
        assert_eq!(destination(net, net.client), CLIENT_MAC);
    }
    assert_eq!(destination(V4, V4.unspecified()), CLIENT_MAC);
    // Who probes has no address to be answered at (RFC 4861 §7.2.4).
    let all_nodes = MacAddr(0x33, 0x33, 0, 0, 0, 1);
    assert_eq!(destination(V6, V6.unspecified()), all_nodes);
}

#[test]
fn what_is_not_answered_has_its_reason() {
    let broadcast = MacAddr::broadcast();
    for net in BOTH {
        let asked = question(net.vip, CLIENT_MAC, net.client);
        let plain = |frame: Frame| frame.as_bytes().to_vec();
        let mut tagged = asked.as_bytes().to_vec();
        tagged.splice(12..12, [0x81, 0, 0, 7]);
        let mut foreign = asked.as_bytes().to_vec();
        foreign[12..14].copy_from_slice(&[0x88, 0xcc]);
        let rows: [(&str, Vec<u8>, Reason); 14] = [
            (
                "an address that nobody wants here",
                plain(question(net.other, CLIENT_MAC, net.client)),
                Reason::NotOurs,
            ),
            (
                "another station's frame",
                readdressed(&asked, NODE_MAC, CLIENT_MAC),
                Reason::OtherDestination,
            ),
            (
                "to a group of another protocol",
                readdressed(&asked, MacAddr(1, 0, 0x5e, 0, 0, 1), CLIENT_MAC),
                Reason::OtherDestination,
            ),
            (
                "our own kernel's question",
                plain(question(net.vip, OUR_MAC, net.client)),
                Reason::OwnFrame,
            ),
            (
                "sent by us, whatever it says",
                readdressed(&asked, broadcast, OUR_MAC),
                Reason::OwnFrame,
            ),
            (
                "another node, known by its hardware address",
                plain(question(net.vip, NODE_MAC, net.client)),
                Reason::ClusterNode,
            ),
            (
                "a node's frame with a foreign sender",
                readdressed(&asked, OUR_MAC, NODE_MAC),
                Reason::ClusterNode,
            ),
            (
                "another node, known by its address",
                plain(question(net.vip, CLIENT_MAC, net.node)),
                Reason::ClusterNode,
            ),
            (
                "another node's probe",
                plain(question(net.vip, NODE_MAC, net.unspecified())),
                Reason::ClusterNode,
            ),
            (
                "another node's announcement",
                plain(wire::announcement(net.vip, NODE_MAC).next().unwrap()),
                Reason::ClusterNode,
            ),
            (
                "an answer about another address",
                readdressed(&answer_to_probe(net.other, CLIENT_MAC), OUR_MAC, CLIENT_MAC),
                Reason::NotARequest,
            ),
            (
                "a sender that is everybody",
                plain(question(net.vip, broadcast, net.client)),
                Reason::BadSenderHardware,
            ),
            (
                "a sender that is nobody",
                plain(question(net.vip, MacAddr::zero(), net.client)),
                Reason::BadSenderHardware,
            ),
            ("with a VLAN tag", tagged, Reason::VlanTagged),
        ];
        for (what, frame, reason) in rows {
            let mut announcer = owner(net);
            let outcome = announcer.handle_frame(LAN, &frame, millis(1));
            assert_eq!(outcome, FrameOutcome::Dropped(reason), "{what}, {net:?}");
            assert_eq!(drain(&mut announcer), [], "{what}");
            assert_eq!(announcer.poll_event(), None, "{what}");
        }
        let mut announcer = owner(net);
        let outcome = announcer.handle_frame(LAN, &foreign, millis(1));
        assert_eq!(outcome, FrameOutcome::Dropped(Reason::UnknownEthertype));
        let outcome = announcer.handle_frame(LinkId(9), asked.as_bytes(), millis(1));
        assert_eq!(outcome, FrameOutcome::Dropped(Reason::UnknownLink));
    }
}
