//! What is right, and what to do where it is not.

use std::collections::BTreeSet;

use ferrolb_core::config::{Outcome, of_data};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use serde_yaml::Value;

use super::facts::Facts;
use super::{Finding, Verdict};
use crate::daemons::Component;
use crate::output::{counted, page};

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
            let found = format!("not checked, {what}");
            Finding::bad(Verdict::Warning, found, "ask somebody who may read it")
        })
        .collect();
    findings.push(version(facts));
    findings.extend(other_providers(facts));
    findings.extend(kube_proxy(facts));
    findings.extend(pod_security(facts));
    findings.push(configuration(facts));
    findings
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
    let mut k3s = BTreeSet::new();
    for set in &facts.daemon_sets {
        let name = || format!("{}/{}", set.namespace().unwrap_or_default(), set.name_any());
        if set.labels().contains_key(K3S_SERVICELB) {
            k3s.insert(name());
        }
        // minikube's addon may run our images under MetalLB's labels.
        if is_metallb(set) && !images(set).any(|image| image.contains("ferrolb/")) {
            let found = format!("MetalLB runs (DaemonSet {})", name());
            let remedy = concat!(
                "remove it, or give one of the two a load balancer class: ",
                page!("migrate-from-metallb.md")
            );
            findings.push(Finding::bad(Verdict::Problem, found, remedy));
        }
    }
    if let Some(first) = k3s.first() {
        let found = format!("k3s' ServiceLB serves Services too (DaemonSet {first})");
        let remedy = "start k3s with --disable servicelb";
        findings.push(Finding::bad(Verdict::Problem, found, remedy));
    }
    if findings.is_empty() {
        findings.push(Finding::ok("no other load balancer is known to run"));
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
        "kube-proxy in IPVS mode lets every node answer ARP for every address",
        "set ipvs.strictARP: true in ConfigMap kube-system/kube-proxy, and restart kube-proxy",
    ))
}

/// None where the labels cannot be read.
fn pod_security(facts: &Facts) -> Option<Finding> {
    let namespace = &facts.namespace;
    if !facts.namespace_exists {
        return Some(Finding::ok(format!(
            "namespace {namespace} does not exist yet: helm install --create-namespace makes it"
        )));
    }
    let level = facts.labels.as_ref()?.get(ENFORCE);
    Some(match level.map(String::as_str) {
        Some("privileged") => Finding::ok(format!("namespace {namespace} lets speakers start")),
        Some(level) => Finding::bad(
            Verdict::Problem,
            format!(
                "namespace {namespace} enforces pod security level {level}: no speaker can start"
            ),
            format!("kubectl label namespace {namespace} {ENFORCE}=privileged --overwrite"),
        ),
        None => Finding::ok(format!(
            "namespace {namespace} says nothing of pod security: the cluster's default decides"
        )),
    })
}

fn configuration(facts: &Facts) -> Finding {
    let name = format!("{}/config", facts.namespace);
    let Some(map) = &facts.config else {
        let found = format!("there is no ConfigMap {name} yet: Services will stay <pending>");
        return Finding::bad(
            Verdict::Warning,
            found,
            concat!("write one: ", page!("configure.md")),
        );
    };
    match of_data(map.data.as_ref()) {
        Outcome::Valid(config) => {
            let pools = counted(config.pools.len(), "pool");
            Finding::ok(format!("{pools} in ConfigMap {name}"))
        }
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
    }
}

/// Judges what runs of FerroLB.
pub(super) fn of_the_daemons(facts: &Facts) -> Vec<Finding> {
    let ready = |component| {
        let daemons = facts.daemons.iter();
        daemons.filter(move |daemon| daemon.component == component && daemon.ready)
    };
    let namespace = &facts.namespace;
    if facts.daemons.is_empty() {
        return vec![Finding::bad(
            Verdict::Problem,
            "no pod of FerroLB is found",
            "install it, or say with -n NAMESPACE where it runs",
        )];
    }
    let mut findings = Vec::new();
    findings.push(match ready(Component::Controller).count() {
        0 => Finding::bad(
            Verdict::Problem,
            "no controller is ready: new Services stay <pending>",
            format!(
                "kubectl -n {namespace} describe pods -l app.kubernetes.io/component=controller"
            ),
        ),
        count => Finding::ok(counted(count, "ready controller")),
    });
    let speaking: BTreeSet<_> = ready(Component::Speaker)
        .filter_map(|daemon| daemon.node.as_deref())
        .collect();
    let silent: Vec<_> = facts
        .nodes
        .iter()
        .filter(|node| is_ready(node))
        .map(ResourceExt::name_any)
        .filter(|name| !speaking.contains(name.as_str()))
        .collect();
    findings.push(if speaking.is_empty() {
        Finding::bad(
            Verdict::Problem,
            "no speaker is ready: no address answers",
            format!("kubectl -n {namespace} describe daemonsets"),
        )
    } else if silent.is_empty() {
        Finding::ok(format!(
            "a ready speaker on each of {}",
            counted(speaking.len(), "node")
        ))
    } else {
        Finding::bad(
            Verdict::Warning,
            format!(
                "no ready speaker on {}: it announces nothing",
                silent.join(", ")
            ),
            "is it left out on purpose, or has it a taint that speaker.tolerations lacks?",
        )
    });
    findings
}

fn is_ready(node: &Node) -> bool {
    let conditions = node
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

#[cfg(test)]
mod tests;
