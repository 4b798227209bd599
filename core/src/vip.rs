//! Who announces a Vip, as one node sees it; and if this node does not, why not.
//!
//! ```text
//!  elect      may this node, by what the API says? ──┐
//!  links      may this node, by what its links say? ─┼──▶ Standing ─┐
//!  ownership  whose is it, and why not this node's? ────────────────┼──▶ State: the owner, and what
//!  announce   is it announced, or what is in the way? ──────────────┘    this node does about it
//! ```
//!
//! Each of them knows a part. What the parts come to is decided here and nowhere else: `/status`, and
//! with it `kubectl ferrolb explain`, says just that.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::Reason;
use crate::announce::{Assignment, Link, LinkId, Progress, carrying};
use crate::ownership::{NodeId, VipStatus};

/// Whether this node may announce a Vip that somebody should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The first reason if not.
    pub may: Result<(), Reason>,
    /// Why any other node that may should rather do so.
    pub drawback: Option<Reason>,
}

impl Standing {
    /// The same where this node has these links, on some of which the Vip is `wanted`; `None` as long as
    /// they are unknown. One that no link carries it may not announce.
    #[must_use]
    pub fn on(
        self,
        links: Option<&BTreeMap<LinkId, Link>>,
        vip: IpAddr,
        wanted: &Assignment,
    ) -> Self {
        let is_carried = links.is_some_and(|links| carrying(vip, wanted, links).next().is_some());
        let carried = is_carried.then_some(()).ok_or(Reason::NoLink);
        Self {
            may: self.may.and(carried),
            ..self
        }
    }
}

/// Everything that this node knows of a Vip that somebody should announce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Knowledge {
    /// Whether this node may.
    pub standing: Standing,
    /// Whose it is; `None` as long as this speaker does not know the others.
    pub ownership: Option<VipStatus>,
    /// What has become of it on the wire; `None` if it is not this node's, or that is news yet.
    pub progress: Option<Progress>,
}

/// What this node does about a Vip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Here {
    /// It announces it, and answers for it.
    Announced {
        /// What it is ranked behind others for: no better node may.
        drawback: Option<Reason>,
    },
    /// It does not, for this reason.
    Silent(Reason),
}

/// Who announces a Vip, as this node sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// The node whose it is to announce, and the epoch of its claim.
    pub owner: Option<(NodeId, u32)>,
    /// The node that announces it at layer 2, as far as this one can tell: the owner, once it has made sure
    /// that no other host has it.
    pub announced_by: Option<NodeId>,
    /// What this node does.
    pub here: Here,
}

impl State {
    /// What this node's knowledge comes to; `Err` if nobody should announce the Vip.
    #[must_use]
    pub fn of(known: Result<Knowledge, Reason>) -> Self {
        let Knowledge {
            standing,
            ownership,
            progress,
        } = match known {
            Ok(known) => known,
            Err(reason) => return Self::silent(None, reason),
        };
        let Some(ownership) = ownership else {
            return Self::silent(None, Reason::Joining);
        };
        let VipStatus {
            owner,
            asking,
            reason,
        } = ownership;
        let by_owner = owner.map(|(node, _)| node);
        let elsewhere = by_owner.filter(|_| !asking);
        match (reason, progress) {
            (Some(general), _) => Self {
                announced_by: elsewhere,
                ..Self::silent(owner, own_reason(general, standing))
            },
            (None, Some(Progress::Announced)) => Self {
                owner,
                announced_by: by_owner,
                here: Here::Announced {
                    drawback: standing.drawback,
                },
            },
            (None, Some(Progress::Conflict)) => Self::silent(owner, Reason::AddressConflict),
            (None, Some(Progress::NoLink)) => Self::silent(owner, Reason::NoLink),
            (None, Some(Progress::Probing) | None) => Self::silent(owner, Reason::Probing),
        }
    }

    const fn silent(owner: Option<(NodeId, u32)>, reason: Reason) -> Self {
        Self {
            owner,
            announced_by: None,
            here: Here::Silent(reason),
        }
    }

    /// Whether this node announces it.
    #[must_use]
    pub const fn is_announced_here(&self) -> bool {
        matches!(self.here, Here::Announced { .. })
    }

    /// Why this node does not; `None` if it does.
    #[must_use]
    pub const fn reason(&self) -> Option<Reason> {
        match self.here {
            Here::Announced { .. } => None,
            Here::Silent(reason) => Some(reason),
        }
    }

    /// What this node is ranked behind others for, if it announces the Vip none the less.
    #[must_use]
    pub const fn drawback(&self) -> Option<Reason> {
        match self.here {
            Here::Announced { drawback } => drawback,
            Here::Silent(_) => None,
        }
    }
}

/// What exactly lies behind a Reason of the owners' protocol, which knows only whether this node may.
fn own_reason(general: Reason, standing: Standing) -> Reason {
    match general {
        Reason::Ineligible => standing.may.err().unwrap_or(general),
        Reason::NotOwner => standing.drawback.unwrap_or(general),
        other => other,
    }
}

/// Whether a node that is silent for this reason, or is not silent, would announce the Vip if it were
/// its turn. `drawback` is what it is known to be ranked behind others for.
#[must_use]
pub fn would_announce(reason: Option<Reason>, drawback: Option<Reason>) -> bool {
    reason.is_none_or(|reason| reason == Reason::NotOwner || Some(reason) == drawback)
}

#[cfg(test)]
mod tests;
