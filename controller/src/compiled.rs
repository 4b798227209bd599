//! The compiled object, `ferrolb-config`: how it is read and written. What stands in it is
//! `ferrolb_core::compiled`'s.

use std::collections::BTreeMap;
use std::time::Duration;

use ferrolb_core::names::{COMPILED_NAME, FIELD_MANAGER};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
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

/// A write of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CompiledWrite {
    /// There is none: an empty one is made. Only then its uid is known, which has to stand in it.
    Create,
    /// It is changed, if it still has that version.
    Change {
        /// `metadata.resourceVersion`
        resource_version: String,
        /// `data`; what is null is removed.
        data: BTreeMap<String, Option<String>>,
    },
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
        // Not there any more, or there by now.
        Ok(Err(kube::Error::Api(status))) if [404, 409].contains(&status.code) => Written::Conflict,
        Ok(Err(error)) => Written::Failed(error.to_string()),
        Err(late) => Written::Failed(late.to_string()),
    }
}

async fn try_to_send(api: &Api<ConfigMap>, write: CompiledWrite) -> kube::Result<ConfigMap> {
    match write {
        CompiledWrite::Create => {
            let map = ConfigMap {
                metadata: ObjectMeta {
                    name: Some(COMPILED_NAME.to_owned()),
                    ..ObjectMeta::default()
                },
                ..ConfigMap::default()
            };
            let params = PostParams {
                field_manager: Some(FIELD_MANAGER.to_owned()),
                dry_run: false,
            };
            api.create(&params, &map).await
        }
        CompiledWrite::Change {
            resource_version,
            data,
        } => {
            let params = PatchParams {
                field_manager: Some(FIELD_MANAGER.to_owned()),
                ..PatchParams::default()
            };
            let patch = Patch::Merge(json!({
                "metadata": { "resourceVersion": resource_version },
                "data": data,
            }));
            api.patch(COMPILED_NAME, &params, &patch).await
        }
    }
}
