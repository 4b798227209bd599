//! Bytes on the wire and what they mean.
//!
//! Each protocol has a `Repr`: its meaning, without padding and fixed fields. `parse` makes one of
//! any bytes or says why not; `emit` writes one. Nothing in here panics on any input.

pub mod arp;
pub mod ethernet;
pub mod icmp;

use std::fmt;

pub use pnet_base::MacAddr;

/// One whole Ethernet frame, without frame check sequence.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame(Vec<u8>);

impl Frame {
    /// The bytes, as they go to the wire.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
