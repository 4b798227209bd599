//! Datagrams between speakers, UDP port 7946.
//!
//! ```text
//! magic "FL" | version | kind | sender 8 | counter 8 | boot 8 | echo 8 | inc 4 | payload | tag 16
//! ```
//!
//! All numbers are big-endian. `boot` names the sender's process, `echo` the receiver's as the
//! sender knows it: whoever restarted thereby accepts nothing that was said before. `counter` never
//! repeats within a boot. The tag is the HMAC-SHA256, cut to 16 bytes, over the destination address
//! and everything before the tag.

mod auth;
mod message;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv6Addr};

pub(super) use auth::Signature;
pub use auth::{Key, KeyTooShort, Keys};
pub(super) use message::{Message, pack};

use super::node::NodeId;
use crate::Reason;

/// The UDP port on which speakers talk. `MetalLB`'s memberlist has the same one.
pub const PORT: u16 = 7946;

/// No datagram is longer: it passes unfragmented wherever IPv6 does (1,280 bytes).
pub const MAX_DATAGRAM: usize = 1_200;

const MAGIC: [u8; 2] = *b"FL";
const VERSION: u8 = 1;
const HEADER: usize = 40;
const TAG: usize = 16;
const MAX_PAYLOAD: usize = MAX_DATAGRAM - HEADER - TAG;
/// Most addresses in one datagram, with what is told of each: an epoch and a byte at most.
pub(super) const VIPS_OF: usize = (MAX_PAYLOAD - 2) / 21;

/// What every datagram says of its sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) sender: NodeId,
    /// Never repeats within a boot.
    pub(super) counter: u64,
    /// The sender's process.
    pub(super) boot: u64,
    /// The receiver's process, as far as the sender knows; 0 if it does not.
    pub(super) echo: u64,
    /// The sender's incarnation: raised by itself alone, to refute its death.
    pub(super) inc: u32,
}

/// The datagram for `destination`.
pub(super) fn seal(
    keys: &Keys,
    destination: IpAddr,
    header: &Header,
    message: &Message,
) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(128);
    bytes.extend(MAGIC);
    bytes.push(VERSION);
    bytes.push(message.kind());
    bytes.extend(header.sender.0.to_be_bytes());
    bytes.extend(header.counter.to_be_bytes());
    bytes.extend(header.boot.to_be_bytes());
    bytes.extend(header.echo.to_be_bytes());
    bytes.extend(header.inc.to_be_bytes());
    message.encode(&mut bytes);
    let tag = keys.sign(destination, &bytes);
    bytes.extend(tag);
    debug_assert!(
        bytes.len() <= MAX_DATAGRAM,
        "a sender splits what does not fit"
    );
    bytes
}

/// A datagram whose outside was read: who says that it speaks, not yet whether it does, nor what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sealed<'a> {
    pub(super) header: Header,
    kind: u8,
    payload: &'a [u8],
    signed: &'a [u8],
    tag: [u8; TAG],
}

/// Reads the outside, which costs next to nothing: the signature costs microseconds.
pub(super) fn read(bytes: &[u8]) -> Result<Sealed<'_>, Reason> {
    let mut reader = Reader(bytes);
    if reader.array() != Some(MAGIC) {
        return Err(if looks_like_memberlist(bytes) {
            Reason::MetallbPeer
        } else {
            Reason::NotAPeer
        });
    }
    if reader.array() != Some([VERSION]) {
        return Err(Reason::UnknownVersion);
    }
    let (signed, tag) = bytes.split_last_chunk::<TAG>().ok_or(Reason::Truncated)?;
    let mut reader = Reader(signed.get(3..).ok_or(Reason::Truncated)?);
    let kind = reader.byte().ok_or(Reason::Truncated)?;
    let header = Header::decode(&mut reader).ok_or(Reason::Truncated)?;
    Ok(Sealed {
        header,
        kind,
        payload: reader.0,
        signed,
        tag: *tag,
    })
}

impl Sealed<'_> {
    /// Whether it claims to be signed at all.
    pub(super) fn has_tag(&self) -> bool {
        self.tag != [0; TAG]
    }

    /// Whose word it is, at `destination`.
    pub(super) fn verify(&self, keys: &Keys, destination: IpAddr) -> Result<Signature, Reason> {
        keys.verify(destination, self.signed, self.tag)
            .ok_or(Reason::BadSignature)
    }

    /// What it says.
    pub(super) fn message(&self) -> Result<Message, Reason> {
        Message::decode(self.kind, &mut Reader(self.payload)).ok_or(Reason::Malformed)
    }
}

impl Header {
    fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            sender: NodeId(reader.u64()?),
            counter: reader.u64()?,
            boot: reader.u64()?,
            echo: reader.u64()?,
            inc: reader.u32()?,
        })
    }
}

/// memberlist's first byte is a message type (0 to 13), an encryption version (0 or 1), or the mark
/// of a label (244).
fn looks_like_memberlist(bytes: &[u8]) -> bool {
    bytes
        .first()
        .is_some_and(|&first| first <= 13 || first == 244)
}

/// Takes values off the front of a datagram.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, tail) = self.0.split_first_chunk::<N>()?;
        self.0 = tail;
        Some(*head)
    }

    fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    fn node(&mut self) -> Option<NodeId> {
        self.u64().map(NodeId)
    }

    /// Addresses travel as IPv6; an IPv4 address is mapped into it.
    fn address(&mut self) -> Option<IpAddr> {
        self.array()
            .map(|octets| IpAddr::from(Ipv6Addr::from_octets(octets)).to_canonical())
    }
}

fn address_octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}
