//! Kubernetes API objects to our views, for both daemons, so that they cannot disagree about an
//! object.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{
    Endpoints, LoadBalancerIngress, Namespace, Node, NodeCondition, Service,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry, ObjectMeta};

use crate::address::{Family, canonical};
use crate::annotations::unknown::unknown;
use crate::labels::Labels;
use crate::lease::LeaseView;
use crate::names::{
    ALLOW_NODE_PORTS, ANNOTATION_ADOPT_FROM, ANNOTATION_MOVE_TO, ANNOTATION_PREFIXES,
    LABEL_EXCLUDE_FROM_LB, LABEL_SERVICE_NAME, LOAD_BALANCER_IP, TAINTS_OF_LEAVING, annotation,
};
use crate::text::{LONGEST_VALUE, as_key, shortened};
use crate::view::{
    AddressRequest, EndpointSliceView, EndpointView, FamilyPolicy, NamespaceView, NodeView,
    Protocol, ServiceKey, ServiceView, TooLong, TrafficPolicy,
};

mod cluster;
mod objects;

pub use cluster::{endpoint_addresses, external_ips, pod_ranges, service_ranges};
pub use objects::object_view;

/// Addresses of one object that are looked at. A Service of ours has two, a Node a few; a status may
/// hold whatever fits into an object.
const ADDRESSES: usize = 256;
/// The API server takes 128 characters.
const MAX_MANAGER: usize = 128;

/// Namespace and name of an object; `None` without one of them, which the API server never sends.
#[must_use]
pub fn key(meta: &ObjectMeta) -> Option<ServiceKey> {
    Some(ServiceKey::new(
        meta.namespace.as_deref()?,
        meta.name.as_deref()?,
    ))
}

/// The view of a Service; `None` without namespace or name.
#[must_use]
pub fn service_view(service: &Service) -> Option<ServiceView> {
    let meta = &service.metadata;
    let key = key(meta)?;
    let spec = service.spec.as_ref();
    let annotations = meta.annotations.as_ref();
    let mut asked = Asked::default();
    let ingress = service
        .status
        .as_ref()
        .and_then(|status| status.load_balancer.as_ref())
        .and_then(|load_balancer| load_balancer.ingress.as_deref())
        .unwrap_or_default();
    let assigned = distinct(
        ingress
            .iter()
            .filter_map(|entry| canonical(entry.ip.as_deref()?))
            .take(ADDRESSES),
    );
    let requested_pool = annotated(annotations, annotation::ADDRESS_POOL);
    let requested_pool = asked.name(requested_pool);
    let move_to = annotations.and_then(|annotations| annotations.get(ANNOTATION_MOVE_TO));
    let move_to = asked.name(move_to.map(|node| (ANNOTATION_MOVE_TO.to_owned(), node.as_str())));
    let address_requests = address_requests(service, &mut asked);
    let status_entry = status_entry(meta.managed_fields.as_deref().unwrap_or_default());
    Some(ServiceView {
        uid: meta.uid.as_deref().unwrap_or_default().into(),
        created: meta.creation_timestamp.as_ref().map(|time| time.0),
        resource_version: meta.resource_version.as_deref().unwrap_or_default().into(),
        labels: meta.labels.iter().flatten().collect(),
        load_balancer: spec.and_then(|spec| spec.type_.as_deref()) == Some("LoadBalancer"),
        class: spec
            .and_then(|spec| spec.load_balancer_class.as_deref())
            // The API server takes no longer one than 317 bytes.
            .map(|class| shortened(class, LONGEST_VALUE).into()),
        cluster_ips: cluster_ips(service),
        family_policy: match spec.and_then(|spec| spec.ip_family_policy.as_deref()) {
            Some("PreferDualStack") => FamilyPolicy::PreferDualStack,
            Some("RequireDualStack") => FamilyPolicy::RequireDualStack,
            _ => FamilyPolicy::SingleStack,
        },
        traffic_policy: match spec.and_then(|spec| spec.external_traffic_policy.as_deref()) {
            Some("Local") => TrafficPolicy::Local,
            _ => TrafficPolicy::Cluster,
        },
        ports: ports(service),
        selector: spec
            .and_then(|spec| spec.selector.as_ref())
            .map(|selector| as_key(&joined(selector)).into())
            .unwrap_or_default(),
        address_requests,
        requested_pool,
        sharing_key: annotated(annotations, annotation::ALLOW_SHARED_IP)
            .map(|(_, key)| as_key(key).into()),
        allow_node_ports: annotations
            .and_then(|annotations| annotations.get(ALLOW_NODE_PORTS))
            .is_some_and(|value| value == "true"),
        move_to,
        adopt_from: annotations
            .and_then(|annotations| annotations.get(ANNOTATION_ADOPT_FROM))
            .map(|manager| manager.trim())
            // No field manager has a longer name.
            .filter(|manager| !manager.is_empty() && manager.chars().count() <= MAX_MANAGER)
            .map(Into::into),
        unknown_annotations: unknown(
            annotations
                .into_iter()
                .flatten()
                .map(|(key, _)| key.as_str()),
        ),
        deleting: deleting(meta),
        external_ips: external_ips(service),
        status_is_canonical: is_canonical(ingress, &assigned),
        status_manager: status_entry
            .and_then(|entry| entry.manager.as_deref())
            // The API server takes no longer one.
            .map(|manager| shortened(manager, MAX_MANAGER).into()),
        too_long: asked.too_long.into(),
        status_written: status_entry
            .and_then(|entry| entry.time.as_ref())
            .map(|time| time.0),
        assigned,
        key,
    })
}

/// What a Service asks for, as far as it is short enough to be read.
#[derive(Default)]
struct Asked {
    too_long: Vec<TooLong>,
}

impl Asked {
    /// A value with its source; `None` if it is too long, which is noted.
    fn value<'a>(&mut self, asked: Option<(String, &'a str)>) -> Option<(String, &'a str)> {
        let (source, text) = asked?;
        let text = text.trim();
        if text.len() > LONGEST_VALUE {
            let bytes = text.len();
            self.too_long.push(TooLong { source, bytes });
            return None;
        }
        (!text.is_empty()).then_some((source, text))
    }

    /// The name of something.
    fn name(&mut self, asked: Option<(String, &str)>) -> Option<Box<str>> {
        self.value(asked).map(|(_, name)| name.into())
    }
}

/// The view of an `EndpointSlice`; `None` if it belongs to no Service or holds host names. Endpoints
/// that are in no way different for us are one: a slice has up to a thousand of them.
#[must_use]
pub fn endpoint_slice_view(slice: &EndpointSlice) -> Option<EndpointSliceView> {
    let meta = &slice.metadata;
    let service = ServiceKey::new(
        meta.namespace.as_deref()?,
        meta.labels.as_ref()?.get(LABEL_SERVICE_NAME)?.as_str(),
    );
    let family = match slice.address_type.as_str() {
        "IPv4" => Family::V4,
        "IPv6" => Family::V6,
        _ => return None,
    };
    let endpoints = slice
        .endpoints
        .iter()
        .map(|endpoint| {
            let conditions = endpoint.conditions.as_ref();
            let ready = conditions
                .and_then(|conditions| conditions.ready)
                .unwrap_or(true);
            let serving = conditions
                .and_then(|conditions| conditions.serving)
                .unwrap_or(ready);
            EndpointView {
                node: endpoint.node_name.clone(),
                ready,
                serving,
            }
        })
        .collect::<Vec<_>>();
    Some(EndpointSliceView {
        service,
        family,
        endpoints: distinct(endpoints.into_iter()),
    })
}

/// The views of an Endpoints object, where `EndpointSlices` cannot be read: one for each family, with
/// a suffix that keeps their names apart. Endpoints know no endpoint that terminates and still
/// serves.
#[must_use]
pub fn endpoints_views(endpoints: &Endpoints) -> [(&'static str, Option<EndpointSliceView>); 2] {
    [(Family::V4, "-ipv4"), (Family::V6, "-ipv6")]
        .map(|(family, suffix)| (suffix, endpoints_view(endpoints, family)))
}

fn endpoints_view(endpoints: &Endpoints, family: Family) -> Option<EndpointSliceView> {
    let service = key(&endpoints.metadata)?;
    let subsets = endpoints.subsets.iter().flatten();
    let all = subsets.flat_map(|subset| {
        let ready = subset
            .addresses
            .iter()
            .flatten()
            .map(|address| (address, true));
        let not_ready = subset
            .not_ready_addresses
            .iter()
            .flatten()
            .map(|address| (address, false));
        ready.chain(not_ready)
    });
    let of_family =
        all.filter(|(address, _)| canonical(&address.ip).map(Family::of) == Some(family));
    let endpoints = of_family.map(|(address, ready)| EndpointView {
        node: address.node_name.clone(),
        ready,
        serving: ready,
    });
    Some(EndpointSliceView {
        endpoints: distinct(endpoints),
        service,
        family,
    })
}

/// The view of a Namespace; `None` without a name, which the API server never sends.
#[must_use]
pub fn namespace_view(namespace: &Namespace) -> Option<NamespaceView> {
    Some(NamespaceView {
        name: namespace.metadata.name.clone()?,
        labels: namespace.metadata.labels.iter().flatten().collect(),
    })
}

/// The view of a Lease; one without a holder or a duration is free.
#[must_use]
pub fn lease_view(lease: &Lease) -> LeaseView {
    let spec = lease.spec.clone().unwrap_or_default();
    let seconds = spec.lease_duration_seconds.unwrap_or_default();
    LeaseView {
        resource_version: lease.metadata.resource_version.clone().unwrap_or_default(),
        holder: spec.holder_identity.filter(|holder| !holder.is_empty()),
        duration: Duration::from_secs(u64::try_from(seconds).unwrap_or_default()),
        transitions: spec.lease_transitions.unwrap_or_default(),
    }
}

/// The view of a Node; `None` without a name, which the API server never sends.
#[must_use]
pub fn node_view(node: &Node) -> Option<NodeView> {
    let meta = &node.metadata;
    let status = node.status.as_ref();
    let addresses = status
        .and_then(|status| status.addresses.as_deref())
        .unwrap_or_default()
        .iter()
        .filter(|address| matches!(address.type_.as_str(), "InternalIP" | "ExternalIP"))
        .filter_map(|address| canonical(&address.address));
    let network_unavailable = status
        .and_then(|status| status.conditions.as_deref())
        .unwrap_or_default()
        .iter()
        .any(|condition| condition.type_ == "NetworkUnavailable" && condition.status == "True");
    let labels: Labels = meta.labels.iter().flatten().collect();
    Some(NodeView {
        name: meta.name.clone()?,
        addresses: distinct(addresses.take(ADDRESSES)),
        network_unavailable,
        excluded: labels.get(LABEL_EXCLUDE_FROM_LB).is_some(),
        unschedulable: node
            .spec
            .as_ref()
            .and_then(|spec| spec.unschedulable)
            .unwrap_or(false),
        leaving: is_leaving(node),
        labels,
    })
}

/// Deleted, shut down, out of service, or chosen by the autoscaler. A kubelet that shuts its node
/// down says so only in the text of its Ready condition.
fn is_leaving(node: &Node) -> bool {
    let taints = node
        .spec
        .iter()
        .flat_map(|spec| spec.taints.iter().flatten());
    let conditions = node
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    let is_shutting_down = |condition: &NodeCondition| {
        let message = condition.message.as_deref().unwrap_or_default();
        condition.type_ == "Ready"
            && condition.status == "False"
            && message.contains("node is shutting down")
    };
    node.metadata.deletion_timestamp.is_some()
        || taints
            .map(|taint| &taint.key)
            .any(|key| TAINTS_OF_LEAVING.contains(&key.as_str()))
        || conditions.into_iter().any(is_shutting_down)
}

fn cluster_ips(service: &Service) -> Vec<IpAddr> {
    let Some(spec) = service.spec.as_ref() else {
        return Vec::new();
    };
    let many = spec.cluster_ips.iter().flatten();
    // An API server without dual stack fills only the older field.
    let texts = many.chain(spec.cluster_ip.iter());
    distinct(texts.filter_map(|text| canonical(text)))
}

fn ports(service: &Service) -> Box<[(Protocol, u16)]> {
    let ports = service
        .spec
        .as_ref()
        .and_then(|spec| spec.ports.as_deref())
        .unwrap_or_default();
    let known = ports.iter().filter_map(|port| {
        let protocol = match port.protocol.as_deref() {
            None | Some("TCP") => Protocol::Tcp,
            Some("UDP") => Protocol::Udp,
            Some("SCTP") => Protocol::Sctp,
            Some(_) => return None,
        };
        Some((protocol, u16::try_from(port.port).ok()?))
    });
    distinct(known).into()
}

fn address_requests(service: &Service, asked: &mut Asked) -> Box<[AddressRequest]> {
    let field = service
        .spec
        .as_ref()
        .and_then(|spec| spec.load_balancer_ip.as_deref())
        .map(|text| (LOAD_BALANCER_IP.to_owned(), text));
    let annotations = service.metadata.annotations.as_ref();
    let annotation = annotated(annotations, annotation::LOAD_BALANCER_IPS);
    [field, annotation]
        .into_iter()
        .filter_map(|request| asked.value(request))
        // A template whose parts are all blank leaves commas.
        .filter(|(_, text)| text.split(',').any(|part| !part.trim().is_empty()))
        .map(|(source, text)| AddressRequest {
            source,
            text: text.to_owned(),
        })
        .collect()
}

/// The annotation under the first prefix that is present, with its full name.
fn annotated<'a>(
    annotations: Option<&'a BTreeMap<String, String>>,
    suffix: &str,
) -> Option<(String, &'a str)> {
    ANNOTATION_PREFIXES.iter().find_map(|prefix| {
        let name = format!("{prefix}{suffix}");
        let value = annotations?.get(&name)?;
        Some((name, value.as_str()))
    })
}

fn joined(selector: &BTreeMap<String, String>) -> String {
    let pairs: Vec<_> = selector
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    pairs.join(",")
}

fn distinct<T: Ord + Clone>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut seen = BTreeSet::new();
    let mut distinct: Vec<_> = items.filter(|item| seen.insert(item.clone())).collect();
    // Collecting takes room for four, and these are kept for each object.
    distinct.shrink_to_fit();
    distinct
}

fn is_canonical(ingress: &[LoadBalancerIngress], assigned: &[IpAddr]) -> bool {
    ingress.len() == assigned.len()
        && ingress.iter().zip(assigned).all(|(entry, address)| {
            entry.ip.as_deref() == Some(address.to_string().as_str())
                && entry.hostname.as_deref().is_none_or(str::is_empty)
                // The API server adds `ipMode: VIP` to what is written without it.
                && entry.ip_mode.as_deref().is_none_or(|mode| mode == "VIP")
        })
}

/// The newest entry that owns `status.loadBalancer`.
fn status_entry(entries: &[ManagedFieldsEntry]) -> Option<&ManagedFieldsEntry> {
    entries
        .iter()
        .filter(|entry| {
            entry
                .fields_v1
                .as_ref()
                .is_some_and(owns_load_balancer_status)
        })
        .max_by_key(|entry| entry.time.as_ref().map(|time| time.0))
}

/// The finalizers of an object that is being deleted, in a text that is short whatever they are.
fn deleting(meta: &ObjectMeta) -> Option<Box<str>> {
    const SHOWN: usize = 3;
    const MAX_BYTES: usize = 200;
    meta.deletion_timestamp.as_ref()?;
    let finalizers = meta.finalizers.as_deref().unwrap_or_default();
    let shown: Vec<_> = finalizers.iter().take(SHOWN).map(String::as_str).collect();
    let mut text = shown.join(", ");
    text.truncate(text.floor_char_boundary(MAX_BYTES));
    Some(text.into())
}

fn owns_load_balancer_status(FieldsV1(fields): &FieldsV1) -> bool {
    fields
        .get("f:status")
        .is_some_and(|status| status.get("f:loadBalancer").is_some())
}

#[cfg(test)]
mod tests;
