//! From this host.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use ferrolb_core::wire::MacAddr;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::ListParams;

use super::lan::{Heard, Lan};
use super::{Answer, Station, chance};
use crate::cluster::{Cluster, Installation};
use crate::output::causes;

#[derive(Debug, clap::Args)]
pub(super) struct Here {
    /// Network link to ask on [default: the one on whose subnet the address is]
    #[arg(long, conflicts_with = "node")]
    link: Option<String>,
    /// How long to listen
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 1.0,
        conflicts_with = "node"
    )]
    wait: f64,
}

impl Here {
    pub(super) fn ask(
        &self,
        address: IpAddr,
        installation: &Installation,
    ) -> anyhow::Result<Answer> {
        let mut lan = Lan::open(address, self.link.as_deref())?;
        let mut notes = Vec::new();
        let nodes = installation.run(async |cluster| nodes(cluster).await);
        let nodes = nodes.unwrap_or_else(|error| {
            notes.push(format!("cannot name the nodes: {}", causes(&error)));
            BTreeMap::new()
        });
        for own in lan.addresses() {
            if let Some(node) = nodes.get(own) {
                notes.push(format!(
                    "this host is node {node}, and speakers do not answer nodes: ask from another \
                     host"
                ));
            }
        }
        let wait = Duration::try_from_secs_f64(self.wait)?;
        let heard = lan.ask(address, nodes.keys(), wait)?;
        Ok(Answer::new(address, lan.name(), &nodes, &heard, notes))
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

#[cfg(test)]
mod tests {
    use super::super::text;
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
        insta::assert_snapshot!(said(&[]), @"nobody answers for 192.168.64.200 on eth0, asked 3 \
             times");
        insta::assert_snapshot!(said(&[11, 100]), @r"
        STATION             NODE   LINK   ANSWERED   FASTEST
        02:00:00:00:00:0b   n1     eth0   3 of 3     0.12 ms
        02:00:00:00:00:64   -      eth0   3 of 3     0.12 ms
        2 stations answer: each neighbour reaches one of them at random
        ");
    }
}
