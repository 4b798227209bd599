//! MetalLB's configuration out of a cluster.

use anyhow::{Context, bail};
use ferrolb_core::config::objects::Kind;
use ferrolb_core::names::DEFAULT_CONFIG_NAME;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use serde_yaml::Value;

use super::metallb::Found;
use crate::cluster::Cluster;

/// What is in force in this namespace: the objects, where there are any; they are read by a MetalLB
/// that no longer reads a ConfigMap.
pub(super) async fn read(cluster: &Cluster, namespace: &str) -> anyhow::Result<Found> {
    let mut found = Found::default();
    for kind in Kind::ALL {
        let listed = cluster.objects_of(namespace, kind).await?;
        for object in listed.map(|(_, listed)| listed).into_iter().flatten() {
            found.take(serde_yaml::to_value(object)?)?;
        }
    }
    if found.objects.is_empty() {
        let api: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), namespace);
        let map = api
            .get_opt(DEFAULT_CONFIG_NAME)
            .await
            .with_context(|| format!("cannot read ConfigMap {namespace}/{DEFAULT_CONFIG_NAME}"))?;
        let Some(map) = map else {
            bail!(
                "namespace {namespace} has no MetalLB objects and no ConfigMap \
                 {DEFAULT_CONFIG_NAME}: use --from to say where MetalLB is, or give files"
            );
        };
        let mut value = serde_yaml::to_value(map)?;
        if let Value::Mapping(map) = &mut value {
            map.insert("kind".into(), "ConfigMap".into());
        }
        found.take(value)?;
    }
    Ok(found)
}
