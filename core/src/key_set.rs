//! A few Services that have something in common, nearly always one: what a tree takes for that (half
//! a KiB) would be most of the memory that a Service costs.

use std::sync::Arc;

use crate::view::ServiceKey;

/// A small set of Services, in the order of their keys, which others share.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeySet(Vec<Arc<ServiceKey>>);

impl KeySet {
    /// Adds `key`, unless it is there already.
    pub fn insert(&mut self, key: &Arc<ServiceKey>) {
        if let Err(place) = self.0.binary_search(key) {
            self.0.reserve_exact(1);
            self.0.insert(place, Arc::clone(key));
        }
    }

    /// Removes `key`, if it is there.
    pub fn remove(&mut self, key: &ServiceKey) {
        let found = self.0.binary_search_by(|one| one.as_ref().cmp(key));
        if let Ok(place) = found {
            self.0.remove(place);
        }
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, ascending.
    pub fn iter(&self) -> impl Iterator<Item = &ServiceKey> {
        self.0.iter().map(AsRef::as_ref)
    }
}
