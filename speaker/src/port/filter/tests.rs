//! The programs run in the kernel: on a pair of local sockets, which need no rights.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::net::UnixDatagram;

use ferrolb_core::wire::{Message, announcement, probe};
use socket2::SockRef;

use super::*;

const OWN: MacAddr = MacAddr(0x02, 0, 0, 0, 0, 0x0b);
const OTHER: MacAddr = MacAddr(0x02, 0, 0, 0, 0, 0x64);

/// A program, attached.
struct Attached {
    sender: UnixDatagram,
    receiver: UnixDatagram,
}

impl Attached {
    fn new(program: &[SockFilter]) -> Self {
        let (sender, receiver) = UnixDatagram::pair().unwrap();
        receiver.set_nonblocking(true).unwrap();
        SockRef::from(&receiver).attach_filter(program).unwrap();
        Self { sender, receiver }
    }

    fn of(addresses: &[IpAddr], most: usize) -> Self {
        let words = addresses.iter().map(|address| word(*address)).collect();
        Self::new(&program(Family::of(addresses[0]), OWN, &words, most))
    }

    fn accepts(&self, frame: &[u8]) -> bool {
        self.sender.send(frame).unwrap();
        let mut buffer = [0; 256];
        self.receiver.recv(&mut buffer).is_ok()
    }
}

fn v4(last: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(0xc0a8_0000 + last))
}

fn v6(last: u32) -> IpAddr {
    IpAddr::V6(Ipv6Addr::from_bits(0xfd00 << 112 | u128::from(last)))
}

const FAMILIES: [fn(u32) -> IpAddr; 2] = [v4, v6];

#[test]
fn questions_and_claims_about_an_announced_address_come_in_and_nothing_else() {
    for address in FAMILIES {
        let (vip, foreign) = (address(200), address(201));
        let filter = Attached::of(&[vip], MOST_RANGES);
        let question = probe(vip, OTHER);
        let answer = |to: IpAddr| {
            let asked = Message::parse(probe(to, OWN).as_bytes()).unwrap();
            asked.reply(OTHER)
        };
        let announced = |vip| announcement(vip, OTHER).collect::<Vec<_>>();
        assert!(filter.accepts(question.as_bytes()));
        assert!(filter.accepts(answer(vip).as_bytes()));
        assert!(
            announced(vip)
                .iter()
                .all(|it| filter.accepts(it.as_bytes()))
        );
        assert!(!filter.accepts(probe(foreign, OTHER).as_bytes()));
        assert!(!filter.accepts(answer(foreign).as_bytes()));
        assert!(
            !announced(foreign)
                .iter()
                .any(|it| filter.accepts(it.as_bytes()))
        );
        // Our own.
        assert!(!filter.accepts(probe(vip, OWN).as_bytes()));
        // Only the last 4 bytes, or only the first 2, are ours.
        for mac in [MacAddr(4, 0, 0, 0, 0, 0x0b), MacAddr(2, 0, 0, 0, 1, 0x0b)] {
            assert!(filter.accepts(probe(vip, mac).as_bytes()));
        }
        // Cut short, and of another kind.
        assert!(!filter.accepts(&question.as_bytes()[..40]));
        let mut other = question.as_bytes().to_vec();
        other[12] ^= 0x40;
        assert!(!filter.accepts(&other));
    }
}

#[test]
fn a_host_that_uses_an_announced_ipv4_address_is_heard_whatever_it_asks_for() {
    let filter = Attached::of(&[v4(200)], MOST_RANGES);
    let mut frame = probe(v4(7), OTHER).as_bytes().to_vec();
    frame[28..32].copy_from_slice(&word(v4(200)).to_be_bytes());
    assert!(filter.accepts(&frame));
}

#[test]
fn who_announces_nothing_hears_nothing() {
    for (family, vip) in [(Family::V4, v4(1)), (Family::V6, v6(1))] {
        let filter = Attached::new(&program(family, OWN, &BTreeSet::new(), MOST_RANGES));
        assert!(!filter.accepts(probe(vip, OTHER).as_bytes()));
    }
}

/// Addresses as far apart as a hash of their names scatters them over the nodes.
fn scattered(count: u32) -> Vec<u32> {
    (0..count).map(|n| n * 3 + n % 7 % 2).collect()
}

#[test]
fn as_many_addresses_as_fit_are_told_apart_exactly() {
    for address in FAMILIES {
        let ours = scattered(330);
        let addresses: Vec<_> = ours.iter().map(|last| address(*last)).collect();
        let filter = Attached::of(&addresses, MOST_RANGES);
        for last in 0..1_000 {
            let accepted = filter.accepts(probe(address(last), OTHER).as_bytes());
            assert_eq!(accepted, ours.contains(&last), "{}", address(last));
        }
    }
}

#[test]
fn of_more_addresses_none_is_missed_and_only_gaps_between_them_come_in_as_well() {
    for address in FAMILIES {
        let mut ours = scattered(10_000);
        // A pool far away.
        ours.push(1_000_000);
        let addresses: Vec<_> = ours.iter().map(|last| address(*last)).collect();
        let filter = Attached::of(&addresses, MOST_RANGES);
        for last in &ours {
            let question = probe(address(*last), OTHER);
            assert!(filter.accepts(question.as_bytes()), "{last}");
        }
        for last in [31_000, 500_000, 999_999, 1_000_001] {
            assert!(!filter.accepts(probe(address(last), OTHER).as_bytes()));
        }
    }
}

#[test]
fn neighbouring_addresses_take_one_range_however_many() {
    let words: BTreeSet<u32> = (1_000..11_000).chain([20_000]).collect();
    assert_eq!(ranges(&words, 10), [(1_000, 10_999), (20_000, 20_000)]);
    assert_eq!(ranges(&words, 1), [(1_000, 20_000)]);
    let edges = [0, u32::MAX].into();
    assert_eq!(ranges(&edges, 10), [(0, 0), (u32::MAX, u32::MAX)]);
}

#[test]
fn no_program_is_longer_than_the_kernel_takes() {
    let words: BTreeSet<u32> = (0..100_000).map(|n| n * 2).collect();
    for family in [Family::V4, Family::V6] {
        let program = program(family, OWN, &words, MOST_RANGES);
        assert!(program.len() <= 4_096, "{}", program.len());
    }
    // Ranges of more than one address need one instruction more.
    let pairs: BTreeSet<u32> = (0..100_000).filter(|n| n % 4 < 2).collect();
    let program = program(Family::V4, OWN, &pairs, MOST_RANGES);
    assert!(program.len() <= 4_096, "{}", program.len());
}
