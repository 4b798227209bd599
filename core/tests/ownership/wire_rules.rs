//! Replayed and late datagrams, seen from one speaker.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use ferrolb_core::ownership::{
    Candidate, Candidates, Event, FAST, Identity, Key, Keys, NodeId, Ownership, Transmit, Wanted,
};
use ferrolb_core::wire::MacAddr;
use ferrolb_core::{Instant, Reason};

use crate::faults::Fault;
use crate::seeds;
use crate::world::{World, ms};

fn address(n: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, n).into()
}

fn keys(bytes: &[u8]) -> Keys {
    let key = Key::new(bytes).expect("long enough");
    Keys {
        signs: Some(key.clone()),
        accepted: vec![key],
        unsigned: false,
    }
}

fn equal(name: &str) -> Candidate {
    let node = NodeId::of(name);
    Candidate {
        node,
        tier: 0,
        unpreferred: 0,
    }
}

/// The speaker of node `n`, with this boot.
fn speaker(n: u8, boot: u64, keys: &Keys) -> Ownership {
    speaker_at(n, n, boot, keys)
}

fn speaker_at(n: u8, host: u8, boot: u64, keys: &Keys) -> Ownership {
    let node = format!("n{n}");
    let identity = Identity {
        node,
        address: address(host),
        mac: MacAddr::from([2, 0, 0, 0, 0, host]),
        boot,
    };
    let mut speaker = Ownership::new(identity, FAST, keys.clone(), 1, Instant::START);
    let nodes: BTreeMap<NodeId, Vec<IpAddr>> = [1, 2]
        .map(|n| (NodeId::of(&format!("n{n}")), vec![address(n)]))
        .into();
    speaker.set_nodes(&nodes, Instant::START);
    speaker
}

/// Lets speakers at these addresses talk for three seconds; what the first one said is returned.
fn talk(speakers: &mut [(u8, &mut Ownership)]) -> Vec<Vec<u8>> {
    let mut said = Vec::new();
    for now in (0..3_000).step_by(5).map(Instant::from_millis) {
        for i in 0..speakers.len() {
            let from = speakers[i].0;
            speakers[i].1.handle_timeout(now);
            while let Some(transmit) = speakers[i].1.poll_transmit() {
                let Transmit::Datagram { to, bytes } = transmit else {
                    continue;
                };
                for (host, receiver) in speakers.iter_mut() {
                    if address(*host) == to {
                        let _counted = receiver.handle_datagram(address(from), &bytes, now);
                    }
                }
                if i == 0 {
                    said.push(bytes);
                }
            }
        }
    }
    said
}

#[test]
fn a_datagram_that_comes_twice_counts_once() {
    let keys = keys(b"sixteen bytes or more");
    let (mut one, mut two) = (speaker(1, 10, &keys), speaker(2, 20, &keys));
    let said = talk(&mut [(1, &mut one), (2, &mut two)]);
    let last = said.last().expect("it beats");
    let now = Instant::from_millis(3_000);
    assert_eq!(
        two.handle_datagram(address(1), last, now),
        Err(Reason::Replayed)
    );
}

#[test]
fn what_was_said_to_the_process_before_does_not_count() {
    let keys = keys(b"sixteen bytes or more");
    let (mut one, mut two) = (speaker(1, 10, &keys), speaker(2, 20, &keys));
    let said = talk(&mut [(1, &mut one), (2, &mut two)]);
    let mut restarted = speaker(2, 30, &keys);
    for bytes in said {
        let heard = restarted.handle_datagram(address(1), &bytes, Instant::START);
        assert_eq!(heard, Err(Reason::NotFresh));
    }
    assert!(
        restarted
            .members()
            .filter(|member| member.heard_at.is_some())
            .count()
            == 0
    );
}

#[test]
fn a_speaker_without_the_key_is_not_heard() {
    let (with, without) = (keys(b"sixteen bytes or more"), Keys::default());
    let (mut one, mut two) = (speaker(1, 10, &without), speaker(2, 20, &with));
    talk(&mut [(1, &mut one), (2, &mut two)]);
    assert!(two.members().all(|member| member.heard_at.is_none()));
}

#[test]
fn a_signed_cluster_works_as_an_unsigned_one() {
    for seed in seeds(2) {
        let mut world = World::new(3, 15, seed, &FAST);
        world.keys = keys(b"sixteen bytes or more");
        (0..3).for_each(|host| world.inflict(Fault::Start(host)));
        world.run(ms(2_000));
        world.inflict(Fault::Die(1));
        world.run(ms(1_000));
        world.check("after a death");
        world.assert_sound(seed);
    }
}

#[test]
fn a_datagram_of_metallb_is_named() {
    let mut one = speaker(1, 10, &Keys::default());
    let heard = one.handle_datagram(address(2), &[7, 2, 3, 4], Instant::START);
    assert_eq!(heard, Err(Reason::MetallbPeer));
}

#[test]
fn every_deadline_has_a_reason_and_every_claim_an_event() {
    let mut one = speaker(1, 10, &Keys::default());
    let vip: IpAddr = "192.168.64.4".parse().expect("an address");
    let candidates = Candidates::of(vip, ["n1", "n2"].map(equal));
    one.set_wanted(
        [(
            vip,
            Wanted {
                eligible: true,
                on_subnet: true,
                candidates,
            },
        )]
        .into(),
    );
    let mut announced = None;
    for now in (0..700).map(Instant::from_millis) {
        one.handle_timeout(now);
        let (at, why) = one
            .poll_timeout()
            .expect("a member always has something to do");
        assert!(
            !why.is_empty() && at > now,
            "{why} was due at {at:?} and is not done at {now:?}"
        );
        while let Some(event) = one.poll_event() {
            if matches!(event, Event::Announce { .. }) {
                announced.get_or_insert(now);
            }
        }
    }
    assert_eq!(
        announced,
        Some(Instant::START + FAST.join),
        "alone, after the time to join"
    );
}

/// L11: each outbids the other's boot, until one sees that it is no predecessor that it outbids.
#[test]
fn of_two_speakers_under_one_name_one_falls_quiet_and_says_so() {
    // Without a key one of them would not be heard at all: its address is no node's.
    let keys = keys(b"sixteen bytes or more");
    let vip: IpAddr = "192.168.64.4".parse().expect("an address");
    let (mut one, mut two) = (speaker_at(1, 1, 10, &keys), speaker_at(1, 3, 20, &keys));
    let mut other = speaker(2, 30, &keys);
    for speaker in [&mut one, &mut two] {
        let candidates = Candidates::of(vip, [equal("n1")]);
        speaker.set_wanted(
            [(
                vip,
                Wanted {
                    eligible: true,
                    on_subnet: true,
                    candidates,
                },
            )]
            .into(),
        );
    }
    talk(&mut [(1, &mut one), (3, &mut two), (2, &mut other)]);
    let owned = one.owned().count() + two.owned().count();
    assert!(owned <= 1, "both answer for {vip}");
    let events = std::iter::from_fn(|| one.poll_event().or_else(|| two.poll_event()));
    assert!(events.collect::<Vec<_>>().contains(&Event::NameShared));
}
