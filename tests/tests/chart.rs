//! The chart, rendered by helm and judged by name; and installed on an API server.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod chart {
    mod alerts;
    mod crds;
    mod dashboard;
    mod dead_nodes;
    mod described;
    mod install;
    mod manifests;
    mod metallbs_values;
    pub(super) mod rendered;
    mod rights;
    mod validation;
    mod values;
}

use std::collections::BTreeMap;
use std::fs;

use chart::rendered::{Chart, Rendered};
use ferrolb_core::config::{self, Outcome};

const CONFIG: &str = "configInline: {address-pools: [{name: default, protocol: layer2, addresses: [192.168.64.0/28]}]}";

#[test]
fn helm_finds_nothing_to_complain_of() {
    let said = Chart::here().helm(&["lint", "--strict"], "").unwrap();
    assert!(said.contains("0 chart(s) failed"), "{said}");
    // What it recommends does not fail.
    assert!(!said.contains("[INFO]"), "{said}");
}

#[test]
fn the_default_values_render_what_was_reviewed() {
    insta::assert_snapshot!(Chart::here().template("").unwrap());
}

#[test]
fn rendering_twice_gives_the_same_bytes() {
    let once = || Chart::here().template(CONFIG).unwrap();
    assert_eq!(once(), once());
}

#[test]
fn a_typo_and_a_value_of_the_wrong_type_are_refused_by_name() {
    for (values, complaint) in [
        ("controler: {}", "'controler' not allowed"),
        (
            "speaker: {imgae: {tag: x}}",
            "at '/speaker': additional properties 'imgae'",
        ),
        ("controller: {image: {tags: x}}", "at '/controller/image'"),
        ("controller: {logLevel: loud}", "at '/controller/logLevel'"),
        ("configSource: both", "at '/configSource'"),
        ("speaker: {logFormat: xml}", "at '/speaker/logFormat'"),
        (
            "speaker: {tolerateMaster: 'yes'}",
            "at '/speaker/tolerateMaster'",
        ),
        (
            "speaker: {tolerations: [{keys: x}]}",
            "at '/speaker/tolerations/0'",
        ),
        (
            "controller: {tolerateMaster: true}",
            "'tolerateMaster' not allowed",
        ),
        (
            "prometheus: {metricsPort: 70000}",
            "at '/prometheus/metricsPort'",
        ),
        ("configInline: text", "at '/configInline'"),
    ] {
        let refused = Chart::here()
            .template(values)
            .expect_err(values)
            .to_string();
        assert!(refused.contains(complaint), "{values}: {refused}");
    }
}

/// Values as users of MetalLB's chart have them.
const METALLBS: &str = include_str!("chart/metallb-0.12-values.yaml");

#[test]
fn metallbs_own_values_pass_start_our_images_and_are_told_where_they_act_on_nothing() {
    for (component, image) in images(&Rendered::of(METALLBS)) {
        assert_eq!(image, format!("ghcr.io/ferrolb/{component}:0.1.0"));
    }
    let notes = Chart::here().notes(METALLBS).unwrap();
    for value in [
        "psp",
        "speaker.memberlist",
        "speaker.frr",
        "controller.image",
    ] {
        assert!(notes.contains(value), "{value} is not told:\n{notes}");
    }
    let none = Chart::here().notes("").unwrap();
    assert!(!none.contains("have no effect here"), "{none}");
}

#[test]
fn the_images_that_artifact_hub_is_told_of_are_those_that_the_chart_starts() {
    let text = fs::read_to_string(Chart::here().dir().join("Chart.yaml")).unwrap();
    let chart: serde_yaml::Value = serde_yaml::from_str(&text).unwrap();
    let told = chart["annotations"]["artifacthub.io/images"].as_str();
    let told: serde_yaml::Value = serde_yaml::from_str(told.unwrap()).unwrap();
    let told: Vec<_> = told.as_sequence().unwrap().iter().collect();
    let with_keeper = Rendered::of("speaker: {keepConnections: {enabled: true}}");
    for (_, image) in images(&with_keeper) {
        assert!(told.iter().any(|one| one["image"] == *image), "{image:?}");
    }
    let keeper = [
        "spec",
        "template",
        "spec",
        "containers",
        "name=keeper",
        "image",
    ];
    let keeper = with_keeper.get("DaemonSet/ferrolb-speaker", &keeper);
    assert!(
        told.iter()
            .any(|one| Some(&one["image"]) == keeper.as_ref())
    );
    assert_eq!(told.len(), 3);
}

#[test]
fn connections_are_kept_by_a_container_with_one_right_and_no_token_only_where_that_is_asked_for() {
    let daemon_set = "DaemonSet/ferrolb-speaker";
    let off = Rendered::of("");
    let pod = ["spec", "template", "spec"];
    let at = |rendered: &Rendered, rest: &[&str]| {
        let path = [&pod[..], rest].concat();
        rendered.get(daemon_set, &path)
    };
    assert_eq!(at(&off, &["containers", "name=keeper"]), None);
    assert_eq!(at(&off, &["automountServiceAccountToken"]), None);
    let on = Rendered::of("speaker: {keepConnections: {enabled: true, maxSeconds: 60}}");
    assert_eq!(
        at(&on, &["automountServiceAccountToken"]),
        Some(false.into())
    );
    let keeper = at(&on, &["containers", "name=keeper"]).unwrap();
    let context: serde_yaml::Value = serde_yaml::from_str(
        "{runAsUser: 0, runAsGroup: 0, allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, \
         capabilities: {drop: [ALL], add: [NET_ADMIN]}}",
    )
    .unwrap();
    assert_eq!(keeper["securityContext"], context);
    let mounts = |container: &serde_yaml::Value| -> Vec<String> {
        let mounts = container["volumeMounts"].as_sequence().unwrap().iter();
        mounts
            .map(|mount| mount["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(mounts(&keeper), ["keeper"], "no token, no key");
    let speaker = at(&on, &["containers", "name=speaker"]).unwrap();
    assert_eq!(mounts(&speaker), ["peers", "keeper", "token"]);
    let added = &speaker["securityContext"]["capabilities"]["add"];
    assert_eq!(
        added,
        &serde_yaml::from_str::<serde_yaml::Value>("[NET_RAW]").unwrap()
    );
    // Where a client of the API looks for it.
    let place = "/var/run/secrets/kubernetes.io/serviceaccount";
    let token = [
        "containers",
        "name=speaker",
        "volumeMounts",
        "name=token",
        "mountPath",
    ];
    assert_eq!(at(&on, &token), Some(place.into()));
    // Values of an older chart, reused.
    let older = Rendered::of("speaker: {keepConnections: null, cordon: null}");
    assert_eq!(at(&older, &["containers", "name=keeper"]), None);
}

/// What each daemon starts from.
fn images(rendered: &Rendered) -> [(&'static str, String); 2] {
    let of = |workload: &str, component| {
        let name = format!("name={component}");
        let path = ["spec", "template", "spec", "containers", &name, "image"];
        let image = rendered.get(workload, &path).unwrap();
        (component, image.as_str().unwrap().to_owned())
    };
    [
        of("Deployment/ferrolb-controller", "controller"),
        of("DaemonSet/ferrolb-speaker", "speaker"),
    ]
}

#[test]
fn an_inline_configuration_becomes_a_config_map_that_the_daemons_accept() {
    let rendered = Rendered::of(CONFIG);
    let data = rendered.get("ConfigMap/config", &["data"]).unwrap();
    let data: BTreeMap<String, String> = serde_yaml::from_value(data).unwrap();
    let outcome = config::of_data(Some(&data));
    assert!(matches!(outcome, Outcome::Valid(_)), "{outcome:?}");
}

#[test]
fn without_an_inline_configuration_the_chart_owns_no_config_map_but_an_empty_one_for_the_daemons() {
    let rendered = Rendered::of("");
    let kinds = rendered.kinds();
    assert_eq!(
        kinds.get("ConfigMap"),
        Some(&1),
        "an upgrade would reset edits by hand"
    );
    let name = rendered.get("ConfigMap/ferrolb-config", &["metadata", "name"]);
    assert!(name.is_some());
    // What is not in the chart no upgrade changes.
    assert_eq!(rendered.get("ConfigMap/ferrolb-config", &["data"]), None);
    let refused = Chart::here().template("existingConfigMap: ferrolb-config");
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("give yours another one"), "{refused}");
}

#[test]
fn two_sources_of_the_configuration_are_refused() {
    let both = format!("{CONFIG}\nexistingConfigMap: mine");
    let refused = Chart::here().template(&both).unwrap_err().to_string();
    assert!(refused.contains("exclude each other"), "{refused}");
}

#[test]
fn no_two_installations_share_a_name_outside_their_namespaces() {
    let names = |release: &str, namespace: &str| {
        let rendered = Chart::here().template_as(release, namespace, "").unwrap();
        Rendered::parse(&rendered).cluster_scoped()
    };
    let mut all = Vec::new();
    for (release, namespace) in [
        ("a", "x"),
        ("b", "x"),
        ("a", "y"),
        ("a-x", "y"),
        ("ferrolb", "x"),
    ] {
        all.extend(names(release, namespace));
    }
    let count = all.len();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), count, "{all:#?}");
}

#[test]
fn a_long_release_name_still_makes_valid_names() {
    let release = "r".repeat(53);
    let rendered = Chart::here()
        .template_as(&release, "metallb-system", "")
        .unwrap();
    for name in Rendered::parse(&rendered).names() {
        assert!(
            name.len() <= 63 || name.contains(':'),
            "{name} has {} characters",
            name.len()
        );
    }
}

#[test]
fn the_notes_say_what_to_do_next() {
    let notes = |values| Chart::here().notes(values).unwrap();
    let label =
        "kubectl label namespace metallb-system pod-security.kubernetes.io/enforce=privileged";
    for values in ["", CONFIG, "existingConfigMap: mine"] {
        assert!(notes(values).contains(label), "{values}");
    }
    assert!(notes(CONFIG).contains("helm upgrade overwrites manual edits"));
    assert!(notes("existingConfigMap: mine").contains("ConfigMap metallb-system/mine"));
    assert!(notes("loadBalancerClass: acme/lb").contains("spec.loadBalancerClass: acme/lb"));
    assert!(
        notes("rbac: {create: false}").contains("have to give the service accounts their rights")
    );
}

#[test]
fn the_config_map_that_the_notes_print_is_one_that_the_daemons_accept() {
    let notes = Chart::here().notes("").unwrap();
    let (_, rest) = notes.split_once("<<EOF\n").unwrap();
    let (manifest, _) = rest.split_once("EOF\n").unwrap();
    // The addresses are the reader's to fill in.
    let manifest = manifest.replace("FIRST-LAST", "192.168.64.10-192.168.64.20");
    let checked = config::check_file(&manifest).unwrap();
    assert!(
        matches!(checked[0].outcome, Outcome::Valid(_)),
        "{:?}",
        checked[0].outcome
    );
}

#[test]
fn every_value_is_explained() {
    let text = fs::read_to_string(Chart::here().dir().join("values.yaml")).unwrap();
    for block in text.split("\n\n").skip(1) {
        assert!(
            block.starts_with("# ") || block.contains("\n  # "),
            "no comment in:\n{block}"
        );
    }
}
