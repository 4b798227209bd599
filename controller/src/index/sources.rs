//! Where the configuration comes from: the `ConfigMap`, or `MetalLB`'s objects. `ferrolb_core::source`
//! decides; this carries it out, says what becomes of the objects, and has the compiled object written.
//!
//! ```text
//!  ConfigMap ──set_config────┐
//!  objects ──handle_object───┼─▶ follow_sources ─▶ InForce ─▶ allocator
//!  ferrolb-config ───────────┘        └─▶ poll_look, poll_compiled
//! ```
//!
//! A replica that does not lead has in force what the leader has written.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ferrolb_core::alloc::Refusal;
use ferrolb_core::compiled::check_size;
use ferrolb_core::config::Config;
use ferrolb_core::config::objects::{self, Kind, ObjectRef, Objects};
use ferrolb_core::names::FIELD_MANAGER;
use ferrolb_core::source::{
    Change, Choice, Collector, Due, Held, Presence, Put, Seen, Source, Sources, Verdict,
};
use ferrolb_core::{Instant, Reason};

use super::Index;
use crate::compiled::CompiledView;
use crate::source::ConfigMapView;

mod handover;
mod tell;
#[cfg(test)]
mod tests;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Sourcing {
    namespace: String,
    /// The compiled object's.
    name: String,
    sources: Sources,
    collector: Collector,
    /// Since the compiled object was read.
    compiler: Option<Objects>,
    /// What the objects come to.
    objects: Option<objects::Compiled>,
    /// The newest `ConfigMap`, if there is one.
    text: Option<ConfigMapView>,
    text_is_news: bool,
    /// The compiled object; not read yet, not there, or so.
    seen: Option<Option<CompiledView>>,
    /// Something has happened since the last decision.
    is_open: bool,
    /// A decision was made in this reign.
    is_judged: bool,
    verdict: Option<Verdict>,
    /// What the objects come to names labels that are not known yet.
    awaits_labels: bool,
    looks: bool,
    writing: Write,
    /// What was said of each object, with the generation that it was said of.
    said: BTreeMap<ObjectRef, (i64, Vec<String>)>,
    was_refused: BTreeMap<ObjectRef, bool>,
    said_waits: Vec<IpAddr>,
    said_ignored: Option<String>,
    said_unread: Option<Refusal>,
    now: Instant,
}

/// Whether the compiled object is as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Write {
    /// It is.
    Idle,
    /// It has to be compared.
    Due,
    /// It is being written.
    UnderWay,
    /// It was refused; to be tried again at that time.
    Failed(Instant, String),
}

impl Index {
    /// The compiled object of that namespace and name can be read and written, and the objects of the
    /// namespace be read, if there are any: nothing is decided before they have been.
    pub fn await_sources(
        &mut self,
        choice: Choice,
        (namespace, name): (&str, &str),
        may_read_objects: bool,
    ) {
        let mut collector = Collector::default();
        let are_read = may_read_objects && choice != Choice::Only(Source::ConfigMap);
        if !are_read {
            // As if the API server had no such kinds.
            collector.handle_kinds(&BTreeMap::new(), Instant::START);
        }
        self.sourcing = Some(Box::new(Sourcing {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            sources: Sources::new(choice),
            collector,
            compiler: None,
            objects: None,
            text: None,
            text_is_news: false,
            seen: None,
            is_open: true,
            is_judged: false,
            verdict: None,
            awaits_labels: false,
            looks: false,
            writing: Write::Idle,
            said: BTreeMap::new(),
            was_refused: BTreeMap::new(),
            said_waits: Vec::new(),
            said_ignored: None,
            said_unread: None,
            now: Instant::START,
        }));
    }

    /// Keeps the newest `ConfigMap` until it is known whether it counts; whether that is to be decided.
    pub(super) fn keep_text(&mut self, map: Option<&ConfigMapView>) -> bool {
        let Some(sourcing) = &mut self.sourcing else {
            return false;
        };
        sourcing.text = map.cloned();
        sourcing.text_is_news = true;
        sourcing.is_open = true;
        self.follow_text();
        true
    }

    /// Something that a decision is made on has changed.
    pub(super) fn sources_follow(&mut self) {
        if let Some(sourcing) = &mut self.sourcing {
            sourcing.is_open = true;
            sourcing.compare();
        }
    }

    /// What is in use has changed: perhaps nothing is lacking any more.
    pub(super) fn sources_may_go_on(&mut self) {
        if let Some(sourcing) = &mut self.sourcing {
            let waits = sourcing.verdict.as_ref();
            sourcing.is_open |= waits.is_some_and(|verdict| !verdict.missing.is_empty());
        }
    }

    /// Another reign has begun.
    pub(super) fn sources_begin_again(&mut self) {
        let Some(sourcing) = &mut self.sourcing else {
            return;
        };
        sourcing.is_open = true;
        sourcing.is_judged = false;
        sourcing.text_is_news = true;
        sourcing.writing = Write::Due;
    }

    /// The API server has these kinds of objects.
    pub fn handle_kinds(&mut self, kinds: &BTreeMap<Kind, Presence>, asked: Instant) {
        if let Some(sourcing) = &mut self.sourcing {
            sourcing.collector.handle_kinds(kinds, asked);
            sourcing.is_open = true;
        }
    }

    /// Objects have changed.
    pub fn handle_object(&mut self, kind: Kind, change: Change, now: Instant) {
        if let Some(sourcing) = &mut self.sourcing {
            sourcing.collector.handle(kind, change, now);
        }
    }

    /// Whether the API server has to be asked which kinds it has.
    pub fn poll_look(&mut self) -> bool {
        let looks = self.sourcing.as_mut().map(|it| &mut it.looks);
        looks.is_some_and(std::mem::take)
    }

    /// When [`Self::follow_sources`] has something to do.
    pub(super) fn sources_due(&self) -> Option<Instant> {
        let sourcing = self.sourcing.as_ref().filter(|_| self.can_judge())?;
        let now = sourcing.now;
        // A date that has to wait for something else would come again and again.
        let is_free = sourcing.collector.missing(now).is_none()
            && !sourcing.awaits_labels
            && !self.in_force.awaits_labels();
        let again = match sourcing.writing {
            Write::Failed(until, _) => Some(until).filter(|_| sourcing.is_judged),
            _ => None,
        };
        let dates = [
            sourcing.sources.poll_timeout().filter(|_| is_free),
            sourcing.collector.poll_timeout(),
            again,
        ];
        dates.into_iter().flatten().min()
    }

    fn can_judge(&self) -> bool {
        let is_read = |it: &Sourcing| it.compiler.is_some();
        let is_read = self.sourcing.as_ref().is_some_and(|it| is_read(it));
        is_read && self.leading && self.config_listed && self.services_listed
    }

    /// Puts in force what counts; whether that was decided anew.
    pub fn follow_sources(&mut self, now: Instant) -> bool {
        let can_judge = self.can_judge();
        let Some(sourcing) = &mut self.sourcing else {
            return false;
        };
        sourcing.now = now;
        if !can_judge {
            return false;
        }
        match sourcing.collector.poll_due(now) {
            Due::Nothing => {}
            Due::Look => sourcing.looks = true,
            Due::Compile => self.compile(),
        }
        self.judge(now)
    }

    fn compile(&mut self) {
        let Some(sourcing) = &mut self.sourcing else {
            return;
        };
        let Some(compiler) = &mut sourcing.compiler else {
            return;
        };
        let views: Vec<_> = sourcing.collector.views().cloned().collect();
        let compiled = compiler.compile(&views);
        // What was said before this process began is no news.
        let is_first = sourcing.objects.is_none();
        sourcing.is_open = true;
        sourcing.objects = Some(compiled);
        self.tell_findings(is_first);
    }

    fn judge(&mut self, now: Instant) -> bool {
        let Some(sourcing) = &mut self.sourcing else {
            return false;
        };
        let is_over = sourcing.sources.poll_timeout().is_some_and(|at| at <= now);
        let is_known = sourcing.collector.missing(now).is_none();
        let Some(objects) = sourcing.objects.as_ref().filter(|_| is_known) else {
            return false;
        };
        if !(sourcing.is_open || is_over) || self.in_force.awaits_labels() {
            return false;
        }
        // Whether an advertisement covers a Service is not known before its labels are.
        sourcing.awaits_labels =
            sourcing.collector.pools() > 0 && !self.in_force.need(&objects.config);
        if sourcing.awaits_labels {
            self.follow_labels();
            return false;
        }
        let mut held = Vec::new();
        for entry in self.services.values() {
            let service = &entry.view;
            let shown = service.assigned.iter().copied();
            let is_ours = service.status_manager.as_deref() == Some(FIELD_MANAGER);
            held.extend(shown.map(|address| Held {
                address,
                service,
                ours: is_ours,
            }));
            let decided = entry.decision.iter().flat_map(|it| it.addresses());
            let decided = decided.filter(|address| !service.assigned.contains(address));
            held.extend(decided.map(|address| Held {
                address: *address,
                service,
                ours: true,
            }));
        }
        let current = self.in_force.current();
        let has_layer2 = current.is_some_and(|config| !config.layer2.is_empty());
        let text = sourcing.text.as_ref();
        let seen = Seen {
            text: text.map(|text| (text.id.as_str(), &text.outcome)),
            pools: sourcing.collector.pools(),
            objects: &objects.config,
            presence: sourcing.collector.presence(has_layer2),
            current,
            held: &held,
        };
        let before = sourcing.sources.memory();
        let verdict = sourcing.sources.judge(seen, now);
        let memory = sourcing.sources.memory();
        let has_turned = before.as_ref().map(|it| it.source) != memory.as_ref().map(|it| it.source);
        if before != memory {
            sourcing.compare();
        }
        sourcing.is_open = false;
        let is_first = !std::mem::replace(&mut sourcing.is_judged, true);
        if verdict.look {
            sourcing.collector.ask();
            // The collector hands it on.
            sourcing.looks |= sourcing.collector.poll_due(now) == Due::Look;
        }
        self.carry_out(&verdict, has_turned, is_first);
        if let Some(sourcing) = &mut self.sourcing {
            // What this has changed itself is no reason to decide again.
            sourcing.is_open = false;
            sourcing.verdict = Some(verdict);
        }
        self.tell_verdict();
        true
    }

    fn carry_out(&mut self, verdict: &Verdict, has_turned: bool, is_first: bool) {
        let Some(sourcing) = &mut self.sourcing else {
            return;
        };
        match verdict.put {
            Put::Text => {
                let is_news = std::mem::take(&mut sourcing.text_is_news) || has_turned;
                if is_news {
                    let text = sourcing.text.clone();
                    self.put_text(text.as_ref(), is_first);
                }
            }
            Put::Objects => {
                let config = sourcing.objects.as_ref().map(|it| it.config.clone());
                let refusal = self.no_objects();
                self.left_out = None;
                self.put_objects(config.unwrap_or_default(), refusal);
            }
            Put::Nothing => {
                self.tell_pools_gone();
                let refusal = self.no_objects();
                self.put_objects(Config::default(), refusal);
            }
            Put::Same => {}
        }
    }

    /// Why nobody gets an address, where the objects count and have no pool that can be used.
    fn no_objects(&self) -> Refusal {
        let sourcing = self.sourcing.as_ref();
        let namespace = sourcing.map_or("", |it| it.namespace.as_str());
        let text = match sourcing.map_or(0, |it| it.collector.pools()) {
            0 => format!(
                "no addresses yet: create an IPAddressPool and an L2Advertisement in namespace {namespace}"
            ),
            _ => format!(
                "no addresses yet: no IPAddressPool in namespace {namespace} can be used; the Events on them \
                 say why"
            ),
        };
        Refusal::new(Reason::NotConfigured, text)
    }

    fn put_objects(&mut self, config: Config, none: Refusal) {
        self.config_is_no_news = true;
        let effect = match check_size(&config) {
            Err(refusal) => self.in_force.refuse(refusal),
            Ok(()) if config.pools.is_empty() && self.in_force.current().is_none() => {
                self.in_force.refuse(none)
            }
            Ok(()) => self.in_force.put(config),
        };
        self.follow_labels();
        self.tell_of_config(effect);
    }
}

impl Sourcing {
    /// The compiled object may have to be written.
    fn compare(&mut self) {
        if self.writing != Write::UnderWay {
            self.writing = Write::Due;
        }
    }
}
