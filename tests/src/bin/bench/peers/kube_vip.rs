//! kube-vip for Services, at layer 2, built from its Go module, with the environment that its own
//! `kube-vip manifest daemonset` writes. Its cloud provider is not run: Services name their addresses.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use ferrolb_tests::Lab;
use ferrolb_tests::command::stdout_of;
use ferrolb_tests::tools::{KUBE_VIP, Module, Tools};
use serde_yaml::Value;

use super::peer::{NODES, Peer, kubeconfig};

/// Where it looks for a kubeconfig before it looks at home.
const FOREIGN: &str = "/etc/kubernetes/admin.conf";
const MANIFEST: [&str; 6] = [
    "manifest",
    "daemonset",
    "--services",
    "--arp",
    "--leaderElection",
    "--interface=eth0",
];

pub(crate) struct KubeVip {
    tools: Tools,
    /// Whether each Service has a Lease of its own.
    elects_for_each: bool,
}

impl KubeVip {
    pub(crate) fn new(elects_for_each: bool) -> Result<Self> {
        ensure!(
            !Path::new(FOREIGN).exists(),
            "{FOREIGN} is there: kube-vip would use that cluster"
        );
        let tools = Tools::ensure(&[Module::KubeVip])?;
        Ok(Self {
            tools,
            elects_for_each,
        })
    }

    /// What its manifest sets, but for what it takes from the pod.
    fn environment(&self) -> Result<BTreeMap<String, String>> {
        let mut command = Command::new(self.tools.binary("kube-vip")?);
        command.args(MANIFEST);
        if self.elects_for_each {
            command.arg("--servicesElection");
        }
        let manifest: Value = serde_yaml::from_str(&stdout_of(&mut command, "")?)?;
        let env = &manifest["spec"]["template"]["spec"]["containers"][0]["env"];
        let env = env.as_sequence().context("its manifest has no env")?;
        let pair = |entry: &Value| {
            let text = |key: &str| entry[key].as_str().map(str::to_owned);
            Some((text("name")?, text("value")?))
        };
        Ok(env.iter().filter_map(pair).collect())
    }
}

impl Peer for KubeVip {
    fn name(&self) -> &'static str {
        "kube-vip"
    }

    fn version(&self) -> Result<String> {
        let (_, version) = Module::KubeVip.source_of(KUBE_VIP)?;
        Ok(version.trim_start_matches('v').to_owned())
    }

    fn settings(&self) -> &'static str {
        match self.elects_for_each {
            true => "svc_election",
            false => "defaults",
        }
    }

    fn start(&self, lab: &Lab) -> Result<()> {
        let environment = self.environment()?;
        for node in NODES {
            let home = lab.state().subdir(&format!("home-{node}"))?;
            fs::create_dir_all(home.join(".kube"))?;
            fs::copy(kubeconfig(lab)?, home.join(".kube/config"))?;
            let mut spec = lab
                .host(node)?
                .process(self.daemon(node), self.tools.binary("kube-vip")?)
                .arg("manager");
            spec.env.extend(environment.clone());
            lab.spawn(
                spec.env("HOME", home.to_string_lossy())
                    .env("vip_nodename", node),
            )?;
        }
        Ok(())
    }

    fn daemon(&self, node: &str) -> String {
        format!("kube-vip-{node}")
    }

    fn programs(&self) -> Result<(PathBuf, Option<PathBuf>)> {
        Ok((self.tools.binary("kube-vip")?, None))
    }
}
