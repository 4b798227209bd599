use proptest::prelude::*;

use super::*;

const OURS: MacAddr = MacAddr(0x02, 0, 0, 0, 0, 0x0a);
const THEIRS: MacAddr = MacAddr(0x02, 0, 0, 0, 0, 0x64);
const VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 64, 200);
const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 168, 64, 100);

fn request() -> Repr {
    Repr {
        operation: Operation::Request,
        sender_hardware: THEIRS,
        sender_protocol: CLIENT,
        target_hardware: MacAddr::zero(),
        target_protocol: VIP,
    }
}

/// Bytes from lines of hex, blanks between them.
fn bytes(hex: &str) -> Vec<u8> {
    hex.split_whitespace()
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect()
}

#[test]
fn a_gratuitous_request_names_the_address_twice_and_our_hardware_address_twice() {
    let frame = Repr::gratuitous(Operation::Request, OURS, VIP).emit(MacAddr::broadcast());
    let want = "ff ff ff ff ff ff 02 00 00 00 00 0a 08 06 \
                00 01 08 00 06 04 00 01 \
                02 00 00 00 00 0a c0 a8 40 c8 \
                02 00 00 00 00 0a c0 a8 40 c8";
    assert_eq!(frame.as_bytes(), bytes(want));
}

#[test]
fn a_gratuitous_reply_has_the_senders_hardware_address_as_target() {
    let frame = Repr::gratuitous(Operation::Reply, OURS, VIP).emit(MacAddr::broadcast());
    let want = "ff ff ff ff ff ff 02 00 00 00 00 0a 08 06 \
                00 01 08 00 06 04 00 02 \
                02 00 00 00 00 0a c0 a8 40 c8 \
                02 00 00 00 00 0a c0 a8 40 c8";
    assert_eq!(frame.as_bytes(), bytes(want));
}

#[test]
fn a_reply_goes_to_the_asker_alone() {
    let frame = request().reply(OURS).emit(THEIRS);
    let want = "02 00 00 00 00 64 02 00 00 00 00 0a 08 06 \
                00 01 08 00 06 04 00 02 \
                02 00 00 00 00 0a c0 a8 40 c8 \
                02 00 00 00 00 64 c0 a8 40 64";
    assert_eq!(frame.as_bytes(), bytes(want));
}

#[test]
fn a_probe_of_ours_tells_no_neighbour_anything() {
    let frame = Repr::probe(OURS, VIP).emit(MacAddr::broadcast());
    let want = "ff ff ff ff ff ff 02 00 00 00 00 0a 08 06 \
                00 01 08 00 06 04 00 01 \
                02 00 00 00 00 0a 00 00 00 00 \
                00 00 00 00 00 00 c0 a8 40 c8";
    assert_eq!(frame.as_bytes(), bytes(want));
}

#[test]
fn a_probe_is_answered_with_the_unspecified_address_as_target() {
    let probe = Repr {
        sender_protocol: Ipv4Addr::UNSPECIFIED,
        ..request()
    };
    let frame = probe.reply(OURS).emit(THEIRS);
    let want = "02 00 00 00 00 64 02 00 00 00 00 0a 08 06 \
                00 01 08 00 06 04 00 02 \
                02 00 00 00 00 0a c0 a8 40 c8 \
                02 00 00 00 00 64 00 00 00 00";
    assert_eq!(frame.as_bytes(), bytes(want));
}

#[test]
fn padding_behind_the_packet_is_ignored() {
    let mut frame = request().emit(MacAddr::broadcast()).as_bytes().to_vec();
    frame.resize(60, 0xee);
    let (_, payload) = ethernet::Repr::parse(&frame).unwrap();
    assert_eq!(Repr::parse(payload), Ok(request()));
}

#[test]
fn what_is_not_arp_for_ipv4_on_ethernet_is_refused_with_its_reason() {
    let rows: [(&str, usize, u8, Reason); 7] = [
        ("hardware type", 1, 6, Reason::NotEthernetIpv4),
        ("protocol type", 2, 0x86, Reason::NotEthernetIpv4),
        ("hardware length", 4, 8, Reason::NotEthernetIpv4),
        ("protocol length", 5, 16, Reason::NotEthernetIpv4),
        ("operation 0", 7, 0, Reason::UnknownOperation),
        ("RARP request", 7, 3, Reason::UnknownOperation),
        ("operation 257", 6, 1, Reason::UnknownOperation),
    ];
    for (what, offset, value, reason) in rows {
        let mut frame = request().emit(MacAddr::broadcast()).as_bytes().to_vec();
        frame[ethernet::HEADER_LEN + offset] = value;
        assert_eq!(
            Repr::parse(&frame[ethernet::HEADER_LEN..]),
            Err(reason),
            "{what}"
        );
    }
}

#[test]
fn every_shorter_packet_is_truncated() {
    let frame = request().emit(MacAddr::broadcast());
    let packet = &frame.as_bytes()[ethernet::HEADER_LEN..];
    for length in 0..PACKET_LEN {
        assert_eq!(
            Repr::parse(&packet[..length]),
            Err(Reason::Truncated),
            "{length} bytes"
        );
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_parsers_panic(frame in proptest::collection::vec(any::<u8>(), 0..128)) {
        if let Ok((_, payload)) = ethernet::Repr::parse(&frame) {
            let _ = Repr::parse(payload);
        }
        let _ = Repr::parse(&frame);
    }

    #[test]
    fn what_is_written_is_read_again(
        reply in any::<bool>(), macs in any::<[[u8; 6]; 2]>(), addresses in any::<[[u8; 4]; 2]>(),
    ) {
        let repr = Repr {
            operation: if reply { Operation::Reply } else { Operation::Request },
            sender_hardware: macs[0].into(),
            sender_protocol: addresses[0].into(),
            target_hardware: macs[1].into(),
            target_protocol: addresses[1].into(),
        };
        let frame = repr.emit(macs[1].into());
        let (header, payload) = ethernet::Repr::parse(frame.as_bytes()).unwrap();
        prop_assert_eq!(header.destination, repr.target_hardware);
        prop_assert_eq!(header.source, repr.sender_hardware);
        prop_assert_eq!(Repr::parse(payload).unwrap(), repr);
    }
}
