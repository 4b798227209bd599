//! The user's configuration: `MetalLB`'s `ConfigMap` schema (0.9 to 0.12) with our additions.

mod model;

pub use model::*;
