//! `kubectl ferrolb cleanup`.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, bail};
use ferrolb_core::config::objects::Kind;
use ferrolb_core::names::{DEFAULT_NAMESPACE, FIELD_MANAGER, SPEAKER_COMPONENT};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service};
use kube::api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde::Serialize;
use serde_json::json;

use crate::cluster::{Cluster, Installation, pages};
use crate::objects::is_unknown;
use crate::output::Format;
use crate::table;

/// Remove what an uninstalled FerroLB left behind.
///
/// An uninstall leaves the addresses in the statuses of Services, so that a new installation keeps them all,
/// and kube-proxy keeps serving them. It also leaves what the daemons created in their namespace: the speakers'
/// key, the controllers' Lease, reports, and statuses of MetalLB's kinds. This removes what FerroLB wrote, and nothing else: the API server
/// remembers who wrote each object. Without --yes it only shows what there is.
///
/// Exit status: 0 if nothing is left, 1 if something is, 2 if the cluster does not answer or FerroLB is still
/// running.
#[derive(Debug, clap::Args)]
pub(crate) struct Cleanup {
    #[command(flatten)]
    installation: Installation,
    /// Remove it.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    format: Format,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    /// Whether what is listed has been taken away.
    done: bool,
    left: Vec<Left>,
}

/// A Service whose status has addresses that we wrote, or an object that we made.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Left {
    namespace: String,
    kind: String,
    name: String,
    addresses: Vec<String>,
}

/// There is something to clean, and nothing was done.
const IS_LEFT: u8 = 1;

impl Cleanup {
    pub(crate) fn run(&self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        self.installation.run(async |cluster| {
            if self.yes {
                refuse_while_it_runs(cluster).await?;
            }
            let services = cluster.services_that_we_wrote().await?;
            let objects = cluster.objects_that_we_made().await?;
            if self.yes {
                for service in &services {
                    cluster.empty(service).await?;
                }
                for object in &objects {
                    cluster.delete(object).await?;
                }
            }
            let left = services.iter().map(Left::service);
            let answer = Answer {
                done: self.yes,
                left: left.chain(objects.iter().map(Left::object)).collect(),
            };
            self.format.print(out, &answer, |out| text(out, &answer))?;
            Ok(if answer.done || answer.left.is_empty() {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(IS_LEFT)
            })
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
            "FerroLB is still running (pod {}/{}): uninstall it first",
            daemon.namespace,
            daemon.pod
        ),
        None => Ok(()),
    }
}

impl Cluster {
    async fn services_that_we_wrote(&self) -> anyhow::Result<Vec<Service>> {
        self.every(|service| has_our_addresses(&service).then_some(service))
            .await
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
                    "cannot clear the status of {namespace}/{}",
                    service.name_any()
                )
            })
            .map(drop)
    }
}

/// What the daemons make themselves, besides statuses and Events. Not every cluster has the last two.
fn kinds() -> [ApiResource; 5] {
    let reporting = |kind: &str, plural: &str| ApiResource {
        group: Kind::GROUP.to_owned(),
        version: "v1beta1".to_owned(),
        api_version: format!("{}/v1beta1", Kind::GROUP),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    };
    [
        ApiResource::erase::<ConfigMap>(&()),
        ApiResource::erase::<Lease>(&()),
        ApiResource::erase::<Secret>(&()),
        reporting("ConfigurationState", "configurationstates"),
        reporting("ServiceL2Status", "servicel2statuses"),
    ]
}

/// An object of one of [`kinds`].
struct Made {
    kind: ApiResource,
    namespace: String,
    name: String,
}

impl Cluster {
    async fn objects_that_we_made(&self) -> anyhow::Result<Vec<Made>> {
        let namespace = self
            .system_namespace
            .as_deref()
            .unwrap_or(DEFAULT_NAMESPACE);
        let mut made = Vec::new();
        for kind in kinds() {
            let api: Api<DynamicObject> =
                Api::namespaced_with(self.client.clone(), namespace, &kind);
            let ours = |object: DynamicObject| {
                is_made_by_us(&object).then(|| Made {
                    kind: kind.clone(),
                    namespace: namespace.to_owned(),
                    name: object.name_any(),
                })
            };
            match pages(&api, &kind.plural, ours).await {
                Ok(ours) => made.extend(ours),
                Err(error) if kind.group == Kind::GROUP && is_unknown(&error) => {}
                Err(error) => return Err(error).with_context(|| format!("in {namespace}")),
            }
        }
        Ok(made)
    }

    async fn delete(&self, object: &Made) -> anyhow::Result<()> {
        let Made {
            kind,
            namespace,
            name,
        } = object;
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, kind);
        api.delete(name, &DeleteParams::default())
            .await
            .with_context(|| format!("cannot delete {} {namespace}/{name}", kind.kind))
            .map(drop)
    }
}

/// Whether nobody but our daemons has ever written it.
fn is_made_by_us(object: &impl ResourceExt) -> bool {
    let managers = object.managed_fields().iter();
    let mut managers = managers.map(|entry| entry.manager.as_deref().unwrap_or_default());
    let ours = |manager| [FIELD_MANAGER, SPEAKER_COMPONENT].contains(&manager);
    !object.managed_fields().is_empty() && managers.all(ours)
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

impl Left {
    fn service(service: &Service) -> Self {
        Self {
            namespace: service.namespace().unwrap_or_default(),
            kind: "Service".to_owned(),
            name: service.name_any(),
            addresses: addresses(service),
        }
    }

    fn object(object: &Made) -> Self {
        Self {
            namespace: object.namespace.clone(),
            kind: object.kind.kind.clone(),
            name: object.name.clone(),
            addresses: Vec::new(),
        }
    }
}

fn text(out: &mut impl Write, answer: &Answer) -> anyhow::Result<()> {
    if answer.left.is_empty() {
        writeln!(out, "nothing of FerroLB is left")?;
        return Ok(());
    }
    let head = ["NAMESPACE", "KIND", "NAME", "ADDRESSES"].map(str::to_owned);
    let rows = answer.left.iter().map(|left| {
        let Left {
            namespace,
            kind,
            name,
            addresses,
        } = left;
        let addresses = match addresses.as_slice() {
            [] => "-".to_owned(),
            some => some.join(","),
        };
        [namespace.clone(), kind.clone(), name.clone(), addresses]
    });
    let rows: Vec<_> = std::iter::once(head).chain(rows).collect();
    table::print(out, &rows)?;
    if answer.done {
        writeln!(out, "\nall of this was removed")?;
    } else {
        writeln!(out, "\nnothing was removed: add --yes to remove this")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
