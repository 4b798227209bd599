//! What both daemons share with Kubernetes.
//!
//! `core` decides and knows nothing of this crate; the daemons use both; the plugin sees neither this
//! crate nor the daemons.

pub mod admin;
pub mod events;
pub mod port;
