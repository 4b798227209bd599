//! Removes entries of a `ConfigMap` in which many report.

use std::time::Duration;

use ferrolb_core::names::FIELD_MANAGER;
use ferrolb_core::removal::Removal;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Map, Value, json};
use tokio::time::{sleep, timeout};

/// What could not be removed is tried again after that.
const PAUSE: Duration = Duration::from_secs(5);

/// Removes entries of the one called `name`, and pauses. The API server may take `patience` to answer.
pub(crate) async fn remove(
    api: Api<ConfigMap>,
    name: &'static str,
    removal: Removal,
    patience: Duration,
) {
    let keys = removal.keys.into_iter().map(|key| (key, Value::Null));
    let patch = Patch::Merge(json!({
        "metadata": { "resourceVersion": removal.resource_version },
        "data": Value::Object(keys.collect::<Map<_, _>>()),
    }));
    let params = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    match timeout(patience, api.patch(name, &params, &patch)).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::debug!(name, %error, "cannot remove entries"),
        Err(late) => tracing::debug!(name, %late, "cannot remove entries"),
    }
    sleep(PAUSE).await;
}
