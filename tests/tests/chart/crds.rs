//! The definitions of MetalLB's objects, as helm and Argo CD render them.

use ferrolb_tests::manifests::KUBE_VERSION;
use serde_yaml::Value;

use super::super::{Chart, Rendered};

/// MetalLB's kinds: plural, the version that is stored, all that are served.
const KINDS: [(&str, &str, &[&str]); 9] = [
    ("ipaddresspools", "v1beta1", &["v1beta1"]),
    ("l2advertisements", "v1beta1", &["v1beta1"]),
    ("bgpadvertisements", "v1beta1", &["v1beta1"]),
    ("bgppeers", "v1beta2", &["v1beta1", "v1beta2"]),
    ("bfdprofiles", "v1beta1", &["v1beta1"]),
    ("communities", "v1beta1", &["v1beta1"]),
    ("configurationstates", "v1beta1", &["v1beta1"]),
    ("servicel2statuses", "v1beta1", &["v1beta1"]),
    ("servicebgpstatuses", "v1beta1", &["v1beta1"]),
];

/// Without these, deleting an application deletes everybody's pools.
const KEPT: [(&str, &str); 3] = [
    ("helm.sh/resource-policy", "keep"),
    (
        "argocd.argoproj.io/sync-options",
        "Prune=false,Delete=false",
    ),
    ("kustomize.toolkit.fluxcd.io/prune", "disabled"),
];

fn with_definitions() -> Rendered {
    let kube_version = ["--kube-version", KUBE_VERSION];
    let args = [
        &["template", "ferrolb", ".", "--include-crds"],
        &kube_version[..],
    ]
    .concat();
    Rendered::parse(&Chart::here().helm(&args, "").unwrap())
}

fn of(rendered: &Rendered, plural: &str, path: &[&str]) -> Option<Value> {
    let name = format!("CustomResourceDefinition/{plural}.metallb.io");
    rendered.get(&name, path)
}

#[test]
fn every_kind_of_metallb_is_defined_with_its_versions_and_no_webhook() {
    let rendered = with_definitions();
    assert_eq!(rendered.kinds()["CustomResourceDefinition"], KINDS.len());
    for (plural, stored, served) in KINDS {
        let spec = of(&rendered, plural, &["spec"]).unwrap();
        assert_eq!(spec["group"], "metallb.io", "{plural}");
        assert_eq!(spec["scope"], "Namespaced", "{plural}");
        let versions = spec["versions"].as_sequence().unwrap();
        let named = |wanted: &str| -> Vec<&str> {
            let having = versions.iter().filter(|one| one[wanted] == true);
            having.map(|one| one["name"].as_str().unwrap()).collect()
        };
        assert_eq!(named("storage"), [stored], "{plural}");
        assert_eq!(named("served"), served, "{plural}");
        for version in versions {
            assert!(version["subresources"]["status"].is_mapping(), "{plural}");
        }
        let strategy = &spec["conversion"]["strategy"];
        assert!(strategy.is_null() || strategy == "None", "{plural}");
    }
}

#[test]
fn no_tool_deletes_them_unasked() {
    let rendered = with_definitions();
    for (plural, _, _) in KINDS {
        for (annotation, value) in KEPT {
            let path = ["metadata", "annotations", annotation];
            let found = of(&rendered, plural, &path);
            assert_eq!(found, Some(value.into()), "{plural} {annotation}");
        }
        // With these labels helm and Argo CD would take it for a part of the release.
        let labels = of(&rendered, plural, &["metadata", "labels"]);
        assert_eq!(labels, None, "{plural}");
    }
}

/// API servers before 1.25 do not know rules in a definition, and none may be stricter than MetalLB is.
#[test]
fn every_field_is_explained_and_none_has_a_rule() {
    let rendered = with_definitions();
    let mut fields = 0;
    for (plural, _, _) in KINDS {
        let versions = of(&rendered, plural, &["spec", "versions"]).unwrap();
        for version in versions.as_sequence().unwrap() {
            fields += explained(&version["schema"]["openAPIV3Schema"], plural);
        }
    }
    assert!(fields > 120, "only {fields} fields were found");
}

fn explained(schema: &Value, path: &str) -> usize {
    assert!(schema.get("x-kubernetes-validations").is_none(), "{path}");
    let mut fields = 0;
    for (name, field) in schema["properties"].as_mapping().into_iter().flatten() {
        let path = format!("{path}.{}", name.as_str().unwrap());
        let text = field["description"].as_str().unwrap_or_default();
        assert!(
            text.ends_with('.') || path.ends_with(".metadata"),
            "{path} is not explained: {text:?}"
        );
        fields += 1 + explained(field, &path);
    }
    if let Some(items) = schema.get("items") {
        fields += explained(items, &format!("{path}[]"));
    }
    fields
}
