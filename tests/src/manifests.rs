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

/// What the base of kustomize is called.
pub const KUSTOMIZATION: &str = "kustomization.yaml";

/// Helm judges the chart's `kubeVersion` by this; a cluster would say its own.
pub const KUBE_VERSION: &str = "1.34.4";

const BASE: &str = "\
# The base of your own kustomization: docs/install.md.
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources:
  - ferrolb.yaml
";

/// What the folder has, by file name.
pub fn all() -> Result<[(&'static str, String); 2]> {
    Ok([(MANIFEST, manifest("")?), (KUSTOMIZATION, BASE.to_owned())])
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
