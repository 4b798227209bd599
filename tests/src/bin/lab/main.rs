//! `lab`: a Kubernetes cluster on this machine, by hand.

use std::process::ExitCode;

use clap::Parser;
use ferrolb_tests::progress::Progress;

mod args;
mod run;

fn main() -> ExitCode {
    match run::run(args::Args::parse()) {
        Ok(code) => code,
        Err(error) => {
            Progress::Shown.say(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
