//! Large objects decoded only as far as the daemons read them: what is not read is skipped in the bytes,
//! and no room is ever taken for it.
//!
//! A Node lists up to fifty images of the kubelet, with all their names: most of its 20 KiB. Address,
//! target and zone of each endpoint are most of an `EndpointSlice`. A field that is not decoded here does
//! not exist for whoever watches the trimmed kind, so a view that reads another field needs it here; a
//! test compares the views of whole and trimmed objects.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, NodeAddress, NodeCondition, NodeSpec, NodeStatus, Taint};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::{Metadata, Resource};
use serde::{Deserialize, Deserializer};

/// An object of this kind that has only the fields that are read.
#[derive(Debug, Clone)]
pub struct Trimmed<K>(pub K);

impl<K: Resource> Resource for Trimmed<K> {
    const API_VERSION: &'static str = K::API_VERSION;
    const GROUP: &'static str = K::GROUP;
    const KIND: &'static str = K::KIND;
    const VERSION: &'static str = K::VERSION;
    const URL_PATH_SEGMENT: &'static str = K::URL_PATH_SEGMENT;
    type Scope = K::Scope;
}

impl<K: Metadata<Ty = ObjectMeta>> Metadata for Trimmed<K> {
    type Ty = ObjectMeta;

    fn metadata(&self) -> &ObjectMeta {
        self.0.metadata()
    }

    fn metadata_mut(&mut self) -> &mut ObjectMeta {
        self.0.metadata_mut()
    }
}

/// Without annotations, owners, and the record of who wrote which field.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Meta {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    labels: Option<BTreeMap<String, String>>,
    deletion_timestamp: Option<Time>,
}

impl From<Meta> for ObjectMeta {
    fn from(meta: Meta) -> Self {
        Self {
            name: meta.name,
            namespace: meta.namespace,
            uid: meta.uid,
            resource_version: meta.resource_version,
            labels: meta.labels,
            deletion_timestamp: meta.deletion_timestamp,
            ..Self::default()
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SmallNode {
    metadata: Meta,
    spec: Option<SmallNodeSpec>,
    status: Option<SmallNodeStatus>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SmallNodeSpec {
    #[serde(rename = "podCIDR")]
    pod_cidr: Option<String>,
    #[serde(rename = "podCIDRs")]
    pod_cidrs: Option<Vec<String>>,
    taints: Option<Vec<Taint>>,
    unschedulable: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SmallNodeStatus {
    addresses: Option<Vec<NodeAddress>>,
    conditions: Option<Vec<NodeCondition>>,
}

impl<'de> Deserialize<'de> for Trimmed<Node> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let node = SmallNode::deserialize(deserializer)?;
        Ok(Self(Node {
            metadata: node.metadata.into(),
            spec: node.spec.map(|spec| NodeSpec {
                pod_cidr: spec.pod_cidr,
                pod_cidrs: spec.pod_cidrs,
                taints: spec.taints,
                unschedulable: spec.unschedulable,
                ..NodeSpec::default()
            }),
            status: node.status.map(|status| NodeStatus {
                addresses: status.addresses,
                conditions: status.conditions,
                ..NodeStatus::default()
            }),
        }))
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SmallSlice {
    metadata: Meta,
    address_type: Option<String>,
    endpoints: Option<Vec<SmallEndpoint>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SmallEndpoint {
    conditions: Option<SmallConditions>,
    node_name: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SmallConditions {
    ready: Option<bool>,
    serving: Option<bool>,
}

impl From<SmallEndpoint> for Endpoint {
    fn from(endpoint: SmallEndpoint) -> Self {
        Self {
            conditions: endpoint.conditions.map(|conditions| EndpointConditions {
                ready: conditions.ready,
                serving: conditions.serving,
                ..EndpointConditions::default()
            }),
            node_name: endpoint.node_name,
            ..Self::default()
        }
    }
}

impl<'de> Deserialize<'de> for Trimmed<EndpointSlice> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let slice = SmallSlice::deserialize(deserializer)?;
        let endpoints = slice.endpoints.unwrap_or_default().into_iter();
        Ok(Self(EndpointSlice {
            metadata: slice.metadata.into(),
            address_type: slice.address_type.unwrap_or_default(),
            endpoints: endpoints.map(Endpoint::from).collect(),
            ..EndpointSlice::default()
        }))
    }
}

#[cfg(test)]
mod tests {
    use ferrolb_core::dead::node_facts;
    use ferrolb_core::k8s::{endpoint_slice_view, node_view, pod_ranges};
    use serde_json::{Value, json};

    use super::*;

    /// As a kubelet writes it, with `change` in it.
    fn node(change: &Value) -> Value {
        let images: Vec<_> = (0..50)
            .map(|image| {
                let names =
                    ["@sha256:0123", ":v1"].map(|end| format!("registry/image-{image}{end}"));
                json!({ "names": names, "sizeBytes": 12_345_678 })
            })
            .collect();
        let mut node = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {
                "name": "n1", "uid": "u-1", "resourceVersion": "17",
                "labels": { "site": "near", "node.kubernetes.io/exclude-from-external-load-balancers": "" },
                "annotations": { "node.alpha.kubernetes.io/ttl": "0" },
                "managedFields": [{ "manager": "kubelet", "operation": "Update", "fieldsV1": { "f:status": {} } }],
            },
            "spec": { "podCIDR": "10.1.0.0/24", "podCIDRs": ["10.1.0.0/24", "fd00:1::/64"],
                      "providerID": "kind://x" },
            "status": {
                "addresses": [{ "type": "InternalIP", "address": "192.168.64.11" },
                              { "type": "Hostname", "address": "n1" }],
                "capacity": { "cpu": "8" }, "images": images, "nodeInfo": { "machineID": "m" },
                "conditions": [
                    { "type": "NetworkUnavailable", "status": "False" },
                    { "type": "Ready", "status": "True", "message": "ready",
                      "lastHeartbeatTime": "2026-11-25T18:00:00Z" },
                ],
            },
        });
        merge(&mut node, change);
        node
    }

    fn merge(value: &mut Value, change: &Value) {
        match (value, change) {
            (Value::Object(value), Value::Object(change)) => {
                for (key, change) in change {
                    merge(value.entry(key).or_insert(Value::Null), change);
                }
            }
            (value, change) => *value = change.clone(),
        }
    }

    #[test]
    fn a_trimmed_node_has_the_views_of_the_whole_one() {
        let ready = |status: &str, message: &str| {
            json!({ "status": { "conditions": [
                { "type": "Ready", "status": status, "message": message },
            ] } })
        };
        for change in [
            json!({}),
            json!({ "spec": { "unschedulable": true } }),
            json!({ "spec": { "taints": [{ "key": "node.kubernetes.io/out-of-service", "effect": "NoExecute" }] } }),
            json!({ "spec": { "podCIDRs": null } }),
            json!({ "metadata": { "deletionTimestamp": "2026-11-25T18:00:00Z" } }),
            json!({ "metadata": { "labels": null } }),
            json!({ "status": { "conditions": [{ "type": "NetworkUnavailable", "status": "True" }] } }),
            json!({ "status": { "conditions": null, "addresses": null } }),
            json!({ "spec": null, "status": null }),
            ready("False", "node is shutting down"),
            ready("Unknown", ""),
        ] {
            let text = node(&change).to_string();
            let whole: Node = serde_json::from_str(&text).unwrap();
            let Trimmed(trimmed) = serde_json::from_str::<Trimmed<Node>>(&text).unwrap();
            assert!(node_view(&whole).is_some());
            assert_eq!(node_view(&trimmed), node_view(&whole), "{change}");
            assert_eq!(
                format!("{:?}", node_facts(&trimmed)),
                format!("{:?}", node_facts(&whole)),
                "{change}"
            );
            assert_eq!(pod_ranges(&trimmed), pod_ranges(&whole), "{change}");
            assert_eq!(trimmed.metadata.resource_version.as_deref(), Some("17"));
            assert_eq!(trimmed.status.and_then(|status| status.images), None);
        }
    }

    #[test]
    fn what_is_not_read_cannot_make_a_node_undecodable() {
        let bad = node(&json!({ "status": { "images": "none", "capacity": [1] } }));
        assert!(serde_json::from_value::<Node>(bad.clone()).is_err());
        assert!(serde_json::from_value::<Trimmed<Node>>(bad).is_ok());
        // What is read has to be what it should be.
        let bad = node(&json!({ "status": { "addresses": "none" } }));
        assert!(serde_json::from_value::<Trimmed<Node>>(bad).is_err());
    }

    #[test]
    fn a_trimmed_slice_has_the_view_of_the_whole_one() {
        let endpoint = |conditions: Value, node: Value| {
            json!({
                "addresses": ["10.1.0.1"], "conditions": conditions, "nodeName": node,
                "targetRef": { "kind": "Pod", "name": "web-1", "uid": "u" }, "zone": "a",
                "hints": { "forZones": [{ "name": "a" }] },
            })
        };
        for (kind, endpoints) in [
            (
                "IPv4",
                json!([endpoint(json!({ "ready": true }), json!("n1"))]),
            ),
            (
                "IPv6",
                json!([
                    endpoint(
                        json!({ "ready": false, "serving": true, "terminating": true }),
                        json!("n2")
                    ),
                    endpoint(json!({ "ready": false, "serving": null }), json!(null)),
                    endpoint(json!({}), json!("n1")),
                    endpoint(json!(null), json!("n1")),
                ]),
            ),
            ("IPv4", json!(null)),
            ("IPv4", json!([])),
            ("FQDN", json!([])),
        ] {
            let text = json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                "metadata": { "name": "web-1", "namespace": "shop", "resourceVersion": "3",
                              "labels": { "kubernetes.io/service-name": "web" },
                              "ownerReferences": [{ "kind": "Service", "name": "web" }] },
                "addressType": kind, "endpoints": endpoints, "ports": [{ "port": 80 }],
            })
            .to_string();
            let whole: EndpointSlice = serde_json::from_str(&text).unwrap();
            let Trimmed(trimmed) = serde_json::from_str::<Trimmed<EndpointSlice>>(&text).unwrap();
            let view = endpoint_slice_view(&whole);
            assert_eq!(view.is_some(), kind != "FQDN");
            assert_eq!(endpoint_slice_view(&trimmed), view, "{text}");
        }
    }

    #[test]
    fn a_trimmed_object_is_found_where_the_whole_one_is() {
        fn url<K: kube::Resource<DynamicType = ()>>() -> String {
            K::url_path(&(), None)
        }
        assert_eq!(url::<Trimmed<Node>>(), url::<Node>());
        assert_eq!(url::<Trimmed<EndpointSlice>>(), url::<EndpointSlice>());
    }
}
