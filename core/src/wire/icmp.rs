//! Signs of life that any kernel gives: echo replies and port unreachable (RFC 792, RFC 4443).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::Reason;
use crate::address::Family;

/// IPv4 header without options, IPv6 header: where the transport's header begins.
const IPV6_HEADER: usize = 40;
/// Type, code, checksum and four bytes that depend on the type.
const HEADER: usize = 8;
/// `IPPROTO_UDP`
const UDP: u8 = 17;

/// An answer of another kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// To an echo request with this identifier.
    Echo {
        /// Chosen by who asked.
        identifier: u16,
    },
    /// Nobody listens on this UDP port, to which a datagram of ours went.
    PortUnreachable {
        /// Where that datagram went.
        to: IpAddr,
        /// Its destination port.
        port: u16,
    },
}

/// An echo request. The checksum of ICMPv6 is left to the kernel, which alone knows the source.
#[must_use]
pub fn echo_request(family: Family, identifier: u16, sequence: u16) -> [u8; HEADER] {
    let kind = match family {
        Family::V4 => 8,
        Family::V6 => 128,
    };
    let [i, j] = identifier.to_be_bytes();
    let [s, t] = sequence.to_be_bytes();
    let mut message = [kind, 0, 0, 0, i, j, s, t];
    if family == Family::V4 {
        [message[2], message[3]] = checksum(&message).to_be_bytes();
    }
    message
}

/// RFC 1071: the one's complement of the sum of all 16-bit words.
fn checksum(words: &[u8; HEADER]) -> u16 {
    let words = words.as_chunks::<2>().0.iter();
    let sum: u32 = words.map(|word| u32::from(u16::from_be_bytes(*word))).sum();
    !((sum & 0xffff) + (sum >> 16)) as u16
}

/// What a raw ICMP socket received: with its IP header, as Linux hands it out.
pub fn parse_v4(packet: &[u8]) -> Result<Answer, Reason> {
    let message = payload_v4(packet)?.1;
    match message.first_chunk::<HEADER>().ok_or(Reason::Truncated)? {
        [0, 0, _, _, i, j, _, _] => Ok(Answer::Echo {
            identifier: u16::from_be_bytes([*i, *j]),
        }),
        [3, 3, ..] => {
            let (header, udp) = payload_v4(&message[HEADER..])?;
            let [a, b, c, d] = [header[16], header[17], header[18], header[19]];
            unreachable(Ipv4Addr::new(a, b, c, d).into(), header[9], udp)
        }
        _ => Err(Reason::NotAnAnswer),
    }
}

/// The fixed header and what follows the whole one.
fn payload_v4(packet: &[u8]) -> Result<(&[u8; 20], &[u8]), Reason> {
    let header = packet.first_chunk::<20>().ok_or(Reason::Truncated)?;
    let length = usize::from(header[0] & 0x0f) * 4;
    let payload = packet.get(length.max(20)..).ok_or(Reason::Truncated)?;
    Ok((header, payload))
}

/// What a raw `ICMPv6` socket received: without IP header.
pub fn parse_v6(message: &[u8]) -> Result<Answer, Reason> {
    match message.first_chunk::<HEADER>().ok_or(Reason::Truncated)? {
        [129, 0, _, _, i, j, _, _] => Ok(Answer::Echo {
            identifier: u16::from_be_bytes([*i, *j]),
        }),
        [1, 4, ..] => {
            let (header, udp) = message[HEADER..]
                .split_first_chunk::<IPV6_HEADER>()
                .ok_or(Reason::Truncated)?;
            let to: [u8; 16] = *header.last_chunk().ok_or(Reason::Truncated)?;
            unreachable(Ipv6Addr::from(to).into(), header[6], udp)
        }
        _ => Err(Reason::NotAnAnswer),
    }
}

fn unreachable(to: IpAddr, protocol: u8, udp: &[u8]) -> Result<Answer, Reason> {
    if protocol != UDP {
        return Err(Reason::NotAnAnswer);
    }
    let [_, _, high, low] = udp.first_chunk().ok_or(Reason::Truncated)?;
    let port = u16::from_be_bytes([*high, *low]);
    Ok(Answer::PortUnreachable { to, port })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An IPv4 header of 24 bytes: with options.
    fn ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0; 24];
        packet[0] = 0x46;
        packet[9] = protocol;
        packet[16..20].copy_from_slice(&[10, 0, 0, 7]);
        packet.extend(payload);
        packet
    }

    #[test]
    fn an_echo_request_adds_up_to_all_ones() {
        let message = echo_request(Family::V4, 0xbeef, 7);
        let words = message.as_chunks::<2>().0.iter();
        let sum: u32 = words.map(|word| u32::from(u16::from_be_bytes(*word))).sum();
        assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff);
        assert_eq!(echo_request(Family::V6, 1, 2), [128, 0, 0, 0, 0, 1, 0, 2]);
    }

    #[test]
    fn an_echo_reply_has_its_identifier() {
        let reply = [0, 0, 0, 0, 0xbe, 0xef, 0, 7];
        let echo = Ok(Answer::Echo { identifier: 0xbeef });
        assert_eq!(parse_v4(&ipv4(1, &reply)), echo);
        assert_eq!(parse_v6(&[129, 0, 0, 0, 0xbe, 0xef, 0, 7]), echo);
        let request = echo_request(Family::V4, 1, 1);
        assert_eq!(parse_v4(&ipv4(1, &request)), Err(Reason::NotAnAnswer));
    }

    #[test]
    fn port_unreachable_says_where_the_datagram_went() {
        let port = [0x1f, 0x0a, 0x1f, 0x0a, 0, 8, 0, 0];
        let to = IpAddr::from([10, 0, 0, 7]);
        let want = Ok(Answer::PortUnreachable { to, port: 7946 });
        let cause = ipv4(UDP, &port);
        assert_eq!(
            parse_v4(&ipv4(1, &[&[3, 3, 0, 0, 0, 0, 0, 0], &cause[..]].concat())),
            want
        );
        let tcp = ipv4(6, &port);
        assert_eq!(
            parse_v4(&ipv4(1, &[&[3, 3, 0, 0, 0, 0, 0, 0], &tcp[..]].concat())),
            Err(Reason::NotAnAnswer)
        );
        let mut cause = [0; 40];
        (cause[6], cause[24], cause[39]) = (UDP, 0xfd, 7);
        let message = [&[1, 4, 0, 0, 0, 0, 0, 0], &cause[..], &port].concat();
        let to = "fd00::7".parse().unwrap();
        assert_eq!(
            parse_v6(&message),
            Ok(Answer::PortUnreachable { to, port: 7946 })
        );
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let _v4 = parse_v4(&bytes);
            let _v6 = parse_v6(&bytes);
        }
    }
}
