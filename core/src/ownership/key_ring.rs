//! Which keys are in force while they are being changed: the files of a mounted Secret reach the
//! nodes minutes apart, and in between every speaker must still understand every other.

use std::collections::BTreeMap;
use std::time::Duration;

use super::wire::{Key, KeyTooShort, Keys};
use crate::Instant;

/// A changed Secret has reached every node by then: kubelets look once a minute, and keep what
/// they saw for as long again.
const SETTLED: Duration = Duration::from_secs(300);

/// The keys that are there, and those that were there a short while ago.
#[derive(Debug, Clone, Default)]
pub struct KeyRing {
    keys: Vec<Known>,
    /// When the first key was there: until all others have it too, some sign nothing.
    first_at: Option<Instant>,
}

#[derive(Debug, Clone)]
struct Known {
    name: String,
    bytes: Vec<u8>,
    key: Key,
    since: Instant,
    gone_at: Option<Instant>,
}

impl KeyRing {
    /// All keys by the names of their files. Without any, the last ones stay: a Secret that was
    /// deleted by mistake must not silence the speakers. `Err` names the files that are too short;
    /// the others are taken.
    pub fn set(
        &mut self,
        files: BTreeMap<String, Vec<u8>>,
        now: Instant,
    ) -> Result<(), Vec<(String, KeyTooShort)>> {
        let mut refused = Vec::new();
        let mut present = Vec::new();
        for (name, bytes) in files {
            match Key::new(&bytes) {
                Ok(key) => present.push((name, bytes, key)),
                Err(error) => refused.push((name, error)),
            }
        }
        if !present.is_empty() {
            self.replace(present, now);
        }
        if refused.is_empty() {
            Ok(())
        } else {
            Err(refused)
        }
    }

    fn replace(&mut self, present: Vec<(String, Vec<u8>, Key)>, now: Instant) {
        self.first_at.get_or_insert(now);
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
            unsigned: self.first_at.is_none_or(|at| now < at + SETTLED),
        }
    }
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
        ring.set(files(&["key-9"]), start).unwrap();
        assert_eq!(state(&ring, &names, start), (Some("key-9".into()), 1));
        let added = start + MINUTE * 60;
        ring.set(files(&names), added).unwrap();
        assert_eq!(
            state(&ring, &names, added + MINUTE * 4),
            (Some("key-9".into()), 2)
        );
        assert_eq!(
            state(&ring, &names, added + MINUTE * 5),
            (Some("key-10".into()), 2)
        );
        let removed = added + MINUTE * 30;
        ring.set(files(&["key-10"]), removed).unwrap();
        assert_eq!(state(&ring, &names, removed), (Some("key-10".into()), 2));
        assert_eq!(
            state(&ring, &names, removed + MINUTE * 5),
            (Some("key-10".into()), 1)
        );
    }

    #[test]
    fn a_key_that_is_replaced_under_its_name_signs_until_everybody_has_the_new_one() {
        let mut ring = KeyRing::default();
        ring.set(files(&["key-1"]), Instant::START).unwrap();
        let before = ring
            .keys(Instant::START)
            .sign([10, 0, 0, 1].into(), b"text");
        let replaced = Instant::START + MINUTE * 60;
        ring.set([("key-1".into(), vec![7; 32])].into(), replaced)
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
        let refused = ring.set(two, Instant::START).unwrap_err();
        assert_eq!(refused[0].0, "key-2");
        assert!(
            refused[0].1.to_string().contains("5 bytes"),
            "{}",
            refused[0].1
        );
        ring.set(BTreeMap::new(), Instant::START).unwrap();
        assert_eq!(ring.keys(Instant::START).accepted.len(), 1);
    }
}
