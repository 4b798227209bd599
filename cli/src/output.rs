//! How answers are printed.

use std::io::Write;

use clap::ValueEnum;
use serde::Serialize;

use crate::terminal::one_line;

/// Where a page of the documentation is read: krew's users have no checkout.
macro_rules! page {
    ($name:literal) => {
        concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/docs/", $name)
    };
}
pub(crate) use page;

/// For verbs that tell something.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Format {
    /// How to print the answer
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = Output::Text)]
    pub(crate) output: Output,
}

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

/// For verbs that list something.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct WideFormat {
    /// How to print the answer
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = WideOutput::Text)]
    pub(crate) output: WideOutput,
}

/// `-o`, as kubectl's lists have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum WideOutput {
    /// For people.
    Text,
    /// For people, with more.
    Wide,
    /// For programs: keys are an interface, they stay.
    Json,
    /// The same as JSON, in YAML.
    Yaml,
}

impl WideFormat {
    /// Prints `answer` for programs, or has `text` print it for people; it is told whether widely.
    pub(crate) fn print<W: Write>(
        self,
        out: &mut W,
        answer: &impl Serialize,
        text: impl FnOnce(&mut W, bool) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let output = match self.output {
            WideOutput::Text | WideOutput::Wide => Output::Text,
            WideOutput::Json => Output::Json,
            WideOutput::Yaml => Output::Yaml,
        };
        let is_wide = self.output == WideOutput::Wide;
        Format { output }.print(out, answer, |out| text(out, is_wide))
    }
}

/// `1 pool`, `2 pools`
pub(crate) fn counted(count: usize, noun: &str) -> String {
    let end = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{end}")
}

/// `1 address`, `2 addresses`
pub(crate) fn counted_addresses(count: usize) -> String {
    match count {
        1 => "1 address".to_owned(),
        count => format!("{count} addresses"),
    }
}

/// What it means that a request gets no answer, and what is left then: the daemons go on without the API
/// server, and each tells its own host.
const UNREACHABLE: &str = "the API server does not answer (FerroLB goes on without it, and on each node \
                           curl -s http://localhost:7472/status shows what its speaker knows)";

/// An error with its causes in one line. Some errors of libraries name their cause already: once is enough.
pub(crate) fn causes(error: &anyhow::Error) -> String {
    let mut told = String::new();
    for cause in error.chain() {
        let cause = match cause.downcast_ref() {
            // The API server's own sentence; kube would add all fields of its answer.
            Some(kube::Error::Api(status)) if !status.message.is_empty() => status.message.clone(),
            // What it is stands in the cause below.
            Some(kube::Error::Service(_) | kube::Error::HyperError(_)) => UNREACHABLE.to_owned(),
            _ => cause.to_string(),
        };
        if told.is_empty() {
            told = cause;
        } else if !told.contains(&cause) {
            told = format!("{told}: {cause}");
        }
    }
    one_line(&told)
}

impl Format {
    /// Prints `answer` for programs, or has `text` print it for people.
    pub(crate) fn print<W: Write>(
        self,
        out: &mut W,
        answer: &impl Serialize,
        text: impl FnOnce(&mut W) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        match self.output {
            Output::Text => text(out)?,
            Output::Json => {
                serde_json::to_writer_pretty(&mut *out, answer)?;
                writeln!(out)?;
            }
            Output::Yaml => serde_yaml::to_writer(out, answer)?,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn a_cause_that_is_named_already_is_not_named_again() {
        let error = anyhow!("no such file").context("cannot read a: no such file");
        assert_eq!(
            causes(&error.context("no cluster")),
            "no cluster: cannot read a: no such file"
        );
    }
}
