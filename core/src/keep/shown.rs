//! What `/status` says of kept connections. Keys are an interface, they stay.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// There only with `keepConnections`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeepingStatus {
    /// Whether the keeper of this node can pass packets on now.
    pub ready: bool,
    /// Why not, for people.
    pub problem: Option<String>,
    /// For how long connections are kept after a move, at most.
    pub max_seconds: u64,
    /// The addresses that moved here, whose old connections are passed on now.
    pub addresses: Vec<KeptStatus>,
}

/// An address that moved here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeptStatus {
    /// The address.
    pub address: IpAddr,
    /// The node that has its old connections.
    pub from: String,
    /// Seconds for which they are still passed on, at most.
    pub seconds_left: u64,
    /// Packets passed on so far. They are counted every five seconds.
    pub packets: u64,
    /// Seconds since a packet was passed on; if none was, since the address moved.
    #[serde(default)]
    pub idle_seconds: u64,
}
