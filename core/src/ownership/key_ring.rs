//! Which keys are in force while they are being changed: the files of a mounted Secret reach the
//! nodes minutes apart, and in between every speaker must still understand every other.
//!
//! - K1 The first key: some speakers have it and some do not, so datagrams without a signature are
//!   taken as well, until five minutes after it was **made**. The Secret says when that was
//!   ([`PEERS_KEY_CREATED`]). A process that starts later takes none from the beginning.
//! - K2 No clock opens that door for long: five minutes after a process first saw a key it takes none
//!   either, whatever its clock says. And it never opens again, whatever becomes of the Secret.
//! - K3 Where the Secret does not say when it was made, only a process that has itself been without a
//!   key takes them, for as long: it has seen that the key is new.
//! - K4 A key that is added is accepted at once, and signs after five minutes. One that is taken away is
//!   accepted for as long.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;

use super::settings::SETTLED;
use super::wire::{Key, KeyTooShort, Keys};
use crate::Instant;
use crate::names::PEERS_KEY_CREATED;

/// The keys that are there, and those that were there a short while ago.
#[derive(Debug, Clone, Default)]
pub struct KeyRing {
    keys: Vec<Known>,
    /// It was looked for a key, and there was none.
    was_without: bool,
    /// Until when some may sign nothing; set once, when the first key is there.
    unsigned_until: Option<Instant>,
}

#[derive(Debug, Clone)]
struct Known {
    name: String,
    bytes: Vec<u8>,
    key: Key,
    since: Instant,
    gone_at: Option<Instant>,
}

/// What is wrong with one file of the Secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyProblem {
    /// It is no key.
    TooShort {
        /// The file.
        file: String,
        /// What it has.
        error: KeyTooShort,
    },
    /// It should tell when the first key was made, and does not.
    NoTime,
}

impl fmt::Display for KeyProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort { file, error } => write!(f, "{file} is not taken: {error}"),
            Self::NoTime => write!(
                f,
                "{PEERS_KEY_CREATED} is not a time such as 2026-11-29T17:47:18Z: datagrams without a \
                 signature are taken only by speakers that ran before there was a key"
            ),
        }
    }
}

impl KeyRing {
    /// All files of the Secret by their names, and the time of day. Without any key the last ones
    /// stay: a Secret that was deleted by mistake must not silence the speakers. `Err` says what is
    /// wrong; all else is taken.
    pub fn set(
        &mut self,
        mut files: BTreeMap<String, Vec<u8>>,
        today: Timestamp,
        now: Instant,
    ) -> Result<(), Vec<KeyProblem>> {
        let mut problems = Vec::new();
        let created = files.remove(PEERS_KEY_CREATED);
        let created = created.map(|text| created_at(&text).ok_or(KeyProblem::NoTime));
        let created = created.transpose().unwrap_or_else(|problem| {
            problems.push(problem);
            None
        });
        let mut present = Vec::new();
        for (file, bytes) in files {
            match Key::new(&bytes) {
                Ok(key) => present.push((file, bytes, key)),
                Err(error) => problems.push(KeyProblem::TooShort { file, error }),
            }
        }
        if present.is_empty() {
            self.was_without |= self.keys.is_empty();
        } else {
            let window = self.window(created, today);
            self.unsigned_until.get_or_insert(now + window);
            self.replace(present, now);
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(problems)
        }
    }

    /// K1 to K3: for how long some may have no key yet.
    fn window(&self, created: Option<Timestamp>, today: Timestamp) -> Duration {
        match created {
            // One that lies ahead comes from another clock.
            Some(created) => match Duration::try_from(today.duration_since(created)) {
                Ok(age) => SETTLED.saturating_sub(age),
                Err(_) => SETTLED,
            },
            None if self.was_without => SETTLED,
            None => Duration::ZERO,
        }
    }

    fn replace(&mut self, present: Vec<(String, Vec<u8>, Key)>, now: Instant) {
        for known in &mut self.keys {
            let stays = present
                .iter()
                .any(|(name, bytes, _)| (name, bytes) == (&known.name, &known.bytes));
            known.gone_at = if stays {
                None
            } else {
                known.gone_at.or(Some(now))
            };
        }
        for (name, bytes, key) in present {
            let is_known = |known: &Known| (&known.name, &known.bytes) == (&name, &bytes);
            if !self.keys.iter().any(is_known) {
                self.keys.push(Known {
                    name,
                    bytes,
                    key,
                    since: now,
                    gone_at: None,
                });
            }
        }
        self.keys
            .sort_by(|a, b| (a.name.len(), &a.name).cmp(&(b.name.len(), &b.name)));
    }

    /// The keys in force now. The name that comes last signs (`key-10` comes after `key-9`), once
    /// everybody must have it; a key that is gone is accepted for as long.
    #[must_use]
    pub fn keys(&self, now: Instant) -> Keys {
        let in_force = |known: &&Known| known.gone_at.is_none_or(|at| now < at + SETTLED);
        let known: Vec<&Known> = self.keys.iter().filter(in_force).collect();
        let is_settled = |known: &&&Known| now >= known.since + SETTLED;
        let is_present = |known: &&&Known| known.gone_at.is_none();
        let present = || known.iter().filter(is_present);
        let signs = present()
            .rfind(is_settled)
            .or_else(|| known.iter().rfind(is_settled))
            .or_else(|| present().next());
        Keys {
            signs: signs.map(|known| known.key.clone()),
            accepted: known.iter().map(|known| known.key.clone()).collect(),
            unsigned: self.unsigned_until.is_none_or(|until| now < until),
        }
    }
}

/// RFC 3339.
fn created_at(text: &[u8]) -> Option<Timestamp> {
    std::str::from_utf8(text).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    fn files(names: &[&str]) -> BTreeMap<String, Vec<u8>> {
        let file = |name: &&str| {
            (
                (*name).to_owned(),
                format!("sixteen bytes of {name}").into(),
            )
        };
        names.iter().map(file).collect()
    }

    /// One letter for each key: which signs, then which are accepted, by what each one signs.
    fn state(ring: &KeyRing, names: &[&str], now: Instant) -> (Option<String>, usize) {
        let keys = ring.keys(now);
        let tag = |key: &Key| {
            let alone = Keys {
                signs: Some(key.clone()),
                ..Keys::default()
            };
            alone.sign([10, 0, 0, 1].into(), b"text")
        };
        let signs = keys.signs.as_ref().map(tag);
        let name = names.iter().find(|name| {
            let bytes = &files(&[name])[**name];
            signs == Some(tag(&Key::new(bytes).unwrap()))
        });
        (name.map(|name| (*name).to_owned()), keys.accepted.len())
    }

    #[test]
    fn a_new_key_is_accepted_at_once_and_signs_when_everybody_has_it() {
        let names = ["key-9", "key-10"];
        let mut ring = KeyRing::default();
        let start = Instant::START;
        assert_eq!(state(&ring, &names, start), (None, 0));
        ring.set(files(&["key-9"]), today(0), start).unwrap();
        assert_eq!(state(&ring, &names, start), (Some("key-9".into()), 1));
        let added = start + MINUTE * 60;
        ring.set(files(&names), today(60), added).unwrap();
        assert_eq!(
            state(&ring, &names, added + MINUTE * 4),
            (Some("key-9".into()), 2)
        );
        assert_eq!(
            state(&ring, &names, added + MINUTE * 5),
            (Some("key-10".into()), 2)
        );
        let removed = added + MINUTE * 30;
        ring.set(files(&["key-10"]), today(90), removed).unwrap();
        assert_eq!(state(&ring, &names, removed), (Some("key-10".into()), 2));
        assert_eq!(
            state(&ring, &names, removed + MINUTE * 5),
            (Some("key-10".into()), 1)
        );
    }

    #[test]
    fn a_key_that_is_replaced_under_its_name_signs_until_everybody_has_the_new_one() {
        let mut ring = KeyRing::default();
        ring.set(files(&["key-1"]), today(0), Instant::START)
            .unwrap();
        let before = ring
            .keys(Instant::START)
            .sign([10, 0, 0, 1].into(), b"text");
        let replaced = Instant::START + MINUTE * 60;
        ring.set([("key-1".into(), vec![7; 32])].into(), today(60), replaced)
            .unwrap();
        let sign = |at| ring.keys(at).sign([10, 0, 0, 1].into(), b"text");
        assert_eq!(sign(replaced + MINUTE), before);
        assert_ne!(sign(replaced + MINUTE * 5), before);
    }

    #[test]
    fn a_short_key_is_named_and_an_empty_secret_changes_nothing() {
        let mut ring = KeyRing::default();
        let mut two = files(&["key-1"]);
        two.insert("key-2".into(), b"short".to_vec());
        let problems = ring.set(two, today(0), Instant::START).unwrap_err();
        assert_eq!(
            problems[0].to_string(),
            "key-2 is not taken: the speakers' key has 5 bytes: give it at least 16"
        );
        ring.set(BTreeMap::new(), today(1), Instant::START).unwrap();
        assert_eq!(ring.keys(Instant::START).accepted.len(), 1);
    }

    /// So many minutes after the key was made, which `with` says.
    fn today(minute: i64) -> Timestamp {
        Timestamp::from_second(1_795_970_838 + 60 * minute).unwrap()
    }

    fn with(created: &str) -> BTreeMap<String, Vec<u8>> {
        let mut files = files(&["key-1"]);
        files.insert(PEERS_KEY_CREATED.into(), created.into());
        files
    }

    /// For how many minutes a process takes datagrams without a signature that sees these files as
    /// the first ones `minute` minutes after the key was made.
    fn open_minutes(mut ring: KeyRing, files: BTreeMap<String, Vec<u8>>, minute: i64) -> u64 {
        let start = Instant::START + MINUTE;
        let _told = ring.set(files, today(minute), start);
        let is_open = |minutes| ring.keys(start + MINUTE * minutes).unsigned;
        let open = (0..100).take_while(|&minutes| is_open(minutes)).count();
        assert!((open as u32..100).all(|minutes| !is_open(minutes)));
        open as u64
    }

    #[test]
    fn the_changeover_ends_five_minutes_after_the_key_was_made_whenever_the_process_started() {
        let created = today(0).to_string();
        let without = || {
            let mut ring = KeyRing::default();
            ring.set(BTreeMap::new(), today(-1), Instant::START)
                .unwrap();
            ring
        };
        let rows = [
            // A fresh install, and a speaker that starts at some time within it and after it.
            (created.as_str(), 0, 5, 5),
            (&created, 2, 3, 3),
            (&created, 4, 1, 1),
            (&created, 5, 0, 0),
            (&created, 60 * 24 * 365, 0, 0),
            // A clock that is behind: its process looks five minutes and no longer.
            (&created, -90, 5, 5),
            // Another way to write the time.
            ("2026-11-29T18:47:18+02:00", 2, 3, 3),
            // No time.
            ("", 2, 0, 5),
            ("yesterday", 0, 0, 5),
            ("1795970838", 0, 0, 5),
            ("\u{fffd}", 0, 0, 5),
        ];
        for (created, minute, fresh, was_without) in rows {
            let open = open_minutes(KeyRing::default(), with(created), minute);
            assert_eq!(open, fresh, "{created:?} at {minute}");
            let open = open_minutes(without(), with(created), minute);
            assert_eq!(open, was_without, "{created:?} at {minute}, without before");
        }
        // A Secret of somebody who gave none.
        assert_eq!(open_minutes(KeyRing::default(), files(&["key-1"]), 0), 0);
        assert_eq!(open_minutes(without(), files(&["key-1"]), 0), 5);
    }

    #[test]
    fn a_changeover_that_is_over_never_comes_again() {
        let mut ring = KeyRing::default();
        ring.set(with(&today(0).to_string()), today(60), Instant::START)
            .unwrap();
        let later = Instant::START + MINUTE;
        assert!(!ring.keys(later).unsigned);
        // Deleted, made anew, with another key, by somebody with another clock.
        ring.set(BTreeMap::new(), today(61), later).unwrap();
        let mut again = with(&today(62).to_string());
        again.insert("key-1".into(), vec![7; 32]);
        ring.set(again, today(0), later + MINUTE).unwrap();
        assert!(!ring.keys(later + MINUTE).unsigned);
        assert_eq!(ring.keys(later + MINUTE).accepted.len(), 2);
    }

    #[test]
    fn a_time_that_is_none_is_said_and_is_no_key() {
        let mut ring = KeyRing::default();
        let problems = ring.set(with("yesterday, at noon"), today(0), Instant::START);
        let problems = problems.unwrap_err();
        assert_eq!(problems, [KeyProblem::NoTime]);
        assert!(
            problems[0]
                .to_string()
                .starts_with(".created is not a time such as")
        );
        assert_eq!(ring.keys(Instant::START).accepted.len(), 1);
    }
}
