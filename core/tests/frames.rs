//! Frames that other hosts really sent, and every frame that differs from one of them in a byte or in
//! its length.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::net::IpAddr;

use ferrolb_core::Instant;
use ferrolb_core::announce::{Announcer, Assignment, FrameOutcome, Link, LinkId, Settings};
use ferrolb_core::wire::{MacAddr, Message};

const CORPUS: &str = include_str!("frames/linux.txt");
const LAN: LinkId = LinkId(2);
const OURS: MacAddr = MacAddr(2, 0, 0, 0, 0, 0x0b);

/// A received frame, what becomes of it, and what the kernel answered.
struct Case {
    frame: Vec<u8>,
    outcome: String,
    answer: Option<Vec<u8>>,
}

fn corpus() -> Vec<Case> {
    let bytes = |hex: &str| -> Vec<u8> {
        let pairs = hex.as_bytes().chunks(2);
        pairs
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    };
    let mut cases: Vec<Case> = Vec::new();
    for line in CORPUS.lines() {
        match line.split_whitespace().collect::<Vec<_>>().as_slice() {
            ["in", outcome, frame] => cases.push(Case {
                frame: bytes(frame),
                outcome: (*outcome).to_owned(),
                answer: None,
            }),
            ["out", frame] => cases.last_mut().unwrap().answer = Some(bytes(frame)),
            _ => assert!(line.is_empty() || line.starts_with('#'), "{line}"),
        }
    }
    cases
}

fn vips() -> [IpAddr; 2] {
    ["192.168.64.200", "fd00:64::200"].map(|vip| vip.parse().unwrap())
}

/// The owner of the host's addresses, past its announcements.
fn owner() -> Announcer {
    let mut announcer = Announcer::new(Settings::default());
    let link = Link {
        name: "eth0".into(),
        mac: OURS,
        prefixes: ["192.168.64.11/24", "fd00:64::11/64"]
            .map(|prefix| prefix.parse().unwrap())
            .into(),
        routes: BTreeMap::new(),
        carrier: true,
    };
    announcer.set_links([(LAN, link)].into(), Instant::START);
    let wanted: BTreeMap<_, _> = vips().map(|vip| (vip, Assignment::default())).into();
    announcer.set_wanted(wanted, Instant::START);
    while announcer.poll_transmit().is_some() {}
    announcer
}

#[test]
fn linux_is_understood_and_answered_as_it_answers_itself() {
    let cases = corpus();
    assert!(cases.iter().filter(|case| case.answer.is_some()).count() >= 4);
    for case in cases {
        let mut announcer = owner();
        let outcome = announcer.handle_frame(LAN, &case.frame, Instant::START);
        let outcome = match outcome {
            FrameOutcome::Answered(_) => "answered",
            FrameOutcome::Dropped(reason) => reason.as_str(),
        };
        assert_eq!(outcome, case.outcome);
        let ours = announcer.poll_transmit().map(|sent| sent.frame);
        match (&ours, &case.answer) {
            (Some(ours), Some(theirs)) => {
                let (ours, theirs) = (ours.as_bytes(), theirs.as_slice());
                if ours.len() == theirs.len() {
                    assert_eq!(ours, theirs);
                } else {
                    // Linux leaves the hardware address out when it was asked by unicast; we do not.
                    let read = |frame| Message::parse(frame).unwrap();
                    let (ours, theirs) = (read(ours), read(theirs));
                    assert_eq!(ours.ethernet, theirs.ethernet);
                    assert_eq!(ours.claimed(), theirs.claimed());
                    assert_eq!(ours.is_kernels_answer(), theirs.is_kernels_answer());
                }
            }
            (None, None) => {}
            _ => panic!("{ours:?} for {:?}", case.answer),
        }
    }
}

#[test]
fn no_frame_that_differs_in_a_byte_or_in_length_panics_or_is_answered_for_another_address() {
    let mut announcer = owner();
    let mut hear = |frame: &[u8]| {
        let outcome = announcer.handle_frame(LAN, frame, Instant::START);
        while let Some(sent) = announcer.poll_transmit() {
            let message = Message::parse(sent.frame.as_bytes()).unwrap();
            assert_eq!(message.claimed(), Some(sent.vip));
            assert!(vips().contains(&sent.vip) && message.sender_hardware() == OURS);
        }
        outcome
    };
    for case in corpus() {
        for length in 0..=case.frame.len() {
            hear(&case.frame[..length]);
        }
        for at in 0..case.frame.len() {
            let mut frame = case.frame.clone();
            for value in 0..=u8::MAX {
                frame[at] = value;
                hear(&frame);
            }
        }
    }
}
