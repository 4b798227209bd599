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
use std::sync::Arc;
use std::time::Duration;

use ferrolb_core::alloc::{Allocator, CONTESTED_FOR, Decision, Lister, PoolUsage, Refusal};
use ferrolb_core::conflict::Finding;
use ferrolb_core::in_force::{InForce, Reader};
use ferrolb_core::key_set::KeySet;
use ferrolb_core::labels::Labels;
use ferrolb_core::names::event;
use ferrolb_core::view::{ServiceKey, ServiceView};
use ferrolb_core::write_loop::WritePace;
use ferrolb_core::{Instant, Reason};
use jiff::Timestamp;

use crate::notice::Notice;
use ferrolb_kube::events::Object;
use ferrolb_kube::store::Store;

mod adopting;
mod configuring;
mod labels;
mod looping;
mod network;
mod report;
mod sharing;
mod sources;
#[cfg(test)]
mod tests;
mod world;
mod writing;

use labels::Labelling;
use network::Network;
use world::Awaited;
pub use world::NodeAddresses;
use writing::Writing;
pub use writing::{Update, WriteOutcome};

/// Events that wait to be written. More are dropped and counted: they are told in the log too.
const NOTICES: usize = 4_096;

/// Who rewrites a status of ours so often within [`CONTEST`] gets it: no write war.
const REWRITES: usize = 2;
const CONTEST: Duration = Duration::from_secs(30);

#[derive(Debug)]
struct Entry {
    view: ServiceView,
    decision: Option<Decision>,
    writing: Writing,
    attempt: u32,
    /// What was last said about it, so that it is not said again.
    said: Option<Refusal>,
    /// What was last said about the names of its annotations.
    said_of_annotations: Option<Box<str>>,
    /// When it was last told with whom it shares an address, and with whom.
    told_of_sharing: Option<sharing::Told>,
    /// When it was last told that it disagrees with one of those.
    told_of_discord: Option<Instant>,
    /// When somebody else rewrote what we had written.
    rewritten: Vec<Instant>,
    /// It was taken over, as it asks for, and the other load balancer rewrote the status.
    adoption_undone: bool,
    pace: WritePace,
}

/// Everything that the controller knows.
#[derive(Debug)]
pub struct Index {
    class: Option<String>,
    /// Whether this replica decides, or only watches.
    leading: bool,
    /// The `ConfigMap`, as `namespace/name`.
    source: String,
    // Boxed: a tree keeps half of its places empty.
    services: BTreeMap<Arc<ServiceKey>, Box<Entry>>,
    services_listed: bool,
    config_listed: bool,
    in_force: InForce,
    /// Where the configuration comes from, if that is not the `ConfigMap` anyway.
    sourcing: Option<Box<sources::Sourcing>>,
    /// What is in force, or why the newest state is not, is said about this, unless it is no news.
    config_object: Option<Object>,
    config_is_no_news: bool,
    awaited: Awaited,
    nodes: Store<String, NodeAddresses>,
    network: Network,
    namespaces: Store<String, Labels>,
    /// Why an address cannot serve; `None` before reports were read.
    conflicts: Option<BTreeMap<IpAddr, Finding>>,
    labelling: Labelling,
    /// Of how many entries of what is in force something is left out, and what was said about it.
    left_out: Option<(usize, Refusal)>,
    /// What was last said about one that can be used and says what is probably not meant.
    said_in_warning: Option<String>,
    allocator: Allocator,
    /// Services to settle.
    changed: BTreeSet<ServiceKey>,
    /// Services whose status may have to be written.
    to_write: BTreeSet<ServiceKey>,
    /// Services whose new address is still shown in the status of another one.
    held_back: BTreeSet<ServiceKey>,
    /// Derived: in whose statuses an address stands.
    shown: BTreeMap<IpAddr, KeySet>,
    /// Services whose status is left as it is, to a rival or for the sake of an end, each with the end of
    /// that.
    contested: BTreeMap<ServiceKey, Instant>,
    /// Those of them whose status was written again and again.
    looping: BTreeSet<ServiceKey>,
    /// Services to be taken over once another load balancer has been quiet, each with that time.
    adopting: BTreeMap<ServiceKey, Instant>,
    /// Services that are told later with whom they share an address.
    sharing: sharing::DueTimes,
    /// Services that are told later that they disagree, if they still do.
    discord: BTreeMap<ServiceKey, Instant>,
    wall_clock: Option<(Timestamp, Instant)>,
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
            leading: true,
            in_force: InForce::new(source.clone(), Reader::Controller),
            source,
            sourcing: None,
            config_object: None,
            config_is_no_news: true,
            services: BTreeMap::new(),
            services_listed: false,
            config_listed: false,
            awaited: Awaited::default(),
            nodes: Store::default(),
            network: Network::default(),
            namespaces: Store::default(),
            conflicts: None,
            labelling: Labelling::default(),
            left_out: None,
            said_in_warning: None,
            allocator: Allocator::new(nothing),
            changed: BTreeSet::new(),
            to_write: BTreeSet::new(),
            held_back: BTreeSet::new(),
            shown: BTreeMap::new(),
            contested: BTreeMap::new(),
            looping: BTreeSet::new(),
            adopting: BTreeMap::new(),
            sharing: BTreeMap::new(),
            discord: BTreeMap::new(),
            wall_clock: None,
            notices: VecDeque::new(),
            notices_dropped: 0,
        }
    }

    /// Another replica leads: nothing is decided, written or said here any more.
    pub fn follow(&mut self) {
        self.leading = false;
        self.forget_decisions();
        self.sources_begin_again();
    }

    /// This replica leads from now on. What another one wrote last may not have been seen yet, so
    /// nothing is decided before all Services have been listed anew.
    pub fn lead(&mut self) {
        self.leading = true;
        self.forget_decisions();
        self.services_listed = false;
        self.sources_begin_again();
    }

    fn forget_decisions(&mut self) {
        self.allocator.forget_holdings();
        for entry in self.services.values_mut() {
            entry.decision = None;
            entry.writing = Writing::Idle;
            entry.attempt = 0;
            entry.said = None;
            entry.said_of_annotations = None;
            entry.told_of_sharing = None;
            entry.told_of_discord = None;
            entry.rewritten.clear();
            entry.adoption_undone = false;
            entry.pace = WritePace::default();
        }
        self.to_write.clear();
        self.held_back.clear();
        self.contested.clear();
        self.looping.clear();
        self.adopting.clear();
        self.sharing.clear();
        self.discord.clear();
        self.notices.clear();
        self.settle_all();
    }

    /// A Service was created or changed.
    pub fn apply(&mut self, view: ServiceView, now: Instant) {
        self.allocator.handle_timeout(now);
        self.sources_may_go_on();
        if !view.is_for(self.class.as_deref()) {
            self.delete(&view.key);
            self.list(Lister::LoadBalancer, &view.key, &view.external_ips);
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
                entry.adoption_undone &= entry.view.adopt_from == former.adopt_from;
                if entry.is_contested(&former, now) {
                    entry.adoption_undone |= entry.view.adopt_from.is_some();
                    let rival = entry.view.status_manager.as_deref();
                    self.allocator.give_in(&key, rival);
                    self.contested.insert(key.clone(), now + CONTESTED_FOR);
                }
                self.hide(&key, &former.assigned);
                self.follow_loop(&key, &former, now);
            }
            None => {
                let entry = Entry {
                    view,
                    decision: None,
                    writing: Writing::Idle,
                    attempt: 0,
                    said: None,
                    said_of_annotations: None,
                    told_of_sharing: None,
                    told_of_discord: None,
                    rewritten: Vec::new(),
                    adoption_undone: false,
                    pace: WritePace::default(),
                };
                self.services.insert(Arc::new(key.clone()), Box::new(entry));
            }
        }
        self.judge_adoption(&key, now);
        let external_ips = self.services.get(&key);
        let external_ips = external_ips.map(|entry| entry.view.external_ips.clone());
        self.list(
            Lister::LoadBalancer,
            &key,
            &external_ips.unwrap_or_default(),
        );
        if let Some((key, entry)) = self.services.get_key_value(&key) {
            for address in &entry.view.assigned {
                self.shown.entry(*address).or_default().insert(key);
            }
        }
    }

    /// A Service is gone, or no `LoadBalancer` any more: what it held is free.
    pub fn delete(&mut self, key: &ServiceKey) {
        self.sources_may_go_on();
        if let Some(entry) = self.services.remove(key) {
            self.hide(key, &entry.view.assigned);
        }
        self.changed.remove(key);
        self.to_write.remove(key);
        self.held_back.remove(key);
        self.contested.remove(key);
        self.looping.remove(key);
        self.forget_adoption(key);
        self.sharing.remove(key);
        self.discord.remove(key);
        self.allocator.release(key);
        self.list(Lister::LoadBalancer, key, &[]);
    }

    /// Everything was listed anew. Services of `unreadable` exist, but could not be decoded: what
    /// is known of them stays.
    pub fn reset(
        &mut self,
        views: Vec<ServiceView>,
        unreadable: &BTreeSet<ServiceKey>,
        now: Instant,
    ) {
        let listed: BTreeSet<_> = views.iter().map(|view| view.key.clone()).collect();
        let known = self.services.keys();
        let gone: Vec<_> = known
            .filter(|key| !(listed.contains(key.as_ref()) || unreadable.contains(key.as_ref())))
            .cloned()
            .collect();
        // Those of another class list addresses, too.
        let mut listers = self.allocator.listers(Lister::LoadBalancer);
        listers.retain(|key| !(listed.contains(key) || unreadable.contains(key)));
        for key in gone.iter().map(AsRef::as_ref).chain(&listers) {
            self.delete(key);
        }
        for view in views {
            self.apply(view, now);
        }
        self.services_listed = true;
        self.services_have_labels();
    }

    /// Decides what is open, once everything has been listed; how many decisions that were.
    pub fn settle(&mut self) -> usize {
        if !(self.leading && self.blockers().is_empty()) {
            return 0;
        }
        let changed = std::mem::take(&mut self.changed);
        let services = &self.services;
        let view_of = |key: &ServiceKey| services.get(key).map(|entry| &entry.view);
        let decisions = self.allocator.settle(changed, view_of);
        let decided = decisions.len();
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
        let former = entry.decision.replace(decision);
        let first = former.is_none();
        let adopted = adopting::adopted(entry, former.as_ref());
        let unknown = entry.view.unknown_annotations.clone();
        let unknown = unknown.filter(|said| entry.said_of_annotations.as_ref() != Some(said));
        entry
            .said_of_annotations
            .clone_from(&entry.view.unknown_annotations);
        let unknown = unknown.map(|text| unknown_annotation(&entry.view, text));
        let news = refusal != entry.said;
        entry.said.clone_from(&refusal);
        let refusal = refusal.filter(|_| news);
        if let Some(refusal) = refusal.filter(|refusal| self.is_time_to_warn(&key, refusal)) {
            self.warn(&key, refusal, first);
        }
        // What was said of the same names before is not said again, by whichever replica.
        for notice in unknown.map(Notice::no_news).into_iter().chain(adopted) {
            self.say(notice);
        }
        if self.update_of(&key).is_some() {
            self.to_write.insert(key);
        }
    }

    /// Says what the Service does not get.
    fn warn(&mut self, key: &ServiceKey, refusal: Refusal, is_no_news: bool) {
        let Some(entry) = self.services.get(key) else {
            return;
        };
        tracing::warn!(service = %key, reason = %refusal.reason, "{refusal}");
        let object = Object::service(&entry.view);
        let notice = Notice::warning(object, event_of(refusal.reason), refusal.text);
        self.say(if is_no_news { notice.no_news() } else { notice });
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

    fn say(&mut self, notice: Notice) {
        if !self.leading {
            // The leader sees the same, and says it.
        } else if self.notices.len() < NOTICES {
            self.notices.push_back(notice);
        } else {
            self.notices_dropped += 1;
        }
    }

    /// When to call [`Self::handle_timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let dates = self.contested.values().chain(self.adopting.values());
        let dates = dates.min().copied();
        let others = [
            self.allocator.poll_timeout(),
            self.sharing_due(),
            self.sources_due(),
        ];
        dates.into_iter().chain(others.into_iter().flatten()).min()
    }

    /// A rival has had a status for long enough: ours is tried again. Or an address has come into use.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.allocator.handle_timeout(now);
        let over = self.contested.extract_if(.., |_, until| *until <= now);
        for (key, _) in over {
            self.allocator.release(&key);
            self.looping.remove(&key);
            if let Some(entry) = self.services.get_mut(&key) {
                entry.rewritten.clear();
            }
            self.changed.insert(key);
        }
        self.resume_adoptions(now);
        self.resume_sharing(now);
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
        blockers.extend(self.sources_blocker());
        if self.in_force.awaits_labels() {
            blockers
                .push("labels: objects are listed anew with those that selectors name".to_owned());
        }
        let missing = self.missing().into_iter().filter(|(_, missing)| *missing);
        blockers.extend(missing.map(|(what, _)| format!("{what}: not listed yet")));
        blockers.extend(self.network.blockers());
        blockers
    }

    /// Whether a configuration is in force.
    #[must_use]
    pub const fn config_loaded(&self) -> bool {
        self.in_force.current().is_some()
    }

    /// Whether the `ConfigMap`, or an object, says something else than what is in force.
    #[must_use]
    pub fn config_stale(&self) -> bool {
        self.in_force.is_stale() || self.has_refused_objects()
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

fn unknown_annotation(view: &ServiceView, text: Box<str>) -> Notice {
    let (service, reason) = (&view.key, Reason::UnknownAnnotation);
    tracing::warn!(%service, %reason, "{text}");
    Notice::warning(
        Object::service(view),
        event::UNKNOWN_ANNOTATION,
        text.into(),
    )
}

/// What the Event of a refusal is called.
const fn event_of(reason: Reason) -> event::EventReason {
    match reason {
        Reason::AddressConflict => event::ADDRESS_CONFLICT,
        Reason::NoHostAddress => event::ADDRESS_UNUSABLE,
        Reason::WriteLoop => event::WRITE_LOOP,
        Reason::SharedInDiscord => event::SHARED_IN_DISCORD,
        Reason::SharedPortTaken => event::SHARED_PORT_TAKEN,
        Reason::PortUsualOnNodes => event::NODE_PORT_TAKEN,
        Reason::ClusterAddress | Reason::ExternalIp | Reason::GatewayAddress => {
            event::ADDRESS_CLAIMED
        }
        _ => event::ALLOCATION_FAILED,
    }
}

impl Entry {
    /// Whether somebody else has rewritten what we had written, again: replaced, emptied, or added
    /// to. By whatever name: a `MetalLB` beside us is a rival too, and a second `FerroLB`.
    fn is_contested(&mut self, former: &ServiceView, now: Instant) -> bool {
        let Some(decision) = &self.decision else {
            return false;
        };
        let decided = decision.addresses();
        let is_right = |view: &ServiceView| view.assigned == decided && view.status_is_canonical;
        if !is_right(former) || is_right(&self.view) {
            return false;
        }
        self.rewritten
            .retain(|at| now.saturating_since(*at) < CONTEST);
        self.rewritten.push(now);
        self.rewritten.len() >= REWRITES
    }
}
