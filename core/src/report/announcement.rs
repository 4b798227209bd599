//! Who announces an address, and by which protocol.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A node that announces an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Announcement {
    /// By which protocol.
    pub by: By,
    /// Its name.
    pub node: String,
    /// Its links that it does so on, at layer 2; empty if that is another node than the one that tells.
    #[serde(default)]
    pub links: Vec<String>,
}

/// A protocol that makes others send an address's packets to a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum By {
    /// ARP and neighbour discovery.
    Layer2,
    /// Routes.
    Bgp,
    /// One that a later version has.
    Other(String),
}

impl By {
    /// The word.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Layer2 => "layer2",
            Self::Bgp => "bgp",
            Self::Other(word) => word,
        }
    }
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for By {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for By {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        let known = [Self::Layer2, Self::Bgp].into_iter();
        let mut known = known.filter(|by| by.as_str() == word);
        Ok(known.next().unwrap_or(Self::Other(word)))
    }
}
