//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

/// Checks and explains FerroLB, the LoadBalancer for bare-metal Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "kubectl-ferrolb", bin_name = "kubectl ferrolb", version)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Validate(Validate),
    /// Print the version of this plugin.
    Version,
}

/// Check a configuration without a cluster.
///
/// Finds everything that is wrong at once, with the line and with what to write instead. Reads
/// ConfigMap manifests (all in the file, also in a list) or the bare configuration. Needs no
/// access to a cluster.
///
/// Exit status: 0 if all is valid, 1 if there are problems, 2 if the file cannot be read.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Validate {
    /// Manifest or bare configuration; `-` reads standard input.
    pub(crate) file: PathBuf,
    /// How to print the result.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Text,
    /// For programs: `valid`, and per configuration its pools or its problems.
    Json,
}

const EXAMPLES: &str = "\
Examples:
  # Before you apply it
  kubectl ferrolb validate metallb-config.yaml

  # What is in the cluster now
  kubectl get configmap -n metallb-system config -o yaml | kubectl ferrolb validate -

  # What a chart renders
  helm template ferrolb charts/ferrolb | kubectl ferrolb validate -

  # In a pipeline: the lines with problems
  kubectl ferrolb validate -o json config.yaml | jq '.configurations[].problems[].line'";
