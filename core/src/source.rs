//! Which of the two sources is in force, the `ConfigMap` or `MetalLB`'s objects: one at a time, never both.
//!
//! **What is in force stays in force until the other one holds every address that is in use. Where nothing is
//! in force yet, the objects go first.** In `auto`:
//!
//! | in force | what happens | then |
//! | --- | --- | --- |
//! | nothing | an `IPAddressPool` is there | the objects, unless a `FerroLB` that did not know them has given addresses that only the `ConfigMap` has |
//! | nothing | none is there | the `ConfigMap` |
//! | the `ConfigMap` | the objects come to hold and to announce all of its addresses that are in use | the objects |
//! | the `ConfigMap` | the objects do not yet | the `ConfigMap`; [`Verdict::missing`] says what they lack |
//! | the `ConfigMap` | it is deleted or emptied, and a pool can be used | the objects, at once |
//! | the objects | the `ConfigMap` is edited | the objects: it does not count |
//! | the objects | the last `IPAddressPool` goes | after 10 s no pools; what is held is kept |
//! | the objects | their kinds go, too, or are about to | what was in force stays, until objects hold all of its addresses that are in use |
//! | the objects, with no pool left | the `ConfigMap` is edited or made anew, and valid | the `ConfigMap` |
//!
//! So a `ConfigMap` that was forgotten years ago is never in force again by itself. An administrator who
//! chooses one source has it at once.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::Instant;
use crate::advertise::Advertised;
use crate::config::{Config, NotConfigured, Outcome};
use crate::view::ServiceView;

mod collect;

pub use collect::{Change, Collector, Due, Presence};

/// So long objects may be away for a moment, as when they are replaced. Whoever deletes the kinds themselves
/// deletes the objects first.
pub const POOLS_AWAY: Duration = Duration::from_secs(10);

/// Where a configuration comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// The text in the `ConfigMap`.
    ConfigMap,
    /// `MetalLB`'s objects.
    Objects,
}

impl Source {
    /// The word, as in the compiled object.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConfigMap => "configmap",
            Self::Objects => "objects",
        }
    }

    /// The source of that word.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        let all = [Self::ConfigMap, Self::Objects];
        all.into_iter().find(|source| source.as_str() == word)
    }
}

/// Which source an administrator chooses: `configSource`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Choice {
    /// As the table says.
    #[default]
    Auto,
    /// This one alone.
    Only(Source),
}

/// What has to be known after a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Memory {
    /// What is in force comes from there.
    pub source: Source,
    /// The state of the `ConfigMap` that does not count, since objects have been in force beside it: see
    /// [`text_id`].
    pub ignored: Option<String>,
    /// The objects that are in force are gone, with their kinds.
    pub orphaned: bool,
}

/// Which `ConfigMap`, in which state: another one counts as an act of somebody.
#[must_use]
pub fn text_id(uid: &str, data: Option<&BTreeMap<String, String>>) -> String {
    let mut digest = Sha256::new();
    for part in data
        .into_iter()
        .flatten()
        .flat_map(|(key, value)| [key, value])
    {
        digest.update(part.len().to_be_bytes());
        digest.update(part.as_bytes());
    }
    let mut id = uid.to_owned();
    id.push('/');
    for byte in digest.finalize().iter().take(16) {
        // Writing into a String cannot fail.
        let _ = write!(id, "{byte:02x}");
    }
    id
}

/// What a decision is made on.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// The `ConfigMap`, if there is one: its [`text_id`] and what it says.
    pub text: Option<(&'a str, &'a Outcome)>,
    /// How many `IPAddressPool`s there are, good or bad.
    pub pools: usize,
    /// What the objects come to.
    pub objects: &'a Config,
    /// Whether the API server has their kinds, and when it was asked last.
    pub presence: (Presence, Instant),
    /// What is in force.
    pub current: Option<&'a Config>,
    /// Addresses that are in use.
    pub held: &'a [Held<'a>],
}

/// A Service and an address that it has.
#[derive(Debug, Clone, Copy)]
pub struct Held<'a> {
    /// The address.
    pub address: IpAddr,
    /// Who has it.
    pub service: &'a ServiceView,
    /// Whether our controller gave it.
    pub ours: bool,
}

/// What comes of a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// What to put in force.
    pub put: Put,
    /// Addresses in use for which what is in force waits: no object holds and announces them.
    pub missing: Vec<IpAddr>,
    /// There is a `ConfigMap` that does not count.
    pub ignores_text: bool,
    /// The API server has to be asked for the kinds before more can be said.
    pub look: bool,
}

/// What to put in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// What the `ConfigMap` says, or that it says nothing.
    Text,
    /// What the objects come to.
    Objects,
    /// No pools: the last one was deleted.
    Nothing,
    /// What is in force stays.
    Same,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Sources {
    choice: Choice,
    in_force: Option<Source>,
    ignored: Option<String>,
    orphaned: bool,
    /// Since when there is no pool any more.
    pools_away: Option<Instant>,
    /// It is known by now, but for whether their kind is about to go, too.
    looks: bool,
}

impl Sources {
    /// Nothing is in force.
    #[must_use]
    pub const fn new(choice: Choice) -> Self {
        Self {
            choice,
            in_force: None,
            ignored: None,
            orphaned: false,
            pools_away: None,
            looks: false,
        }
    }

    /// This is what was in force, by this process or by another one.
    pub fn restore(&mut self, memory: Memory) {
        self.in_force = Some(memory.source);
        self.ignored = memory.ignored;
        self.orphaned = memory.orphaned;
        self.pools_away = None;
    }

    /// What has to be known after a restart; `None` as long as nothing is in force.
    #[must_use]
    pub fn memory(&self) -> Option<Memory> {
        let source = self.in_force?;
        Some(Memory {
            source,
            ignored: self.ignored.clone(),
            orphaned: self.orphaned,
        })
    }

    /// Where what is in force comes from.
    #[must_use]
    pub const fn in_force(&self) -> Option<Source> {
        self.in_force
    }

    /// When [`Self::judge`] comes to something else although nothing happens.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let since = self.pools_away.filter(|_| !self.looks)?;
        Some(since + POOLS_AWAY)
    }

    /// Decides which source is in force.
    pub fn judge(&mut self, seen: Seen<'_>, now: Instant) -> Verdict {
        let mut verdict = match self.choice {
            Choice::Only(Source::ConfigMap) => {
                self.turn_to(Source::ConfigMap);
                just(Put::Text)
            }
            Choice::Only(Source::Objects) => self.judge_objects_alone(seen, now),
            Choice::Auto => match self.in_force {
                None => self.judge_first(seen, now),
                Some(Source::ConfigMap) => self.judge_text(seen, now),
                Some(Source::Objects) => self.judge_objects(seen, now),
            },
        };
        let is_chosen = self.choice == Choice::Only(Source::Objects);
        let counts = !is_chosen && self.in_force != Some(Source::Objects);
        verdict.ignores_text = !counts && seen.text.is_some();
        self.looks = verdict.look;
        verdict
    }

    /// Nothing is in force yet.
    fn judge_first(&mut self, seen: Seen<'_>, now: Instant) -> Verdict {
        if seen.pools == 0 {
            if is_usable(seen.text) {
                self.turn_to(Source::ConfigMap);
            }
            return just(Put::Text);
        }
        // A FerroLB that knew the ConfigMap alone may have given addresses from it.
        let ours = seen.held.iter().filter(|held| held.ours);
        let missing = match seen.text {
            Some((_, Outcome::Valid(text) | Outcome::Partly(text, _))) => {
                missing(ours, text, seen.objects)
            }
            Some((_, Outcome::Refused(_))) => unannounced(ours, seen.objects),
            Some((_, Outcome::NotConfigured(_))) | None => Vec::new(),
        };
        if !missing.is_empty() {
            self.turn_to(Source::ConfigMap);
            return Verdict {
                missing,
                ..just(Put::Text)
            };
        }
        self.turn_to(Source::Objects);
        self.judge_objects(seen, now)
    }

    /// The `ConfigMap` is in force.
    fn judge_text(&mut self, seen: Seen<'_>, now: Instant) -> Verdict {
        if seen.pools == 0 {
            return just(Put::Text);
        }
        let can_be_used = !seen.objects.pools.is_empty();
        let is_gone = seen
            .text
            .is_none_or(|(_, said)| *said == Outcome::NotConfigured(NotConfigured::Empty));
        let missing = lacking(seen);
        if can_be_used && (is_gone || missing.is_empty()) {
            self.turn_to(Source::Objects);
            return self.judge_objects(seen, now);
        }
        Verdict {
            missing,
            ..just(Put::Text)
        }
    }

    /// The objects are in force.
    fn judge_objects(&mut self, seen: Seen<'_>, now: Instant) -> Verdict {
        if seen.pools == 0 {
            let text = seen.text.map(|(id, _)| id);
            if text != self.ignored.as_deref() && is_usable(seen.text) {
                self.turn_to(Source::ConfigMap);
                return just(Put::Text);
            }
        }
        self.judge_objects_alone(seen, now)
    }

    /// The same, whatever the `ConfigMap` says.
    fn judge_objects_alone(&mut self, seen: Seen<'_>, now: Instant) -> Verdict {
        let has_pools = seen.current.is_some_and(|config| !config.pools.is_empty());
        let is_first = self.in_force != Some(Source::Objects);
        if seen.pools > 0 && !is_first {
            self.ignored = seen.text.map(|(id, _)| id.to_owned());
        }
        if seen.presence.0 != Presence::Served {
            // What was there is gone, and nobody has said that its addresses should be.
            self.orphaned |= has_pools && !is_first;
            self.pools_away = None;
            return just(if has_pools { Put::Same } else { Put::Objects });
        }
        if seen.pools > 0 {
            self.pools_away = None;
            if self.orphaned || (is_first && has_pools) {
                let missing = match self.choice {
                    // Whoever chooses the objects has them.
                    Choice::Only(_) if seen.objects.pools.is_empty() => return just(Put::Same),
                    Choice::Only(_) => Vec::new(),
                    Choice::Auto => lacking(seen),
                };
                if !missing.is_empty() {
                    return Verdict {
                        missing,
                        ..just(Put::Same)
                    };
                }
            }
            self.turn_to(Source::Objects);
            self.ignored = seen.text.map(|(id, _)| id.to_owned());
            return just(Put::Objects);
        }
        if !has_pools {
            self.pools_away = None;
            return just(Put::Objects);
        }
        if self.orphaned || is_first {
            return just(Put::Same);
        }
        let since = *self.pools_away.get_or_insert(now);
        let due = since + POOLS_AWAY;
        if now < due {
            return just(Put::Same);
        }
        if seen.presence.1 < due {
            return Verdict {
                look: true,
                ..just(Put::Same)
            };
        }
        self.pools_away = None;
        just(Put::Nothing)
    }

    fn turn_to(&mut self, source: Source) {
        self.in_force = Some(source);
        self.orphaned = false;
        self.pools_away = None;
        if source == Source::ConfigMap {
            self.ignored = None;
        }
    }
}

const fn just(put: Put) -> Verdict {
    Verdict {
        put,
        missing: Vec::new(),
        ignores_text: false,
        look: false,
    }
}

fn is_usable(text: Option<(&str, &Outcome)>) -> bool {
    matches!(text, Some((_, Outcome::Valid(_) | Outcome::Partly(..))))
}

/// What the objects lack to replace what is in force.
fn lacking(seen: Seen<'_>) -> Vec<IpAddr> {
    match seen.current {
        Some(current) => missing(seen.held.iter(), current, seen.objects),
        // It is not known what was in force: whatever we gave has to be held, and announced somehow.
        None => unannounced(seen.held.iter().filter(|held| held.ours), seen.objects),
    }
}

/// The addresses that a configuration does not announce at all.
fn unannounced<'a>(held: impl Iterator<Item = &'a Held<'a>>, config: &Config) -> Vec<IpAddr> {
    distinct(held.filter(|held| service(held, config) < Service::Routed))
}

/// The addresses that one configuration holds or announces, and the other one does not.
fn missing<'a>(
    held: impl Iterator<Item = &'a Held<'a>>,
    here: &Config,
    there: &Config,
) -> Vec<IpAddr> {
    distinct(held.filter(|held| service(held, here) > service(held, there)))
}

fn distinct<'a>(held: impl Iterator<Item = &'a Held<'a>>) -> Vec<IpAddr> {
    let mut addresses: Vec<_> = held.map(|held| held.address).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

/// What a configuration does for an address of a Service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Service {
    /// It lies in no pool.
    None,
    /// It lies in one.
    Held,
    /// It is announced to routers alone.
    Routed,
    /// It is announced by ARP and neighbour discovery.
    Announced,
}

fn service(held: &Held<'_>, config: &Config) -> Service {
    use crate::Reason;
    let Some(_) = config.pool_of(held.address) else {
        return Service::None;
    };
    match Advertised::of(held.address, &[held.service], Some(config)).layer2_services() {
        Ok(_) => Service::Announced,
        Err(Reason::BgpNotAnnounced) => Service::Routed,
        Err(_) => Service::Held,
    }
}

#[cfg(test)]
mod tests;
