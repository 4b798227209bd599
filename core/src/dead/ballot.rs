//! A speaker's side: what it has to say about dead nodes, and when.

use std::collections::BTreeMap;
use std::time::Duration;

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
    after: Duration,
    deaths: BTreeMap<String, Death>,
    /// What stands in the `ConfigMap`, as far as this process knows.
    told: Entry,
}

#[derive(Debug)]
struct Death {
    vote: Vote,
    /// Until then it is a suspicion.
    due: Instant,
    /// Then it is forgotten.
    until: Instant,
}

impl Ballot {
    /// Empty. What is found waits for `after` before it is told.
    #[must_use]
    pub const fn new(after: Duration) -> Self {
        Self {
            after,
            deaths: BTreeMap::new(),
            told: Entry(None),
        }
    }

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
            due: now + self.after,
            until: now + LIFETIME,
            vote: Vote {
                node: node.clone(),
                process,
                since,
                with,
                opinion: Opinion::Suspect,
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
            // It was not dead. What was never told need not be taken back.
            Some(process) if process.boot == of.boot && death.vote.opinion != Opinion::Suspect => {
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
        for death in self.deaths.values_mut() {
            if death.vote.opinion == Opinion::Suspect && death.due <= now {
                death.vote.opinion = Opinion::Dead;
            }
        }
        let votes = || self.deaths.values().map(|death| &death.vote);
        let speaks = votes().any(|vote| vote.opinion != Opinion::Suspect);
        // Suspicions alone are told to nobody: most are over before their time.
        let entry = Entry(speaks.then(|| encode(votes()).ok()).flatten());
        (entry != self.told).then_some(entry)
    }

    /// It was written.
    pub fn handle_written(&mut self, entry: Entry) {
        self.told = entry;
    }

    /// When to poll again.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let deaths = self.deaths.values();
        deaths
            .map(|death| match death.vote.opinion {
                Opinion::Suspect => death.due,
                Opinion::Dead | Opinion::Heard => death.until,
            })
            .min()
    }
}
