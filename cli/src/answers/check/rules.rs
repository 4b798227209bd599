//! What is right, and what to do where it is not.

use std::collections::BTreeSet;

use ferrolb_core::config::{Outcome, of_data};
use ferrolb_core::names::ANNOTATION_WITHOUT_EFFECT;
use k8s_openapi::api::apps::v1::DaemonSet;
use kube::ResourceExt;
use serde_yaml::Value;

use super::facts::{Facts, marks_pods};
use super::{Finding, Verdict, leftovers};
use crate::daemons::Component;
use crate::output::{counted, page};
use crate::picture::{Picture, Severity};

/// The oldest Kubernetes that the chart installs on.
const OLDEST: (u32, u32) = (1, 22);
const ENFORCE: &str = "pod-security.kubernetes.io/enforce";
/// On the DaemonSets of k3s' ServiceLB, one for each Service.
const K3S_SERVICELB: &str = "svccontroller.k3s.cattle.io/svcname";

/// Judges what FerroLB meets in the cluster.
pub(super) fn of_the_cluster(facts: &Facts) -> Vec<Finding> {
    let mut findings: Vec<_> = facts
        .unread
        .iter()
        .map(|what| {
            let found = format!("not checked: {what}");
            Finding::bad(
                Verdict::Unknown,
                found,
                "ask somebody with the right to read it",
            )
        })
        .collect();
    findings.push(version(facts));
    findings.extend(other_providers(facts));
    findings.extend(kube_proxy(facts));
    findings.extend(pod_security(facts));
    findings.extend(leftovers::judge(&facts.leftovers, &facts.namespace));
    findings.extend(without_effect(facts));
    findings.extend(configuration(facts));
    findings
}

/// Values of MetalLB's chart that change nothing here; whoever deploys by GitOps sees no installation notes.
fn without_effect(facts: &Facts) -> Option<Finding> {
    let sets = facts.daemon_sets.iter().flatten();
    let mut ours = sets.filter(|set| set.namespace().as_deref() == Some(&facts.namespace));
    let values = ours.find_map(|set| set.annotations().get(ANNOTATION_WITHOUT_EFFECT).cloned())?;
    Some(Finding::bad(
        Verdict::Warning,
        format!("values of MetalLB's chart that have no effect on FerroLB: {values}"),
        "remove them when you have time",
    ))
}

fn version(facts: &Facts) -> Finding {
    let (major, minor) = facts.version;
    let found = format!("Kubernetes {major}.{minor}");
    if facts.version < OLDEST {
        let remedy = format!("FerroLB needs {}.{} or newer", OLDEST.0, OLDEST.1);
        return Finding::bad(Verdict::Problem, found, remedy);
    }
    Finding::ok(found)
}

fn other_providers(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    // What could not be read is said already.
    let Some(daemon_sets) = &facts.daemon_sets else {
        return findings;
    };
    let mut k3s = BTreeSet::new();
    for set in daemon_sets {
        let name = || format!("{}/{}", set.namespace().unwrap_or_default(), set.name_any());
        if set.labels().contains_key(K3S_SERVICELB) {
            k3s.insert(name());
        }
        // minikube's addon may run our images under MetalLB's labels.
        if is_metallb(set) && !images(set).any(|image| image.contains("ferrolb/")) {
            let found = format!("MetalLB is running (DaemonSet {})", name());
            let remedy = concat!(
                "remove it, or give one of the two a load balancer class: ",
                page!("migrate-from-metallb.md")
            );
            findings.push(Finding::bad(Verdict::Problem, found, remedy));
        }
    }
    if let Some(first) = k3s.first() {
        let found = format!("k3s' ServiceLB also serves Services (DaemonSet {first})");
        let remedy = "start k3s with --disable servicelb";
        findings.push(Finding::bad(Verdict::Problem, found, remedy));
    }
    if findings.is_empty() {
        findings.push(Finding::ok("no other known load balancer is running"));
    }
    findings
}

fn is_metallb(set: &DaemonSet) -> bool {
    let template = set
        .spec
        .as_ref()
        .and_then(|spec| spec.template.metadata.as_ref());
    let labels = template.and_then(|metadata| metadata.labels.as_ref());
    labels.is_some_and(|labels| {
        ["app", "app.kubernetes.io/name"]
            .iter()
            .any(|key| labels.get(*key).is_some_and(|value| value == "metallb"))
    })
}

fn images(set: &DaemonSet) -> impl Iterator<Item = &str> {
    let spec = set
        .spec
        .as_ref()
        .and_then(|spec| spec.template.spec.as_ref());
    let containers = spec.into_iter().flat_map(|spec| &spec.containers);
    containers.filter_map(|container| container.image.as_deref())
}

/// In IPVS mode kube-proxy puts every address on an interface of every node, and each of them answers
/// ARP unless it is told not to.
fn kube_proxy(facts: &Facts) -> Option<Finding> {
    let config: Value = serde_yaml::from_str(facts.kube_proxy.as_ref()?).ok()?;
    if config.get("mode").and_then(Value::as_str) != Some("ipvs") {
        return Some(Finding::ok("kube-proxy answers no ARP"));
    }
    let strict = config.get("ipvs").and_then(|ipvs| ipvs.get("strictARP"));
    if strict.and_then(Value::as_bool) == Some(true) {
        return Some(Finding::ok("kube-proxy in IPVS mode, with strictARP"));
    }
    Some(Finding::bad(
        Verdict::Problem,
        "kube-proxy in IPVS mode makes every node answer ARP for every address",
        "set ipvs.strictARP: true in ConfigMap kube-system/kube-proxy, and restart kube-proxy",
    ))
}

/// None where the labels cannot be read.
fn pod_security(facts: &Facts) -> Option<Finding> {
    let namespace = &facts.namespace;
    if !facts.namespace_exists {
        return Some(Finding::ok(format!(
            "namespace {namespace} does not exist yet: helm install --create-namespace creates it"
        )));
    }
    let level = facts.labels.as_ref()?.get(ENFORCE);
    Some(match level.map(String::as_str) {
        Some("privileged") => Finding::ok(format!("namespace {namespace} allows speakers")),
        Some(level) => Finding::bad(
            Verdict::Problem,
            format!(
                "namespace {namespace} enforces Pod Security level {level}: no speaker can start"
            ),
            format!("kubectl label namespace {namespace} {ENFORCE}=privileged --overwrite"),
        ),
        None => Finding::ok(format!(
            "namespace {namespace} has no Pod Security label: the cluster's default applies"
        )),
    })
}

/// None where it cannot be read.
fn configuration(facts: &Facts) -> Option<Finding> {
    let name = format!("{}/config", facts.namespace);
    let status = facts.picture.as_ref();
    let status = status.and_then(|picture| picture.controller.as_ref().ok());
    // What is wrong with single objects, the daemons say.
    if let Some(status) = status.filter(|status| status.configuration.is_of_objects()) {
        let pools = counted(status.pools.len(), "pool");
        let origin = status.configuration.origin();
        return Some(Finding::ok(format!("{pools} in force, from {origin}")));
    }
    let objects = facts.leftovers.pools_in(&facts.namespace);
    if facts.config.as_ref().is_some_and(Option::is_none) && objects > 0 {
        let pools = counted(objects, "IPAddressPool");
        return Some(Finding::ok(format!(
            "{pools} in namespace {}",
            facts.namespace
        )));
    }
    let Some(map) = facts.config.as_ref()? else {
        let found = format!(
            "there is no ConfigMap {name} and no IPAddressPool yet: Services will stay <pending>"
        );
        return Some(Finding::bad(
            Verdict::Warning,
            found,
            concat!("write one, or IPAddressPools: ", page!("configure.md")),
        ));
    };
    Some(match of_data(map.data.as_ref()) {
        Outcome::Valid(config) => {
            let pools = counted(config.pools.len(), "pool");
            Finding::ok(format!("{pools} in ConfigMap {name}"))
        }
        Outcome::Partly(_, problems) => Finding::bad(
            Verdict::Warning,
            format!(
                "ConfigMap {name} is in force, except for addresses that no host can have: {problems}"
            ),
            "write what it suggests for those lines",
        ),
        Outcome::NotConfigured(why) => Finding::bad(
            Verdict::Warning,
            format!("ConfigMap {name}: {why}"),
            concat!("write pools: ", page!("configure.md")),
        ),
        Outcome::Refused(problems) => Finding::bad(
            Verdict::Problem,
            format!("ConfigMap {name} is refused: {problems}"),
            format!(
                "kubectl get configmap -n {} config -o yaml | kubectl ferrolb validate -",
                facts.namespace
            ),
        ),
    })
}

/// Judges what runs of FerroLB.
pub(super) fn of_the_daemons(facts: &Facts) -> Vec<Finding> {
    // What could not be read is said already.
    let Some(picture) = &facts.picture else {
        return Vec::new();
    };
    if picture.daemons.is_empty() {
        return vec![Finding::bad(
            Verdict::Problem,
            "no FerroLB pods found",
            "install it, or use -n NAMESPACE to say where it runs",
        )];
    }
    let judged = &picture.verdict;
    let mut findings = Vec::new();
    if judged.is_well() {
        findings.push(Finding::ok(format!(
            "{} and {} answer, and every address that should be announced is announced once",
            counted(running(picture, Component::Controller), "controller"),
            counted(running(picture, Component::Speaker), "speaker"),
        )));
    }
    for (severity, verdict) in [
        (Severity::Note, Verdict::Warning),
        (Severity::Unknown, Verdict::Unknown),
        (Severity::Problem, Verdict::Problem),
    ] {
        findings.extend(judged.of(severity).map(|finding| Finding {
            verdict,
            found: finding.sentence(picture.now),
            remedy: None,
        }));
    }
    if marks_pods(picture) {
        findings.extend(of_votes(facts));
        findings.extend(of_policy(facts));
    }
    findings
}

/// A token names its node from Kubernetes 1.32 on: by it a policy binds votes on dead nodes to their writer.
const TOKENS_NAME_NODES: (u32, u32) = (1, 32);

fn of_votes(facts: &Facts) -> Option<Finding> {
    (facts.version < TOKENS_NAME_NODES).then(|| {
        Finding::bad(
            Verdict::Warning,
            "deadNodes.endpoints is remove, and before Kubernetes 1.32 a compromised speaker can forge the votes \
             of others",
            "upgrade Kubernetes; docs/security.md says what such a vote can do",
        )
    })
}

fn of_policy(facts: &Facts) -> Option<Finding> {
    (facts.limits_pod_status == Some(false)).then(|| {
        Finding::bad(
            Verdict::Warning,
            "deadNodes.endpoints is remove, and no policy limits the right to patch pods/status: with the \
             controller's token labels and addresses of any pod can be changed",
            "on Kubernetes 1.30 or later take deadNodes.withoutPolicy out of the values; docs/security.md says more",
        )
    })
}

fn running(picture: &Picture, component: Component) -> usize {
    let daemons = picture.daemons.iter();
    daemons.filter(|one| one.component == component).count()
}

#[cfg(test)]
mod tests;
