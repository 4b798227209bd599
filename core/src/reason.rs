//! Why something was refused, declined or dropped.

use std::fmt;

mod explain;

pub use explain::Explanation;

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident => $word:literal),+ $(,)?) => {
        /// A stable `snake_case` word for everything that we refuse, decline or drop: the same
        /// word in log, metric label, Event and `explain`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $($(#[$doc])* $variant,)+
        }

        impl Reason {
            /// Every reason, for documentation and tests.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The Reason of that word.
            #[must_use]
            pub fn of(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|reason| reason.as_str() == word)
            }

            /// The word.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }
    };
}

reasons! {
    // --- configuration ---
    /// There is no usable configuration yet (absent, empty, or minikube's unconfigured `- -`).
    NotConfigured => "not_configured",
    /// The configuration has errors; the last good one stays in force.
    ConfigRefused => "config_refused",
    /// The configuration names addresses that no host can have; the rest of it is in force.
    AddressesLeftOut => "addresses_left_out",
    /// Objects are there, and the `ConfigMap` stays in force until they hold all addresses that are in use.
    ConfigWaits => "config_waits",
    /// The `ConfigMap` does not count, since `MetalLB`'s objects are in force.
    ConfigIgnored => "config_ignored",
    /// What the configuration comes to does not fit into the object that speakers read.
    ConfigTooLarge => "config_too_large",
    /// The object that speakers read is of another version, or was edited by hand.
    CompiledIgnored => "compiled_ignored",
    /// The configuration is in force, and something in it is probably not meant.
    ConfigWarning => "config_warning",
    /// The pool has addresses that another one has: its new version is left out as a whole.
    PoolOverlaps => "pool_overlaps",
    /// An object names a pool, router or profile that does not exist (yet), or selects none.
    UnknownReference => "unknown_reference",
    /// The object is in a namespace that is not read.
    OtherNamespace => "other_namespace",

    /// An object of the API cannot be decoded; what was known of it stays.
    Unreadable => "unreadable",

    // --- allocation ---
    /// The Service has no cluster address (yet), so no address family is known.
    NoClusterIp => "no_cluster_ip",
    /// Every pool that the Service may use is full.
    PoolExhausted => "pool_exhausted",
    /// The annotation names a pool that does not exist.
    UnknownPool => "unknown_pool",
    /// No pool may serve this Service (auto-assign, namespaces, selectors or family).
    NoPoolMatches => "no_pool_matches",
    /// The wanted address is not a valid address, or two of one family were asked for.
    BadRequestedAddress => "bad_requested_address",
    /// An annotation or field of the Service is longer than what is read.
    ValueTooLong => "value_too_long",
    /// The wanted address lies in no pool that the Service may use.
    RequestedAddressOutsidePools => "requested_address_outside_pools",
    /// The wanted address is held by another Service.
    RequestedAddressInUse => "requested_address_in_use",
    /// Services that share an address no longer agree on what sharing needs; both keep it.
    SharedInDiscord => "shared_in_discord",
    /// The Service had to leave a shared address, because another one has a port there that it wants.
    SharedPortTaken => "shared_port_taken",
    /// The Service keeps an address that no pool gives to it any more.
    HeldOutsidePools => "held_outside_pools",
    /// The Service belongs to another load balancer (`spec.loadBalancerClass`).
    OtherClass => "other_class",
    /// The Service port would take a port that the node itself needs from the host.
    PortShadowsNode => "port_shadows_node",
    /// On a node's own address the Service has a port that many nodes have for themselves.
    PortUsualOnNodes => "port_usual_on_nodes",
    /// The address is the API server's, or of a range of the cluster's Services or pods.
    ClusterAddress => "cluster_address",
    /// Another Service lists the address in its `externalIPs`.
    ExternalIp => "external_ip",
    /// Another load balancer wrote the status (`managedFields`): it is left alone.
    ForeignStatus => "foreign_status",
    /// Another writer rewrites the status that we wrote.
    StatusContested => "status_contested",
    /// The status was written again and again, and is left as it is for a while.
    WriteLoop => "write_loop",
    /// An annotation under one of our prefixes that nobody reads.
    UnknownAnnotation => "unknown_annotation",

    // --- election ---
    /// The Service has no address yet.
    NoAddress => "no_address",
    /// No endpoint of the Service is usable anywhere.
    NoEndpoint => "no_endpoint",
    /// `externalTrafficPolicy: Local`, and this node has no usable endpoint.
    NoLocalEndpoint => "no_local_endpoint",
    /// Another node is the owner.
    NotOwner => "not_owner",
    /// The address belongs to a node itself: its kernel answers, nobody announces.
    NodeAddress => "node_address",
    /// The node's condition `NetworkUnavailable` is true.
    NetworkUnavailable => "network_unavailable",
    /// The exclude label is on this node, and a node without it serves.
    ExcludedNode => "excluded_node",
    /// The exclude label is on this node, and speakers take it strictly.
    StrictlyExcludedNode => "strictly_excluded_node",
    /// The node is cordoned, being deleted or shut down, and another one serves.
    NodeLeaving => "node_leaving",
    /// A Service asks for another node by its annotation, and that one serves.
    OtherNodeChosen => "other_node_chosen",
    /// All endpoints on this node terminate, and a node with a ready one serves.
    EndpointTerminating => "endpoint_terminating",
    /// The API server lists no such Node.
    UnknownNode => "unknown_node",
    /// No link of this node may carry the address.
    NoLink => "no_link",
    /// The address lies on no subnet of this node: it is announced on every link.
    NoLinkOnSubnet => "no_link_on_subnet",
    /// Other nodes are on the address's subnet, and this one is not.
    SubnetElsewhere => "subnet_elsewhere",
    /// Another link of this node leads into the same subnet, and announces the address.
    StandbyLink => "standby_link",
    /// The speaker of that node is held gone.
    SpeakerSilent => "speaker_silent",
    /// The pool's `node-selectors` do not select the node.
    NodeNotSelected => "node_not_selected",
    /// The address lies in no pool of the configuration: it is not ours to announce.
    AddressOutsidePools => "address_outside_pools",
    /// No advertisement covers the address's pool, or none the Service.
    NotAdvertised => "not_advertised",
    /// The Service shares its address, and advertisements choose among Services: nobody announces.
    SharedWithSelectors => "shared_with_selectors",
    /// The address comes from a `bgp` pool, and there is no BGP speaker yet.
    BgpNotAnnounced => "bgp_not_announced",

    /// No Service wants the address announced.
    Unwanted => "unwanted",
    /// This node may not answer for the address.
    Ineligible => "ineligible",
    /// The address waits for a speaker that restarts.
    Reserved => "reserved",
    /// This speaker is still learning who owns what.
    Joining => "joining",
    /// This speaker is leaving.
    Leaving => "leaving",
    /// This speaker hears nobody: it keeps what it has, and takes nothing.
    Isolated => "isolated",
    /// Another speaker runs under this node's name.
    NameShared => "name_shared",
    /// kube-proxy on this node says that it is not well: the node takes nothing that another one would.
    KubeProxyUnhealthy => "kube_proxy_unhealthy",
    /// That node lives, and its speaker cannot be heard: UDP 7946 does not get through.
    PeerBlocked => "peer_blocked",
    /// A node whose speaker cannot be heard announces the address.
    PeerAnnounces => "peer_announces",
    /// That node answers neither ARP nor echo: its death is found after a second.
    KernelSilent => "kernel_silent",
    /// On the address's link nobody answers this node, and somebody did.
    LinkSilent => "link_silent",
    /// This node's address is not in its Node object, and without a key nobody hears its speaker.
    AddressNotListed => "address_not_listed",

    // --- pods of dead nodes ---
    /// Only one speaker that counts says that the node is dead.
    DeathNotConfirmed => "death_not_confirmed",
    /// More nodes are silent than may be taken for dead at a time.
    TooManyDead => "too_many_dead",
    /// The node that speakers hold dead answers the controller.
    NodeAnswers => "node_answers",
    /// The controller reaches no kubelet's port: that it does not reach the dead node's says nothing.
    LookBlind => "look_blind",
    /// The Service would be left without a ready endpoint on a living node.
    LastEndpoint => "last_endpoint",
    /// The pod's Service or Namespace says that its pods are to be left alone.
    DeadNodeIgnored => "dead_node_ignored",
    /// The node's kubelet said that pods are ready which were marked: it lives.
    KubeletContradicts => "kubelet_contradicts",
    /// The node's pods were marked less than a minute ago.
    MarkedLately => "marked_lately",
    /// The controller has no right to mark pods, or to see which serve what.
    NoRightToPods => "no_right_to_pods",

    // --- datagrams of peers ---
    /// A datagram of `MetalLB`'s memberlist: both run in this cluster.
    MetallbPeer => "metallb_peer",
    /// Not a datagram of a speaker.
    NotAPeer => "not_a_peer",
    /// A datagram of another version of the protocol.
    UnknownVersion => "unknown_version",
    /// Signed with another key, or not at all, or meant for another node.
    BadSignature => "bad_signature",
    /// Names no Node of the cluster; or comes from no Node's address, and there is no key that would
    /// prove who it is.
    UnknownPeer => "unknown_peer",
    /// More datagrams from addresses that are no Node's than are looked at in a second.
    TooManyStrangers => "too_many_strangers",
    /// Correctly signed, and with a number that nobody can have counted to.
    Implausible => "implausible",
    /// Correctly signed, and not readable.
    Malformed => "malformed",
    /// Received before.
    Replayed => "replayed",
    /// Said to an earlier process of this speaker, or by one that does not know it yet.
    NotFresh => "not_fresh",
    /// Said by an earlier process of that speaker.
    StaleBoot => "stale_boot",

    // --- frames ---
    /// Shorter than its protocol's header.
    Truncated => "truncated",
    /// Not Ethernet and IPv4 (hardware type, protocol type or lengths; RFC 826).
    NotEthernetIpv4 => "not_ethernet_ipv4",
    /// Carries a VLAN tag: it belongs to another network than the link's.
    VlanTagged => "vlan_tagged",
    /// An Ethernet payload that we do not read.
    UnknownEthertype => "unknown_ethertype",
    /// Not the hardware address of one station: an answer would go to many.
    BadSenderHardware => "bad_sender_hardware",
    /// Another station says that it has an address that we announce.
    AddressConflict => "address_conflict",
    /// The address is the network or broadcast address of a node's subnet, or that of all its routers.
    NoHostAddress => "no_host_address",
    /// The address is a node's default gateway.
    GatewayAddress => "gateway_address",
    /// An ARP operation other than request and reply.
    UnknownOperation => "unknown_operation",
    /// An ARP reply or a neighbour advertisement about another address: nothing to answer.
    NotARequest => "not_a_request",
    /// An IPv6 packet that is neither a neighbour solicitation nor an advertisement.
    NotNeighbourDiscovery => "not_neighbour_discovery",
    /// Neighbour discovery with a hop limit other than 255: it may come from anywhere.
    ForwardedNeighbourDiscovery => "forwarded_neighbour_discovery",
    /// The ICMPv6 checksum is wrong.
    BadChecksum => "bad_checksum",
    /// Against RFC 4861 §7.1: code, options, flags, or a target that is a group.
    InvalidNeighbourDiscovery => "invalid_neighbour_discovery",
    /// Asks for an address that we do not announce before we know that nobody else has it.
    Probing => "probing",
    /// The kernel of a cluster node answers for an address that speakers announce.
    PeerKernelAnswers => "peer_kernel_answers",
    /// Asks for an address that we do not announce on this link.
    NotOurs => "not_ours",
    /// Sent by this node itself.
    OwnFrame => "own_frame",
    /// Sent by another cluster node; answering it would build a forwarding loop.
    ClusterNode => "cluster_node",
    /// Addressed to another station (Ethernet destination neither broadcast nor ours).
    OtherDestination => "other_destination",
    /// Not an answer to a probe of ours.
    NotAnAnswer => "not_an_answer",
    /// Came in on a link that we do not announce on.
    UnknownLink => "unknown_link",

}

impl Reason {
    /// Whether an address that no node announces for this reason has nothing to lead to, or is meant to be
    /// left alone: nothing is wrong, and nobody has to be woken.
    #[must_use]
    pub const fn is_wanted_silence(self) -> bool {
        matches!(
            self,
            Self::NoEndpoint
                | Self::NotAdvertised
                | Self::BgpNotAnnounced
                | Self::SharedWithSelectors
                | Self::AddressOutsidePools
                | Self::OtherClass
                | Self::NodeAddress
                | Self::Unwanted
        )
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_snake_case_and_unique() {
        let mut words: Vec<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert!(words.iter().all(|word| {
            word.bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        }));
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), Reason::ALL.len(), "a word must mean one thing");
    }
}
