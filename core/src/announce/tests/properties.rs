//! Any bytes and any order of events.

use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn no_bytes_make_the_announcer_panic_and_only_what_it_owns_is_answered(
        six in any::<bool>(),
        keep in 0_usize..90,
        tail in proptest::collection::vec(any::<u8>(), 0..64),
        flips in proptest::collection::vec((0_usize..128, any::<u8>()), 0..4),
    ) {
        let net = if six { V6 } else { V4 };
        let mut announcer = owner(net);
        // Behind a header that passes the first gates, and with single bytes changed.
        let asked = question(net.vip, CLIENT_MAC, net.client);
        let mut frame = asked.as_bytes()[..keep.min(asked.as_bytes().len())].to_vec();
        frame.extend(tail);
        for (at, value) in flips {
            if let Some(byte) = frame.get_mut(at) {
                *byte = value;
            }
        }
        let outcome = announcer.handle_frame(LAN, &frame, millis(1));
        for sent in drain(&mut announcer) {
            prop_assert_eq!(sent.vip, net.vip);
            let message = Message::parse(sent.frame.as_bytes()).unwrap();
            prop_assert_eq!(message.claimed(), Some(net.vip));
            prop_assert_eq!(message.sender_hardware(), OUR_MAC);
        }
        if let FrameOutcome::Answered(vip) = outcome {
            prop_assert_eq!(vip, net.vip);
        }
    }

    #[test]
    fn claims_are_always_what_is_wanted_on_links_with_carrier(
        steps in proptest::collection::vec((0_u8..6, any::<bool>(), any::<bool>()), 1..20),
    ) {
        let vips = [V4.vip, V6.vip];
        let mut announcer = on_lan();
        for (step, (choice, carrier, both)) in steps.into_iter().enumerate() {
            let now = millis(step as u64 * 700);
            match choice {
                0 => announcer.set_wanted(want(&vips[..1 + usize::from(both)]), now),
                1 => announcer.set_wanted(want(&[]), now),
                2 => announcer.set_wanted(probed(vips[usize::from(both)]), now),
                3 => {
                    let mut links = if both { lan_and_dmz() } else { lan() };
                    links.get_mut(&LAN).unwrap().carrier = carrier;
                    announcer.set_links(links, now);
                }
                4 => {
                    let vip = vips[usize::from(both)];
                    let theirs = wire::announcement(vip, CLIENT_MAC).next().unwrap();
                    announcer.handle_frame(LAN, theirs.as_bytes(), now);
                }
                _ => announcer.handle_timeout(now),
            }
            let up = announcer.links[&LAN].carrier;
            let heard: Vec<_> = announcer.heard_on(LAN).collect();
            let expected: Vec<_> = announcer.orders.keys().copied().filter(|_| up).collect();
            prop_assert_eq!(&heard, &expected);
            let deadlines: BTreeSet<_> = announcer
                .orders
                .iter()
                .flat_map(|(vip, order)| order.claims.iter().map(move |claim| (vip, claim)))
                .filter_map(|(vip, (id, claim))| Some((claim.next?, *vip, *id)))
                .collect();
            prop_assert_eq!(&deadlines, &announcer.due);
            for transmit in drain(&mut announcer) {
                prop_assert!(heard.contains(&transmit.vip));
                let owned = announcer.owned().any(|(vip, _)| vip == transmit.vip);
                prop_assert!(owned || transmit.kind == Kind::Probe);
            }
        }
    }
}
