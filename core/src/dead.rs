//! Pods of a dead node leave rotation: who says that a node is dead, when that is believed, and which
//! of its pods are marked.
//!
//! Kubernetes notices a dead node after 50 s; until then kube-proxy sends a share of all new
//! connections there. The speakers know after 0.1 s. Each that found it out for itself says so in the
//! `ConfigMap` [`VOTES_NAME`], and the controller does to the pods what Kubernetes would do later: it
//! writes `Ready=False` into their status. A kubelet that lives writes `True` again within 10 s.
//!
//! ```text
//!  ownership ─found dead─▶ Ballot ─▶ ConfigMap ─▶ DeadNodes ─▶ Look ─▶ the node is silent
//!            ─heard again▶ (speaker)              (controller) ─▶ Write: mark, later give back
//! ```
//!
//! A wrong verdict must cost nothing: two speakers have to agree, the controller looks for itself, the
//! last endpoint of a Service is never taken, and never most of a cluster.

use std::time::Duration;

mod ballot;
mod deaths;
mod judge;
#[cfg(feature = "k8s")]
mod k8s;
mod report;
mod serving;
#[cfg(test)]
mod tests;
mod vote;

pub use ballot::{Ballot, Entry, Found};
pub use deaths::{Action, DeadNodes, Look, Looked, Notice, Outcome, Write};
pub use judge::{NodeFacts, Verdict, judge};
#[cfg(feature = "k8s")]
pub use k8s::{ignores_dead_nodes, node_facts, service_facts, slice_facts, votes_view};
pub use report::{DeadNodeStatus, DeadNodesStatus, LeftPod};
pub use serving::{Endpoint, Pod, ServiceFacts, Serving, SliceFacts};
pub use vote::{Opinion, Process, Unreadable, Vote, VotesView, decode, encode};

/// Name of the `ConfigMap` of votes: one key for each speaker, the name of its node.
pub const VOTES_NAME: &str = "ferrolb-votes";

/// The value of [`crate::names::ANNOTATION_DEAD_NODE`].
pub const IGNORE: &str = "ignore";

/// `reason` of the condition `Ready` of a pod that was marked.
pub const POD_REASON: &str = "NodeDead";

/// What is found out about a node waits so long before it is told, by default: a machine that is paused for
/// less is not dead ([`Settings::votes_after`](crate::ownership::Settings::votes_after)).
pub const AFTER: Duration = Duration::from_millis(500);

/// So many speakers have to say that a node is dead: the one that watched it, and a witness.
pub const QUORUM: usize = 2;

/// A vote is of no use after that: Kubernetes itself acts after 50 s.
pub const LIFETIME: Duration = Duration::from_mins(10);

/// A speaker that has heard the node again says so for so long, and then nothing any more.
pub const HEARD_FOR: Duration = Duration::from_secs(60);
