//! What the controller says.

use anyhow::{Context, bail};
use ferrolb_core::report::ControllerStatus;

use crate::cluster::Cluster;
use crate::daemons::{Component, Daemon};

/// The path that both daemons answer on.
pub(crate) const STATUS: &str = "/status";

impl Cluster {
    /// The answer of the controller that leads; if none does, that of another one.
    pub(crate) async fn controller(&self, daemons: &[Daemon]) -> anyhow::Result<ControllerStatus> {
        let mut standby = None;
        let mut broken = None;
        for daemon in daemons {
            if daemon.component != Component::Controller {
                continue;
            }
            match self.ask::<ControllerStatus>(daemon, STATUS).await {
                Ok(status) if status.leading => return Ok(status),
                Ok(status) => standby = Some(status),
                Err(error) => broken = Some(error),
            }
        }
        match (standby, broken) {
            (Some(status), _) => Ok(status),
            (None, Some(error)) => Err(error),
            (None, None) => bail!(
                "no controller of FerroLB was found: install it, or say where it runs with \
                 --system-namespace"
            ),
        }
    }

    /// [`Cluster::controller`], for verbs that need nothing else of the daemons.
    pub(crate) async fn leader(&self) -> anyhow::Result<ControllerStatus> {
        let daemons = self.daemons().await?;
        let status = self.controller(&daemons).await?;
        if !status.leading {
            let blockers = status.blockers.join("; ");
            let why = if blockers.is_empty() {
                "no replica leads (yet)".to_owned()
            } else {
                blockers
            };
            return Err(anyhow::anyhow!(why))
                .context("no controller gives addresses at the moment");
        }
        Ok(status)
    }
}
