//! `MetalLB`'s objects.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use crate::annotations::OUR_PREFIX;
use crate::config::objects::{Kind, ObjectView, Spec};

/// What an object of `MetalLB`'s says, as it was read in that version of its kind. `spec` is null if it
/// has none.
#[must_use]
pub fn object_view(kind: Kind, version: &str, meta: &ObjectMeta, spec: &Value) -> ObjectView {
    let annotations = meta.annotations.iter().flatten();
    let ours = annotations.filter(|(name, _)| name.starts_with(OUR_PREFIX));
    ObjectView {
        kind,
        api_version: format!("{}/{version}", Kind::GROUP),
        namespace: meta.namespace.clone().unwrap_or_default(),
        name: meta.name.clone().unwrap_or_default(),
        uid: meta.uid.clone().unwrap_or_default(),
        resource_version: meta.resource_version.clone().unwrap_or_default(),
        generation: meta.generation.unwrap_or_default(),
        created: meta
            .creation_timestamp
            .as_ref()
            .map_or(0, |time| time.0.as_second()),
        labels: meta.labels.iter().flatten().collect(),
        annotations: ours
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
        spec: Spec::of(spec.clone()),
    }
}
