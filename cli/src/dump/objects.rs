//! Objects of the API server, as they are.

use anyhow::{Context, anyhow};
use ferrolb_core::config::objects::Kind;
use ferrolb_core::names::{CONFLICTS_NAME, LABEL_SERVICE_NAME};
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{ApiResource, DynamicObject};
use kube::{Api, Resource, ResourceExt};
use serde_json::json;

use crate::cluster::{Cluster, pages};

/// What kubectl writes.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Files with objects, or why there are none.
type Files = Vec<(String, anyhow::Result<String>)>;

/// What the daemons read, and what they run as.
pub(super) async fn all(cluster: &Cluster, namespace: &str, compiled: &str) -> Files {
    let services = everywhere::<Service>(cluster).await.map(|services| {
        let is_ours = |one: &DynamicObject| one.data["spec"]["type"] == "LoadBalancer";
        services.into_iter().filter(is_ours).collect::<Vec<_>>()
    });
    let keys: Vec<_> = services
        .iter()
        .flatten()
        .map(|service| (service.namespace(), service.name_any()))
        .collect();
    let of_a_service = |slice: &DynamicObject| {
        let service = slice.labels().get(LABEL_SERVICE_NAME);
        service.is_some_and(|name| keys.contains(&(slice.namespace(), name.clone())))
    };
    let slices = everywhere::<EndpointSlice>(cluster).await;
    let slices = slices.map(|all| all.into_iter().filter(of_a_service).collect());
    let compiled = of_name::<ConfigMap>(cluster, namespace, compiled).await;
    let conflicts = of_name::<ConfigMap>(cluster, namespace, CONFLICTS_NAME).await;
    vec![
        file("services.yaml", services),
        file("endpointslices.yaml", slices),
        file("nodes.yaml", everywhere::<Node>(cluster).await),
        file("events.yaml", everywhere::<Event>(cluster).await),
        file("pods.yaml", of::<Pod>(cluster, namespace).await),
        file("daemonsets.yaml", of::<DaemonSet>(cluster, namespace).await),
        file(
            "deployments.yaml",
            of::<Deployment>(cluster, namespace).await,
        ),
        file("leases.yaml", of::<Lease>(cluster, namespace).await),
        file("conflicts.yaml", conflicts),
        file("objects.yaml", of_metallb(cluster, namespace).await),
        file("compiled.yaml", compiled),
    ]
}

/// The configuration, without passwords.
pub(super) async fn config(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
) -> anyhow::Result<String> {
    let found = of_name::<ConfigMap>(cluster, namespace, name).await?;
    let map = found
        .first()
        .with_context(|| format!("there is no ConfigMap {namespace}/{name}"))?;
    let text = map.data["data"]["config"].as_str();
    let text = text.with_context(|| format!("ConfigMap {namespace}/{name} has no key config"))?;
    Ok(without_passwords(text))
}

/// The text, read as lines: one that cannot be read as YAML has to be passed on, too.
fn without_passwords(text: &str) -> String {
    const KEY: &str = "password";
    let line = |line: &str| {
        let Some(at) = line.find(KEY) else {
            return line.to_owned();
        };
        // In a flow mapping what stands behind is lost as well: better too much than too little.
        let (before, _) = line.split_at(at);
        format!("{before}{KEY}: \"(removed)\"")
    };
    let lines: Vec<_> = text.lines().map(line).collect();
    lines.join("\n") + "\n"
}

/// MetalLB's objects, without passwords.
async fn of_metallb(cluster: &Cluster, namespace: &str) -> anyhow::Result<Vec<DynamicObject>> {
    let mut all = Vec::new();
    for kind in Kind::ALL {
        let listed = cluster.objects_of(namespace, kind).await?;
        all.extend(listed.map(|(_, listed)| listed).into_iter().flatten());
    }
    for object in &mut all {
        let removed = json!("(removed)");
        if let Some(password) = object.data.pointer_mut("/spec/password") {
            *password = removed;
        }
        // kubectl keeps a copy of what was applied in an annotation.
        if let Some(annotations) = &mut object.metadata.annotations {
            annotations.remove(LAST_APPLIED);
        }
    }
    Ok(all)
}

async fn everywhere<K: Resource<DynamicType = ()>>(
    cluster: &Cluster,
) -> anyhow::Result<Vec<DynamicObject>> {
    let kind = ApiResource::erase::<K>(&());
    let api = Api::all_with(cluster.client.clone(), &kind);
    pages(&api, &kind.plural, Some).await
}

async fn of<K: Resource<DynamicType = ()>>(
    cluster: &Cluster,
    namespace: &str,
) -> anyhow::Result<Vec<DynamicObject>> {
    let kind = ApiResource::erase::<K>(&());
    let api = Api::namespaced_with(cluster.client.clone(), namespace, &kind);
    pages(&api, &kind.plural, Some).await
}

async fn of_name<K: Resource<DynamicType = ()>>(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
) -> anyhow::Result<Vec<DynamicObject>> {
    let kind = ApiResource::erase::<K>(&());
    let api = Api::<DynamicObject>::namespaced_with(cluster.client.clone(), namespace, &kind);
    let found = api.get_opt(name).await;
    let found = found.with_context(|| format!("cannot read {} {namespace}/{name}", kind.kind))?;
    Ok(found.into_iter().collect())
}

fn file(
    name: &str,
    objects: anyhow::Result<Vec<DynamicObject>>,
) -> (String, anyhow::Result<String>) {
    let text = objects.and_then(|items| {
        serde_yaml::to_string(&json!({ "apiVersion": "v1", "kind": "List", "items": items }))
            .map_err(|error| anyhow!(error))
    });
    (name.to_owned(), text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_in_no_line_however_it_is_written() {
        let text = "peers:\n- peer-address: 10.0.0.1\n  password: hunter2\n\
                    - {peer-address: 10.0.0.2, \"password\": 'hunter2', my-asn: 1}\n\
                    - {'password' : hunter2}\naddress-pools: []\n";
        let kept = without_passwords(text);
        assert!(!kept.contains("hunter2"), "{kept}");
        for rest in ["peer-address: 10.0.0.1", "10.0.0.2", "address-pools: []"] {
            assert!(kept.contains(rest), "{kept}");
        }
    }
}
