//! The words of the protocol: what members tell each other, and what each knows of another. Everything
//! else in [`ownership`](super) may use them, and they use nothing of it but names and epochs.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::epoch::epoch_age;
use super::node::NodeId;
use crate::subnet::of_host;
use crate::wire::MacAddr;

/// What is known of a member that is not live, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Neither process nor kernel answers anybody.
    Node = 1,
    /// The kernel says that the process is gone.
    Process = 2,
    /// The kernel has been answering for seconds, the process has not.
    Stalled = 3,
    /// It sends, but hears nothing.
    Deaf = 4,
    /// It said that it will be back.
    Restarting = 5,
    /// It handed over and left.
    Left = 6,
}

impl Verdict {
    pub(crate) const ALL: [Self; 6] = [
        Self::Node,
        Self::Process,
        Self::Stalled,
        Self::Deaf,
        Self::Restarting,
        Self::Left,
    ];

    /// The word for it, in metrics and status.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Process => "process",
            Self::Stalled => "stalled",
            Self::Deaf => "deaf",
            Self::Restarting => "restarting",
            Self::Left => "left",
        }
    }

    pub(super) fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|verdict| *verdict as u8 == code)
    }

    /// R1: a process that is away is not a node that is dead.
    pub(super) const fn life(self) -> Life {
        match self {
            Self::Process | Self::Stalled | Self::Restarting => Life::Held,
            Self::Node | Self::Deaf => Life::Dead,
            Self::Left => Life::Left,
        }
    }
}

/// What others say of a member's process. Within an incarnation it only gets graver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Life {
    /// Its process answers.
    Live = 0,
    /// Its process is away, its node is not: its addresses are reserved to it for a while (R1).
    Held = 1,
    /// It is gone; its claims count no more.
    Dead = 2,
    /// It said good-bye after it had handed over everything.
    Left = 3,
}

impl Life {
    pub(super) fn from_code(code: u8) -> Option<Self> {
        [Self::Live, Self::Held, Self::Dead, Self::Left]
            .get(usize::from(code))
            .copied()
    }
}

/// What a member says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// It is still learning, and claims nothing new.
    Joining = 0,
    Serving = 1,
    /// It hands over what it has.
    Leaving = 2,
    /// It serves, and its forwarding is in doubt: it takes what nobody else would.
    Doubtful = 3,
}

impl Stage {
    pub(super) fn from_code(code: u8) -> Option<Self> {
        [Self::Joining, Self::Serving, Self::Leaving, Self::Doubtful]
            .get(usize::from(code))
            .copied()
    }

    /// May claim.
    pub(super) const fn serves(self) -> bool {
        matches!(self, Self::Serving | Self::Doubtful)
    }
}

/// "I answer for this address."
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claim {
    /// Made, or since confirmed, by a member that saw a majority (C3).
    pub(super) strong: bool,
    /// One more than any claim known when it was made.
    pub(super) epoch: u32,
    /// The claimant's rank for the address: not everybody may know its name yet.
    pub(super) rank: u32,
    /// It is not announced yet: the claimant makes sure first that no other host has it (C9).
    pub(super) asking: bool,
}

impl Claim {
    /// C2: the greatest of all claims on an address is its owner's. A total order that does not
    /// depend on who compares; `newest` is the newest epoch of the address.
    pub(super) const fn strength(
        &self,
        newest: u32,
        owner: NodeId,
    ) -> (bool, Reverse<u32>, Reverse<u32>, Reverse<NodeId>) {
        let age = Reverse(epoch_age(newest, self.epoch));
        (self.strong, age, Reverse(self.rank), Reverse(owner))
    }
}

/// Where a member is reached on one of its links (L14, S1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LinkAddress {
    pub(super) address: IpAddr,
    /// How long the prefix is that it has there, if that is told (S1).
    pub(super) prefix: Option<u8>,
    /// It hears nobody there.
    pub(super) silent: bool,
}

impl LinkAddress {
    /// The subnet that the member has there.
    pub(super) fn subnet(&self) -> Option<IpNetwork> {
        let own = IpNetwork::new(self.address, self.prefix?).ok()?;
        Some(of_host(own))
    }
}

/// What a member publishes of itself; written by that member alone (C1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) seq: u32,
    pub(super) stage: Stage,
    /// It answers offers (H3).
    pub(super) consents: bool,
    /// Where it is reached, as it says itself.
    pub(super) address: IpAddr,
    pub(super) mac: MacAddr,
    pub(super) links: Vec<LinkAddress>,
    /// `links` are all that it has (S1); those of a version before are not.
    pub(super) tells_subnets: bool,
    pub(super) claims: BTreeMap<IpAddr, Claim>,
}

impl Record {
    pub(super) fn empty(address: IpAddr) -> Self {
        Self {
            seq: 0,
            stage: Stage::Joining,
            consents: false,
            address,
            mac: MacAddr::zero(),
            links: Vec::new(),
            tells_subnets: false,
            claims: BTreeMap::new(),
        }
    }

    /// Whether the member has a subnet that `vip` lies on, as far as it tells.
    pub(super) fn has_subnet_of(&self, vip: IpAddr) -> bool {
        let mut subnets = self.links.iter().filter_map(LinkAddress::subnet);
        subnets.any(|subnet| subnet.contains(vip))
    }
}

/// A verdict over one incarnation of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Death {
    pub(super) member: NodeId,
    pub(super) boot: u64,
    pub(super) inc: u32,
    pub(super) verdict: Verdict,
}

/// An address that its owner may keep, and another one should have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Offer {
    pub(super) vip: IpAddr,
    /// The claim must exceed it.
    pub(super) epoch: u32,
    /// Whoever should have it rather than the receiver has refused: it cannot take it.
    pub(super) others_cannot: bool,
}

/// What is known of one member, or one part of it: a member with many claims takes several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) member: NodeId,
    pub(super) boot: u64,
    pub(super) inc: u32,
    pub(super) life: Life,
    pub(super) address: IpAddr,
    pub(super) mac: MacAddr,
    pub(super) stage: Stage,
    /// The last record of the boot before: its addresses are reserved to the member (R2).
    pub(super) former: bool,
    /// The member answers offers (H3); one of a version before does not.
    pub(super) consents: bool,
    pub(super) seq: u32,
    pub(super) part: u16,
    pub(super) parts: u16,
    /// At most [`MAX_LINKS`].
    pub(super) links: Vec<LinkAddress>,
    /// They are all that it has (S1); those of a version before are not.
    pub(super) tells_subnets: bool,
    pub(super) claims: Vec<(IpAddr, Claim)>,
}

/// Further links that a member tells of: of more than these it judges no port.
pub(super) const MAX_LINKS: usize = 4;

/// Most claims that one part of a record may carry: they fit into a datagram (`wire` proves it).
pub(super) const PARTS_OF: usize = 40;

/// The table is compared bucket by bucket: of 1,000 members about 16 are sent for one that differs.
pub(super) const BUCKETS: usize = 64;

/// Why an address is handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// This node may not keep it: if nobody takes it in time it falls silent anyway.
    Must,
    /// Somebody better is there (H2).
    Better,
    /// Somebody preferred has been well for a while (H4).
    Preferred,
}
