//! Each value, changed, is seen where it should act.

use serde_yaml::Value;

use super::super::{Chart, Rendered};

/// A value of the chart, set to something else, and where that must be found.
struct Change {
    /// The value's path, with dots.
    value: String,
    /// In YAML.
    to: &'static str,
    object: String,
    path: Vec<String>,
    /// In YAML; nothing if the object must be gone.
    expected: Option<&'static str>,
}

const POD: [&str; 3] = ["spec", "template", "spec"];
const METADATA: [&str; 3] = ["spec", "template", "metadata"];

#[test]
fn each_value_acts_on_the_object_that_it_names() {
    for change in changes() {
        let values = nested(&change.value, change.to);
        let path: Vec<&str> = change.path.iter().map(String::as_str).collect();
        let find = |values: &str| Rendered::of(values).get(&change.object, &path);
        let expected = change
            .expected
            .map(|text| serde_yaml::from_str::<Value>(text).unwrap());
        let Change { value, object, .. } = &change;
        assert_eq!(find(&values), expected, "{value} in {object} at {path:?}");
        assert_ne!(
            find(""),
            expected,
            "{value} must make a difference in {object} at {path:?}"
        );
    }
}

#[test]
fn no_value_is_left_out_of_the_test_above() {
    let text = std::fs::read_to_string(Chart::here().dir().join("values.yaml")).unwrap();
    let mut leaves = Vec::new();
    collect_leaves(&serde_yaml::from_str(&text).unwrap(), "", &mut leaves);
    assert!(leaves.len() > 30, "{leaves:?}");
    let changed: Vec<String> = changes().into_iter().map(|change| change.value).collect();
    for leaf in leaves {
        let covers = |value: &String| leaf == *value || leaf.starts_with(&format!("{value}."));
        assert!(changed.iter().any(covers), "{leaf} is changed by no test");
    }
}

fn changes() -> Vec<Change> {
    let mut changes = vec![
        change(
            "nameOverride",
            "edge",
            "Deployment/ferrolb-edge-controller",
            &["kind"],
            "Deployment",
        ),
        change(
            "fullnameOverride",
            "lb",
            "DaemonSet/lb-speaker",
            &["kind"],
            "DaemonSet",
        ),
        change(
            "configInline",
            "{peers: []}",
            "ConfigMap/config",
            &["data", "config"],
            "\"peers: []\\n\"",
        ),
        Change {
            expected: None,
            ..change(
                "rbac.create",
                "false",
                "ClusterRole/metallb-system:ferrolb-speaker",
                &["kind"],
                "",
            )
        },
    ];
    for (component, workload) in [
        ("controller", "Deployment/ferrolb-controller"),
        ("speaker", "DaemonSet/ferrolb-speaker"),
    ] {
        changes.extend(for_both(component, workload));
    }
    let master = "key=node-role.kubernetes.io/master";
    changes.push(Change {
        expected: None,
        ..change(
            "speaker.tolerateMaster",
            "false",
            "DaemonSet/ferrolb-speaker",
            &[&POD[..], &["tolerations", master]].concat(),
            "",
        )
    });
    let detection = [
        &POD[..],
        &["containers", "name=speaker", "args", "--failure-detection"],
    ];
    changes.push(change(
        "speaker.failureDetection",
        "calm",
        "DaemonSet/ferrolb-speaker",
        &detection.concat(),
        "calm",
    ));
    changes
}

/// What acts on a component's pods.
fn for_both(component: &str, workload: &str) -> Vec<Change> {
    let own = |value: &str, to, path: &[&str], expected| {
        change(
            &format!("{component}.{value}"),
            to,
            workload,
            path,
            expected,
        )
    };
    let shared =
        |value: &str, to, path: &[&str], expected| change(value, to, workload, path, expected);
    let pod = |rest: &[&'static str]| [&POD[..], rest].concat();
    let name = format!("name={component}");
    let container = |rest: &[&'static str]| -> Vec<String> {
        let steps = [&POD[..], &["containers", &name], rest].concat();
        steps.into_iter().map(str::to_owned).collect()
    };
    let in_container = |value: &str, to, rest: &[&'static str], expected| Change {
        path: container(rest),
        ..shared(value, to, &[], expected)
    };
    let own_in_container = |value: &str, to, rest: &[&'static str], expected| {
        in_container(&format!("{component}.{value}"), to, rest, expected)
    };
    let (image, image_tag) = match component {
        "controller" => ("a/b:0.1.0", "ghcr.io/ferrolb/controller:v9"),
        _ => ("a/b:0.1.0", "ghcr.io/ferrolb/speaker:v9"),
    };
    let account = match component {
        "controller" => "ServiceAccount/ferrolb-controller",
        _ => "ServiceAccount/ferrolb-speaker",
    };
    let annotations = |rest: &[&'static str]| [&METADATA[..], &["annotations"], rest].concat();
    vec![
        shared(
            "imagePullSecrets",
            "[{name: s}]",
            &pod(&["imagePullSecrets"]),
            "[{name: s}]",
        ),
        shared(
            "prometheus.scrapeAnnotations",
            "true",
            &annotations(&["prometheus.io/port"]),
            "'7472'",
        ),
        in_container("existingConfigMap", "mine", &["args", "--config"], "mine"),
        in_container(
            "loadBalancerClass",
            "acme/lb",
            &["args", "--lb-class"],
            "acme/lb",
        ),
        in_container(
            "prometheus.metricsPort",
            "9999",
            &["args", "--port"],
            "'9999'",
        ),
        in_container(
            "prometheus.metricsPort",
            "9999",
            &["ports", "name=monitoring", "containerPort"],
            "9999",
        ),
        own_in_container("logLevel", "debug", &["args", "--log-level"], "debug"),
        own_in_container("logFormat", "text", &["args", "--log-format"], "text"),
        own_in_container("image.repository", "a/b", &["image"], image),
        own_in_container("image.tag", "v9", &["image"], image_tag),
        own_in_container("image.pullPolicy", "Always", &["imagePullPolicy"], "Always"),
        own_in_container(
            "resources",
            "{limits: {memory: 1Gi}}",
            &["resources", "limits", "memory"],
            "1Gi",
        ),
        own(
            "serviceAccount.name",
            "me",
            &pod(&["serviceAccountName"]),
            "me",
        ),
        own(
            "serviceAccount.create",
            "false",
            &pod(&["serviceAccountName"]),
            "default",
        ),
        Change {
            object: account.to_owned(),
            ..own(
                "serviceAccount.annotations",
                "{a: b}",
                &["metadata", "annotations"],
                "{a: b}",
            )
        },
        own(
            "nodeSelector",
            "{disk: ssd}",
            &pod(&["nodeSelector", "disk"]),
            "ssd",
        ),
        own(
            "tolerations",
            "[{key: k, operator: Exists}]",
            &pod(&["tolerations", "key=k"]),
            "{key: k, operator: Exists}",
        ),
        own(
            "affinity",
            "{podAffinity: {}}",
            &pod(&["affinity"]),
            "{podAffinity: {}}",
        ),
        own(
            "priorityClassName",
            "high",
            &pod(&["priorityClassName"]),
            "high",
        ),
        own("podAnnotations", "{a: b}", &annotations(&["a"]), "b"),
    ]
}

fn change(
    value: &str,
    to: &'static str,
    object: &str,
    path: &[&str],
    expected: &'static str,
) -> Change {
    Change {
        value: value.to_owned(),
        to,
        object: object.to_owned(),
        path: path.iter().map(|step| (*step).to_owned()).collect(),
        expected: Some(expected),
    }
}

/// `a.b` and `c` make `{a: {b: c}}`.
fn nested(path: &str, value: &str) -> String {
    path.rsplit('.')
        .fold(value.to_owned(), |inner, key| format!("{{{key}: {inner}}}"))
}

fn collect_leaves(value: &Value, path: &str, leaves: &mut Vec<String>) {
    match value {
        Value::Mapping(map) if !map.is_empty() => {
            for (key, value) in map {
                let key = key.as_str().unwrap();
                let path = if path.is_empty() {
                    key.to_owned()
                } else {
                    format!("{path}.{key}")
                };
                collect_leaves(value, &path, leaves);
            }
        }
        _ => leaves.push(path.to_owned()),
    }
}
