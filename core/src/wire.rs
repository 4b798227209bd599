//! Bytes on the wire and what they mean.
//!
//! Each protocol has a `Repr`: its meaning, without padding and fixed fields. `parse` makes one of
//! any bytes or says why not; `emit` writes one. [`Message`] is what both families have in common.
//! Nothing in here panics on any input.

pub mod arp;
pub mod ethernet;
pub mod icmp;
mod message;
pub mod ndp;

use std::fmt;

pub use message::{Message, announcement, probe, question};
pub use pnet_base::MacAddr;

/// Bytes of the longest frame that we send: Ethernet, IPv6, an advertisement and one option.
const LONGEST: usize = ethernet::HEADER_LEN + ndp::LONGEST;

/// One whole Ethernet frame, without frame check sequence. It is made without an allocation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    bytes: [u8; LONGEST],
    length: usize,
}

impl Frame {
    /// The header, then the payload, of which as much is taken as any frame of ours has.
    fn new(header: &[u8; ethernet::HEADER_LEN], payload: &[u8]) -> Self {
        let payload = &payload[..payload.len().min(ndp::LONGEST)];
        let length = header.len() + payload.len();
        let mut bytes = [0; LONGEST];
        bytes[..header.len()].copy_from_slice(header);
        bytes[header.len()..length].copy_from_slice(payload);
        Self { bytes, length }
    }

    /// The bytes, as they go to the wire.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes()
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
