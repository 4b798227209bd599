//! From the ConfigMap of kube-vip's cloud provider: a flat one, `cidr-NAMESPACE` and `range-NAMESPACE`, with
//! `global` for all other namespaces.

use std::collections::{BTreeMap, BTreeSet};

use serde_yaml::Value;

use super::addresses::without_ends;
use super::metallb::{Allocation, L2Spec, Object, Objects, PoolSpec, Pools};

/// In place of a namespace.
const GLOBAL: &str = "global";
/// An address from the network's DHCP server.
const DHCP: &str = "0.0.0.0/32";

/// Whether this is such a ConfigMap.
pub(super) fn is_one(object: &Value) -> bool {
    let is_map = object.get("kind").and_then(Value::as_str) == Some("ConfigMap");
    let ranges = |key: &&String| key.starts_with("cidr-") || key.starts_with("range-");
    is_map && data(object).keys().any(|key| ranges(&key))
}

fn data(object: &Value) -> BTreeMap<String, String> {
    let data = object.get("data").and_then(Value::as_mapping);
    let text = |(key, value): (&Value, &Value)| {
        let (key, value) = (key.as_str()?, value.as_str()?);
        Some((key.to_owned(), value.to_owned()))
    };
    data.into_iter().flatten().filter_map(text).collect()
}

/// Converts it; `lost` gets a sentence for each thing that is not the same afterwards.
pub(super) fn objects(object: &Value, lost: &mut Vec<String>) -> Objects {
    let data = data(object);
    let has_ends = data.get("skip-end-ips-in-cidr").map(String::as_str) != Some("true");
    let mut objects = Objects::default();
    let mut announced: BTreeMap<Option<&str>, Vec<String>> = BTreeMap::new();
    for of in whom(&data) {
        let entries = entries(&data, of, has_ends, lost);
        if entries.is_empty() {
            continue;
        }
        let allocation = Allocation {
            namespaces: vec![of.to_owned()],
            ..Allocation::default()
        };
        let spec = PoolSpec {
            addresses: entries,
            service_allocation: (of != GLOBAL).then_some(allocation),
            ..PoolSpec::default()
        };
        objects.pools.push(Object::new(of, spec));
        let link = data.get(&format!("interface-{of}")).map(String::as_str);
        announced.entry(link).or_default().push(of.to_owned());
        if data.get(&format!("allow-share-{of}")).map(String::as_str) == Some("true") {
            lost.push(format!(
                "allow-share-{of}: Services share an address only if they have the same annotation \
                 metallb.io/allow-shared-ip"
            ));
        }
    }
    for (link, pools) in announced {
        let spec = L2Spec {
            interfaces: link.map(str::to_owned).into_iter().collect(),
            of: Pools {
                ip_address_pools: pools,
                ..Pools::default()
            },
            ..L2Spec::default()
        };
        objects.announce(link.unwrap_or("all-interfaces").replace('.', "-"), spec);
    }
    tell(&data, &objects, lost);
    objects
}

/// Namespaces, and `global`, in the order of their names.
fn whom(data: &BTreeMap<String, String>) -> BTreeSet<&str> {
    let of = |key| str::strip_prefix(key, "cidr-").or_else(|| str::strip_prefix(key, "range-"));
    data.keys().filter_map(|key| of(key)).collect()
}

/// kube-vip looks for the namespace's CIDRs, the global ones, the namespace's ranges, the global ones, in this
/// order, and takes the first that it finds.
fn entries(
    data: &BTreeMap<String, String>,
    of: &str,
    has_ends: bool,
    lost: &mut Vec<String>,
) -> Vec<String> {
    let key = |form: &str, of: &str| format!("{form}-{of}");
    let (cidr, range) = (key("cidr", of), key("range", of));
    let mut all = Vec::new();
    if let Some(cidrs) = data.get(&cidr) {
        for entry in parts(cidrs) {
            if entry == DHCP {
                lost.push(format!(
                    "{cidr}: {DHCP} asks for addresses from a DHCP server, which FerroLB does not do"
                ));
            } else if has_ends {
                all.push(entry.to_owned());
            } else {
                all.push(without_ends(entry).unwrap_or_else(|| entry.to_owned()));
            }
        }
        if data.contains_key(&range) {
            lost.push(format!(
                "{range} is left out: kube-vip does not use it beside {cidr}"
            ));
        }
    } else if of != GLOBAL && data.contains_key(&key("cidr", GLOBAL)) {
        lost.push(format!(
            "{range} is left out: kube-vip does not use it beside cidr-{GLOBAL}"
        ));
    } else if let Some(ranges) = data.get(&range) {
        all.extend(parts(ranges).map(str::to_owned));
    }
    all
}

fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
}

fn tell(data: &BTreeMap<String, String>, objects: &Objects, lost: &mut Vec<String>) {
    let global = objects.pools.iter().any(|one| one.metadata.name == GLOBAL);
    let tied = objects
        .pools
        .iter()
        .filter(|one| one.metadata.name != GLOBAL);
    for pool in tied.filter(|_| global) {
        lost.push(format!(
            "pool {0} full: Services of namespace {0} then get addresses of pool {GLOBAL}, while kube-vip leaves \
             them without one",
            pool.metadata.name
        ));
    }
    if data
        .get("search-order")
        .is_some_and(|order| order == "desc")
    {
        lost.push("search-order: FerroLB gives the lowest free address first".to_owned());
    }
    let known = |key: &&String| {
        let with = ["cidr-", "range-", "allow-share-", "interface-"];
        let alone = ["search-order", "skip-end-ips-in-cidr"];
        with.iter().any(|start| key.starts_with(start)) || alone.contains(&key.as_str())
    };
    for key in data.keys().filter(|key| !known(key)) {
        lost.push(format!("{key}: there is no equivalent"));
    }
    lost.push(
        "Services that ask for an address with the annotation kube-vip.io/loadbalancerIPs have to ask with \
         metallb.io/loadBalancerIPs; those that have one keep it"
            .to_owned(),
    );
}
