//! From MetalLB's objects to our configuration.

use std::collections::BTreeMap;

use anyhow::Context;
use ferrolb_core::annotations::{OUR_PREFIX, keys_on};
use ferrolb_core::config::objects::Kind;
use ferrolb_core::config::{LabelExpression, LabelOperator, LabelSelector};
use serde_yaml::Value;

use super::manifests::for_every_reader;
use super::metallb::{
    BgpSpec, L2Spec, Metadata, Object, Objects, Other, PeerSpec, PoolSpec, Pools, Preferred,
    Selector,
};
use super::others::said;
use super::{Migrated, not_announced, ours};

/// What an annotation of an L2Advertisement says beside `preferredNodeSelectors`.
const PREFERRED: &str = "preferred-nodes";

/// Converts all of it.
pub(super) fn convert(objects: &Objects) -> anyhow::Result<Migrated> {
    let mut lost = Vec::new();
    tell_annotations(objects, &mut lost);
    let config = ours::Config {
        peers: objects
            .peers
            .iter()
            .filter_map(|it| peer(it, &mut lost))
            .collect(),
        bgp_communities: communities(objects, &mut lost),
        bfd_profiles: objects
            .profiles
            .iter()
            .map(|profile| {
                tell_unknown(
                    "BFDProfile",
                    &profile.metadata.name,
                    &profile.spec.other,
                    &mut lost,
                );
                let theirs = &profile.spec;
                ours::Profile {
                    name: profile.metadata.name.clone(),
                    receive_interval: theirs.receive_interval,
                    transmit_interval: theirs.transmit_interval,
                    echo_interval: theirs.echo_interval,
                    detect_multiplier: theirs.detect_multiplier,
                    minimum_ttl: theirs.minimum_ttl,
                    echo_mode: theirs.echo_mode.filter(|on| *on),
                    passive_mode: theirs.passive_mode.filter(|on| *on),
                }
            })
            .collect(),
        address_pools: in_order(&objects.pools)
            .into_iter()
            .map(|it| pool(it, objects, &mut lost))
            .collect(),
    };
    for (kind, name, of) in advertised(objects) {
        for named in &of.ip_address_pools {
            if !objects
                .pools
                .iter()
                .any(|pool| pool.metadata.name == *named)
            {
                lost.push(format!(
                    "{kind} {name} refers to pool {named}, which does not exist"
                ));
            }
        }
    }
    for Object { metadata, spec } in &objects.l2 {
        let kind = "L2Advertisement";
        tell_unknown(kind, &metadata.name, &spec.other, &mut lost);
        if !spec.service_selectors.is_empty() {
            lost.push(no_equivalent(kind, &metadata.name, "serviceSelectors"));
        }
    }
    for Object { metadata, spec } in &objects.bgp {
        let kind = "BGPAdvertisement";
        tell_unknown(kind, &metadata.name, &spec.other, &mut lost);
        for (field, is_set) in [
            ("nodeSelectors", !spec.node_selectors.is_empty()),
            ("peers", !spec.peers.is_empty()),
            ("serviceSelectors", !spec.service_selectors.is_empty()),
        ] {
            if is_set {
                lost.push(no_equivalent(kind, &metadata.name, field));
            }
        }
    }
    let config = serde_yaml::to_string(&config).context("cannot write the configuration")?;
    let config = for_every_reader(&config);
    Ok(Migrated { config, lost })
}

/// A Service that may have an address of a pool with a `serviceAllocation` gets it from there; MetalLB
/// looks at all others afterwards. Ours are tried by priority, then as they stand in the file.
fn in_order(pools: &[Object<PoolSpec>]) -> Vec<&Object<PoolSpec>> {
    let mut ordered: Vec<_> = pools.iter().collect();
    ordered.sort_by_key(|pool| pool.spec.service_allocation.is_none());
    ordered
}

fn advertised(objects: &Objects) -> impl Iterator<Item = (&'static str, &str, &Pools)> {
    let l2 = objects.l2.iter();
    let l2 = l2.map(|it| ("L2Advertisement", it.metadata.name.as_str(), &it.spec.of));
    let bgp = objects.bgp.iter();
    l2.chain(bgp.map(|it| ("BGPAdvertisement", it.metadata.name.as_str(), &it.spec.of)))
}

fn pool(theirs: &Object<PoolSpec>, objects: &Objects, lost: &mut Vec<String>) -> ours::Pool {
    let (name, spec) = (&theirs.metadata.name, &theirs.spec);
    let l2: Vec<_> = objects
        .l2
        .iter()
        .filter(|it| it.spec.of.has(theirs))
        .collect();
    let bgp: Vec<_> = objects
        .bgp
        .iter()
        .filter(|it| it.spec.of.has(theirs))
        .collect();
    let by_bgp = l2.is_empty() && !bgp.is_empty();
    match (l2.is_empty(), bgp.is_empty()) {
        (true, true) => lost.push(format!(
            "pool {name} has no advertisement, so MetalLB does not announce its addresses; FerroLB \
             will announce them at layer 2"
        )),
        (true, false) => lost.push(not_announced(name)),
        (false, false) => lost.push(format!(
            "pool {name} is announced at layer 2 and with BGP: only layer 2 is converted"
        )),
        (false, true) => {}
    }
    tell_unknown("IPAddressPool", name, &spec.other, lost);
    tell_pairs(name, &l2, lost);
    let allocation = spec.service_allocation.clone().unwrap_or_default();
    ours::Pool {
        name: name.clone(),
        protocol: if by_bgp { "bgp" } else { "layer2" },
        addresses: spec.addresses.clone(),
        auto_assign: spec.auto_assign.filter(|on| !on),
        avoid_buggy_ips: spec.avoid_buggy_ips.filter(|on| *on),
        // For MetalLB 0 is "none", which comes last.
        priority: allocation
            .priority
            .filter(|priority| *priority > 0)
            .and_then(|priority| u32::try_from(priority).ok()),
        namespaces: allocation.namespaces.clone(),
        namespace_selectors: ours::selectors(&allocation.namespace_selectors),
        service_selectors: ours::selectors(&allocation.service_selectors),
        node_selectors: ours::selectors(&union(&l2, |spec| &spec.node_selectors)),
        interfaces: union(&l2, |spec| &spec.interfaces),
        // Weights are added up.
        preferred_nodes: l2
            .iter()
            .flat_map(|it| {
                let annotated = preferred(&it.metadata).and_then(Result::ok);
                let own = it.spec.preferred_node_selectors.iter().cloned();
                own.chain(annotated.unwrap_or_default())
            })
            .map(|one| ours::Preferred::from(&one))
            .collect(),
        bgp_advertisements: if by_bgp {
            bgp.iter().map(|it| advertisement(&it.spec)).collect()
        } else {
            Vec::new()
        },
        ours: ours(&theirs.metadata),
    }
}

/// What FerroLB has besides MetalLB's fields: annotations there, keys of the same names here.
fn ours(metadata: &Metadata) -> BTreeMap<String, Value> {
    let key = |(name, text): (&String, &String)| {
        let key = name.strip_prefix(OUR_PREFIX)?;
        keys_on(Kind::IpAddressPool)
            .any(|known| known == key)
            .then(|| {
                let value = if key == "exclude" {
                    let entries = text.split(',').map(str::trim);
                    entries.filter(|entry| !entry.is_empty()).collect()
                } else {
                    serde_yaml::from_str(text).unwrap_or_else(|_| text.as_str().into())
                };
                (key.to_owned(), value)
            })
    };
    metadata.annotations.iter().filter_map(key).collect()
}

/// What the annotation says, if there is one.
fn preferred(metadata: &Metadata) -> Option<Result<Vec<Preferred>, serde_yaml::Error>> {
    let name = format!("{OUR_PREFIX}{PREFERRED}");
    let text = metadata.annotations.get(&name)?;
    Some(serde_yaml::from_str::<Option<_>>(text).map(Option::unwrap_or_default))
}

/// Annotations of ours that are not taken over.
fn tell_annotations(objects: &Objects, lost: &mut Vec<String>) {
    fn of<Spec>(objects: &[Object<Spec>]) -> impl Iterator<Item = &Metadata> {
        objects.iter().map(|object| &object.metadata)
    }
    let pools = of(&objects.pools).map(|one| (Kind::IpAddressPool, one));
    let all = pools
        .chain(of(&objects.l2).map(|one| (Kind::L2Advertisement, one)))
        .chain(of(&objects.bgp).map(|one| (Kind::BgpAdvertisement, one)))
        .chain(of(&objects.peers).map(|one| (Kind::BgpPeer, one)))
        .chain(of(&objects.profiles).map(|one| (Kind::BfdProfile, one)))
        .chain(of(&objects.communities).map(|one| (Kind::Community, one)));
    for (kind, metadata) in all {
        let name = &metadata.name;
        for annotation in metadata.annotations.keys() {
            let Some(word) = annotation.strip_prefix(OUR_PREFIX) else {
                continue;
            };
            if !keys_on(kind).any(|known| known == word) {
                lost.push(format!(
                    "{kind} {name}: nobody reads the annotation {annotation} of this kind, and it is left out"
                ));
            } else if word == PREFERRED
                && let Some(Err(error)) = preferred(metadata)
            {
                lost.push(format!(
                    "{kind} {name}: the annotation {annotation} cannot be read, and is left out: {error}"
                ));
            }
        }
    }
}

/// What any of the advertisements allows; one without a list allows all, which is an empty list.
fn union<T: Clone + PartialEq>(
    advertisements: &[&Object<L2Spec>],
    list: impl Fn(&L2Spec) -> &Vec<T>,
) -> Vec<T> {
    let mut all = Vec::new();
    for advertisement in advertisements {
        let allowed = list(&advertisement.spec);
        if allowed.is_empty() {
            return Vec::new();
        }
        let new: Vec<T> = allowed
            .iter()
            .filter(|one| !all.contains(*one))
            .cloned()
            .collect();
        all.extend(new);
    }
    all
}

/// Several advertisements of a pool can pair nodes with interfaces; one pool of ours cannot.
fn tell_pairs(pool: &str, advertisements: &[&Object<L2Spec>], lost: &mut Vec<String>) {
    let Some((first, rest)) = advertisements.split_first() else {
        return;
    };
    let differ = rest
        .iter()
        .any(|it| it.spec.node_selectors != first.spec.node_selectors)
        && rest
            .iter()
            .any(|it| it.spec.interfaces != first.spec.interfaces);
    if differ {
        let names: Vec<_> = advertisements
            .iter()
            .map(|it| it.metadata.name.as_str())
            .collect();
        lost.push(format!(
            "pool {pool}: L2Advertisements {} select different interfaces for different nodes: \
             FerroLB announces on all of these interfaces on all of these nodes",
            names.join(", ")
        ));
    }
}

fn advertisement(theirs: &BgpSpec) -> ours::Advertisement {
    ours::Advertisement {
        // The API server writes these defaults into each object.
        aggregation_length: theirs.aggregation_length.filter(|length| *length != 32),
        aggregation_length_v6: theirs.aggregation_length_v6.filter(|length| *length != 128),
        localpref: theirs.localpref,
        communities: theirs.communities.clone(),
    }
}

fn peer(theirs: &Object<PeerSpec>, lost: &mut Vec<String>) -> Option<ours::Peer> {
    let (name, spec) = (&theirs.metadata.name, &theirs.spec);
    tell_unknown("BGPPeer", name, &spec.other, lost);
    let (Some(peer_asn), Some(peer_address)) = (spec.peer_asn, &spec.peer_address) else {
        lost.push(format!(
            "BGPPeer {name} has no peerASN or no peerAddress, and is skipped"
        ));
        return None;
    };
    Some(ours::Peer {
        my_asn: spec.my_asn,
        peer_asn,
        peer_address: peer_address.clone(),
        source_address: spec.source_address.clone().filter(|text| !text.is_empty()),
        peer_port: spec.peer_port,
        hold_time: spec.hold_time.clone(),
        keepalive_time: spec.keepalive_time.clone(),
        router_id: spec.router_id.clone().filter(|text| !text.is_empty()),
        node_selectors: ours::selectors(&spec.node_selectors),
        password: spec.password.clone().filter(|text| !text.is_empty()),
        bfd_profile: spec.bfd_profile.clone().filter(|text| !text.is_empty()),
        ebgp_multihop: spec.ebgp_multihop.filter(|on| *on),
    })
}

fn communities(objects: &Objects, lost: &mut Vec<String>) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let theirs = objects.communities.iter();
    for community in theirs.flat_map(|object| &object.spec.communities) {
        if community.value.starts_with("large:") {
            lost.push(format!(
                "community {} is a large community, and is skipped",
                community.name
            ));
        } else {
            all.insert(community.name.clone(), community.value.clone());
        }
    }
    all
}

fn no_equivalent(kind: &str, name: &str, field: &str) -> String {
    format!(
        "{kind} {name}: a ConfigMap has no equivalent of {field}; the objects keep it (--to objects)"
    )
}

fn tell_unknown(kind: &str, name: &str, fields: &Other, lost: &mut Vec<String>) {
    for field in said(fields) {
        lost.push(no_equivalent(kind, name, field));
    }
}

impl Pools {
    fn has(&self, pool: &Object<PoolSpec>) -> bool {
        let all = self.ip_address_pools.is_empty() && self.ip_address_pool_selectors.is_empty();
        let selects = |selector: &Selector| {
            selector
                .to_core()
                .is_some_and(|selector| selector.matches(&pool.metadata.labels.iter().collect()))
        };
        all || self.ip_address_pools.contains(&pool.metadata.name)
            || self.ip_address_pool_selectors.iter().any(selects)
    }
}

impl Selector {
    /// `None` for an operator that the API server would not have let through.
    fn to_core(&self) -> Option<LabelSelector> {
        let mut match_expressions = Vec::new();
        for theirs in &self.match_expressions {
            let operator = match theirs.operator.as_str() {
                "In" => LabelOperator::In(theirs.values.clone()),
                "NotIn" => LabelOperator::NotIn(theirs.values.clone()),
                "Exists" => LabelOperator::Exists,
                "DoesNotExist" => LabelOperator::DoesNotExist,
                _ => return None,
            };
            let key = theirs.key.clone();
            match_expressions.push(LabelExpression { key, operator });
        }
        Some(LabelSelector {
            match_labels: self.match_labels.clone(),
            match_expressions,
        })
    }
}
