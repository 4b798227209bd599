//! `controller`: see the library.

use std::process::ExitCode;

use clap::Parser;
use ferrolb_controller::args::Args;
use ferrolb_controller::run;
use ferrolb_kube::log;

// One thread: everything waits for the network, and one thread is the smallest process.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    log::start(args.shared.log_level.clone(), args.shared.log_format);
    match run::run(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
