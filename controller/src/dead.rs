//! Pods of dead nodes leave rotation: votes in, statuses of pods out.
//!
//! A task of its own beside [`control`](crate::control): it shares nothing with the giving of addresses
//! but the client. It exists only with `--dead-nodes=remove`; without, nothing is watched and nothing
//! written. [`ferrolb_core::dead`] decides.

use ferrolb_core::Reason;
use ferrolb_core::dead::DeadNodesStatus;
use kube::Client;
use tokio::sync::watch;

mod look;
mod metrics;
mod run;
mod watches;
mod writer;

pub use metrics::Metrics;

/// What is done with the endpoints of a dead node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Endpoints {
    /// They stay in rotation until Kubernetes itself takes them out, after 50 s.
    Leave,
    /// Their pods are marked not ready as soon as two speakers have found the node dead.
    Remove,
}

/// The way to the task.
#[derive(Debug)]
pub struct DeadNodes {
    leading: watch::Sender<bool>,
    status: watch::Receiver<DeadNodesStatus>,
}

/// What the task needs to begin.
pub struct Start {
    /// The API server.
    pub client: Client,
    /// Where the `ConfigMap` of votes is.
    pub namespace: String,
    /// An address of the node that it runs on.
    pub node_ip: Option<std::net::IpAddr>,
    /// Who writes the Events: the pod's name.
    pub instance: String,
    /// Whether the rights are there.
    pub allowed: bool,
    /// Whether Events may be written.
    pub events: bool,
    /// What it counts.
    pub metrics: Metrics,
}

impl DeadNodes {
    /// Starts the task; without the rights it says so, and does nothing.
    #[must_use]
    pub fn spawn(start: Start) -> Self {
        let (leading, leads) = watch::channel(false);
        let (tell, status) = watch::channel(DeadNodesStatus::default());
        if start.allowed {
            tokio::spawn(run::run(start, leads, tell));
        } else {
            let reason = Reason::NoRightToPods;
            tracing::warn!(
                %reason,
                "pods of dead nodes stay in rotation: {}",
                reason.explanation().what
            );
            tell.send_replace(DeadNodesStatus {
                reason: Some(reason.as_str().to_owned()),
                nodes: Vec::new(),
            });
        }
        Self { leading, status }
    }

    /// Whether this replica leads.
    pub fn set_leading(&self, leads: bool) {
        self.leading.send_if_modified(|before| {
            let changed = *before != leads;
            *before = leads;
            changed
        });
    }

    /// For `/status`.
    #[must_use]
    pub fn status(&self) -> DeadNodesStatus {
        self.status.borrow().clone()
    }
}
