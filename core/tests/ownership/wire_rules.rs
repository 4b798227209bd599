//! Replayed and late datagrams, seen from one speaker.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use ferrolb_core::ownership::{
    Event, FAST, Identity, Key, Keys, NodeId, Ownership, Transmit, Wanted,
};
use ferrolb_core::{Instant, Reason};

use crate::seeds;
use crate::world::{Fault, World, ms};

fn address(n: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, n).into()
}

fn keys(bytes: &[u8]) -> Keys {
    Keys {
        current: Some(Key::new(bytes).expect("long enough")),
        other: None,
    }
}

/// The speaker of node `n`, with this boot.
fn speaker(n: u8, boot: u64, keys: &Keys) -> Ownership {
    let identity = Identity {
        node: format!("n{n}"),
        address: address(n),
        mac: [2, 0, 0, 0, 0, n],
        boot,
    };
    let mut speaker = Ownership::new(identity, FAST, keys.clone(), 1, Instant::START);
    let nodes: BTreeMap<NodeId, IpAddr> = [1, 2]
        .map(|n| (NodeId::of(&format!("n{n}")), address(n)))
        .into();
    speaker.set_nodes(&nodes, Instant::START);
    speaker
}

fn datagrams(speaker: &mut Ownership) -> Vec<Vec<u8>> {
    let transmits = std::iter::from_fn(|| speaker.poll_transmit());
    let datagrams = transmits.filter_map(|transmit| match transmit {
        Transmit::Datagram { bytes, .. } => Some(bytes),
        Transmit::Probe(_) | Transmit::ProbeGateway => None,
    });
    datagrams.collect()
}

/// Lets two speakers talk for a while; what the first one said is returned.
fn talk(one: &mut Ownership, two: &mut Ownership) -> Vec<Vec<u8>> {
    let mut said = Vec::new();
    for now in (0..1_000).step_by(5).map(Instant::from_millis) {
        one.handle_timeout(now);
        for bytes in datagrams(one) {
            let _counted = two.handle_datagram(address(1), &bytes, now);
            said.push(bytes);
        }
        two.handle_timeout(now);
        for bytes in datagrams(two) {
            let _counted = one.handle_datagram(address(2), &bytes, now);
        }
    }
    said
}

#[test]
fn a_datagram_that_comes_twice_counts_once() {
    let keys = keys(b"sixteen bytes or more");
    let (mut one, mut two) = (speaker(1, 10, &keys), speaker(2, 20, &keys));
    let said = talk(&mut one, &mut two);
    let last = said.last().expect("it beats");
    let now = Instant::from_millis(1_000);
    assert_eq!(
        two.handle_datagram(address(1), last, now),
        Err(Reason::Replayed)
    );
}

#[test]
fn what_was_said_to_the_process_before_does_not_count() {
    let keys = keys(b"sixteen bytes or more");
    let (mut one, mut two) = (speaker(1, 10, &keys), speaker(2, 20, &keys));
    let said = talk(&mut one, &mut two);
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
    talk(&mut one, &mut two);
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
    let candidates = [NodeId::of("n1"), NodeId::of("n2")].into();
    one.set_wanted(
        [(
            vip,
            Wanted {
                eligible: true,
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
