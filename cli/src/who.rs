//! `kubectl ferrolb who`: asks the network itself, or has a speaker ask its own.

#[cfg(target_os = "linux")]
mod here;
#[cfg(target_os = "linux")]
mod lan;
mod through;

use std::io::Write;
use std::net::IpAddr;
use std::process::ExitCode;

use serde::Serialize;

use crate::cluster::{Cluster, Installation};
use crate::output::Format;
use crate::table;

/// Ask the network who answers for an address, from this host (Linux, root, not a node of the cluster) or from the
/// speaker on a node.
///
/// Exit status: 0 if one station answers, 1 if none or several do, 2 if it is not possible to ask.
#[derive(Debug, clap::Args)]
pub(crate) struct Who {
    /// The address
    address: IpAddr,
    /// Ask from the speaker on this node
    #[arg(long, value_name = "NODE")]
    node: Option<String>,
    #[cfg(target_os = "linux")]
    #[command(flatten)]
    here: here::Here,
    #[command(flatten)]
    installation: Installation,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    address: IpAddr,
    link: String,
    /// How often it was asked.
    asked: u32,
    stations: Vec<Station>,
    /// The node that asked, if it is itself the one that announces: it does not hear its own answers.
    announced_by_asker: Option<String>,
    /// What else is worth knowing.
    notes: Vec<String>,
}

/// Somebody who answers.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Station {
    mac: String,
    /// The node of the cluster that it is, if it is one.
    node: Option<String>,
    answers: u32,
    fastest_milliseconds: f64,
}

impl Who {
    pub(crate) fn run(&self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let answer = match &self.node {
            Some(node) => {
                let through =
                    async |cluster: &Cluster| through::ask(cluster, node, self.address).await;
                self.installation.run(through)?
            }
            #[cfg(target_os = "linux")]
            None => self.here.ask(self.address, &self.installation)?,
            #[cfg(not(target_os = "linux"))]
            None => anyhow::bail!("use --node NODE to choose the speaker that asks"),
        };
        self.format.print(out, &answer, |out| text(out, &answer))?;
        let unheard = usize::from(answer.announced_by_asker.is_some());
        Ok(match answer.stations.len() + unheard {
            1 => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        })
    }
}

/// What it means that so many answer, if that is more than one.
fn chance(count: usize) -> Option<String> {
    (count > 1)
        .then(|| format!("{count} stations answer: each neighbour reaches one of them at random"))
}

fn text(out: &mut impl Write, answer: &Answer) -> anyhow::Result<()> {
    let asked = answer.asked;
    if answer.stations.is_empty() {
        let (address, link) = (answer.address, &answer.link);
        writeln!(
            out,
            "nobody answers for {address} on {link}, asked {asked} times"
        )?;
    } else {
        let head = ["STATION", "NODE", "LINK", "ANSWERED", "FASTEST"].map(str::to_owned);
        let rows = answer.stations.iter().map(|station| {
            [
                station.mac.clone(),
                station.node.clone().unwrap_or_else(|| "-".to_owned()),
                answer.link.clone(),
                format!("{} of {asked}", station.answers),
                format!("{:.2} ms", station.fastest_milliseconds),
            ]
        });
        let rows: Vec<_> = std::iter::once(head).chain(rows).collect();
        table::print(out, &rows)?;
    }
    for note in &answer.notes {
        writeln!(out, "{note}")?;
    }
    Ok(())
}
