//! A speaker's word about nodes that it found dead, and its form in the `ConfigMap`.
//!
//! ```text
//! data:
//!   n1: '{"votes":[{"node":"n2","boot":1764460800000000,"incarnation":0,"verdict":"node",
//!                   "since":"2026-11-30T01:20:00Z","with":"n3","opinion":"dead"}]}'
//! ```
//!
//! Whoever may write the `ConfigMap` may write anything: what is read is bounded, and believed only as
//! far as [`judge`](super::judge()) says.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Votes of one speaker. Of more nodes than that none is marked: see [`judge`](super::judge()).
pub(super) const MOST_VOTES: usize = 16;
/// Bytes of one speaker's entry: [`MOST_VOTES`] with the longest names.
pub(super) const LONGEST_ENTRY: usize = 12 * 1_024;
/// Speakers that are heard. A `ConfigMap` has 1 MiB, and a quorum is two.
pub(super) const MOST_VOTERS: usize = 1_000;
/// The longest name of a Node.
const LONGEST_NAME: usize = 253;
/// The only verdict that is voted on: neither process nor kernel answered two speakers.
const VERDICT: &str = "node";

/// Which process of a speaker, and which of its lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    /// Another one with each start of the speaker.
    pub boot: u64,
    /// Raised by the speaker itself, to refute its death.
    pub incarnation: u32,
}

/// What a speaker says of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Opinion {
    /// It is dead.
    Dead,
    /// The same process was heard again: the node was not dead.
    Heard,
}

/// A speaker's word about one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vote {
    /// The node.
    pub node: String,
    /// The process that fell silent.
    pub process: Process,
    /// When that was found out, by the voter's clock.
    pub since: Timestamp,
    /// The other speaker that found the same: the witness of whoever watched, or the other way round.
    pub with: String,
    /// What is said of it now.
    pub opinion: Opinion,
}

/// The `ConfigMap` of votes, as far as it can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VotesView {
    /// `metadata.resourceVersion`
    pub resource_version: String,
    /// Entries by voter; `None` for one that is too long to be read.
    pub entries: BTreeMap<String, Option<String>>,
}

/// Why an entry is not a speaker's.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// Not the fields of votes.
    #[error("not the JSON of votes: {0}")]
    Json(#[from] serde_json::Error),
    /// Longer than any entry can be.
    #[error("longer than {LONGEST_ENTRY} bytes")]
    Length,
    /// More than anybody may have.
    #[error("{0} votes, of which one speaker has at most {MOST_VOTES}")]
    Many(usize),
    /// A name that no Node has.
    #[error("{0:?} is not the name of a node")]
    Name(String),
    /// A verdict that takes nobody's pods out of rotation.
    #[error("verdict {0:?}, which is not voted on")]
    Verdict(String),
    /// Nobody can say that of itself.
    #[error("a vote on the voter itself")]
    Itself,
    /// Two votes of one voter on one node.
    #[error("two votes on node {0}")]
    Twice(String),
    /// `since`
    #[error("since {text:?}: {error}")]
    Time {
        /// What stands there.
        text: String,
        /// What is wrong with it.
        error: jiff::Error,
    },
}

#[derive(Serialize, Deserialize)]
struct Fields {
    votes: Vec<VoteFields>,
}

#[derive(Serialize, Deserialize)]
struct VoteFields {
    node: String,
    boot: u64,
    incarnation: u32,
    verdict: String,
    since: String,
    with: String,
    opinion: Opinion,
}

/// The value of a speaker's entry. Of more than it may have the first ones.
///
/// # Errors
/// Text always has a JSON form: none in practice.
pub fn encode<'a>(votes: impl Iterator<Item = &'a Vote>) -> serde_json::Result<String> {
    let votes = votes.take(MOST_VOTES).map(|vote| VoteFields {
        node: vote.node.clone(),
        boot: vote.process.boot,
        incarnation: vote.process.incarnation,
        verdict: VERDICT.to_owned(),
        since: vote.since.to_string(),
        with: vote.with.clone(),
        opinion: vote.opinion,
    });
    serde_json::to_string(&Fields {
        votes: votes.collect(),
    })
}

/// The votes in the entry of `voter`. Fields that are not known are passed over.
///
/// # Errors
/// It is not what a speaker writes: none of it counts.
pub fn decode(voter: &str, value: &str) -> Result<Vec<Vote>, Unreadable> {
    if value.len() > LONGEST_ENTRY {
        return Err(Unreadable::Length);
    }
    let fields: Fields = serde_json::from_str(value)?;
    if fields.votes.len() > MOST_VOTES {
        return Err(Unreadable::Many(fields.votes.len()));
    }
    let mut nodes = BTreeSet::new();
    let mut votes = Vec::with_capacity(fields.votes.len());
    for vote in fields.votes {
        for name in [&vote.node, &vote.with] {
            if !is_name(name) {
                return Err(Unreadable::Name(name.chars().take(LONGEST_NAME).collect()));
            }
        }
        if vote.verdict != VERDICT {
            return Err(Unreadable::Verdict(vote.verdict));
        }
        if vote.node == voter {
            return Err(Unreadable::Itself);
        }
        if !nodes.insert(vote.node.clone()) {
            return Err(Unreadable::Twice(vote.node));
        }
        let text = vote.since;
        let since = text.parse();
        let since = since.map_err(|error| Unreadable::Time { text, error })?;
        votes.push(Vote {
            node: vote.node,
            process: Process {
                boot: vote.boot,
                incarnation: vote.incarnation,
            },
            since,
            with: vote.with,
            opinion: vote.opinion,
        });
    }
    Ok(votes)
}

/// It goes into Events: what no Node can be called is not passed on.
fn is_name(name: &str) -> bool {
    let plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
    (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(plain)
}
