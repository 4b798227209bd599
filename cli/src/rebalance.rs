//! `kubectl ferrolb rebalance`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::IpAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use ferrolb_core::report::SpeakerStatus;
use ferrolb_core::view::ServiceKey;
use tokio::time::{Instant, sleep};

use crate::cluster::{Access, Cluster};
use crate::daemons::{Component, Daemon};
use crate::election::Election;
use crate::move_to::obstacle;
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
/// A node that comes back takes nothing by itself: each move resets the connections that are
/// established through the node that an address leaves. This moves as few as make it even, with a
/// pause after each, and says first which. It writes the annotation ferrolb.io/move-to on the Services
/// of an address, waits until the node announces it, and takes the annotation away: nothing is bound to
/// its node afterwards. Services that ask for a node already stay where they are.
///
/// Exit status: 0 if all that was to move has moved, 1 if something has not, 2 if the cluster does not
/// answer.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Rebalance {
    /// Only say what would move.
    #[arg(long)]
    dry_run: bool,
    /// Wait so many seconds between two moves.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pause: u64,
    #[command(flatten)]
    access: Access,
}

const EXAMPLES: &str = "\
Examples:
  # What would move, and what that costs
  kubectl ferrolb rebalance --dry-run

  # After a node came back; a minute for clients to connect again before the next ones have to
  kubectl ferrolb rebalance --pause 60";

/// Services that share addresses, and all their addresses: they move together.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Group {
    services: Vec<ServiceKey>,
    addresses: BTreeSet<IpAddr>,
    /// One of them asks for a node.
    is_bound: bool,
}

/// A group's way to another node.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Step {
    group: Group,
    from: BTreeSet<String>,
    to: String,
}

/// What moves, and how many addresses each node announces before and afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Plan {
    steps: Vec<Step>,
    before: BTreeMap<String, usize>,
    after: BTreeMap<String, usize>,
}

impl Rebalance {
    pub(crate) fn run(&self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        self.access.run(async |cluster| {
            let daemons = cluster.daemons().await?;
            let election = cluster.election(&daemons).await?;
            let plan = look(cluster, &daemons, &election).await?;
            tell(out, &plan, self.pause)?;
            if let Some(note) = election.note {
                writeln!(out, "{note}")?;
            }
            if self.dry_run {
                return Ok(ExitCode::SUCCESS);
            }
            let mut has_failed = false;
            for (number, step) in plan.steps.iter().enumerate() {
                if number > 0 {
                    sleep(Duration::from_secs(self.pause)).await;
                }
                out.flush()?;
                has_failed |= !take(cluster, &daemons, step, out).await?;
            }
            Ok(if has_failed {
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
            "no speaker is ready: kubectl ferrolb status tells why"
        )),
    }
}

/// The fewest moves that make it even: each time the one that evens out the most, until none does.
fn plan(election: &Election, observer: &SpeakerStatus, asked: &Asked) -> Plan {
    let owner = |address: IpAddr| observer.vip(address)?.owner.clone();
    let mut owners: BTreeMap<IpAddr, String> = observer
        .vips
        .iter()
        .filter_map(|vip| Some((vip.address, owner(vip.address)?)))
        .collect();
    let nodes = observer
        .live()
        .filter(|node| election.nodes.contains_key(*node));
    let mut load: BTreeMap<String, usize> = nodes.map(|node| (node.to_owned(), 0)).collect();
    for owner in owners.values() {
        *load.entry(owner.clone()).or_default() += 1;
    }
    let before = load.clone();
    let groups: Vec<Group> = groups(election)
        .into_iter()
        .filter(|group| {
            !group.is_bound && group.addresses.iter().all(|one| owners.contains_key(one))
        })
        .collect();
    let mut may = BTreeMap::new();
    let mut may_take = |group: &Group, to: &str| {
        group.addresses.iter().all(|&address| {
            *may.entry((address, to.to_owned()))
                .or_insert_with(|| may_announce(election, address, to, asked))
        })
    };
    let mut steps = Vec::new();
    loop {
        let mut gains: Vec<(usize, usize, &String)> = Vec::new();
        for (number, group) in groups.iter().enumerate() {
            for to in load.keys() {
                let gain = gain(&load, &owners, group, to);
                gains.extend((gain > 0).then_some((gain, number, to)));
            }
        }
        gains.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| (a.1, a.2).cmp(&(b.1, b.2))));
        let best = gains
            .into_iter()
            .find(|(_, number, to)| may_take(&groups[*number], to));
        let Some((_, number, to)) = best else { break };
        let (group, to) = (groups[number].clone(), to.clone());
        let mut from = BTreeSet::new();
        for address in &group.addresses {
            if let Some(owner) = owners.insert(*address, to.clone())
                && owner != to
            {
                *load.entry(owner.clone()).or_default() -= 1;
                *load.entry(to.clone()).or_default() += 1;
                from.insert(owner);
            }
        }
        steps.push(Step { group, from, to });
    }
    Plan {
        steps,
        before,
        after: load,
    }
}

/// By how much the sum of the squares of all loads shrinks if the group goes there; 0 if it does not.
fn gain(
    load: &BTreeMap<String, usize>,
    owners: &BTreeMap<IpAddr, String>,
    group: &Group,
    to: &str,
) -> usize {
    let mut leaving: BTreeMap<&str, usize> = BTreeMap::new();
    for owner in group.addresses.iter().filter_map(|one| owners.get(one)) {
        if owner != to {
            *leaving.entry(owner).or_default() += 1;
        }
    }
    let square = |number: usize| number * number;
    let of = |node: &str| load.get(node).copied().unwrap_or(0);
    let coming: usize = leaving.values().sum();
    let less = leaving
        .iter()
        .map(|(node, count)| square(of(node)) - square(of(node) - count));
    let more = square(of(to) + coming) - square(of(to));
    less.sum::<usize>().saturating_sub(more)
}

/// Whether it would be the first to announce the address, once its Services ask for it.
fn may_announce(election: &Election, address: IpAddr, node: &str, asked: &Asked) -> bool {
    let is_willing = match asked.get(node) {
        None => true,
        Some(None) => false,
        Some(Some(said)) => said.may_announce(address, None),
    };
    is_willing && obstacle(election, address, node).is_none()
}

/// An address moves for all Services that have it, a Service with all its addresses.
fn groups(election: &Election) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for service in &election.services {
        if !service.load_balancer || service.assigned.is_empty() {
            continue;
        }
        let mut merged = Group {
            services: vec![service.key.clone()],
            addresses: service.assigned.iter().copied().collect(),
            is_bound: service.move_to.is_some(),
        };
        let (joined, apart) = groups
            .into_iter()
            .partition::<Vec<_>, _>(|group| !group.addresses.is_disjoint(&merged.addresses));
        for group in joined {
            merged.services.extend(group.services);
            merged.addresses.extend(group.addresses);
            merged.is_bound |= group.is_bound;
        }
        groups = apart;
        groups.push(merged);
    }
    groups.sort_by(|a, b| a.addresses.cmp(&b.addresses));
    groups
}

fn tell(out: &mut impl Write, plan: &Plan, pause: u64) -> anyhow::Result<()> {
    let head = ["NODE", "ADDRESSES", "AFTERWARDS"].map(str::to_owned);
    let rows = plan.after.iter().map(|(node, after)| {
        let before = plan.before.get(node).copied().unwrap_or(0);
        [node.clone(), before.to_string(), after.to_string()]
    });
    table::print(out, &std::iter::once(head).chain(rows).collect::<Vec<_>>())?;
    writeln!(out)?;
    if plan.steps.is_empty() {
        writeln!(out, "nothing moves: it is as even as the Services allow")?;
        return Ok(());
    }
    let head = ["ADDRESS", "SERVICES", "FROM", "TO"].map(str::to_owned);
    let rows = plan.steps.iter().map(|step| {
        let from = step.from.iter().cloned().collect::<Vec<_>>().join(",");
        [addresses(step), services(step), from, step.to.clone()]
    });
    table::print(out, &std::iter::once(head).chain(rows).collect::<Vec<_>>())?;
    let count: usize = plan
        .steps
        .iter()
        .map(|step| step.group.addresses.len())
        .sum();
    writeln!(
        out,
        "\n{count} of {} addresses move, one Service after another with {pause} s between them; \
         connections that are established through the node that an address leaves are reset",
        plan.before.values().sum::<usize>()
    )?;
    Ok(())
}

fn addresses(step: &Step) -> String {
    let addresses = step.group.addresses.iter().map(IpAddr::to_string);
    addresses.collect::<Vec<_>>().join(",")
}

fn services(step: &Step) -> String {
    let services = step.group.services.iter().map(ServiceKey::to_string);
    services.collect::<Vec<_>>().join(",")
}

/// Moves one group; whether its node announces it now. The Services ask for no node afterwards,
/// whatever came of it.
async fn take(
    cluster: &Cluster,
    daemons: &[Daemon],
    step: &Step,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
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
                "Service {service} still asks for node {}: kubectl ferrolb move -n {} svc/{} --clear",
                step.to, service.namespace, service.name
            )
        })?;
    }
    let (addresses, to) = (addresses(step), &step.to);
    let has_moved = has_moved?;
    if has_moved {
        writeln!(out, "{addresses} is announced by {to}")?;
    } else {
        writeln!(
            out,
            "{addresses} has not come to {to} within {} s: kubectl ferrolb explain -n {} svc/{}",
            HANDOVER.as_secs(),
            step.group.services[0].namespace,
            step.group.services[0].name
        )?;
    }
    Ok(has_moved)
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
