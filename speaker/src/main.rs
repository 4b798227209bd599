//! `speaker`: see the library.

use std::process::ExitCode;

use clap::Parser as _;
use ferrolb_speaker::args::Args;
use ferrolb_speaker::run::run;

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
