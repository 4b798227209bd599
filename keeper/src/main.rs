//! `keeper`: see the library.

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use ferrolb_keeper::serve::serve;
use ferrolb_keeper::table::Choice;
use tracing::level_filters::LevelFilter;

/// Passes packets of connections whose address moved on to the node that has them, as the speaker of
/// this pod asks.
#[derive(Debug, Parser)]
#[command(name = "keeper", version)]
struct Args {
    /// Unix socket to listen on for the speaker
    #[arg(long, default_value = "/run/ferrolb/keeper.sock")]
    socket: PathBuf,

    /// How packets are passed on: by nft dup, by the TEE target, or by whichever the kernel has
    #[arg(long, value_enum, default_value_t = By::Auto)]
    by: By,

    /// error, warn, info, debug, trace or off
    #[arg(long, default_value = "info")]
    log_level: LevelFilter,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum By {
    Auto,
    Dup,
    Tee,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let log = tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_max_level(args.log_level);
    if io::stderr().is_terminal() {
        log.with_target(false).init();
    } else {
        log.json()
            .flatten_event(true)
            .with_current_span(false)
            .init();
    }
    let choice = match args.by {
        By::Auto => Choice::Any,
        By::Dup => Choice::Dup,
        By::Tee => Choice::Tee,
    };
    match serve(&args.socket, choice) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
