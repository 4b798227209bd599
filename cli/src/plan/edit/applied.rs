//! What would be in force once the file is applied: by the controller's own rule of which source counts.

use std::net::IpAddr;

use anyhow::bail;
use ferrolb_core::Instant;
use ferrolb_core::config::objects::{Finding, Kind, ObjectRef, ObjectView, Objects};
use ferrolb_core::config::{
    Checked, CheckedFile, Config, NotConfigured, Outcome, apply_manifests, check_manifests,
};
use ferrolb_core::names::FIELD_MANAGER;
use ferrolb_core::report::ObjectStatus;
use ferrolb_core::source::{Choice, Held, Presence, Put, Seen, Source, Sources};

use crate::configured::Configured;
use crate::election::Election;

/// What the cluster has, besides what an election reads.
#[derive(Debug)]
pub(super) struct There {
    /// Where FerroLB runs, and the name of its ConfigMap.
    pub(super) namespace: String,
    pub(super) map: String,
    pub(super) configured: Configured,
    /// MetalLB's objects in that namespace.
    pub(super) views: Vec<ObjectView>,
    /// Whether the cluster has their kinds.
    pub(super) has_kinds: bool,
    /// Whether they may be read.
    pub(super) may_read: bool,
    /// `configSource`
    pub(super) choice: Choice,
}

/// What comes of the file.
#[derive(Debug)]
pub(super) struct Applied {
    /// What would be in force; else the outcome in a word, and why.
    pub(super) result: Result<Config, (&'static str, String)>,
    /// What is to be said of single objects.
    pub(super) objects: Vec<ObjectStatus>,
    pub(super) notes: Vec<String>,
}

/// Applies the file.
///
/// # Errors
/// It has no configuration, or more than one can be in force.
pub(super) fn applied(text: &str, there: &There, election: &Election) -> anyhow::Result<Applied> {
    let namespace = &there.namespace;
    let CheckedFile {
        configurations,
        objects,
    } = check_manifests(text, namespace)?;
    if objects.is_some() && !configurations.is_empty() {
        bail!(
            "it has MetalLB's objects and the configuration of a ConfigMap, and one of the two is in force: \
             put them into two files"
        );
    }
    let mut compiler = match there.configured.memory.source {
        Source::Objects => {
            let before = there.configured.config.clone().unwrap_or_default();
            Objects::restored(namespace.clone(), &before)
        }
        Source::ConfigMap => Objects::new(namespace.clone()),
    };
    let before = compiler.compile(&there.views);
    let mut notes = Vec::new();
    if !there.may_read {
        notes.push(
            "MetalLB's objects in the cluster may not be read, so they count as none".to_owned(),
        );
    } else if objects.is_some() && !there.has_kinds {
        notes.push(
            "the cluster has no such kinds yet: kubectl ferrolb crds | kubectl apply --server-side -f -"
                .to_owned(),
        );
    }
    if objects.is_none() {
        let chosen = the_one(&configurations, namespace, &there.map)?;
        let text = Some(("the file", &chosen.outcome));
        let pools = there.pools();
        let judged = there.judge(text, pools, &before.config, election);
        let mut applied = of_the_text(&chosen.outcome, judged, before.config);
        applied.notes.extend(notes);
        return Ok(applied);
    }
    let Some(applied) = apply_manifests(&mut compiler, text, namespace, &there.views) else {
        bail!("it cannot be read");
    };
    let known = before.findings;
    let is_told = |finding: &&Finding| {
        let is_of_file = applied.named.contains(&ObjectRef {
            uid: String::new(),
            ..finding.object.clone()
        });
        is_of_file || !known.contains(finding)
    };
    let findings = applied.compiled.findings.iter();
    let findings: Vec<_> = findings.filter(is_told).map(ObjectStatus::from).collect();
    let text = there.configured.text.as_ref();
    let text = text.map(|(id, outcome)| (id.as_str(), outcome));
    let judged = there.judge(text, applied.pools, &applied.compiled.config, election);
    Ok(Applied {
        result: of_the_objects(judged, there.choice, applied.compiled.config),
        objects: findings,
        notes,
    })
}

fn of_the_text(outcome: &Outcome, judged: Judged, objects: Config) -> Applied {
    let mut notes = Vec::new();
    let result = match judged.put {
        Put::Text => config_of(outcome),
        Put::Objects if !judged.was_objects => {
            notes.push("MetalLB's objects would be in force in place of the ConfigMap".to_owned());
            Ok(objects)
        }
        Put::Objects | Put::Nothing | Put::Same => Err((
            IGNORED,
            "MetalLB's objects are in force, so the ConfigMap does not count: edit the objects"
                .to_owned(),
        )),
    };
    Applied {
        result,
        objects: Vec::new(),
        notes,
    }
}

fn of_the_objects(
    judged: Judged,
    choice: Choice,
    config: Config,
) -> Result<Config, (&'static str, String)> {
    match judged.put {
        Put::Objects => Ok(config),
        _ if !judged.missing.is_empty() => {
            let missing: Vec<_> = judged.missing.iter().map(ToString::to_string).collect();
            Err((
                WAITS,
                format!(
                    "the objects would wait until they hold and announce all addresses in use; {} missing",
                    missing.join(", ")
                ),
            ))
        }
        _ if choice == Choice::Only(Source::ConfigMap) => Err((
            IGNORED,
            "the ConfigMap is chosen (configSource: configmap), so objects do not count".to_owned(),
        )),
        _ => Err((
            IGNORED,
            "no IPAddressPool could be used, so the objects do not count".to_owned(),
        )),
    }
}

const IGNORED: &str = "ignored";
const WAITS: &str = "waits";

/// What the controller would decide of the two sources.
struct Judged {
    put: Put,
    missing: Vec<IpAddr>,
    was_objects: bool,
}

impl There {
    fn pools(&self) -> usize {
        let pools = self.views.iter();
        pools
            .filter(|view| view.kind == Kind::IpAddressPool)
            .count()
    }

    fn judge(
        &self,
        text: Option<(&str, &Outcome)>,
        pools: usize,
        objects: &Config,
        election: &Election,
    ) -> Judged {
        let memory = &self.configured.memory;
        let current = self.configured.config.as_ref();
        let mut sources = Sources::new(self.choice);
        // With nothing in force the objects go first.
        if current.is_some() || memory.source == Source::Objects {
            sources.restore(memory.clone());
        }
        let services = election.services.iter().filter(|one| one.load_balancer);
        let held: Vec<_> = services
            .flat_map(|service| {
                let ours = service.status_manager.as_deref() == Some(FIELD_MANAGER);
                service.assigned.iter().map(move |address| Held {
                    address: *address,
                    service,
                    ours,
                })
            })
            .collect();
        let now = Instant::START;
        let verdict = sources.judge(
            Seen {
                text,
                pools,
                objects,
                presence: (Presence::Served, now),
                current,
                held: &held,
            },
            now,
        );
        Judged {
            put: verdict.put,
            missing: verdict.missing,
            was_objects: memory.source == Source::Objects,
        }
    }
}

/// Of several configurations in a file the one that the daemons read.
pub(super) fn the_one<'a>(
    checked: &'a [Checked],
    namespace: &str,
    name: &str,
) -> anyhow::Result<&'a Checked> {
    if let [only] = checked {
        return Ok(only);
    }
    let is_it = |one: &&Checked| {
        one.object.as_ref().is_some_and(|object| {
            object.name == name
                && object
                    .namespace
                    .as_deref()
                    .is_none_or(|one| one == namespace)
        })
    };
    match checked.iter().filter(is_it).collect::<Vec<_>>().as_slice() {
        [one] => Ok(one),
        _ => bail!(
            "the file has {} configurations, and the daemons read ConfigMap {namespace}/{name}: leave \
             that one in it",
            checked.len()
        ),
    }
}

/// What it would put in force; or what becomes of it, and why.
pub(super) fn config_of(outcome: &Outcome) -> Result<Config, (&'static str, String)> {
    match outcome {
        Outcome::Valid(config) | Outcome::Partly(config, _) => Ok(config.clone()),
        Outcome::NotConfigured(NotConfigured::Empty) => Ok(Config::default()),
        Outcome::NotConfigured(why) => Err(("not_configured", why.to_string())),
        Outcome::Refused(problems) => Err(("refused", problems.to_string())),
    }
}
