//! `kubectl ferrolb rebalance`.

mod spread;

use std::collections::BTreeSet;
use std::io::Write;
use std::net::IpAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use ferrolb_core::report::SpeakerStatus;
use ferrolb_core::view::ServiceKey;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use self::spread::{Plan, Step, plan};
use crate::cluster::{Cluster, Installation};
use crate::daemons::{Component, Daemon};
use crate::election::Election;
use crate::output::{Format, Output};
use crate::plan::Asked;
use crate::table;

/// Not everything that was to move has moved.
const NOT_ALL: u8 = 1;
/// How long a handover is waited for: it takes milliseconds once the speakers see the annotation.
const HANDOVER: Duration = Duration::from_secs(15);
/// Between two looks at the speaker that is to announce.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Spread the addresses evenly over the nodes, one after another.
///
/// A node that comes back takes nothing by itself, because each move resets the connections in use through the
/// node that an address leaves. This command moves as few addresses as possible, with a pause after each, and
/// lists them first. It sets the annotation ferrolb.io/move-to on the Services of an address, waits until the
/// node announces it, and removes the annotation, so that nothing stays bound to a node. Services that already
/// ask for a node are not moved.
///
/// Exit status: 0 if everything moved as planned, 1 if something did not, 2 if the cluster does not answer.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Rebalance {
    /// Only show what would move.
    #[arg(long)]
    dry_run: bool,
    /// Seconds to wait between two moves.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pause: u64,
    #[command(flatten)]
    installation: Installation,
    #[command(flatten)]
    format: Format,
}

const EXAMPLES: &str = "\
Examples:
  # Show what would move
  kubectl ferrolb rebalance --dry-run

  # After a node came back, with a minute between moves so that clients can reconnect
  kubectl ferrolb rebalance --pause 60";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    nodes: Vec<Load>,
    moves: Vec<Moved>,
    /// What else is worth knowing.
    notes: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Load {
    node: String,
    /// How many it announces.
    addresses: usize,
    /// How many if everything moves that is to.
    afterwards: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Moved {
    addresses: BTreeSet<IpAddr>,
    services: Vec<String>,
    from: BTreeSet<String>,
    to: String,
    /// Whether `to` announces them; null if it was not tried.
    moved: Option<bool>,
}

impl Rebalance {
    pub(crate) fn run(&self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        self.installation.run(async |cluster| {
            let daemons = cluster.daemons().await?;
            let election = cluster.election(&daemons).await?;
            let plan = look(cluster, &daemons, &election).await?;
            let mut answer = Answer::of(&plan, election.note);
            // People read along; programs get one answer at the end.
            let is_told = self.format.output == Output::Text;
            if is_told {
                text(out, &answer, self.pause)?;
            }
            let steps = if self.dry_run {
                &[]
            } else {
                plan.steps.as_slice()
            };
            let mut outcome = Ok(());
            for (number, step) in steps.iter().enumerate() {
                if number > 0 {
                    sleep(Duration::from_secs(self.pause)).await;
                }
                match take(cluster, &daemons, step).await {
                    Ok(has_moved) => {
                        answer.moves[number].moved = Some(has_moved);
                        if is_told {
                            tell_moved(out, step, has_moved)?;
                        }
                    }
                    Err(error) => {
                        outcome = Err(error);
                        break;
                    }
                }
            }
            // Also of what has moved before something failed.
            self.format.print(out, &answer, |_| Ok(()))?;
            outcome?;
            Ok(if answer.moves.iter().any(|one| one.moved == Some(false)) {
                ExitCode::from(NOT_ALL)
            } else {
                ExitCode::SUCCESS
            })
        })
    }
}

async fn look(cluster: &Cluster, daemons: &[Daemon], election: &Election) -> anyhow::Result<Plan> {
    let observer = observer(cluster, daemons).await?;
    let mut asked = Asked::new();
    loop {
        let plan = plan(election, &observer, &asked);
        // A node's links are known to itself alone, so whoever would take one is asked.
        let mut targets = plan.steps.iter().map(|step| &step.to);
        let Some(next) = targets.find(|target| !asked.contains_key(*target)) else {
            return Ok(plan);
        };
        let said = cluster.speaker_on(next, daemons).await.ok().flatten();
        asked.insert(next.clone(), said);
    }
}

/// Any speaker that has joined the others knows who announces what.
async fn observer(cluster: &Cluster, daemons: &[Daemon]) -> anyhow::Result<SpeakerStatus> {
    let mut outcome = None;
    let speakers = daemons
        .iter()
        .filter(|daemon| daemon.component == Component::Speaker && daemon.ready);
    for speaker in speakers {
        let Some(node) = &speaker.node else { continue };
        match cluster.speaker_on(node, daemons).await {
            Ok(Some(said)) if said.waiting_for.is_none() && !said.isolated => return Ok(said),
            Ok(_) => {}
            Err(error) => outcome = Some(error),
        }
    }
    match outcome {
        Some(error) => Err(error),
        None => Err(anyhow::anyhow!(
            "no speaker is ready: kubectl ferrolb status shows why"
        )),
    }
}

impl Answer {
    /// Before anything is tried.
    fn of(plan: &Plan, note: Option<&str>) -> Self {
        let nodes = plan.after.iter().map(|(node, &afterwards)| Load {
            node: node.clone(),
            addresses: plan.before.get(node).copied().unwrap_or(0),
            afterwards,
        });
        let moves = plan.steps.iter().map(|step| Moved {
            addresses: step.group.addresses.clone(),
            services: step
                .group
                .services
                .iter()
                .map(ToString::to_string)
                .collect(),
            from: step.from.clone(),
            to: step.to.clone(),
            moved: None,
        });
        Self {
            nodes: nodes.collect(),
            moves: moves.collect(),
            notes: note.map(str::to_owned).into_iter().collect(),
        }
    }
}

fn text(out: &mut impl Write, answer: &Answer, pause: u64) -> anyhow::Result<()> {
    let head = ["NODE", "ADDRESSES", "AFTERWARDS"].map(str::to_owned);
    let rows = answer.nodes.iter().map(|load| {
        let counts = [load.addresses, load.afterwards].map(|count| count.to_string());
        let [before, after] = counts;
        [load.node.clone(), before, after]
    });
    table::print(out, &std::iter::once(head).chain(rows).collect::<Vec<_>>())?;
    writeln!(out)?;
    if answer.moves.is_empty() {
        writeln!(
            out,
            "nothing moves: the addresses are spread as evenly as the Services allow"
        )?;
    } else {
        let head = ["ADDRESS", "SERVICES", "FROM", "TO"].map(str::to_owned);
        let rows = answer.moves.iter().map(|step| {
            let (addresses, services) = (joined(&step.addresses), joined(&step.services));
            [addresses, services, joined(&step.from), step.to.clone()]
        });
        table::print(out, &std::iter::once(head).chain(rows).collect::<Vec<_>>())?;
        let count: usize = answer.moves.iter().map(|step| step.addresses.len()).sum();
        let all: usize = answer.nodes.iter().map(|load| load.addresses).sum();
        writeln!(
            out,
            "\n{count} of {all} addresses move, one Service after another with {pause} s between \
             them; \
             connections in use through the node that an address leaves are reset"
        )?;
    }
    for note in &answer.notes {
        writeln!(out, "{note}")?;
    }
    Ok(())
}

fn joined<'a, T: ToString + 'a>(all: impl IntoIterator<Item = &'a T>) -> String {
    let all = all.into_iter().map(ToString::to_string);
    all.collect::<Vec<_>>().join(",")
}

/// What has come of a move.
fn tell_moved(out: &mut impl Write, step: &Step, has_moved: bool) -> anyhow::Result<()> {
    let (addresses, to) = (joined(&step.group.addresses), &step.to);
    if has_moved {
        writeln!(out, "{addresses} is announced by {to}")?;
    } else {
        let ServiceKey { namespace, name } = &step.group.services[0];
        writeln!(
            out,
            "{addresses} did not move to {to} within {} s: kubectl ferrolb explain -n {namespace} \
             svc/{name}",
            HANDOVER.as_secs()
        )?;
    }
    out.flush()?;
    Ok(())
}

/// Moves one group; whether its node announces it now. The Services ask for no node afterwards,
/// whatever came of it.
async fn take(cluster: &Cluster, daemons: &[Daemon], step: &Step) -> anyhow::Result<bool> {
    let mut has_moved = Ok(false);
    let mut annotated = Vec::new();
    for service in &step.group.services {
        annotated.push(service);
        has_moved = cluster
            .ask_for(service, Some(&step.to))
            .await
            .map(|()| true);
        if has_moved.is_err() {
            break;
        }
    }
    if has_moved.is_ok() {
        has_moved = wait(cluster, daemons, step).await;
    }
    for service in annotated {
        let cleared = cluster.ask_for(service, None).await;
        cleared.with_context(|| {
            format!(
                "Service {service} still asks for node {}: kubectl ferrolb move -n {} svc/{} \
                 --clear",
                step.to, service.namespace, service.name
            )
        })?;
    }
    has_moved
}

async fn wait(cluster: &Cluster, daemons: &[Daemon], step: &Step) -> anyhow::Result<bool> {
    let give_up = Instant::now() + HANDOVER;
    loop {
        let said = cluster.speaker_on(&step.to, daemons).await?;
        let announces = |address: &IpAddr| {
            let vip = said.as_ref().and_then(|said| said.vip(*address));
            vip.is_some_and(|vip| vip.announced_here)
        };
        if step.group.addresses.iter().all(announces) {
            return Ok(true);
        }
        if Instant::now() >= give_up {
            return Ok(false);
        }
        sleep(LOOK_AGAIN).await;
    }
}

#[cfg(test)]
mod tests;
