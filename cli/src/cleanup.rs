//! `kubectl ferrolb cleanup`.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, bail};
use ferrolb_core::names::FIELD_MANAGER;
use k8s_openapi::api::core::v1::Service;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;

use crate::cluster::{Access, Cluster};
use crate::table;

/// Take away the addresses that FerroLB gave, after it has been uninstalled.
///
/// An uninstalled FerroLB leaves the statuses of Services as they are, so that a new installation
/// keeps every address, and kube-proxy goes on serving them. This empties the statuses that FerroLB
/// wrote, and those alone: the API server remembers who wrote each. Without --yes it only shows them.
///
/// Exit status: 0 if nothing is left to do, 1 if there is, 2 if the cluster cannot be asked or FerroLB
/// still runs.
#[derive(Debug, clap::Args)]
pub(crate) struct Cleanup {
    #[command(flatten)]
    access: Access,
    /// Do it.
    #[arg(long)]
    yes: bool,
}

/// There is something to clean, and nothing was done.
const LEFT: u8 = 1;
/// Of a list.
const PAGE: u32 = 500;

impl Cleanup {
    pub(crate) fn run(&self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        self.access.run(async |cluster| {
            if self.yes {
                refuse_while_it_runs(cluster).await?;
            }
            let services = cluster.services_that_we_wrote().await?;
            if services.is_empty() {
                writeln!(out, "no Service has an address that FerroLB gave")?;
                return Ok(ExitCode::SUCCESS);
            }
            if self.yes {
                for service in &services {
                    cluster.empty(service).await?;
                }
            }
            print(out, &services)?;
            if self.yes {
                return Ok(ExitCode::SUCCESS);
            }
            writeln!(
                out,
                "\nnothing is done yet: add --yes to take these addresses away"
            )?;
            Ok(ExitCode::from(LEFT))
        })
    }
}

/// A controller that runs gives the addresses back at once.
async fn refuse_while_it_runs(cluster: &Cluster) -> anyhow::Result<()> {
    let daemons = cluster.daemons().await?;
    let ours = daemons
        .iter()
        .find(|daemon| daemon.image.contains("ferrolb/"));
    match ours {
        Some(daemon) => bail!(
            "FerroLB still runs (pod {}/{}): uninstall it first",
            daemon.namespace,
            daemon.pod
        ),
        None => Ok(()),
    }
}

impl Cluster {
    async fn services_that_we_wrote(&self) -> anyhow::Result<Vec<Service>> {
        let api: Api<Service> = Api::all(self.client.clone());
        let mut params = ListParams::default().limit(PAGE);
        let mut ours = Vec::new();
        loop {
            let page = api.list(&params).await.context("cannot list Services")?;
            let next = page
                .metadata
                .continue_
                .clone()
                .filter(|more| !more.is_empty());
            ours.extend(page.items.into_iter().filter(has_our_addresses));
            match next {
                Some(more) => params = params.continue_token(&more),
                None => return Ok(ours),
            }
        }
    }

    async fn empty(&self, service: &Service) -> anyhow::Result<()> {
        let namespace = service.namespace().unwrap_or_default();
        let api: Api<Service> = Api::namespaced(self.client.clone(), &namespace);
        // The version that was judged: a status that somebody else has written since is left alone.
        let patch = json!({
            "metadata": { "resourceVersion": service.resource_version() },
            "status": { "loadBalancer": { "ingress": null } },
        });
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        api.patch_status(&service.name_any(), &params, &Patch::Merge(&patch))
            .await
            .with_context(|| {
                format!(
                    "cannot empty the status of {namespace}/{}",
                    service.name_any()
                )
            })
            .map(drop)
    }
}

/// Whether the addresses in the status are there, and last written by our controller.
fn has_our_addresses(service: &Service) -> bool {
    let wrote = service.managed_fields().iter().any(|entry| {
        let fields = entry.fields_v1.as_ref().map(|fields| &fields.0);
        entry.manager.as_deref() == Some(FIELD_MANAGER)
            && fields
                .is_some_and(|fields| !fields["f:status"]["f:loadBalancer"]["f:ingress"].is_null())
    });
    wrote && !addresses(service).is_empty()
}

fn addresses(service: &Service) -> Vec<String> {
    let status = service.status.as_ref();
    let balancer = status.and_then(|status| status.load_balancer.as_ref());
    let ingress = balancer.and_then(|balancer| balancer.ingress.as_ref());
    let ingress = ingress.into_iter().flatten();
    ingress.filter_map(|one| one.ip.clone()).collect()
}

fn print(out: &mut impl Write, services: &[Service]) -> anyhow::Result<()> {
    let head = ["NAMESPACE", "NAME", "ADDRESSES"].map(str::to_owned);
    let row = |service: &Service| {
        [
            service.namespace().unwrap_or_default(),
            service.name_any(),
            addresses(service).join(","),
        ]
    };
    let rows: Vec<_> = std::iter::once(head)
        .chain(services.iter().map(row))
        .collect();
    table::print(out, &rows)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(manager: &str, fields: serde_json::Value, ingress: serde_json::Value) -> Service {
        serde_json::from_value(json!({
            "metadata": { "name": "web", "managedFields": [
                { "manager": "kubectl", "operation": "Update", "fieldsV1": { "f:spec": {} } },
                { "manager": manager, "operation": "Update", "subresource": "status", "fieldsV1": fields },
            ] },
            "status": { "loadBalancer": { "ingress": ingress } },
        }))
        .unwrap()
    }

    #[test]
    fn only_addresses_that_our_controller_wrote_are_ours() {
        let wrote = json!({ "f:status": { "f:loadBalancer": { "f:ingress": {} } } });
        let address = json!([{ "ip": "192.168.64.4" }]);
        assert!(has_our_addresses(&service(
            FIELD_MANAGER,
            wrote.clone(),
            address.clone()
        )));
        // MetalLB's controller; a condition of ours; a status that is empty already.
        assert!(!has_our_addresses(&service(
            "controller",
            wrote.clone(),
            address.clone()
        )));
        let condition = json!({ "f:status": { "f:conditions": {} } });
        assert!(!has_our_addresses(&service(
            FIELD_MANAGER,
            condition,
            address
        )));
        assert!(!has_our_addresses(&service(
            FIELD_MANAGER,
            wrote,
            json!([])
        )));
    }
}
