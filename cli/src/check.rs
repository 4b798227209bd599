//! `kubectl ferrolb check`.

mod facts;
mod leftovers;
mod rules;

use std::io::Write;
use std::process::ExitCode;

use serde::Serialize;

use crate::cluster::Installation;
use crate::output::Format;
use crate::terminal::{BAD, GOOD, WARNING};

/// Look for problems with FerroLB in this cluster.
///
/// It looks for other programs that serve the same Services, kube-proxy without strictARP, Pod Security, what a
/// MetalLB left behind (webhooks, definitions, pools that nobody reads), and mistakes in the configuration. Unless --pre is given, it also asks the controllers and speakers, and finds nodes
/// without a working speaker and addresses that nobody announces. It changes nothing.
///
/// Exit status: 0 if there is no problem, 1 if there is one, 2 if the cluster or a part of it cannot be read, so
/// that it is unknown.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Check {
    #[command(flatten)]
    installation: Installation,
    /// Before you install: do not expect FerroLB to run yet.
    #[arg(long)]
    pre: bool,
    #[command(flatten)]
    format: Format,
}

const EXAMPLES: &str = "\
Examples:
  # Before helm install
  kubectl ferrolb check --pre

  # When an address does not answer
  kubectl ferrolb check";

/// Something is in the way.
const IN_THE_WAY: u8 = 1;
/// Nothing is known to be, and not all could be read.
const NOT_KNOWN: u8 = 2;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    /// Worth knowing; FerroLB works.
    Warning,
    /// It could not be read, so nobody can tell.
    Unknown,
    /// FerroLB does not work, or not for all.
    Problem,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Finding {
    verdict: Verdict,
    /// What is so.
    found: String,
    /// What to do.
    remedy: Option<String>,
}

impl Finding {
    fn ok(found: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Ok,
            found: found.into(),
            remedy: None,
        }
    }

    fn bad(verdict: Verdict, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            verdict,
            found: found.into(),
            remedy: Some(remedy.into()),
        }
    }
}

#[derive(Serialize)]
struct Answer {
    findings: Vec<Finding>,
}

impl Check {
    pub(crate) fn run(&self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let facts = self
            .installation
            .run(async |cluster| facts::gather(cluster).await)?;
        let mut findings = rules::of_the_cluster(&facts);
        if !self.pre {
            findings.extend(rules::of_the_daemons(&facts));
        }
        let answer = Answer { findings };
        self.format.print(out, &answer, |out| {
            for finding in &answer.findings {
                let (word, style) = match finding.verdict {
                    Verdict::Ok => ("ok", GOOD),
                    Verdict::Warning => ("warning", WARNING),
                    Verdict::Unknown => ("unknown", WARNING),
                    Verdict::Problem => ("PROBLEM", BAD),
                };
                writeln!(out, "{style}{word:<8}{style:#} {}", finding.found)?;
                if let Some(remedy) = &finding.remedy {
                    writeln!(out, "{:<8} {remedy}", "")?;
                }
            }
            Ok(())
        })?;
        let any = |verdict| {
            let mut findings = answer.findings.iter();
            findings.any(|finding| finding.verdict == verdict)
        };
        Ok(if any(Verdict::Problem) {
            ExitCode::from(IN_THE_WAY)
        } else if any(Verdict::Unknown) {
            ExitCode::from(NOT_KNOWN)
        } else {
            ExitCode::SUCCESS
        })
    }
}
