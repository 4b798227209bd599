//! How answers are printed.

use std::io::Write;

use clap::ValueEnum;
use serde::Serialize;

/// `-o`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Text,
    /// For programs: keys are an interface, they stay.
    Json,
    /// The same as JSON, in YAML.
    Yaml,
}

impl Output {
    /// Prints `answer` for programs, or has `text` print it for people.
    pub(crate) fn print<W: Write>(
        self,
        out: &mut W,
        answer: &impl Serialize,
        text: impl FnOnce(&mut W) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        match self {
            Self::Text => text(out)?,
            Self::Json => {
                serde_json::to_writer_pretty(&mut *out, answer)?;
                writeln!(out)?;
            }
            Self::Yaml => serde_yaml::to_writer(out, answer)?,
        }
        Ok(())
    }
}
