//! Our reduced pictures of API objects: only what a decision reads. Whole objects are never kept:
//! at 10,000 services they take 346 MiB, the views about 10.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;

use crate::address::Family;
use crate::labels::Labels;
use crate::names::{ADOPTED_MANAGERS, HAND_EDITS};

/// Namespace and name of a Service. A Service is known by it in many places, so copies share the texts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ServiceKey {
    /// `metadata.namespace`
    pub namespace: Arc<str>,
    /// `metadata.name`
    pub name: Arc<str>,
}

impl ServiceKey {
    /// Of these two.
    pub fn new(namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

/// `namespace/name`
impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// `spec.ports[].protocol`
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// `TCP`, also when absent
    Tcp,
    /// `UDP`
    Udp,
    /// `SCTP`
    Sctp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        })
    }
}

/// `spec.externalTrafficPolicy`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrafficPolicy {
    /// Any node takes the traffic; the backend sees a node's address.
    Cluster,
    /// Only nodes with an endpoint take it; the backend sees the client's address.
    Local,
}

/// `spec.ipFamilyPolicy`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FamilyPolicy {
    /// `SingleStack`, also when absent
    SingleStack,
    /// `PreferDualStack`
    PreferDualStack,
    /// `RequireDualStack`
    RequireDualStack,
}

/// Where a Service asks for addresses, and the words it uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressRequest {
    /// `spec.loadBalancerIP`, or the annotation's name.
    pub source: String,
    /// The value as the user wrote it.
    pub text: String,
}

/// What a decision reads of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceView {
    /// Namespace and name.
    pub key: ServiceKey,
    /// `metadata.uid`: tells a re-created Service from its predecessor.
    pub uid: Box<str>,
    /// `metadata.creationTimestamp`
    pub created: Option<Timestamp>,
    /// `metadata.resourceVersion` that this view was read at: the fence of every write.
    pub resource_version: Box<str>,
    /// `metadata.labels`, for `service-selectors`.
    pub labels: Labels,
    /// Whether `spec.type` is `LoadBalancer`.
    pub load_balancer: bool,
    /// `spec.loadBalancerClass`
    pub class: Option<Box<str>>,
    /// `spec.clusterIPs`, valid addresses only: empty for a headless Service.
    pub cluster_ips: Vec<IpAddr>,
    /// `spec.ipFamilyPolicy`
    pub family_policy: FamilyPolicy,
    /// `spec.externalTrafficPolicy`
    pub traffic_policy: TrafficPolicy,
    /// `spec.ports`, as protocol and port
    pub ports: Box<[(Protocol, u16)]>,
    /// `spec.selector` in one canonical text (`a=b,c=d`): the backend key of address sharing.
    pub selector: Box<str>,
    /// Every request for addresses that the Service makes (two are a contradiction).
    pub address_requests: Box<[AddressRequest]>,
    /// Annotation `address-pool`: the pool that the Service asks for.
    pub requested_pool: Option<Box<str>>,
    /// Annotation `allow-shared-ip`: its sharing key. An empty one shares with nobody, and counts for
    /// advertisements all the same.
    pub sharing_key: Option<Box<str>>,
    /// Annotation [`ALLOW_NODE_PORTS`](crate::names::ALLOW_NODE_PORTS): it may take ports that a
    /// node itself needs.
    pub allow_node_ports: bool,
    /// Annotation `ferrolb.io/move-to`: the node that shall announce its addresses.
    pub move_to: Option<Box<str>>,
    /// `status.loadBalancer.ingress[].ip`: canonical, without duplicates, in order.
    pub assigned: Vec<IpAddr>,
    /// Whether the status is exactly `assigned` and nothing else: no junk, no duplicate, no host
    /// name, no `ipMode` other than VIP. Otherwise it has to be written anew.
    pub status_is_canonical: bool,
    /// The manager that last wrote `status.loadBalancer` (`metadata.managedFields`).
    pub status_manager: Option<Box<str>>,
    /// When it did so.
    pub status_written: Option<Timestamp>,
    /// Annotation `ferrolb.io/adopt-from`: the manager whose status may be taken over.
    pub adopt_from: Option<Box<str>>,
    /// What is wrong with the names of its annotations, in a sentence.
    pub unknown_annotations: Option<Box<str>>,
    /// It is being deleted, and these finalizers hold it, with commas.
    pub deleting: Option<Box<str>>,
    /// `spec.externalIPs`, the first few.
    pub external_ips: Box<[IpAddr]>,
    /// What the Service says at greater length than anybody reads: nothing of it is kept above.
    pub too_long: Box<[TooLong]>,
}

/// A value of more than [`LONGEST_VALUE`](crate::text::LONGEST_VALUE) bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TooLong {
    /// The field, or the annotation's name.
    pub source: String,
    /// Its length.
    pub bytes: usize,
}

impl ServiceView {
    /// Whether it is for the load balancer of that class: `None` serves only Services without a
    /// class, so that two load balancers never serve the same one.
    #[must_use]
    pub fn is_for(&self, class: Option<&str>) -> bool {
        self.load_balancer && self.class.as_deref() == class
    }

    /// Whether the other view differs at most in its status and in how that was written.
    #[must_use]
    pub fn wants_the_same(&self, other: &Self) -> bool {
        let wish = |view: &Self| Self {
            resource_version: Box::default(),
            assigned: Vec::new(),
            status_is_canonical: true,
            status_manager: None,
            status_written: None,
            ..view.clone()
        };
        wish(self) == wish(other)
    }

    /// The load balancer other than us and `MetalLB` that wrote what the status shows: addresses, or
    /// a host name, as some clouds do.
    #[must_use]
    pub fn foreign_manager(&self) -> Option<&str> {
        let manager = self.status_manager.as_deref()?;
        let foreign = !(ADOPTED_MANAGERS.contains(&manager) || manager.starts_with(HAND_EDITS));
        let shows_nothing = self.assigned.is_empty() && self.status_is_canonical;
        (foreign && !shows_nothing).then_some(manager)
    }
}

/// One endpoint of an `EndpointSlice`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct EndpointView {
    /// `endpoints[].nodeName`; without it the endpoint serves policy Cluster only.
    pub node: Option<String>,
    /// `conditions.ready`, nil means true.
    pub ready: bool,
    /// `conditions.serving`, nil means the value of `ready`.
    pub serving: bool,
}

impl EndpointView {
    /// Whether kube-proxy may send traffic to it: ready, or serving while it terminates.
    #[must_use]
    pub const fn is_usable(&self) -> bool {
        self.ready || self.serving
    }
}

/// What a decision reads of an `EndpointSlice`. A dual-stack Service has one slice or more for each
/// family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointSliceView {
    /// The Service that it belongs to (label `kubernetes.io/service-name`).
    pub service: ServiceKey,
    /// `addressType`
    pub family: Family,
    /// `endpoints`
    pub endpoints: Vec<EndpointView>,
}

/// What a decision reads of a Namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceView {
    /// `metadata.name`
    pub name: String,
    /// `metadata.labels`, for `namespace-selectors`.
    pub labels: Labels,
}

/// What a decision reads of a Node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeView {
    /// `metadata.name`
    pub name: String,
    /// `metadata.labels`, for `node-selectors`.
    pub labels: Labels,
    /// `status.addresses` of type `InternalIP` and `ExternalIP`: canonical, without duplicates.
    pub addresses: Vec<IpAddr>,
    /// Condition `NetworkUnavailable` is true.
    pub network_unavailable: bool,
    /// The label `node.kubernetes.io/exclude-from-external-load-balancers` is present.
    pub excluded: bool,
    /// `spec.unschedulable`: cordoned.
    pub unschedulable: bool,
    /// It is being deleted or shut down, or is out of service.
    pub leaving: bool,
}
