//! API objects to what is read of them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{ConfigMap, Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::IGNORE;
use super::judge::NodeFacts;
use super::serving::{Endpoint, Pod, ServiceFacts, SliceFacts};
use super::vote::{LONGEST_ENTRY, VotesView};
use crate::address::canonical;
use crate::k8s::key;
use crate::names::ANNOTATION_DEAD_NODE;
use crate::names::LABEL_SERVICE_NAME;
use crate::view::ServiceKey;

/// Who makes the slices that follow pods: others do not follow a pod's readiness.
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const CONTROLLER: &str = "endpointslice-controller.k8s.io";

/// Whether a Service or a Namespace is annotated so that its pods are left alone.
#[must_use]
pub fn ignores_dead_nodes(meta: &ObjectMeta) -> bool {
    let annotations = meta.annotations.as_ref();
    annotations
        .and_then(|all| all.get(ANNOTATION_DEAD_NODE))
        .is_some_and(|value| value == IGNORE)
}

/// A Node; `None` without a name, which the API server never sends.
#[must_use]
pub fn node_facts(node: &Node) -> Option<(String, NodeFacts)> {
    let meta = &node.metadata;
    let status = node.status.as_ref();
    let addresses = status.and_then(|status| status.addresses.as_deref());
    let addresses = addresses.unwrap_or_default().iter();
    let addresses = addresses.filter(|one| one.type_ == "InternalIP");
    let addresses = addresses.filter_map(|one| canonical(&one.address));
    let conditions = status.and_then(|status| status.conditions.as_deref());
    let mut conditions = conditions.unwrap_or_default().iter();
    let facts = NodeFacts {
        uid: meta.uid.clone().unwrap_or_default(),
        addresses: addresses.take(4).collect::<Vec<IpAddr>>(),
        ready: conditions.any(|one| one.type_ == "Ready" && one.status == "True"),
    };
    Some((meta.name.clone()?, facts))
}

/// A Service; `None` if nothing about it matters.
#[must_use]
pub fn service_facts(service: &Service) -> Option<ServiceFacts> {
    let spec = service.spec.as_ref();
    let load_balancer = spec.and_then(|spec| spec.type_.as_deref()) == Some("LoadBalancer");
    let ignored = ignores_dead_nodes(&service.metadata);
    let key = key(&service.metadata)?;
    (load_balancer || ignored).then_some(ServiceFacts {
        key,
        load_balancer,
        ignored,
    })
}

/// An `EndpointSlice`; `None` unless the controller made it, for a Service.
#[must_use]
pub fn slice_facts(slice: &EndpointSlice) -> Option<SliceFacts> {
    let labels = slice.metadata.labels.as_ref()?;
    if labels.get(MANAGED_BY).map(String::as_str) != Some(CONTROLLER) {
        return None;
    }
    let key = key(&slice.metadata)?;
    let service = ServiceKey::new(
        key.namespace.clone(),
        labels.get(LABEL_SERVICE_NAME)?.as_str(),
    );
    let endpoints = slice.endpoints.iter().filter_map(|endpoint| {
        let target = endpoint.target_ref.as_ref()?;
        if target.kind.as_deref() != Some("Pod") {
            return None;
        }
        let conditions = endpoint.conditions.as_ref();
        Some(Endpoint {
            pod: Pod {
                // A slice names pods of its own namespace alone.
                namespace: (&*key.namespace).into(),
                name: target.name.as_deref()?.into(),
                uid: target.uid.as_deref()?.into(),
            },
            node: endpoint.node_name.as_deref()?.into(),
            ready: conditions
                .and_then(|conditions| conditions.ready)
                .unwrap_or(true),
        })
    });
    Some(SliceFacts {
        endpoints: endpoints.collect(),
        service,
        key,
    })
}

/// The `ConfigMap` of votes: of an entry that is too long only that it is there.
#[must_use]
pub fn votes_view(map: &ConfigMap) -> VotesView {
    let entries = map.data.iter().flatten().map(|(voter, text)| {
        let text = (text.len() <= LONGEST_ENTRY).then(|| text.clone());
        (voter.clone(), text)
    });
    VotesView {
        resource_version: map.metadata.resource_version.clone().unwrap_or_default(),
        entries: entries.collect::<BTreeMap<_, _>>(),
    }
}
