//! What is said of the sources: of each object, of what waits, and of what does not count.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::IpAddr;

use ferrolb_core::Reason;
use ferrolb_core::config::objects::{Finding, Kind, ObjectRef, Severity};
use ferrolb_core::names::event;
use ferrolb_core::report::ObjectStatus;
use ferrolb_core::source::Source;

use super::super::Index;
use crate::notice::{self, Notice};

/// More pools are not told what they lack, nor more addresses.
const TOLD: usize = 16;

impl Index {
    /// Says of each object what is to be said, once for each version of it.
    pub(super) fn tell_findings(&mut self, is_first: bool) {
        let Some(sourcing) = &mut self.sourcing else {
            return;
        };
        let mut notices = Vec::new();
        let mut refused: BTreeMap<ObjectRef, bool> = BTreeMap::new();
        let findings = sourcing.objects.iter().flat_map(|it| &it.findings);
        let mut found: BTreeMap<ObjectRef, Vec<&Finding>> = BTreeMap::new();
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
                Entry::Occupied(before) if *before.get() == said => continue,
                Entry::Occupied(mut before) => drop(before.insert(said)),
                Entry::Vacant(none) => drop(none.insert(said)),
            }
            for finding in findings {
                let (name, effect) = match (finding.severity, finding.former_in_force) {
                    (Severity::Warning, _) => (event_of(finding.reason), ""),
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

    pub(super) fn tell_pools_gone(&mut self) {
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
    pub(super) fn tell_verdict(&mut self) {
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

    /// What the sources hold up, for people.
    pub(in crate::index) fn sources_blocker(&self) -> Option<String> {
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
    pub(in crate::index) fn object_statuses(&self) -> Vec<ObjectStatus> {
        let objects = self.sourcing.iter().flat_map(|it| &it.objects);
        let findings = objects.flat_map(|it| &it.findings);
        findings.map(ObjectStatus::from).collect()
    }

    /// Where what is in force comes from, and the addresses for which a change to objects waits.
    pub(in crate::index) fn source_status(&self) -> (Option<Source>, Vec<IpAddr>) {
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

    /// Whether the `ConfigMap` is in force, so that nobody judges the objects.
    #[must_use]
    pub fn leaves_objects_aside(&self) -> bool {
        let sourcing = self.sourcing.as_ref();
        self.leading && sourcing.and_then(|it| it.sources.in_force()) == Some(Source::ConfigMap)
    }

    /// Whether the newest version of an object is not in force, although objects count.
    pub(in crate::index) fn has_refused_objects(&self) -> bool {
        self.sourcing.as_ref().is_some_and(|sourcing| {
            sourcing.sources.in_force() == Some(Source::Objects) && !sourcing.was_refused.is_empty()
        })
    }
}

/// What the Event of a warning is called.
const fn event_of(reason: Reason) -> event::EventReason {
    match reason {
        Reason::NotAdvertised => event::NOT_ADVERTISED,
        Reason::AddressesLeftOut => event::ADDRESSES_LEFT_OUT,
        _ => event::CONFIG_WARNING,
    }
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
