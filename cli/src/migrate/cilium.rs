//! From Cilium's address pools and layer-2 policies.

use serde::Deserialize;
use serde_yaml::Value;

use super::addresses::without_ends;
use super::metallb::{Allocation, L2Spec, Object, Objects, Other, PoolSpec, Selector};
use super::others::{decode, exact, tell_unknown};

/// The group of Cilium's kinds.
pub(super) const GROUP: &str = "cilium.io";
/// The kinds that are read.
pub(super) const KINDS: [&str; 2] = ["CiliumLoadBalancerIPPool", "CiliumL2AnnouncementPolicy"];

/// In a selector of Services these are no labels: the Service's own namespace and name.
const NAMESPACE: &str = "io.kubernetes.service.namespace";
const NAME: &str = "io.kubernetes.service.name";

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Pool {
    blocks: Vec<Block>,
    /// The name of `blocks` up to 1.14.
    cidrs: Vec<Block>,
    service_selector: Option<Selector>,
    #[serde(rename = "allowFirstLastIPs")]
    allow_first_last: Option<String>,
    disabled: bool,
    #[serde(flatten)]
    other: Other,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Block {
    cidr: Option<String>,
    start: Option<String>,
    stop: Option<String>,
    #[serde(flatten)]
    other: Other,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Policy {
    node_selector: Option<Selector>,
    service_selector: Option<Selector>,
    interfaces: Vec<String>,
    #[serde(rename = "loadBalancerIPs")]
    load_balancer_ips: bool,
    #[serde(rename = "externalIPs")]
    external_ips: bool,
    #[serde(flatten)]
    other: Other,
}

/// Converts them; `lost` gets a sentence for each thing that is not the same afterwards.
pub(super) fn objects(found: &[Value], lost: &mut Vec<String>) -> anyhow::Result<Objects> {
    let mut objects = Objects::default();
    for value in found {
        if value.get("kind").and_then(Value::as_str) == Some(KINDS[0]) {
            let (name, pool) = decode(value)?;
            objects
                .pools
                .push(Object::new(name.clone(), converted(&name, pool, lost)));
        } else {
            let (name, policy) = decode(value)?;
            if let Some(spec) = announced(&name, policy, lost) {
                objects.announce(name, spec);
            }
        }
    }
    if objects.l2.is_empty() {
        lost.push(
            "no CiliumL2AnnouncementPolicy that announces addresses of Services is there: with MetalLB's objects \
             nothing is announced without an L2Advertisement"
                .to_owned(),
        );
    }
    lost.push(
        "Services that ask for an address with the annotation lbipam.cilium.io/ips have to ask with \
         metallb.io/loadBalancerIPs, and those that share one with lbipam.cilium.io/sharing-key with \
         metallb.io/allow-shared-ip; those that have an address keep it"
            .to_owned(),
    );
    Ok(objects)
}

fn converted(name: &str, pool: Pool, lost: &mut Vec<String>) -> PoolSpec {
    let has_ends = pool.allow_first_last.as_deref() != Some("No");
    let blocks = pool.blocks.iter().chain(&pool.cidrs);
    let unknown: Vec<_> = blocks.clone().map(|block| &block.other).collect();
    let unknown = [unknown, vec![&pool.other]].concat();
    tell_unknown(&format!("pool {name}"), &unknown, lost);
    let addresses = blocks.filter_map(|block| entry(block, has_ends)).collect();
    let (allocation, is_narrowed) = pool.service_selector.map_or((None, true), |selector| {
        let (allocation, rest) = tied(selector);
        for label in &rest {
            lost.push(format!(
                "pool {name}: serviceSelector reads {label}, which has no equivalent; the pool is given only to \
                 Services that name it (metallb.io/address-pool: {name})"
            ));
        }
        let is_anybody = allocation == Allocation::default();
        ((!is_anybody).then_some(allocation), rest.is_empty())
    });
    PoolSpec {
        addresses,
        auto_assign: (pool.disabled || !is_narrowed).then_some(false),
        service_allocation: allocation,
        ..PoolSpec::default()
    }
}

/// `start` alone is one address.
fn entry(block: &Block, has_ends: bool) -> Option<String> {
    match (&block.cidr, &block.start, &block.stop) {
        (Some(cidr), ..) if has_ends => Some(cidr.clone()),
        (Some(cidr), ..) => without_ends(cidr).or_else(|| Some(cidr.clone())),
        (None, Some(start), Some(stop)) => Some(format!("{start}-{stop}")),
        (None, Some(start), None) => Some(format!("{start}-{start}")),
        (None, None, _) => None,
    }
}

/// Whom a selector of Services means: namespaces, and labels; and what can be said in neither.
fn tied(mut selector: Selector) -> (Allocation, Vec<&'static str>) {
    let mut rest = Vec::new();
    let mut namespaces: Vec<String> = selector
        .match_labels
        .remove(NAMESPACE)
        .into_iter()
        .collect();
    if selector.match_labels.remove(NAME).is_some() {
        rest.push(NAME);
    }
    selector.match_expressions.retain(|one| {
        match (one.key.as_str(), one.operator.as_str()) {
            (NAMESPACE, "In") if namespaces.is_empty() => namespaces.extend(one.values.clone()),
            (NAMESPACE, _) => rest.push(NAMESPACE),
            (NAME, _) => rest.push(NAME),
            _ => return true,
        }
        false
    });
    let allocation = Allocation {
        namespaces,
        service_selectors: Some(selector)
            .filter(|one| *one != Selector::default())
            .into_iter()
            .collect(),
        ..Allocation::default()
    };
    (allocation, rest)
}

fn announced(name: &str, policy: Policy, lost: &mut Vec<String>) -> Option<L2Spec> {
    tell_unknown(&format!("policy {name}"), &[&policy.other], lost);
    if policy.external_ips {
        lost.push(format!(
            "policy {name}: externalIPs of Services are not announced"
        ));
    }
    if !policy.load_balancer_ips {
        lost.push(format!(
            "policy {name} is left out: without loadBalancerIPs: true it announces no address of a LoadBalancer"
        ));
        return None;
    }
    let service_selectors = policy.service_selector.map_or_else(Vec::new, |selector| {
        let (allocation, rest) = tied(selector);
        let read = rest.first().copied();
        let read = read.or_else(|| (!allocation.namespaces.is_empty()).then_some(NAMESPACE));
        if let Some(label) = read {
            lost.push(format!(
                "policy {name}: serviceSelector reads {label}, which an L2Advertisement cannot: it announces the \
                 addresses of more Services"
            ));
        }
        allocation.service_selectors
    });
    let names: Option<Vec<_>> = policy.interfaces.iter().map(|one| exact(one)).collect();
    let interfaces = names.unwrap_or_else(|| {
        lost.push(format!(
            "policy {name}: interfaces are names here and no regular expressions ({}): addresses are announced on \
             all interfaces; write their names into spec.interfaces",
            policy.interfaces.join(", ")
        ));
        Vec::new()
    });
    Some(L2Spec {
        node_selectors: policy.node_selector.into_iter().collect(),
        service_selectors,
        interfaces,
        ..L2Spec::default()
    })
}
