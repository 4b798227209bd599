//! The speaker: Kubernetes API, frames and other speakers in; frames out.
//!
//! ```text
//! main thread     watch ──▶ View ──▶ elect ──Vips──▶ arp, Events, metrics
//!                   Services, EndpointSlices, Nodes, ConfigMap
//! peers' thread   beats ──who answers──▶ main        links ──▶ arp
//! ARP thread      packet sockets ◀──▶ Announcer ──other hosts with our addresses──▶ main
//! ```
#![cfg(target_os = "linux")]

pub mod admin;
pub mod args;
pub mod arp;
pub mod client;
pub mod clock;
pub mod conflicts;
pub mod events;
pub mod links;
pub mod log;
pub mod metrics;
pub mod peers;
pub mod port;
pub mod run;
pub mod store;
pub mod view;
pub mod watch;
