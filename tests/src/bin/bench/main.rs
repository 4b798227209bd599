//! `bench`: how fast it is, measured in a lab beside a reference in the same run. Absolute times of
//! a shared machine wander; what counts are the ratios.

#![expect(clippy::print_stdout, reason = "the figures are what it is for")]

use anyhow::Result;
use clap::{Parser, Subcommand};

mod arp;
mod controller;
mod failover;
mod figures;
mod idle;
mod logs;
mod many;
mod objects;
mod peers;
mod plugin;
mod process;
mod scale;
mod stress;

/// Measures in a lab of its own. Needs root, release binaries (`make build`) and an idle machine.
#[derive(Parser)]
#[command(name = "bench", version)]
struct Args {
    #[command(subcommand)]
    area: Area,
}

#[derive(Subcommand)]
enum Area {
    /// Answers to ARP requests, beside the kernel's own
    Arp(arp::Args),
    /// How long an address does not answer when its node or speaker fails, and what breaks
    Failover(failover::Args),
    /// What speakers cost that have nothing to do
    Idle(idle::Args),
    /// What must not move anything, each fault for half an hour
    Stress(stress::Args),
    /// How soon Services get addresses, and what many of them cost
    Controller(controller::Args),
    /// How soon `kubectl ferrolb status` answers, in peace, in an outage, and in a large cluster
    Plugin(plugin::Args),
    /// What MetalLB's objects cost beside a ConfigMap, and how soon a changed one is in force
    Objects(objects::Args),
    /// FerroLB beside MetalLB, kube-vip and keepalived: faults, Services, costs
    Peers(peers::Args),
    /// What a speaker costs in a large cluster, and what a thousand of them cost its API server
    Scale(scale::Args),
}

fn main() -> Result<()> {
    match Args::parse().area {
        Area::Arp(args) => arp::run(&args),
        Area::Failover(args) => failover::run(&args),
        Area::Idle(args) => idle::run(&args),
        Area::Stress(args) => stress::run(&args),
        Area::Controller(args) => controller::run(&args),
        Area::Plugin(args) => plugin::run(&args),
        Area::Objects(args) => objects::run(&args),
        Area::Peers(args) => peers::run(&args),
        Area::Scale(args) => scale::run(&args),
    }
}
