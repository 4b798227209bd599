//! `kubectl ferrolb drain-wait`.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::IpAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use ferrolb_core::cordon::Cordon;
use ferrolb_core::k8s::node_view;
use ferrolb_core::report::SpeakerStatus;
use ferrolb_core::view::NodeView;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::ago;
use crate::cluster::{Cluster, Installation};
use crate::election::cordon;
use crate::output::{Format, causes, counted_addresses};
use crate::speaker::Said;
use crate::table;
use crate::terminal::{GOOD, WARNING, sentence, stderr};

/// The time is over, and something still goes through the node.
const NOT_DONE: u8 = 1;
/// The time is over, and nobody knows.
const NOT_KNOWN: u8 = 2;
/// Between two looks: each asks every speaker, and those count packets as often.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Wait until a drained node can be switched off: its addresses have moved, and its open connections have ended.
///
/// For speaker.keepConnections. It waits until the node announces no address, and the other nodes pass no packets
/// of open connections on to it any more. Where that value is off there are no such packets.
///
/// Exit status: 0 if nothing goes through the node any more, 1 if the time is over and something does, 2 if the
/// cluster does not answer, or a speaker that may know did not until the time was over.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DrainWait {
    /// The node.
    node: String,
    /// Time after which to give up: 90s, 10m, or a number of seconds.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = ago::parse)]
    timeout: Duration,
    /// Do not wait for connections of an address once none of them has sent anything for so long.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = ago::parse)]
    idle: Duration,
    #[command(flatten)]
    installation: Installation,
    #[command(flatten)]
    format: Format,
}

const EXAMPLES: &str = "\
Examples:
  # Drain a node, and reboot it once nobody needs it
  kubectl drain n1 --ignore-daemonsets && kubectl ferrolb drain-wait n1 && ssh n1 reboot

  # Wait for 5 minutes at most, and then go on anyway
  kubectl ferrolb drain-wait n1 --timeout 5m || true";

/// What still goes through the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    node: String,
    /// Whether nothing goes through it any more.
    done: bool,
    waited_seconds: u64,
    /// Addresses that it still announces, and that have to move first.
    announces: Vec<IpAddr>,
    /// Open connections that other nodes pass on to it.
    kept: Vec<Kept>,
    /// Nodes whose speakers do not answer, so that it is not known whether they pass anything on.
    unknown: Vec<String>,
    notes: Vec<String>,
}

/// Open connections through an address that the node had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Kept {
    address: IpAddr,
    /// The node that has the address now.
    by: String,
    /// For how much longer, at most.
    seconds_left: u64,
    /// Since their last packet.
    idle_seconds: u64,
    /// So far.
    packets: u64,
}

impl DrainWait {
    pub(crate) fn run(&self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let answer = self
            .installation
            .run(async |cluster| self.wait(cluster).await)?;
        self.format.print(out, &answer, |out| text(out, &answer))?;
        Ok(answer.exit_code())
    }

    async fn wait(&self, cluster: &Cluster) -> anyhow::Result<Answer> {
        let begun = Instant::now();
        let give_up = begun + self.timeout;
        let mut last = None;
        loop {
            match self.look(cluster).await {
                Ok(mut answer) => {
                    answer.waited_seconds = begun.elapsed().as_secs();
                    if answer.done || Instant::now() >= give_up {
                        return Ok(answer);
                    }
                    writeln!(stderr(), "{}", answer.progress())?;
                    last = Some(answer);
                }
                // Who never answered will not, and whoever did may again.
                Err(error) if last.is_none() || Instant::now() >= give_up => return Err(error),
                Err(error) => {
                    let why = causes(&error);
                    writeln!(stderr(), "{WARNING}warning:{WARNING:#} {why}; trying again")?;
                }
            }
            let left = give_up.saturating_duration_since(Instant::now());
            sleep(LOOK_AGAIN.min(left)).await;
        }
    }

    async fn look(&self, cluster: &Cluster) -> anyhow::Result<Answer> {
        let nodes = cluster.every(|node| node_view(&node)).await?;
        let Some(view) = nodes.iter().find(|one: &&NodeView| one.name == self.node) else {
            let names: Vec<_> = nodes.iter().map(|node| node.name.as_str()).collect();
            bail!(
                "there is no node {}; there are {}",
                self.node,
                names.join(", ")
            );
        };
        let daemons = cluster.daemons().await?;
        let said = cluster.speakers(&daemons).await;
        if said.is_empty() {
            bail!("no FerroLB speaker found");
        }
        judged(view, &said, cordon(&daemons), self.idle)
    }
}

/// What the speakers' words come to; connections that have been silent for `idle` do not count.
fn judged(node: &NodeView, said: &Said, cordon: Cordon, idle: Duration) -> anyhow::Result<Answer> {
    let name = &node.name;
    let heard = || {
        let said = said.iter();
        said.filter_map(|(by, told)| Some((by, told.as_ref().ok()?)))
    };
    let announces = announced_by(name, said);
    if !announces.is_empty() && !node.unschedulable && !node.leaving {
        bail!(
            "{name} is not cordoned and announces {}: run kubectl drain {name} first",
            counted_addresses(announces.len())
        );
    }
    let kept = heard().flat_map(|(by, status)| {
        let kept = status.keeping.iter().flat_map(|all| &all.addresses);
        kept.filter(|one| one.from == *name).map(|one| Kept {
            address: one.address,
            by: by.clone(),
            seconds_left: one.seconds_left,
            idle_seconds: one.idle_seconds,
            packets: one.packets,
        })
    });
    let (kept, idle): (Vec<_>, Vec<_>) = kept.partition(|one| one.idle_seconds < idle.as_secs());
    let silent = said.iter().filter(|(_, told)| told.is_err());
    // One that is down passes nothing on, and the drained node itself would to others alone.
    let unknown = silent.filter(|(by, _)| by != name && !is_gone(by, said));
    let unknown: Vec<_> = unknown.map(|(by, _)| by.clone()).collect();
    let mut notes = Vec::new();
    for one in idle {
        notes.push(format!(
            "{}: none of its old connections has sent anything for {}",
            one.address,
            ago::short(Duration::from_secs(one.idle_seconds))
        ));
    }
    if heard().all(|(_, status)| status.keeping.is_none()) {
        notes.push(
            "speaker.keepConnections is off: open connections were reset when their address moved"
                .to_owned(),
        );
    }
    let stays = cordon == Cordon::Stay;
    if stays && !announces.is_empty() {
        notes.push(format!(
            "{name} still announces {}: with speaker.cordon: stay they move when it shuts down",
            counted_addresses(announces.len())
        ));
    }
    Ok(Answer {
        node: name.clone(),
        done: kept.is_empty() && unknown.is_empty() && (announces.is_empty() || stays),
        waited_seconds: 0,
        announces,
        kept,
        unknown,
        notes,
    })
}

/// By its own word; if it does not answer, by that of the others.
fn announced_by(node: &str, said: &Said) -> Vec<IpAddr> {
    let own = said.iter().find(|(by, _)| by == node);
    let addresses: BTreeSet<IpAddr> = match own {
        Some((_, Ok(status))) => {
            let vips = status.vips.iter().filter(|vip| vip.announced_here);
            vips.map(|vip| vip.address).collect()
        }
        _ => {
            let others = said.iter().filter_map(|(_, told)| told.as_ref().ok());
            let vips = others.flat_map(|status: &SpeakerStatus| &status.vips);
            vips.filter(|vip| vip.owner.as_deref() == Some(node))
                .map(|vip| vip.address)
                .collect()
        }
    };
    addresses.into_iter().collect()
}

/// Whether whoever answers says so, and nobody contradicts. One that is only not heard passes on what it did.
fn is_gone(node: &str, said: &Said) -> bool {
    let told = said.iter().filter_map(|(_, told)| told.as_ref().ok());
    let members = told.flat_map(|status: &SpeakerStatus| &status.members);
    let mut of_it = members.filter(|member| member.node == node).peekable();
    of_it.peek().is_some() && of_it.all(|member| member.standing == "gone" && !member.is_blocked())
}

impl Answer {
    fn exit_code(&self) -> ExitCode {
        if self.done {
            ExitCode::SUCCESS
        } else if self.kept.is_empty() && self.announces.is_empty() {
            ExitCode::from(NOT_KNOWN)
        } else {
            ExitCode::from(NOT_DONE)
        }
    }

    /// What is waited for, in a line.
    fn progress(&self) -> String {
        let mut what = Vec::new();
        if !self.announces.is_empty() {
            let addresses = counted_addresses(self.announces.len());
            what.push(format!("it announces {addresses}"));
        }
        if !self.kept.is_empty() {
            let time = |seconds: Option<u64>| ago::short(Duration::from_secs(seconds.unwrap_or(0)));
            let (addresses, left, idle) = (
                counted_addresses(self.kept.len()),
                time(self.kept.iter().map(|one| one.seconds_left).max()),
                time(self.kept.iter().map(|one| one.idle_seconds).min()),
            );
            what.push(format!(
                "open connections of {addresses} are passed on to it (last packet {idle} ago, {left} left)"
            ));
        }
        if !self.unknown.is_empty() {
            let nodes = self.unknown.join(", ");
            what.push(format!("no answer from the speakers of {nodes}"));
        }
        let waited = ago::short(Duration::from_secs(self.waited_seconds));
        format!("waiting for {} ({waited}): {}", self.node, what.join("; "))
    }
}

fn text(out: &mut impl Write, answer: &Answer) -> anyhow::Result<()> {
    let node = &answer.node;
    for note in &answer.notes {
        sentence(out, None, "note: ", note)?;
    }
    if answer.done {
        let what = format!("nothing goes through {node} any more");
        writeln!(out, "{GOOD}{what}{GOOD:#}")?;
        return Ok(());
    }
    let waited = ago::short(Duration::from_secs(answer.waited_seconds));
    writeln!(out, "{WARNING}the time is over{WARNING:#} after {waited}")?;
    if !answer.announces.is_empty() {
        let addresses: Vec<_> = answer.announces.iter().map(ToString::to_string).collect();
        let what = format!(
            "{} (why: kubectl ferrolb plan drain {node})",
            addresses.join(", ")
        );
        sentence(out, None, &format!("{node} still announces "), &what)?;
    }
    if !answer.unknown.is_empty() {
        let nodes = answer.unknown.join(", ");
        sentence(out, None, "no answer from the speakers of ", &nodes)?;
    }
    if !answer.kept.is_empty() {
        let head = ["ADDRESS", "PASSED ON BY", "LEFT", "LAST PACKET", "PACKETS"];
        let time = |seconds| ago::short(Duration::from_secs(seconds));
        let rows = answer.kept.iter().map(|one| {
            [
                one.address.to_string(),
                one.by.clone(),
                time(one.seconds_left),
                format!("{} ago", time(one.idle_seconds)),
                one.packets.to_string(),
            ]
        });
        let rows: Vec<_> = std::iter::once(head.map(str::to_owned))
            .chain(rows)
            .collect();
        table::print(out, &rows)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
