//! `speaker`: see the library.

use std::process::ExitCode;

use clap::Parser as _;
use ferrolb_kube::log;
use ferrolb_speaker::args::{Args, Verb};
use ferrolb_speaker::ask::ask;
use ferrolb_speaker::run::run;

fn main() -> ExitCode {
    let args = Args::parse();
    log::start(args.shared.log_level.clone(), args.shared.log_format);
    let ended = match args.verb {
        Some(Verb::Ask) => ask(args),
        None => run(args),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
