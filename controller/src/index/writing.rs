//! Which statuses have to be written, and what comes of it.

use std::net::IpAddr;

use ferrolb_core::Instant;
use ferrolb_core::alloc::Decision;
use ferrolb_core::key_set::KeySet;
use ferrolb_core::names::event;
use ferrolb_core::view::ServiceKey;
use ferrolb_kube::events::Object;

use super::Index;
use crate::notice::Notice;

/// A status to write, and the version of the Service that it was decided on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// Which Service.
    pub key: ServiceKey,
    /// `metadata.uid`: the answer must not be taken for one about a successor of that name.
    pub uid: String,
    /// `metadata.resourceVersion` that fences the write.
    pub resource_version: String,
    /// What `status.loadBalancer.ingress` has to say; empty to clear it.
    pub addresses: Vec<IpAddr>,
    /// The addresses that it replaces. The watch may show the new ones before the write returns.
    pub former: Vec<IpAddr>,
    /// How often the write failed in a row.
    pub attempt: u32,
}

/// What came of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteOutcome {
    /// Written; the Service has this version now.
    Written {
        /// `metadata.resourceVersion` of the answer.
        resource_version: String,
    },
    /// The Service has changed since: decide anew on the version that is coming.
    Conflict,
    /// The Service does not exist any more.
    Gone,
    /// Neither; try again later.
    Failed,
}

impl WriteOutcome {
    /// The word for metrics.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Written { .. } => "written",
            Self::Conflict => "conflict",
            Self::Gone => "gone",
            Self::Failed => "failed",
        }
    }
}

/// Whether the status of a Service is being written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Writing {
    Idle,
    InFlight,
    /// A write on this version would be refused: wait for the watch to show the next one.
    Outdated(String),
    /// Waits to be tried again.
    Delayed,
}

impl Index {
    /// The next status to write.
    pub fn poll_update(&mut self) -> Option<Update> {
        if self.awaits_compiled() {
            return None;
        }
        while let Some(key) = self.to_write.pop_first() {
            let Some(update) = self.update_of(&key) else {
                continue;
            };
            if self.is_shown_elsewhere(&update) {
                self.held_back.insert(key);
                continue;
            }
            if let Some(entry) = self.services.get_mut(&key) {
                entry.writing = Writing::InFlight;
            }
            return Some(update);
        }
        None
    }

    pub(super) fn update_of(&self, key: &ServiceKey) -> Option<Update> {
        let entry = self.services.get(key)?;
        let decision = entry.decision.as_ref()?;
        if matches!(decision, Decision::Leave { .. }) {
            return None;
        }
        let addresses = decision.addresses();
        let view = &entry.view;
        let right = view.assigned == addresses && view.status_is_canonical;
        let blocked = match &entry.writing {
            Writing::Idle => false,
            Writing::InFlight | Writing::Delayed => true,
            Writing::Outdated(version) => **version == *view.resource_version,
        };
        (!right && !blocked).then(|| Update {
            key: key.clone(),
            uid: view.uid.to_string(),
            resource_version: view.resource_version.to_string(),
            addresses: addresses.to_vec(),
            former: view.assigned.clone(),
            attempt: entry.attempt,
        })
    }

    /// Whether an address still stands in the status of a Service that has to give it up: shown by
    /// two at once, one of them would silently get no traffic.
    fn is_shown_elsewhere(&self, update: &Update) -> bool {
        update.addresses.iter().any(|address| {
            let others = self.shown.get(address).into_iter().flat_map(KeySet::iter);
            others.filter(|other| **other != update.key).any(|other| {
                let entry = self.services.get(other);
                let decision = entry.and_then(|entry| entry.decision.as_ref());
                decision.is_some_and(|decision| !decision.addresses().contains(address))
            })
        })
    }

    /// What came of the write of `update`.
    pub fn handle_outcome(&mut self, update: &Update, outcome: &WriteOutcome, now: Instant) {
        let entry = self.services.get_mut(&update.key);
        let Some(entry) = entry.filter(|entry| *entry.view.uid == *update.uid) else {
            return;
        };
        let outdated = || Writing::Outdated(update.resource_version.clone());
        entry.writing = match outcome {
            WriteOutcome::Written { resource_version }
                if *resource_version == update.resource_version =>
            {
                // Nothing changed by it, so the watch will show nothing either.
                Writing::Idle
            }
            WriteOutcome::Written { .. } | WriteOutcome::Conflict | WriteOutcome::Gone => {
                outdated()
            }
            WriteOutcome::Failed => Writing::Delayed,
        };
        entry.attempt = if *outcome == WriteOutcome::Failed {
            entry.attempt + 1
        } else {
            0
        };
        if matches!(outcome, WriteOutcome::Written { .. }) {
            self.tell_written(update);
            self.tell_of_sharing(update, now);
            self.count_write(update, now);
        }
        self.to_write.insert(update.key.clone());
    }

    /// The time to wait after a failed write is over.
    pub fn handle_retry(&mut self, key: &ServiceKey) {
        if let Some(entry) = self.services.get_mut(key) {
            if entry.writing == Writing::Delayed {
                entry.writing = Writing::Idle;
            }
            self.to_write.insert(key.clone());
        }
    }

    fn tell_written(&mut self, update: &Update) {
        let Some(entry) = self.services.get(&update.key) else {
            return;
        };
        let (service, addresses) = (&update.key, joined(&update.addresses));
        let former = joined(&update.former);
        let object = Object::service(&entry.view);
        if former == addresses {
            tracing::debug!(%service, addresses, "status normalized");
            return;
        }
        let notice = if update.addresses.is_empty() {
            let why = entry.decision.as_ref().and_then(Decision::refusal);
            let why = why.map(ToString::to_string).unwrap_or_default();
            tracing::info!(%service, former, "address withdrawn: {why}");
            let message = format!("{former} was withdrawn: {why}");
            Notice::normal(object, event::CLEAR_ASSIGNMENT, message)
        } else {
            let pool = match entry.decision.as_ref() {
                Some(Decision::Hold {
                    pool: Some(pool), ..
                }) => format!(" from pool {pool}"),
                _ => String::new(),
            };
            tracing::info!(%service, addresses, former, "address assigned{pool}");
            let instead = if former.is_empty() {
                String::new()
            } else {
                format!(" instead of {former}{}", self.why_not(&update.former))
            };
            let message = format!("assigned {addresses}{pool}{instead}");
            Notice::normal(object, event::IP_ALLOCATED, message)
        };
        let node_address = self.node_address_given(update);
        self.say(notice);
        if let Some(notice) = node_address {
            self.say(notice);
        }
    }

    /// `, which …`, if one of them cannot serve.
    fn why_not(&self, addresses: &[IpAddr]) -> String {
        let which = |address: &IpAddr| Some(self.finding_at(*address)?.which(*address));
        let which = addresses.iter().find_map(which);
        which.map_or_else(String::new, |which| format!(", {which}"))
    }

    /// The Event that tells of a node's own address among those that are new.
    fn node_address_given(&self, update: &Update) -> Option<Notice> {
        let new = |address: &&IpAddr| !update.former.contains(*address);
        let mut new = update.addresses.iter().filter(new);
        let (address, node) =
            new.find_map(|address| Some((address, self.allocator.node_of(*address)?)))?;
        let view = &self.services.get(&update.key)?.view;
        let ports: Vec<_> = view
            .ports
            .iter()
            .map(|(protocol, port)| format!("{port}/{protocol}"))
            .collect();
        let message = format!(
            "{address} is node {node}'s own address: {} on that node now serves this Service, and \
             no other node takes over if {node} goes down",
            ports.join(", ")
        );
        tracing::info!(service = %update.key, %address, node, "assigned a node's own address");
        let object = Object::service(view);
        Some(Notice::normal(object, event::NODE_ADDRESS_GIVEN, message))
    }
}

pub(super) fn joined(addresses: &[IpAddr]) -> String {
    addresses
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}
