//! What a driver hands in, what it has to carry out, and the words for both.

use std::net::IpAddr;
use std::time::Duration;

use ipnetwork::IpNetwork;

use super::NodeId;
use super::candidates::Candidates;
use super::model::Verdict;
use crate::Reason;
use crate::wire::MacAddr;

/// Who this speaker is.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The node's name.
    pub node: String,
    /// The node's address that peers send to.
    pub address: IpAddr,
    /// The hardware address that answers ARP for `address`.
    pub mac: MacAddr,
    /// Names this process: greater than that of any process before it on this node, such as the
    /// wall clock in microseconds. A clock that went back is noticed (L11).
    pub boot: u64,
}

/// What this node should know of a wanted address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Whether this node may answer for it. No other node's view of that counts (C4).
    pub eligible: bool,
    /// Whether it lies on a subnet of a link that this node may announce it on.
    pub on_subnet: bool,
    /// The nodes that may, as far as this one can tell.
    pub candidates: Candidates,
}

/// Why this speaker goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaving {
    /// It will be back within seconds: peers hold its addresses (R1).
    Restarting,
    /// Cordoned, drained, shutting down or deleted: it hands over first (R4, H1).
    Draining,
}

/// What is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transmit {
    /// A datagram to a peer's port 7946.
    Datagram {
        /// The peer's address.
        to: IpAddr,
        /// At most [`MAX_DATAGRAM`](super::MAX_DATAGRAM) bytes.
        bytes: Vec<u8>,
    },
    /// Ask the kernel of this node for a sign of life: ARP or neighbour solicitation, and echo.
    Probe(IpAddr),
    /// The same, of the default gateway.
    ProbeGateway,
}

/// A kernel's sign of life, or the sign that a process is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KernelAnswer {
    /// ARP or neighbour advertisement, with the hardware address that it carries: a proxy that
    /// answers for a dead host carries its own.
    Neighbour(MacAddr),
    /// An echo reply.
    Echo,
    /// Port unreachable, in answer to a datagram of ours: nobody listens there any more.
    PortUnreachable,
}

/// Why a claim was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Cause {
    /// It was free: nobody held it until now, or not for a while (C9).
    #[default]
    New,
    /// Its holder is gone, or gave it up, just now.
    Orphan,
    /// Its holder handed it over.
    Handover,
    /// This node held it before its speaker restarted.
    Restart,
    /// It is held already: neighbours may have been told otherwise meanwhile.
    Reminder,
}

impl Cause {
    /// The word for it, in metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Orphan => "orphan",
            Self::Handover => "handover",
            Self::Restart => "restart",
            Self::Reminder => "reminder",
        }
    }
}

/// What the driver has to do or to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Answer for this address from now on, and say so on the wire at once.
    Announce {
        /// The address.
        vip: IpAddr,
        /// Why.
        cause: Cause,
        /// Only after making sure that no other host has it: it was free (C9). Once it is announced,
        /// [`Ownership::set_announced`](super::Ownership::set_announced) follows.
        probe_first: bool,
    },
    /// Fall silent for this address at once.
    Withdraw {
        /// The address.
        vip: IpAddr,
        /// Why: the word for log and `explain`.
        reason: Reason,
    },
    /// This speaker found a member gone, for all.
    Gone {
        /// The member.
        node: NodeId,
        /// How.
        verdict: Verdict,
    },
    /// This speaker and another one found, each for itself, that neither process nor kernel of a member
    /// answers. The member has been silent since, and most of the others answer this speaker: that member's
    /// node is dead (D1 to D5). Only with [`Settings::votes_after`](super::Settings::votes_after).
    FoundDead {
        /// The member.
        node: NodeId,
        /// Its process, by its boot.
        boot: u64,
        /// That process's incarnation.
        incarnation: u32,
        /// The other speaker.
        with: NodeId,
        /// When that was found, before now.
        ago: Duration,
    },
    /// This speaker hears a member no more, and nobody can confirm why.
    Lost {
        /// The member.
        node: NodeId,
    },
    /// The kernel of a member answers no questions: its death is found later than that of others
    /// (L13).
    KernelSilent {
        /// The member.
        node: NodeId,
    },
    /// A member's node lives, and its speaker cannot be heard: only the wire tells what it announces.
    Blocked {
        /// The member.
        node: NodeId,
    },
    /// On a link of this node, in this network, nobody is heard any more, or somebody is again (L14).
    Link {
        /// The network.
        network: IpNetwork,
        /// Whether nobody is heard.
        silent: bool,
    },
    /// This speaker hears nothing at all: it keeps what it has and takes nothing.
    Isolated,
    /// Two speakers run under this node's name: this one is quiet until the other stops.
    NameShared,
    /// Everything is handed over, or waiting has an end: the process may exit.
    MayExit,
}
