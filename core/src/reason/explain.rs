//! Every Reason in a sentence, and what to do: for `kubectl ferrolb explain` and the documentation.

use super::Reason;

/// What a Reason means to a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Explanation {
    /// What happened.
    pub what: &'static str,
    /// What to do about it.
    pub remedy: &'static str,
}

/// Nothing is wrong, and nothing is to be done.
const NOTHING: &str = "nothing: this is as it should be";
/// What comes in from the network and is passed over.
const WATCH: &str = "nothing, unless its counter grows fast: then look for the sender on that link";

impl Reason {
    /// What it means, and what to do.
    #[must_use]
    #[expect(
        clippy::too_many_lines,
        reason = "a table: the compiler wants every Reason in it"
    )]
    pub const fn explanation(self) -> Explanation {
        let (what, remedy) = match self {
            // --- configuration and allocation ---
            Self::NotConfigured => (
                "there are no address pools yet, so no Service can get an address",
                "create the ConfigMap with address pools; on minikube: minikube addons configure \
                 metallb",
            ),
            Self::ConfigRefused => (
                "the ConfigMap has errors; the last good configuration stays in force, and no \
                 Service loses its address",
                "correct the lines that the Event on the ConfigMap names; kubectl ferrolb validate \
                 checks a file before you apply it",
            ),
            Self::Unreadable => (
                "an object that the API server serves is not understood, or larger than 4 MiB; what was \
                 known of it stays, and nothing else is touched",
                "correct the object that the log names, or report it: this version may be older than \
                 the API server's",
            ),
            Self::NoClusterIp => (
                "the Service has no cluster IP, so it is not known which address family it needs",
                "do not set clusterIP: None on a Service of type LoadBalancer",
            ),
            Self::PoolExhausted => (
                "every address of the pools that may serve the Service is held",
                "add addresses to a pool, delete a Service that holds one, or let Services share one \
                 with the annotation metallb.universe.tf/allow-shared-ip",
            ),
            Self::UnknownPool => (
                "the Service asks for a pool that the configuration does not have",
                "correct the annotation metallb.universe.tf/address-pool, or add the pool; kubectl \
                 ferrolb pools lists those that there are",
            ),
            Self::NoPoolMatches => (
                "no pool may serve the Service: by auto-assign, namespaces, selectors or address \
                 family",
                "ask for a pool by name, or widen what a pool serves",
            ),
            Self::BadRequestedAddress => (
                "what the Service asks for is no address, or contradicts itself",
                "ask by spec.loadBalancerIP or by the annotation loadBalancerIPs, or by both for the \
                 same, for at most one address of each family that the Service has",
            ),
            Self::ValueTooLong => (
                "an annotation or field by which the Service asks for something is longer than 1,024 \
                 bytes, so nothing of it is read",
                "shorten it, or remove it; the Event on the Service names it",
            ),
            Self::RequestedAddressOutsidePools => (
                "the Service asks for an address that no pool gives to it",
                "ask for another one, or add it to a pool",
            ),
            Self::RequestedAddressInUse => (
                "the Service asks for an address that another Service holds and does not share",
                "ask for another one, free it there, or give both the same \
                 metallb.universe.tf/allow-shared-ip and different ports",
            ),
            Self::HeldOutsidePools => (
                "the Service keeps an address that no pool gives to it any more: nobody is cut off \
                 by an edit of the configuration",
                "add the address to a pool again, or delete and create the Service to get another",
            ),
            Self::OtherClass => (
                "spec.loadBalancerClass names another load balancer",
                "nothing, if that one serves it; a class cannot be changed: create the Service anew",
            ),
            Self::PortShadowsNode => (
                "on a node's own address, a port of the Service would take that port from the node \
                 itself, and could lock you out of it",
                "use another port or another address; if you mean it, annotate the Service with \
                 ferrolb.io/allow-node-ports: \"true\"",
            ),
            Self::ForeignStatus => (
                "another load balancer wrote the addresses in the Service's status, so it is left \
                 alone",
                "if the other one shall serve it: nothing; else switch the other one off, then \
                 kubectl ferrolb adopt svc/NAME (or annotate the Service with \
                 ferrolb.io/adopt-from and the other one's name in metadata.managedFields): an \
                 address that lies in a pool is kept",
            ),
            Self::StatusContested => (
                "another program rewrote or emptied the status that FerroLB had written, twice within \
                 30 s; FerroLB gave in for ten minutes, because two writers would go on for ever",
                "switch the other one off; what it leaves in the status is taken over with kubectl \
                 ferrolb adopt svc/NAME ten minutes after it wrote last, or at once if you empty the \
                 status or create the Service anew",
            ),
            Self::UnknownAnnotation => (
                "an annotation of the Service begins as ours or MetalLB's do, and nobody reads it",
                "correct its name, letter by letter and with the same capitals, or remove it",
            ),
            // --- who announces ---
            Self::NoAddress => (
                "the Service has no address, so there is nothing to announce",
                "see why the controller gives none: kubectl ferrolb explain",
            ),
            Self::NoEndpoint => (
                "no pod of the Service is ready anywhere, so nobody announces its address",
                "compare spec.selector with the pods' labels, and see why they are not ready",
            ),
            Self::NoLocalEndpoint => (
                "with externalTrafficPolicy: Local only a node with a ready pod announces, and this \
                 node has none",
                NOTHING,
            ),
            Self::NotOwner => ("another node announces the address", NOTHING),
            Self::NodeAddress => (
                "the address is a node's own: that node's kernel answers for it, nobody announces it",
                "nothing; it does not move when that node dies: use a free address if it has to",
            ),
            Self::NetworkUnavailable => (
                "the node's condition NetworkUnavailable is true",
                "see what the network plugin says on that node",
            ),
            Self::ExcludedNode => (
                "the node has the label node.kubernetes.io/exclude-from-external-load-balancers, and \
                 another node without it can announce",
                "remove the label if the node shall announce",
            ),
            Self::StrictlyExcludedNode => (
                "the node has the label node.kubernetes.io/exclude-from-external-load-balancers, and \
                 the speakers are told to take it strictly",
                "remove the label, or set the chart's speaker.excludeLabel to prefer",
            ),
            Self::NodeLeaving => (
                "the node is cordoned, being deleted or shut down, and another one announces",
                "kubectl uncordon it if it shall announce again",
            ),
            Self::OtherNodeChosen => (
                "the Service's annotation ferrolb.io/move-to names another node, and that one announces",
                "remove the annotation, or name the node that shall announce",
            ),
            Self::EndpointTerminating => (
                "with externalTrafficPolicy: Local a node with a ready pod announces; here the last \
                 one is ending",
                NOTHING,
            ),
            Self::UnknownNode => (
                "the API server lists no Node of this speaker's name",
                "see that FERROLB_NODE_NAME of the speaker's pod is spec.nodeName",
            ),
            Self::NoLink => (
                "no network interface of this node may carry the address",
                "see the pool's interfaces, and whether the interface is up",
            ),
            Self::NoLinkOnSubnet => (
                "the address lies on no subnet of this node, so it is announced on every interface",
                "choose addresses of the nodes' own subnet, unless a router knows better",
            ),
            Self::SubnetElsewhere => (
                "other nodes are on the address's subnet and this one is not, so it leaves the address to \
                 them",
                "nothing, if the node was never on it; else see why its interface has lost its address or \
                 prefix (a DHCP lease that ended, a network restart)",
            ),
            Self::StandbyLink => (
                "another network interface of the node leads into the same subnet and announces the address",
                "nothing; to choose another one, name it in the pool's interfaces or lower its route metric",
            ),
            Self::SpeakerSilent => (
                "the speaker of that node does not answer",
                "see its pod and its node; UDP 7946 (or the speakers' --peers-port) between nodes must be \
                 open",
            ),
            Self::NodeNotSelected => (
                "the pool's node-selectors leave the node out",
                "change them if it shall announce",
            ),
            Self::AddressOutsidePools => (
                "the address lies in no pool, and FerroLB did not give it: it is not announced",
                "add it to a pool, or let who gave it announce it",
            ),
            Self::BgpNotAnnounced => (
                "the address comes from a pool with protocol bgp, which FerroLB does not speak",
                "use protocol layer2, or another speaker for it",
            ),
            Self::Joining => (
                "the speaker has just started and learns who owns what",
                "nothing: it takes about a second",
            ),
            Self::Unwanted => ("no Service wants the address announced", NOTHING),
            Self::Ineligible => (
                "this node may not answer for the address",
                "nothing, if another node does; kubectl ferrolb explain says why not this one",
            ),
            Self::Reserved => (
                "the address waits a moment for its owner's speaker, which restarts: moving it would \
                 cost connections",
                NOTHING,
            ),
            Self::Leaving => ("the speaker is leaving and hands over what it has", NOTHING),
            Self::Isolated => (
                "the speaker hears no other one: it keeps what it has, and takes nothing",
                "see whether the node has lost its network, and whether UDP 7946 (or the speakers' \
                 --peers-port) is open",
            ),
            Self::NameShared => (
                "another speaker runs under this node's name",
                "stop one of them: MetalLB's, a second release, or a node with the same name",
            ),
            Self::KubeProxyUnhealthy => (
                "kube-proxy on the node was well and is no more, so the node takes no further address; what \
                 it has it keeps",
                "look at kube-proxy's log on that node: curl http://localhost:10256/healthz asks as the \
                 speaker does",
            ),
            Self::PeerBlocked => (
                "that node lives, and its speaker cannot be heard; who announces what is only seen on the \
                 wire, so a takeover takes up to 16 s",
                "let UDP 7946 (or the speakers' --peers-port) through between the nodes, both ways, and give \
                 all speakers the same port",
            ),
            Self::PeerAnnounces => (
                "a node announces the address whose speaker cannot be heard",
                "let UDP 7946 (or the speakers' --peers-port) through between the nodes, both ways, and give \
                 all speakers the same port",
            ),
            Self::AddressNotListed => (
                "the node got an address that its Node object does not list yet, and without a key other \
                 speakers take datagrams from listed addresses alone: it leaves its addresses to others",
                "see status.addresses of the Node: its kubelet, or the cloud's controller, brings it up to \
                 date (the kubelet's --node-ip may name the old one); where the speakers have a key (the \
                 Secret that ends in -peers) the others follow at once",
            ),
            Self::KernelSilent => (
                "that node answers neither ARP nor ping, so its death is found after a second, not after \
                 0.1 s",
                "let ICMP echo through between the nodes",
            ),
            Self::LinkSilent => (
                "on the link of the address no other node answers this one any more: it hands over what \
                 it has there to one that is answered, and is the last to take something",
                "look at the port and the cable of that link; where no node is answered, at its switch",
            ),
            // --- the network ---
            Self::AddressConflict => (
                "another host of the network says that it has the address; once a Service uses an \
                 address, nothing that is heard on the network takes it away again",
                "find the host by its MAC address and take the address from it; see what a DHCP \
                 server gives out, and whether a router answers for all (proxy_arp); or give the \
                 Service another address: the Event has the command",
            ),
            Self::NoHostAddress => (
                "the address is the network or broadcast address of a node's subnet, or the one that \
                 all its routers have (IPv6), so no host can be reached at it",
                "take it out of the pool; a Service that asks for just that one has to ask for another",
            ),
            Self::PeerKernelAnswers => (
                "the kernel of a cluster node answers ARP for the address",
                "kube-proxy in IPVS mode: set strictARP: true; else look for proxy_arp, or for the \
                 address on an interface of that node",
            ),
            Self::Probing => (
                "the address is announced as soon as it is known that nobody else has it",
                "nothing: it takes a quarter of a second",
            ),
            Self::MetallbPeer => (
                "MetalLB's speakers run in this cluster too",
                "stop MetalLB: both want the same ports, and both would announce",
            ),
            Self::BadSignature => (
                "a datagram is signed with another key, or not at all",
                "give all speakers the same Secret; while a key is changed they accept both",
            ),
            Self::UnknownVersion => (
                "a datagram comes from a speaker of another version",
                "bring all speakers to one version",
            ),
            Self::UnknownPeer => (
                "a datagram names no Node of the cluster; or it comes from no Node's address, and the \
                 speakers have no key that would prove who it is",
                "see whether something translates addresses between nodes, and whether the speakers have \
                 their Secret",
            ),
            Self::TooManyStrangers => (
                "somebody floods the speakers' port from addresses that are no Node's",
                "close UDP 7946 to all but the nodes; beats of the speakers go on meanwhile",
            ),
            Self::Implausible => (
                "a datagram is signed with the speakers' key and has a number that nobody can have \
                 counted to",
                "see whether the clocks of the nodes agree; if they do, somebody has the key: change it",
            ),
            Self::NotAPeer
            | Self::Malformed
            | Self::Replayed
            | Self::NotFresh
            | Self::StaleBoot => (
                "a datagram on the speakers' port is not one of theirs, or is out of date",
                WATCH,
            ),
            Self::ClusterNode => (
                "a cluster node asks for the address: answering it could make packets circle, and it \
                 needs no answer",
                NOTHING,
            ),
            Self::OwnFrame
            | Self::NotOurs
            | Self::OtherDestination
            | Self::NotARequest
            | Self::NotAnAnswer => ("a frame that is not for this speaker", NOTHING),
            Self::UnknownLink | Self::VlanTagged => (
                "a frame from a network that the address is not announced on",
                NOTHING,
            ),
            Self::Truncated
            | Self::NotEthernetIpv4
            | Self::UnknownEthertype
            | Self::BadSenderHardware
            | Self::UnknownOperation
            | Self::NotNeighbourDiscovery
            | Self::ForwardedNeighbourDiscovery
            | Self::BadChecksum
            | Self::InvalidNeighbourDiscovery => ("a frame that no sound host sends", WATCH),
        };
        Explanation { what, remedy }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    #[test]
    fn every_reason_is_a_sentence_and_a_step() {
        let mut all = String::new();
        for reason in Reason::ALL {
            let Explanation { what, remedy } = reason.explanation();
            writeln!(all, "{reason}\n    {what}\n    do: {remedy}").unwrap();
        }
        insta::assert_snapshot!(all);
    }
}
