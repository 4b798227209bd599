//! Which replica of the controller writes: leader election over one Lease
//! (`coordination.k8s.io/v1`), without a clock and without a client.
//!
//! The rules of client-go: the holder renews; another replica takes the Lease when it has watched it
//! unchanged for the whole lease duration **by its own clock** (clocks of two machines are never
//! compared); every write carries the `resourceVersion` that it was decided on, so of several writers
//! one wins. A holder that cannot renew stops leading before any other may take over:
//! [`RENEW_DEADLINE`] is shorter than [`LEASE_DURATION`].
//!
//! ```text
//! handle_lease / handle_refused / release ──▶ Elector ──▶ poll_write: create or replace this Lease
//!                                                    └──▶ poll_timeout, is_leader
//! ```

use std::time::Duration;

use crate::Instant;

/// How long a Lease holds after its last renewal (`spec.leaseDurationSeconds`). A holder that dies
/// is followed after 5 to 7 s (its last renewal is up to 2 s old); client-go waits for 15. Nothing
/// stops meanwhile: addresses stay, and new Services wait.
pub const LEASE_DURATION: Duration = Duration::from_secs(7);
/// A holder that has not renewed for so long leads no more. Counted from before the renewal was
/// sent, so that it ends before the duration that others count from after it arrived. An API server
/// that is away for 3 s costs nothing: that is time for two renewals.
pub const RENEW_DEADLINE: Duration = Duration::from_secs(5);
/// Pause between two renewals, and between two attempts; an attempt takes no longer either.
pub const RETRY_PERIOD: Duration = Duration::from_secs(2);
/// What a leader writes must have ended so long after it was sent: what it began at the end of its
/// time is over before another begins.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(2);

const _: () = assert!(
    RENEW_DEADLINE.as_secs() + WRITE_TIMEOUT.as_secs() <= LEASE_DURATION.as_secs()
        && RETRY_PERIOD.as_secs() * 2 < RENEW_DEADLINE.as_secs(),
    "a leader must have time for two attempts, and must stop before another may start"
);

/// What the API server holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseView {
    /// `metadata.resourceVersion`
    pub resource_version: String,
    /// `spec.holderIdentity`; `None` or empty when released.
    pub holder: Option<String>,
    /// `spec.leaseDurationSeconds`, as the holder promised it.
    pub duration: Duration,
    /// `spec.leaseTransitions`
    pub transitions: i32,
}

/// A Lease to write; `renewTime` (and `acquireTime`, if `acquires`) is the time of writing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseWrite {
    /// Replace the Lease of this `resourceVersion`; `None`: create it.
    pub resource_version: Option<String>,
    /// `spec.holderIdentity`; `None` gives the Lease back.
    pub holder: Option<String>,
    /// `spec.leaseTransitions`
    pub transitions: i32,
    /// Whether the holder changes with this write.
    pub acquires: bool,
}

/// The election as one replica sees it.
#[derive(Debug)]
pub struct Elector {
    identity: String,
    observed: Observed,
    /// When the last write that was accepted had been sent, while we hold the Lease.
    renewed: Option<Instant>,
    /// A write is under way, sent at this time.
    in_flight: Option<Instant>,
    next_attempt: Instant,
    released: bool,
}

#[derive(Debug)]
enum Observed {
    /// Nothing heard from the API server yet.
    Unknown,
    Absent,
    Present {
        lease: LeaseView,
        unchanged_since: Instant,
    },
}

impl Elector {
    /// `identity` must differ between replicas and between two lives of one (the Pod's name does).
    #[must_use]
    pub fn new(identity: impl Into<String>, now: Instant) -> Self {
        Self {
            identity: identity.into(),
            observed: Observed::Unknown,
            renewed: None,
            in_flight: None,
            next_attempt: now,
            released: false,
        }
    }

    /// The Lease as read or watched; `None`: it does not exist.
    pub fn handle_lease(&mut self, lease: Option<LeaseView>, now: Instant) {
        let Some(lease) = lease else {
            self.observed = Observed::Absent;
            self.renewed = None;
            return;
        };
        let known = match &self.observed {
            Observed::Present { lease: known, .. } => {
                known.resource_version == lease.resource_version
            }
            Observed::Unknown | Observed::Absent => false,
        };
        if known {
            return;
        }
        if lease.holder.as_deref() != Some(self.identity.as_str()) {
            self.renewed = None;
        }
        self.observed = Observed::Present {
            lease,
            unchanged_since: now,
        };
    }

    /// The write under way was accepted; `lease` is what the API server answered.
    pub fn handle_accepted(&mut self, lease: LeaseView, now: Instant) {
        let sent = self.in_flight.take();
        let ours = lease.holder.as_deref() == Some(self.identity.as_str());
        self.observed = Observed::Present {
            lease,
            unchanged_since: now,
        };
        self.renewed = sent.filter(|_| ours);
        self.next_attempt = now + RETRY_PERIOD;
    }

    /// The write under way failed: another was quicker, or the API server is away. What is known of
    /// the Lease stays; a watch or a read tells when it has changed.
    pub fn handle_refused(&mut self, now: Instant) {
        let sent = self.in_flight.take().unwrap_or(now);
        self.next_attempt = now.max(sent + RETRY_PERIOD);
    }

    /// Stop leading and give the Lease back, so that another replica need not wait.
    pub fn release(&mut self, now: Instant) {
        self.released = true;
        self.next_attempt = now;
    }

    /// Whether this replica may write now.
    #[must_use]
    pub fn is_leader(&self, now: Instant) -> bool {
        !self.released
            && self
                .renewed
                .is_some_and(|renewed| now.saturating_since(renewed) < RENEW_DEADLINE)
    }

    /// Who holds the Lease, as far as is known.
    #[must_use]
    pub fn holder(&self) -> Option<&str> {
        match &self.observed {
            Observed::Present { lease, .. } => lease.holder.as_deref().filter(|h| !h.is_empty()),
            Observed::Unknown | Observed::Absent => None,
        }
    }

    /// The write that is due, if any. The next one is offered after
    /// [`handle_accepted`](Self::handle_accepted) or [`handle_refused`](Self::handle_refused).
    pub fn poll_write(&mut self, now: Instant) -> Option<LeaseWrite> {
        // A deadline that has passed is none any more.
        self.renewed = self
            .renewed
            .filter(|renewed| now.saturating_since(*renewed) < RENEW_DEADLINE);
        if self.in_flight.is_some() || now < self.due()? {
            return None;
        }
        let ours = self.holder() == Some(self.identity.as_str());
        let write = match &self.observed {
            Observed::Unknown => return None,
            Observed::Absent => LeaseWrite {
                resource_version: None,
                holder: Some(self.identity.clone()),
                transitions: 0,
                acquires: true,
            },
            Observed::Present { lease, .. } => LeaseWrite {
                resource_version: Some(lease.resource_version.clone()),
                holder: (!self.released).then(|| self.identity.clone()),
                transitions: lease.transitions + i32::from(!ours),
                acquires: !ours,
            },
        };
        self.in_flight = Some(now);
        Some(write)
    }

    /// When to poll again, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let stops = self
            .renewed
            .filter(|_| !self.released)
            .map(|renewed| renewed + RENEW_DEADLINE);
        let due = self.due().filter(|_| self.in_flight.is_none());
        match (due, stops) {
            (Some(due), Some(stops)) if stops < due => Some((stops, "renewal overdue")),
            (Some(due), _) => Some((due, "lease attempt")),
            (None, stops) => stops.map(|stops| (stops, "renewal overdue")),
        }
    }

    /// The earliest time for a write; `None` while there is nothing to write.
    fn due(&self) -> Option<Instant> {
        let ours = self.holder() == Some(self.identity.as_str());
        match &self.observed {
            Observed::Unknown => None,
            Observed::Absent => (!self.released).then_some(self.next_attempt),
            Observed::Present { .. } if ours => Some(self.next_attempt),
            Observed::Present { .. } if self.released => None,
            Observed::Present {
                lease,
                unchanged_since,
            } => {
                let expires = match self.holder() {
                    Some(_) => *unchanged_since + lease.duration,
                    None => *unchanged_since,
                };
                Some(expires.max(self.next_attempt))
            }
        }
    }
}

#[cfg(test)]
mod tests;
