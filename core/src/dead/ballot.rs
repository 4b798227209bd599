//! A speaker's side: what it has to say about dead nodes, and when.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::vote::{Opinion, Process, Vote, encode};
use super::{HEARD_FOR, LIFETIME};
use crate::Instant;

/// This speaker found out for itself that a node is dead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The node.
    pub node: String,
    /// The process that fell silent.
    pub process: Process,
    /// The other speaker that found the same.
    pub with: String,
    /// The time by the clock on the wall.
    pub since: Timestamp,
}

/// What the speaker's entry should be: its value, or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry(pub Option<String>);

/// What one speaker has to say.
#[derive(Debug)]
pub struct Ballot {
    deaths: BTreeMap<String, Death>,
    /// What stands in the `ConfigMap`, as far as this process knows.
    told: Entry,
}

#[derive(Debug)]
struct Death {
    vote: Vote,
    /// Then it is forgotten.
    until: Instant,
}

impl Default for Ballot {
    fn default() -> Self {
        Self {
            deaths: BTreeMap::new(),
            told: Entry(None),
        }
    }
}

impl Ballot {
    /// A node is dead.
    pub fn handle_found(&mut self, found: Found, now: Instant) {
        let known = self.deaths.get(&found.node);
        // The watcher's verdict may come back to it as another watcher's.
        if known.is_some_and(|known| found.process <= known.vote.process) {
            return;
        }
        let Found {
            node,
            process,
            with,
            since,
        } = found;
        let death = Death {
            until: now + LIFETIME,
            vote: Vote {
                node: node.clone(),
                process,
                since,
                with,
                opinion: Opinion::Dead,
            },
        };
        self.deaths.insert(node, death);
    }

    /// The nodes that it has something to say of.
    pub fn nodes(&self) -> impl Iterator<Item = &str> {
        self.deaths.keys().map(String::as_str)
    }

    /// The speaker of a node lives, as this process; `None` if there is no such node any more.
    pub fn handle_alive(&mut self, node: &str, process: Option<Process>, now: Instant) {
        let Some(death) = self.deaths.get_mut(node) else {
            return;
        };
        let of = death.vote.process;
        match process {
            Some(process) if process <= of => {}
            // It was not dead.
            Some(process) if process.boot == of.boot => {
                if death.vote.opinion != Opinion::Heard {
                    death.vote.opinion = Opinion::Heard;
                    death.until = now + HEARD_FOR;
                }
            }
            // It started anew: its kubelet says which pods are ready.
            Some(_) | None => drop(self.deaths.remove(node)),
        }
    }

    /// The entry, if it should be another one than it is. [`Self::handle_written`] follows.
    pub fn poll_entry(&mut self, now: Instant) -> Option<Entry> {
        self.deaths.retain(|_, death| now < death.until);
        let votes = self.deaths.values().map(|death| &death.vote);
        let speaks = !self.deaths.is_empty();
        let entry = Entry(speaks.then(|| encode(votes).ok()).flatten());
        (entry != self.told).then_some(entry)
    }

    /// It was written.
    pub fn handle_written(&mut self, entry: Entry) {
        self.told = entry;
    }

    /// When to poll again.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deaths.values().map(|death| death.until).min()
    }
}
