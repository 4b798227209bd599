//! Who may speak: HMAC-SHA256, cut to 16 bytes (RFC 2104 §5), over destination and datagram.

use std::fmt;
use std::net::IpAddr;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use thiserror::Error;

use super::{TAG, address_octets};

/// A key that all speakers of a cluster share.
#[derive(Clone)]
pub struct Key(Hmac<Sha256>);

/// The key is too short to keep anybody out.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the speakers' key has {len} bytes: give it at least {}", Key::MIN_LEN)]
pub struct KeyTooShort {
    len: usize,
}

impl Key {
    /// 128 bits, as many as the tag has.
    pub const MIN_LEN: usize = 16;

    /// The key of these bytes (a mounted Secret).
    pub fn new(bytes: &[u8]) -> Result<Self, KeyTooShort> {
        if bytes.len() < Self::MIN_LEN {
            return Err(KeyTooShort { len: bytes.len() });
        }
        Ok(Self(
            Hmac::new_from_slice(bytes).expect("HMAC takes keys of any length"),
        ))
    }

    fn mac(&self, destination: IpAddr, bytes: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        mac.update(&address_octets(destination));
        mac.update(bytes);
        mac
    }
}

/// Does not show the key.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

/// The keys in force. Without any, whatever comes from a node's address is believed.
#[derive(Debug, Clone, Default)]
pub struct Keys {
    /// Signs what we send.
    pub signs: Option<Key>,
    /// Any of these is believed: several, while the key is being changed.
    pub accepted: Vec<Key>,
    /// So are nodes' addresses that sign nothing, and never did sign: they may not have the key yet.
    pub unsigned: bool,
}

/// Whose word a datagram is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Signature {
    /// That of somebody who has a key.
    Valid,
    /// Anybody's: it has none, and none is asked for.
    Absent,
}

impl Keys {
    /// Whether a signature is what decides.
    pub(in super::super) const fn is_locked(&self) -> bool {
        !self.accepted.is_empty()
    }

    /// Whether anybody is believed who has no key.
    pub(in super::super) const fn takes_unsigned(&self) -> bool {
        self.unsigned || !self.is_locked()
    }

    pub(in super::super) fn sign(&self, destination: IpAddr, bytes: &[u8]) -> [u8; TAG] {
        let Some(key) = &self.signs else {
            return [0; TAG];
        };
        let tag = key.mac(destination, bytes).finalize().into_bytes();
        *tag.first_chunk().expect("an HMAC-SHA256 has 32 bytes")
    }

    pub(super) fn verify(
        &self,
        destination: IpAddr,
        bytes: &[u8],
        tag: [u8; TAG],
    ) -> Option<Signature> {
        if tag == [0; TAG] || !self.is_locked() {
            return self.takes_unsigned().then_some(Signature::Absent);
        }
        let is_by = |key: &Key| {
            let mac = key.mac(destination, bytes);
            mac.verify_truncated_left(&tag).is_ok()
        };
        let is_ours = self.accepted.iter().any(is_by);
        is_ours.then_some(Signature::Valid)
    }
}
