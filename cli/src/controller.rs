//! What the controller says.

use anyhow::{Context, bail};
use ferrolb_core::report::ControllerStatus;
use futures::future;

use crate::cluster::Cluster;
use crate::daemons::{Component, Daemon};

impl Cluster {
    /// The answer of the controller that leads; if none does, that of another one.
    pub(crate) async fn controller(&self, daemons: &[Daemon]) -> anyhow::Result<ControllerStatus> {
        let controllers = daemons
            .iter()
            .filter(|daemon| daemon.component == Component::Controller);
        let answers = controllers.map(|daemon| self.status_of::<ControllerStatus>(daemon));
        let mut standby = None;
        let mut broken = None;
        for answer in future::join_all(answers).await {
            match answer {
                Ok(status) if status.leading => return Ok(status),
                Ok(status) => standby = Some(status),
                Err(error) => broken = Some(error),
            }
        }
        match (standby, broken) {
            (Some(status), _) => Ok(status),
            (None, Some(error)) => Err(error),
            (None, None) => bail!(
                "no FerroLB controller found: install it, or use --system-namespace to say where \
                 it runs"
            ),
        }
    }

    /// [`Cluster::controller`], for verbs that need nothing else of the daemons.
    pub(crate) async fn leader(&self) -> anyhow::Result<ControllerStatus> {
        self.leader_of(&self.daemons().await?).await
    }

    /// The same, of daemons that are known.
    pub(crate) async fn leader_of(&self, daemons: &[Daemon]) -> anyhow::Result<ControllerStatus> {
        let status = self.controller(daemons).await?;
        if !status.leading {
            let blockers = status.blockers.join("; ");
            let why = if blockers.is_empty() {
                "no replica is leading yet".to_owned()
            } else {
                blockers
            };
            return Err(anyhow::anyhow!(why))
                .context("no controller assigns addresses at the moment");
        }
        Ok(status)
    }
}
