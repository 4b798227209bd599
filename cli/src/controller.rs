//! What the controller says.

use anyhow::bail;
use ferrolb_core::report::ControllerStatus;
use futures::future;

use crate::cluster::Cluster;
use crate::daemons::{Component, Daemon};
use crate::output::causes;

impl Cluster {
    /// The answer of the controller that leads; if none does, that of another one.
    pub(crate) async fn controller(&self, daemons: &[Daemon]) -> anyhow::Result<ControllerStatus> {
        let controllers = daemons
            .iter()
            .filter(|daemon| daemon.component == Component::Controller);
        let answers = controllers.map(|daemon| self.status_of::<ControllerStatus>(daemon));
        the_leading(future::join_all(answers).await)
    }
}

/// The answer of the controller that leads; if none does, that of another one.
pub(crate) fn the_leading(
    answers: Vec<anyhow::Result<ControllerStatus>>,
) -> anyhow::Result<ControllerStatus> {
    let mut standby = None;
    let mut broken = None;
    for answer in answers {
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
            "no FerroLB controller found: install it, or use --system-namespace to say where it \
             runs"
        ),
    }
}

/// Why no controller says what it decided; `None` if one does.
pub(crate) fn not_leading(answer: &anyhow::Result<ControllerStatus>) -> Option<String> {
    let status = match answer {
        Ok(status) if status.leading => return None,
        Ok(status) => status,
        Err(error) => return Some(causes(error)),
    };
    let blockers = status.blockers.join("; ");
    let why = if blockers.is_empty() {
        "no replica is leading yet"
    } else {
        &blockers
    };
    Some(format!(
        "no controller assigns addresses at the moment: {why}"
    ))
}
