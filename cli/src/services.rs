//! `kubectl ferrolb services`.

use std::io::Write;
use std::net::IpAddr;
use std::process::ExitCode;

use anyhow::{Context, bail};
use ferrolb_core::report::ServiceStatus;
use futures::future;
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use serde::Serialize;

use crate::cluster::{Cluster, Scope};
use crate::output::Format;
use crate::speaker::Said;
use crate::table;

/// List the LoadBalancer Services: their addresses, the announcing node, and why one has no address.
///
/// Exit status: 0, or 2 if no controller answers.
#[derive(Debug, clap::Args)]
pub(crate) struct Services {
    #[command(flatten)]
    scope: Scope,
    #[command(flatten)]
    format: Format,
}

#[derive(Serialize)]
struct Answer {
    services: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    #[serde(flatten)]
    service: ServiceStatus,
    /// The nodes that announce its addresses: none where nobody does, null where that is not known.
    nodes: Option<Vec<String>>,
}

impl Services {
    pub(crate) fn run(&self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let scope = &self.scope;
        let (namespace, status, speakers) = scope.services.run(async |cluster| {
            let daemons = cluster.daemons().await?;
            let (status, speakers) =
                future::join(cluster.leader_of(&daemons), cluster.speakers(&daemons)).await;
            Ok((cluster.namespace.clone(), status?, speakers))
        })?;
        let mut services = status.services;
        if !scope.all_namespaces {
            services.retain(|service| service.namespace == namespace);
        }
        let place = if scope.all_namespaces {
            "any namespace".to_owned()
        } else {
            format!("namespace {namespace}; -A looks in all of them")
        };
        let rows = services.into_iter().map(|service| Row {
            nodes: announcers(&service, &speakers),
            service,
        });
        let answer = Answer {
            services: rows.collect(),
        };
        self.format
            .print(out, &answer, |out| text(out, &answer.services, &place))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The name in `svc/NAME`, or in NAME alone.
pub(crate) fn name_of(service: &str) -> anyhow::Result<&str> {
    match service.split_once('/') {
        None => Ok(service),
        Some(("svc" | "service" | "services", name)) => Ok(name),
        Some((kind, _)) => bail!("{kind}: only Services are possible: svc/NAME"),
    }
}

impl Cluster {
    /// The Service of that name.
    pub(crate) async fn service(&self, name: &str) -> anyhow::Result<Service> {
        let namespace = &self.namespace;
        let api: Api<Service> = Api::namespaced(self.client.clone(), namespace);
        api.get_opt(name)
            .await
            .with_context(|| format!("cannot read Service {namespace}/{name}"))?
            .with_context(|| format!("there is no Service {name} in namespace {namespace}"))
    }
}

/// The nodes that announce the Service's addresses. `None` if nobody is known to, and not every speaker
/// was read.
fn announcers(service: &ServiceStatus, speakers: &Said) -> Option<Vec<String>> {
    let addresses = service.addresses.iter();
    let addresses: Vec<IpAddr> = addresses.filter_map(|text| text.parse().ok()).collect();
    let mut nodes = Vec::new();
    let mut all_told = !speakers.is_empty();
    for (node, said) in speakers {
        let Ok(status) = said else {
            all_told = false;
            continue;
        };
        let mut vips = addresses.iter().filter_map(|address| status.vip(*address));
        if vips.any(|vip| vip.announced_here) {
            nodes.push(node.clone());
        }
    }
    (all_told || !nodes.is_empty() || addresses.is_empty()).then_some(nodes)
}

fn text(out: &mut impl Write, services: &[Row], place: &str) -> anyhow::Result<()> {
    if services.is_empty() {
        writeln!(out, "no Services for FerroLB in {place}")?;
        return Ok(());
    }
    let head = ["NAMESPACE", "NAME", "ADDRESSES", "NODE", "POOL", "REASON"];
    let rows: Vec<_> = std::iter::once(head.map(str::to_owned))
        .chain(services.iter().map(row))
        .collect();
    table::print(out, &rows)?;
    let mut services = services.iter().map(|row| &row.service);
    if let Some(first) = services.find(|service| service.problem.is_some()) {
        writeln!(
            out,
            "\nwhy, and what to do: kubectl ferrolb explain -n {} svc/{}",
            first.namespace, first.name
        )?;
    }
    Ok(())
}

fn row(row: &Row) -> [String; 6] {
    let Row { service, nodes } = row;
    let addresses = match service.addresses.as_slice() {
        [] => "<pending>".to_owned(),
        some => some.join(","),
    };
    let or_dash = |text: Option<&str>| text.unwrap_or("-").to_owned();
    [
        service.namespace.clone(),
        service.name.clone(),
        addresses,
        match nodes.as_deref() {
            None => "unknown".to_owned(),
            Some([]) => "-".to_owned(),
            Some(nodes) => nodes.join(","),
        },
        or_dash(service.pool.as_deref()),
        or_dash(
            service
                .problem
                .as_ref()
                .map(|problem| problem.reason.as_str()),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{announcing, controller, printed};

    #[test]
    fn services_are_shown_with_addresses_nodes_and_reasons() {
        let mut speakers = announcing(&["192.168.64.240"]);
        speakers.push((
            "n2".to_owned(),
            Err(anyhow::anyhow!("no answer within 2 s")),
        ));
        let rows: Vec<_> = controller()
            .services
            .into_iter()
            .map(|service| Row {
                nodes: announcers(&service, &speakers),
                service,
            })
            .collect();
        insta::assert_snapshot!(printed(|out| text(out, &rows, "any namespace")), @r"
        NAMESPACE   NAME     ADDRESSES        NODE      POOL      REASON
        shop        api      192.168.64.240   n1        default   -
        shop        web      192.168.64.241   unknown   default   -
        shop        worker   <pending>        -         -         pool_exhausted

        why, and what to do: kubectl ferrolb explain -n shop svc/worker
        ");
    }

    #[test]
    fn an_empty_namespace_is_said_with_the_way_out() {
        let place = "namespace default; -A looks into all";
        insta::assert_snapshot!(printed(|out| text(out, &[], place)));
    }
}
