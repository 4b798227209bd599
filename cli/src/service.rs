//! A Service that the user names.

use anyhow::{Context, bail};
use k8s_openapi::api::core::v1::Service;
use kube::Api;

use crate::cluster::Cluster;

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
