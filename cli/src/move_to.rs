//! `kubectl ferrolb move`.

use std::collections::BTreeSet;
use std::fmt;
use std::io::Write;
use std::net::IpAddr;
use std::process::ExitCode;

use anyhow::{Context, bail};
use ferrolb_core::Reason;
use ferrolb_core::address::canonical;
use ferrolb_core::names::ANNOTATION_MOVE_TO;
use ferrolb_core::report::Explained;
use ferrolb_core::view::{ServiceKey, ServiceView};
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde::Serialize;
use serde_json::{Value, json};

use crate::cluster::{Cluster, OfServices};
use crate::election::Election;
use crate::output::Format;
use crate::service::name_of;

/// Move an address to a node, and keep it there.
///
/// It sets the annotation ferrolb.io/move-to on each Service that has the address. The address stays with
/// that node for as long as the node may announce it, and returns to it. Each move resets the connections in
/// use through the old node.
///
/// Exit status: 0 if the Services ask for the node, 2 if that cannot work (it says why) or the cluster does not
/// answer, and nothing was written.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Move {
    /// The address, or a Service that has it: svc/NAME.
    #[arg(value_name = "ADDRESS|svc/NAME")]
    target: String,
    /// The node.
    #[arg(required_unless_present = "clear")]
    node: Option<String>,
    /// Remove the preference. This moves nothing by itself.
    #[arg(long, conflicts_with = "node")]
    clear: bool,
    #[command(flatten)]
    services: OfServices,
    #[command(flatten)]
    format: Format,
}

const EXAMPLES: &str = "\
Examples:
  # Before work on the node that has it
  kubectl ferrolb move 192.168.64.240 n3

  # Every address of a Service
  kubectl ferrolb move -n shop svc/web n3

  # Remove the preference
  kubectl ferrolb move 192.168.64.240 --clear";

/// What the user named.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Target {
    Address(IpAddr),
    Service(ServiceKey),
}

/// As the command line takes it, in whatever namespace.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address}"),
            Self::Service(ServiceKey { namespace, name }) => write!(f, "-n {namespace} svc/{name}"),
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    /// The node that is asked for; null if none is any more.
    node: Option<String>,
    services: Vec<Asking>,
    addresses: Vec<Going>,
    /// What else is worth knowing.
    notes: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Asking {
    namespace: String,
    name: String,
    /// The node that it has asked for so far.
    before: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Going {
    address: IpAddr,
    /// Why it does not go there yet.
    problem: Option<Explained>,
}

impl Move {
    pub(crate) fn run(&self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        self.services.run(async |cluster| {
            let target = target(&self.target, &cluster.namespace)?;
            let election = cluster.election(&cluster.daemons().await?).await?;
            let services = services(&election, &target)?;
            let node = self.node.as_deref();
            // Nothing is written before all of it is found to make sense.
            let answer = answer(&election, &services, node)?;
            for service in &services {
                if service.move_to.as_deref() != node {
                    cluster.ask_for(&service.key, node).await?;
                }
            }
            self.format
                .print(out, &answer, |out| text(out, &answer, &target))?;
            Ok(ExitCode::SUCCESS)
        })
    }
}

impl Cluster {
    pub(crate) async fn ask_for(
        &self,
        service: &ServiceKey,
        node: Option<&str>,
    ) -> anyhow::Result<()> {
        let api: Api<Service> = Api::namespaced(self.client.clone(), &service.namespace);
        let patch = Patch::Merge(patch(node));
        api.patch(&service.name, &PatchParams::default(), &patch)
            .await
            .with_context(|| format!("cannot annotate Service {service}"))
            .map(drop)
    }
}

/// RFC 7396: null takes away.
fn patch(node: Option<&str>) -> Value {
    json!({ "metadata": { "annotations": { ANNOTATION_MOVE_TO: node } } })
}

fn target(text: &str, namespace: &str) -> anyhow::Result<Target> {
    if let Some(address) = canonical(text) {
        return Ok(Target::Address(address));
    }
    if !text.contains('/') {
        bail!("{text} is neither an address nor svc/NAME");
    }
    Ok(Target::Service(ServiceKey::new(namespace, name_of(text)?)))
}

/// Every Service at the address, or at those of the Service: an address moves for all of them.
fn services<'a>(election: &'a Election, target: &Target) -> anyhow::Result<Vec<&'a ServiceView>> {
    let addresses = match target {
        Target::Address(address) => vec![*address],
        Target::Service(key) => {
            let service = election.service(key);
            let service = service.with_context(|| format!("there is no Service {key}"))?;
            if service.assigned.is_empty() {
                bail!("Service {key} has no address: kubectl ferrolb explain {target}");
            }
            service.assigned.clone()
        }
    };
    if let [address] = addresses.as_slice() {
        let mut nodes = election.nodes.values();
        if let Some(node) = nodes.find(|node| node.addresses.contains(address)) {
            bail!(
                "{address} is node {}'s own address: it never moves",
                node.name
            );
        }
    }
    let services = election.services.iter();
    let has_one = |service: &&ServiceView| {
        service.load_balancer && service.assigned.iter().any(|one| addresses.contains(one))
    };
    let services: Vec<_> = services.filter(has_one).collect();
    if services.is_empty() {
        let Target::Address(address) = target else {
            bail!("the Service is not of type LoadBalancer");
        };
        bail!("no Service has the address {address}: kubectl ferrolb services -A lists them all");
    }
    Ok(services)
}

/// What follows; `Err` if it would not happen.
fn answer(
    election: &Election,
    services: &[&ServiceView],
    node: Option<&str>,
) -> anyhow::Result<Answer> {
    let asking = services.iter().map(|service| Asking {
        namespace: service.key.namespace.to_string(),
        name: service.key.name.to_string(),
        before: service.move_to.as_deref().map(str::to_owned),
    });
    let (addresses, note) = match node {
        Some(node) => (going(election, services, node)?, election.note),
        None => (Vec::new(), None),
    };
    Ok(Answer {
        node: node.map(str::to_owned),
        services: asking.collect(),
        addresses,
        notes: note.map(str::to_owned).into_iter().collect(),
    })
}

fn going(election: &Election, services: &[&ServiceView], node: &str) -> anyhow::Result<Vec<Going>> {
    if !election.nodes.contains_key(node) {
        return Err(election.unknown_node(node));
    }
    let assigned = services.iter().flat_map(|service| &service.assigned);
    let addresses: BTreeSet<IpAddr> = assigned.copied().collect();
    let mut going = Vec::new();
    for address in addresses {
        let reason = obstacle(election, address, node);
        let problem = reason.map(|reason| (reason, reason.explanation()));
        going.push(Going {
            address,
            problem: match problem {
                None => None,
                // That changes with the pods.
                Some((
                    reason @ (Reason::NoEndpoint
                    | Reason::NoLocalEndpoint
                    | Reason::EndpointTerminating),
                    explanation,
                )) => Some(Explained {
                    reason: reason.into(),
                    message: explanation.what.to_owned(),
                }),
                Some((reason, explanation)) => bail!(
                    "{address} would not go to {node}: {} ({reason}): {}",
                    explanation.what,
                    explanation.remedy
                ),
            },
        });
    }
    Ok(going)
}

fn text(out: &mut impl Write, answer: &Answer, target: &Target) -> anyhow::Result<()> {
    for one in &answer.services {
        let service = format!("Service {}/{}", one.namespace, one.name);
        match (&answer.node, &one.before) {
            (Some(node), Some(before)) if node == before => {
                writeln!(out, "{service} already asks for node {node}")?;
            }
            (Some(node), _) => writeln!(out, "{service} asks for node {node}")?,
            (None, Some(before)) => writeln!(out, "{service} no longer asks for node {before}")?,
            (None, None) => writeln!(out, "{service} asks for no node")?,
        }
    }
    let Some(node) = &answer.node else {
        writeln!(
            out,
            "nothing moves at once: the announcing node keeps the address, unless another one is \
             preferred (preferred-nodes) and takes it after 30 s"
        )?;
        return Ok(());
    };
    for Going { address, problem } in &answer.addresses {
        match problem {
            None => writeln!(
                out,
                "{address} goes to {node}; connections in use through another node are reset"
            )?,
            Some(problem) => writeln!(
                out,
                "{address} does not go to {node} yet: {}",
                problem.message
            )?,
        }
    }
    for note in &answer.notes {
        writeln!(out, "{note}")?;
    }
    writeln!(
        out,
        "it stays with {node} for as long as that node may announce it, and returns to it; to undo \
         this: kubectl ferrolb move {target} --clear"
    )?;
    Ok(())
}

/// Why `node` would not be the first to announce the address, once its Services ask for it.
pub(crate) fn obstacle(election: &Election, address: IpAddr, node: &str) -> Option<Reason> {
    let standings = match election.standings(address, Some(node)) {
        Ok(standings) => standings,
        Err(reason) => return Some(reason),
    };
    let candidates = standings.candidates(address);
    if candidates.first().is_some_and(|(first, _)| *first == node) {
        return None;
    }
    match standings.of(node) {
        Ok(tier) => tier.drawback(),
        Err(reason) => Some(reason),
    }
}

#[cfg(test)]
mod tests;
