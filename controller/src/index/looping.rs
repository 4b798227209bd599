//! Statuses that are written again and again: see [`ferrolb_core::write_loop`].

use ferrolb_core::Instant;
use ferrolb_core::view::{ServiceKey, ServiceView};
use ferrolb_core::write_loop::{LEFT_FOR, WritePace};

use super::{Index, Update, Writing};

impl Index {
    /// How many statuses are left as they are for that.
    #[must_use]
    pub fn loops(&self) -> usize {
        self.looping.len()
    }

    /// The status was written.
    pub(super) fn count_write(&mut self, update: &Update, now: Instant) {
        let Some(entry) = self.services.get_mut(&update.key) else {
            return;
        };
        if entry.pace.count(now) {
            return;
        }
        // What was written has to be seen first: its address is not to be given to others.
        let is_seen = *entry.view.resource_version != *update.resource_version;
        if is_seen || entry.writing == Writing::Idle {
            self.stop_loop(&update.key, now);
        }
    }

    /// The Service has changed from what it was.
    pub(super) fn follow_loop(&mut self, key: &ServiceKey, former: &ServiceView, now: Instant) {
        let Some(entry) = self.services.get_mut(key) else {
            return;
        };
        if entry.pace == WritePace::default() {
            return;
        }
        if !entry.view.wants_the_same(former) {
            self.forget_loop(key);
        } else if entry.pace.is_exceeded(now) && !self.looping.contains(key) {
            self.stop_loop(key, now);
        }
    }

    /// The configuration has changed.
    pub(super) fn forget_loops(&mut self) {
        for entry in self.services.values_mut() {
            entry.pace = WritePace::default();
        }
        for key in self.looping.clone() {
            self.forget_loop(&key);
        }
    }

    fn stop_loop(&mut self, key: &ServiceKey, now: Instant) {
        tracing::debug!(service = %key, "this Service's status is rewritten repeatedly");
        self.allocator.stop_loop(key);
        self.looping.insert(key.clone());
        self.contested.insert(key.clone(), now + LEFT_FOR);
        self.changed.insert(key.clone());
    }

    /// What it was written for so often is another matter now.
    fn forget_loop(&mut self, key: &ServiceKey) {
        if let Some(entry) = self.services.get_mut(key) {
            entry.pace = WritePace::default();
        }
        if self.looping.remove(key) {
            self.contested.remove(key);
            self.allocator.release(key);
            self.changed.insert(key.clone());
        }
    }
}

#[cfg(test)]
mod tests;
