//! `kubectl ferrolb who`: asks the network itself, or has a speaker ask its own.

mod lan;
mod through;

use std::collections::BTreeMap;
use std::io::Write;
use std::net::IpAddr;
use std::process::ExitCode;
use std::time::Duration;

use ferrolb_core::wire::MacAddr;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::ListParams;
use serde::Serialize;

use self::lan::{Heard, Lan};
use crate::cluster::{Access, Cluster};
use crate::output::Output;
use crate::table;

/// Ask the network who answers for an address: from this host (needs root, and that it is no node), or
/// through the speaker of a node.
#[derive(Debug, clap::Args)]
pub(crate) struct Who {
    /// The address
    address: IpAddr,
    /// Have the speaker of this node ask
    #[arg(long, value_name = "NODE", conflicts_with_all = ["link", "wait"])]
    node: Option<String>,
    /// Network link to ask on [default: the one on whose subnet the address is]
    #[arg(long)]
    link: Option<String>,
    /// How long to listen
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0)]
    wait: f64,
    #[command(flatten)]
    access: Access,
    /// How to print the result.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
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
    #[serde(skip_serializing_if = "Option::is_none")]
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
                self.access.run(through)?
            }
            None => self.ask_here()?,
        };
        self.output.print(out, &answer, |out| text(out, &answer))?;
        let unheard = usize::from(answer.announced_by_asker.is_some());
        Ok(match answer.stations.len() + unheard {
            1 => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        })
    }

    fn ask_here(&self) -> anyhow::Result<Answer> {
        let mut lan = Lan::open(self.address, self.link.as_deref())?;
        let mut notes = Vec::new();
        let nodes = self.access.run(async |cluster| nodes(cluster).await);
        let nodes = nodes.unwrap_or_else(|error| {
            notes.push(format!("nodes are not named: {error:#}"));
            BTreeMap::new()
        });
        for own in lan.addresses() {
            if let Some(node) = nodes.get(own) {
                notes.push(format!(
                    "this host is node {node}: speakers answer no node; ask from another host"
                ));
            }
        }
        let wait = Duration::try_from_secs_f64(self.wait)?;
        let heard = lan.ask(self.address, nodes.keys(), wait)?;
        Ok(Answer::new(self.address, lan.name(), &nodes, &heard, notes))
    }
}

/// Every address of every Node, with its name.
async fn nodes(cluster: &Cluster) -> anyhow::Result<BTreeMap<IpAddr, String>> {
    let api: Api<Node> = Api::all(cluster.client.clone());
    let nodes = api.list(&ListParams::default()).await?;
    let addresses = nodes.into_iter().flat_map(|node| {
        let name = node.metadata.name.unwrap_or_default();
        let addresses = node.status.and_then(|status| status.addresses);
        let addresses = addresses.unwrap_or_default().into_iter();
        addresses.filter_map(move |it| Some((it.address.parse().ok()?, name.clone())))
    });
    Ok(addresses.collect())
}

impl Answer {
    fn new(
        address: IpAddr,
        link: &str,
        nodes: &BTreeMap<IpAddr, String>,
        heard: &Heard,
        mut notes: Vec<String>,
    ) -> Self {
        // A node may say other addresses of its own as well.
        let node = |mac: &MacAddr| {
            let others = heard.others.iter().filter(|(_, theirs)| *theirs == mac);
            let mut names = others.filter_map(|(address, _)| nodes.get(address));
            names.next().cloned()
        };
        let stations = heard.answers.iter().map(|(mac, answers)| Station {
            mac: mac.to_string(),
            node: node(mac),
            answers: answers.count,
            fastest_milliseconds: answers.fastest.as_secs_f64() * 1e3,
        });
        let stations: Vec<_> = stations.collect();
        notes.extend(chance(stations.len()));
        Self {
            address,
            link: link.to_owned(),
            asked: heard.asked,
            stations,
            announced_by_asker: None,
            notes,
        }
    }
}

/// What it means that so many answer, if that is more than one.
fn chance(count: usize) -> Option<String> {
    (count > 1).then(|| {
        format!("{count} stations answer: each neighbour reaches one of them, and which is chance")
    })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::printed;
    use crate::who::lan::Answers;

    fn said(stations: &[u8]) -> String {
        let nodes = [("192.168.64.11".parse().unwrap(), "n1".to_owned())].into();
        let mac = |last: u8| MacAddr(2, 0, 0, 0, 0, last);
        let heard = Heard {
            asked: 3,
            answers: stations
                .iter()
                .map(|last| {
                    let fastest = Duration::from_micros(120);
                    (mac(*last), Answers { count: 3, fastest })
                })
                .collect(),
            others: ["10.0.0.1", "192.168.64.11"]
                .map(|address| (address.parse().unwrap(), mac(11)))
                .into(),
        };
        let address = "192.168.64.200".parse().unwrap();
        let answer = Answer::new(address, "eth0", &nodes, &heard, Vec::new());
        printed(|out| text(out, &answer))
    }

    #[test]
    fn who_answers_is_named_if_it_is_a_node() {
        insta::assert_snapshot!(said(&[11]), @r"
        STATION             NODE   LINK   ANSWERED   FASTEST
        02:00:00:00:00:0b   n1     eth0   3 of 3     0.12 ms
        ");
    }

    #[test]
    fn nobody_and_more_than_one_are_said() {
        insta::assert_snapshot!(said(&[]), @"nobody answers for 192.168.64.200 on eth0, asked 3 times");
        insta::assert_snapshot!(said(&[11, 100]), @r"
        STATION             NODE   LINK   ANSWERED   FASTEST
        02:00:00:00:00:0b   n1     eth0   3 of 3     0.12 ms
        02:00:00:00:00:64   -      eth0   3 of 3     0.12 ms
        2 stations answer: each neighbour reaches one of them, and which is chance
        ");
    }
}
