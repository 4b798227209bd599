//! The objects as they come in, and when to look at what they come to. Several that are applied one after
//! the other are one change: a pool whose advertisement is still on its way would be an outage.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::Instant;
use crate::config::objects::{Kind, ObjectView};

/// Without a change for so long, what has changed is complete.
const QUIET: Duration = Duration::from_millis(300);
/// Whoever goes on changing is not waited for any longer.
const LATEST: Duration = Duration::from_secs(2);
/// What layer 2 does not need is waited for so long at the start: a conversion webhook that nobody serves
/// any more makes the routers unreadable, and must not stop the rest.
const PATIENCE: Duration = Duration::from_secs(5);
/// Nothing is decided before these have been listed.
const NEEDED: [Kind; 2] = [Kind::IpAddressPool, Kind::L2Advertisement];

/// Whether the API server has a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Presence {
    /// It has.
    Served,
    /// It is about to delete the kind, with all objects of it.
    Terminating,
    /// It has not.
    Absent,
}

/// What happened to objects of one kind.
#[derive(Debug)]
pub enum Change {
    /// Created or changed.
    Applied(ObjectView),
    /// The one of this name is gone.
    Deleted(String),
    /// This is all there is.
    Listed {
        /// What can be decoded.
        objects: Vec<ObjectView>,
        /// Names of what cannot: what is known of it stays.
        unreadable: BTreeSet<String>,
    },
}

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Nothing.
    Nothing,
    /// Ask the API server which kinds it has: [`Collector::handle_kinds`] takes the answer.
    Look,
    /// Compile the objects.
    Compile,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct Collector {
    kinds: BTreeMap<Kind, OfKind>,
    /// When the API server was last asked for the kinds.
    asked: Option<Instant>,
    look: Look,
    /// The first and the last change that have not been looked at.
    changed: Option<(Instant, Instant)>,
    /// When something went last.
    shrunk: Option<Instant>,
    was_compiled: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Look {
    #[default]
    None,
    Wanted,
    UnderWay,
}

#[derive(Debug)]
struct OfKind {
    presence: Presence,
    /// Since when.
    since: Instant,
    listed: bool,
    objects: BTreeMap<String, ObjectView>,
}

impl Collector {
    /// The API server has these kinds, as it said when it was `asked`. Others it has not.
    pub fn handle_kinds(&mut self, kinds: &BTreeMap<Kind, Presence>, asked: Instant) {
        self.asked = Some(asked);
        self.look = Look::None;
        for kind in Kind::ALL {
            let presence = kinds.get(&kind).copied().unwrap_or(Presence::Absent);
            let known = self.kinds.entry(kind).or_insert_with(|| OfKind {
                presence: Presence::Absent,
                since: asked,
                listed: true,
                objects: BTreeMap::new(),
            });
            if known.presence == presence {
                continue;
            }
            let was_absent = known.presence == Presence::Absent;
            known.presence = presence;
            known.since = asked;
            if presence == Presence::Absent {
                known.objects.clear();
                known.listed = true;
            } else if was_absent {
                known.listed = false;
            }
            self.change(asked);
        }
        if self.changed.is_none() && !self.was_compiled {
            self.change(asked);
        }
    }

    /// Objects of a kind have changed.
    pub fn handle(&mut self, kind: Kind, change: Change, now: Instant) {
        let known = self.kinds.get_mut(&kind);
        let Some(known) = known.filter(|known| known.presence != Presence::Absent) else {
            return;
        };
        let mut has_shrunk = false;
        match change {
            Change::Applied(view) => {
                let former = known.objects.insert(view.name.clone(), view.clone());
                if former.is_some_and(|former| is_same(&former, &view)) {
                    return;
                }
            }
            Change::Deleted(name) => has_shrunk = known.objects.remove(&name).is_some(),
            Change::Listed {
                objects,
                unreadable,
            } => {
                let was_listed = std::mem::replace(&mut known.listed, true);
                let mut listed = std::mem::take(&mut known.objects);
                let before: BTreeSet<String> = listed.keys().cloned().collect();
                listed.retain(|name, _| unreadable.contains(name));
                listed.extend(objects.into_iter().map(|view| (view.name.clone(), view)));
                has_shrunk = before.iter().any(|name| !listed.contains_key(name));
                known.objects = listed;
                // A list that comes again tells of no change, as a rule: what it comes to is compared.
                if was_listed && !has_shrunk && before.is_empty() && known.objects.is_empty() {
                    return;
                }
            }
        }
        if has_shrunk {
            self.shrunk = Some(now);
        }
        self.change(now);
    }

    fn change(&mut self, now: Instant) {
        let first = self.changed.map_or(now, |(first, _)| first);
        self.changed = Some((first, now));
    }

    /// Ask for the kinds once more.
    pub fn ask(&mut self) {
        if self.look == Look::None {
            self.look = Look::Wanted;
        }
    }

    /// What to do now.
    pub fn poll_due(&mut self, now: Instant) -> Due {
        if self.look == Look::Wanted {
            self.look = Look::UnderWay;
            return Due::Look;
        }
        let is_due = self.due().is_some_and(|due| due <= now);
        if !is_due || self.look == Look::UnderWay || self.missing(now).is_some() {
            return Due::Nothing;
        }
        // Whoever deletes a kind deletes its objects first; what is in force must not follow.
        if self.shrunk.is_some_and(|shrunk| self.asked <= Some(shrunk)) {
            self.look = Look::UnderWay;
            return Due::Look;
        }
        self.changed = None;
        self.was_compiled = true;
        Due::Compile
    }

    /// When [`Self::poll_due`] has something.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.look == Look::UnderWay {
            return None;
        }
        let unlisted = self.kinds.iter().filter(|(_, known)| !known.listed);
        let (needed, others): (Vec<_>, Vec<_>) =
            unlisted.partition(|(kind, _)| NEEDED.contains(kind));
        if !needed.is_empty() {
            return None;
        }
        let patient = others.iter().map(|(_, known)| known.since + PATIENCE).max();
        self.due().map(|due| due.max(patient.unwrap_or(due)))
    }

    fn due(&self) -> Option<Instant> {
        let (first, last) = self.changed?;
        Some(match self.was_compiled {
            true => (last + QUIET).min(first + LATEST),
            false => first,
        })
    }

    /// What has to be known before anything can be said, in a few words.
    #[must_use]
    pub fn missing(&self, now: Instant) -> Option<String> {
        if self.asked.is_none() {
            return Some("the API server was not asked for MetalLB's kinds yet".to_owned());
        }
        let is_awaited = |(kind, known): &(&Kind, &OfKind)| {
            !known.listed && (NEEDED.contains(kind) || now < known.since + PATIENCE)
        };
        let missing = self.kinds.iter().find(is_awaited);
        missing.map(|(kind, _)| format!("{kind} objects not listed yet"))
    }

    /// Whether the API server has the kinds that what is in force was made of, and when it was asked.
    #[must_use]
    pub fn presence(&self, with_layer2: bool) -> (Presence, Instant) {
        let of = |kind: Kind| {
            let known = self.kinds.get(&kind);
            known.map_or(Presence::Absent, |known| known.presence)
        };
        let pools = of(Kind::IpAddressPool);
        let presence = match with_layer2 {
            true => pools.max(of(Kind::L2Advertisement)),
            false => pools,
        };
        (presence, self.asked.unwrap_or(Instant::START))
    }

    /// How many `IPAddressPool`s there are, good or bad.
    #[must_use]
    pub fn pools(&self) -> usize {
        let pools = self.kinds.get(&Kind::IpAddressPool);
        pools.map_or(0, |known| known.objects.len())
    }

    /// All objects.
    pub fn views(&self) -> impl Iterator<Item = &ObjectView> {
        self.kinds.values().flat_map(|known| known.objects.values())
    }

    /// The object of that kind and name.
    #[must_use]
    pub fn view(&self, kind: Kind, name: &str) -> Option<&ObjectView> {
        self.kinds.get(&kind)?.objects.get(name)
    }
}

/// Whether nothing has changed that is read. A status is written again and again.
fn is_same(one: &ObjectView, other: &ObjectView) -> bool {
    let version = other.resource_version.clone();
    let one = ObjectView {
        resource_version: version,
        ..one.clone()
    };
    one == *other
}

#[cfg(test)]
mod tests;
