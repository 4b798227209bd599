//! Values that were written for MetalLB's charts.

use std::collections::BTreeSet;

use serde_yaml::Value;

use super::super::{Chart, Rendered};
use super::values::{merge, nested};

/// Name, what it does here, which charts have it, and something to set it to.
const ALL: &str = include_str!("metallbs-values.txt");
const RELEASES: [&str; 6] = ["0.11", "0.12", "0.13", "0.14", "0.15", "0.16"];

struct Foreign {
    name: &'static str,
    acts: bool,
    releases: Vec<&'static str>,
    to: String,
}

fn all() -> Vec<Foreign> {
    let lines = ALL.lines().filter(|line| !line.starts_with('#'));
    let read = |line: &'static str| {
        let mut words = line.split_whitespace();
        let mut next = || words.next().unwrap();
        let (name, does, releases) = (next(), next(), next());
        assert!(["acts", "told"].contains(&does), "{line}");
        Foreign {
            name,
            acts: does == "acts",
            releases: releases.split(',').collect(),
            to: words.collect::<Vec<_>>().join(" "),
        }
    };
    lines.map(read).collect()
}

/// The values of one release, all of them set.
fn values_of<'a>(all: impl Iterator<Item = &'a Foreign>) -> String {
    let parse = |one: &Foreign| serde_yaml::from_str(&nested(one.name, &one.to)).unwrap();
    let values = all.map(parse).fold(Value::Null, merge);
    serde_yaml::to_string(&values).unwrap()
}

/// What an object of the release says of values without effect. GitOps users see no installation notes.
fn told(rendered: &Rendered, object: &str) -> Option<BTreeSet<String>> {
    let path = [
        "metadata",
        "annotations",
        "ferrolb.io/values-without-effect",
    ];
    let told = rendered.get(object, &path)?;
    Some(told.as_str()?.split(", ").map(str::to_owned).collect())
}

const OBJECTS: [&str; 2] = ["Deployment/ferrolb-controller", "DaemonSet/ferrolb-speaker"];

#[test]
fn every_value_of_every_release_is_accepted_and_each_acts_or_is_told_to_have_no_effect() {
    let all = all();
    assert!(all.len() > 150, "{}", all.len());
    for release in RELEASES {
        let of = all.iter().filter(|one| one.releases.contains(&release));
        let values = values_of(of.clone());
        let rendered = Rendered::of(&values);
        let notes = Chart::here().notes(&values).unwrap();
        for object in OBJECTS {
            let told = told(&rendered, object).unwrap();
            let is_told = |name: &str| {
                let covers = |told: &String| name == told || name.starts_with(&format!("{told}."));
                told.iter().any(covers)
            };
            for Foreign { name, acts, .. } in of.clone() {
                assert!(is_told(name) != *acts, "{release}: {name} in {told:?}");
            }
            for name in told {
                assert!(notes.contains(&name), "{name} in\n{notes}");
            }
        }
    }
}

#[test]
fn nothing_is_told_to_who_gave_nothing_of_metallbs() {
    let rendered = Rendered::of("");
    for object in OBJECTS {
        assert_eq!(told(&rendered, object), None);
        assert_eq!(rendered.get(object, &["metadata", "annotations"]), None);
    }
}

/// The value at a path of the container of that name.
fn argument(rendered: &Rendered, component: &str, argument: &str) -> Option<String> {
    let workload = OBJECTS.into_iter().find(|one| one.ends_with(component))?;
    let name = format!("name={component}");
    let path = [
        "spec",
        "template",
        "spec",
        "containers",
        &name,
        "args",
        argument,
    ];
    Some(rendered.get(workload, &path)?.as_str()?.to_owned())
}

#[test]
fn values_as_people_of_0_13_have_them_act() {
    let rendered = Rendered::of(
        "
loadBalancerClass: metallb
crds: {enabled: true}
prometheus:
  serviceAccount: prometheus
  namespace: monitoring
  serviceMonitor:
    enabled: true
    speaker: {additionalLabels: {release: kps}, annotations: {a: speaker}}
    controller: {additionalLabels: {release: kps}}
controller: {strategy: {type: Recreate}, runtimeClassName: kata}
speaker:
  frr: {enabled: false}
  memberlist: {mlBindPort: 7950}
  tolerations: [{key: lb, operator: Exists, effect: NoSchedule}]
",
    );
    assert_eq!(
        argument(&rendered, "speaker", "--lb-class").unwrap(),
        "metallb"
    );
    assert_eq!(
        argument(&rendered, "speaker", "--peers-port").unwrap(),
        "7950"
    );
    for component in ["speaker", "controller"] {
        let monitor = format!("ServiceMonitor/ferrolb-{component}");
        let label = rendered.get(&monitor, &["metadata", "labels", "release"]);
        assert_eq!(label.unwrap(), "kps", "{component}");
    }
    let of_speaker = ["metadata", "annotations", "a"];
    let annotation =
        |component: &str| rendered.get(&format!("ServiceMonitor/ferrolb-{component}"), &of_speaker);
    assert_eq!(annotation("speaker").unwrap(), "speaker");
    assert_eq!(annotation("controller"), None);
    let strategy = rendered.get(OBJECTS[0], &["spec", "strategy"]).unwrap();
    assert_eq!(
        strategy,
        serde_yaml::from_str::<Value>("type: Recreate").unwrap()
    );
}

#[test]
fn values_as_people_of_0_14_have_them_act() {
    let rendered = Rendered::of(
        "
prometheus:
  rbacPrometheus: false
  serviceAccount: prometheus
  namespace: monitoring
  prometheusRule:
    enabled: true
    addressPoolExhausted: {enabled: false}
controller:
  labels: {team: network}
  securityContext: {runAsNonRoot: true, runAsUser: 65534, seccompProfile: {type: RuntimeDefault}}
speaker:
  ignoreExcludeLB: true
  labels: {team: network}
  startupProbe: {enabled: true, failureThreshold: 30, periodSeconds: 5}
  excludeInterfaces: {enabled: true}
  securityContext: {}
",
    );
    assert_eq!(
        argument(&rendered, "speaker", "--exclude-label").unwrap(),
        "prefer"
    );
    assert_eq!(
        rendered.get("RoleBinding/ferrolb-prometheus", &["kind"]),
        None,
        "rbacPrometheus: false"
    );
    let rules = ["spec", "groups", "name=ferrolb", "rules"];
    let alert = |name| [&rules[..], &[name]].concat();
    let rule = |name| rendered.get("PrometheusRule/ferrolb", &alert(name));
    assert_eq!(rule("alert=MetalLBAddressPoolExhausted"), None);
    assert!(rule("alert=MetalLBAddressPoolUsage75Percent").is_some());
    for object in OBJECTS {
        for path in [
            &["metadata", "labels", "team"][..],
            &["spec", "template", "metadata", "labels", "team"],
        ] {
            assert_eq!(rendered.get(object, path).unwrap(), "network", "{object}");
        }
        // What selects the pods cannot be changed by it.
        let selected = rendered.get(object, &["spec", "selector", "matchLabels", "team"]);
        assert_eq!(selected, None);
    }
    let told = told(&rendered, OBJECTS[0]).unwrap();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told.contains("controller.securityContext.seccompProfile"));
}

#[test]
fn values_as_people_of_0_15_have_them_act() {
    let rendered = Rendered::of(
        "
crds: {enabled: true, validationFailurePolicy: Fail}
frrk8s: {enabled: false}
networkpolicies: {enabled: true}
prometheus:
  prometheusRule: {enabled: true, addressPoolUsage: {excludePools: 'test-.*|tiny'}}
speaker:
  gratuitousARPInterval: 30
  excludeInterfaces: {enabled: false}
  livenessProbe: {enabled: true, port: 17472}
  frr: {enabled: false}
",
    );
    let policy = rendered.get("NetworkPolicy/ferrolb-controller", &["kind"]);
    assert_eq!(policy.unwrap(), "NetworkPolicy");
    assert_eq!(
        argument(&rendered, "speaker", "--announce-refresh").unwrap(),
        "30"
    );
    let usage = "alert=MetalLBAddressPoolUsage75Percent";
    let expression = ["spec", "groups", "name=ferrolb", "rules", usage, "expr"];
    let expression = rendered.get("PrometheusRule/ferrolb", &expression).unwrap();
    let expression = expression.as_str().unwrap();
    assert!(
        expression.contains("pool!~\"test-.*|tiny\""),
        "{expression}"
    );
    // Nothing listens where MetalLB's probes ask.
    let probe = [
        "spec",
        "template",
        "spec",
        "containers",
        "name=speaker",
        "livenessProbe",
    ];
    let probe = rendered.get(OBJECTS[1], &probe).unwrap();
    assert_eq!(probe["httpGet"]["port"], "monitoring");
    assert!(probe.get("port").is_none(), "{probe:?}");
    let told = told(&rendered, OBJECTS[1]).unwrap();
    for name in [
        "crds",
        "frrk8s",
        "speaker.excludeInterfaces.enabled",
        "speaker.livenessProbe.port",
    ] {
        assert!(told.contains(name), "{name} in {told:?}");
    }
}

/// The images that are started with an image's values, given to both daemons, and what is said of them. The
/// name of the daemon stands for `DAEMON` in each.
fn assert_image(values: &str, image: &str, without_effect: &[&str]) {
    for (component, object) in [("controller", OBJECTS[0]), ("speaker", OBJECTS[1])] {
        let of = |text: &str| text.replace("DAEMON", component);
        let values = of(&format!("DAEMON: {{image: {values}}}"));
        let rendered = Rendered::of(&values);
        let name = format!("name={component}");
        let path = ["spec", "template", "spec", "containers", &name, "image"];
        assert_eq!(rendered.get(object, &path).unwrap(), of(image), "{values}");
        let expected: BTreeSet<_> = without_effect.iter().map(|one| of(one)).collect();
        for object in OBJECTS {
            let told = told(&rendered, object).unwrap_or_default();
            assert_eq!(told, expected, "{values}");
        }
        let notes = Chart::here().notes(&values).unwrap();
        assert_eq!(
            notes.contains("have no effect here"),
            !expected.is_empty(),
            "{values}: {notes}"
        );
        for name in expected {
            assert!(notes.contains(&name), "{values}: {notes}");
        }
    }
}

const OURS: &str = "ghcr.io/ferrolb/DAEMON:0.1.0";

#[test]
fn an_image_of_metallbs_is_never_started_nor_is_its_tag_asked_of_our_repository() {
    let (repository, tag) = ("DAEMON.image.repository", "DAEMON.image.tag");
    for metallbs in ["v0.15.2", "v0.9.3", "v0.14", "v0.15.2@sha256:0123"] {
        assert_image(&format!("{{tag: '{metallbs}'}}"), OURS, &[tag]);
    }
    for place in [
        "quay.io/metallb/DAEMON",
        "registry.corp/metallb/DAEMON",
        "registry.corp:5000/mirror/quay.io/metallb/DAEMON",
        "docker.io/rancher/mirrored-metallb-DAEMON",
        "metallb/DAEMON",
        "registry.corp/metallb/DAEMON@sha256",
    ] {
        assert_image(&format!("{{repository: '{place}'}}"), OURS, &[repository]);
        for one in ["v0.15.2", "main", "0123"] {
            let values = format!("{{repository: '{place}', tag: '{one}'}}");
            assert_image(&values, OURS, &[repository, tag]);
        }
    }
}

#[test]
fn an_image_of_ones_own_is_started_as_it_was_given() {
    for (values, image) in [
        ("{tag: 0.1.1}", "ghcr.io/ferrolb/DAEMON:0.1.1"),
        ("{tag: v9}", "ghcr.io/ferrolb/DAEMON:v9"),
        (
            "{repository: registry.corp/ferrolb/DAEMON}",
            "registry.corp/ferrolb/DAEMON:0.1.0",
        ),
        // Whoever builds it may name it so.
        (
            "{repository: registry.corp/ferrolb/DAEMON, tag: v0.1.0-patched}",
            "registry.corp/ferrolb/DAEMON:v0.1.0-patched",
        ),
        (
            "{repository: registry.corp/not-metallb/DAEMON-of-ours}",
            "registry.corp/not-metallb/DAEMON-of-ours:0.1.0",
        ),
        (
            "{tag: '0.1.0@sha256:0123'}",
            "ghcr.io/ferrolb/DAEMON:0.1.0@sha256:0123",
        ),
    ] {
        assert_image(values, image, &[]);
    }
}

#[test]
fn when_an_image_is_pulled_is_up_to_who_gave_it_whichever_image_it_was_written_for() {
    let rendered = Rendered::of(
        "controller: {image: {repository: quay.io/metallb/controller, tag: v0.15.2, pullPolicy: Always}}",
    );
    let path = [
        "spec",
        "template",
        "spec",
        "containers",
        "name=controller",
        "imagePullPolicy",
    ];
    assert_eq!(rendered.get(OBJECTS[0], &path).unwrap(), "Always");
    let told = told(&rendered, OBJECTS[0]).unwrap();
    assert!(!told.contains("controller.image.pullPolicy"), "{told:?}");
    assert!(!told.contains("controller.image"), "{told:?}");
}

#[test]
fn values_that_contradict_each_other_are_refused() {
    let both = "speaker: {ignoreExcludeLB: true, excludeLabel: strict}";
    let refused = Chart::here().template(both).unwrap_err().to_string();
    assert!(refused.contains("contradict each other"), "{refused}");
}
