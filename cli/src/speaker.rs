//! What a speaker says.

use std::net::IpAddr;

use ferrolb_core::Reason;
use serde::Deserialize;

use crate::cluster::Cluster;
use crate::controller::STATUS;
use crate::daemons::{Component, Daemon};

/// `standing` of a member that is there.
const LIVE: &str = "live";

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
    /// The node that announces it, as far as this speaker knows.
    pub(crate) owner: Option<String>,
    pub(crate) announced_here: bool,
    /// Why not here.
    pub(crate) reason: Option<String>,
}

impl SpeakerStatus {
    pub(crate) fn hears(&self, node: &str) -> bool {
        let mut members = self.members.iter();
        members.any(|member| member.node == node && member.standing == LIVE)
    }

    /// Whether it would announce the address if it were asked to; its own links are known to it alone.
    /// `drawback` is what it is known to be ranked behind others for.
    pub(crate) fn may_announce(&self, address: IpAddr, drawback: Option<Reason>) -> bool {
        let reason = self.vip(address).map(|vip| vip.reason.as_deref());
        let as_expected = [Some(Reason::NotOwner), drawback];
        reason.flatten().is_none_or(|word| {
            let mut reasons = as_expected.iter().flatten();
            reasons.any(|reason| reason.as_str() == word)
        })
    }

    /// The nodes whose speakers it hears, its own among them.
    pub(crate) fn live(&self) -> impl Iterator<Item = &str> {
        let members = self.members.iter();
        let live = members.filter(|member| member.standing == LIVE);
        live.map(|member| member.node.as_str())
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
