//! `controller`: see the library.

use std::process::ExitCode;

use clap::Parser;
use ferrolb_controller::args::Args;
use ferrolb_controller::{logs, run};

// One thread: everything waits for the network, and one thread is the smallest process.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    logs::start(args.log_level, args.log_format);
    match run::run(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
