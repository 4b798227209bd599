//! `deploy/`: the chart for those who do not use helm.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ferrolb_tests::command::stdout_of;
use ferrolb_tests::manifests;
use ferrolb_tests::tools::{Module, Tools};

use super::rendered::Rendered;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(manifests::FOLDER)
}

fn committed(name: &str) -> String {
    fs::read_to_string(folder().join(name)).unwrap()
}

#[test]
fn the_manifests_are_those_that_the_chart_makes() {
    for (name, text) in manifests::all().unwrap() {
        assert!(
            committed(name) == text,
            "{}/{name} differs from the chart: run `make manifests`",
            manifests::FOLDER
        );
    }
}

#[test]
fn the_manifest_has_every_object_of_the_chart_and_the_namespace_and_nothing_of_helm() {
    let text = committed(manifests::MANIFEST);
    for word in ["helm.sh", "managed-by", "templates/"] {
        assert!(!text.contains(word), "{word} is for helm alone");
    }
    let ours = Rendered::parse(&text);
    let chart = Rendered::of("");
    let mut kinds: BTreeMap<_, _> = chart.kinds();
    // The chart's only pod is its test's.
    assert_eq!(kinds.remove("Pod"), None);
    assert_eq!(kinds.remove("Job"), Some(1));
    kinds.insert("Namespace", 1);
    assert_eq!(ours.kinds(), kinds);
    let label = "pod-security.kubernetes.io/enforce";
    let level = ours.get("Namespace/metallb-system", &["metadata", "labels", label]);
    assert_eq!(level.unwrap(), "privileged");
    for workload in ["DaemonSet/ferrolb-speaker", "Deployment/ferrolb-controller"] {
        let same = |of: &Rendered| of.get(workload, &["spec", "template", "spec"]);
        assert!(same(&ours).is_some());
        assert_eq!(same(&ours), same(&chart), "{workload}");
    }
}

#[test]
fn kustomize_takes_the_folder_as_a_base() {
    let tools = Tools::ensure(&[Module::Kubernetes]).unwrap();
    let mut kubectl = Command::new(tools.binary("kubectl").unwrap());
    let built = stdout_of(kubectl.arg("kustomize").arg(folder()), "").unwrap();
    let names = |text: &str| -> Vec<String> {
        let mut names: Vec<_> = Rendered::parse(text).names().map(str::to_owned).collect();
        names.sort();
        names
    };
    let mut files = names(&committed(manifests::MANIFEST));
    files.extend(names(&committed(manifests::CRDS)));
    files.sort();
    assert_eq!(names(&built), files);
}
