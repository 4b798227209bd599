//! What is done to the node that announces the address, and how it is undone.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::ValueEnum;
use ferrolb_tests::cluster::PORT;
use ferrolb_tests::observe::{Frame, TcpHold, UdpProbe};
use serde::{Deserialize, Serialize};

use super::figures::Round;
use super::peer::{NODES, VIP};
use super::scene::Scene;
use crate::figures::{millis, pause};

pub(crate) const CONNECTIONS: usize = 100;
/// Before each fault: Linux takes no second announcement within a second of one (`locktime`).
const CALM: Duration = Duration::from_millis(1_200);
/// How long we wait for another node.
const PATIENCE: Duration = Duration::from_secs(90);
/// After what should move nothing.
const WATCH: Duration = Duration::from_secs(8);
/// After the end of a silence, so that whatever follows is seen.
const AFTER: Duration = Duration::from_secs(1);
/// Between two looks at what comes back.
const LOOK: Duration = Duration::from_millis(100);
/// Between the daemons of a rolling restart.
const NEXT: Duration = Duration::from_secs(1);
/// From a node's cordon to the end of its daemon: pods are evicted meanwhile.
const EVICTION: Duration = Duration::from_secs(3);

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Fault {
    /// The node falls silent; its link stays up
    Death,
    /// The node's link goes down
    Carrier,
    /// kill -9 of the daemon that announces, started again at once
    Kill,
    /// SIGTERM of every daemon in turn, each started again and ready before the next
    Rolling,
    /// The node is emptied as the documentation says, its daemon is stopped, and the node goes down
    Drain,
}

impl Fault {
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Death => "node dies",
            Self::Carrier => "link goes down",
            Self::Kill => "daemon killed",
            Self::Rolling => "rolling restart",
            Self::Drain => "drained, then off",
        }
    }

    /// Whether another node has to take over.
    pub(crate) const fn moves(self) -> bool {
        !matches!(self, Self::Kill | Self::Rolling)
    }

    fn inflict(self, scene: &Scene<'_>, owner: &str) -> Result<()> {
        let lab = scene.lab();
        let daemon = scene.peer.daemon(owner);
        match self {
            Self::Death => lab.cut(owner, false),
            Self::Carrier => lab.cut(owner, true),
            Self::Kill => {
                lab.kill(&daemon)?;
                lab.start(&daemon)
            }
            Self::Rolling => {
                for node in NODES {
                    scene.end(node)?;
                    lab.start(&scene.peer.daemon(node))?;
                    scene.wait_until_ready(node)?;
                    pause(NEXT);
                }
                Ok(())
            }
            Self::Drain => {
                lab.kubectl(&["cordon", owner])?;
                scene.peer.drain(lab, owner, true)?;
                pause(EVICTION);
                scene.end(owner)?;
                lab.cut(owner, true)
            }
        }
    }

    fn undo(self, scene: &Scene<'_>, owner: &str) -> Result<()> {
        let lab = scene.lab();
        if self.moves() {
            lab.heal(owner)?;
        }
        if self == Self::Drain {
            scene.peer.drain(lab, owner, false)?;
            lab.kubectl(&["uncordon", owner])?;
        }
        Ok(())
    }
}

pub(crate) fn rounds(scene: &Scene<'_>, fault: Fault, count: usize) -> Result<Vec<Round>> {
    (0..count)
        .map(|number| {
            round(scene, fault).with_context(|| format!("{}, round {number}", fault.text()))
        })
        .collect()
}

fn round(scene: &Scene<'_>, fault: Fault) -> Result<Round> {
    scene.renew()?;
    let cluster = &scene.cluster;
    let owner = scene.owner()?;
    let target = (VIP, PORT).into();
    let probe = cluster.on_lan(|| UdpProbe::start(target))??;
    let connections = cluster.on_lan(|| TcpHold::open(target, CONNECTIONS))??;
    pause(CALM);
    let begun = Instant::now();
    fault.inflict(scene, &owner)?;
    let is_over = match fault.moves() {
        true => is_back(scene, &owner, &probe, begun)?,
        false => {
            pause(WATCH);
            true
        }
    };
    pause(AFTER);
    // First: a hundred connections that look whether they live would make the client late.
    let udp = probe.stop();
    let tcp = connections.stop();
    let announcers = cluster.announcers(VIP, begun)?;
    fault.undo(scene, &owner)?;
    Ok(Round {
        silence_ms: millis(udp.longest_gap()),
        is_over,
        broken: tcp.broken.len(),
        moves: announcers.iter().filter(|node| **node != owner).count(),
    })
}

/// Waits until another node has announced the address and a datagram was answered that was sent after both that
/// and the fault; whether that came.
fn is_back(scene: &Scene<'_>, owner: &str, probe: &UdpProbe, begun: Instant) -> Result<bool> {
    let mac = scene.lab().host(owner)?.mac;
    let inflicted = Instant::now();
    let by_another =
        |frame: &Frame| frame.at >= begun && frame.is_gratuitous_for(VIP) && frame.source != mac;
    let deadline = inflicted + PATIENCE;
    let Ok(frame) = scene.cluster.frames.wait_for(by_another, deadline) else {
        return Ok(false);
    };
    let since = frame.at.max(inflicted);
    while Instant::now() < deadline {
        let probes = probe.report().probes;
        let after = probes.iter().rev().take_while(|probe| probe.sent > since);
        if after.into_iter().any(|probe| probe.answered.is_some()) {
            return Ok(true);
        }
        pause(LOOK);
    }
    Ok(false)
}
