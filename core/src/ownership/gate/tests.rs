//! What intruders try: strangers, who have no key, and a node in wrong hands, which has.

use std::time::Duration;

use super::super::model::{Claim, Death, Entry, Life, Stage};
use super::super::numbers::{LAST_INC, LAST_SEQ};
use super::super::wire::seal;
use super::super::{
    Candidate, Candidates, Event, FAST, Identity, Key, Keys, Ownership, Standing, Transmit,
    Verdict, Wanted,
};
use super::*;
use crate::wire::MacAddr;

const BOOT: u64 = 1_795_970_838_000_000;
const THEIRS: u64 = BOOT + 5_000_000;
/// RFC 5737: no node has it.
const STRANGER: &str = "203.0.113.66";

fn address(n: u8) -> IpAddr {
    [192, 168, 64, 10 + n].into()
}

fn stranger() -> IpAddr {
    STRANGER.parse().unwrap()
}

fn vip() -> IpAddr {
    [192, 168, 64, 200].into()
}

fn keys(unsigned: bool) -> Keys {
    let key = Key::new(b"the key of the cluster").unwrap();
    Keys {
        signs: Some(key.clone()),
        accepted: vec![key],
        unsigned,
    }
}

/// The speaker of n1, alone in a cluster with n2, with the address that the cluster has.
fn owner(keys: &Keys) -> (Ownership, Instant) {
    let identity = Identity {
        node: "n1".into(),
        address: address(1),
        mac: MacAddr::from([2, 0, 0, 0, 0, 1]),
        boot: BOOT,
    };
    let mut speaker = Ownership::new(identity, FAST, keys.clone(), 1, Instant::START);
    set_nodes(&mut speaker, &[1, 2], Instant::START);
    let node = NodeId::of("n1");
    let wanted = Wanted {
        eligible: true,
        on_subnet: true,
        candidates: Candidates::of(
            vip(),
            [Candidate {
                node,
                tier: 0,
                unpreferred: 0,
            }],
        ),
    };
    speaker.set_wanted([(vip(), wanted)].into());
    let mut now = Instant::START;
    for millis in 0..8_000 {
        now = Instant::from_millis(millis);
        speaker.handle_timeout(now);
    }
    assert_eq!(speaker.owned().collect::<Vec<_>>(), [vip()]);
    forget_past(&mut speaker);
    (speaker, now)
}

fn set_nodes(speaker: &mut Ownership, nodes: &[u8], now: Instant) {
    let node = |&n: &u8| (NodeId::of(&format!("n{n}")), vec![address(n)]);
    speaker.set_nodes(&nodes.iter().map(node).collect(), now);
}

fn forget_past(speaker: &mut Ownership) {
    while speaker.poll_transmit().is_some() {}
    while speaker.poll_event().is_some() {}
}

/// Whom it told anything.
fn told(speaker: &mut Ownership) -> Vec<IpAddr> {
    let mut told = Vec::new();
    while let Some(transmit) = speaker.poll_transmit() {
        if let Transmit::Datagram { to, .. } = transmit {
            told.push(to);
        }
    }
    told
}

fn events(speaker: &mut Ownership) -> Vec<Event> {
    std::iter::from_fn(|| speaker.poll_event()).collect()
}

fn keeps_its_address(speaker: &mut Ownership, now: Instant) {
    speaker.handle_timeout(now);
    let events = events(speaker);
    let withdrawn = |event: &Event| matches!(event, Event::Withdraw { .. } | Event::NameShared);
    assert!(!events.iter().any(withdrawn), "{events:?}");
    assert_eq!(speaker.owned().collect::<Vec<_>>(), [vip()]);
}

fn header(counter: u64) -> Header {
    Header {
        sender: NodeId::of("n2"),
        counter,
        boot: THEIRS,
        echo: BOOT,
        inc: 0,
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

fn datagram(keys: &Keys, header: &Header, message: &Message) -> Vec<u8> {
    seal(keys, address(1), header, message)
}

fn entry(claims: &[(IpAddr, Claim)]) -> Entry {
    Entry {
        member: NodeId::of("n2"),
        boot: THEIRS,
        inc: 0,
        life: Life::Live,
        address: address(2),
        mac: MacAddr::from([2, 0, 0, 0, 0, 2]),
        stage: Stage::Serving,
        former: false,
        consents: false,
        seq: 1,
        part: 0,
        parts: 1,
        links: Vec::new(),
        tells_subnets: false,
        claims: claims.to_vec(),
    }
}

fn claim(epoch: u32) -> Claim {
    Claim {
        strong: true,
        epoch,
        rank: 0,
        asking: false,
    }
}

fn standing(speaker: &Ownership, name: &str) -> Option<Standing> {
    let id = NodeId::of(name);
    let mut members = speaker.members();
    let member = members.find(|member| member.node == id)?;
    Some(member.standing)
}

/// The changeover of a key, in which some sign nothing, was open to everybody who reached the port:
/// three such datagrams silenced a node.
#[test]
fn three_forged_datagrams_silence_nobody() {
    for unsigned in [false, true] {
        let (mut speaker, mut now) = owner(&keys(unsigned));
        for counter in 0..3 {
            now = now + Duration::from_millis(20);
            let stale = Message::Stale {
                boot: THEIRS + counter,
            };
            let forged = datagram(&Keys::default(), &header(counter), &stale);
            let heard = speaker.handle_datagram(stranger(), &forged, now);
            assert_eq!(heard, Err(Reason::BadSignature));
            // Signed with a key of the stranger's own.
            let key = Key::new(b"what a stranger has").unwrap();
            let own = Keys {
                signs: Some(key),
                ..Keys::default()
            };
            let forged = datagram(&own, &header(counter), &stale);
            for from in [stranger(), address(2)] {
                let heard = speaker.handle_datagram(from, &forged, now);
                assert_eq!(heard, Err(Reason::BadSignature));
            }
        }
        keeps_its_address(&mut speaker, now);
        assert_eq!(standing(&speaker, "n2"), Some(Standing::NeverHeard));
    }
}

/// Who is heard, by what there is of a key, where it comes from, and whether it is signed.
#[test]
fn with_a_key_the_signature_decides_and_without_one_address_and_name_have_to_be_a_nodes() {
    let (locked, open, none) = (keys(false), keys(true), Keys::default());
    let node = address(2);
    let rows = [
        (&locked, node, &locked, Ok(())),
        (&locked, stranger(), &locked, Ok(())),
        (&locked, node, &none, Err(Reason::BadSignature)),
        (&locked, stranger(), &none, Err(Reason::BadSignature)),
        (&open, node, &locked, Ok(())),
        (&open, stranger(), &locked, Ok(())),
        (&open, node, &none, Ok(())),
        (&open, stranger(), &none, Err(Reason::BadSignature)),
        (&none, node, &none, Ok(())),
        // It has the key already, this one not yet.
        (&none, node, &locked, Ok(())),
        (&none, stranger(), &none, Err(Reason::UnknownPeer)),
        (&none, stranger(), &locked, Err(Reason::UnknownPeer)),
    ];
    for (here, from, there, expected) in rows {
        let (mut speaker, now) = owner(here);
        let heard = speaker.handle_datagram(from, &datagram(there, &header(1), &beat()), now);
        assert_eq!(heard, expected, "{here:?} hears {from}, who has {there:?}");
        // A name that is no node's, and one more of a node's addresses.
        let header = Header {
            sender: NodeId::of("n99"),
            ..header(2)
        };
        let heard = speaker.handle_datagram(from, &datagram(there, &header, &beat()), now);
        assert_eq!(heard, Err(Reason::UnknownPeer));
        assert_eq!(standing(&speaker, "n99"), None);
    }
    let (mut speaker, now) = owner(&none);
    let both = [
        (NodeId::of("n1"), vec![address(1)]),
        (NodeId::of("n2"), vec![address(2), stranger()]),
    ];
    speaker.set_nodes(&both.into(), now);
    let heard = speaker.handle_datagram(stranger(), &datagram(&none, &header(1), &beat()), now);
    assert_eq!(heard, Ok(()), "it is one of the nodes' further addresses");
}

/// Once a member has signed, what is not signed is not its own.
#[test]
fn who_has_signed_signs_on() {
    let keys = keys(true);
    let (mut speaker, now) = owner(&keys);
    let signed = datagram(&keys, &header(1), &beat());
    assert_eq!(speaker.handle_datagram(address(2), &signed, now), Ok(()));
    let unsigned = datagram(&Keys::default(), &header(2), &beat());
    let heard = speaker.handle_datagram(address(2), &unsigned, now);
    assert_eq!(heard, Err(Reason::BadSignature));
}

#[test]
fn a_name_that_is_no_nodes_leaves_no_trace() {
    for keys in [keys(false), keys(true), Keys::default()] {
        let (mut speaker, now) = owner(&keys);
        let before = speaker.version();
        for name in 0..1_000 {
            let header = Header {
                sender: NodeId::of(&format!("made-up-{name}")),
                ..header(1)
            };
            let heard =
                speaker.handle_datagram(address(2), &datagram(&keys, &header, &beat()), now);
            assert_eq!(heard, Err(Reason::UnknownPeer));
        }
        assert!(told(&mut speaker).is_empty());
        speaker.handle_timeout(now);
        assert_eq!(speaker.version(), before);
    }
}

/// What is fresh is what carries this process's boot: who does not know it may learn it if it has the
/// key, or is at a node's address where nobody needs one.
#[test]
fn a_stranger_is_not_told_the_boot() {
    let (locked, open, none) = (keys(false), keys(true), Keys::default());
    let node = address(2);
    let rows = [
        (&locked, node, &locked, vec![node]),
        // Two speakers under one name tell each other so, wherever they are (L11).
        (&locked, stranger(), &locked, vec![stranger()]),
        (&locked, node, &none, vec![]),
        (&locked, stranger(), &none, vec![]),
        (&open, node, &none, vec![node]),
        (&open, stranger(), &none, vec![]),
        // A datagram of n2 that somebody kept, for the process before this one: with the boot he could
        // speak for whoever signs nothing yet.
        (&open, stranger(), &locked, vec![]),
        (&none, node, &none, vec![node]),
        (&none, stranger(), &none, vec![]),
    ];
    for (here, from, there, expected) in rows {
        let (mut speaker, now) = owner(here);
        let not_fresh = Header {
            echo: 0,
            ..header(1)
        };
        let question = datagram(there, &not_fresh, &beat());
        let heard = speaker.handle_datagram(from, &question, now);
        assert!(heard.is_err(), "{heard:?}");
        assert_eq!(told(&mut speaker), expected, "{here:?} {from} {there:?}");
    }
}

#[test]
fn a_datagram_that_somebody_kept_says_nothing_again_whoever_sends_it() {
    let keys = keys(false);
    let (mut speaker, now) = owner(&keys);
    let kept = datagram(&keys, &header(7), &beat());
    assert_eq!(speaker.handle_datagram(address(2), &kept, now), Ok(()));
    for from in [address(2), stranger()] {
        let heard = speaker.handle_datagram(from, &kept, now);
        assert_eq!(heard, Err(Reason::Replayed));
    }
}

/// G2: forged signatures cost time, so not many are looked at. Nodes are heard meanwhile, also those
/// that come from an address that the API server does not know.
#[test]
fn during_a_flood_nodes_are_heard_also_those_behind_address_translation() {
    let keys = keys(false);
    let (mut speaker, now) = owner(&keys);
    let translated: IpAddr = "198.51.100.7".parse().unwrap();
    let first = datagram(&keys, &header(1), &beat());
    assert_eq!(speaker.handle_datagram(translated, &first, now), Ok(()));
    let mut forged = first;
    let mut outcomes = BTreeMap::new();
    for number in 0..100_000_u32 {
        let [.., last] = forged.as_mut_slice() else {
            unreachable!("it has a tag")
        };
        *last = last.wrapping_add(1).max(1);
        let from = IpAddr::from((0xcb00_7100 + number % 200).to_be_bytes());
        let heard = speaker.handle_datagram(from, &forged, now);
        *outcomes.entry(heard.unwrap_err()).or_insert(0) += 1;
    }
    let looked_at = outcomes[&Reason::BadSignature];
    assert!(looked_at <= STRANGERS_AT_ONCE, "{outcomes:?}");
    assert!(
        outcomes[&Reason::TooManyStrangers] >= 99_000,
        "{outcomes:?}"
    );
    for (from, counter) in [(translated, 2), (address(2), 3)] {
        let next = datagram(&keys, &header(counter), &beat());
        assert_eq!(speaker.handle_datagram(from, &next, now), Ok(()), "{from}");
    }
}

/// R4: it hands over what it has, although the API server knows it no more.
#[test]
fn a_speaker_whose_node_was_deleted_is_heard_until_it_has_gone() {
    let keys = keys(false);
    let (mut speaker, now) = owner(&keys);
    let say = |speaker: &mut Ownership, counter, message: &Message| {
        let said = datagram(&keys, &header(counter), message);
        speaker.handle_datagram(address(2), &said, now)
    };
    assert_eq!(say(&mut speaker, 1, &beat()), Ok(()));
    set_nodes(&mut speaker, &[1], now);
    assert_eq!(say(&mut speaker, 2, &beat()), Ok(()));
    let good_bye = Message::Dead(Death {
        member: NodeId::of("n2"),
        boot: THEIRS,
        inc: 0,
        verdict: Verdict::Left,
    });
    assert_eq!(say(&mut speaker, 3, &good_bye), Ok(()));
    assert_eq!(say(&mut speaker, 4, &beat()), Err(Reason::UnknownPeer));
}

/// A node that the API server has told n2 of, and this one not yet, is known by hearsay. A node in wrong
/// hands must not tell of any number.
#[test]
fn members_known_by_hearsay_are_few() {
    let keys = keys(false);
    let (mut speaker, now) = owner(&keys);
    for batch in 0..100 {
        let entries = (0..19).map(|n| Entry {
            member: NodeId::of(&format!("made-up-{batch}-{n}")),
            ..entry(&[])
        });
        let records = Message::Records(entries.collect());
        let said = datagram(&keys, &header(batch), &records);
        assert_eq!(speaker.handle_datagram(address(2), &said, now), Ok(()));
    }
    let known = speaker.members().count();
    assert!((3..=300).contains(&known), "{known} members");
}

/// N1: it stayed dead for every speaker that heard of it, whatever it said.
#[test]
fn a_verdict_over_the_last_incarnation_is_refused() {
    let keys = keys(false);
    for inc in [LAST_INC + 1, u32::MAX] {
        let (mut speaker, now) = owner(&keys);
        // n3 says so of n2.
        set_nodes(&mut speaker, &[1, 2, 3], now);
        let said = datagram(&keys, &header(1), &beat());
        assert_eq!(speaker.handle_datagram(address(2), &said, now), Ok(()));
        let death = Message::Dead(Death {
            member: NodeId::of("n2"),
            boot: THEIRS,
            inc,
            verdict: Verdict::Node,
        });
        let third = Header {
            sender: NodeId::of("n3"),
            ..header(1)
        };
        let heard = speaker.handle_datagram(address(3), &datagram(&keys, &third, &death), now);
        assert_eq!(heard, Err(Reason::Implausible));
        assert_eq!(standing(&speaker, "n2"), Some(Standing::Live));
    }
}

/// N2
#[test]
fn a_member_pushed_to_the_last_incarnation_starts_anew_and_keeps_its_address() {
    let keys = keys(false);
    let (mut speaker, now) = owner(&keys);
    let death = Message::Dead(Death {
        member: NodeId::of("n1"),
        boot: BOOT,
        inc: LAST_INC,
        verdict: Verdict::Node,
    });
    let said = datagram(&keys, &header(1), &death);
    assert_eq!(speaker.handle_datagram(address(2), &said, now), Ok(()));
    assert_eq!(
        (
            speaker.common.members.own().boot,
            speaker.common.members.own().inc
        ),
        (BOOT + 1, 0)
    );
    keeps_its_address(&mut speaker, now);
}

/// N1: the member could never have had a later one.
#[test]
fn a_boot_that_no_clock_shows_is_refused_and_another_one_is_not() {
    let keys = keys(false);
    const YEAR: u64 = 365 * 86_400 * 1_000_000;
    for (boot, is_plausible) in [
        (u64::MAX, false),
        (BOOT + 11 * YEAR, false),
        // Clocks of nodes are wrong, more so without a battery.
        (BOOT + 9 * YEAR, true),
        (1, true),
    ] {
        let said = [
            (Header { boot, ..header(1) }, beat()),
            (header(2), Message::Stale { boot }),
        ];
        for (header, message) in said {
            let (mut speaker, now) = owner(&keys);
            let heard =
                speaker.handle_datagram(address(2), &datagram(&keys, &header, &message), now);
            assert_eq!(heard.is_ok(), is_plausible, "{boot}: {heard:?}");
        }
        // Beside another entry, which is good.
        let (mut speaker, now) = owner(&keys);
        set_nodes(&mut speaker, &[1, 2, 3], now);
        let third = Entry {
            member: NodeId::of("n3"),
            boot,
            ..entry(&[])
        };
        let records = Message::Records(vec![third, entry(&[(address(9), claim(1))])]);
        let said = datagram(&keys, &header(1), &records);
        assert_eq!(speaker.handle_datagram(address(2), &said, now), Ok(()));
        let is_known = standing(&speaker, "n3") == Some(Standing::Live);
        assert_eq!(is_known, is_plausible, "{boot}");
        assert!(speaker.vip_status(address(9), now).owner.is_some());
    }
}

/// C1: a record has one writer, and his next one is newer than any that others wrote in his name.
#[test]
fn a_record_forged_in_a_members_name_is_replaced_by_its_next_one() {
    let keys = keys(false);
    for seq in [1_000, LAST_SEQ - 1, LAST_SEQ] {
        let (mut speaker, now) = owner(&keys);
        let forged = Entry {
            member: NodeId::of("n1"),
            boot: BOOT,
            seq,
            ..entry(&[])
        };
        let said = datagram(&keys, &header(1), &Message::Records(vec![forged]));
        assert_eq!(speaker.handle_datagram(address(2), &said, now), Ok(()));
        keeps_its_address(&mut speaker, now);
        let (boot, own) = (
            speaker.common.members.own().boot,
            speaker.common.members.own().record.seq,
        );
        assert!((boot, own) > (BOOT, seq), "{boot} {own} after {seq}");
    }
    let (mut speaker, now) = owner(&keys);
    let forged = Entry {
        member: NodeId::of("n1"),
        boot: BOOT,
        seq: u32::MAX,
        ..entry(&[])
    };
    let said = datagram(&keys, &header(1), &Message::Records(vec![forged]));
    assert_eq!(speaker.handle_datagram(address(2), &said, now), Ok(()));
    assert!(speaker.common.members.own().record.seq < LAST_SEQ, "N1");
}

/// N1, N3: handovers need a newer epoch, for ever.
#[test]
fn an_epoch_that_leaps_makes_no_owner_and_after_the_last_one_comes_another() {
    let keys = keys(false);
    let (mut speaker, now) = owner(&keys);
    let records = Message::Records(vec![entry(&[
        (vip(), claim(1 << 30)),
        (address(9), claim(u32::MAX)),
    ])]);
    let said = datagram(&keys, &header(1), &records);
    assert_eq!(speaker.handle_datagram(address(2), &said, now), Ok(()));
    keeps_its_address(&mut speaker, now);
    // Who knew of no claim at all takes the first one as it is. The next is newer all the same.
    let given = |speaker: &Ownership| speaker.vip_status(address(9), now).owner;
    assert_eq!(given(&speaker), Some((NodeId::of("n2"), u32::MAX)));
    let third = Entry {
        member: NodeId::of("n3"),
        ..entry(&[(address(9), claim(1))])
    };
    let said = datagram(&keys, &header(2), &Message::Records(vec![third]));
    assert_eq!(speaker.handle_datagram(address(2), &said, now), Ok(()));
    assert_eq!(given(&speaker), Some((NodeId::of("n3"), 1)));
}

#[test]
fn strangers_are_looked_at_so_often_and_no_more() {
    let mut gate = Gate::new(Instant::START);
    let mut admitted = 0;
    for micro in 0..1_000_000 {
        let now = Instant::from_micros(micro);
        admitted += u32::from(gate.admits_stranger(now));
    }
    let most = STRANGERS + STRANGERS_AT_ONCE;
    assert!((STRANGERS..=most).contains(&admitted), "{admitted}");
    let later = Instant::from_millis(60_000);
    let at_once = (0..10_000).filter(|_| gate.admits_stranger(later)).count();
    assert_eq!(at_once, STRANGERS_AT_ONCE as usize);
}

#[test]
fn addresses_that_spoke_are_remembered_for_a_minute_and_up_to_a_number() {
    let mut gate = Gate::new(Instant::START);
    let address = |n: u32| IpAddr::from(n.to_be_bytes());
    let now = Instant::from_millis(1);
    (0..10_000).for_each(|n| gate.note_proven(address(n), now));
    assert_eq!(gate.proven.len(), MOST_PROVEN);
    assert!(gate.is_known(address(0), now) && !gate.is_known(address(9_999), now));
    gate.note_proven(address(0), now + Duration::from_secs(1));
    assert!(gate.is_known(address(0), now + PROVEN));
    assert!(!gate.is_known(address(1), now + PROVEN));
    gate.note_proven(address(9_999), now + PROVEN);
    assert_eq!(gate.proven.len(), 2, "the others have had their time");
}

fn spoken_to(speaker: &Ownership, name: &str) -> Option<IpAddr> {
    let id = NodeId::of(name);
    let mut members = speaker.members();
    Some(members.find(|member| member.node == id)?.address)
}

/// n2's record, as it is at this address.
fn at(address: IpAddr, seq: u32) -> Message {
    let entry = Entry {
        address,
        seq,
        ..entry(&[])
    };
    Message::Records(vec![entry])
}

/// A2, A4: with a key the signature says who it is, so its word moves it; a replay of it, or what comes
/// from elsewhere behind address translation, does not.
#[test]
fn a_signed_word_moves_an_address_and_no_replay_or_stranger_does() {
    let keys = keys(false);
    let (mut speaker, now) = owner(&keys);
    let say = |speaker: &mut Ownership, from: IpAddr, counter: u64, message: &Message| {
        let said = datagram(&keys, &header(counter), message);
        assert_eq!(speaker.handle_datagram(from, &said, now), Ok(()));
        said
    };
    // Behind address translation: it says where it is reached.
    say(&mut speaker, stranger(), 1, &at(address(2), 1));
    say(&mut speaker, stranger(), 2, &beat());
    assert_eq!(spoken_to(&speaker, "n2"), Some(address(2)));
    let moved = say(&mut speaker, address(9), 3, &at(address(9), 2));
    assert_eq!(spoken_to(&speaker, "n2"), Some(address(9)));
    let back = say(&mut speaker, address(2), 4, &at(address(2), 3));
    assert_eq!(spoken_to(&speaker, "n2"), Some(address(2)));
    for (from, said) in [
        (address(9), &moved),
        (stranger(), &moved),
        (stranger(), &back),
    ] {
        let heard = speaker.handle_datagram(from, said, now);
        assert_eq!(heard, Err(Reason::Replayed));
    }
    let forged = datagram(&Keys::default(), &header(5), &at(stranger(), 4));
    for from in [address(2), address(9), stranger()] {
        let heard = speaker.handle_datagram(from, &forged, now);
        assert_eq!(heard, Err(Reason::BadSignature));
    }
    assert_eq!(spoken_to(&speaker, "n2"), Some(address(2)));
}

/// A3, A4: the Nodes list is followed, and what a member signs counts for more.
#[test]
fn a_nodes_list_moves_an_address_until_the_member_says_otherwise() {
    for is_locked in [true, false] {
        let keys = if is_locked {
            keys(false)
        } else {
            Keys::default()
        };
        let (mut speaker, now) = owner(&keys);
        let said = datagram(&keys, &header(1), &at(address(2), 1));
        assert_eq!(speaker.handle_datagram(address(2), &said, now), Ok(()));
        let listed = |n2: Vec<IpAddr>| {
            let nodes = [("n1", vec![address(1)]), ("n2", n2)];
            nodes.map(|(name, addresses)| (NodeId::of(name), addresses))
        };
        // Another order, or one more, is no move.
        speaker.set_nodes(&listed(vec![address(7), address(2)]).into(), now);
        assert_eq!(spoken_to(&speaker, "n2"), Some(address(2)));
        speaker.set_nodes(&listed(vec![address(7), address(8)]).into(), now);
        assert_eq!(spoken_to(&speaker, "n2"), Some(address(7)));
        let next = datagram(&keys, &header(2), &beat());
        let heard = speaker.handle_datagram(address(2), &next, now);
        if is_locked {
            assert_eq!(heard, Ok(()));
            assert_eq!(spoken_to(&speaker, "n2"), Some(address(2)));
            // The same list again is no news.
            speaker.set_nodes(&listed(vec![address(7), address(8)]).into(), now);
            assert_eq!(spoken_to(&speaker, "n2"), Some(address(2)));
        } else {
            assert_eq!(heard, Err(Reason::UnknownPeer));
            // Whoever says something else of it is not believed; of those listed it may choose.
            for (counter, says, is) in [(3, 2, 7), (4, 8, 8), (5, 9, 8)] {
                let record = at(address(says), counter as u32);
                let said = datagram(&keys, &header(counter), &record);
                assert_eq!(speaker.handle_datagram(address(7), &said, now), Ok(()));
                assert_eq!(spoken_to(&speaker, "n2"), Some(address(is)), "{says}");
            }
        }
    }
}

/// A8: its address changed while it was held gone. It can refute only what it hears.
#[test]
fn who_is_held_gone_is_told_where_it_speaks_from() {
    let keys = keys(false);
    let (mut speaker, now) = owner(&keys);
    let said = datagram(&keys, &header(1), &at(address(2), 1));
    assert_eq!(speaker.handle_datagram(address(2), &said, now), Ok(()));
    let verdict = Verdict::Node;
    let (member, boot, inc) = (NodeId::of("n2"), THEIRS, 0);
    let death = Death {
        member,
        boot,
        inc,
        verdict,
    };
    assert!(speaker.common.members.bury(&death, now));
    forget_past(&mut speaker);
    let said = datagram(&keys, &header(2), &beat());
    let heard = speaker.handle_datagram(address(9), &said, now);
    assert_eq!(heard, Err(Reason::SpeakerSilent));
    assert_eq!(told(&mut speaker), [address(2), address(9)]);
}

/// What was sent before the sender knew that this node moved, and what comes in another family.
#[test]
fn a_signature_for_any_address_of_this_node_is_good() {
    let keys = keys(false);
    let (mut speaker, now) = owner(&keys);
    let of_ipv6: IpAddr = "fd00:64::11".parse().unwrap();
    let mac = MacAddr::from([2, 0, 0, 0, 0, 1]);
    speaker.set_station(&[address(8), of_ipv6], mac, now);
    let mut counter = 0;
    for (to, expected) in [
        (address(8), Ok(())),
        (of_ipv6, Ok(())),
        (address(1), Ok(())),
        (address(7), Err(Reason::BadSignature)),
        (stranger(), Err(Reason::BadSignature)),
    ] {
        counter += 1;
        let said = seal(&keys, to, &header(counter), &beat());
        assert_eq!(
            speaker.handle_datagram(address(2), &said, now),
            expected,
            "{to}"
        );
    }
}

/// A5
#[test]
fn who_has_lost_a_family_speaks_to_others_in_the_other_one() {
    let keys = keys(false);
    let (mut speaker, now) = owner(&keys);
    let of_ipv6 = |n: u16| IpAddr::from([0xfd00, 0x64, 0, 0, 0, 0, 0, n]);
    let mac = MacAddr::from([2, 0, 0, 0, 0, 1]);
    speaker.set_station(&[address(1), of_ipv6(1)], mac, now);
    let nodes = [
        ("n1", vec![address(1)]),
        ("n2", vec![of_ipv6(2), address(2)]),
    ];
    let nodes = nodes.map(|(name, addresses)| (NodeId::of(name), addresses));
    speaker.set_nodes(&nodes.into(), now);
    let said = datagram(&keys, &header(1), &at(of_ipv6(2), 1));
    assert_eq!(speaker.handle_datagram(of_ipv6(2), &said, now), Ok(()));
    assert_eq!(spoken_to(&speaker, "n2"), Some(of_ipv6(2)));
    speaker.set_station(&[address(1)], mac, now);
    assert_eq!(spoken_to(&speaker, "n2"), Some(address(2)));
}

/// A6: until it is heard by this node, and no longer than that.
#[test]
fn who_has_moved_tells_those_again_that_it_has_not_heard_since() {
    const RECORDS: u8 = 7;
    let keys = keys(false);
    let (mut speaker, mut now) = owner(&keys);
    let said = datagram(&keys, &header(1), &at(address(2), 1));
    assert_eq!(speaker.handle_datagram(address(2), &said, now), Ok(()));
    let mut records = |speaker: &mut Ownership, until: Instant| {
        let mut count = 0;
        while now < until {
            now = now + Duration::from_millis(5);
            speaker.handle_timeout(now);
            while let Some(transmit) = speaker.poll_transmit() {
                let Transmit::Datagram { bytes, .. } = transmit else {
                    continue;
                };
                count += usize::from(bytes[3] == RECORDS);
            }
        }
        count
    };
    let begun = Instant::from_millis(8_000);
    records(&mut speaker, begun);
    let mac = MacAddr::from([2, 0, 0, 0, 0, 1]);
    speaker.set_station(&[address(8)], mac, begun);
    let at_once = records(&mut speaker, begun + Duration::from_millis(50));
    assert_eq!(at_once, 2, "published, and once more");
    // What it publishes for other reasons comes before.
    records(&mut speaker, begun + Duration::from_millis(95));
    let again = records(&mut speaker, begun + Duration::from_millis(110));
    assert_eq!(again, 1, "after 100 ms");
    let now = begun + Duration::from_millis(110);
    let heard = seal(&keys, address(8), &header(2), &beat());
    let heard = speaker.handle_datagram(address(2), &heard, now);
    assert!(
        matches!(heard, Ok(()) | Err(Reason::SpeakerSilent)),
        "{heard:?}"
    );
    records(&mut speaker, begun + Duration::from_millis(195));
    let after = records(&mut speaker, begun + Duration::from_millis(210));
    assert_eq!(after, 0);
}
