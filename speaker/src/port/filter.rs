//! The program that the kernel runs on each frame before it wakes this process.

use ferrolb_core::wire::MacAddr;
use socket2::SockFilter;

use super::MAX_FRAME;

// Classic BPF (linux/bpf_common.h): load word, half word or byte at an absolute offset, jump if
// equal to a constant, return a constant.
const LOAD_WORD: u16 = 0x20;
const LOAD_HALF: u16 = 0x28;
const LOAD_BYTE: u16 = 0x30;
const JUMP_IF_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;

// `SKF_AD_OFF + SKF_AD_PKTTYPE`: to whom the frame is addressed, instead of a byte of it.
const PACKET_TYPE: u32 = 0xffff_f004;
const PACKET_OTHERHOST: u32 = 3;

const ETHERNET_SOURCE: u32 = 6;
const ETHERTYPE: u32 = 12;
const ARP: u32 = 0x0806;
const ARP_OPERATION: u32 = 20;
const REQUEST: u32 = 1;
const REPLY: u32 = 2;

/// Accepts ARP requests that other stations send to everybody or to this one. The kernel marks a
/// frame of a VLAN that no link is in as another host's, so those stay out, too.
pub(super) fn arp_requests(own: MacAddr) -> [SockFilter; 12] {
    let [a, b, c, d, e, f] = own.octets();
    let (high, low) = (
        u32::from_be_bytes([a, b, c, d]),
        u32::from(u16::from_be_bytes([e, f])),
    );
    let load = |code, offset| SockFilter::new(code, 0, 0, offset);
    // Instructions to skip if equal, and if not: `REJECT` is the last but one, at index 10.
    let jump = |value, equal, differs| SockFilter::new(JUMP_IF_EQUAL, equal, differs, value);
    [
        load(LOAD_BYTE, PACKET_TYPE),
        jump(PACKET_OTHERHOST, 8, 0),
        load(LOAD_HALF, ETHERTYPE),
        jump(ARP, 0, 6),
        load(LOAD_HALF, ARP_OPERATION),
        jump(REQUEST, 0, 4),
        load(LOAD_WORD, ETHERNET_SOURCE),
        jump(high, 0, 3),
        load(LOAD_HALF, ETHERNET_SOURCE + 4),
        jump(low, 0, 1),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, MAX_FRAME as u32),
    ]
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
        SockFilter::new(JUMP_IF_EQUAL, 1, 0, REPLY),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, MAX_FRAME as u32),
    ]
}
