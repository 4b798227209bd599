//! When a status that another load balancer wrote may be taken over, by the wall clock: the API server
//! says of each write at what time it was made.

use ferrolb_core::Instant;
use ferrolb_core::adopt::{Adoption, adoption, writer};
use ferrolb_core::alloc::Decision;
use ferrolb_core::names::{ANNOTATION_ADOPT_FROM, event};
use ferrolb_core::view::ServiceKey;
use ferrolb_kube::events::Object;
use jiff::{SignedDuration, Timestamp};

use super::writing::joined;
use super::{Entry, Index};
use crate::notice::Notice;

impl Index {
    /// The wall clock shows `wall` at `now`. Without ever being told, nothing is taken over.
    pub const fn set_wall_clock(&mut self, wall: Timestamp, now: Instant) {
        self.wall_clock = Some((wall, now));
    }

    fn wall(&self, now: Instant) -> Timestamp {
        let Some((wall, then)) = self.wall_clock else {
            return Timestamp::UNIX_EPOCH;
        };
        let passed = SignedDuration::try_from(now.saturating_since(then)).unwrap_or_default();
        wall.saturating_add(passed).unwrap_or(wall)
    }

    /// Looks whether the status of `key` may be taken over, and when to look again.
    pub(super) fn judge_adoption(&mut self, key: &ServiceKey, now: Instant) {
        let wall = self.wall(now);
        let Some(entry) = self.services.get(key) else {
            return;
        };
        let verdict = adoption(&entry.view, entry.adoption_undone, wall);
        if let Adoption::NotBefore(time) = &verdict {
            let wait = time.duration_since(wall).unsigned_abs();
            self.adopting.insert(key.clone(), now + wait);
        } else {
            self.adopting.remove(key);
        }
        self.allocator.set_adoption(key, verdict);
    }

    /// The time to wait for a quiet status is over.
    pub(super) fn resume_adoptions(&mut self, now: Instant) {
        let due = self.adopting.extract_if(.., |_, at| *at <= now);
        let due: Vec<_> = due.map(|(key, _)| key).collect();
        for key in due {
            self.judge_adoption(&key, now);
            self.changed.insert(key);
        }
    }

    pub(super) fn forget_adoption(&mut self, key: &ServiceKey) {
        self.adopting.remove(key);
        self.allocator.set_adoption(key, Adoption::NotAsked);
    }
}

/// The Event that tells that the Service was taken over, if `former` left it to another one.
pub(super) fn adopted(entry: &Entry, former: Option<&Decision>) -> Option<Notice> {
    let was_left = matches!(former, Some(Decision::Leave { .. }));
    let Some(Decision::Hold { addresses, .. }) = &entry.decision else {
        return None;
    };
    let manager = entry.view.foreign_manager().filter(|_| was_left)?;
    entry.view.adopt_from.as_ref()?;
    let kept = addresses
        .iter()
        .all(|one| entry.view.assigned.contains(one));
    let verb = if kept { "keeps" } else { "gets" };
    let message = format!(
        "taken over from {}, as the annotation {ANNOTATION_ADOPT_FROM} asks: the Service {verb} {}",
        writer(manager),
        joined(addresses)
    );
    tracing::info!(service = %entry.view.key, manager, "{message}");
    let object = Object::service(&entry.view);
    Some(Notice::normal(object, event::STATUS_ADOPTED, message))
}

#[cfg(test)]
mod tests;
