//! The lab.

pub mod observe;
