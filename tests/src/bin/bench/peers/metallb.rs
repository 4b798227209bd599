//! MetalLB at layer 2 as its manifests install it, built from its Go module; memberlist is on, as it is there.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use ferrolb_tests::Lab;
use ferrolb_tests::command::stdout_of;
use ferrolb_tests::daemon::NAMESPACE;
use ferrolb_tests::process::ProcessSpec;
use ferrolb_tests::tools::{METALLB, Module, Tools};
use ferrolb_tests::wait::wait_until;
use serde::Deserialize as _;
use serde_json::{Value, json};

use super::ferrolb::{answers, config_map};
use super::peer::{MANY_RANGE, NODES, Peer, RANGE, kubeconfig};

const CONTROLLER: &str = "metallb-controller";
/// Its manifest makes a random one.
const SECRET: &str = "a secret that all speakers of the lab share";
const LABELS: &str = "app=metallb,component=speaker";
/// For what the API server and its controllers do by themselves.
const PATIENCE: Duration = Duration::from_secs(30);
/// The label with which Kubernetes takes a node out of load balancers.
const EXCLUDE: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

pub(crate) struct MetalLb {
    module: Module,
    tools: Tools,
}

impl MetalLb {
    /// The newest that the lab builds; 0.16 is out.
    pub(crate) fn newest() -> Result<Self> {
        Self::of(Module::MetalLbObjects)
    }

    /// The last one that a ConfigMap configures.
    pub(crate) fn last_with_a_config_map() -> Result<Self> {
        Self::of(Module::MetalLb)
    }

    fn of(module: Module) -> Result<Self> {
        let tools = Tools::ensure(&[module])?;
        Ok(Self { module, tools })
    }

    fn has_objects(&self) -> bool {
        self.module == Module::MetalLbObjects
    }

    fn process(&self, lab: &Lab, host: &str, name: &str, program: &str) -> Result<ProcessSpec> {
        let kubeconfig = kubeconfig(lab)?;
        let spec = lab
            .host(host)?
            .process(name, self.tools.binary(program)?)
            .args(["--port=7472", "--log-level=info"])
            .arg(format!("--kubeconfig={}", kubeconfig.display()));
        Ok(spec.env("METALLB_NAMESPACE", NAMESPACE))
    }

    fn speaker(&self, lab: &Lab, node: &str) -> Result<ProcessSpec> {
        let address = lab.host(node)?.ipv4.to_string();
        let folder = lab.state().subdir("memberlist")?;
        fs::write(folder.join("secretkey"), SECRET).context("cannot write the key")?;
        Ok(self
            .process(lab, node, &self.daemon(node), "speaker")?
            .env("METALLB_NODE_NAME", node)
            .env("METALLB_POD_NAME", pod_name(node))
            .env("METALLB_HOST", &address)
            .env("METALLB_ML_BIND_ADDR", &address)
            .env("METALLB_ML_LABELS", LABELS)
            // The older one reads the first, the newer one the second.
            .env("METALLB_ML_SECRET_KEY", SECRET)
            .env("METALLB_ML_SECRET_KEY_PATH", folder.to_string_lossy()))
    }

    fn configure(&self, lab: &Lab) -> Result<()> {
        if !self.has_objects() {
            return lab.apply(&config_map()).map(drop);
        }
        let mut kubectl = lab.kubectl_command()?;
        kubectl.args(["apply", "--server-side", "-f", "-"]);
        stdout_of(&mut kubectl, &self.definitions()?)?;
        lab.wait_for_kinds()?;
        let object = |kind: &str, spec: Value| {
            json!({ "apiVersion": "metallb.io/v1beta1", "kind": kind, "spec": spec,
                    "metadata": { "name": "lan", "namespace": NAMESPACE } })
        };
        for object in [
            object("IPAddressPool", json!({ "addresses": [RANGE, MANY_RANGE] })),
            object("L2Advertisement", json!({ "ipAddressPools": ["lan"] })),
        ] {
            lab.apply(&object.to_string())?;
        }
        Ok(())
    }

    /// Its custom resource definitions, but for the webhook that converts BGP peers, which no Service in the lab
    /// leads to.
    fn definitions(&self) -> Result<String> {
        let (source, _) = self.module.source_of(METALLB)?;
        let path = source.join("config/manifests/metallb-native.yaml");
        let manifest =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut definitions = String::new();
        for document in serde_yaml::Deserializer::from_str(&manifest) {
            let mut object = serde_yaml::Value::deserialize(document)?;
            if object["kind"].as_str() != Some("CustomResourceDefinition") {
                continue;
            }
            if let Some(spec) = object["spec"].as_mapping_mut() {
                spec.remove("conversion");
            }
            definitions += &format!("---\n{}", serde_yaml::to_string(&object)?);
        }
        Ok(definitions)
    }
}

impl Peer for MetalLb {
    fn name(&self) -> &'static str {
        "MetalLB"
    }

    fn version(&self) -> Result<String> {
        let (_, version) = self.module.source_of(METALLB)?;
        Ok(version.trim_start_matches('v').to_owned())
    }

    fn settings(&self) -> &'static str {
        "defaults"
    }

    fn start(&self, lab: &Lab) -> Result<()> {
        let namespace =
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } });
        lab.apply(&namespace.to_string())?;
        self.configure(lab)?;
        for node in NODES {
            create_pod(lab, node)?;
        }
        let mut controller = self.process(lab, "cp", CONTROLLER, "controller")?;
        if self.has_objects() {
            controller = controller.args(["--webhook-mode=disabled", "--disable-cert-rotation"]);
        }
        lab.spawn(controller)?;
        for node in NODES {
            lab.spawn(self.speaker(lab, node)?)?;
        }
        Ok(())
    }

    fn daemon(&self, node: &str) -> String {
        format!("metallb-speaker-{node}")
    }

    fn controller(&self) -> Option<&'static str> {
        Some(CONTROLLER)
    }

    fn is_ready(&self, lab: &Lab, node: &str) -> Result<bool> {
        answers(lab, node, "/metrics")
    }

    fn drain(&self, lab: &Lab, node: &str, begin: bool) -> Result<()> {
        if self.has_objects() {
            let label = format!("{EXCLUDE}{}", if begin { "=" } else { "-" });
            lab.kubectl(&["label", "node", node, &label])?;
        }
        Ok(())
    }

    fn drain_words(&self) -> &'static str {
        match self.has_objects() {
            true => "the label `node.kubernetes.io/exclude-from-external-load-balancers`",
            false => "nothing: it stops with the node",
        }
    }

    fn programs(&self) -> Result<(PathBuf, Option<PathBuf>)> {
        let (speaker, controller) = (
            self.tools.binary("speaker")?,
            self.tools.binary("controller")?,
        );
        Ok((speaker, Some(controller)))
    }
}

fn pod_name(node: &str) -> String {
    format!("speaker-{node}")
}

/// Speakers find each other by their pods.
fn create_pod(lab: &Lab, node: &str) -> Result<()> {
    let name = pod_name(node);
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "namespace": NAMESPACE,
                      "labels": { "app": "metallb", "component": "speaker" } },
        "spec": { "nodeName": node, "hostNetwork": true, "automountServiceAccountToken": false,
                  "containers": [{ "name": "speaker", "image": "none" }] },
    });
    // Its service account comes a moment after its namespace.
    wait_until(
        PATIENCE,
        || Ok(lab.apply(&pod.to_string()).is_ok()),
        || Ok(()),
    )
    .with_context(|| format!("{:?}", lab.apply(&pod.to_string())))?;
    let address = lab.host(node)?.ipv4;
    let status = json!({ "status": { "phase": "Running", "podIP": address,
        "podIPs": [{ "ip": address }], "hostIP": address,
        "conditions": [{ "type": "Ready", "status": "True" }] } });
    let status = status.to_string();
    let patch = [
        "patch",
        "pod",
        &name,
        "-n",
        NAMESPACE,
        "--subresource=status",
    ];
    lab.kubectl(&[&patch[..], &["--type=merge", "-p", &status]].concat())?;
    Ok(())
}
