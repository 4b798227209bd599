//! What the controller knows, and what follows from it: synchronous, without any I/O.
//!
//! ```text
//!  apply, delete, reset ─┐                       ┌─▶ poll_update ─▶ a status to write
//!  set_config ───────────┼─▶ Index ─▶ settle ────┤
//!  handle_outcome ───────┘                       └─▶ poll_notice ─▶ an Event to write
//! ```
//!
//! What has to be written is derived each time from what is decided and what the API server shows,
//! never from remembered calls: a write that was lost, refused or overtaken is found again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;

use ferrolb_core::Reason;
use ferrolb_core::alloc::{Allocator, Decision, PoolUsage, Refusal};
use ferrolb_core::config::Config;
use ferrolb_core::names::event;
use ferrolb_core::view::{ServiceKey, ServiceView};

use crate::notice::{Notice, Object};
use crate::source::{ConfigMapView, Loaded, load};

/// Events that wait to be written. More are dropped and counted: they are told in the log too.
const NOTICES: usize = 4_096;

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
pub enum Outcome {
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

impl Outcome {
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

#[derive(Debug, Clone, PartialEq, Eq)]
enum Writing {
    Idle,
    InFlight,
    /// A write on this version would be refused: wait for the watch to show the next one.
    Outdated(String),
    /// Waits to be tried again.
    Delayed,
}

#[derive(Debug)]
struct Entry {
    view: ServiceView,
    decision: Option<Decision>,
    writing: Writing,
    attempt: u32,
    /// What was last said about it, so that it is not said again.
    said: Option<Refusal>,
}

/// Everything that the controller knows.
#[derive(Debug)]
pub struct Index {
    class: Option<String>,
    /// The `ConfigMap`, as `namespace/name`.
    source: String,
    services: BTreeMap<ServiceKey, Entry>,
    services_listed: bool,
    config_listed: bool,
    config: Option<Config>,
    config_stale: bool,
    /// What was last said about a `ConfigMap` that cannot be used.
    said_of_config: Option<Refusal>,
    allocator: Allocator,
    /// Services to settle.
    changed: BTreeSet<ServiceKey>,
    /// Services whose status may have to be written.
    to_write: BTreeSet<ServiceKey>,
    /// Services whose new address is still shown in the status of another one.
    held_back: BTreeSet<ServiceKey>,
    /// Derived: in whose statuses an address stands.
    shown: BTreeMap<IpAddr, BTreeSet<ServiceKey>>,
    notices: VecDeque<Notice>,
    notices_dropped: u64,
}

impl Index {
    /// Serves the Services of `class`, with the configuration of the `ConfigMap` called `source`.
    #[must_use]
    pub fn new(class: Option<String>, source: String) -> Self {
        let nothing = Refusal::new(Reason::NotConfigured, "the configuration was not read yet");
        Self {
            class,
            source,
            services: BTreeMap::new(),
            services_listed: false,
            config_listed: false,
            config: None,
            config_stale: false,
            said_of_config: None,
            allocator: Allocator::new(nothing),
            changed: BTreeSet::new(),
            to_write: BTreeSet::new(),
            held_back: BTreeSet::new(),
            shown: BTreeMap::new(),
            notices: VecDeque::new(),
            notices_dropped: 0,
        }
    }

    /// A Service was created or changed.
    pub fn apply(&mut self, view: ServiceView) {
        if !view.is_for(self.class.as_deref()) {
            self.delete(&view.key);
            return;
        }
        if self
            .services
            .get(&view.key)
            .is_some_and(|entry| entry.view.uid != view.uid)
        {
            // Deleted and created again while nobody watched: a stranger with the same name.
            self.delete(&view.key);
        }
        let key = view.key.clone();
        self.changed.insert(key.clone());
        match self.services.get_mut(&key) {
            Some(entry) => {
                let former = std::mem::replace(&mut entry.view, view);
                self.hide(&key, &former.assigned);
            }
            None => {
                let (decision, writing, said) = (None, Writing::Idle, None);
                let entry = Entry {
                    view,
                    decision,
                    writing,
                    attempt: 0,
                    said,
                };
                self.services.insert(key.clone(), entry);
            }
        }
        for address in self
            .services
            .get(&key)
            .into_iter()
            .flat_map(|entry| &entry.view.assigned)
        {
            self.shown.entry(*address).or_default().insert(key.clone());
        }
    }

    /// A Service is gone, or no `LoadBalancer` any more: what it held is free.
    pub fn delete(&mut self, key: &ServiceKey) {
        if let Some(entry) = self.services.remove(key) {
            self.hide(key, &entry.view.assigned);
        }
        self.changed.remove(key);
        self.to_write.remove(key);
        self.held_back.remove(key);
        self.allocator.release(key);
    }

    /// Everything was listed anew. Services of `unreadable` exist, but could not be decoded: what
    /// is known of them stays.
    pub fn reset(&mut self, views: Vec<ServiceView>, unreadable: &BTreeSet<ServiceKey>) {
        let listed: BTreeSet<_> = views.iter().map(|view| view.key.clone()).collect();
        let known = self.services.keys();
        let gone: Vec<_> = known
            .filter(|key| !listed.contains(key) && !unreadable.contains(key))
            .cloned()
            .collect();
        for key in &gone {
            self.delete(key);
        }
        for view in views {
            self.apply(view);
        }
        self.services_listed = true;
    }

    /// The `ConfigMap` was read; `None` if there is none.
    pub fn set_config(&mut self, map: Option<&ConfigMapView>) {
        let first = !self.config_listed;
        self.config_listed = true;
        match load(map, &self.source) {
            Loaded::Valid(config) => {
                // At the start it is no news.
                let object = map
                    .filter(|_| !first)
                    .map(|map| Object::config_map(&self.source, map));
                self.accept_config(object, config);
            }
            // As with MetalLB, removing all pools is a change like any other.
            Loaded::Empty(_) if self.config.is_some() => {
                self.accept_config(None, Config::default())
            }
            Loaded::Empty(refusal) | Loaded::Unusable(refusal) => {
                let object = map.map(|map| Object::config_map(&self.source, map));
                self.refuse_config(object, refusal);
            }
        }
    }

    fn accept_config(&mut self, object: Option<Object>, config: Config) {
        let was_refused = self.said_of_config.take().is_some();
        self.config_stale = false;
        let news = self.config.as_ref() != Some(&config);
        if !(news || was_refused) {
            return;
        }
        let pools = config.pools.len();
        tracing::info!(config = self.source, pools, "configuration in force");
        if let Some(object) = object {
            let pools = if pools == 1 { "pool" } else { "pools" };
            let message = format!("in force, with {} address {pools}", config.pools.len());
            self.say(Notice::normal(object, event::CONFIG_ACCEPTED, message));
        }
        if news {
            self.allocator.set_config(config.clone());
            self.changed.extend(self.services.keys().cloned());
            self.config = Some(config);
        }
    }

    /// A configuration that cannot be used changes nothing, and says so.
    fn refuse_config(&mut self, object: Option<Object>, refusal: Refusal) {
        self.config_stale = self.config.is_some() || refusal.reason == Reason::ConfigRefused;
        if self.said_of_config.as_ref() == Some(&refusal) {
            return;
        }
        let effect = if self.config.is_some() {
            "the last good configuration stays in force"
        } else {
            "Services wait for addresses, and those that have one keep it"
        };
        let (config, reason) = (&self.source, refusal.reason);
        if reason == Reason::ConfigRefused {
            tracing::error!(config, %reason, effect, "{refusal}");
            if let Some(object) = object {
                let message = format!("{effect}: {refusal}");
                self.say(Notice::warning(object, event::CONFIG_REFUSED, message));
            }
        } else {
            tracing::warn!(config, %reason, effect, "{refusal}");
        }
        self.allocator.set_unconfigured(refusal.clone());
        self.said_of_config = Some(refusal);
    }

    /// Decides what is open, once Services and configuration have been listed; whether there was
    /// anything to decide.
    pub fn settle(&mut self) -> bool {
        if !(self.services_listed && self.config_listed) {
            return false;
        }
        let changed = std::mem::take(&mut self.changed);
        let services = &self.services;
        let view_of = |key: &ServiceKey| services.get(key).map(|entry| &entry.view);
        let decisions = self.allocator.settle(&changed, view_of);
        let decided = !decisions.is_empty();
        for (key, decision) in decisions {
            self.take_decision(key, decision);
        }
        decided
    }

    fn take_decision(&mut self, key: ServiceKey, decision: Decision) {
        let Some(entry) = self.services.get_mut(&key) else {
            return;
        };
        let refusal = decision.refusal().cloned();
        entry.decision = Some(decision);
        let news = refusal != entry.said;
        entry.said.clone_from(&refusal);
        if let Some(refusal) = refusal.filter(|_| news) {
            tracing::warn!(service = %key, reason = %refusal.reason, "{refusal}");
            let object = Object::service(&entry.view);
            self.say(Notice::warning(
                object,
                event::ALLOCATION_FAILED,
                refusal.text,
            ));
        }
        self.to_write.insert(key);
    }

    /// The next status to write.
    pub fn poll_update(&mut self) -> Option<Update> {
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

    fn update_of(&self, key: &ServiceKey) -> Option<Update> {
        let entry = self.services.get(key)?;
        let addresses = entry.decision.as_ref()?.addresses();
        let view = &entry.view;
        let right = view.assigned == addresses && view.status_is_canonical;
        let blocked = match &entry.writing {
            Writing::Idle => false,
            Writing::InFlight | Writing::Delayed => true,
            Writing::Outdated(version) => *version == view.resource_version,
        };
        (!right && !blocked).then(|| Update {
            key: key.clone(),
            uid: view.uid.clone(),
            resource_version: view.resource_version.clone(),
            addresses: addresses.to_vec(),
            former: view.assigned.clone(),
            attempt: entry.attempt,
        })
    }

    /// Whether an address still stands in the status of a Service that has to give it up: shown by
    /// two at once, one of them would silently get no traffic.
    fn is_shown_elsewhere(&self, update: &Update) -> bool {
        update.addresses.iter().any(|address| {
            let others = self.shown.get(address).into_iter().flatten();
            others.filter(|other| **other != update.key).any(|other| {
                let entry = self.services.get(other);
                let decision = entry.and_then(|entry| entry.decision.as_ref());
                decision.is_some_and(|decision| !decision.addresses().contains(address))
            })
        })
    }

    fn hide(&mut self, key: &ServiceKey, assigned: &[IpAddr]) {
        for address in assigned {
            if let Some(services) = self.shown.get_mut(address) {
                services.remove(key);
                if services.is_empty() {
                    self.shown.remove(address);
                }
            }
        }
        self.to_write.append(&mut self.held_back);
    }

    /// What came of the write of `update`.
    pub fn handle_outcome(&mut self, update: &Update, outcome: &Outcome) {
        let entry = self.services.get_mut(&update.key);
        let Some(entry) = entry.filter(|entry| entry.view.uid == update.uid) else {
            return;
        };
        let outdated = || Writing::Outdated(update.resource_version.clone());
        entry.writing = match outcome {
            Outcome::Written { resource_version }
                if *resource_version == update.resource_version =>
            {
                // Nothing changed by it, so the watch will show nothing either.
                Writing::Idle
            }
            Outcome::Written { .. } | Outcome::Conflict | Outcome::Gone => outdated(),
            Outcome::Failed => Writing::Delayed,
        };
        entry.attempt = if *outcome == Outcome::Failed {
            entry.attempt + 1
        } else {
            0
        };
        if matches!(outcome, Outcome::Written { .. }) {
            self.tell_written(update);
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
            tracing::debug!(%service, addresses, "status made canonical");
            return;
        }
        let notice = if update.addresses.is_empty() {
            let why = entry.decision.as_ref().and_then(Decision::refusal);
            let why = why.map(ToString::to_string).unwrap_or_default();
            tracing::info!(%service, former, "address taken away: {why}");
            let message = format!("{former} was taken away: {why}");
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
                format!(" instead of {former}")
            };
            let message = format!("assigned {addresses}{pool}{instead}");
            Notice::normal(object, event::IP_ALLOCATED, message)
        };
        self.say(notice);
    }

    fn say(&mut self, notice: Notice) {
        if self.notices.len() < NOTICES {
            self.notices.push_back(notice);
        } else {
            self.notices_dropped += 1;
        }
    }

    /// The next Event to write.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        self.notices.pop_front()
    }

    /// How many Events were dropped, because too many waited, since this was last asked.
    pub const fn take_notices_dropped(&mut self) -> u64 {
        std::mem::replace(&mut self.notices_dropped, 0)
    }

    /// What must happen before addresses are given, each in a few words.
    #[must_use]
    pub fn blockers(&self) -> Vec<String> {
        let mut blockers = Vec::new();
        if !self.services_listed {
            blockers.push("services: not listed yet".to_owned());
        }
        if !self.config_listed {
            blockers.push(format!(
                "configuration: ConfigMap {} not read yet",
                self.source
            ));
        }
        blockers
    }

    /// Whether a configuration is in force.
    #[must_use]
    pub const fn config_loaded(&self) -> bool {
        self.config.is_some()
    }

    /// Whether the `ConfigMap` says something else than what is in force.
    #[must_use]
    pub const fn config_stale(&self) -> bool {
        self.config_stale
    }

    /// How full each pool is.
    #[must_use]
    pub fn usage(&self) -> Vec<PoolUsage> {
        self.allocator.usage()
    }

    /// How many Services have no address, by reason.
    #[must_use]
    pub fn pending(&self) -> BTreeMap<Reason, u64> {
        let mut pending = BTreeMap::new();
        for entry in self.services.values() {
            if let Some(Decision::Refuse(refusal)) = &entry.decision {
                *pending.entry(refusal.reason).or_default() += 1;
            }
        }
        pending
    }
}

fn joined(addresses: &[IpAddr]) -> String {
    addresses
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests;
