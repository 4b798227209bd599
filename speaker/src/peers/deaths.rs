//! Nodes that this speaker and one more found dead, until they are heard again: for votes.

use std::collections::BTreeMap;
use std::time::Duration;

use ferrolb_core::dead::{Found, Process};
use ferrolb_core::ownership::{NodeId, Ownership};
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::FromPeers;

/// Those that are not heard yet.
#[derive(Debug, Default)]
pub(super) struct Deaths {
    found: BTreeMap<NodeId, Process>,
}

impl Deaths {
    /// One more.
    pub(super) fn found(
        &mut self,
        (node, name): (NodeId, String),
        process: Process,
        (with, ago): (String, Duration),
    ) -> FromPeers {
        self.found.insert(node, process);
        FromPeers::FoundDead(Found {
            node: name,
            process,
            with,
            since: Timestamp::now() - SignedDuration::try_from(ago).unwrap_or_default(),
        })
    }

    /// One that lives, as a later process or in a later life.
    pub(super) fn poll_alive(&mut self, ownership: &Ownership) -> Option<(NodeId, Process)> {
        let lives = |node: NodeId, known: Process| {
            let (boot, incarnation) = ownership.live_process(node)?;
            let now = Process { boot, incarnation };
            (now > known).then_some((node, now))
        };
        let mut found = self.found.iter();
        let (node, process) = found.find_map(|(node, known)| lives(*node, *known))?;
        self.found.remove(&node);
        Some((node, process))
    }
}
