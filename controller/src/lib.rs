//! The controller: Services in, their statuses out.
//!
//! ```text
//!  watch ─▶ views ─▶ index ─▶ (core's allocator decides) ─▶ index ─▶ writer, notice ─▶ API
//! ```
//!
//! One task, [`run`], owns all state and drives everything, so that nothing is decided on half a
//! picture; a second one answers `/metrics`, `/healthz`, `/readyz` and `/status`. Of two replicas one
//! leads: the other one watches, and writes nothing but the Lease when that is free.

pub mod admin;
pub mod args;
pub mod compiled;
pub mod configuration_state;
pub mod conflicts;
pub mod control;
pub mod dead;
pub mod election;
pub mod index;
pub mod metrics;
pub mod network;
pub mod notice;
pub mod peers_key;
pub mod pool_status;
mod removal;
pub mod rights;
pub mod run;
pub mod source;
mod waiting;
pub mod watch;
pub mod writer;
