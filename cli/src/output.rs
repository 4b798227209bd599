//! How answers are printed.

use std::io::Write;

use clap::ValueEnum;
pub(crate) use ferrolb_core::text::counted;
use http::Uri;
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

/// `1 address`, `2 addresses`
pub(crate) fn counted_addresses(count: usize) -> String {
    match count {
        1 => "1 address".to_owned(),
        count => format!("{count} addresses"),
    }
}

const NO_ANSWER: &str = "does not answer";
/// What is left without the API server: each daemon tells its own host.
const WITHOUT_IT: &str = "(FerroLB goes on without it, and on each node curl -s http://localhost:7472/status \
                          shows what its speaker knows)";
/// The outermost of hyper's errors: why stands below.
const ONLY_THAT_IT_FAILED: &str = "client error (Connect)";

/// The same error, with the server's address if it gave no answer.
pub(crate) fn of_server(error: anyhow::Error, server: &Uri) -> anyhow::Error {
    let is_cause = |cause: &(dyn std::error::Error + 'static)| {
        let error = cause.downcast_ref();
        matches!(
            error,
            Some(kube::Error::Service(_) | kube::Error::HyperError(_))
        )
    };
    if error.chain().any(is_cause) {
        let server = server.to_string();
        let server = server.trim_end_matches('/');
        error.context(format!(
            "the API server at {server} {NO_ANSWER} {WITHOUT_IT}"
        ))
    } else {
        error
    }
}

/// An error with its causes in one line. Some errors of libraries name their cause already: once is enough.
pub(crate) fn causes(error: &anyhow::Error) -> String {
    let mut told = String::new();
    for cause in error.chain() {
        let cause = match cause.downcast_ref() {
            // The API server's own sentence; kube would add all fields of its answer.
            Some(kube::Error::Api(status)) if !status.message.is_empty() => status.message.clone(),
            // What it is stands in the cause below.
            Some(kube::Error::Service(_) | kube::Error::HyperError(_)) => {
                if told.contains(NO_ANSWER) {
                    continue;
                }
                format!("the API server {NO_ANSWER} {WITHOUT_IT}")
            }
            _ => cause.to_string(),
        };
        if cause == ONLY_THAT_IT_FAILED {
            continue;
        }
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

    #[test]
    fn of_a_server_that_gives_no_answer_it_is_said_which_and_why() {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let error = anyhow::Error::from(kube::Error::Service(refused.into()));
        let error = error.context("cannot list pods");
        assert!(causes(&error).starts_with("cannot list pods: the API server does not answer ("));
        let server = Uri::from_static("https://10.0.0.1:6443/");
        let said = causes(&of_server(error, &server));
        assert_eq!(
            said.replace(WITHOUT_IT, "(…)"),
            "the API server at https://10.0.0.1:6443 does not answer (…): cannot list pods: \
             connection refused"
        );
        let other = anyhow!("no such Service");
        assert_eq!(causes(&of_server(other, &server)), "no such Service");
    }
}
