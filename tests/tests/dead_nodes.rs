//! Pods of dead nodes leave rotation (`deadNodes.endpoints: remove`): what a client on the LAN sees of it, what
//! marks nobody, and what the API server refuses.
//!
//! Needs root. One at a time (`--test-threads=1`): each starts a control plane.

#![expect(clippy::print_stdout, reason = "how long it took is worth reading")]

mod dead_nodes {
    mod hollow;
    mod policy;
    mod real;
}
