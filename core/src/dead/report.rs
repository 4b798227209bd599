//! Dead nodes on `/status`. Keys are an interface, they stay.

use serde::{Deserialize, Serialize};

/// Of [`DeadNodeStatus::state`].
pub(super) const WAITING: &str = "waiting";
/// Of [`DeadNodeStatus::state`].
pub(super) const LEFT: &str = "left";
/// Of [`DeadNodeStatus::state`].
pub(super) const REMOVED: &str = "removed";
/// Of [`DeadNodeStatus::state`].
pub(super) const RESTORED: &str = "restored";

/// What the controller does about dead nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadNodesStatus {
    /// Why it does nothing; absent if it would.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The nodes that speakers say are dead, or said so lately.
    pub nodes: Vec<DeadNodeStatus>,
}

/// A node that speakers say is dead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadNodeStatus {
    /// Its name.
    pub node: String,
    /// The speakers that say so, by their nodes.
    pub found_by: Vec<String>,
    /// Since when, by the first one's clock.
    pub since: Option<String>,
    /// `waiting`, `removed` (its pods are out of rotation), `left` or `restored`.
    pub state: String,
    /// Why its pods are left, or some of them.
    pub reason: Option<String>,
    /// The pods that were taken out of rotation, as `namespace/name`.
    pub pods: Vec<String>,
    /// The Services that they serve, as `namespace/name`.
    pub services: Vec<String>,
    /// Pods that were left, by reason.
    pub left: Vec<LeftPod>,
}

impl DeadNodeStatus {
    /// Its pods are out of rotation.
    #[must_use]
    pub fn is_out(&self) -> bool {
        self.state == REMOVED
    }

    /// Speakers say that it is dead, and its pods stay, or it is not decided yet.
    #[must_use]
    pub fn is_left(&self) -> bool {
        self.state == LEFT || self.state == WAITING
    }
}

/// A pod that stays in rotation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LeftPod {
    /// As `namespace/name`.
    pub pod: String,
    /// Why.
    pub reason: String,
}
