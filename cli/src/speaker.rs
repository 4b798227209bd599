//! What a speaker says.

use ferrolb_core::report::SpeakerStatus;

use crate::cluster::Cluster;
use crate::controller::STATUS;
use crate::daemons::{Component, Daemon};

impl Cluster {
    /// What the speaker on `node` says; `None` if there is none.
    pub(crate) async fn speaker_on(
        &self,
        node: &str,
        daemons: &[Daemon],
    ) -> anyhow::Result<Option<SpeakerStatus>> {
        match speaker_of(node, daemons) {
            Some(speaker) => self.ask(speaker, STATUS).await.map(Some),
            None => Ok(None),
        }
    }
}

/// The speaker's pod on `node`.
pub(crate) fn speaker_of<'a>(node: &str, daemons: &'a [Daemon]) -> Option<&'a Daemon> {
    let mut daemons = daemons.iter();
    daemons.find(|daemon| {
        daemon.component == Component::Speaker && daemon.node.as_deref() == Some(node)
    })
}
