//! `kubectl ferrolb init`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::IpAddr;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use ferrolb_core::address::AddressRange;
use ferrolb_core::config::objects::{Kind, ObjectView};
use ferrolb_core::config::{NotConfigured, Outcome};
use ferrolb_core::k8s::{node_view, service_view};
use ferrolb_core::names::CONFIG_KEY;
use ferrolb_core::source::{Choice, Source};
use ferrolb_core::survey::SurveyStatus;
use ferrolb_core::view::NodeView;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde::Deserialize as _;
use serde_json::json;

use crate::answers::init::{
    Form, InitAnswer, Taken, best, free, parts, proposal, range, subnet, warnings, window,
};
use crate::cluster::{Cluster, Installation};
use crate::configured::{Configured, is_forbidden};
use crate::daemons::Daemon;
use crate::objects::{is_unknown, resource};
use crate::output::{Format, counted};
use crate::speaker::speaker_of;
use crate::terminal::{complain, one_line, stderr};

/// Propose a first configuration: free addresses of the nodes' own network.
///
/// It has a speaker ask the network which addresses of the subnet are free (at most 1,024, 50 a second), leaves out
/// those of the gateway, the nodes and the Services, and prints a configuration: a ConfigMap, or an IPAddressPool and
/// an L2Advertisement. Nothing is changed without --apply.
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
    /// How to write it [default: the form that is in force, else configmap]
    #[arg(long, value_name = "FORM", value_enum)]
    form: Option<Form>,
    /// Write it into the cluster
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

  # As an IPAddressPool and an L2Advertisement, for a repository
  kubectl ferrolb init --form objects > pools.yaml

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
        let configured = cluster.configured(&daemons).await?;
        let views = cluster.views_of_objects(&namespace).await;
        let views = match views {
            Ok((views, _)) => views,
            // Nobody has any where they may not be read.
            Err(error) if is_forbidden(&error) => Vec::new(),
            Err(error) => return Err(error),
        };
        if let Some(there) = already(&configured, &views, &namespace, &name) {
            return Ok(Err(format!(
                "{there} already: change that by hand, and see with kubectl ferrolb plan config FILE what it \
                 would do"
            )));
        }
        let form = self.form.unwrap_or_else(|| form_of(&configured, &daemons));
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
        let proposal = proposal(form, &namespace, &name, &chosen)?;
        let outside = outside(&nodes, &links);
        if self.apply {
            match form {
                Form::Configmap => {
                    let exists = configured.text.is_some();
                    write_map(cluster, &namespace, &name, &proposal.config, exists).await?;
                }
                Form::Objects => write_objects(cluster, &namespace, &proposal.manifest).await?,
            }
        }
        let in_range = taken.into_iter().filter(|(one, _)| asked.contains(*one));
        Ok(Ok(InitAnswer {
            link,
            asked: asked.to_string(),
            taken: in_range
                .map(|(address, by)| Taken { address, by })
                .collect(),
            addresses: chosen.iter().map(ToString::to_string).collect(),
            form,
            manifest: proposal.manifest,
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

/// The form that is in force, or the only one that counts.
fn form_of(configured: &Configured, daemons: &[Daemon]) -> Form {
    let mut choices = daemons.iter().map(|one| one.choice);
    let chosen = choices.find_map(|choice| match choice {
        Choice::Only(source) => Some(source),
        Choice::Auto => None,
    });
    match chosen.unwrap_or(configured.memory.source) {
        Source::Objects => Form::Objects,
        Source::ConfigMap => Form::Configmap,
    }
}

/// The configuration that is in the way of a proposal: `ConfigMap metallb-system/config has 2 pools`.
fn already(
    configured: &Configured,
    views: &[ObjectView],
    namespace: &str,
    name: &str,
) -> Option<String> {
    let pools = views.iter();
    let pools = pools
        .filter(|view| view.kind == Kind::IpAddressPool)
        .count();
    if pools > 0 {
        return Some(format!(
            "namespace {namespace} has {}",
            counted(pools, "IPAddressPool")
        ));
    }
    let has = match &configured.text.as_ref()?.1 {
        Outcome::Valid(config) | Outcome::Partly(config, _) => counted(config.pools.len(), "pool"),
        Outcome::Refused(_) => "a configuration with errors".to_owned(),
        Outcome::NotConfigured(NotConfigured::NoKey(keys)) if !keys.is_empty() => {
            format!("other keys ({})", keys.join(", "))
        }
        Outcome::NotConfigured(_) => return None,
    };
    Some(format!("ConfigMap {namespace}/{name} has {has}"))
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

/// The pool first: an advertisement of no pool is a warning.
async fn write_objects(cluster: &Cluster, namespace: &str, manifest: &str) -> anyhow::Result<()> {
    for document in serde_yaml::Deserializer::from_str(manifest) {
        let object = DynamicObject::deserialize(document)?;
        let kind = object
            .types
            .as_ref()
            .and_then(|types| Kind::of(&types.kind));
        let kind = kind.context("no kind of MetalLB's")?;
        let resource = resource(kind, kind.versions()[0]);
        let api: Api<DynamicObject> =
            Api::namespaced_with(cluster.client.clone(), namespace, &resource);
        let created = api.create(&PostParams::default(), &object).await;
        let created = created.map_err(anyhow::Error::from);
        if created.as_ref().is_err_and(is_unknown) {
            bail!(
                "the cluster has no {kind}: kubectl ferrolb crds | kubectl apply --server-side -f -, or use \
                 --form configmap"
            );
        }
        created
            .with_context(|| format!("cannot write {kind} {namespace}/{}", object.name_any()))?;
    }
    Ok(())
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
    use ferrolb_core::config;
    use ferrolb_core::config::objects::Spec;

    use super::*;
    use crate::daemons::Component;
    use crate::fixtures::printed;

    #[test]
    fn the_answer_is_a_manifest_with_comments() {
        let ranges = [range("192.168.64.240-192.168.64.250").unwrap()];
        let proposal = proposal(Form::Configmap, "lb", "config", &ranges).unwrap();
        let answer = InitAnswer {
            node: "n1".to_owned(),
            link: Some("eth0".to_owned()),
            asked: "192.168.64.191-192.168.64.254".to_owned(),
            taken: vec![Taken {
                address: "192.168.64.251".parse().unwrap(),
                by: "3c:52:82:00:00:9a".to_owned(),
            }],
            addresses: vec![ranges[0].to_string()],
            form: proposal.form,
            manifest: proposal.manifest,
            warnings: warnings(&["n7".to_owned()], "n1"),
            applied: false,
        };
        let shown = printed(|out| text(out, &answer));
        insta::assert_snapshot!(shown);
        // What is printed can be applied.
        assert_eq!(config::check_file(&shown).unwrap().len(), 1);
    }

    #[test]
    fn the_form_is_that_which_is_in_force_or_the_only_one_that_counts() {
        let with = |choice| {
            let mut daemon = Daemon::fixture(Component::Controller, "c", "n1");
            daemon.choice = choice;
            daemon
        };
        let blank = || Configured::of(None, None);
        let mut objects = blank();
        objects.memory.source = Source::Objects;
        let auto = [with(Choice::Auto)];
        assert_eq!(form_of(&blank(), &auto), Form::Configmap);
        assert_eq!(form_of(&objects, &auto), Form::Objects);
        let chosen = [with(Choice::Only(Source::Objects))];
        assert_eq!(form_of(&blank(), &chosen), Form::Objects);
    }

    #[test]
    fn a_configuration_in_either_form_is_in_the_way() {
        let pool = ObjectView {
            kind: Kind::IpAddressPool,
            api_version: String::new(),
            namespace: "lb".to_owned(),
            name: "lan".to_owned(),
            uid: String::new(),
            resource_version: String::new(),
            generation: 1,
            created: 0,
            labels: ferrolb_core::labels::Labels::default(),
            annotations: BTreeMap::new(),
            spec: Spec::of(json!(null)),
        };
        let advertisement = ObjectView {
            kind: Kind::L2Advertisement,
            ..pool.clone()
        };
        let said = |text: Option<&str>, views: &[ObjectView]| {
            let text = text.map(|text| (String::new(), config::parse(text)));
            already(&Configured::of(text, None), views, "lb", "config")
        };
        assert_eq!(said(None, &[advertisement]), None);
        assert_eq!(
            said(None, &[pool]).as_deref(),
            Some("namespace lb has 1 IPAddressPool")
        );
        assert_eq!(
            said(Some("address-pools: ["), &[]).as_deref(),
            Some("ConfigMap lb/config has a configuration with errors")
        );
        assert_eq!(said(Some(""), &[]), None);
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
