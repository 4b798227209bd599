//! Every key that the text of a `ConfigMap` may have, with what may stand there and what it means. The readers
//! take these keys and no others, and the reference page of the configuration is made of them.

/// Keys that stand together in a mapping.
#[derive(Debug, Clone, Copy)]
pub struct Mapping {
    /// Where it stands in the text, `[]` for the entries of a list; empty for the whole text.
    pub place: &'static str,
    /// What it is.
    pub about: &'static str,
    /// Its keys, in the order of their explanation.
    pub keys: &'static [Key],
}

/// A key of a [`Mapping`].
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// As it is written.
    pub name: &'static str,
    /// What may stand there.
    pub value: &'static str,
    /// What counts without it.
    pub without: Without,
    /// Whether anything depends on it.
    pub effect: Effect,
    /// What it means.
    pub meaning: &'static str,
}

/// What counts where a key is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Without {
    /// That is a mistake.
    Refused,
    /// Nothing, an empty list, or what the meaning says.
    Nothing,
    /// This, as it would be written.
    Default(&'static str),
}

/// Whether anything depends on a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It does what its meaning says.
    Works,
    /// It is read and checked, and nothing depends on it: nothing speaks BGP yet.
    Checked,
}

/// Of each mapping its place, its keys, and the list of their names for its reader. A key without a meaning does not
/// compile.
macro_rules! mappings {
    ($(
        $(#[doc = $about:literal])+
        $reader:ident at $place:literal {$(
            $(#[doc = $meaning:literal])+
            $name:literal: $value:literal, $without:expr, $effect:ident;
        )+}
    )+) => {
        $($(#[doc = $about])+ pub const $reader: &[&str] = &[$($name),+];)+

        /// All of them.
        pub const ALL: &[Mapping] = &[$(
            Mapping {
                place: $place,
                about: concat!($($about),+),
                keys: &[$(
                    Key {
                        name: $name,
                        value: $value,
                        without: $without,
                        effect: Effect::$effect,
                        meaning: concat!($($meaning),+),
                    },
                )+],
            },
        )+];
    };
}

use Without::{Default, Nothing, Refused};

mappings! {
    /// What stands in key `config` of the `ConfigMap`.
    ROOT at "" {
        /// The pools of addresses.
        "address-pools": "list", Nothing, Works;
        /// BGP routers.
        "peers": "list", Nothing, Checked;
        /// Names for BGP communities.
        "bgp-communities": "mapping, such as `my-site: 64512:100`", Nothing, Checked;
        /// Settings of BFD that peers refer to.
        "bfd-profiles": "list", Nothing, Checked;
    }

    /// A pool: addresses, who gets them, and how they are announced.
    POOL at "address-pools[]" {
        /// The pool's name, by which Services ask for it. No two pools have the same.
        "name": "text", Refused, Works;
        /// How the addresses are announced. Those of a `bgp` pool are given to Services, and nothing announces
        /// them yet.
        "protocol": "`layer2` or `bgp`", Refused, Works;
        /// The addresses, IPv4 and IPv6, in the order in which they are given. No two entries overlap.
        "addresses": "list of CIDRs, ranges `FIRST-LAST` and single addresses", Refused, Works;
        /// Addresses to leave out of the pool. Another pool may have them. A Service that has one keeps it and gets a
        /// Warning.
        "exclude": "list of CIDRs, ranges `FIRST-LAST` and single addresses", Nothing, Works;
        /// Whether Services that do not ask for this pool get addresses from it.
        "auto-assign": "`true` or `false`", Default("true"), Works;
        /// Whether IPv4 addresses that end in .0 or .255 are skipped.
        "avoid-buggy-ips": "`true` or `false`", Default("false"), Works;
        /// What is told to routers, for a pool with `protocol: bgp` only.
        "bgp-advertisements": "list", Nothing, Checked;
        /// Pools with a lower number are tried first. Those without one come last, in the order of the file.
        "priority": "number, 1 to 4294967295", Nothing, Works;
        /// Only for Services in these namespaces.
        "namespaces": "list of names", Nothing, Works;
        /// Only for Services in namespaces that one of these selects, in addition to `namespaces`.
        "namespace-selectors": "list of label selectors", Nothing, Works;
        /// Only for Services that one of these selects.
        "service-selectors": "list of label selectors", Nothing, Works;
        /// Only nodes that one of these selects announce.
        "node-selectors": "list of label selectors", Nothing, Works;
        /// Of the nodes that may announce, those with the highest sum of weights come first.
        "preferred-nodes": "list of weights and label selectors", Nothing, Works;
        /// Only these network interfaces announce.
        "interfaces": "list of names, of at most 15 bytes each", Nothing, Works;
        /// Whether Services share the pool's addresses without a key, where their ports allow it.
        "sharing": "`true` or `false`", Default("false"), Works;
        /// With `namespace`, Services of different namespaces do not come to share an address, whatever their key.
        "share-within": "`cluster` or `namespace`", Default("cluster"), Works;
        /// Whether a Service with the annotation `ferrolb.io/allow-node-ports` may take a port that a node needs, on
        /// the node's own address.
        "allow-node-ports": "`true` or `false`", Default("true"), Works;
    }

    /// What is told to routers of the addresses of a pool with `protocol: bgp`.
    BGP_ADVERTISEMENT at "address-pools[].bgp-advertisements[]" {
        /// Prefix length of the IPv4 routes. No prefix may be larger than all those of a range of the pool.
        "aggregation-length": "number, 0 to 32", Default("32"), Checked;
        /// The same for IPv6.
        "aggregation-length-v6": "number, 0 to 128", Default("128"), Checked;
        /// The local preference, for routers of the same AS.
        "localpref": "number, 0 to 4294967295", Default("0"), Checked;
        /// Communities to add to the routes, by themselves or by their names in `bgp-communities`.
        "communities": "list of communities, such as `64512:100`, and names", Nothing, Checked;
    }

    /// Nodes that are preferred.
    PREFERENCE at "address-pools[].preferred-nodes[]" {
        /// Weights of all entries that select a node are added up.
        "weight": "number, 1 to 100", Refused, Works;
        /// The nodes.
        "preference": "label selector", Refused, Works;
    }

    /// A label selector, wherever one stands. It selects what meets all of it; an empty one, `{}`, selects everything.
    SELECTOR at "node-selectors[]" {
        /// Labels with the values that they must have.
        "match-labels": "mapping, such as `{rack: a}`", Nothing, Works;
        /// Conditions on labels.
        "match-expressions": "list", Nothing, Works;
    }

    /// A condition on a label.
    EXPRESSION at "node-selectors[].match-expressions[]" {
        /// The label's name.
        "key": "text", Refused, Works;
        /// What it must be: one of the values, none of them, there, or not there.
        "operator": "`In`, `NotIn`, `Exists` or `DoesNotExist`", Refused, Works;
        /// The values, for `In` and `NotIn` only, which need at least one.
        "values": "list of texts", Nothing, Works;
    }

    /// A BGP router.
    PEER at "peers[]" {
        /// The AS number of the nodes.
        "my-asn": "number, 1 to 4294967295", Refused, Checked;
        /// The AS number of the router.
        "peer-asn": "number, 1 to 4294967295", Refused, Checked;
        /// The router's address.
        "peer-address": "IPv4 or IPv6 address", Refused, Checked;
        /// The address that nodes connect from.
        "source-address": "IPv4 or IPv6 address", Nothing, Checked;
        /// The router's TCP port. 0 is the default.
        "peer-port": "number, 0 to 65535", Default("179"), Checked;
        /// The connection ends after so long without a message. 0 is for ever, otherwise at least `3s`.
        "hold-time": "duration, such as `90s` or `1m30s`", Default("90s"), Checked;
        /// Messages are at most so far apart. A third of the hold time by default, and at most the hold time.
        "keepalive-time": "duration, such as `30s`", Nothing, Checked;
        /// The nodes' BGP identifier.
        "router-id": "IPv4 or IPv6 address", Nothing, Checked;
        /// Only nodes that one of these selects connect to it.
        "node-selectors": "list of label selectors", Nothing, Checked;
        /// The password of the TCP connection (RFC 2385).
        "password": "text", Nothing, Checked;
        /// The name of one of the `bfd-profiles`.
        "bfd-profile": "text", Nothing, Checked;
        /// Whether the router of another AS may be several hops away.
        "ebgp-multihop": "`true` or `false`", Default("false"), Checked;
    }

    /// Settings of BFD, by which the loss of a router would be noticed.
    BFD_PROFILE at "bfd-profiles[]" {
        /// The profile's name, which peers refer to. No two profiles have the same.
        "name": "text", Refused, Checked;
        /// The least time between two packets that are received, in milliseconds.
        "receive-interval": "number, 10 to 60000", Nothing, Checked;
        /// The least time between two packets that are sent, in milliseconds.
        "transmit-interval": "number, 10 to 60000", Nothing, Checked;
        /// The least time between two echo packets, in milliseconds.
        "echo-interval": "number, 10 to 60000", Nothing, Checked;
        /// So many packets have to be lost.
        "detect-multiplier": "number, 2 to 255", Nothing, Checked;
        /// The least TTL of a packet that is received, for a router several hops away.
        "minimum-ttl": "number, 1 to 254", Nothing, Checked;
        /// Whether echo packets are sent.
        "echo-mode": "`true` or `false`", Default("false"), Checked;
        /// Whether the router sends the first packet.
        "passive-mode": "`true` or `false`", Default("false"), Checked;
    }
}
