//! Entries of a `ConfigMap` in which many report: whoever reads them removes those that are over.

/// Entries to remove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    /// Of the `ConfigMap` that they were seen in: one that has changed since is left alone.
    pub resource_version: String,
    /// Their keys.
    pub keys: Vec<String>,
}
