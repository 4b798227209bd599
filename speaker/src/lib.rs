//! The speaker: Kubernetes API, frames and other speakers in; frames out.
//!
//! ```text
//! main thread     watch ──▶ View ──who may announce──▶ peers      Events, metrics, HTTP
//!                   Services, EndpointSlices, Nodes, ConfigMap
//! peers' thread   other speakers, other kernels ◀──▶ Ownership ──Vips──▶ wire
//! wire thread     packet sockets ◀──▶ Announcer ──what is announced, other hosts with it──▶ main
//! netlink thread  links and gateways ──▶ peers ──▶ wire
//! ```
#![cfg(target_os = "linux")]

pub mod admin;
pub mod args;
pub mod ask;
pub mod conflicts;
pub mod events;
pub mod gateway;
pub mod gateways;
pub mod gauges;
mod host;
pub mod keep;
pub mod keys;
pub mod kube_proxy;
pub mod l2_status;
pub mod links;
mod mailbox;
pub mod metrics;
pub mod netlink;
pub mod peers;
pub mod port;
pub mod pulse;
pub mod question;
pub mod routes;
pub mod run;
pub mod slices;
mod speaker;
mod status;
pub mod survey;
pub mod unannounced;
pub mod view;
pub mod votes;
pub mod watch;
pub mod who;
pub mod wire;
