//! What is done to the owner, and how it is undone.

use std::net::Ipv4Addr;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::ValueEnum;
use ferrolb_tests::cluster::SOON;
use ferrolb_tests::daemon::Daemon;
use ferrolb_tests::observe::Frame;
use k8s_openapi::api::core::v1::{Node, Service};
use kube::{Api, Client};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::scene::{LOCAL, NODES, Scene, UNFIT, VIP};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fault {
    /// The owner's port of the switch forwards no more; its link stays up
    Cut,
    /// The owner's link goes down
    Carrier,
    /// kill -9 of the owner's speaker, started again at once
    Kill,
    /// kill -9 of the owner's speaker, which is never started again
    Gone,
    /// SIGTERM of every speaker in turn, started again at once
    Rolling,
    /// The owner is cordoned
    Cordon,
    /// The owner gets a label that the pool's node selector refuses
    Label,
    /// externalTrafficPolicy Local: the only pod on the owner is deleted, and takes its time
    Local,
    /// The Service asks for another node
    Move,
    /// The former owner, cut off before, comes back
    Return,
    /// A silent cut of a node with 100 addresses
    #[value(name = "cut-100")]
    Cut100,
    /// A silent cut of a node with 1,000 addresses
    #[value(name = "cut-1000")]
    Cut1000,
}

impl Fault {
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Cut => "silent cut of the owner's port",
            Self::Carrier => "carrier loss at the owner",
            Self::Kill => "kill -9 of the owner's speaker, started again",
            Self::Gone => "kill -9, never started again",
            Self::Rolling => "rolling restart of all speakers",
            Self::Cordon => "cordon of the owner",
            Self::Label => "the owner's label changes, the selector refuses it",
            Self::Local => "the last local pod of the owner terminates",
            Self::Move => "move to another node",
            Self::Return => "the former owner returns",
            Self::Cut100 | Self::Cut1000 => "silent cut",
        }
    }

    /// How many addresses the dead node has, where it is not one.
    pub(crate) const fn crowd(self) -> Option<u16> {
        match self {
            Self::Cut100 => Some(100),
            Self::Cut1000 => Some(1_000),
            _ => None,
        }
    }

    /// The address that is looked at.
    pub(crate) fn vip(self) -> Ipv4Addr {
        match self {
            Self::Local => LOCAL,
            _ => VIP,
        }
    }

    pub(crate) const fn is_death(self) -> bool {
        matches!(self, Self::Cut | Self::Carrier)
    }

    /// Whether another node has to take over.
    pub(crate) const fn moves(self) -> bool {
        !matches!(self, Self::Kill | Self::Rolling | Self::Return)
    }

    /// What precedes the round; who owns the address now.
    pub(crate) fn prepare(self, scene: &Scene, owner: &str) -> Result<String> {
        if self != Self::Return {
            return Ok(owner.to_owned());
        }
        let cluster = &scene.cluster;
        let mac = cluster.lab.host(owner)?.mac;
        let cut = Instant::now();
        cluster.lab.cut(owner, false)?;
        let by_another =
            |frame: &Frame| frame.at >= cut && frame.is_gratuitous_for(VIP) && frame.source != mac;
        let taken = cluster.frames.wait_for(by_another, cut + SOON)?;
        cluster.node_of(taken.source)
    }

    /// Does it. When the speakers could know: `begun`, where nobody but themselves tells them.
    pub(crate) fn inflict(self, scene: &Scene, owner: &str, begun: Instant) -> Result<Instant> {
        let cluster = &scene.cluster;
        match self {
            Self::Cut | Self::Cut100 | Self::Cut1000 => cluster.lab.cut(owner, false)?,
            Self::Carrier => cluster.lab.cut(owner, true)?,
            Self::Kill => cluster.restart_speaker(owner, Signal::KILL)?,
            Self::Gone => cluster.lab.kill(&Daemon::speaker(owner).process_name())?,
            Self::Rolling => {
                for node in NODES {
                    cluster.restart_speaker(node, Signal::TERM)?;
                }
            }
            Self::Cordon | Self::Label => {
                return scene.change(Api::<Node>::all, owner, &self.patch(true, ""));
            }
            Self::Move => {
                let other = NODES.iter().rfind(|node| **node != owner);
                let other = other.context("there is no other node")?;
                return scene.change(services, "web", &self.patch(true, other));
            }
            Self::Local => return scene.end_local_pod(owner),
            Self::Return => cluster.lab.heal(owner)?,
        }
        Ok(begun)
    }

    pub(crate) fn undo(self, scene: &Scene, owner: &str) -> Result<()> {
        let cluster = &scene.cluster;
        match self {
            Self::Cut | Self::Carrier | Self::Cut100 | Self::Cut1000 => cluster.lab.heal(owner)?,
            Self::Gone => {
                cluster.lab.start(&Daemon::speaker(owner).process_name())?;
                cluster.wait_until_ready(owner)?;
            }
            Self::Cordon | Self::Label => {
                scene.change(Api::<Node>::all, owner, &self.patch(false, ""))?;
            }
            Self::Move => drop(scene.change(services, "web", &self.patch(false, ""))?),
            Self::Local => scene.replace_local_pod(owner)?,
            Self::Kill | Self::Rolling | Self::Return => {}
        }
        Ok(())
    }

    /// The change that asks for it, or takes that back.
    fn patch(self, on: bool, node: &str) -> Value {
        let text = on.then_some(if node.is_empty() { "yes" } else { node });
        match self {
            Self::Cordon => json!({ "spec": { "unschedulable": on } }),
            Self::Move => json!({ "metadata": { "annotations": { "ferrolb.io/move-to": text } } }),
            _ => json!({ "metadata": { "labels": { UNFIT: text } } }),
        }
    }
}

fn services(client: Client) -> Api<Service> {
    Api::default_namespaced(client)
}
