//! What changed hands while somebody looked, and before that, as far as Events tell.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use ferrolb_core::names::event::NODE_ASSIGNED;
use jiff::Timestamp;

use crate::picture::Picture;

/// As many as are kept.
const KEPT: usize = 100;

/// An address that changed hands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Move {
    pub(super) time: Timestamp,
    /// The address; of those that Events tell of, the Service.
    pub(super) what: String,
    /// Empty: nobody.
    pub(super) from: Vec<String>,
    pub(super) to: Vec<String>,
    /// Whether who had it before is known: Events do not tell.
    pub(super) is_seen: bool,
}

#[derive(Debug, Default)]
pub(super) struct Moves {
    before: Option<BTreeMap<IpAddr, Vec<String>>>,
    /// Newest first.
    all: VecDeque<Move>,
}

impl Moves {
    /// Compares the picture with the one before.
    pub(super) fn note(&mut self, picture: &Picture) {
        let addresses = picture.addresses.iter();
        let now: BTreeMap<_, _> = addresses
            .map(|one| (one.address, one.nodes.clone()))
            .collect();
        match self.before.take() {
            None => self.take_events(picture),
            Some(before) => {
                for (address, nodes) in &now {
                    let from = before.get(address).cloned().unwrap_or_default();
                    if from != *nodes {
                        self.all.push_front(Move {
                            time: picture.now,
                            what: address.to_string(),
                            from,
                            to: nodes.clone(),
                            is_seen: true,
                        });
                    }
                }
            }
        }
        self.all.truncate(KEPT);
        self.before = Some(now);
    }

    fn take_events(&mut self, picture: &Picture) {
        let events = picture.events.iter();
        for event in events.filter(|event| event.reason == NODE_ASSIGNED) {
            let Some((time, node)) = event.time.zip(event.node.clone()) else {
                continue;
            };
            self.all.push_front(Move {
                time,
                what: format!("{}/{}", event.namespace, event.name),
                from: Vec::new(),
                to: vec![node],
                is_seen: false,
            });
        }
    }

    /// Newest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Move> {
        self.all.iter()
    }

    /// The last one that `node` gained or lost: `+192.168.64.240 14:39:25`.
    pub(super) fn last_of(&self, node: &str) -> Option<String> {
        let is_in = |nodes: &[String]| nodes.iter().any(|one| one == node);
        let last = self.iter().find(|one| is_in(&one.to) != is_in(&one.from))?;
        let sign = if is_in(&last.to) { '+' } else { '-' };
        Some(format!("{sign}{} {}", last.what, clock(last.time)))
    }
}

impl Move {
    /// `14:39:42  192.168.64.240  n3 → n2`
    pub(super) fn line(&self) -> String {
        let named = |nodes: &[String]| match nodes {
            [] => "nobody".to_owned(),
            some => some.join(","),
        };
        let to = named(&self.to);
        let how = if self.is_seen {
            format!("{} → {to}", named(&self.from))
        } else {
            format!("→ {to}")
        };
        format!("{}  {}  {how}", clock(self.time), self.what)
    }
}

/// `14:39:42`, UTC as everywhere.
pub(super) fn clock(time: Timestamp) -> String {
    time.strftime("%H:%M:%S").to_string()
}
