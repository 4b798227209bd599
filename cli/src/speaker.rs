//! What a speaker says.

use std::net::IpAddr;

use serde::Deserialize;

use crate::cluster::Cluster;
use crate::controller::STATUS;
use crate::daemons::{Component, Daemon};

/// As much of its answer as is read here.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SpeakerStatus {
    /// What it does not know yet: until then it announces nothing new.
    pub(crate) waiting_for: Option<String>,
    /// It hears no other speaker at all.
    pub(crate) isolated: bool,
    pub(crate) members: Vec<Member>,
    pub(crate) vips: Vec<Vip>,
}

/// A speaker, as another one sees it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Member {
    pub(crate) node: String,
    standing: String,
}

/// An address that a Service has.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Vip {
    pub(crate) address: IpAddr,
    /// As `namespace/name`.
    pub(crate) services: Vec<String>,
    pub(crate) announced_here: bool,
    /// Why not here.
    pub(crate) reason: Option<String>,
}

impl SpeakerStatus {
    pub(crate) fn hears(&self, node: &str) -> bool {
        let mut members = self.members.iter();
        members.any(|member| member.node == node && member.standing == "live")
    }

    pub(crate) fn vip(&self, address: IpAddr) -> Option<&Vip> {
        self.vips.iter().find(|vip| vip.address == address)
    }
}

impl Cluster {
    /// What the speaker on `node` says; `None` if there is none.
    pub(crate) async fn speaker_on(
        &self,
        node: &str,
        daemons: &[Daemon],
    ) -> anyhow::Result<Option<SpeakerStatus>> {
        let mut daemons = daemons.iter();
        let there = daemons.find(|daemon| {
            daemon.component == Component::Speaker && daemon.node.as_deref() == Some(node)
        });
        match there {
            Some(speaker) => self.ask(speaker, STATUS).await.map(Some),
            None => Ok(None),
        }
    }
}
