//! Names of members as the protocol carries them, and the two mixing functions.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// A member: the first 8 bytes of SHA-256 of its node's name. The order of these keys is the ring
/// on which members watch each other, so that machines of one rack are spread over it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub(super) u64);

impl NodeId {
    /// The member of this node name.
    #[must_use]
    pub fn of(name: &str) -> Self {
        let hash = Sha256::digest(name.as_bytes());
        let first = hash.first_chunk().copied();
        Self(u64::from_be_bytes(
            first.expect("a SHA-256 hash has 32 bytes"),
        ))
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Spreads every bit of `x` over the result (splitmix64's finaliser): digests and random numbers.
pub(super) const fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Picks witnesses and partners of repair. Nothing that must be secret depends on it.
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = mix(self.0);
        self.0
    }

    /// Takes one element out of `choices`, if there is any.
    pub(super) fn take<T>(&mut self, choices: &mut Vec<T>) -> Option<T> {
        if choices.is_empty() {
            return None;
        }
        let index = self.next() % choices.len() as u64;
        Some(choices.swap_remove(index as usize))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_the_first_eight_bytes_of_its_names_hash() {
        // printf n1 | sha256sum
        assert_eq!(format!("{:?}", NodeId::of("n1")), "676b8bb84ce7267d");
    }
}
