//! Dead nodes on `/status`. Keys are an interface, they stay.

use serde::{Deserialize, Serialize};

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
    /// Pods that were left, by reason.
    pub left: Vec<LeftPod>,
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
