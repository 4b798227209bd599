//! `kubectl ferrolb version`.

use std::io::Write;
use std::process::ExitCode;

use serde::Serialize;

use crate::output::Format;

/// Print the version of this plugin.
///
/// `kubectl ferrolb status` shows the versions of the daemons. Exit status: 0.
#[derive(Debug, clap::Args)]
pub(crate) struct Version {
    #[command(flatten)]
    format: Format,
}

#[derive(Serialize)]
struct Answer {
    version: &'static str,
}

impl Version {
    pub(crate) fn run(&self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let version = env!("CARGO_PKG_VERSION");
        self.format.print(out, &Answer { version }, |out| {
            Ok(writeln!(out, "kubectl-ferrolb {version}")?)
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
