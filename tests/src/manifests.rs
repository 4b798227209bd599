//! The chart as plain manifests, for `kubectl apply` and kustomize: what `deploy/` has.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::command::stdout_of;
use crate::daemon::NAMESPACE;
use crate::tools::{Module, Tools};
use crate::workspace;

/// The folder in the source tree that `make manifests` writes.
pub const FOLDER: &str = "deploy";

/// All objects, in the folder.
pub const MANIFEST: &str = "ferrolb.yaml";

/// The definitions of MetalLB's objects, in the folder. Whoever deletes what the manifest has must not delete
/// everybody's pools with it, so they have a file of their own.
pub const CRDS: &str = "crds.yaml";

/// What the base of kustomize is called.
pub const KUSTOMIZATION: &str = "kustomization.yaml";

/// Helm judges the chart's `kubeVersion` by this; a cluster would say its own.
pub const KUBE_VERSION: &str = "1.34.4";

const BASE: &str = "\
# The base of your own kustomization: docs/install.md.
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources:
  - crds.yaml
  - ferrolb.yaml
";

/// What the folder has, by file name.
pub fn all() -> Result<[(&'static str, String); 3]> {
    Ok([
        (CRDS, definitions()?),
        (MANIFEST, manifest("")?),
        (KUSTOMIZATION, BASE.to_owned()),
    ])
}

/// The definitions as the chart has them, in the order of their names.
pub fn definitions() -> Result<String> {
    let folder = workspace().join("charts/ferrolb/crds");
    let cannot = || format!("cannot read {}", folder.display());
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect())
        .with_context(cannot)?;
    files.sort();
    let mut text = "\
# The kinds of MetalLB's objects, for `kubectl apply --server-side -f`: made from charts/ferrolb/crds by
# `make manifests`, do not edit. Deleting them deletes every object of these kinds.
"
    .to_owned();
    for (index, file) in files.iter().enumerate() {
        if index > 0 {
            text.push_str("---\n");
        }
        text.push_str(&std::fs::read_to_string(file).with_context(cannot)?);
    }
    Ok(text)
}

/// Every object of the chart with these values, and the namespace in front of them: without what is for
/// helm alone, which are its labels, hooks and tests.
pub fn manifest(values: &str) -> Result<String> {
    let tools = Tools::ensure(&[Module::Kubernetes])?;
    let mut helm = Command::new(tools.binary("helm")?);
    helm.current_dir(workspace()).args([
        "template",
        "ferrolb",
        "charts/ferrolb",
        "--namespace",
        NAMESPACE,
        "--kube-version",
        KUBE_VERSION,
        "--no-hooks",
        "--values",
        "-",
    ]);
    let rendered = stdout_of(&mut helm, values).context("cannot render the chart")?;
    let mut text = format!(
        "\
# FerroLB, for `kubectl apply -f`: made from charts/ferrolb by `make manifests`, do not edit.
# The pools are yours to define, in ConfigMap {NAMESPACE}/config: docs/install.md.
apiVersion: v1
kind: Namespace
metadata:
  name: {NAMESPACE}
  labels:
    # Speakers use the host network and raw sockets.
    pod-security.kubernetes.io/enforce: privileged
"
    );
    for line in rendered.lines().filter(|line| !is_for_helm(line)) {
        text.push_str(line);
        text.push('\n');
    }
    Ok(text)
}

/// Writes the folder.
pub fn write(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot create {}", folder.display()))?;
    for (name, text) in all()? {
        let path = folder.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Labels that name helm as the owner, and its remarks of where an object comes from.
fn is_for_helm(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("helm.sh/chart: ")
        || line == "app.kubernetes.io/managed-by: Helm"
        || line.starts_with("# Source: ")
}
