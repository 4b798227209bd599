//! The command line. Each verb has a file of its own, with its options and what it does.

use clap::{Parser, Subcommand};

use crate::adopt::Adopt;
use crate::cleanup::Cleanup;
use crate::completion::Completion;
use crate::crds::Crds;
use crate::drain_wait::DrainWait;
use crate::dump::Dump;
use crate::migrate::Migrate;
use crate::move_to::Move;
use crate::plan::Plan;
use crate::rebalance::Rebalance;
use crate::validate::Validate;
use crate::verbs::check::Check;
use crate::verbs::dashboard::Dashboard;
use crate::verbs::explain::Explain;
use crate::verbs::init::Init;
use crate::verbs::pools::Pools;
use crate::verbs::services::Services;
use crate::verbs::status::Status;
use crate::verbs::top::Top;
use crate::version::Version;
use crate::who::Who;

/// Check and explain FerroLB, the LoadBalancer for bare-metal Kubernetes.
///
/// Exit status: 0 if all is well, 1 if there is a problem, 2 if there is no answer (wrong usage, a file or a
/// cluster that cannot be read). --help of each command has the details.
#[derive(Debug, Parser)]
#[command(name = "kubectl-ferrolb", bin_name = "kubectl ferrolb", version)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Status(Status),
    Top(Top),
    Dashboard(Dashboard),
    Pools(Pools),
    Services(Services),
    Explain(Explain),
    Init(Init),
    Validate(Validate),
    Check(Check),
    Migrate(Migrate),
    Crds(Crds),
    Plan(Plan),
    DrainWait(DrainWait),
    Move(Move),
    Adopt(Adopt),
    Rebalance(Rebalance),
    Cleanup(Cleanup),
    Dump(Dump),
    Who(Who),
    Completion(Completion),
    Version(Version),
}
