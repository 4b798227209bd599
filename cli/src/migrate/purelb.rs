//! From PureLB's groups of addresses and its node agents.

use serde::Deserialize;
use serde_yaml::Value;

use super::metallb::{Allocation, L2Spec, Object, Objects, Other, PoolSpec, Selector};
use super::others::{decode, exact, tell_unknown};

/// The group of PureLB's kinds.
pub(super) const GROUP: &str = "purelb.io";
/// The kinds that are read.
pub(super) const KINDS: [&str; 2] = ["ServiceGroup", "LBNodeAgent"];

/// The group of Services that name none.
const DEFAULT: &str = "default";

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Group {
    local: Option<Addresses>,
    remote: Option<Value>,
    external: Option<Value>,
    netbox: Option<Value>,
    namespaces: Vec<String>,
    namespace_default: bool,
    enforce_namespaces: bool,
    #[serde(flatten)]
    other: Other,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Addresses {
    /// In version 1 a group has one range.
    pool: Option<String>,
    v4pool: Option<Range>,
    v6pool: Option<Range>,
    v4pools: Vec<Range>,
    v6pools: Vec<Range>,
    multi_pool: bool,
    balance_pools: bool,
    #[serde(rename = "skipIPv6DAD")]
    skip_ipv6_dad: bool,
    /// Those of its one range.
    #[serde(flatten)]
    other: Other,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Range {
    pool: String,
    #[serde(flatten)]
    other: Other,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Agent {
    node_selector: Option<Selector>,
    local: Option<Local>,
    #[serde(flatten)]
    other: Other,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Local {
    #[serde(alias = "localint")]
    local_interface: Option<String>,
    garp_config: Option<Value>,
    #[serde(flatten)]
    other: Other,
}

/// Converts them; `lost` gets a sentence for each thing that is not the same afterwards.
pub(super) fn objects(found: &[Value], lost: &mut Vec<String>) -> anyhow::Result<Objects> {
    let mut objects = Objects::default();
    for value in found {
        if value.get("kind").and_then(Value::as_str) == Some(KINDS[0]) {
            let (name, group) = decode(value)?;
            if let Some(spec) = pool(&name, group, lost) {
                objects.pools.push(Object::new(name, spec));
            }
        } else {
            let (name, agent) = decode(value)?;
            objects.announce(name.clone(), announced(&name, agent, lost));
        }
    }
    if objects.l2.is_empty() && !objects.pools.is_empty() {
        objects.announce(DEFAULT, L2Spec::default());
    }
    lost.push(
        "PureLB's annotations on Services have to be written anew: purelb.io/service-group is \
         metallb.io/address-pool, purelb.io/addresses is metallb.io/loadBalancerIPs, purelb.io/allow-shared-ip is \
         metallb.io/allow-shared-ip; Services that have an address keep it"
            .to_owned(),
    );
    Ok(objects)
}

fn pool(name: &str, group: Group, lost: &mut Vec<String>) -> Option<PoolSpec> {
    let Some(local) = group.local else {
        let why = match (group.remote, group.external.or(group.netbox)) {
            (Some(_), _) => "its addresses (remote) are reached by routing, not by ARP",
            (None, Some(_)) => "its addresses come from outside of the cluster (external)",
            (None, None) => "it has no addresses (local)",
        };
        lost.push(format!("group {name} is left out: {why}"));
        return None;
    };
    for (field, is_set) in [
        ("multiPool", local.multi_pool),
        ("balancePools", local.balance_pools),
        ("skipIPv6DAD", local.skip_ipv6_dad),
    ] {
        if is_set {
            lost.push(format!("group {name}: {field} has no equivalent"));
        }
    }
    if group.enforce_namespaces {
        lost.push(format!(
            "group {name}: enforceNamespaces has no equivalent: a pool with namespaces is given to their Services \
             alone, and one without to all"
        ));
    }
    let ranges = local.v4pool.iter().chain(&local.v4pools);
    let ranges: Vec<_> = ranges.chain(&local.v6pool).chain(&local.v6pools).collect();
    let unknown = ranges.iter().map(|range| &range.other);
    let unknown: Vec<_> = unknown.chain([&local.other, &group.other]).collect();
    tell_unknown(&format!("group {name}"), &unknown, lost);
    let ranges = ranges.into_iter().map(|range| range.pool.clone());
    let auto_assign = name == DEFAULT || group.namespace_default;
    let allocation = Allocation {
        namespaces: group.namespaces,
        ..Allocation::default()
    };
    Some(PoolSpec {
        addresses: local.pool.iter().cloned().chain(ranges).collect(),
        auto_assign: (!auto_assign).then_some(false),
        service_allocation: Some(allocation).filter(|one| !one.namespaces.is_empty()),
        ..PoolSpec::default()
    })
}

fn announced(name: &str, agent: Agent, lost: &mut Vec<String>) -> L2Spec {
    let local = agent.local.unwrap_or_default();
    let what = format!("node agent {name}");
    tell_unknown(&what, &[&agent.other, &local.other], lost);
    if local.garp_config.is_some() {
        lost.push(format!(
            "node agent {name}: garpConfig has no equivalent; see the chart's speaker.announceRefreshSeconds"
        ));
    }
    let named = local.local_interface.filter(|one| one != DEFAULT);
    let interfaces = named.map_or_else(Vec::new, |expression| {
        exact(&expression).map_or_else(
            || {
                lost.push(format!(
                    "node agent {name}: localInterface is a name here and no regular expression ({expression}): \
                     addresses are announced on all interfaces; write their names into spec.interfaces"
                ));
                Vec::new()
            },
            |one| vec![one],
        )
    });
    L2Spec {
        node_selectors: agent.node_selector.into_iter().collect(),
        interfaces,
        ..L2Spec::default()
    }
}
