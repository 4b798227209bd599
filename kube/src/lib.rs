//! What both daemons share with the Kubernetes API.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod answer;
pub mod log;
mod pieces;
pub mod watch;
