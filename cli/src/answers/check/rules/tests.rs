use std::collections::BTreeMap;

use serde_json::json;

use super::*;
use crate::daemons::Daemon;
use crate::fixtures::{announcing, controller, said_of};
use crate::picture::tests::{heard_of, now};
use crate::picture::{Heard, NodeFacts};

fn node(name: &str) -> NodeFacts {
    let node = serde_json::from_value(json!({ "metadata": { "name": name } })).unwrap();
    NodeFacts {
        view: ferrolb_core::k8s::node_view(&node).unwrap(),
        ready: true,
    }
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

/// A controller and two speakers, and an address that n1 announces.
fn heard() -> Heard {
    let mut status = controller();
    status.services.truncate(1);
    let mut speakers = announcing(&["192.168.64.240"]);
    speakers.extend(said_of("192.168.64.240", &[("n2", Some("not_owner"))]));
    let daemons = vec![
        Daemon::fixture(Component::Controller, "c", "n1"),
        Daemon::fixture(Component::Speaker, "s1", "n1"),
        Daemon::fixture(Component::Speaker, "s2", "n2"),
    ];
    let mut heard = heard_of(daemons, Ok(status), speakers);
    heard.nodes = Ok(["n1", "n2"].map(node).into());
    heard
}

fn picture_with(change: impl FnOnce(&mut Heard)) -> Picture {
    let mut heard = heard();
    change(&mut heard);
    Picture::of(heard, now())
}

fn healthy() -> Facts {
    Facts {
        version: (1, 34),
        namespace: "lb".to_owned(),
        namespace_exists: true,
        labels: Some(BTreeMap::new()),
        daemon_sets: Some(Vec::new()),
        picture: Some(Picture::of(heard(), now())),
        config: Some(Some(
            serde_json::from_value(json!({ "data": {
                "config": "address-pools: [{name: a, protocol: layer2, addresses: [10.0.0.0/30]}]",
            } }))
            .unwrap(),
        )),
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
    let found = only_complaint(|facts| facts.daemon_sets = Some(vec![metallb]));
    assert_eq!(
        found,
        (
            Verdict::Problem,
            "MetalLB is running (DaemonSet lb/speaker)".to_owned()
        )
    );
    let k3s = daemon_set((K3S_SERVICELB, "web"), "rancher/klipper-lb");
    assert_eq!(
        only_complaint(|facts| facts.daemon_sets = Some(vec![k3s])).0,
        Verdict::Problem
    );
    let addon = daemon_set(("app", "metallb"), "ghcr.io/ferrolb/speaker:0.1.0");
    let mut facts = healthy();
    facts.daemon_sets = Some(vec![addon]);
    assert_eq!(complaints(&facts), [], "our images under minikube's addon");
}

#[test]
fn values_without_effect_are_told_to_who_saw_no_installation_notes() {
    let (verdict, found) = only_complaint(|facts| {
        let mut ours = daemon_set(("app", "ferrolb"), "ghcr.io/ferrolb/speaker:1");
        let annotations = [(
            ANNOTATION_WITHOUT_EFFECT.to_owned(),
            "crds, frrk8s".to_owned(),
        )];
        ours.metadata.annotations = Some(annotations.into());
        facts.daemon_sets = Some(vec![ours]);
    });
    assert_eq!(verdict, Verdict::Warning);
    assert!(
        found.ends_with("no effect on FerroLB: crds, frrk8s"),
        "{found}"
    );
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
fn where_votes_on_dead_nodes_are_not_bound_to_their_writer_that_is_said() {
    let with = |version, dead| {
        let mut facts = healthy();
        facts.version = version;
        facts.picture = Some(picture_with(|heard| {
            heard.controller.as_mut().unwrap().dead_nodes = dead;
        }));
        complaints(&facts)
    };
    let used = || Some(ferrolb_core::dead::DeadNodesStatus::default());
    let said = with((1, 31), used());
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!(said[0].0, Verdict::Warning);
    assert!(said[0].1.contains("before Kubernetes 1.32"), "{said:?}");
    assert_eq!(with((1, 32), used()), []);
    assert_eq!(with((1, 31), None), []);
}

#[test]
fn where_no_policy_limits_who_marks_pods_that_is_said() {
    let with = |limits, dead| {
        let mut facts = healthy();
        facts.version = (1, 34);
        facts.limits_pod_status = limits;
        facts.picture = Some(picture_with(|heard| {
            heard.controller.as_mut().unwrap().dead_nodes = dead;
        }));
        complaints(&facts)
    };
    let used = || Some(ferrolb_core::dead::DeadNodesStatus::default());
    let said = with(Some(false), used());
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!(said[0].0, Verdict::Warning);
    assert!(said[0].1.contains("no policy limits"), "{said:?}");
    assert_eq!(with(Some(true), used()), []);
    assert_eq!(with(None, used()), []);
    assert_eq!(with(None, None), []);
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
        only_complaint(|facts| facts.config = Some(Some(broken))).0,
        Verdict::Problem
    );
    assert_eq!(
        only_complaint(|facts| facts.config = Some(None)).0,
        Verdict::Warning
    );
}

#[test]
fn a_node_without_a_speaker_is_named() {
    let of_picture =
        |change: fn(&mut Heard)| only_complaint(|facts| facts.picture = Some(picture_with(change)));
    let (verdict, found) = of_picture(|heard| {
        heard.daemons.truncate(2);
        heard.speakers.truncate(1);
    });
    assert_eq!(verdict, Verdict::Warning);
    assert!(found.contains("n2"), "{found}");
    let (verdict, found) = of_picture(|heard| heard.daemons[2].ready = false);
    assert_eq!(verdict, Verdict::Problem);
    assert!(found.contains("pod s2 is not ready"), "{found}");
    let (verdict, found) = of_picture(|heard| heard.daemons.clear());
    assert_eq!(verdict, Verdict::Problem);
    assert!(found.contains("no FerroLB pods"), "{found}");
}

#[test]
fn what_cannot_be_read_is_unknown_and_nothing_is_claimed_of_it() {
    let facts = Facts {
        version: (1, 34),
        namespace: "lb".to_owned(),
        namespace_exists: true,
        unread: vec![
            "DaemonSets: forbidden".to_owned(),
            "pods: forbidden".to_owned(),
        ],
        ..Facts::default()
    };
    let found: Vec<_> = of_the_cluster(&facts)
        .into_iter()
        .chain(of_the_daemons(&facts))
        .map(|finding| (finding.verdict, finding.found))
        .collect();
    assert_eq!(
        found,
        [
            (
                Verdict::Unknown,
                "not checked: DaemonSets: forbidden".to_owned()
            ),
            (Verdict::Unknown, "not checked: pods: forbidden".to_owned()),
            (Verdict::Ok, "Kubernetes 1.34".to_owned()),
        ]
    );
}

#[test]
fn a_speaker_that_does_not_answer_is_not_called_well() {
    let (verdict, found) = only_complaint(|facts| {
        facts.picture = Some(picture_with(|heard| {
            heard.speakers[1].1 = Err(anyhow::anyhow!("no answer within 2 s"));
        }));
    });
    assert_eq!(verdict, Verdict::Unknown);
    assert!(found.contains("the speaker of n2"), "{found}");
}
