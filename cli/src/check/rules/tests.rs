use std::collections::BTreeMap;

use serde_json::json;

use super::*;
use crate::daemons::Daemon;

fn node(name: &str) -> Node {
    let ready = json!([{ "type": "Ready", "status": "True" }]);
    serde_json::from_value(
        json!({ "metadata": { "name": name }, "status": { "conditions": ready } }),
    )
    .unwrap()
}

fn daemon_set(label: (&str, &str), image: &str) -> DaemonSet {
    let labels = json!({ label.0: label.1 });
    serde_json::from_value(json!({
        "metadata": { "namespace": "lb", "name": "speaker", "labels": labels },
        "spec": { "selector": {}, "template": {
            "metadata": { "labels": labels },
            "spec": { "containers": [{ "name": "speaker", "image": image }] },
        } },
    }))
    .unwrap()
}

fn healthy() -> Facts {
    Facts {
        version: (1, 34),
        namespace: "lb".to_owned(),
        namespace_exists: true,
        labels: Some(BTreeMap::new()),
        nodes: vec![node("n1"), node("n2")],
        daemons: vec![
            Daemon::fixture(Component::Controller, "c", "n1"),
            Daemon::fixture(Component::Speaker, "s1", "n1"),
            Daemon::fixture(Component::Speaker, "s2", "n2"),
        ],
        config: Some(
            serde_json::from_value(json!({ "data": {
                "config": "address-pools: [{name: a, protocol: layer2, addresses: [10.0.0.0/30]}]",
            } }))
            .unwrap(),
        ),
        ..Facts::default()
    }
}

/// What is not right, worst first.
fn complaints(facts: &Facts) -> Vec<(Verdict, String)> {
    let findings = of_the_cluster(facts)
        .into_iter()
        .chain(of_the_daemons(facts));
    findings
        .filter(|finding| finding.verdict != Verdict::Ok)
        .map(|finding| (finding.verdict, finding.found))
        .collect()
}

fn only_complaint(change: impl FnOnce(&mut Facts)) -> (Verdict, String) {
    let mut facts = healthy();
    change(&mut facts);
    let complaints = complaints(&facts);
    assert_eq!(complaints.len(), 1, "{complaints:?}");
    complaints[0].clone()
}

#[test]
fn where_all_is_well_there_is_no_complaint() {
    assert_eq!(complaints(&healthy()), []);
}

#[test]
fn other_programs_that_serve_the_same_services_are_found() {
    let metallb = daemon_set(("app", "metallb"), "quay.io/metallb/speaker:v0.12.1");
    let found = only_complaint(|facts| facts.daemon_sets.push(metallb));
    assert_eq!(
        found,
        (
            Verdict::Problem,
            "MetalLB runs (DaemonSet lb/speaker)".to_owned()
        )
    );
    let k3s = daemon_set((K3S_SERVICELB, "web"), "rancher/klipper-lb");
    assert_eq!(
        only_complaint(|facts| facts.daemon_sets.push(k3s)).0,
        Verdict::Problem
    );
    let addon = daemon_set(("app", "metallb"), "ghcr.io/ferrolb/speaker:0.1.0");
    let mut facts = healthy();
    facts.daemon_sets.push(addon);
    assert_eq!(complaints(&facts), [], "our images under minikube's addon");
}

#[test]
fn ipvs_without_strict_arp_is_a_problem_and_with_it_none() {
    let mode = |text: &str| {
        let mut facts = healthy();
        facts.kube_proxy = Some(text.to_owned());
        complaints(&facts).len()
    };
    assert_eq!(mode("mode: ipvs\nipvs: {strictARP: false}"), 1);
    assert_eq!(mode("mode: ipvs"), 1);
    assert_eq!(mode("mode: ipvs\nipvs: {strictARP: true}"), 0);
    assert_eq!(mode("mode: ''\nipvs: {strictARP: false}"), 0);
}

#[test]
fn an_enforced_level_an_old_cluster_and_a_broken_configuration_are_problems() {
    let labels = [(ENFORCE.to_owned(), "baseline".to_owned())].into();
    assert_eq!(
        only_complaint(|facts| facts.labels = Some(labels)).0,
        Verdict::Problem
    );
    assert_eq!(
        only_complaint(|facts| facts.version = (1, 21)).0,
        Verdict::Problem
    );
    let broken = json!({ "data": { "config": "address-pools: [{}]" } });
    let broken = serde_json::from_value(broken).unwrap();
    assert_eq!(
        only_complaint(|facts| facts.config = Some(broken)).0,
        Verdict::Problem
    );
    assert_eq!(
        only_complaint(|facts| facts.config = None).0,
        Verdict::Warning
    );
}

#[test]
fn a_node_without_a_ready_speaker_is_named() {
    let (verdict, found) = only_complaint(|facts| facts.daemons[2].ready = false);
    assert_eq!(verdict, Verdict::Warning);
    assert!(found.contains("n2"), "{found}");
    let (verdict, _) = only_complaint(|facts| facts.daemons.truncate(1));
    assert_eq!(verdict, Verdict::Problem);
    let (verdict, found) = only_complaint(|facts| facts.daemons.clear());
    assert_eq!(verdict, Verdict::Problem);
    assert!(found.contains("no pod of FerroLB"), "{found}");
}
