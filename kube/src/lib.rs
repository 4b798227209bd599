//! What both daemons share with Kubernetes.
//!
//! `core` decides and knows nothing of this crate; the daemons use both; the plugin sees neither this
//! crate nor the daemons.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod admin;
pub mod answer;
pub mod args;
pub mod backoff;
pub mod client;
pub mod clock;
pub mod events;
pub mod log;
pub mod objects;
mod pieces;
pub mod port;
#[cfg(any(test, feature = "scripted"))]
pub mod scripted;
pub mod store;
pub mod trimmed;
pub mod watch;
