//! The datagram that speakers send to each other.
//!
//! ```text
//! magic 2 | version 1 | message 1 | boot 8 | sequence 8 | name: length 1, bytes | macs: count 1, 6 each
//! ```
//!
//! Numbers are in network byte order.

use crate::wire::MacAddr;

const MAGIC: [u8; 2] = *b"FB";
const VERSION: u8 = 1;

/// What a datagram says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// I am here.
    Beat,
    /// I stop now.
    Goodbye,
}

/// One datagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beat {
    /// What it says.
    pub message: Message,
    /// Differs at each start of the sender.
    pub boot: u64,
    /// Grows with each datagram of one start.
    pub sequence: u64,
    /// The sender's node.
    pub name: String,
    /// Hardware addresses of the sender's links.
    pub macs: Vec<MacAddr>,
}

impl Beat {
    /// The meaning of a datagram; `None` if it is none of this protocol and version.
    #[must_use]
    pub fn parse(datagram: &[u8]) -> Option<Self> {
        let (magic, rest) = datagram.split_first_chunk()?;
        let (version, rest) = rest.split_first()?;
        let (message, rest) = rest.split_first()?;
        let message = match message {
            0 => Message::Beat,
            1 => Message::Goodbye,
            _ => return None,
        };
        let (boot, rest) = rest.split_first_chunk()?;
        let (sequence, rest) = rest.split_first_chunk()?;
        let (length, rest) = rest.split_first()?;
        let (name, rest) = rest.split_at_checked(usize::from(*length))?;
        let (count, rest) = rest.split_first()?;
        let (macs, []) = rest.as_chunks::<6>() else {
            return None;
        };
        if *magic != MAGIC || *version != VERSION || macs.len() != usize::from(*count) {
            return None;
        }
        Some(Self {
            message,
            boot: u64::from_be_bytes(*boot),
            sequence: u64::from_be_bytes(*sequence),
            name: String::from_utf8(name.to_vec()).ok()?,
            macs: macs.iter().map(|mac| MacAddr::from(*mac)).collect(),
        })
    }

    /// The bytes. A node name has at most 253 bytes (RFC 1123 subdomain); of more than 255 links
    /// the first 255 are told.
    #[must_use]
    pub fn emit(&self) -> Vec<u8> {
        let name = &self.name.as_bytes()[..self.name.len().min(255)];
        let macs = &self.macs[..self.macs.len().min(255)];
        let mut bytes = Vec::with_capacity(22 + name.len() + 6 * macs.len());
        bytes.extend(MAGIC);
        bytes.push(VERSION);
        bytes.push(match self.message {
            Message::Beat => 0,
            Message::Goodbye => 1,
        });
        bytes.extend(self.boot.to_be_bytes());
        bytes.extend(self.sequence.to_be_bytes());
        bytes.extend(u8::try_from(name.len()).ok());
        bytes.extend(name);
        bytes.extend(u8::try_from(macs.len()).ok());
        bytes.extend(macs.iter().flat_map(MacAddr::octets));
        bytes
    }
}
