//! A few Services that have something in common, nearly always one: what a tree takes for that (half
//! a KiB) would be most of the memory that a Service costs.

use crate::view::ServiceKey;

/// A small set of Services, in the order of their keys.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeySet(Vec<ServiceKey>);

impl KeySet {
    /// Adds `key`, unless it is there already.
    pub fn insert(&mut self, key: &ServiceKey) {
        if let Err(place) = self.0.binary_search(key) {
            self.0.reserve_exact(1);
            self.0.insert(place, key.clone());
        }
    }

    /// Removes `key`, if it is there.
    pub fn remove(&mut self, key: &ServiceKey) {
        if let Ok(place) = self.0.binary_search(key) {
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
        self.0.iter()
    }
}
