//! `kubectl ferrolb init`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::IpAddr;
use std::process::ExitCode;

use anyhow::Context as _;
use ferrolb_core::address::AddressRange;
use ferrolb_core::config::{self, NotConfigured, Outcome};
use ferrolb_core::k8s::{node_view, service_view};
use ferrolb_core::names::CONFIG_KEY;
use ferrolb_core::survey::SurveyStatus;
use ferrolb_core::view::NodeView;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;

use crate::answers::init::{
    InitAnswer, Taken, best, free, manifest, parts, range, subnet, warnings, window,
};
use crate::cluster::{Cluster, Installation};
use crate::daemons::Daemon;
use crate::output::{Format, counted};
use crate::speaker::speaker_of;
use crate::terminal::{complain, one_line, stderr};

/// Propose a first configuration: free addresses of the nodes' own network.
///
/// It has a speaker ask the network which addresses of the subnet are free (at most 1,024, 50 a second), leaves out
/// those of the gateway, the nodes and the Services, and prints a ConfigMap. Nothing is changed without --apply.
///
/// Exit status: 0 if it has a proposal, 1 if no address is free or there is a configuration already, 2 if the
/// cluster or the speaker does not answer.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Init {
    /// Addresses to ask for [default: the last 64 of the nodes' subnet]
    #[arg(long, value_name = "FIRST-LAST", value_parser = range)]
    range: Option<AddressRange>,
    /// How many addresses to propose, if no range is given
    #[arg(long, value_name = "COUNT", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=64))]
    size: u16,
    /// Ask from the speaker on this node [default: any]
    #[arg(long, value_name = "NODE")]
    node: Option<String>,
    /// Write the ConfigMap
    #[arg(long)]
    apply: bool,
    #[command(flatten)]
    installation: Installation,
    #[command(flatten)]
    format: Format,
}

const EXAMPLES: &str = "\
Examples:
  # See what it proposes, then write it
  kubectl ferrolb init
  kubectl ferrolb init --apply

  # Which addresses of a range are free?
  kubectl ferrolb init --range 192.168.1.200-192.168.1.250";

/// There is nothing to propose.
const NOTHING: u8 = 1;

impl Init {
    pub(crate) fn run(&self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let answer = self
            .installation
            .run(async |cluster| self.propose(cluster).await)?;
        let answer = match answer {
            Ok(answer) => answer,
            Err(why) => {
                complain(&why)?;
                return Ok(ExitCode::from(NOTHING));
            }
        };
        self.format.print(out, &answer, |out| text(out, &answer))?;
        Ok(ExitCode::SUCCESS)
    }

    /// `Ok(Err(why))`: everything answers, and there is nothing to propose.
    async fn propose(&self, cluster: &Cluster) -> anyhow::Result<Result<InitAnswer, String>> {
        let daemons = cluster.daemons().await?;
        let (node, speaker) = self.speaker(&daemons)?;
        let (namespace, name) = cluster.config_source(&daemons).await;
        let map = configured(cluster, &namespace, &name).await?;
        if let Some(pools) = map.pools {
            return Ok(Err(format!(
                "ConfigMap {namespace}/{name} has {pools} already: change that by hand, and see with \
                 kubectl ferrolb plan config FILE what it would do"
            )));
        }
        let nodes = cluster.every(|node| node_view(&node)).await?;
        let links: SurveyStatus = cluster.ask(speaker, SURVEY).await?;
        let own = nodes.iter().find(|view| view.name == node);
        let own = own.map_or(&[][..], |view| &view.addresses);
        let asked = match self.range {
            Some(range) => range,
            None => {
                let window = window(subnet(&links, own)?);
                window.context("the nodes' subnet is too small: name a range with --range")?
            }
        };
        let known = known(cluster, &nodes, &links).await?;
        let (link, answering) = survey(cluster, speaker, asked).await?;
        let taken: BTreeMap<IpAddr, String> = answering.into_iter().chain(known).collect();
        let not_free: BTreeSet<_> = taken.keys().copied().collect();
        let runs = free(asked, &not_free);
        let chosen = match self.range {
            Some(_) => runs,
            None => best(&runs, self.size.into()).into_iter().collect(),
        };
        if chosen.is_empty() {
            return Ok(Err(format!(
                "no address of {asked} is free: name another range with --range"
            )));
        }
        let (manifest, config) = manifest(&namespace, &name, &chosen)?;
        let outside = outside(&nodes, &links);
        if self.apply {
            write_map(cluster, &namespace, &name, &config, map.exists).await?;
        }
        let in_range = taken.into_iter().filter(|(one, _)| asked.contains(*one));
        Ok(Ok(InitAnswer {
            link,
            asked: asked.to_string(),
            taken: in_range
                .map(|(address, by)| Taken { address, by })
                .collect(),
            addresses: chosen.iter().map(ToString::to_string).collect(),
            manifest,
            warnings: warnings(&outside, &node),
            applied: self.apply,
            node,
        }))
    }

    fn speaker<'a>(&self, daemons: &'a [Daemon]) -> anyhow::Result<(String, &'a Daemon)> {
        let speaker = match &self.node {
            Some(node) => speaker_of(node, daemons)
                .with_context(|| format!("no FerroLB speaker runs on a node called {node}"))?,
            None => {
                let mut speakers = daemons.iter().filter(|one| one.is_speaker());
                let ready = speakers.clone().find(|one| one.ready);
                ready.or_else(|| speakers.next()).context(
                    "no FerroLB speaker found: install it first, so that one can ask the network",
                )?
            }
        };
        let node = speaker.node.clone();
        Ok((node.context("the speaker's pod has no node yet")?, speaker))
    }
}

const SURVEY: &str = "/survey";

/// What is in the way of a proposal.
struct Found {
    exists: bool,
    /// `2 pools`, if it has any; or what it is.
    pools: Option<String>,
}

async fn configured(cluster: &Cluster, namespace: &str, name: &str) -> anyhow::Result<Found> {
    let api: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), namespace);
    let map = api.get_opt(name).await;
    let map = map.with_context(|| format!("cannot read ConfigMap {namespace}/{name}"))?;
    let exists = map.is_some();
    let pools = match config::of_data(map.and_then(|map| map.data).as_ref()) {
        Outcome::Valid(config) | Outcome::Partly(config, _) => {
            Some(counted(config.pools.len(), "pool"))
        }
        Outcome::Refused(_) => Some("a configuration with errors".to_owned()),
        Outcome::NotConfigured(NotConfigured::NoKey(keys)) if !keys.is_empty() => {
            Some(format!("other keys ({})", keys.join(", ")))
        }
        Outcome::NotConfigured(_) => None,
    };
    Ok(Found { exists, pools })
}

/// Addresses that somebody has, whether or not they answer; each with who that is.
async fn known(
    cluster: &Cluster,
    nodes: &[NodeView],
    links: &SurveyStatus,
) -> anyhow::Result<Vec<(IpAddr, String)>> {
    let services = cluster.every(|service| service_view(&service)).await?;
    let mut known = Vec::new();
    for service in &services {
        let all = service.assigned.iter().chain(&*service.external_ips);
        known.extend(all.map(|one| (*one, format!("Service {}", service.key))));
    }
    for gateway in &links.gateways {
        known.push((*gateway, "the gateway".to_owned()));
    }
    let prefixes = links.links.iter().flat_map(|link| &link.prefixes);
    for prefix in prefixes {
        let subnet = AddressRange::of_prefix(prefix);
        let subnet = subnet.filter(|range| range.size() > 2 && range.first().is_ipv4());
        if let Some(range) = subnet {
            known.push((range.first(), "the network itself".to_owned()));
            known.push((range.last(), "broadcasts".to_owned()));
        }
        let own = prefix.split_once('/').and_then(|(own, _)| own.parse().ok());
        known.extend(own.map(|own| (own, "the node that asks".to_owned())));
    }
    for node in nodes {
        let own = node.addresses.iter();
        known.extend(own.map(|one| (*one, format!("node {}", node.name))));
    }
    Ok(known)
}

/// Asks for all of `range`, in parts; the link, and who answers.
async fn survey(
    cluster: &Cluster,
    speaker: &Daemon,
    range: AddressRange,
) -> anyhow::Result<(Option<String>, Vec<(IpAddr, String)>)> {
    let parts = parts(range);
    let mut link = None;
    let mut taken = Vec::new();
    for (number, part) in parts.iter().enumerate() {
        let (number, all) = (number + 1, parts.len());
        let part = format!("{}-{}", part.first(), part.last());
        writeln!(stderr(), "asking for {part} ({number} of {all})")?;
        let path = format!("{SURVEY}?range={part}");
        let said: SurveyStatus = cluster.ask(speaker, &path).await?;
        link = said.asked_on;
        let said = said.taken.into_iter();
        taken.extend(said.map(|one| (one.address, one_line(&one.mac))));
    }
    Ok((link, taken))
}

/// Nodes with no address in any subnet of the one that asks.
fn outside(nodes: &[NodeView], links: &SurveyStatus) -> Vec<String> {
    let prefixes = links.links.iter().flat_map(|link| &link.prefixes);
    let subnets: Vec<_> = prefixes
        .filter_map(|one| AddressRange::of_prefix(one))
        .collect();
    let is_outside = |node: &&NodeView| {
        let mut own = node.addresses.iter();
        !own.any(|one| subnets.iter().any(|subnet| subnet.contains(*one)))
    };
    let outside = nodes.iter().filter(is_outside);
    outside.map(|node| node.name.clone()).collect()
}

async fn write_map(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
    config: &str,
    exists: bool,
) -> anyhow::Result<()> {
    let api: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), namespace);
    let cannot = || format!("cannot write ConfigMap {namespace}/{name}");
    let data = json!({ "data": { CONFIG_KEY: config } });
    if exists {
        let patch = Patch::Merge(data);
        let patched = api.patch(name, &PatchParams::default(), &patch).await;
        patched.map(drop).with_context(cannot)
    } else {
        let mut map = data;
        map["metadata"] = json!({ "namespace": namespace, "name": name });
        let map: ConfigMap = serde_json::from_value(map).with_context(cannot)?;
        let created = api.create(&PostParams::default(), &map).await;
        created.map(drop).with_context(cannot)
    }
}

/// YAML that kubectl takes, with what people have to know in its comments.
fn text(out: &mut impl Write, answer: &InitAnswer) -> anyhow::Result<()> {
    let link = answer.link.as_deref().unwrap_or("?");
    writeln!(
        out,
        "# Asked for on {link} of {}: {}",
        answer.node, answer.asked
    )?;
    for Taken { address, by } in &answer.taken {
        writeln!(out, "# not free: {address} ({})", one_line(by))?;
    }
    for warning in &answer.warnings {
        writeln!(out, "# {warning}")?;
    }
    write!(out, "{}", answer.manifest)?;
    if answer.applied {
        writeln!(out, "# written: kubectl ferrolb status --wait")?;
    } else {
        writeln!(
            out,
            "# nothing is written yet: kubectl ferrolb init --apply, or kubectl apply -f - with this"
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::printed;

    #[test]
    fn the_answer_is_a_manifest_with_comments() {
        let ranges = [range("192.168.64.240-192.168.64.250").unwrap()];
        let (manifest, _) = manifest("lb", "config", &ranges).unwrap();
        let answer = InitAnswer {
            node: "n1".to_owned(),
            link: Some("eth0".to_owned()),
            asked: "192.168.64.191-192.168.64.254".to_owned(),
            taken: vec![Taken {
                address: "192.168.64.251".parse().unwrap(),
                by: "3c:52:82:00:00:9a".to_owned(),
            }],
            addresses: vec![ranges[0].to_string()],
            manifest,
            warnings: warnings(&["n7".to_owned()], "n1"),
            applied: false,
        };
        let shown = printed(|out| text(out, &answer));
        insta::assert_snapshot!(shown);
        // What is printed can be applied.
        assert_eq!(config::check_file(&shown).unwrap().len(), 1);
    }

    #[test]
    fn nodes_in_other_subnets_are_named() {
        let links = SurveyStatus {
            links: vec![ferrolb_core::survey::LinkStatus {
                name: "eth0".to_owned(),
                prefixes: vec!["192.168.64.11/24".to_owned()],
            }],
            gateways: Vec::new(),
            asked_on: None,
            taken: Vec::new(),
        };
        let node = |name: &str, address: &str| {
            let node = json!({
                "metadata": { "name": name },
                "status": { "addresses": [{ "type": "InternalIP", "address": address }] },
            });
            node_view(&serde_json::from_value(node).unwrap()).unwrap()
        };
        let nodes = [node("n1", "192.168.64.11"), node("n2", "10.0.0.2")];
        assert_eq!(outside(&nodes, &links), ["n2"]);
    }
}
