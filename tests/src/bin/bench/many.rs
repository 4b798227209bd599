//! What the areas with many objects have in common.

use std::fmt::Debug;

use anyhow::Result;
use ferrolb_tests::{Lab, NodeKind, kube_proxy};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use kube::api::PostParams;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Creations at once.
pub(crate) const CLIENTS: usize = 8;

/// A node without kubelet and kube-proxy: both would use the cores that are measured.
pub(crate) fn quiet_lab(name: &str) -> Result<Lab> {
    let lab = Lab::builder(name).nodes(1).kind(NodeKind::Hollow).start()?;
    lab.stop(&kube_proxy::process_name(lab.host("n1")?))?;
    Ok(lab)
}

/// Creates Services of these names, each of which selects pods of a label that none has.
pub(crate) async fn create_services(
    api: &Api<Service>,
    names: impl IntoIterator<Item = String>,
) -> Result<()> {
    let service = |name: String| {
        json!({
            "metadata": { "name": name },
            "spec": { "type": "LoadBalancer", "allocateLoadBalancerNodePorts": false,
                      "selector": { "app": name }, "ports": [{ "port": 80 }] },
        })
    };
    create_all(api, names.into_iter().map(service)).await
}

/// Creates objects, some of them at once.
pub(crate) async fn create_all<K>(
    api: &Api<K>,
    objects: impl IntoIterator<Item = Value>,
) -> Result<()>
where
    K: Clone + Debug + DeserializeOwned + Serialize,
{
    let created = futures::stream::iter(objects).map(async |object| {
        let object: K = serde_json::from_value(object)?;
        api.create(&PostParams::default(), &object).await?;
        anyhow::Ok(())
    });
    created.buffer_unordered(CLIENTS).try_collect::<()>().await
}
