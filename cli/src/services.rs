//! `kubectl ferrolb services`.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, bail};
use ferrolb_core::report::ServiceStatus;
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use serde::Serialize;

use crate::cluster::{Cluster, Scope};
use crate::output::Format;
use crate::table;

/// Show the LoadBalancer Services, their addresses, and why one has none.
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
    services: Vec<ServiceStatus>,
}

impl Services {
    pub(crate) fn run(&self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let scope = &self.scope;
        let (namespace, mut services) = scope.services.run(async |cluster| {
            let status = cluster.leader().await?;
            Ok((cluster.namespace.clone(), status.services))
        })?;
        if !scope.all_namespaces {
            services.retain(|service| service.namespace == namespace);
        }
        let place = if scope.all_namespaces {
            "any namespace".to_owned()
        } else {
            format!("namespace {namespace}; -A looks into all")
        };
        let answer = Answer { services };
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
        Some((kind, _)) => bail!("{kind}: it has to be a Service: svc/NAME"),
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

fn text(out: &mut impl Write, services: &[ServiceStatus], place: &str) -> anyhow::Result<()> {
    if services.is_empty() {
        writeln!(out, "no Service for this load balancer in {place}")?;
        return Ok(());
    }
    let head = ["NAMESPACE", "NAME", "ADDRESSES", "POOL", "REASON"];
    let rows: Vec<_> = std::iter::once(head.map(str::to_owned))
        .chain(services.iter().map(row))
        .collect();
    table::print(out, &rows)?;
    if let Some(first) = services.iter().find(|service| service.problem.is_some()) {
        writeln!(
            out,
            "\nwhy, and what to do: kubectl ferrolb explain -n {} svc/{}",
            first.namespace, first.name
        )?;
    }
    Ok(())
}

fn row(service: &ServiceStatus) -> [String; 5] {
    let addresses = match service.addresses.as_slice() {
        [] => "<pending>".to_owned(),
        some => some.join(","),
    };
    let or_dash = |text: Option<&str>| text.unwrap_or("-").to_owned();
    [
        service.namespace.clone(),
        service.name.clone(),
        addresses,
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
    use crate::fixtures::{controller, printed};

    #[test]
    fn services_are_shown_with_addresses_and_reasons() {
        let services = controller().services;
        insta::assert_snapshot!(printed(|out| text(out, &services, "any namespace")));
    }

    #[test]
    fn an_empty_namespace_is_said_with_the_way_out() {
        let place = "namespace default; -A looks into all";
        insta::assert_snapshot!(printed(|out| text(out, &[], place)));
    }
}
