//! The bytes are written by hand after RFC 4861 §4 and RFC 2464; the checksums come from a sum that
//! is not ours. What Linux sends and answers is in `core/tests/frames`.

use proptest::prelude::*;

use super::*;

const OURS: MacAddr = MacAddr(0x02, 0, 0, 0, 0, 0x0b);
const THEIRS: MacAddr = MacAddr(0x02, 0, 0, 0, 0, 0x64);
const VIP: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x64, 0, 0, 0, 0, 0, 0x200);
const CLIENT: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x64, 0, 0, 0, 0, 0, 0x100);

const QUESTION: &str = "33 33 ff 00 02 00 02 00 00 00 00 64 86 dd \
    60 00 00 00 00 20 3a ff \
    fd 00 00 64 00 00 00 00 00 00 00 00 00 00 01 00 \
    ff 02 00 00 00 00 00 00 00 00 00 01 ff 00 02 00 \
    87 00 77 71 00 00 00 00 \
    fd 00 00 64 00 00 00 00 00 00 00 00 00 00 02 00 \
    01 01 02 00 00 00 00 64";

const PROBE: &str = "33 33 ff 00 02 00 02 00 00 00 00 0b 86 dd \
    60 00 00 00 00 18 3a ff \
    00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 \
    ff 02 00 00 00 00 00 00 00 00 00 01 ff 00 02 00 \
    87 00 79 43 00 00 00 00 \
    fd 00 00 64 00 00 00 00 00 00 00 00 00 00 02 00";

const UNSOLICITED: &str = "33 33 00 00 00 01 02 00 00 00 00 0b 86 dd \
    60 00 00 00 00 20 3a ff \
    fd 00 00 64 00 00 00 00 00 00 00 00 00 00 02 00 \
    ff 02 00 00 00 00 00 00 00 00 00 00 00 00 00 01 \
    88 00 55 cb 20 00 00 00 \
    fd 00 00 64 00 00 00 00 00 00 00 00 00 00 02 00 \
    02 01 02 00 00 00 00 0b";

const ANSWER: &str = "02 00 00 00 00 64 02 00 00 00 00 0b 86 dd \
    60 00 00 00 00 20 3a ff \
    fd 00 00 64 00 00 00 00 00 00 00 00 00 00 02 00 \
    fd 00 00 64 00 00 00 00 00 00 00 00 00 00 01 00 \
    88 00 16 6a 60 00 00 00 \
    fd 00 00 64 00 00 00 00 00 00 00 00 00 00 02 00 \
    02 01 02 00 00 00 00 0b";

/// Bytes from hex, blanks between them.
fn bytes(hex: &str) -> Vec<u8> {
    hex.split_whitespace()
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect()
}

fn read(frame: &[u8]) -> Result<Repr, Reason> {
    Repr::parse(&frame[ethernet::HEADER_LEN..])
}

/// The packet of `hex` after `change`, its checksum right again.
fn changed(hex: &str, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut frame = bytes(hex);
    change(&mut frame);
    let message = ethernet::HEADER_LEN + IP_HEADER_LEN;
    let length = frame.len() - message;
    frame[18..20].copy_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
    let ip = Ipv6Packet::new(&frame[ethernet::HEADER_LEN..]).unwrap();
    let (source, destination) = (ip.get_source(), ip.get_destination());
    let icmp = Icmpv6Packet::new(&frame[message..]).unwrap();
    let sum = icmpv6::checksum(&icmp, &source, &destination);
    frame[message + 2..message + 4].copy_from_slice(&sum.to_be_bytes());
    frame
}

#[test]
fn an_unsolicited_advertisement_goes_to_all_nodes_with_override_and_our_hardware_address() {
    let packet = Repr::unsolicited(OURS, VIP);
    let frame = packet.emit(OURS, group_mac(packet.destination));
    assert_eq!(frame.as_bytes(), bytes(UNSOLICITED));
    assert_eq!(read(frame.as_bytes()), Ok(packet));
}

#[test]
fn a_probe_comes_from_the_unspecified_address_without_an_option() {
    let packet = Repr::probe(VIP);
    let frame = packet.emit(OURS, group_mac(packet.destination));
    assert_eq!(frame.as_bytes(), bytes(PROBE));
    assert_eq!(read(frame.as_bytes()), Ok(packet));
}

#[test]
fn a_question_is_answered_to_the_asker_with_solicited_and_override() {
    let question = read(&bytes(QUESTION)).unwrap();
    assert_eq!((question.source, question.target), (CLIENT, VIP));
    let body = Body::Solicitation {
        source_link_layer: Some(THEIRS),
    };
    assert_eq!(question.body, body);
    let frame = question.reply(OURS).emit(OURS, THEIRS);
    assert_eq!(frame.as_bytes(), bytes(ANSWER));
}

#[test]
fn a_probe_is_answered_to_all_nodes_without_solicited() {
    let probe = read(&bytes(PROBE)).unwrap();
    let reply = probe.reply(OURS);
    let frame = reply.emit(OURS, group_mac(reply.destination));
    assert_eq!(frame.as_bytes(), bytes(UNSOLICITED));
}

#[test]
fn what_is_against_the_rules_is_refused_with_its_reason() {
    type Change = fn(&mut Vec<u8>);
    let rows: [(&str, &str, Change, Reason); 14] = [
        (
            "IPv4's version",
            QUESTION,
            |frame| frame[14] = 0x45,
            Reason::NotNeighbourDiscovery,
        ),
        (
            "UDP",
            QUESTION,
            |frame| frame[20] = 17,
            Reason::NotNeighbourDiscovery,
        ),
        (
            "a router solicitation",
            QUESTION,
            |frame| frame[54] = 133,
            Reason::NotNeighbourDiscovery,
        ),
        (
            "hop limit 254",
            QUESTION,
            |frame| frame[21] = 254,
            Reason::ForwardedNeighbourDiscovery,
        ),
        (
            "code 1",
            QUESTION,
            |frame| frame[55] = 1,
            Reason::InvalidNeighbourDiscovery,
        ),
        (
            "a group as its target",
            QUESTION,
            |frame| frame[62] = 0xff,
            Reason::InvalidNeighbourDiscovery,
        ),
        (
            "an option without length",
            QUESTION,
            |frame| frame[79] = 0,
            Reason::InvalidNeighbourDiscovery,
        ),
        (
            "an option longer than the packet",
            QUESTION,
            |frame| frame[79] = 2,
            Reason::InvalidNeighbourDiscovery,
        ),
        (
            "an option of 8 × 32 bytes, which overflows a u8",
            QUESTION,
            |frame| frame[79] = 32,
            Reason::InvalidNeighbourDiscovery,
        ),
        (
            "a byte behind the options",
            QUESTION,
            |frame| frame.push(1),
            Reason::InvalidNeighbourDiscovery,
        ),
        (
            "a probe to all nodes",
            PROBE,
            |frame| frame[38..54].copy_from_slice(&ALL_NODES.octets()),
            Reason::InvalidNeighbourDiscovery,
        ),
        (
            "a probe with a hardware address",
            PROBE,
            |frame| frame.extend([1, 1, 2, 0, 0, 0, 0, 0x0b]),
            Reason::InvalidNeighbourDiscovery,
        ),
        (
            "an answer to all that says solicited",
            UNSOLICITED,
            |frame| frame[58] = 0x60,
            Reason::InvalidNeighbourDiscovery,
        ),
        (
            "no room for the target",
            PROBE,
            |frame| frame.truncate(77),
            Reason::Truncated,
        ),
    ];
    for (what, hex, change, reason) in rows {
        assert_eq!(read(&changed(hex, change)), Err(reason), "{what}");
    }
    let mut frame = bytes(QUESTION);
    frame[56] ^= 1;
    assert_eq!(read(&frame), Err(Reason::BadChecksum));
}

#[test]
fn other_options_and_padding_are_passed_over() {
    // A nonce (RFC 3971), as Linux' enhanced duplicate address detection sends it.
    let nonce = [14, 1, 1, 2, 3, 4, 5, 6];
    let frame = changed(PROBE, |frame| frame.extend(nonce));
    assert_eq!(read(&frame), Ok(Repr::probe(VIP)));
    let mut padded = bytes(QUESTION);
    padded.extend([0xee; 10]);
    assert_eq!(read(&padded), read(&bytes(QUESTION)));
}

#[test]
fn every_shorter_packet_is_truncated() {
    let frame = bytes(QUESTION);
    for length in ethernet::HEADER_LEN..frame.len() {
        assert_eq!(read(&frame[..length]), Err(Reason::Truncated), "{length}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_parser_panic(
        keep in 0_usize..73, tail in proptest::collection::vec(any::<u8>(), 0..400),
    ) {
        let mut packet = bytes(QUESTION)[ethernet::HEADER_LEN..][..keep.min(72)].to_vec();
        packet.extend(tail);
        let _ = Repr::parse(&packet);
        // Past the checksum, too: with a length and a sum that fit.
        if packet.len() > IP_HEADER_LEN + 4 {
            let frame = [vec![0; ethernet::HEADER_LEN], packet].concat();
            let hex: Vec<_> = frame.iter().map(|byte| format!("{byte:02x}")).collect();
            let _ = read(&changed(&hex.join(" "), |_| {}));
        }
    }

    #[test]
    fn what_is_written_is_read_again(
        solicits in any::<bool>(), macs in any::<[[u8; 6]; 2]>(), addresses in any::<[u128; 3]>(),
        option in any::<bool>(), byte in any::<u8>(),
    ) {
        let [source, destination, target] = addresses.map(Ipv6Addr::from);
        let mac = option.then_some(MacAddr::from(macs[0]));
        let body = if solicits {
            Body::Solicitation { source_link_layer: mac }
        } else {
            Body::Advertisement { flags: Flags::parse(byte), target_link_layer: mac }
        };
        let repr = Repr { source, destination, target, body };
        let frame = repr.emit(macs[0].into(), macs[1].into());
        let read = read(frame.as_bytes());
        if repr.is_valid() {
            prop_assert_eq!(read, Ok(repr));
        } else {
            prop_assert_eq!(read, Err(Reason::InvalidNeighbourDiscovery));
        }
    }
}
