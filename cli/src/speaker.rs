//! What a speaker says.

use ferrolb_core::report::SpeakerStatus;
use futures::{StreamExt, stream};

use crate::cluster::Cluster;
use crate::daemons::{Component, Daemon};

/// Speakers that are asked at a time: each holds a connection through the API server.
const AT_ONCE: usize = 64;

/// What each speaker says, or why it does not, with its node.
pub(crate) type Said = Vec<(String, anyhow::Result<SpeakerStatus>)>;

impl Cluster {
    /// What the speaker on `node` says; `None` if there is none.
    pub(crate) async fn speaker_on(
        &self,
        node: &str,
        daemons: &[Daemon],
    ) -> anyhow::Result<Option<SpeakerStatus>> {
        match speaker_of(node, daemons) {
            Some(speaker) => self.status_of(speaker).await.map(Some),
            None => Ok(None),
        }
    }

    /// What every speaker says, or why it does not, with its node.
    pub(crate) async fn speakers(&self, daemons: &[Daemon]) -> Said {
        let speakers = daemons.iter().filter_map(|daemon| {
            let node = daemon.node.clone()?;
            (daemon.component == Component::Speaker).then_some((node, daemon))
        });
        let said = stream::iter(speakers)
            .map(async |(node, speaker)| (node, self.status_of(speaker).await));
        said.buffered(AT_ONCE).collect().await
    }
}

/// The speaker's pod on `node`.
pub(crate) fn speaker_of<'a>(node: &str, daemons: &'a [Daemon]) -> Option<&'a Daemon> {
    let mut daemons = daemons.iter();
    daemons.find(|daemon| {
        daemon.component == Component::Speaker && daemon.node.as_deref() == Some(node)
    })
}
