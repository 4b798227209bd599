//! What the daemons answer on `/status`, for the plugin: one form for both sides. Keys are an
//! interface, they stay.

use serde::{Deserialize, Serialize};

/// MetalLB's metrics saturate there, too (`int64`); JSON numbers of most programs hold less.
const MANY: u128 = i64::MAX as u128;

/// `count` as a number that every reader of JSON holds.
#[must_use]
pub fn saturated(count: u128) -> u64 {
    u64::try_from(count.min(MANY)).unwrap_or(u64::MAX)
}

/// The controller's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ControllerStatus {
    /// Its version.
    pub version: String,
    /// The pod's name.
    pub instance: String,
    /// Whether it is the one that gives addresses.
    pub leading: bool,
    /// Who does, as far as it knows; `None` without leader election.
    pub leader: Option<String>,
    /// What it waits for before it gives addresses.
    pub blockers: Vec<String>,
    /// What its rights do not allow, and what that switches off.
    pub limits: Vec<String>,
    /// The configuration.
    pub configuration: ConfigurationStatus,
    /// The pools, in the order of the file.
    pub pools: Vec<PoolStatus>,
    /// Every Service that it serves. Empty on a replica that does not lead.
    pub services: Vec<ServiceStatus>,
}

/// What became of the `ConfigMap`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigurationStatus {
    /// The `ConfigMap`, as `namespace/name`.
    pub source: String,
    /// Whether a configuration is in force.
    pub loaded: bool,
    /// Why the `ConfigMap` as it is now is not in force.
    pub problem: Option<Explained>,
}

/// A Reason with its sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Explained {
    /// The word.
    pub reason: String,
    /// For people.
    pub message: String,
}

/// A pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PoolStatus {
    /// `name`
    pub name: String,
    /// `layer2` or `bgp`.
    pub protocol: String,
    /// `auto-assign`
    pub auto_assign: bool,
    /// `addresses`, as ranges.
    pub ranges: Vec<String>,
    /// Addresses that it may give out; at most 9223372036854775807.
    pub total: u64,
    /// Those that are held.
    pub used: u64,
    /// Those that are left.
    pub free: u64,
    /// The lowest one of each family that is left.
    pub first_free: Vec<String>,
}

/// A Service, and what was decided for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceStatus {
    /// `metadata.namespace`
    pub namespace: String,
    /// `metadata.name`
    pub name: String,
    /// What it holds.
    pub addresses: Vec<String>,
    /// The pool that they come from.
    pub pool: Option<String>,
    /// What it asks for and does not get.
    pub problem: Option<Explained>,
}
