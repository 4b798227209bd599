//! MetalLB's configuration out of a cluster.

use anyhow::{Context, bail};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, ListParams};
use serde_yaml::Value;

use super::metallb::Found;
use crate::cluster::Cluster;
use ferrolb_core::names::DEFAULT_CONFIG_NAME;

/// Kind, plural, and the versions that there have been, newest first.
const KINDS: [(&str, &str, &[&str]); 6] = [
    ("IPAddressPool", "ipaddresspools", &["v1beta1"]),
    ("L2Advertisement", "l2advertisements", &["v1beta1"]),
    ("BGPAdvertisement", "bgpadvertisements", &["v1beta1"]),
    ("BGPPeer", "bgppeers", &["v1beta2", "v1beta1"]),
    ("BFDProfile", "bfdprofiles", &["v1beta1"]),
    ("Community", "communities", &["v1beta1"]),
];

/// What is in force in this namespace: the objects, where there are any; they are read by a MetalLB
/// that no longer reads a ConfigMap.
pub(super) async fn read(cluster: &Cluster, namespace: &str) -> anyhow::Result<Found> {
    let mut found = Found::default();
    for (kind, plural, versions) in KINDS {
        for object in list(cluster, namespace, kind, plural, versions).await? {
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

/// None, where the cluster does not know the kind.
async fn list(
    cluster: &Cluster,
    namespace: &str,
    kind: &str,
    plural: &str,
    versions: &[&str],
) -> anyhow::Result<Vec<DynamicObject>> {
    for version in versions {
        let resource = ApiResource {
            group: "metallb.io".to_owned(),
            version: (*version).to_owned(),
            api_version: format!("metallb.io/{version}"),
            kind: kind.to_owned(),
            plural: plural.to_owned(),
        };
        let api: Api<DynamicObject> =
            Api::namespaced_with(cluster.client.clone(), namespace, &resource);
        match api.list(&ListParams::default()).await {
            Ok(listed) => {
                let typed = listed.items.into_iter().map(|mut object| {
                    // Items of a list do not say what they are.
                    object.types = Some(kube::api::TypeMeta {
                        api_version: resource.api_version.clone(),
                        kind: kind.to_owned(),
                    });
                    object
                });
                return Ok(typed.collect());
            }
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => {
                return Err(error).with_context(|| format!("cannot list {plural} of {namespace}"));
            }
        }
    }
    Ok(Vec::new())
}
