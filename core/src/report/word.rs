//! A Reason as reports have it: a newer daemon may say words that this program does not know.

use std::fmt;
use std::ops::Deref;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Reason;

/// The word of a [`Reason`], or one that this version does not know.
///
/// It reads as its word, and is written as such.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Word {
    /// One that this version knows.
    Known(Reason),
    /// A later version's.
    Other(String),
}

impl Word {
    /// The Reason, if this version knows it.
    #[must_use]
    pub const fn reason(&self) -> Option<Reason> {
        match self {
            Self::Known(reason) => Some(*reason),
            Self::Other(_) => None,
        }
    }

    /// The word.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Known(reason) => reason.as_str(),
            Self::Other(word) => word,
        }
    }
}

impl Deref for Word {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl PartialEq<&str> for Word {
    fn eq(&self, word: &&str) -> bool {
        self.as_str() == *word
    }
}

impl PartialEq<Reason> for Word {
    fn eq(&self, reason: &Reason) -> bool {
        self.reason() == Some(*reason)
    }
}

impl From<Reason> for Word {
    fn from(reason: Reason) -> Self {
        Self::Known(reason)
    }
}

impl From<&str> for Word {
    fn from(word: &str) -> Self {
        Reason::of(word).map_or_else(|| Self::Other(word.to_owned()), Self::Known)
    }
}

impl Serialize for Word {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        Ok(Self::from(&*word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_known_by_its_word_and_written_as_it() {
        for reason in Reason::ALL {
            let text = serde_json::to_string(&Word::from(*reason)).unwrap();
            assert_eq!(text, format!("{:?}", reason.as_str()));
            let word: Word = serde_json::from_str(&text).unwrap();
            assert_eq!(
                (word.reason(), &*word),
                (Some(*reason), reason.as_str()),
                "{text}"
            );
        }
    }

    #[test]
    fn a_word_of_a_later_version_is_no_error_and_stays_what_it_is() {
        let word: Word = serde_json::from_str("\"brand_new\"").unwrap();
        assert_eq!(
            (word.reason(), word.to_string()),
            (None, "brand_new".into())
        );
        assert_eq!(serde_json::to_string(&word).unwrap(), "\"brand_new\"");
        assert!(word == "brand_new" && word != Reason::NotOwner);
        assert!(Word::from("not_owner") == Reason::NotOwner);
        // Words are exact.
        assert_eq!(Word::from("Not_Owner").reason(), None);
    }
}
