//! The order of [`Ownership::handle_timeout`]: one call carries out everything that follows.

use std::net::IpAddr;

use super::model::{Claim, Entry, Life, Stage};
use super::wire::{Header, Message};
use super::*;
use crate::wire::MacAddr;

const BOOT: u64 = 1_795_970_838_000_000;

fn address(n: u8) -> IpAddr {
    [192, 168, 64, 10 + n].into()
}

fn vip() -> IpAddr {
    [192, 168, 64, 200].into()
}

fn node(n: u8) -> NodeId {
    NodeId::of(&format!("n{n}"))
}

/// The speaker of n1, which is to know n2 and n3.
struct Bench {
    speaker: Ownership,
    counter: u64,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        let identity = Identity {
            node: "n1".into(),
            address: address(1),
            mac: MacAddr::from([2, 0, 0, 0, 0, 1]),
            boot: BOOT,
        };
        let now = Instant::START;
        let mut speaker = Ownership::new(identity, FAST, Keys::default(), 1, now);
        let nodes = [1, 2, 3].map(|n| (node(n), vec![address(n)]));
        speaker.set_nodes(&nodes.into(), now);
        let mut bench = Self {
            speaker,
            counter: 0,
            now,
        };
        for _ in 0..8_000 {
            bench.tick();
        }
        bench
    }

    /// A millisecond passes.
    fn tick(&mut self) -> (Vec<Event>, Vec<(IpAddr, Message)>) {
        self.now = self.now + Duration::from_millis(1);
        self.speaker.handle_timeout(self.now);
        self.past()
    }

    /// What there was to do and to send.
    fn past(&mut self) -> (Vec<Event>, Vec<(IpAddr, Message)>) {
        let events = std::iter::from_fn(|| self.speaker.poll_event()).collect();
        let mut sent = Vec::new();
        while let Some(transmit) = self.speaker.poll_transmit() {
            if let Transmit::Datagram { to, bytes } = transmit {
                let message = wire::read(&bytes).and_then(|sealed| sealed.message());
                sent.push((to, message.unwrap()));
            }
        }
        (events, sent)
    }

    fn hear(&mut self, from: u8, message: &Message) {
        self.counter += 1;
        let header = Header {
            sender: node(from),
            counter: self.counter,
            boot: BOOT + u64::from(from),
            echo: BOOT,
            inc: 0,
        };
        let bytes = wire::seal(&Keys::default(), address(1), &header, message);
        let taken = self
            .speaker
            .handle_datagram(address(from), &bytes, self.now);
        assert_eq!(taken, Ok(()));
    }

    fn want(&mut self, candidates: &[u8]) {
        let candidate = |&n: &u8| Candidate {
            node: node(n),
            tier: 0,
            unpreferred: 0,
        };
        let wanted = Wanted {
            eligible: true,
            on_subnet: true,
            candidates: Candidates::of(vip(), candidates.iter().map(candidate)),
        };
        self.speaker.set_wanted([(vip(), wanted)].into());
    }
}

fn beat() -> Message {
    Message::Beat {
        digest: 0,
        deaf: false,
        joined: false,
        answer: false,
    }
}

/// n2 serves, and announces the address.
fn record() -> Message {
    let claim = Claim {
        strong: true,
        epoch: 1,
        rank: 0,
        asking: false,
    };
    Message::Records(vec![Entry {
        member: node(2),
        boot: BOOT + 2,
        inc: 0,
        life: Life::Live,
        address: address(2),
        mac: MacAddr::from([2, 0, 0, 0, 0, 2]),
        stage: Stage::Serving,
        former: false,
        consents: true,
        seq: 1,
        part: 0,
        parts: 1,
        links: Vec::new(),
        tells_subnets: false,
        claims: vec![(vip(), claim)],
    }])
}

#[test]
fn the_call_that_finds_a_member_gone_claims_its_addresses_and_tells_all_of_it() {
    let mut bench = Bench::new();
    bench.hear(2, &record());
    bench.want(&[2, 1]);
    bench.tick();
    assert_eq!(bench.speaker.owned().count(), 0);
    for millis in 0..1_000 {
        if millis % 20 == 0 {
            bench.hear(3, &beat());
        }
        let (events, sent) = bench.tick();
        if !events.contains(&Event::Lost { node: node(2) }) {
            continue;
        }
        let is_announced =
            |event: &Event| matches!(event, Event::Announce { vip: one, .. } if *one == vip());
        assert!(events.iter().any(is_announced), "{events:?}");
        let claims = |message: &Message| {
            matches!(message, Message::Records(entries)
                if entries.iter().any(|one| one.claims.iter().any(|(one, _)| *one == vip())))
        };
        let is_told = sent
            .iter()
            .any(|(to, what)| *to == address(3) && claims(what));
        assert!(is_told, "{sent:?}");
        return;
    }
    panic!("n2 is silent, and not lost");
}

#[test]
fn who_wakes_up_when_its_time_to_leave_is_over_says_good_bye_and_nothing_more() {
    let mut bench = Bench::new();
    bench.want(&[1]);
    while bench.speaker.owned().count() == 0 {
        bench.tick();
    }
    bench.speaker.set_leaving(Leaving::Draining, bench.now);
    // It was stopped meanwhile.
    bench.now = bench.now + FAST.give_limit;
    let (events, _) = bench.tick();
    let reason = Reason::Leaving;
    let withdraw = Event::Withdraw { vip: vip(), reason };
    assert_eq!(events, [withdraw, Event::MayExit]);
    assert_eq!(bench.speaker.poll_timeout(), None);
}
