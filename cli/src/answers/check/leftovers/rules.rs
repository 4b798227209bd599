//! What is right, and what to do where it is not.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::admissionregistration::v1::{
    ValidatingWebhook, ValidatingWebhookConfiguration,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::ResourceExt;
use serde_json::Value;

use super::super::{Finding, Verdict};
use super::{GROUP, Leftovers};
use crate::output::page;

const UPDATE: &str = "kubectl ferrolb crds | kubectl apply --server-side --force-conflicts -f -";
const PAGE: &str = page!("migrate-from-metallb.md");
/// More names than these are counted.
const NAMED: usize = 5;

/// Judges it for FerroLB in `namespace`.
pub(in crate::answers::check) fn judge(leftovers: &Leftovers, namespace: &str) -> Vec<Finding> {
    let mut findings = webhooks(leftovers);
    findings.extend(conversions(leftovers));
    findings.extend(definitions_that_go(leftovers));
    findings.extend(definitions_of_helm(leftovers));
    findings.extend(fields_that_are_missing(leftovers));
    findings.extend(pools_elsewhere(leftovers, namespace));
    findings
}

/// The Services that its hooks for objects of the group ask, and whether a hook refuses when nobody answers.
pub(super) fn asked_by_webhook(
    webhooks: &ValidatingWebhookConfiguration,
) -> impl Iterator<Item = ((String, String), bool)> {
    let of_group = |hook: &&ValidatingWebhook| {
        let groups = hook
            .rules
            .iter()
            .flatten()
            .flat_map(|rule| &rule.api_groups);
        groups.flatten().any(|group| group == GROUP)
    };
    let hooks = webhooks.webhooks.iter().flatten().filter(of_group);
    hooks.filter_map(|hook| {
        let service = hook.client_config.service.as_ref()?;
        let refuses = hook.failure_policy.as_deref() != Some("Ignore");
        Some(((service.namespace.clone(), service.name.clone()), refuses))
    })
}

/// The Service that converts between its versions.
pub(super) fn asked_by_conversion(
    definition: &CustomResourceDefinition,
) -> Option<(String, String)> {
    let conversion = definition.spec.conversion.as_ref()?;
    let service = conversion.webhook.as_ref()?.client_config.as_ref()?;
    let service = service.service.as_ref()?;
    Some((service.namespace.clone(), service.name.clone()))
}

/// Where MetalLB was removed by hand, its webhook stays, and refuses what it cannot be asked about.
fn webhooks(leftovers: &Leftovers) -> Vec<Finding> {
    let mut findings = Vec::new();
    for one in leftovers.webhooks.iter().flatten() {
        let silent = asked_by_webhook(one)
            .filter(|(service, _)| leftovers.answering.get(service) == Some(&false));
        let silent: BTreeMap<_, _> = silent.collect();
        let name = one.name_any();
        for ((namespace, service), refuses) in silent {
            let (verdict, effect) = if refuses {
                (
                    Verdict::Problem,
                    "every change to a pool or an advertisement is refused",
                )
            } else {
                (
                    Verdict::Warning,
                    "every change to a pool or an advertisement waits for it in vain",
                )
            };
            findings.push(Finding::bad(
                verdict,
                format!(
                    "webhook {name} asks Service {namespace}/{service}, where nobody answers: {effect}"
                ),
                format!("kubectl delete validatingwebhookconfiguration {name}"),
            ));
        }
    }
    findings
}

fn conversions(leftovers: &Leftovers) -> Vec<Finding> {
    let mut findings = Vec::new();
    for definition in leftovers.definitions.iter().flatten() {
        let Some(service) = asked_by_conversion(definition) else {
            continue;
        };
        if leftovers.answering.get(&service) == Some(&false) {
            let name = definition.name_any();
            findings.push(Finding::bad(
                Verdict::Problem,
                format!(
                    "{name} converts between its versions by Service {}/{}, where nobody answers: objects of a \
                     version that is not stored can be neither read nor written",
                    service.0, service.1
                ),
                format!(
                    "kubectl patch crd {name} --type=merge -p \
                     '{{\"spec\":{{\"conversion\":{{\"strategy\":\"None\",\"webhook\":null}}}}}}'"
                ),
            ));
        }
    }
    findings
}

fn definitions_that_go(leftovers: &Leftovers) -> Option<Finding> {
    let definitions = leftovers.definitions.iter().flatten();
    let going = definitions.filter(|one| one.metadata.deletion_timestamp.is_some());
    let going: Vec<_> = going.map(ResourceExt::name_any).collect();
    (!going.is_empty()).then(|| {
        Finding::bad(
            Verdict::Problem,
            format!(
                "{} being deleted, and every object of these kinds with them",
                some_of(&going, "is", "are")
            ),
            format!("wait until they are gone, then run {UPDATE}, and apply your objects again"),
        )
    })
}

/// MetalLB's chart has them as templates: uninstalling it takes every pool away.
fn definitions_of_helm(leftovers: &Leftovers) -> Vec<Finding> {
    let definitions = leftovers.definitions.iter().flatten();
    let release = |one: &CustomResourceDefinition| {
        let annotation = |name: &str| one.annotations().get(name).cloned();
        let release = annotation("meta.helm.sh/release-name")?;
        Some((annotation("meta.helm.sh/release-namespace"), release))
    };
    let releases: BTreeSet<_> = definitions.filter_map(release).collect();
    let finding = |(namespace, release): (Option<String>, String)| {
        let namespace = namespace.unwrap_or_default();
        Finding::bad(
            Verdict::Warning,
            format!(
                "the definitions of MetalLB's objects belong to Helm release {namespace}/{release}: helm uninstall \
                 deletes them, and every pool with them"
            ),
            format!(
                "keep a copy before: kubectl ferrolb migrate --to objects > objects.yaml ({PAGE})"
            ),
        )
    };
    releases.into_iter().map(finding).collect()
}

/// The API server drops from objects what an older definition does not know.
fn fields_that_are_missing(leftovers: &Leftovers) -> Vec<Finding> {
    let mut findings = Vec::new();
    for definition in leftovers.definitions.iter().flatten() {
        let name = definition.name_any();
        let ours = crate::crds::definitions();
        let Some(ours) = ours
            .into_iter()
            .find(|one| one["metadata"]["name"] == *name)
        else {
            continue;
        };
        let Ok(theirs) = serde_json::to_value(definition) else {
            continue;
        };
        let missing: Vec<_> = missing(&ours, &theirs).into_iter().collect();
        if !missing.is_empty() {
            findings.push(Finding::bad(
                Verdict::Warning,
                format!(
                    "{name} in this cluster does not know {}: the API server drops it from objects",
                    some_of(&missing, "", "").trim_end()
                ),
                UPDATE,
            ));
        }
    }
    findings
}

/// Fields of the version that is stored, without those whose parent is missing.
fn missing(ours: &Value, theirs: &Value) -> BTreeSet<String> {
    let schema = |definition: &Value| -> Option<Value> {
        let mut versions = definition["spec"]["versions"].as_array()?.iter();
        let stored = versions.find(|version| version["storage"] == true)?;
        Some(stored["schema"]["openAPIV3Schema"].clone())
    };
    let mut found = BTreeSet::new();
    if let (Some(ours), Some(theirs)) = (schema(ours), schema(theirs)) {
        compare(&ours, &theirs, "", &mut found);
    }
    found
}

fn compare(ours: &Value, theirs: &Value, path: &str, found: &mut BTreeSet<String>) {
    if theirs["x-kubernetes-preserve-unknown-fields"] == true {
        return;
    }
    for (name, field) in ours["properties"].as_object().into_iter().flatten() {
        let path = match path {
            "" => name.clone(),
            path => format!("{path}.{name}"),
        };
        match theirs["properties"].get(name) {
            Some(theirs) => compare(field, theirs, &path, found),
            None => {
                found.insert(path);
            }
        }
    }
    if let (Some(ours), Some(theirs)) = (ours.get("items"), theirs.get("items")) {
        compare(ours, theirs, &format!("{path}[]"), found);
    }
}

fn pools_elsewhere(leftovers: &Leftovers, namespace: &str) -> Option<Finding> {
    let pools = leftovers.pools.iter();
    let elsewhere = pools.filter(|pool| pool.namespace.as_deref() != Some(namespace));
    let elsewhere: Vec<_> = elsewhere.map(ToString::to_string).collect();
    (!elsewhere.is_empty()).then(|| {
        Finding::bad(
            Verdict::Warning,
            format!(
                "FerroLB in {namespace} does not read IPAddressPool {}: it reads those of its own namespace",
                some_of(&elsewhere, "", "").trim_end()
            ),
            format!("apply them in {namespace}, or use -n to say where FerroLB runs"),
        )
    })
}

/// `a, b and 3 more are`
fn some_of(names: &[String], one: &str, several: &str) -> String {
    let shown = names
        .iter()
        .take(NAMED)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    let rest = names.len().saturating_sub(NAMED);
    let more = if rest > 0 {
        format!(" and {rest} more")
    } else {
        String::new()
    };
    let verb = if names.len() == 1 { one } else { several };
    format!("{shown}{more} {verb}")
}
