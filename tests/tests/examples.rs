//! Every manifest below `examples`, as the daemons read it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod examples {
    mod installed;
}

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use ferrolb_core::config::{self, Outcome};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Service};
use k8s_openapi::api::networking::v1::Ingress;
use serde::Deserialize as _;
use serde::de::DeserializeOwned;
use serde_yaml::Value;

#[test]
fn every_configuration_is_accepted_without_a_change() {
    let mut seen = 0;
    for (path, object) in manifests() {
        if kind(&object) == "ConfigMap" {
            let map: ConfigMap = typed(object);
            let outcome = config::of_data(map.data.as_ref());
            assert!(
                matches!(outcome, Outcome::Valid(_)),
                "{}: {outcome:?}",
                path.display()
            );
            assert_eq!(map.metadata.namespace.as_deref(), Some("metallb-system"));
            assert_eq!(map.metadata.name.as_deref(), Some("config"));
            seen += 1;
        }
    }
    assert!(seen >= 3, "only {seen} configurations were found");
}

#[test]
fn every_manifest_is_of_a_kind_that_is_checked_here_and_has_no_unknown_field() {
    for (path, object) in manifests() {
        let written = object.clone();
        let read = match kind(&object).as_str() {
            "ConfigMap" => serde_yaml::to_value(typed::<ConfigMap>(object)),
            "Deployment" => serde_yaml::to_value(typed::<Deployment>(object)),
            "Ingress" => serde_yaml::to_value(typed::<Ingress>(object)),
            "Namespace" => serde_yaml::to_value(typed::<Namespace>(object)),
            "Service" => serde_yaml::to_value(typed::<Service>(object)),
            other => panic!("{}: a {other} is checked by no test", path.display()),
        };
        // A field that the type does not know would be missing.
        assert_eq!(read.unwrap(), written, "{}", path.display());
    }
}

#[test]
fn every_service_selects_the_pods_of_exactly_one_deployment() {
    let pods: Vec<BTreeMap<String, String>> = manifests()
        .into_iter()
        .filter(|(_, object)| kind(object) == "Deployment")
        .map(|(_, object)| {
            typed::<Deployment>(object)
                .spec
                .unwrap()
                .template
                .metadata
                .unwrap()
        })
        .map(|metadata| metadata.labels.unwrap())
        .collect();
    for (path, object) in manifests() {
        if kind(&object) == "Service" {
            let selector = typed::<Service>(object).spec.unwrap().selector.unwrap();
            let selects = |labels: &BTreeMap<String, String>| {
                selector
                    .iter()
                    .all(|(key, value)| labels.get(key) == Some(value))
            };
            let selected = pods.iter().filter(|labels| selects(labels)).count();
            // The pods of an ingress controller come with its own manifests.
            let elsewhere = selector.get("app.kubernetes.io/name");
            let expected = usize::from(elsewhere.is_none());
            assert_eq!(selected, expected, "{}", path.display());
        }
    }
}

#[test]
fn the_readme_of_the_walk_names_files_that_exist_and_leaves_none_out() {
    let readme = fs::read_to_string(examples_dir().join("reference-walk/README.md")).unwrap();
    let root = examples_dir().join("..");
    let named: Vec<&str> = readme
        .split_whitespace()
        .filter(|word| word.starts_with("examples/"))
        .collect();
    for path in &named {
        assert!(root.join(path).exists(), "{path} does not exist");
    }
    for (path, _) in manifests() {
        let name = path
            .strip_prefix(examples_dir())
            .unwrap()
            .to_string_lossy()
            .into_owned();
        let of_the_walk = name.starts_with("reference-walk/");
        assert!(
            !of_the_walk || named.contains(&&*format!("examples/{name}")),
            "{name} is left out"
        );
    }
}

fn examples_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")
}

/// Every object in every YAML file, with the file.
fn manifests() -> Vec<(PathBuf, Value)> {
    let mut folders = vec![examples_dir()];
    let mut objects = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path
                .extension()
                .is_some_and(|extension| extension == "yaml")
            {
                let text = fs::read_to_string(&path).unwrap();
                for document in serde_yaml::Deserializer::from_str(&text) {
                    objects.push((path.clone(), Value::deserialize(document).unwrap()));
                }
            }
        }
    }
    assert!(
        objects.len() >= 8,
        "only {} manifests were found",
        objects.len()
    );
    objects
}

fn kind(object: &Value) -> String {
    object["kind"]
        .as_str()
        .expect("a manifest has a kind")
        .to_owned()
}

fn typed<T: DeserializeOwned>(object: Value) -> T {
    serde_yaml::from_value(object).unwrap()
}
