//! Every annotation that anybody here reads or writes: where, what may stand there, and who does it. Their names
//! are in [`crate::names`], with what they mean; the reference page of the annotations is made of both.

use crate::config::objects::Kind;
use crate::names::{
    ALLOW_NODE_PORTS, ANNOTATION_ADOPT_FROM, ANNOTATION_DEAD_NODE, ANNOTATION_MOVE_TO,
    ANNOTATION_WITHOUT_EFFECT, annotation,
};

#[cfg(feature = "k8s")]
pub(crate) mod unknown;

/// What the names of our own begin with.
pub const OUR_PREFIX: &str = "ferrolb.io/";

/// An annotation.
#[derive(Debug, Clone, Copy)]
pub struct Annotation {
    /// Its name. One of `MetalLB`'s has no prefix here: it is the same under each of
    /// [`crate::names::ANNOTATION_PREFIXES`].
    pub name: &'static str,
    /// On what.
    pub on: &'static [On],
    /// What may stand there.
    pub value: &'static str,
    /// Who reads it.
    pub reader: &'static str,
    /// Who writes it.
    pub writer: &'static str,
}

/// What has an annotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// A Service.
    Service,
    /// A Namespace, for all that is in it.
    Namespace,
    /// The Deployment of the controller and the `DaemonSet` of the speakers.
    Daemons,
}

/// An annotation on one of `MetalLB`'s objects: [`OUR_PREFIX`], and the key of a pool in the `ConfigMap` that means
/// the same.
#[derive(Debug, Clone, Copy)]
pub struct OfObject {
    /// On which kind.
    pub kind: Kind,
    /// The key.
    pub key: &'static str,
    /// What may stand there: a text, as in every annotation.
    pub value: &'static str,
}

/// All but those of `MetalLB`'s objects.
pub const ALL: [Annotation; 9] = [
    Annotation {
        name: annotation::ADDRESS_POOL,
        on: &[On::Service],
        value: "a pool's name",
        reader: "controller",
        writer: "you",
    },
    Annotation {
        name: annotation::LOAD_BALANCER_IPS,
        on: &[On::Service],
        value: "addresses, with commas between them",
        reader: "controller",
        writer: "you",
    },
    Annotation {
        name: annotation::ALLOW_SHARED_IP,
        on: &[On::Service],
        value: "any text, the key",
        reader: "controller, speaker",
        writer: "you",
    },
    Annotation {
        name: annotation::IP_ALLOCATED_FROM_POOL,
        on: &[On::Service],
        value: "a pool's name",
        reader: "nobody",
        writer: "MetalLB",
    },
    Annotation {
        name: ALLOW_NODE_PORTS,
        on: &[On::Service],
        value: "`\"true\"`",
        reader: "controller",
        writer: "you",
    },
    Annotation {
        name: ANNOTATION_MOVE_TO,
        on: &[On::Service],
        value: "a node's name",
        reader: "speaker",
        writer: "you, `kubectl ferrolb move`, `kubectl ferrolb rebalance`",
    },
    Annotation {
        name: ANNOTATION_ADOPT_FROM,
        on: &[On::Service],
        value: "a field manager's name",
        reader: "controller",
        writer: "you, `kubectl ferrolb adopt`",
    },
    Annotation {
        name: ANNOTATION_DEAD_NODE,
        on: &[On::Service, On::Namespace],
        value: "`ignore`",
        reader: "controller",
        writer: "you",
    },
    Annotation {
        name: ANNOTATION_WITHOUT_EFFECT,
        on: &[On::Daemons],
        value: "names of chart values, with commas between them",
        reader: "`kubectl ferrolb check`",
        writer: "the chart",
    },
];

/// Those of `MetalLB`'s objects.
pub const OF_OBJECTS: [OfObject; 5] = [
    OfObject {
        kind: Kind::IpAddressPool,
        key: "exclude",
        value: "addresses, ranges and CIDRs, with commas between them",
    },
    OfObject {
        kind: Kind::IpAddressPool,
        key: "sharing",
        value: "`\"true\"` or `\"false\"`",
    },
    OfObject {
        kind: Kind::IpAddressPool,
        key: "share-within",
        value: "`cluster` or `namespace`",
    },
    OfObject {
        kind: Kind::IpAddressPool,
        key: "allow-node-ports",
        value: "`\"true\"` or `\"false\"`",
    },
    OfObject {
        kind: Kind::L2Advertisement,
        key: "preferred-nodes",
        value: "the list of `preferredNodeSelectors`, as YAML or JSON",
    },
];

/// The names of those on that.
pub fn names_on(on: On) -> impl Iterator<Item = &'static str> {
    let those = ALL.into_iter().filter(move |one| one.on.contains(&on));
    those.map(|one| one.name)
}

/// The keys of those on objects of that kind.
pub fn keys_on(kind: Kind) -> impl Iterator<Item = &'static str> {
    let those = OF_OBJECTS.into_iter().filter(move |one| one.kind == kind);
    those.map(|one| one.key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys;

    #[test]
    fn every_annotation_in_names_is_in_the_table() {
        let lines = include_str!("names.rs").lines();
        let code = lines.filter(|line| !line.trim_start().starts_with("//"));
        let quoted = code.flat_map(|line| line.split('"').skip(1).step_by(2));
        let ours: Vec<_> = quoted.filter(|text| text.starts_with(OUR_PREFIX)).collect();
        assert!(ours.len() >= 5, "{ours:?}");
        for name in ours {
            assert!(ALL.iter().any(|one| one.name == name), "{name}");
        }
    }

    #[test]
    fn every_annotation_of_an_object_is_a_key_of_a_pool() {
        for one in OF_OBJECTS {
            assert!(keys::POOL.contains(&one.key), "{}", one.key);
        }
    }
}
