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
use ferrolb_core::view::{ServiceKey, ServiceView};
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::cluster::{Access, Cluster};
use crate::election::Election;
use crate::services::name_of;

/// Move an address to a node, and keep it there.
///
/// It writes the annotation ferrolb.io/move-to on each Service that has the address. The address
/// stays with that node as long as it may announce it, and returns there. Each move resets the
/// connections that are established through the node that has it.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Move {
    /// The address, or a Service that has it: svc/NAME.
    #[arg(value_name = "ADDRESS|svc/NAME")]
    target: String,
    /// The node.
    #[arg(required_unless_present = "clear")]
    node: Option<String>,
    /// Ask for no node any more; that alone moves nothing.
    #[arg(long, conflicts_with = "node")]
    clear: bool,
    #[command(flatten)]
    access: Access,
}

const EXAMPLES: &str = "\
Examples:
  # Before work on the node that has it
  kubectl ferrolb move 192.168.64.240 n3

  # Every address of a Service
  kubectl ferrolb move -n shop svc/web n3

  # No node is preferred any more
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

impl Move {
    pub(crate) fn run(&self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        self.access.run(async |cluster| {
            let target = target(&self.target, &cluster.namespace)?;
            let election = cluster.election(&cluster.daemons().await?).await?;
            let services = services(&election, &target)?;
            let node = self.node.as_deref();
            // Nothing is written before all of it is found to make sense.
            let mut said = Vec::new();
            match node {
                Some(node) => tell_move(&mut said, &election, &services, node, &target)?,
                None => tell_clear(&mut said, &services)?,
            }
            for service in &services {
                if service.move_to.as_deref() != node {
                    cluster.ask_for(&service.key, node).await?;
                }
            }
            out.write_all(&said)?;
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
    Ok(Target::Service(ServiceKey {
        namespace: namespace.to_owned(),
        name: name_of(text)?.to_owned(),
    }))
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
                "{address} is an address of node {} itself: it never moves",
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
        bail!(
            "no Service has the address {address}: kubectl ferrolb services -A shows all that are given"
        );
    }
    Ok(services)
}

/// What follows; `Err` if it would not happen.
fn tell_move(
    out: &mut impl Write,
    election: &Election,
    services: &[&ServiceView],
    node: &str,
    target: &Target,
) -> anyhow::Result<()> {
    if !election.nodes.contains_key(node) {
        return Err(election.unknown_node(node));
    }
    let mut later = Vec::new();
    let assigned = services.iter().flat_map(|service| &service.assigned);
    let addresses: BTreeSet<IpAddr> = assigned.copied().collect();
    for address in &addresses {
        let Some(reason) = obstacle(election, *address, node) else {
            continue;
        };
        match reason {
            // That changes with the pods.
            Reason::NoEndpoint | Reason::NoLocalEndpoint | Reason::EndpointTerminating => {
                later.push((address, reason));
            }
            reason => {
                let explanation = reason.explanation();
                bail!(
                    "{address} would not go to {node}: {} ({reason}): {}",
                    explanation.what,
                    explanation.remedy
                );
            }
        }
    }
    for service in services {
        let already = service.move_to.as_deref() == Some(node);
        let already = if already { " already" } else { "" };
        writeln!(out, "Service {} asks for node {node}{already}", service.key)?;
    }
    for address in &addresses {
        match later.iter().find(|(one, _)| *one == address) {
            None => writeln!(
                out,
                "{address} goes to {node}; connections that are established through another node are \
                 reset"
            )?,
            Some((_, reason)) => writeln!(
                out,
                "{address} does not go to {node} yet: {}",
                reason.explanation().what
            )?,
        }
    }
    if let Some(note) = election.note {
        writeln!(out, "{note}")?;
    }
    writeln!(
        out,
        "it stays with {node} as long as that node may announce it, and returns to it, until: \
         kubectl ferrolb move {target} --clear"
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

fn tell_clear(out: &mut impl Write, services: &[&ServiceView]) -> anyhow::Result<()> {
    for service in services {
        match &service.move_to {
            Some(node) => writeln!(out, "Service {} asks for node {node} no more", service.key)?,
            None => writeln!(out, "Service {} asks for no node", service.key)?,
        }
    }
    writeln!(
        out,
        "nothing moves: the node that announces goes on, and none is preferred"
    )?;
    Ok(())
}

#[cfg(test)]
mod tests;
