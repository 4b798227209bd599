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
        let (controller, mut speakers) = asked.await;
        if speakers.iter().any(|(_, said)| said.is_err()) {
            // Those that answered did so two seconds ago, and may know by now that a silent one is dead.
            self.ask_again(&daemons, &mut speakers).await;
        }
        Ok(Picture {
            daemons,
            controller,
            speakers,
        })
    }

    /// Those that answered.
    async fn ask_again(&self, daemons: &[Daemon], speakers: &mut Said) {
        let answered = |node: &str| {
            speakers
                .iter()
                .any(|(one, said)| one == node && said.is_ok())
        };
        let alive = daemons
            .iter()
            .filter(|daemon| daemon.node.as_deref().is_some_and(answered));
        let alive: Vec<_> = alive.cloned().collect();
        let fresh = self.speakers(&alive).await;
        speakers.retain(|(_, said)| said.is_err());
        speakers.extend(fresh);
        speakers.sort_by(|(a, _), (b, _)| a.cmp(b));
    }
}
