//! FerroLB's decisions, and nothing else: no clock, no socket, no async runtime, no API client.
//!
//! The daemons hand in what they saw and carry out what comes back:
//!
//! ```text
//!  ConfigMap ──▶ config ──▶ Config ─┐
//!  Service   ──▶ k8s ──▶ view ──────┼─▶ alloc ──▶ Decision ──▶ the controller writes a status
//!  Node, EndpointSlice ──▶ view ────┼─▶ advertise ──▶ elect ──▶ who may announce a Vip ──▶ ownership ──▶ who does
//!  frames    ──▶ wire ──────────────┴─▶ announce ──▶ frames that the speaker sends
//!                            elect, ownership, announce ──▶ vip ──▶ who announces it, and why this node does not
//! ```
//!
//! State machines are driven by verbs: `set_*` (what is wanted), `handle_*` (what happened),
//! `poll_*` (take an output, or the next deadline with its reason). `now` is the last argument.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod address;
pub mod adopt;
pub mod advertise;
pub mod alloc;
pub mod annotations;
pub mod announce;
pub mod compiled;
pub mod config;
pub mod conflict;
pub mod cordon;
pub mod cover;
pub mod dead;
pub mod elect;
pub mod in_force;
#[cfg(feature = "k8s")]
pub mod k8s;
pub mod keep;
pub mod key_set;
pub mod labels;
pub mod lease;
pub mod managers;
pub mod names;
pub mod own_address;
pub mod ownership;
mod reason;
pub mod removal;
pub mod report;
pub mod source;
pub mod spread;
pub mod subnet;
mod suggest;
pub mod survey;
pub mod text;
mod time;
pub mod view;
pub mod vip;
pub mod wire;
pub mod write_loop;

pub use reason::{Explanation, Reason};
pub use time::Instant;
