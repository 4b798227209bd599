//! `kubectl ferrolb plan`.

mod edit;
mod keeping;
mod node_down;
mod told;

use std::collections::BTreeMap;
use std::io::Write;
use std::net::IpAddr;
use std::process::ExitCode;

use anyhow::Context;
use clap::Subcommand;
use ferrolb_core::Reason;
use ferrolb_core::cordon::Cordon;
use ferrolb_core::elect::agreed;
use ferrolb_core::names::ANNOTATION_MOVE_TO;
use ferrolb_core::report::SpeakerStatus;
use ferrolb_core::view::TrafficPolicy;
use serde::Serialize;

use crate::cluster::{Cluster, Installation};
use crate::daemons::Daemon;
use crate::election::{Election, returns_of_its_own_accord};
use crate::output::Format;
use crate::table;

pub(crate) use self::told::{Told, config, drain, node_down};

/// Show what would happen to addresses; nothing is changed.
#[derive(Debug, clap::Args)]
pub(crate) struct Plan {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    NodeDown(node_down::NodeDown),
    Drain(Drain),
    Config(edit::Edit),
}

/// Show where a node's addresses would go if it were drained, and what would be lost.
///
/// Exit status: 0 if another node takes every address, 1 if an address would be announced by nobody for a while
/// or would not leave the node, 2 if the cluster does not answer.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
struct Drain {
    /// The node.
    node: String,
    #[command(flatten)]
    installation: Installation,
    #[command(flatten)]
    format: Format,
}

const EXAMPLES: &str = "\
Examples:
  # Drain it only if another node takes every address
  kubectl ferrolb plan drain n1 && kubectl drain n1 --ignore-daemonsets

  # With speaker.keepConnections: wait until its open connections have ended
  kubectl ferrolb drain-wait n1";

/// Not every address finds a successor.
const NOT_ALL: u8 = 1;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    node: String,
    /// What a mere cordon does: `move` or `stay`.
    cordon: &'static str,
    addresses: Vec<Handover>,
    /// What else is worth knowing.
    notes: Vec<String>,
}

/// What becomes of an address that the node announces.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Handover {
    address: IpAddr,
    services: Vec<String>,
    /// `externalTrafficPolicy` of each of them.
    policies: Vec<&'static str>,
    /// The node that takes it.
    to: Option<String>,
    /// Whether it takes it when the node is cordoned, and not only when that stops.
    hands_over: bool,
    /// No pod is left elsewhere: nobody announces until one is ready there.
    gap: bool,
    /// For how long open connections through the node are kept after that, at most; null if they are reset.
    kept_seconds: Option<u64>,
}

/// What the speakers that were asked say; `None` if one does not.
pub(crate) type Asked = BTreeMap<String, Option<SpeakerStatus>>;

impl Plan {
    pub(crate) fn run(&self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let drain = match &self.what {
            What::Drain(drain) => drain,
            What::NodeDown(down) => return down.run(out),
            What::Config(edit) => return edit.run(out),
        };
        let answer = drain
            .installation
            .run(async |cluster| look(cluster, &drain.node).await)?;
        drain.format.print(out, &answer, |out| text(out, &answer))?;
        // Where a cordon moves nothing, it is wanted that an address stays until the node shuts down.
        let stays = answer.cordon == Cordon::Stay.as_str();
        let is_fine = |one: &Handover| one.to.is_some() && (one.hands_over || stays) && !one.gap;
        Ok(if answer.addresses.iter().all(is_fine) {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(NOT_ALL)
        })
    }
}

async fn look(cluster: &Cluster, node: &str) -> anyhow::Result<Answer> {
    let daemons = cluster.daemons().await?;
    let election = cluster.election(&daemons).await?;
    if !election.nodes.contains_key(node) {
        return Err(election.unknown_node(node));
    }
    let speaker = cluster.speaker_on(node, &daemons).await?;
    let speaker =
        speaker.with_context(|| format!("no speaker runs on {node}, so it announces nothing"))?;
    let mut asked = Asked::new();
    loop {
        let answer = answer(&election, node, &speaker, &asked);
        // A node's links are known to itself alone, so whoever would take one is asked.
        let targets = answer.addresses.iter().filter_map(|one| one.to.as_ref());
        let mut unasked = targets.filter(|target| !asked.contains_key(*target));
        let Some(next) = unasked.next().cloned() else {
            return Ok(answer);
        };
        let said = ask(cluster, &next, &daemons).await;
        asked.insert(next, said);
    }
}

async fn ask(cluster: &Cluster, node: &str, daemons: &[Daemon]) -> Option<SpeakerStatus> {
    cluster.speaker_on(node, daemons).await.ok().flatten()
}

fn answer(election: &Election, node: &str, speaker: &SpeakerStatus, asked: &Asked) -> Answer {
    let cordoned = election.cordoned(node);
    let drained = cordoned.without_pods_on(node);
    let uncordoned = election.uncordoned(node);
    let mut addresses = Vec::new();
    let mut coming_back = Vec::new();
    let mut notes: Vec<_> = election.note.map(str::to_owned).into_iter().collect();
    for vip in &speaker.vips {
        if vip.announced_here {
            let services = election.services_at(vip.address);
            let services = services.filter(|one| vip.services.contains(&one.key.to_string()));
            let services: Vec<_> = services.collect();
            let asked_for = agreed(services.iter().map(|one| one.move_to.as_deref()));
            if asked_for == Some(node) {
                notes.push(format!(
                    "{} returns to {node} as soon as that is uncordoned, because its Service asks \
                     for that node \
                     ({ANNOTATION_MOVE_TO})",
                    vip.address
                ));
            }
            let policies = services.iter().map(|one| policy(one.traffic_policy));
            let is_left_without_pods = drained.standings(vip.address, None).is_err();
            // Then only the end of its pods moves it, where its policy is Local.
            let moves_with_its_pods = election.cordon == Cordon::Stay && !is_left_without_pods;
            let after = if moves_with_its_pods {
                &drained
            } else {
                &cordoned
            };
            let (to, hands_over) = successor(after, vip.address, node, speaker, asked);
            let is_preferred = |to| uncordoned.prefers(vip.address, node, to);
            if asked_for != Some(node) && to.as_deref().is_some_and(is_preferred) {
                coming_back.push(vip.address);
            }
            addresses.push(Handover {
                address: vip.address,
                services: vip.services.clone(),
                policies: policies.collect(),
                gap: to.is_some() && is_left_without_pods,
                kept_seconds: to.as_deref().and_then(|to| keeping::seconds(to, asked)),
                to,
                hands_over,
            });
        } else if election.nodes[node].addresses.contains(&vip.address) {
            notes.push(format!(
                "{} ({}) is {node}'s own address: it never moves, and is gone while the node is",
                vip.address,
                vip.services.join(", ")
            ));
        }
    }
    notes.extend(returns_of_its_own_accord(&coming_back, node));
    if let Some(what) = &speaker.waiting_for {
        notes.push(format!("the speaker on {node} is still waiting for {what}"));
    }
    if speaker.isolated {
        notes.push(format!(
            "{node} hears no other speaker: it cannot hand over, and another node may already \
             announce"
        ));
    }
    notes.extend(keeping::notes(node, &addresses, speaker, asked));
    for (other, _) in asked.iter().filter(|(_, said)| said.is_none()) {
        notes.push(format!(
            "the speaker on {other} does not answer, so it is not known whether it may announce an \
             address"
        ));
    }
    Answer {
        node: node.to_owned(),
        cordon: election.cordon.as_str(),
        addresses,
        notes,
    }
}

/// As Services say it.
const fn policy(policy: TrafficPolicy) -> &'static str {
    match policy {
        TrafficPolicy::Cluster => "Cluster",
        TrafficPolicy::Local => "Local",
    }
}

/// The best of the others that lives and may, and whether it is better than `node` once that is
/// cordoned.
fn successor(
    cordoned: &Election,
    address: IpAddr,
    node: &str,
    speaker: &SpeakerStatus,
    asked: &Asked,
) -> (Option<String>, bool) {
    let Ok(standings) = cordoned.standings(address, None) else {
        return (None, false);
    };
    let may = |other: &str, drawback: Option<Reason>| match asked.get(other) {
        Some(Some(said)) => said.may_announce(address, drawback),
        _ => true,
    };
    let candidates = standings.candidates(address).into_iter();
    let mut others = candidates.filter(|(other, tier)| {
        *other != node && speaker.hears(other) && may(other, tier.drawback())
    });
    let Some((to, tier)) = others.next() else {
        return (None, false);
    };
    let is_better = standings.of(node).map_or(true, |own| tier < own);
    (Some(to.to_owned()), is_better)
}

fn text(out: &mut impl Write, answer: &Answer) -> anyhow::Result<()> {
    let node = &answer.node;
    if answer.addresses.is_empty() {
        writeln!(
            out,
            "{node} announces no address, so draining it moves none"
        )?;
    } else {
        let head = ["ADDRESS", "SERVICES", "POLICY", "GOES TO"].map(str::to_owned);
        let rows = answer.addresses.iter().map(|one| {
            let to = one.to.clone().unwrap_or_else(|| "nobody".to_owned());
            let (services, policies) = (one.services.join(","), one.policies.join(","));
            [one.address.to_string(), services, policies, to]
        });
        let rows: Vec<_> = std::iter::once(head).chain(rows).collect();
        table::print(out, &rows)?;
        writeln!(out)?;
    }
    for line in costs(answer).iter().chain(&answer.notes) {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// What it costs, each in a sentence.
fn costs(answer: &Answer) -> Vec<String> {
    let node = &answer.node;
    let mut costs = Vec::new();
    for one in &answer.addresses {
        let address = one.address;
        match &one.to {
            None => {
                let takes = if one.policies.contains(&"Local") {
                    "; with policy Local it needs a ready pod there"
                } else {
                    ""
                };
                costs.push(format!("{address}: no other node may announce it{takes}"));
            }
            Some(_) if one.gap => costs.push(format!(
                "{address}: all its pods are on {node}; nobody answers from the time they end \
                 until one is ready elsewhere"
            )),
            Some(to) if !one.hands_over && answer.cordon == Cordon::Stay.as_str() => {
                costs.push(format!(
                    "{address}: stays with {node} until that shuts down (speaker.cordon is stay); \
                     then {to} takes it within two seconds"
                ));
            }
            Some(to) if !one.hands_over => costs.push(format!(
                "{address}: stays with {node} until that stops, because {to} is no better than a \
                 cordoned node"
            )),
            Some(_) => {}
        }
    }
    costs.extend(keeping::sentences(answer));
    let has = |policy| {
        let reset = answer.addresses.iter();
        let mut reset = reset.filter(|one| one.kept_seconds.is_none());
        reset.any(|one| one.policies.contains(&policy))
    };
    if has("Cluster") {
        costs.push(format!(
            "policy Cluster: connections through {node} are reset when their address leaves it, \
             also those to pods on other nodes"
        ));
    }
    if has("Local") {
        costs.push(format!(
            "policy Local: connections through {node} go to its own pods: they are reset when \
             their address leaves it, and lost with the pods in any case"
        ));
    }
    costs
}

#[cfg(test)]
mod tests;
