//! The program that the kernel runs on each frame before it wakes this process.
//!
//! It lets in what asks for an address that this node announces, and what another station says about
//! one. A speaker that owns nothing of the sort sleeps through every broadcast of the LAN.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ferrolb_core::address::Family;
use ferrolb_core::wire::MacAddr;
use socket2::SockFilter;

use super::MAX_FRAME;

// Classic BPF (linux/bpf_common.h): load word, half word or byte at an absolute offset; jump always,
// if equal to a constant, if greater or equal, if greater; return a constant.
const LOAD_WORD: u16 = 0x20;
const LOAD_HALF: u16 = 0x28;
const LOAD_BYTE: u16 = 0x30;
const JUMP: u16 = 0x05;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_GREATER: u16 = 0x25;
const JUMP_IF_NOT_LESS: u16 = 0x35;
const RETURN: u16 = 0x06;

// `SKF_AD_OFF + SKF_AD_PKTTYPE`: to whom the frame is addressed, instead of a byte of it.
const PACKET_TYPE: u32 = 0xffff_f004;
const PACKET_OTHERHOST: u32 = 3;

// `SKF_NET_OFF`: offsets from the IP header, where a UDP socket's begin with the UDP header.
const NETWORK_HEADER: u32 = 0xfff0_0000;
/// The first byte of an IPv6 header is at least this, that of IPv4 less.
const IPV6_VERSION: u32 = 0x60;
const IPV4_SOURCE: u32 = 12;
/// The last 4 bytes of the source.
const IPV6_SOURCE_END: u32 = 20;

const ETHERNET_DESTINATION: u32 = 0;
const ETHERNET_SOURCE: u32 = 6;
const ETHERTYPE: u32 = 12;

const ARP: u32 = 0x0806;
const ARP_OPERATION: u32 = 20;
const ARP_REQUEST: u32 = 1;
const ARP_SENDER: u32 = 28;
const ARP_TARGET: u32 = 38;
const ARP_REPLY: u32 = 2;

const IPV6: u32 = 0x86dd;
const IPV6_NEXT_HEADER: u32 = 20;
const ICMPV6: u32 = 58;
const ICMPV6_TYPE: u32 = 54;
const SOLICITATION: u32 = 135;
const ADVERTISEMENT: u32 = 136;
/// The last 4 bytes of the target, in a solicitation and in an advertisement.
const ND_TARGET_END: u32 = 74;

/// Ranges that fit into the 4,096 instructions of a program (`BPF_MAXINSNS`): ARP's searches twice,
/// with at most 6 instructions for each range.
pub(super) const MOST_RANGES: usize = 330;

/// What a program compares of an address: IPv4's 4 bytes, the last 4 of IPv6's 16. The rest is
/// compared in the announcer.
pub(super) fn word(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(address) => address.to_bits(),
        IpAddr::V6(address) => address.to_bits() as u32,
    }
}

/// Accepts frames of one family that concern the addresses with these `words`, from stations other
/// than `own`, to everybody or to this one. It is exact while `words` make up at most `most` ranges;
/// beyond, the smallest gaps between them count as ours, too.
///
/// The kernel marks a frame of a VLAN that no link is in as another host's, so those stay out.
pub(super) fn program(
    family: Family,
    own: MacAddr,
    words: &BTreeSet<u32>,
    most: usize,
) -> Vec<SockFilter> {
    let mut program = Program::new(MAX_FRAME as u32);
    program.load(LOAD_BYTE, PACKET_TYPE);
    program.reject_if_equal(PACKET_OTHERHOST);
    program.load(LOAD_WORD, ETHERNET_SOURCE + 2);
    let [a, b, c, d, e, f] = own.octets();
    // Its last 4 bytes, then, only if they are ours, the first 2.
    program.push(JUMP_IF_EQUAL, 0, 3, u32::from_be_bytes([c, d, e, f]));
    program.load(LOAD_HALF, ETHERNET_SOURCE);
    program.reject_if_equal(u16::from_be_bytes([a, b]).into());
    let ranges = ranges(words, most);
    program.load(LOAD_HALF, ETHERTYPE);
    match family {
        Family::V4 => {
            program.reject_unless_equal(ARP);
            program.load(LOAD_WORD, ARP_SENDER);
            program.search(&ranges, OnMiss::GoOn);
            program.load(LOAD_HALF, ARP_OPERATION);
            program.reject_unless_equal(ARP_REQUEST);
            program.load(LOAD_WORD, ARP_TARGET);
        }
        Family::V6 => {
            program.reject_unless_equal(IPV6);
            program.load(LOAD_BYTE, IPV6_NEXT_HEADER);
            program.reject_unless_equal(ICMPV6);
            program.load(LOAD_BYTE, ICMPV6_TYPE);
            program.push(JUMP_IF_EQUAL, 2, 0, SOLICITATION);
            program.reject_unless_equal(ADVERTISEMENT);
            program.load(LOAD_WORD, ND_TARGET_END);
        }
    }
    program.search(&ranges, OnMiss::Reject);
    program.0
}

/// Accepts what may answer `asker`, which no station's address is: the kernel takes such frames for
/// another host's.
pub(super) fn answers_to(asker: MacAddr, family: Family) -> Vec<SockFilter> {
    let mut program = Program::new(MAX_FRAME as u32);
    let [a, b, c, d, e, f] = asker.octets();
    program.load(LOAD_HALF, ETHERNET_DESTINATION);
    program.reject_unless_equal(u16::from_be_bytes([a, b]).into());
    program.load(LOAD_WORD, ETHERNET_DESTINATION + 2);
    program.reject_unless_equal(u32::from_be_bytes([c, d, e, f]));
    program.load(LOAD_HALF, ETHERTYPE);
    match family {
        Family::V4 => program.reject_unless_equal(ARP),
        Family::V6 => {
            program.reject_unless_equal(IPV6);
            program.load(LOAD_BYTE, IPV6_NEXT_HEADER);
            program.reject_unless_equal(ICMPV6);
            program.load(LOAD_BYTE, ICMPV6_TYPE);
            program.reject_unless_equal(ADVERTISEMENT);
        }
    }
    program.accept();
    program.0
}

/// Accepts ARP replies to this station alone.
pub(super) fn arp_replies() -> [SockFilter; 8] {
    const TO_THIS_HOST: u32 = 0;
    [
        SockFilter::new(LOAD_BYTE, 0, 0, PACKET_TYPE),
        SockFilter::new(JUMP_IF_EQUAL, 0, 4, TO_THIS_HOST),
        SockFilter::new(LOAD_HALF, 0, 0, ETHERTYPE),
        SockFilter::new(JUMP_IF_EQUAL, 0, 2, ARP),
        SockFilter::new(LOAD_HALF, 0, 0, ARP_OPERATION),
        SockFilter::new(JUMP_IF_EQUAL, 1, 0, ARP_REPLY),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, MAX_FRAME as u32),
    ]
}

/// For a UDP socket: accepts what comes from these addresses, of IPv6's by their last 4 bytes.
pub(super) fn from_sources(sources: &BTreeSet<IpAddr>) -> Vec<SockFilter> {
    let ranges_of = |family| {
        let of_family = sources.iter().filter(|one| Family::of(**one) == family);
        ranges(&of_family.copied().map(word).collect(), MOST_RANGES)
    };
    let mut program = Program::new(u32::MAX);
    program.load(LOAD_BYTE, NETWORK_HEADER);
    let over_ipv4 = program.0.len() + 1;
    program.push(JUMP_IF_NOT_LESS, 0, 1, IPV6_VERSION);
    program.push(JUMP, 0, 0, 0);
    program.load(LOAD_WORD, NETWORK_HEADER + IPV4_SOURCE);
    program.search(&ranges_of(Family::V4), OnMiss::Reject);
    let length = program.0.len() - over_ipv4 - 1;
    program.0[over_ipv4] = SockFilter::new(JUMP, 0, 0, length as u32);
    program.load(LOAD_WORD, NETWORK_HEADER + IPV6_SOURCE_END);
    program.search(&ranges_of(Family::V6), OnMiss::Reject);
    program.0
}

/// Consecutive words as closed ranges, at most `most` of them.
fn ranges(words: &BTreeSet<u32>, most: usize) -> Vec<(u32, u32)> {
    let mut gaps: Vec<_> = words
        .iter()
        .zip(words.iter().skip(1))
        .map(|(below, above)| (above - below, *above))
        .filter(|(gap, _)| *gap > 1)
        .collect();
    // The widest first.
    gaps.sort_unstable_by(|one, other| other.cmp(one));
    gaps.truncate(most.saturating_sub(1));
    let starts: BTreeSet<_> = gaps.into_iter().map(|(_, start)| start).collect();
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for word in words {
        match ranges.last_mut() {
            Some((_, end)) if !starts.contains(word) => *end = *word,
            _ => ranges.push((*word, *word)),
        }
    }
    ranges
}

/// What becomes of a word that is in no range.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OnMiss {
    Reject,
    /// The instruction after the search is next.
    GoOn,
}

/// Instructions that are written one after the other. Jumps count from the next instruction.
struct Program(Vec<SockFilter>, u32);

impl Program {
    /// Of what it accepts so many bytes are read.
    const fn new(accepted: u32) -> Self {
        Self(Vec::new(), accepted)
    }

    fn push(&mut self, code: u16, if_true: u8, if_false: u8, constant: u32) {
        self.0
            .push(SockFilter::new(code, if_true, if_false, constant));
    }

    fn load(&mut self, code: u16, offset: u32) {
        self.push(code, 0, 0, offset);
    }

    fn accept(&mut self) {
        self.push(RETURN, 0, 0, self.1);
    }

    fn reject(&mut self) {
        self.push(RETURN, 0, 0, 0);
    }

    fn reject_if_equal(&mut self, constant: u32) {
        self.push(JUMP_IF_EQUAL, 0, 1, constant);
        self.reject();
    }

    fn reject_unless_equal(&mut self, constant: u32) {
        self.push(JUMP_IF_EQUAL, 1, 0, constant);
        self.reject();
    }

    /// Accepts if the loaded word is in one of the ranges, by binary search.
    fn search(&mut self, ranges: &[(u32, u32)], on_miss: OnMiss) {
        // Jumps to the end, whose place is known afterwards.
        let mut misses = Vec::new();
        self.search_in(ranges, on_miss, &mut misses);
        let end = self.0.len();
        for miss in misses {
            self.0[miss] = SockFilter::new(JUMP, 0, 0, (end - miss - 1) as u32);
        }
    }

    fn search_in(&mut self, ranges: &[(u32, u32)], on_miss: OnMiss, misses: &mut Vec<usize>) {
        match *ranges {
            [] => self.miss(on_miss, misses),
            [(first, last)] if first == last => {
                self.push(JUMP_IF_EQUAL, 0, 1, first);
                self.accept();
                self.miss(on_miss, misses);
            }
            [(first, last)] => {
                self.push(JUMP_IF_NOT_LESS, 0, 2, first);
                self.push(JUMP_IF_GREATER, 1, 0, last);
                self.accept();
                self.miss(on_miss, misses);
            }
            _ => {
                let (lower, upper) = ranges.split_at(ranges.len() / 2);
                let pivot = upper.first().map_or(0, |(first, _)| *first);
                // Its own jump reaches 255 instructions, this one all.
                let over_lower = self.0.len() + 1;
                self.push(JUMP_IF_NOT_LESS, 0, 1, pivot);
                self.push(JUMP, 0, 0, 0);
                self.search_in(lower, on_miss, misses);
                let length = self.0.len() - over_lower - 1;
                self.0[over_lower] = SockFilter::new(JUMP, 0, 0, length as u32);
                self.search_in(upper, on_miss, misses);
            }
        }
    }

    fn miss(&mut self, on_miss: OnMiss, misses: &mut Vec<usize>) {
        if on_miss == OnMiss::GoOn {
            misses.push(self.0.len());
        }
        self.reject();
    }
}

#[cfg(test)]
mod tests;
