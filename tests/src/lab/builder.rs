//! How a lab is started.

use std::net::Ipv4Addr;
use std::sync::Arc;

use anyhow::{Result, bail};

use super::{Lab, NodeKind, Ownership, Plan};
use crate::control_plane::Placement;
use crate::kube_proxy::ProxyMode;
use crate::kubernetes::Version;
use crate::net::{Network, lan_address};
use crate::progress::Progress;
use crate::state::{State, remove_dead_labs};
use crate::tools::Tools;
use crate::{control_plane, ending, hollow, preflight, real};

/// Nodes have addresses from .11 on, the client has .100.
const MAX_NODES: u8 = 80;

/// `node n1`, `nodes n1, n2`, `nodes n1 to n9`.
fn listed(names: &[&str]) -> String {
    match names {
        [only] => format!("node {only}"),
        [first, .., last] if names.len() > 5 => format!("nodes {first} to {last}"),
        _ => format!("nodes {}", names.join(", ")),
    }
}

/// What a lab shall be.
#[must_use]
pub struct Builder {
    name: String,
    nodes: u8,
    kind: NodeKind,
    like_minikube: bool,
    proxy: Option<ProxyMode>,
    kubernetes: Option<Version>,
    control_plane: Placement,
    exactly: bool,
    detached: bool,
    progress: Progress,
}

impl Builder {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            nodes: 3,
            kind: NodeKind::Real,
            like_minikube: false,
            proxy: None,
            kubernetes: None,
            control_plane: Placement::default(),
            exactly: false,
            detached: false,
            progress: Progress::Quiet,
        }
    }

    /// How many nodes; 3 when not said.
    pub fn nodes(self, nodes: u8) -> Self {
        Self { nodes, ..self }
    }

    /// What its nodes are.
    pub fn kind(self, kind: NodeKind) -> Self {
        Self { kind, ..self }
    }

    /// One node like minikube's: named `minikube`, 192.168.64.4, with the labels that kubeadm
    /// gives a control plane.
    pub fn like_minikube(self, like_minikube: bool) -> Self {
        Self {
            like_minikube,
            ..self
        }
    }

    /// How kube-proxy forwards; when not said, as [`CHOICE`](crate::kube_proxy::CHOICE) says.
    pub fn proxy(self, proxy: ProxyMode) -> Self {
        Self {
            proxy: Some(proxy),
            ..self
        }
    }

    /// Its Kubernetes; when not said, as [`CHOICE`](crate::kubernetes::CHOICE) says.
    pub fn kubernetes(self, version: Version) -> Self {
        Self {
            kubernetes: Some(version),
            ..self
        }
    }

    /// Where its control plane runs; on a host of its own when not said.
    pub fn control_plane(self, control_plane: Placement) -> Self {
        Self {
            control_plane,
            ..self
        }
    }

    /// The lab is named exactly as said, without the pid.
    pub fn named_exactly(self) -> Self {
        Self {
            exactly: true,
            ..self
        }
    }

    /// The lab outlives this process, until `lab down`. It is named exactly as said.
    pub fn detached(self) -> Self {
        Self {
            detached: true,
            exactly: true,
            ..self
        }
    }

    /// Whether each step is shown.
    pub fn progress(self, progress: Progress) -> Self {
        Self { progress, ..self }
    }

    /// Starts it and waits until its API server and its nodes are ready.
    pub fn start(self) -> Result<Lab> {
        if !(1..=MAX_NODES).contains(&self.nodes) {
            bail!("a lab has 1 to {MAX_NODES} nodes, not {}", self.nodes);
        }
        let proxy = self.proxy.map_or_else(ProxyMode::chosen, Ok)?;
        let kubernetes = self.kubernetes.map_or_else(Version::chosen, Ok)?;
        preflight::check(&[self.kind.programs(), proxy.programs()].concat())?;
        proxy.check_kernel()?;
        let tools = Tools::ensure(&self.kind.modules(kubernetes))?;
        for (dead, removed) in remove_dead_labs()? {
            match removed {
                Ok(()) => self
                    .progress
                    .say(format_args!("  removed what lab {dead} had left")),
                Err(error) => Progress::Shown.say(format_args!("  {error:#}")),
            }
        }
        preflight::check_room(self.kind, self.nodes, self.control_plane)?;
        let name = match self.exactly {
            true => self.name.clone(),
            false => format!("{}-{}", self.name, std::process::id()),
        };
        let state = Arc::new(State::create(&name)?);
        ending::end_on_signal(&state)?;
        let network = Network::plan(&name, &self.node_addresses());
        let plan = Plan {
            kind: self.kind,
            like_minikube: self.like_minikube,
            proxy,
            kubernetes,
            control_plane: self.control_plane,
            network,
        };
        // Owned until it is up: an error on the way removes it.
        let ownership = if self.detached {
            Ownership::Starting
        } else {
            Ownership::Owned
        };
        let mut lab = Lab::new(state, plan, tools, ownership);
        if let Err(error) = self.bring_up(&lab) {
            crate::failure::keep(&lab);
            return Err(error);
        }
        if self.detached {
            lab.state.detach()?;
            lab.ownership = Ownership::Detached;
        }
        Ok(lab)
    }

    /// Starts it, runs a test in it and removes it. If the test fails, by an error or a panic, its
    /// logs and state are kept in `target/lab-failures`.
    pub fn run<T>(self, test: impl FnOnce(&Lab) -> Result<T>) -> Result<T> {
        let lab = self.start()?;
        let result = test(&lab);
        if result.is_err() {
            crate::failure::keep(&lab);
        }
        result
    }

    fn bring_up(&self, lab: &Lab) -> Result<()> {
        let Self { progress, kind, .. } = self;
        progress.step("network", || lab.plan.network.create(&lab.state))?;
        let grace = match kind {
            NodeKind::Real => None,
            NodeKind::Hollow => Some(hollow::NODE_MONITOR_GRACE),
        };
        progress.step("control plane", || control_plane::start(lab, grace))?;
        let names: Vec<&str> = lab.nodes().iter().map(|node| node.name.as_str()).collect();
        progress.step(format_args!("{kind} {}", listed(&names)), || match kind {
            NodeKind::Real => real::start_nodes(lab),
            NodeKind::Hollow => hollow::start_nodes(lab),
        })?;
        lab.state.write_json("lab.json", &lab.plan)
    }

    fn node_addresses(&self) -> Vec<(String, Ipv4Addr)> {
        if self.like_minikube {
            return vec![("minikube".to_owned(), lan_address(4))];
        }
        (1..=self.nodes)
            .map(|i| (format!("n{i}"), lan_address(10 + i)))
            .collect()
    }
}
