//! The compiled object: how it is read and written. What stands in it is
//! `ferrolb_core::compiled`'s.

use std::collections::BTreeMap;
use std::time::Duration;

use ferrolb_core::names::FIELD_MANAGER;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tokio::time::timeout;

/// Like a status.
const TIMEOUT: Duration = Duration::from_secs(2);

/// What is read of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompiledView {
    /// `metadata.uid`
    pub uid: String,
    /// `metadata.resourceVersion`
    pub resource_version: String,
    /// `data`
    pub data: BTreeMap<String, String>,
}

impl CompiledView {
    /// The view of `map`.
    #[must_use]
    pub fn of(map: &ConfigMap) -> Self {
        Self {
            uid: map.metadata.uid.clone().unwrap_or_default(),
            resource_version: map.metadata.resource_version.clone().unwrap_or_default(),
            data: map.data.clone().unwrap_or_default(),
        }
    }
}

/// A change of it, if it still has that version. It is never made here: an uninstall would leave it
/// behind, and a new installation could not make its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompiledWrite {
    /// `metadata.name`
    pub name: String,
    /// `metadata.resourceVersion`
    pub resource_version: String,
    /// `data`; what is null is removed.
    pub data: BTreeMap<String, Option<String>>,
}

/// What came of a write.
#[derive(Debug)]
pub enum Written {
    /// It is as it should be now.
    Done(CompiledView),
    /// It has changed meanwhile: the watch will tell how.
    Conflict,
    /// It failed; for people.
    Failed(String),
}

/// Writes it.
pub async fn send(api: Api<ConfigMap>, write: CompiledWrite) -> Written {
    match timeout(TIMEOUT, try_to_send(&api, write)).await {
        Ok(Ok(map)) => Written::Done(CompiledView::of(&map)),
        // Changed, or gone.
        Ok(Err(kube::Error::Api(status))) if [404, 409].contains(&status.code) => Written::Conflict,
        Ok(Err(error)) => Written::Failed(error.to_string()),
        Err(late) => Written::Failed(late.to_string()),
    }
}

async fn try_to_send(api: &Api<ConfigMap>, write: CompiledWrite) -> kube::Result<ConfigMap> {
    let params = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let patch = Patch::Merge(json!({
        "metadata": { "resourceVersion": write.resource_version },
        "data": write.data,
    }));
    api.patch(&write.name, &params, &patch).await
}
