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
use std::collections::btree_map::Entry as MapEntry;
use std::net::IpAddr;
use std::time::Duration;

use ferrolb_core::alloc::Refusal;
use ferrolb_core::compiled::{self, Compiled, Unread};
use ferrolb_core::config::Config;
use ferrolb_core::config::objects::{self, Kind, ObjectRef, Objects, Severity};
use ferrolb_core::in_force::Effect;
use ferrolb_core::names::{FIELD_MANAGER, event};
use ferrolb_core::report::ObjectStatus;
use ferrolb_core::source::{
    Change, Choice, Collector, Due, Held, Presence, Put, Seen, Source, Sources, Verdict,
};
use ferrolb_core::{Instant, Reason};

use super::Index;
use crate::compiled::{CompiledView, CompiledWrite, Written};
use crate::notice::{self, Notice};
use crate::source::ConfigMapView;

/// Whom the API server did not let write asks again.
const WRITE_AGAIN: Duration = Duration::from_secs(5);
/// More pools are not told what they lack, nor more addresses.
const TOLD: usize = 16;

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

    /// The compiled object was read; `None` if there is none.
    pub fn handle_compiled(&mut self, view: Option<CompiledView>) {
        let Some(sourcing) = &mut self.sourcing else {
            return;
        };
        let is_first = sourcing.seen.is_none();
        sourcing.seen = Some(view);
        sourcing.is_open = true;
        sourcing.compare();
        if is_first || !self.leading {
            self.take_over_compiled(is_first);
        }
    }

    /// What another process has put in force is in force.
    fn take_over_compiled(&mut self, is_first: bool) {
        let Some(sourcing) = &mut self.sourcing else {
            return;
        };
        let read = match sourcing.seen.iter().flatten().next() {
            Some(view) => compiled::read(&view.data, &view.uid),
            None => Err(Unread::Unmarked),
        };
        match read {
            Ok(Compiled { memory, config }) => {
                let is_of_objects = memory.source == Source::Objects;
                sourcing.sources.restore(memory);
                let namespace = sourcing.namespace.clone();
                sourcing.compiler = Some(match is_of_objects {
                    true => Objects::restored(namespace, config.clone()),
                    false => Objects::new(namespace),
                });
                let effect = match is_first {
                    true => self.in_force.start_from(config),
                    false => self.in_force.put(config),
                };
                self.config_is_no_news = true;
                self.follow_labels();
                self.tell_of_config(effect);
            }
            Err(unread) => {
                let namespace = sourcing.namespace.clone();
                if is_first {
                    sourcing.compiler = Some(Objects::new(namespace));
                }
                let refusal = unread.refusal();
                if let Some(refusal) =
                    refusal.filter(|it| sourcing.said_unread.as_ref() != Some(it))
                {
                    tracing::warn!(reason = %refusal.reason, "{refusal}");
                    sourcing.said_unread = Some(refusal);
                }
            }
        }
    }

    /// Whether the API server has to be asked which kinds it has.
    pub fn poll_look(&mut self) -> bool {
        let looks = self.sourcing.as_mut().map(|it| &mut it.looks);
        looks.is_some_and(std::mem::take)
    }

    /// When [`Self::follow_sources`] has something to do.
    pub(super) fn sources_due(&self) -> Option<Instant> {
        let sourcing = self.sourcing.as_ref()?;
        let dates = [
            sourcing.sources.poll_timeout(),
            sourcing.collector.poll_timeout(),
            match sourcing.writing {
                Write::Failed(until, _) => Some(until),
                _ => None,
            },
        ];
        // Until then nothing can be decided.
        let dates = dates.into_iter().flatten().filter(|_| self.can_judge());
        dates.min()
    }

    fn can_judge(&self) -> bool {
        let is_read = |it: &Sourcing| it.compiler.is_some();
        let is_read = self.sourcing.as_ref().is_some_and(|it| is_read(it));
        is_read && self.leading && self.config_listed && self.services_listed
    }

    /// Puts in force what counts.
    pub fn follow_sources(&mut self, now: Instant) {
        let can_judge = self.can_judge();
        let Some(sourcing) = &mut self.sourcing else {
            return;
        };
        sourcing.now = now;
        if !can_judge {
            return;
        }
        match sourcing.collector.poll_due(now) {
            Due::Nothing => {}
            Due::Look => sourcing.looks = true,
            Due::Compile => self.compile(),
        }
        self.judge(now);
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

    /// Says of each object what is to be said, once for each version of it.
    fn tell_findings(&mut self, is_first: bool) {
        let Some(sourcing) = &mut self.sourcing else {
            return;
        };
        let mut notices = Vec::new();
        let mut refused: BTreeMap<ObjectRef, bool> = BTreeMap::new();
        let findings = sourcing.objects.iter().flat_map(|it| &it.findings);
        let mut found: BTreeMap<ObjectRef, Vec<&objects::Finding>> = BTreeMap::new();
        for finding in findings {
            found
                .entry(finding.object.clone())
                .or_default()
                .push(finding);
        }
        sourcing.said.retain(|object, _| found.contains_key(object));
        for (object, findings) in found {
            let view = sourcing.collector.view(object.kind, &object.name);
            let generation = view.map_or(0, |view| view.generation);
            let texts: Vec<_> = findings.iter().map(|finding| finding.text()).collect();
            let is_refused = findings.iter().any(|it| it.severity == Severity::Refused);
            if is_refused {
                refused.insert(object.clone(), true);
            }
            let said = (generation, texts);
            match sourcing.said.entry(object.clone()) {
                MapEntry::Occupied(before) if *before.get() == said => continue,
                MapEntry::Occupied(mut before) => drop(before.insert(said)),
                MapEntry::Vacant(none) => drop(none.insert(said)),
            }
            for finding in findings {
                let (name, effect) = match (finding.severity, finding.former_in_force) {
                    (Severity::Warning, _) => (event::CONFIG_WARNING, ""),
                    (Severity::Refused, true) => (
                        event::CONFIG_REFUSED,
                        "its last good version stays in force: ",
                    ),
                    (Severity::Refused, false) => (event::CONFIG_REFUSED, "it is not in force: "),
                };
                tracing::warn!(reason = %finding.reason, effect, "{finding}");
                let message = format!("{effect}{}", finding.text());
                let notice = Notice::warning(notice::object(&object), name, message);
                notices.push(if is_first { notice.no_news() } else { notice });
            }
        }
        // The next good version.
        for object in std::mem::take(&mut sourcing.was_refused).into_keys() {
            let is_there = sourcing.collector.view(object.kind, &object.name).is_some();
            if is_there && !refused.contains_key(&object) {
                tracing::info!(%object, "in force");
                let message = "it is valid again".to_owned();
                let object = notice::object(&object);
                notices.push(Notice::normal(object, event::CONFIG_ACCEPTED, message));
            }
        }
        sourcing.was_refused = refused;
        for notice in notices {
            self.say(notice);
        }
    }

    fn judge(&mut self, now: Instant) {
        let Some(sourcing) = &mut self.sourcing else {
            return;
        };
        let is_over = sourcing.sources.poll_timeout().is_some_and(|at| at <= now);
        let is_known = sourcing.collector.missing(now).is_none();
        let Some(objects) = sourcing.objects.as_ref().filter(|_| is_known) else {
            return;
        };
        if !(sourcing.is_open || is_over) || self.in_force.awaits_labels() {
            return;
        }
        // Whether an advertisement covers a Service is not known before its labels are.
        if sourcing.collector.pools() > 0 && !self.in_force.need(&objects.config) {
            self.follow_labels();
            return;
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
        let effect = match compiled::check_size(&config) {
            Err(refusal) => self.in_force.refuse(refusal),
            Ok(()) if config.pools.is_empty() && self.in_force.current().is_none() => {
                self.in_force.refuse(none)
            }
            Ok(()) => self.in_force.put(config),
        };
        self.follow_labels();
        self.tell_of_config(effect);
        if effect == Effect::Replaced {
            self.tell_not_advertised();
        }
    }

    /// Pools whose addresses nobody announces: the commonest slip of all.
    fn tell_not_advertised(&mut self) {
        let (Some(sourcing), Some(config)) = (&self.sourcing, self.in_force.current()) else {
            return;
        };
        let mut notices = Vec::new();
        for pool in &config.pools {
            let protocols = config.protocols_of(&pool.name);
            let view = sourcing.collector.view(Kind::IpAddressPool, &pool.name);
            let Some(view) = view.filter(|_| !protocols.layer2 && !protocols.bgp) else {
                continue;
            };
            let message = "its addresses are given and nobody announces them: create an L2Advertisement \
                           that covers this pool";
            let object = notice::object(&view.object_ref());
            let notice = Notice::warning(object, event::NOT_ADVERTISED, message.to_owned());
            // Once, whatever else changes.
            notices.push(notice.no_news());
        }
        for notice in notices {
            self.say(notice);
        }
    }

    fn tell_pools_gone(&mut self) {
        let Some(sourcing) = &self.sourcing else {
            return;
        };
        let message = "the last IPAddressPool is gone: no address is given any more, and Services keep those \
                       that they have. A ConfigMap counts once it is edited, or with configSource: configmap";
        tracing::warn!("{message}");
        if let Some(Some(view)) = &sourcing.seen {
            let name = format!("{}/{}", sourcing.namespace, sourcing.name);
            let object = notice::config_map(&name, &view.uid, &view.resource_version);
            self.say(Notice::warning(
                object,
                event::POOLS_GONE,
                message.to_owned(),
            ));
        }
    }

    /// Says what waits, and what does not count.
    fn tell_verdict(&mut self) {
        let Some(sourcing) = &mut self.sourcing else {
            return;
        };
        let Some(verdict) = &sourcing.verdict else {
            return;
        };
        let mut notices = Vec::new();
        if verdict.missing != sourcing.said_waits {
            sourcing.said_waits.clone_from(&verdict.missing);
            if !verdict.missing.is_empty() {
                let message = waits(&verdict.missing);
                let reason = Reason::ConfigWaits;
                tracing::warn!(%reason, "{message}");
                let views = sourcing.collector.views();
                let pools = views.filter(|view| view.kind == Kind::IpAddressPool);
                for pool in pools.take(TOLD) {
                    let object = notice::object(&pool.object_ref());
                    let notice = Notice::warning(object, event::CONFIG_WAITS, message.clone());
                    notices.push(notice.one_about(reason));
                }
            }
        }
        let ignored = sourcing.text.as_ref().filter(|_| verdict.ignores_text);
        if let Some(text) = ignored.filter(|text| sourcing.said_ignored.as_ref() != Some(&text.id))
        {
            sourcing.said_ignored = Some(text.id.clone());
            let message = "it does not count, since MetalLB's objects are in force: delete it, or choose it \
                           with configSource: configmap";
            let (config, reason) = (&self.source, Reason::ConfigIgnored);
            tracing::warn!(config, %reason, "{message}");
            let object = text.object(&self.source);
            let notice = Notice::warning(object, event::CONFIG_IGNORED, message.to_owned());
            notices.push(notice.no_news());
        }
        for notice in notices {
            self.say(notice);
        }
    }

    /// The next write of the compiled object.
    pub fn poll_compiled(&mut self, now: Instant) -> Option<CompiledWrite> {
        let sourcing = self.sourcing.as_mut()?;
        let is_due = match &sourcing.writing {
            Write::Due => true,
            Write::Failed(until, _) => *until <= now,
            Write::Idle | Write::UnderWay => false,
        };
        if !(is_due && self.leading && sourcing.is_judged) {
            return None;
        }
        let write = wanted(sourcing, self.in_force.current());
        sourcing.writing = match write {
            Some(_) => Write::UnderWay,
            None => Write::Idle,
        };
        write
    }

    /// What came of a write of the compiled object.
    pub fn handle_compiled_written(&mut self, written: Written, now: Instant) {
        let Some(sourcing) = &mut self.sourcing else {
            return;
        };
        match written {
            Written::Done(view) => {
                sourcing.seen = Some(Some(view));
                sourcing.writing = Write::Due;
            }
            Written::Conflict => {
                sourcing.writing =
                    Write::Failed(now + WRITE_AGAIN, "it changed meanwhile".to_owned());
            }
            Written::Failed(error) => {
                let name = &sourcing.name;
                tracing::warn!(
                    name,
                    error,
                    "compiled configuration not written, trying again"
                );
                sourcing.writing = Write::Failed(now + WRITE_AGAIN, error);
            }
        }
    }

    /// Whether statuses have to wait: they depend on what no speaker can read yet.
    pub(super) fn awaits_compiled(&self) -> bool {
        self.sourcing.as_ref().is_some_and(|sourcing| {
            sourcing.sources.in_force() == Some(Source::Objects)
                && sourcing.writing != Write::Idle
                && wanted(sourcing, self.in_force.current()).is_some()
        })
    }

    /// What the sources hold up, for people.
    pub(super) fn sources_blocker(&self) -> Option<String> {
        let sourcing = self.sourcing.as_ref()?;
        let (namespace, name) = (&sourcing.namespace, &sourcing.name);
        match &sourcing.seen {
            None => {
                return Some(format!(
                    "configuration: ConfigMap {namespace}/{name} not read yet"
                ));
            }
            // No speaker would learn of it.
            Some(None) if self.leading && sourcing.sources.in_force() == Some(Source::Objects) => {
                return Some(format!(
                    "configuration: ConfigMap {namespace}/{name} is missing, through which speakers learn of \
                     MetalLB's objects: run helm upgrade, or apply the manifest again"
                ));
            }
            Some(_) => {}
        }
        let open = self.leading && !sourcing.is_judged;
        let missing = sourcing.collector.missing(sourcing.now);
        open.then(|| {
            format!(
                "configuration: {}",
                missing.unwrap_or("not decided yet".to_owned())
            )
        })
    }

    /// What is to be said of single objects.
    #[must_use]
    pub(super) fn object_statuses(&self) -> Vec<ObjectStatus> {
        let objects = self.sourcing.iter().flat_map(|it| &it.objects);
        let findings = objects.flat_map(|it| &it.findings);
        let status = |finding: &objects::Finding| ObjectStatus {
            kind: finding.object.kind.to_string(),
            namespace: finding.object.namespace.clone(),
            name: finding.object.name.clone(),
            refused: finding.severity == Severity::Refused,
            former_in_force: finding.former_in_force,
            reason: finding.reason.to_string(),
            message: finding.text(),
        };
        findings.map(status).collect()
    }

    /// Where what is in force comes from, and the addresses for which a change to objects waits.
    pub(super) fn source_status(&self) -> (Option<Source>, Vec<IpAddr>) {
        let Some(sourcing) = &self.sourcing else {
            let is_loaded = self.in_force.current().is_some();
            return (is_loaded.then_some(Source::ConfigMap), Vec::new());
        };
        let missing = sourcing.verdict.iter().flat_map(|it| &it.missing);
        (sourcing.sources.in_force(), missing.copied().collect())
    }

    /// Whether objects are in force, and what is wrong with them: nothing, if it is empty.
    #[must_use]
    pub fn objects_error(&self) -> Option<String> {
        let sourcing = self.sourcing.as_ref()?;
        let objects = sourcing.objects.as_ref()?;
        if !(self.leading && sourcing.sources.in_force() == Some(Source::Objects)) {
            return None;
        }
        let refused = objects
            .findings
            .iter()
            .filter(|it| it.severity == Severity::Refused);
        let refused: Vec<_> = refused.map(ToString::to_string).collect();
        Some(refused.join("; "))
    }

    /// Whether the newest version of an object is not in force, although objects count.
    pub(super) fn has_refused_objects(&self) -> bool {
        self.sourcing.as_ref().is_some_and(|sourcing| {
            sourcing.sources.in_force() == Some(Source::Objects) && !sourcing.was_refused.is_empty()
        })
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

/// What has to be written, if something has.
fn wanted(sourcing: &Sourcing, current: Option<&Config>) -> Option<CompiledWrite> {
    let (memory, config) = sourcing.sources.memory().zip(current)?;
    let view = sourcing.seen.as_ref()?.as_ref()?;
    let compiled = Compiled {
        memory,
        config: config.clone(),
    };
    // One that does not fit comes from a ConfigMap, which speakers read themselves.
    let data = compiled::write(&compiled, &view.uid).ok()?;
    (!compiled::says(&view.data, &data)).then(|| CompiledWrite {
        name: sourcing.name.clone(),
        resource_version: view.resource_version.clone(),
        data,
    })
}

/// For people.
fn waits(missing: &[IpAddr]) -> String {
    let first: Vec<_> = missing.iter().take(TOLD).map(ToString::to_string).collect();
    let more = missing.len().saturating_sub(TOLD);
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    format!(
        "what is in force stays until the objects hold and announce all addresses in use: {}{more} missing. \
         Add them to a pool that an advertisement covers",
        first.join(", ")
    )
}

#[cfg(test)]
mod tests;
