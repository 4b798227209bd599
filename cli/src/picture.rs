//! What the daemons know, asked of all of them at once.

use ferrolb_core::report::ControllerStatus;
use futures::future;

use crate::cluster::Cluster;
use crate::daemons::Daemon;
use crate::speaker::Said;

/// The daemons, and what each answered.
#[derive(Debug)]
pub(crate) struct Picture {
    pub(crate) daemons: Vec<Daemon>,
    /// The answer of the controller that leads; if none does, that of another one.
    pub(crate) controller: anyhow::Result<ControllerStatus>,
    pub(crate) speakers: Said,
}

impl Cluster {
    /// Asks every daemon. `Err` if it is not known which daemons there are.
    pub(crate) async fn picture(&self) -> anyhow::Result<Picture> {
        let daemons = self.daemons().await?;
        let asked = future::join(self.controller(&daemons), self.speakers(&daemons));
        let (controller, speakers) = asked.await;
        Ok(Picture {
            daemons,
            controller,
            speakers,
        })
    }
}
