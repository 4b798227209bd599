//! Status writes: fenced by the version that was decided on, and nothing else is touched.

use std::sync::Arc;

use ferrolb_core::lease::WRITE_TIMEOUT;
use ferrolb_core::names::FIELD_MANAGER;
use ferrolb_kube::answer::version_after;
use k8s_openapi::api::core::v1::Service;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::Request;
use kube::{Api, Client, Error, ResourceExt};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::index::{Update, WriteOutcome};

/// How a status may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// A merge patch of `services/status`: one request.
    Patch,
    /// GET, compare, change, PUT: where `patch` is not allowed. A PUT replaces the metadata too,
    /// so it has to carry what was read.
    Replace,
}

/// Writes statuses.
#[derive(Clone)]
pub struct Writer {
    client: Client,
    method: Method,
    /// Whole Services are in memory while they are replaced: one after another.
    replaces: Arc<Semaphore>,
}

impl Writer {
    /// Writes in that way.
    #[must_use]
    pub fn new(client: Client, method: Method) -> Self {
        let replaces = Arc::new(Semaphore::new(1));
        Self {
            client,
            method,
            replaces,
        }
    }

    /// Writes one status.
    pub async fn write(&self, update: &Update) -> WriteOutcome {
        let service = &update.key;
        let written = match self.method {
            Method::Patch => tokio::time::timeout(WRITE_TIMEOUT, self.patch(update)).await,
            Method::Replace => {
                // Never closed.
                let _turn = self.replaces.acquire().await;
                tokio::time::timeout(WRITE_TIMEOUT, self.replace(update)).await
            }
        };
        match written {
            Err(_) => {
                tracing::warn!(%service, seconds = WRITE_TIMEOUT.as_secs(), "status write timed out");
                WriteOutcome::Failed
            }
            Ok(Ok(outcome)) => outcome,
            Ok(Err(Error::Api(status))) if status.code == 409 => WriteOutcome::Conflict,
            Ok(Err(Error::Api(status))) if status.code == 404 => WriteOutcome::Gone,
            Ok(Err(error)) => {
                tracing::warn!(%service, %error, "cannot write the status, trying again");
                WriteOutcome::Failed
            }
        }
    }

    // Not typed: a field that this version does not know must survive a PUT.
    fn api(&self, update: &Update) -> Api<DynamicObject> {
        let resource = ApiResource::erase::<Service>(&());
        Api::namespaced_with(self.client.clone(), &update.key.namespace, &resource)
    }

    async fn patch(&self, update: &Update) -> kube::Result<WriteOutcome> {
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..Default::default()
        };
        let patch = Patch::Merge(json!({
            "metadata": { "resourceVersion": update.resource_version },
            "status": { "loadBalancer": { "ingress": ingress(update) } },
        }));
        let request = Request::new(self.api(update).resource_url());
        let request = request
            .patch_subresource("status", &update.key.name, &params, &patch)
            .map_err(Error::BuildRequest)?;
        let version = version_after(&self.client, request).await?;
        Ok(WriteOutcome::Written {
            resource_version: version.unwrap_or_default(),
        })
    }

    async fn replace(&self, update: &Update) -> kube::Result<WriteOutcome> {
        let api = self.api(update);
        let mut service = api.get(&update.key.name).await?;
        if service.resource_version().as_deref() != Some(update.resource_version.as_str()) {
            return Ok(WriteOutcome::Conflict);
        }
        let status = &mut service.data["status"]["loadBalancer"];
        *status = json!({ "ingress": ingress(update) });
        let params = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            dry_run: false,
        };
        let body = serde_json::to_vec(&service).map_err(Error::SerdeError)?;
        let request = Request::new(api.resource_url());
        let request = request
            .replace_subresource("status", &update.key.name, &params, body)
            .map_err(Error::BuildRequest)?;
        let version = version_after(&self.client, request).await?;
        Ok(WriteOutcome::Written {
            resource_version: version.unwrap_or_default(),
        })
    }
}

/// `ipMode: VIP` always: with `Proxy`, kube-proxy makes no rules at all.
fn ingress(update: &Update) -> Value {
    let entries = update.addresses.iter();
    let entries: Vec<_> = entries
        .map(|address| json!({ "ip": address.to_string(), "ipMode": "VIP" }))
        .collect();
    // In a merge patch null removes the list.
    if entries.is_empty() {
        Value::Null
    } else {
        entries.into()
    }
}
