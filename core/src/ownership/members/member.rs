//! What is known of one member.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::entry::Assembly;
use crate::Instant;
use crate::ownership::kernels::Kernel;
use crate::ownership::model::{Record, Stage};
use crate::ownership::node::{NodeId, mix};
use crate::ownership::replay::Window;
use crate::ownership::standing::Standing;
use crate::wire::MacAddr;

/// The last record of a member's boot before: its addresses stay reserved to it (R2).
#[derive(Debug, Clone)]
pub(in super::super) struct Former {
    pub(in super::super) boot: u64,
    pub(in super::super) record: Arc<Record>,
    pub(in super::super) until: Instant,
}

/// Whoever is not the table only reads it: there is no way to a `&mut Member` but through [`Members`](super::Members).
#[derive(Debug, Clone)]
pub(in super::super) struct Member {
    /// Where it is spoken to (A2 to A4).
    pub(in super::super) address: IpAddr,
    /// The addresses that the Nodes list gives it, in its order.
    pub(in super::super) listed_at: Vec<IpAddr>,
    /// In the Nodes list.
    pub(in super::super) listed: bool,
    /// It was in the Nodes list at some time: it is no mere name that others told of.
    pub(super) was_listed: bool,
    pub(in super::super) standing: Standing,
    pub(in super::super) boot: u64,
    pub(in super::super) inc: u32,
    pub(in super::super) record: Arc<Record>,
    pub(in super::super) former: Option<Former>,
    /// Since when it stands as it does, by whatever verdict.
    pub(in super::super) since: Instant,
    /// The last datagram from it.
    pub(in super::super) heard_at: Option<Instant>,
    pub(in super::super) kernel: Kernel,
    /// It has signed with one of our keys: from then on it must.
    pub(in super::super) signs: bool,
    /// When it was last told that it is held gone, and last tried again (L10).
    pub(super) told_at: Option<Instant>,
    pub(in super::super) tried_at: Option<Instant>,
    pub(super) window: Window,
    pub(super) assembly: Assembly,
    pub(super) former_assembly: Assembly,
}

impl Member {
    pub(in super::super) fn new(address: IpAddr, now: Instant) -> Self {
        Self {
            address,
            listed_at: Vec::new(),
            listed: false,
            was_listed: false,
            standing: Standing::NeverHeard,
            boot: 0,
            inc: 0,
            record: Arc::new(Record::empty(address)),
            former: None,
            since: now,
            heard_at: None,
            kernel: Kernel::new(),
            signs: false,
            told_at: None,
            tried_at: None,
            window: Window::default(),
            assembly: Assembly::default(),
            former_assembly: Assembly::default(),
        }
    }

    /// This member itself.
    pub(in super::super) fn own(address: IpAddr, boot: u64, now: Instant) -> Self {
        Self {
            standing: Standing::Live,
            listed: true,
            boot,
            ..Self::new(address, now)
        }
    }

    /// From now on it is spoken to there. What its kernel answered at another address says nothing
    /// about this one, and it is tried before others.
    pub(super) fn move_to(&mut self, address: IpAddr) {
        if std::mem::replace(&mut self.address, address) != address {
            self.kernel.forget_answers();
            (self.told_at, self.tried_at) = (None, None);
        }
    }

    /// Its hardware address: the one of its record, or else the one that its kernel answers with.
    pub(in super::super) fn station(&self) -> MacAddr {
        match self.standing {
            Standing::NeverHeard => self.kernel.mac(),
            _ => self.record.mac,
        }
    }

    /// Of the station that its kernel alone tells of; zero if its record does.
    pub(super) fn station_hash(&self, id: NodeId) -> u64 {
        if self.standing.is_heard_of() {
            return 0;
        }
        let octets = self.kernel.mac().octets().into_iter();
        octets.fold(id.0, |hash, octet| mix(hash ^ u64::from(octet)))
    }

    /// Counts as present: known, not gone, not lost.
    pub(in super::super) fn is_live(&self) -> bool {
        self.standing == Standing::Live
    }

    pub(in super::super) fn is_held(&self) -> bool {
        matches!(self.standing, Standing::Held(_))
    }

    /// Neither live nor departed for good: to be found again (L10).
    pub(in super::super) fn is_absent(&self) -> bool {
        let is_away = !self.is_live() && !self.standing.has_left();
        is_away && (self.listed || self.standing.is_lost())
    }

    /// Its node was deleted, and it is gone: as if it had never been.
    pub(in super::super) fn is_forgotten(&self) -> bool {
        !self.listed && matches!(self.standing, Standing::NeverHeard | Standing::Gone(_))
    }

    /// G1: its node is in the Nodes list; or was, and it has yet to hand over what it has.
    pub(in super::super) fn may_speak(&self) -> bool {
        self.was_listed && !self.is_forgotten()
    }

    /// Counts for the majority (C3).
    pub(super) fn is_known(&self) -> bool {
        self.standing.is_heard_of() && !self.standing.has_left() && !self.is_forgotten()
    }

    /// What the table's digest takes of it: everything that SYNC would repair.
    pub(super) fn hash(&self, id: NodeId) -> u64 {
        let Some(life) = self.standing.life() else {
            return 0;
        };
        if self.is_forgotten() {
            return 0;
        }
        let hash = mix(mix(id.0 ^ mix(self.boot)) ^ (u64::from(self.inc) << 8 | life as u64));
        let former = self
            .former
            .as_ref()
            .map_or(0, |f| mix(f.boot) ^ u64::from(f.record.seq));
        mix(hash ^ u64::from(self.record.seq) ^ former.rotate_left(32))
    }

    /// Whether this datagram was never seen.
    pub(super) fn admit(&mut self, boot: u64, counter: u64) -> bool {
        self.window.admit(boot, counter)
    }

    /// L11, R2: a higher boot voids what the boot before had claimed, but reserves it to the name.
    pub(super) fn restart(&mut self, boot: u64, hold: Duration, rejoin: Duration, now: Instant) {
        // Its node is what it was.
        let empty = Record {
            links: self.record.links.clone(),
            tells_subnets: self.record.tells_subnets,
            ..Record::empty(self.record.address)
        };
        let record = std::mem::replace(&mut self.record, Arc::new(empty));
        let until = match self.standing {
            Standing::Live | Standing::Lost { held: None } => Some(now + hold),
            Standing::Held(held) | Standing::Lost { held: Some(held) } => {
                Some(held.until.max(now + rejoin))
            }
            Standing::NeverHeard | Standing::Gone(_) => None,
        };
        if let Some(until) = until.filter(|_| !record.claims.is_empty()) {
            self.former = Some(Former {
                boot: self.boot,
                record,
                until,
            });
        }
        (self.boot, self.inc, self.standing) = (boot, 0, self.standing.revived());
    }

    /// Takes a whole record, newer than the one known.
    pub(super) fn take_record(&mut self, record: Record) {
        if record.stage != Stage::Joining {
            // It has claimed what it wants of its former addresses.
            self.former = None;
        }
        self.record = Arc::new(record);
    }
}
