//! What the machine hands out, and what it is told.

use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;

use crate::dead::serving::Pod;
use crate::dead::vote::Process;
use crate::names::event::EventReason;

/// Whether the node answers the controller itself: TCP connections to the kubelets' port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// The node.
    pub node: String,
    /// Its process that fell silent.
    pub process: Process,
    /// Where the node is reached.
    pub at: Vec<IpAddr>,
    /// Where those are who say that it is dead, but for the controller's own node: a look counts only if one
    /// of them answers.
    pub voters: Vec<IpAddr>,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Looked {
    /// The node answers nothing, and a voter does.
    Silent,
    /// Something came back, be it a refusal: its kernel lives.
    Answers,
    /// No voter answers either: a firewall would look like this.
    Blind,
}

/// What to write into a pod's status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Ready is False, for this reason in words.
    Mark(String),
    /// Ready is True again, if it is False by a mark and the pod's containers are ready.
    Restore,
}

/// A write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The node whose pod it is.
    pub node: String,
    /// Its process that fell silent.
    pub process: Process,
    /// The pod.
    pub pod: Pod,
    /// What to write.
    pub action: Action,
    /// It has failed if nobody has answered by then.
    pub patience: Duration,
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is written.
    Done,
    /// The pod is gone, another one, or not marked by us.
    NotOurs,
    /// The API server forbids it.
    Refused,
    /// No answer, or a fault.
    Failed,
}

/// What people should know, on the Node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The Node.
    pub node: String,
    /// Its `metadata.uid`.
    pub uid: String,
    /// The Event's reason.
    pub event: EventReason,
    /// Somebody has to do something.
    pub warning: bool,
    /// For people.
    pub message: String,
    /// Pods were marked: since when the node is dead, by a voter's clock.
    pub marked_since: Option<Timestamp>,
}
