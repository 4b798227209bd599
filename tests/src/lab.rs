//! One lab: its network, its control plane, its nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::serde::{Deserialize, Serialize};
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};

use crate::command::stdout_of;
use crate::control_plane::Placement;
use crate::kube_proxy::ProxyMode;
use crate::kubernetes::Version;
use crate::net::{CLIENT, CONTROL_PLANE, Host, Network};
use crate::preflight::Program;
use crate::real;
use crate::state::State;
use crate::tools::{Module, Tools};
use crate::wait::wait_until;

mod builder;
mod processes;
mod spawner;

pub use builder::Builder;
use spawner::Spawner;

/// A kind that is served is listed within seconds.
const LISTED: Duration = Duration::from_secs(120);

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeKind {
    /// A kubelet with containerd: pods are containers.
    Real,
    /// A Node object and a kube-proxy. Its pods are objects too, each with a small server behind
    /// its address.
    Hollow,
}

impl fmt::Display for NodeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Real => "real",
            Self::Hollow => "hollow",
        })
    }
}

impl NodeKind {
    /// The programs that nodes of this kind need.
    pub fn modules(self, kubernetes: Version) -> Vec<Module> {
        let mut modules = kubernetes.modules();
        if self == Self::Real {
            modules.push(Module::CoreDns);
        }
        modules
    }

    /// What nodes of this kind run beside what every lab runs.
    pub fn programs(self) -> &'static [Program] {
        match self {
            Self::Real => real::PROGRAMS,
            Self::Hollow => &[],
        }
    }
}

/// What a lab is made of, as it is written in its state.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// What its nodes are.
    pub kind: NodeKind,
    /// One node with the labels that kubeadm gives a control plane.
    pub like_minikube: bool,
    /// How its kube-proxies forward.
    #[serde(default)]
    pub proxy: ProxyMode,
    /// Its Kubernetes.
    #[serde(default)]
    pub kubernetes: Version,
    /// Where etcd, API server, controller manager and scheduler run.
    #[serde(default)]
    pub control_plane: Placement,
    /// Its LAN.
    pub network: Network,
}

/// Who ends a lab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ownership {
    /// This value, when it is dropped. The kernel kills its processes if ours dies.
    Owned,
    /// This value, until the lab is up; its processes shall outlive ours.
    Starting,
    /// `lab down`.
    Detached,
}

/// A lab that is up.
///
/// One that was started as a library ends with this value: processes, namespaces, mounts, cgroups
/// and state are removed, also on Ctrl-C, and by the next start after a kill -9.
pub struct Lab {
    state: Arc<State>,
    plan: Plan,
    tools: Tools,
    ownership: Ownership,
    /// Those that this process started, by name.
    children: Mutex<BTreeMap<String, Child>>,
    spawner: Spawner,
}

impl Lab {
    /// A lab to be started. It is named `name` and the pid of this process, so that the same test
    /// may run twice at a time.
    pub fn builder(name: &str) -> Builder {
        Builder::new(name)
    }

    /// The lab of this name that `lab up` left running.
    pub fn attach(name: &str) -> Result<Self> {
        let state = State::open(name)?;
        let plan: Plan = state.read_json("lab.json")?;
        let tools = Tools::ensure(&plan.kind.modules(plan.kubernetes))?;
        Ok(Self::new(Arc::new(state), plan, tools, Ownership::Detached))
    }

    fn new(state: Arc<State>, plan: Plan, tools: Tools, ownership: Ownership) -> Self {
        Self {
            state,
            plan,
            tools,
            ownership,
            children: Mutex::default(),
            spawner: Spawner::default(),
        }
    }

    /// Its name, unique on this machine.
    pub fn name(&self) -> &str {
        self.state.name()
    }

    /// Where it keeps what it makes.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// What it is made of.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The programs that it runs.
    pub fn tools(&self) -> &Tools {
        &self.tools
    }

    /// Its LAN.
    pub fn network(&self) -> &Network {
        &self.plan.network
    }

    /// The host of this name: `cp`, a node, `client`.
    pub fn host(&self, name: &str) -> Result<&Host> {
        self.plan.network.host(name)
    }

    /// Its nodes.
    pub fn nodes(&self) -> Vec<&Host> {
        self.plan.network.nodes().collect()
    }

    /// The host on the LAN that is no part of the cluster. Only what is seen from here is proof:
    /// kube-proxy answers nodes and pods by itself.
    pub fn client(&self) -> Result<&Host> {
        self.host(CLIENT)
    }

    /// Cuts a host from the LAN, see [`Network::cut`].
    pub fn cut(&self, host: &str, carrier: bool) -> Result<()> {
        self.plan.network.cut(host, carrier)
    }

    /// Cuts hosts from the LAN in one moment, silently.
    pub fn cut_together(&self, hosts: &[&str]) -> Result<()> {
        self.plan.network.cut_together(hosts)
    }

    /// Undoes [`Lab::cut`].
    pub fn heal(&self, host: &str) -> Result<()> {
        self.plan.network.heal(host)
    }

    /// The administrator's kubeconfig. Its server is reached from every host of the lab, and from
    /// nowhere else.
    pub fn kubeconfig(&self) -> PathBuf {
        self.state.dir().join("admin.kubeconfig")
    }

    /// Runs async code with an administrator's client, in the control plane's network.
    pub fn api<T: Send>(&self, work: impl AsyncFnOnce(Client) -> Result<T> + Send) -> Result<T> {
        self.api_from(CONTROL_PLANE, &self.kubeconfig(), work)
    }

    /// [`Lab::api`] in the network of `host`, as whoever `kubeconfig` names.
    pub fn api_from<T: Send>(
        &self,
        host: &str,
        kubeconfig: &Path,
        work: impl AsyncFnOnce(Client) -> Result<T> + Send,
    ) -> Result<T> {
        self.host(host)?.enter(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .context("cannot start a runtime")?;
            runtime.block_on(async { work(client(kubeconfig).await?).await })
        })?
    }

    /// A `kubectl` as the administrator, its arguments yet to be added.
    pub fn kubectl_command(&self) -> Result<Command> {
        let mut command = self.admin_command("kubectl")?;
        command.env("KUBECACHEDIR", self.state.subdir("kube-cache")?);
        Ok(command)
    }

    /// A `helm` as the administrator, its arguments yet to be added. Nothing of the user's own
    /// helm is read or written.
    pub fn helm_command(&self) -> Result<Command> {
        let mut command = self.admin_command("helm")?;
        for home in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
            command.env(home, self.state.subdir("helm")?.join(home));
        }
        Ok(command)
    }

    fn admin_command(&self, tool: &str) -> Result<Command> {
        let program = self.tools.binary(tool)?;
        let mut command = self
            .host(CONTROL_PLANE)?
            .command(&program.to_string_lossy());
        command.env("KUBECONFIG", self.kubeconfig());
        Ok(command)
    }

    /// Runs `kubectl` as the administrator; what it wrote, or an error with its complaint.
    pub fn kubectl(&self, args: &[&str]) -> Result<String> {
        stdout_of(self.kubectl_command()?.args(args), "")
    }

    /// Runs `helm` as the administrator; what it wrote, or an error with its complaint.
    pub fn helm(&self, args: &[&str]) -> Result<String> {
        stdout_of(self.helm_command()?.args(args), "")
    }

    /// `kubectl apply` of this YAML.
    pub fn apply(&self, yaml: &str) -> Result<String> {
        let mut kubectl = self.kubectl_command()?;
        kubectl.args(["apply", "-f", "-"]);
        // Where the first document is JSON, a kubectl before 1.34 takes those that follow for JSON, too.
        match yaml.contains("\n---\n") {
            true => stdout_of(&mut kubectl, &format!("---\n{yaml}")),
            false => stdout_of(&mut kubectl, yaml),
        }
    }

    /// Waits until the API server serves each kind that is defined, and lists it, which is a moment later.
    pub fn wait_for_kinds(&self) -> Result<()> {
        let established = ["wait", "--for=condition=Established", "crd", "--all"];
        self.kubectl(&[&established[..], &["--timeout=60s"]].concat())?;
        let defined = self.kubectl(&["get", "crd", "-o", "name"])?;
        let names = || defined.lines().filter_map(|line| line.split('/').nth(1));
        let all_listed = || {
            let listed = self.kubectl(&["api-resources", "-o", "name"])?;
            let listed: BTreeSet<_> = listed.lines().collect();
            Ok(names().all(|name| listed.contains(name)))
        };
        wait_until(LISTED, all_listed, || Ok(())).context("not every kind is listed")
    }

    fn children(&self) -> MutexGuard<'_, BTreeMap<String, Child>> {
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn client(kubeconfig: &Path) -> Result<Client> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).context("cannot read the kubeconfig")?;
    let config =
        kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

impl Drop for Lab {
    fn drop(&mut self) {
        if self.ownership == Ownership::Detached {
            return;
        }
        if std::thread::panicking() {
            crate::failure::keep(self);
        }
        if let Err(error) = self.state.end() {
            // A test that passed has not: something of it is still there.
            let text = format!("{error:#}");
            assert!(std::thread::panicking(), "{text}");
        }
        for (_, mut child) in std::mem::take(&mut *self.children()) {
            // Ended above; this takes its exit status, so that no zombie stays.
            let _ = child.wait();
        }
    }
}
