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
const NOTHING: &str = "nothing to do: this is normal";
/// What comes in from the network and is ignored.
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
                "create the ConfigMap with address pools, or an IPAddressPool and an L2Advertisement: \
                 kubectl ferrolb init proposes them; on minikube: minikube addons configure metallb",
            ),
            Self::ConfigRefused => (
                "the ConfigMap, or one of MetalLB's objects, has errors; its last good version stays in \
                 force, and no Service loses its address",
                "correct the lines or fields that the Event on it names; kubectl ferrolb validate \
                 checks a file before you apply it",
            ),
            Self::AddressesLeftOut => (
                "the ConfigMap or an IPAddressPool names addresses that no host can have, such as loopback \
                 and multicast; they are left out, and the rest of it is in force",
                "correct the lines or fields that the Event on it names; it says what to write",
            ),
            Self::ConfigWaits => (
                "there are IPAddressPools, but they do not hold and announce every address in use, so the \
                 configuration that is in force stays, and no address is lost",
                "add the addresses that the Event on the pool names to a pool that an advertisement covers, \
                 or choose with configSource: objects",
            ),
            Self::ConfigIgnored => (
                "MetalLB's objects are in force, so what the ConfigMap says does not count",
                "delete the ConfigMap, or choose it with configSource: configmap",
            ),
            Self::ConfigTooLarge => (
                "the configuration has more than 900 KiB when it is compiled for the speakers; the last good \
                 one stays in force",
                "write ranges instead of single addresses, and remove objects that nobody needs",
            ),
            Self::CompiledIgnored => (
                "the ConfigMap ferrolb-config was written by another version of FerroLB or edited by hand; \
                 what is in force stays",
                "run one version of FerroLB, and leave that ConfigMap alone: the controller writes it anew",
            ),
            Self::ConfigWarning => (
                "the configuration is in force, and something in it is probably not meant",
                "see what the Event ConfigWarning says; correct it if it is not what you want",
            ),
            Self::PoolOverlaps => (
                "the IPAddressPool contains addresses of another one, which stays in force; this version of \
                 it has no effect, its last good version stays in force, and no Service loses its address",
                "remove the shared addresses from one of the two pools; the Event on this one names the \
                 other",
            ),
            Self::UnknownReference => (
                "the object is in force, but names or selects something that does not exist (yet), such as \
                 a pool",
                "create what the Event on the object names, or correct the name",
            ),
            Self::OtherNamespace => (
                "the object has no effect: only objects in FerroLB's own namespace are read, as with \
                 MetalLB",
                "move it to the namespace that the Event names, or delete it",
            ),
            Self::Unreadable => (
                "an object from the API server cannot be decoded, or is larger than 4 MiB; what was known \
                 of it stays in force, and other objects are not affected",
                "correct the object that the log names, or report a bug: this version may be older than \
                 the API server",
            ),
            Self::NoClusterIp => (
                "the Service has no cluster IP, so its address family is unknown",
                "do not set clusterIP: None on a Service of type LoadBalancer",
            ),
            Self::PoolExhausted => (
                "all addresses of the pools that may serve the Service are in use",
                "add addresses to a pool, delete a Service that holds one, or let Services share one \
                 with the annotation metallb.universe.tf/allow-shared-ip",
            ),
            Self::UnknownPool => (
                "the Service asks for a pool that does not exist",
                "correct the annotation metallb.universe.tf/address-pool, or add the pool; kubectl \
                 ferrolb pools lists the pools",
            ),
            Self::NoPoolMatches => (
                "no pool may serve the Service, because of auto-assign, namespaces, selectors or address \
                 family",
                "ask for a pool by name, or let a pool serve more Services",
            ),
            Self::BadRequestedAddress => (
                "the Service asks for something that is not an address, or for two different ones",
                "use spec.loadBalancerIP or the annotation loadBalancerIPs, or both with the same \
                 value, for at most one address per family of the Service",
            ),
            Self::ValueTooLong => (
                "an annotation or field with which the Service asks for something is longer than 1,024 \
                 bytes, so it is ignored",
                "shorten it, or remove it; the Event on the Service names it",
            ),
            Self::RequestedAddressOutsidePools => (
                "the Service asks for an address that no pool may give it",
                "ask for another address, or add this one to a pool",
            ),
            Self::RequestedAddressInUse => (
                "the Service asks for an address that another Service holds and does not share",
                "ask for another address, release it there, or give both Services the same \
                 metallb.universe.tf/allow-shared-ip and different ports",
            ),
            Self::SharedInDiscord => (
                "Services that share an address no longer match: their keys differ, or with \
                 externalTrafficPolicy: Local their pods; both keep the address, and no other Service \
                 can join them",
                "nothing between two edits: it ends with the second one; otherwise give both the same \
                 allow-shared-ip, externalTrafficPolicy and selector, or give one of them another address",
            ),
            Self::SharedPortTaken => (
                "another Service that shares the address uses a port that this one wants as well, so this \
                 one had to leave",
                "use different ports; if the other Service releases the port within 10 s, this one returns \
                 by itself",
            ),
            Self::HeldOutsidePools => (
                "the Service keeps an address that no pool contains any longer, because editing the \
                 configuration must not cut anybody off",
                "add the address to a pool again, or delete and recreate the Service to get another",
            ),
            Self::OtherClass => (
                "spec.loadBalancerClass names another load balancer",
                "nothing, if that one serves it; a class cannot be changed, so recreate the Service",
            ),
            Self::PortShadowsNode => (
                "on a node's own address, this port of the Service would take the port from the node \
                 itself, and could lock you out",
                "use another port or another address; if you mean it, annotate the Service with \
                 ferrolb.io/allow-node-ports: \"true\", unless its pool has allow-node-ports: false",
            ),
            Self::PortUsualOnNodes => (
                "the Service has a node's own address, and a port there that many nodes have for \
                 themselves: whatever the node has at it is not reached any more",
                "see what the node has at that port; use another port or another address, or annotate the \
                 Service with ferrolb.io/allow-node-ports: \"true\" if you mean it",
            ),
            Self::ClusterAddress => (
                "the address is the API server's, or lies in a range of the cluster's own Services or \
                 pods: on each node the Service takes its ports there, and whoever has the address too \
                 is not reached",
                "give the Service another address, and take the cluster's own out of the pool",
            ),
            Self::ExternalIp => (
                "another Service lists the address in spec.externalIPs, so kube-proxy may send traffic for \
                 it there; such an address is given when no other is left, or when it is asked for",
                "take it out of spec.externalIPs there, or give the Service another address; the Event has \
                 the command",
            ),
            Self::ForeignStatus => (
                "another load balancer wrote the addresses in the Service's status, so it is left \
                 alone",
                "nothing, if the other one should serve it; otherwise turn the other one off, then run \
                 kubectl ferrolb adopt svc/NAME (or annotate the Service with \
                 ferrolb.io/adopt-from and the other one's name in metadata.managedFields); an \
                 address that is in a pool is kept",
            ),
            Self::StatusContested => (
                "another program changed or cleared the status that FerroLB had written, twice within \
                 30 s; FerroLB leaves it alone for ten minutes, because two writers would never stop",
                "turn the other program off; then run kubectl ferrolb adopt svc/NAME ten minutes after \
                 its last write, or clear the status or recreate the Service to go on at once",
            ),
            Self::WriteLoop => (
                "the Service's status was written more than ten times within a minute and was not right \
                 afterwards, or had to change again each time; it is left as it is for ten minutes, or \
                 until the Service or the configuration changes",
                "find what changes it: an admission webhook on services/status, or Nodes whose addresses \
                 (status.addresses) come and go; the Service's Events show the addresses",
            ),
            Self::UnknownAnnotation => (
                "an annotation of the Service has our prefix or MetalLB's, but no such annotation exists",
                "correct its name, including capitals, or remove it",
            ),
            // --- who announces ---
            Self::NoAddress => (
                "the Service has no address, so there is nothing to announce",
                "find out why it has none: kubectl ferrolb explain",
            ),
            Self::NoEndpoint => (
                "no pod of the Service is ready anywhere, so nobody announces its address",
                "compare spec.selector with the labels of the pods, and check why they are not ready",
            ),
            Self::NoLocalEndpoint => (
                "with externalTrafficPolicy: Local only nodes with a ready pod announce, and this node \
                 has none",
                NOTHING,
            ),
            Self::NotOwner => ("another node announces the address", NOTHING),
            Self::NodeAddress => (
                "the address is a node's own, so that node's kernel answers for it and nobody announces it",
                "nothing; it does not fail over when that node dies: use a free address if it should",
            ),
            Self::NetworkUnavailable => (
                "the node's condition NetworkUnavailable is true",
                "check the network plugin on that node",
            ),
            Self::ExcludedNode => (
                "the node has the label node.kubernetes.io/exclude-from-external-load-balancers, and \
                 another node without it can announce",
                "remove the label if the node should announce",
            ),
            Self::StrictlyExcludedNode => (
                "the node has the label node.kubernetes.io/exclude-from-external-load-balancers, and \
                 the speakers treat it strictly",
                "remove the label, or set the chart's speaker.excludeLabel to prefer",
            ),
            Self::NodeLeaving => (
                "the node is cordoned, being deleted or shut down, and another one announces",
                "kubectl uncordon it if it should announce again",
            ),
            Self::OtherNodeChosen => (
                "the annotation ferrolb.io/move-to of the Service, or of all Services at the address, names \
                 another node, and that one announces",
                "remove the annotation, or name the node that should announce: kubectl ferrolb move",
            ),
            Self::EndpointTerminating => (
                "with externalTrafficPolicy: Local only nodes with a ready pod announce, and the last pod \
                 here is terminating",
                NOTHING,
            ),
            Self::UnknownNode => (
                "the API server lists no Node with this speaker's name",
                "check that FERROLB_NODE_NAME in the speaker's pod is set from spec.nodeName",
            ),
            Self::NoLink => (
                "no network interface of this node may announce the address",
                "check the pool's interfaces, and whether the interface is up",
            ),
            Self::NoLinkOnSubnet => (
                "the address is in no subnet of this node, so it is announced on every interface",
                "choose addresses from the nodes' own subnet, unless a router routes these",
            ),
            Self::SubnetElsewhere => (
                "other nodes are in the address's subnet and this one is not, so it leaves the address to \
                 them",
                "nothing, if the node was never in that subnet; otherwise check why its interface has lost \
                 its address or prefix (an expired DHCP lease, a network restart)",
            ),
            Self::StandbyLink => (
                "another network interface of the node is in the same subnet and announces the address",
                "nothing; to choose another one, name it in the pool's interfaces or lower its route metric",
            ),
            Self::SpeakerSilent => (
                "the speaker of that node does not answer",
                "check its pod and its node; UDP 7946 (or the speakers' --peers-port) must be open between \
                 the nodes",
            ),
            Self::NodeNotSelected => (
                "the pool's node-selectors do not select the node",
                "change them if it should announce",
            ),
            Self::AddressOutsidePools => (
                "the address is in no pool, and FerroLB did not assign it, so it is not announced",
                "add it to a pool, or leave it to the load balancer that assigned it",
            ),
            Self::SharedWithSelectors => (
                "the Service has the annotation allow-shared-ip, and an advertisement with serviceSelectors \
                 covers it: as with MetalLB, nobody announces its address",
                "remove the annotation, or select the Service by an advertisement without serviceSelectors \
                 alone",
            ),
            Self::NotAdvertised => (
                "no advertisement covers the address's pool and its Service, so it is not announced",
                "add an advertisement that names the pool, and check its service selectors",
            ),
            Self::BgpNotAnnounced => (
                "the address is from a pool with protocol bgp, which FerroLB does not support yet",
                "use protocol layer2, or another BGP speaker",
            ),
            Self::Joining => (
                "the speaker has just started and is learning who owns what",
                "nothing: it takes about a second",
            ),
            Self::Unwanted => ("no Service wants the address announced", NOTHING),
            Self::Ineligible => (
                "this node may not answer for the address",
                "nothing, if another node does; kubectl ferrolb explain says why this one may not",
            ),
            Self::Reserved => (
                "the address waits for its owner's speaker, which is restarting: moving it would break \
                 connections",
                NOTHING,
            ),
            Self::Leaving => (
                "the speaker is stopping and hands its addresses over",
                NOTHING,
            ),
            Self::Isolated => (
                "the speaker hears no other one, so it keeps its addresses and takes no new ones",
                "check whether the node has lost its network, and whether UDP 7946 (or the speakers' \
                 --peers-port) is open",
            ),
            Self::NameShared => (
                "another speaker runs under this node's name",
                "stop one of them: it may be MetalLB's, a second release, or a node with the same name",
            ),
            Self::KubeProxyUnhealthy => (
                "kube-proxy on the node has become unhealthy; the node keeps its addresses and takes no new \
                 ones",
                "look at kube-proxy's log on that node; curl http://localhost:10256/healthz asks what the \
                 speaker asks",
            ),
            Self::PeerBlocked => (
                "that node is up, but its speaker cannot be heard; its announcements are seen only on the \
                 network, so a failover takes up to 16 s",
                "let UDP 7946 (or the speakers' --peers-port) through between the nodes, both ways, and give \
                 all speakers the same port",
            ),
            Self::PeerAnnounces => (
                "the address is announced by a node whose speaker cannot be heard",
                "let UDP 7946 (or the speakers' --peers-port) through between the nodes, both ways, and give \
                 all speakers the same port",
            ),
            Self::AddressNotListed => (
                "the node has an address that its Node object does not list yet, and without a key speakers \
                 accept datagrams only from listed addresses, so it leaves its addresses to other nodes",
                "check status.addresses of the Node: its kubelet or the cloud controller updates it (the \
                 kubelet's --node-ip may name the old address); if the speakers have a key (the Secret that \
                 ends in -peers), the others follow at once",
            ),
            Self::KernelSilent => (
                "that node answers neither ARP nor ping, so its death is detected after a second instead of \
                 0.1 s",
                "allow ICMP echo between the nodes",
            ),
            Self::LinkSilent => (
                "on the address's link no other node answers this one any longer, so it hands its addresses \
                 there to a node that gets answers, and takes new ones last",
                "check the port and the cable of that link; if no node gets answers, check the switch",
            ),
            // --- the network ---
            Self::AddressConflict => (
                "another host on the network claims the address; once a Service uses an address, nothing \
                 that is heard on the network takes it away",
                "find the host by its MAC address and remove the address from it; check the range of your \
                 DHCP server, and whether a router answers for all addresses (proxy_arp); or give the \
                 Service another address: the Event has the command",
            ),
            Self::NoHostAddress => (
                "the address is the network or broadcast address of a node's subnet, or its subnet-router \
                 anycast address (IPv6), so no host can be reached at it",
                "remove it from the pool; a Service that asks for it has to ask for another one",
            ),
            Self::GatewayAddress => (
                "the address is the default gateway of a node, so pools leave it out; a Service that had it \
                 before keeps it",
                "give the Service another address (the Event has the command), and exclude this one from the \
                 pool",
            ),
            Self::PeerKernelAnswers => (
                "the kernel of a cluster node answers ARP for the address",
                "with kube-proxy in IPVS mode, set strictARP: true; otherwise look for proxy_arp, or for the \
                 address on an interface of that node",
            ),
            Self::Probing => (
                "the address is being checked, and announced as soon as no other host has it",
                "nothing: it takes a quarter of a second",
            ),
            Self::MetallbPeer => (
                "MetalLB's speakers run in this cluster, too",
                "stop MetalLB: both use the same ports, and both would announce",
            ),
            Self::BadSignature => (
                "a datagram is signed with another key, or not at all",
                "give all speakers the same Secret; while a key is being changed they accept both",
            ),
            Self::UnknownVersion => (
                "a datagram comes from a speaker of another version",
                "run the same version of all speakers",
            ),
            Self::UnknownPeer => (
                "a datagram names no Node of the cluster, or comes from an address of no Node while the \
                 speakers have no key to check the sender",
                "check whether something translates addresses between nodes, and whether the speakers have \
                 their Secret",
            ),
            // --- pods of dead nodes ---
            Self::DeathNotConfirmed => (
                "only one speaker says that the node is dead, and two have to agree",
                "nothing, if the node lives; a cluster of two nodes cannot confirm a death",
            ),
            Self::TooManyDead => (
                "more nodes are silent than may be taken for dead at a time: a third of them, and fewer than \
                 half; the network between them may be cut",
                "look at the nodes and at the network between them; kubectl get nodes says what the API \
                 server sees",
            ),
            Self::NodeAnswers => (
                "speakers say that the node is dead, but it answers the controller on the kubelet's port",
                "check the network between that node and the others; if all is well, somebody forges votes: \
                 look at the ConfigMap ferrolb-votes",
            ),
            Self::LookBlind => (
                "the controller cannot reach the kubelet's port of any node, so it cannot tell whether one \
                 is dead",
                "allow TCP 10250 from the controller's pods to the nodes",
            ),
            Self::LastEndpoint => (
                "the pod is the last ready endpoint of a Service on a living node, and is left to it",
                "run more replicas, on more nodes",
            ),
            Self::DeadNodeIgnored => (
                "the annotation ferrolb.io/dead-node: ignore is on the pod's Service or Namespace",
                NOTHING,
            ),
            Self::KubeletContradicts => (
                "the node's kubelet said that a pod is ready which was out of rotation: the node is alive, \
                 though two speakers cannot reach it; its pods are left alone for ten minutes",
                "check the network between that node and the others",
            ),
            Self::MarkedLately => (
                "pods of the node were taken out of rotation less than a minute ago",
                "look at the node: it comes and goes",
            ),
            Self::NoRightToPods => (
                "deadNodes.endpoints is remove, but the controller has no right to patch pods/status, or to \
                 watch EndpointSlices or the votes",
                "run helm upgrade, or give its ServiceAccount the rights that docs/security.md lists",
            ),
            Self::TooManyStrangers => (
                "somebody floods the speakers' port from addresses of no Node",
                "close UDP 7946 to everything but the nodes; the speakers keep hearing each other meanwhile",
            ),
            Self::Implausible => (
                "a datagram is signed with the speakers' key, but contains an impossibly high number",
                "check whether the clocks of the nodes agree; if they do, somebody has the key: change it",
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
                "a cluster node asks for the address; it needs no answer, and answering could make packets \
                 loop",
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
            | Self::InvalidNeighbourDiscovery => ("a malformed frame", WATCH),
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
