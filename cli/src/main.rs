//! `kubectl ferrolb`: checks configurations before a cluster sees them, and explains what FerroLB
//! does in one.

mod adopt;
mod ago;
mod answers;
mod args;
mod cleanup;
mod cluster;
mod completion;
mod configured;
mod controller;
mod crds;
mod daemons;
mod dashboard;
mod drain_wait;
mod dump;
mod election;
#[cfg(test)]
mod fixtures;
mod migrate;
mod move_to;
mod objects;
mod output;
mod picture;
mod plan;
mod rebalance;
mod service;
mod speaker;
mod table;
mod terminal;
mod validate;
mod verbs;
mod version;
mod watch;
mod who;
mod width;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use self::args::{Args, Command};
use self::output::causes;
use self::terminal::{BAD, Terminal};

/// Wrong usage, or something that could not be read or written.
const FAILURE: u8 = 2;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Help and version are answers, and clap prints them where answers go.
            let printed = error.print();
            let code = u8::try_from(error.exit_code()).unwrap_or(FAILURE);
            return if printed.is_ok() {
                ExitCode::from(code)
            } else {
                ExitCode::from(FAILURE)
            };
        }
    };
    // Without colours where there is no terminal, or NO_COLOR is set, or TERM=dumb (docs/plugin.md).
    let mut out = Terminal::new(anstream::stdout().lock());
    match run(&args, &mut out).and_then(|code| out.flush().map(|()| code).map_err(Into::into)) {
        Ok(code) => code,
        // Whoever read our answer has read enough, `head` for example.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing can be done if standard error is closed, too.
            let _ = writeln!(terminal::stderr(), "{BAD}error:{BAD:#} {}", causes(&error));
            ExitCode::from(FAILURE)
        }
    }
}

fn run(args: &Args, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    match &args.command {
        Command::Status(status) => status.run(out),
        Command::Top(top) => top.run(out),
        Command::Dashboard(dashboard) => dashboard.run(out),
        Command::Pools(pools) => pools.run(out),
        Command::Services(services) => services.run(out),
        Command::Explain(explain) => explain.run(out),
        Command::Init(init) => init.run(out),
        Command::Validate(validate) => validate.run(out),
        Command::Check(check) => check.run(out),
        Command::Plan(plan) => plan.run(out),
        Command::DrainWait(wait) => wait.run(out),
        Command::Move(order) => order.run(out),
        Command::Adopt(adopt) => adopt.run(out),
        Command::Rebalance(rebalance) => rebalance.run(out),
        Command::Cleanup(cleanup) => cleanup.run(out),
        Command::Dump(dump) => dump.run(out),
        Command::Migrate(migrate) => migrate.run(out),
        Command::Crds(crds) => crds.run(out),
        Command::Who(who) => who.run(out),
        Command::Completion(completion) => completion.run(out),
        Command::Version(version) => version.run(out),
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
