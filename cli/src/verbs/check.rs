//! `kubectl ferrolb check`.

use std::io::Write;
use std::process::ExitCode;

use crate::answers::check::{self, CheckAnswer, Verdict};
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

impl Check {
    pub(crate) fn run(&self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let facts = self
            .installation
            .run(async |cluster| check::gather(cluster).await)?;
        let answer = CheckAnswer::of(&facts, self.pre);
        self.format.print(out, &answer, |out| text(out, &answer))?;
        Ok(if answer.has(Verdict::Problem) {
            ExitCode::from(IN_THE_WAY)
        } else if answer.has(Verdict::Unknown) {
            ExitCode::from(NOT_KNOWN)
        } else {
            ExitCode::SUCCESS
        })
    }
}

fn text(out: &mut impl Write, answer: &CheckAnswer) -> anyhow::Result<()> {
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
}
