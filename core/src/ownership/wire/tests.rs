use std::net::IpAddr;

use proptest::prelude::*;

use super::*;
use crate::ownership::model::{
    BUCKETS, Claim, Death, Entry, Life, LinkAddress, MAX_LINKS, Offer, PARTS_OF, Stage, Verdict,
};
use crate::ownership::replay::Window;
use crate::wire::MacAddr;

const HERE: &str = "192.168.64.11";

fn here() -> IpAddr {
    HERE.parse().unwrap()
}

fn header() -> Header {
    Header {
        sender: NodeId::of("n1"),
        counter: 7,
        boot: 0x1000,
        echo: 0x2000,
        inc: 3,
    }
}

fn entry() -> Entry {
    Entry {
        member: NodeId::of("n2"),
        boot: 5,
        inc: 1,
        life: Life::Held,
        address: "192.168.64.12".parse().unwrap(),
        mac: MacAddr::from([2, 0, 0, 0, 0, 12]),
        stage: Stage::Serving,
        former: true,
        consents: false,
        seq: 9,
        part: 0,
        parts: 1,
        links: vec![LinkAddress {
            address: "10.9.0.12".parse().unwrap(),
            prefix: None,
            silent: true,
        }],
        tells_subnets: false,
        claims: vec![
            (
                "192.168.64.100".parse().unwrap(),
                Claim {
                    strong: true,
                    epoch: 4,
                    rank: 0xabcd,
                    asking: false,
                },
            ),
            (
                "fd00::1".parse().unwrap(),
                Claim {
                    strong: false,
                    epoch: 1,
                    rank: 1,
                    asking: false,
                },
            ),
        ],
    }
}

fn every_kind() -> Vec<Message> {
    let target = NodeId::of("n2");
    let vip: IpAddr = "192.168.64.100".parse().unwrap();
    let mut buckets = Box::new([0; BUCKETS]);
    buckets[63] = u64::MAX;
    vec![
        Message::Beat {
            digest: 1,
            deaf: true,
            joined: false,
            answer: true,
        },
        Message::Ping {
            digest: 2,
            subscribe: true,
            joined: true,
            gone: Some(6),
        },
        Message::Ask { target, nonce: 8 },
        Message::Tell {
            target,
            nonce: 8,
            udp: false,
            kernel: true,
        },
        Message::Dead(Death {
            member: target,
            boot: 5,
            inc: 1,
            verdict: Verdict::Stalled,
        }),
        Message::Stale { boot: 99 },
        Message::Records(vec![
            entry(),
            Entry {
                links: Vec::new(),
                claims: Vec::new(),
                ..entry()
            },
        ]),
        Message::Sync {
            answer: false,
            joined: true,
            buckets,
        },
        Message::Give(vec![(vip, 4)]),
        Message::Refuse(vec![vip]),
        Message::Yield(vec![vip, "fd00::1".parse().unwrap()]),
        Message::Offer(vec![
            Offer {
                vip,
                epoch: 4,
                others_cannot: false,
            },
            Offer {
                vip: "fd00::1".parse().unwrap(),
                epoch: 5,
                others_cannot: true,
            },
        ]),
        Message::Decline(vec![vip]),
        // Flags that a version before reads past.
        Message::Records(vec![Entry {
            former: false,
            consents: true,
            links: Vec::new(),
            claims: vec![(
                vip,
                Claim {
                    strong: true,
                    epoch: 4,
                    rank: 0xabcd,
                    asking: true,
                },
            )],
            ..entry()
        }]),
        Message::Records(vec![Entry {
            links: ["10.9.0.12", "fd00:9::12"].map(with_prefix).into(),
            tells_subnets: true,
            claims: Vec::new(),
            ..entry()
        }]),
    ]
}

fn with_prefix(address: &str) -> LinkAddress {
    let address: IpAddr = address.parse().unwrap();
    LinkAddress {
        address,
        prefix: Some(if address.is_ipv4() { 24 } else { 64 }),
        silent: address.is_ipv4(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// All questions in a row.
fn open(
    keys: &Keys,
    destination: IpAddr,
    bytes: &[u8],
) -> Result<(Header, Message, Signature), Reason> {
    let sealed = read(bytes)?;
    let signature = sealed.verify(keys, destination)?;
    Ok((sealed.header, sealed.message()?, signature))
}

/// The first one signs, all are accepted.
fn keys(bytes: &[&[u8]]) -> Keys {
    let accepted: Vec<Key> = bytes.iter().map(|bytes| Key::new(bytes).unwrap()).collect();
    Keys {
        signs: accepted.first().cloned(),
        accepted,
        unsigned: false,
    }
}

const OLD: &[u8] = b"the old key of the cluster";
const NEW: &[u8] = b"the new key of the cluster";

/// The bytes on the wire: a change of any of them is another version of the protocol.
#[test]
fn every_kind_of_datagram_is_golden() {
    let mut lines = include_str!("golden.txt")
        .lines()
        .filter(|line| !line.starts_with('#'));
    for message in every_kind() {
        let bytes = seal(&Keys::default(), here(), &header(), &message);
        let line = format!("{} {}", message.kind(), hex(&bytes));
        assert_eq!(lines.next(), Some(line.as_str()), "{message:?}");
    }
    assert_eq!(lines.next(), None);
}

#[test]
fn the_tag_is_the_hmac_over_destination_and_datagram_cut_to_16_bytes() {
    let message = Message::Stale { boot: 99 };
    let keys = keys(&[OLD]);
    let bytes = seal(&keys, here(), &header(), &message);
    let (_, tag) = bytes.split_last_chunk::<16>().unwrap();
    // Computed with another implementation (Python's hmac), over ::ffff:192.168.64.11 in 16 bytes
    // and the golden datagram of this kind without its last 16 bytes.
    assert_eq!(hex(tag), "53a22a52410f844c0ed7f640724feb9f");
}

#[test]
fn what_was_sealed_opens_at_its_destination_only() {
    let keys = keys(&[OLD]);
    for message in every_kind() {
        let bytes = seal(&keys, here(), &header(), &message);
        let opened = open(&keys, here(), &bytes);
        assert_eq!(opened, Ok((header(), message, Signature::Valid)));
        let elsewhere = "192.168.64.12".parse().unwrap();
        assert_eq!(open(&keys, elsewhere, &bytes), Err(Reason::BadSignature));
    }
}

#[test]
fn two_keys_are_accepted_while_they_are_changed() {
    let message = Message::Stale { boot: 1 };
    let signed_old = seal(&keys(&[OLD, NEW]), here(), &header(), &message);
    let signed_new = seal(&keys(&[NEW, OLD]), here(), &header(), &message);
    for receiver in [keys(&[OLD, NEW]), keys(&[NEW, OLD])] {
        assert!(open(&receiver, here(), &signed_old).is_ok());
        assert!(open(&receiver, here(), &signed_new).is_ok());
    }
    let only_new = keys(&[NEW]);
    assert_eq!(
        open(&only_new, here(), &signed_old),
        Err(Reason::BadSignature)
    );
}

#[test]
fn a_datagram_without_a_key_is_refused_where_there_is_one() {
    let bytes = seal(
        &Keys::default(),
        here(),
        &header(),
        &Message::Stale { boot: 1 },
    );
    let receiver = keys(&[OLD]);
    assert_eq!(open(&receiver, here(), &bytes), Err(Reason::BadSignature));
}

#[test]
fn a_short_key_is_refused_and_never_shown() {
    let error = Key::new(b"short").unwrap_err();
    assert_eq!(
        error.to_string(),
        "the speakers' key has 5 bytes: give it at least 16"
    );
    assert_eq!(
        format!("{:?}", keys(&[OLD, NEW])),
        "Keys { signs: Some(Key), accepted: [Key, Key], unsigned: false }"
    );
}

#[test]
fn memberlist_and_strangers_are_told_apart() {
    let keys = Keys::default();
    // A compound message, a label, and an encrypted one of MetalLB's memberlist.
    for first in [7, 244, 1] {
        assert_eq!(open(&keys, here(), &[first; 60]), Err(Reason::MetallbPeer));
    }
    assert_eq!(
        open(&keys, here(), b"GET / HTTP/1.1\r\n\r\n"),
        Err(Reason::NotAPeer)
    );
    assert_eq!(open(&keys, here(), &[]), Err(Reason::NotAPeer));
}

#[test]
fn another_version_is_named_before_its_signature_is_looked_at() {
    let mut bytes = seal(
        &keys(&[OLD, NEW]),
        here(),
        &header(),
        &Message::Stale { boot: 1 },
    );
    bytes[2] = 2;
    assert_eq!(
        open(&keys(&[OLD, NEW]), here(), &bytes),
        Err(Reason::UnknownVersion)
    );
}

#[test]
fn the_largest_record_and_offer_fit_into_a_datagram() {
    let claim = (
        "fd00::1".parse().unwrap(),
        Claim {
            strong: true,
            epoch: 1,
            rank: 1,
            asking: false,
        },
    );
    let record = Message::Records(vec![Entry {
        links: entry().links.repeat(MAX_LINKS),
        claims: vec![claim; PARTS_OF],
        ..entry()
    }]);
    let offer = Offer {
        vip: claim.0,
        epoch: 1,
        others_cannot: true,
    };
    let offer = Message::Offer(vec![offer; VIPS_OF]);
    for message in [record, offer] {
        let len = seal(&Keys::default(), here(), &header(), &message).len();
        assert!((MAX_DATAGRAM - 25..=MAX_DATAGRAM).contains(&len), "{len}");
    }
}

#[test]
fn a_counter_is_admitted_once_and_not_when_it_is_ancient() {
    let mut window = Window::default();
    for counter in [5, 3, 4, 1_000, 6] {
        assert!(window.admit(1, counter), "{counter} is new");
        assert!(!window.admit(1, counter), "{counter} was seen");
    }
    assert!(window.admit(1, 1_500));
    assert!(!window.admit(1, 1_500 - 1_024), "older than the window");
    assert!(window.admit(1, 1_500 - 1_023));
    assert!(window.admit(2, 5), "another boot counts anew");
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..1_300)) {
        let _refused = open(&Keys::default(), here(), &bytes);
    }

    #[test]
    fn no_damage_to_a_datagram_panics(
        index in 0_usize..14,
        at in 0_usize..1_200,
        byte in any::<u8>(),
        cut in 0_usize..1_200,
    ) {
        let mut bytes = seal(&Keys::default(), here(), &header(), &every_kind()[index]);
        let len = bytes.len();
        bytes[at % len] = byte;
        bytes.truncate(len - cut % len);
        let _maybe = open(&Keys::default(), here(), &bytes);
    }

    #[test]
    fn with_a_key_no_damage_is_accepted(
        index in 0_usize..14,
        at in 0_usize..1_200,
        flip in 1_u8..=255,
    ) {
        let keys = keys(&[OLD]);
        let mut bytes = seal(&keys, here(), &header(), &every_kind()[index]);
        let len = bytes.len();
        bytes[at % len] ^= flip;
        prop_assert!(open(&keys, here(), &bytes).is_err());
    }

    /// The window against the plain rule: a set of all counters seen.
    #[test]
    fn the_window_is_as_strict_as_a_set(
        counters in proptest::collection::vec(0_u64..3_000, 1..300),
    ) {
        let (mut window, mut seen, mut newest) = (Window::default(), std::collections::BTreeSet::new(), None);
        for counter in counters {
            let is_recent = newest.is_none_or(|newest| counter + 1_024 > newest);
            let expected = is_recent && seen.insert(counter);
            newest = newest.max(Some(counter));
            prop_assert_eq!(window.admit(1, counter), expected);
        }
    }
}
