//! Names that others read: annotations, labels, Event reasons, field managers. Each stands here
//! once.

/// Annotation suffixes, valid under each of [`ANNOTATION_PREFIXES`].
pub mod annotation {
    /// The Service gets an address of the pool of this name, and of no other.
    pub const ADDRESS_POOL: &str = "address-pool";
    /// The sharing key: Services with the same key may share an address, where their ports allow it. An empty one
    /// shares with nobody.
    pub const ALLOW_SHARED_IP: &str = "allow-shared-ip";
    /// The addresses that the Service asks for, at most one of each family.
    pub const LOAD_BALANCER_IPS: &str = "loadBalancerIPs";
    /// The pool that the address is from, as `MetalLB` 0.13.9 and later write it.
    pub const IP_ALLOCATED_FROM_POOL: &str = "ip-allocated-from-pool";
}

/// The Service may take ports that a node itself needs, on that node's own address, unless its pool forbids it.
pub const ALLOW_NODE_PORTS: &str = "ferrolb.io/allow-node-ports";

/// The field of a Service that asks for an address.
pub const LOAD_BALANCER_IP: &str = "spec.loadBalancerIP";

/// Prefixes of the annotations that we read; the first one that is present wins.
pub const ANNOTATION_PREFIXES: [&str; 2] = ["metallb.io/", "metallb.universe.tf/"];

/// `kubernetes.io/service-name`: the Service that an `EndpointSlice` belongs to.
pub const LABEL_SERVICE_NAME: &str = "kubernetes.io/service-name";

/// Nodes with this label are used for announcing only if no node without it is eligible.
pub const LABEL_EXCLUDE_FROM_LB: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// The node that shall announce the Service's addresses, as long as it may. Of Services that share an address all
/// have to name it.
pub const ANNOTATION_MOVE_TO: &str = "ferrolb.io/move-to";

/// When a node dies, the pods of the Service, or of all in the Namespace, stay in rotation until Kubernetes removes
/// them.
pub const ANNOTATION_DEAD_NODE: &str = "ferrolb.io/dead-node";

/// Values of `MetalLB`'s chart that were given, and change nothing here.
pub const ANNOTATION_WITHOUT_EFFECT: &str = "ferrolb.io/values-without-effect";

/// The other load balancer whose status of the Service may be taken over, by its field manager.
pub const ANNOTATION_ADOPT_FROM: &str = "ferrolb.io/adopt-from";

/// Taints of nodes that are about to go, or have gone.
pub const TAINTS_OF_LEAVING: [&str; 3] = [
    "node.kubernetes.io/out-of-service",
    "node.cloudprovider.kubernetes.io/shutdown",
    "ToBeDeletedByClusterAutoscaler",
];

/// Field manager of the controller's writes, as it appears in `metadata.managedFields`.
pub const FIELD_MANAGER: &str = "ferrolb-controller";

/// Field managers of load balancers whose statuses we take over: our own and MetalLB's, which is
/// called like its program.
pub const ADOPTED_MANAGERS: [&str; 2] = [FIELD_MANAGER, "controller"];
/// What begins so is a person with kubectl, no load balancer.
pub const HAND_EDITS: &str = "kubectl";

/// Name of the Lease of the controllers' leader election, when no option says otherwise.
pub const LEASE_NAME: &str = "ferrolb-controller";
/// Key of the first of the speakers' keys in their Secret.
pub const PEERS_KEY: &str = "key-1";
/// Key of the time at which that one was made (RFC 3339), in the same Secret. The speakers of 0.1 take
/// any other name for that of a key, and everybody knows what this one holds.
pub const PEERS_KEY_CREATED: &str = ".created";

/// `reportingComponent` of the controller's Events.
pub const CONTROLLER_COMPONENT: &str = "ferrolb-controller";
/// `reportingComponent` of the speaker's Events.
pub const SPEAKER_COMPONENT: &str = "ferrolb-speaker";

/// `reason` of the Events that we write: MetalLB's where the meaning is the same, then ours.
pub mod event {
    use std::fmt;

    /// `reason` of an Event: one of those below and no other.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
    pub struct EventReason(&'static str);

    impl EventReason {
        /// The word, as the Event has it.
        #[must_use]
        pub const fn as_str(self) -> &'static str {
            self.0
        }
    }

    impl fmt::Display for EventReason {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl PartialEq<EventReason> for String {
        fn eq(&self, reason: &EventReason) -> bool {
            self == reason.0
        }
    }

    /// Normal, on a Service: an address was given.
    pub const IP_ALLOCATED: EventReason = EventReason("IPAllocated");
    /// Warning, on a Service: no address could be given; the text says why.
    pub const ALLOCATION_FAILED: EventReason = EventReason("AllocationFailed");
    /// Normal, on a Service: the address was taken away; the text says why.
    pub const CLEAR_ASSIGNMENT: EventReason = EventReason("ClearAssignment");
    /// Warning, on a Service: another host has its address; the text names the host.
    pub const ADDRESS_CONFLICT: EventReason = EventReason("addressConflict");
    /// Warning, on a Service: no host can have its address; the text says why.
    pub const ADDRESS_UNUSABLE: EventReason = EventReason("addressUnusable");
    /// Warning, on a Service: something else in the cluster has its address too; the text says what.
    pub const ADDRESS_CLAIMED: EventReason = EventReason("AddressClaimed");
    /// Warning, on a Service: the kernel of a node answers for its address; the text says why.
    pub const PEER_KERNEL_ANSWERS: EventReason = EventReason("peerKernelAnswers");
    /// Normal, on a Service: its address is a node's own.
    pub const NODE_ADDRESS_GIVEN: EventReason = EventReason("NodeAddressGiven");
    /// Warning, on a Service: on a node's own address it has a port that many nodes have for themselves.
    pub const NODE_PORT_TAKEN: EventReason = EventReason("NodePortTaken");
    /// Normal, on a Service: the text says with whom it shares its address.
    pub const ADDRESS_SHARED: EventReason = EventReason("AddressShared");
    /// Warning, on a Service: those who share its address do not agree any more; the text says in what.
    pub const SHARED_IN_DISCORD: EventReason = EventReason("SharedInDiscord");
    /// Warning, on a Service: it had to leave an address that it shared; the text says for which port.
    pub const SHARED_PORT_TAKEN: EventReason = EventReason("SharedPortTaken");
    /// Normal, on a Service: this node announces its address.
    pub const NODE_ASSIGNED: EventReason = EventReason("nodeAssigned");
    /// Normal, on a Service: its address moved, and its open connections go on through the old node.
    pub const CONNECTIONS_KEPT: EventReason = EventReason("connectionsKept");
    /// Normal, on a Service: they no longer do; the text says why.
    pub const CONNECTIONS_NO_LONGER_KEPT: EventReason = EventReason("connectionsNoLongerKept");
    /// Warning, on a Service: its status was written again and again, and is left as it is.
    pub const WRITE_LOOP: EventReason = EventReason("WriteLoopStopped");
    /// Normal, on a Service: what another load balancer had left was taken over.
    pub const STATUS_ADOPTED: EventReason = EventReason("StatusAdopted");
    /// Warning, on a Service: nobody reads an annotation of it.
    pub const UNKNOWN_ANNOTATION: EventReason = EventReason("UnknownAnnotation");
    /// Warning, on a Service: no node may announce its address; the text says why.
    pub const NOT_ANNOUNCED: EventReason = EventReason("notAnnounced");
    /// Warning, on the `ConfigMap`: it is in force, and something in it is probably not meant.
    pub const CONFIG_WARNING: EventReason = EventReason("ConfigWarning");
    /// Warning, on the `ConfigMap`: it is in force without addresses that no host can have.
    pub const ADDRESSES_LEFT_OUT: EventReason = EventReason("AddressesLeftOut");
    /// Warning, on the `ConfigMap`: it is refused, the last good one stays in force.
    pub const CONFIG_REFUSED: EventReason = EventReason("ConfigRefused");
    /// Normal, on the `ConfigMap`: it is in force. On an object: its newest version is again.
    pub const CONFIG_ACCEPTED: EventReason = EventReason("ConfigAccepted");
    /// Warning, on an `IPAddressPool`: the objects are not in force yet; the text says what they lack.
    pub const CONFIG_WAITS: EventReason = EventReason("ConfigWaits");
    /// Warning, on the `ConfigMap`: it does not count, since objects are in force.
    pub const CONFIG_IGNORED: EventReason = EventReason("ConfigIgnored");
    /// Warning, on the compiled object: the last `IPAddressPool` is gone.
    pub const POOLS_GONE: EventReason = EventReason("PoolsGone");
    /// Warning, on an `IPAddressPool`: no advertisement covers it.
    pub const NOT_ADVERTISED: EventReason = EventReason("NotAdvertised");
    /// Warning, on a Node: it is dead, and its pods are out of rotation; the text says who found it.
    pub const ENDPOINTS_REMOVED: EventReason = EventReason("EndpointsRemoved");
    /// Normal, on a Node: its pods are in rotation again.
    pub const ENDPOINTS_RESTORED: EventReason = EventReason("EndpointsRestored");
    /// Warning, on a Node: speakers say that it is dead, and its pods stay in rotation; the text says why.
    pub const ENDPOINTS_LEFT: EventReason = EventReason("EndpointsLeft");
}

/// Name of the `ConfigMap` when no option says otherwise.
pub const DEFAULT_CONFIG_NAME: &str = "config";
/// Where `MetalLB`'s manifests, minikube's among them, and our documentation put the daemons.
pub const DEFAULT_NAMESPACE: &str = "metallb-system";
/// The key in the `ConfigMap` that holds the configuration.
pub const CONFIG_KEY: &str = "config";

/// Name of the `ConfigMap` with what is in force, compiled for the speakers.
pub const COMPILED_NAME: &str = "ferrolb-config";

/// Name of the `ConfigMap` in which speakers report addresses that other hosts have.
pub const CONFLICTS_NAME: &str = "ferrolb-conflicts";
