//! What a cordon means for the addresses of the node.

use std::str::FromStr;

/// What `kubectl cordon` alone does. A node may stay cordoned for weeks, and goes on running its pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cordon {
    /// Other nodes come first: its addresses move at once.
    #[default]
    Move,
    /// Nothing. Addresses move when the pods that serve them end, when a taint says that the node goes, or
    /// when its speaker is told to stop: a drain, a shutdown, a deletion.
    Stay,
}

impl Cordon {
    /// As options say it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Move => "move",
            Self::Stay => "stay",
        }
    }
}

impl FromStr for Cordon {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Move, Self::Stay]
            .into_iter()
            .find(|one| one.as_str() == text)
            .ok_or_else(|| format!("{text:?} is neither move nor stay"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_is_read_as_it_is_written_and_no_other() {
        for cordon in [Cordon::Move, Cordon::Stay] {
            assert_eq!(cordon.as_str().parse(), Ok(cordon));
        }
        assert_eq!(Cordon::default(), Cordon::Move);
        for bad in ["", "Stay", "prefer", "ignore"] {
            assert!(bad.parse::<Cordon>().unwrap_err().contains("move nor stay"));
        }
    }
}
