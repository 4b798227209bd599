//! From a ConfigMap to MetalLB's objects. It is read as YAML once the daemons' own reader has accepted it, so
//! that ranges, durations and names of communities stay as they are written.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use anyhow::Context;
use serde_yaml::Value;

use super::metallb::{
    Allocation, BgpSpec, Community, CommunitySpec, Expression, L2Spec, Object, Objects, PeerSpec,
    PoolSpec, Pools, Preferred, ProfileSpec, Selector,
};

/// What begins the name of an annotation that says what MetalLB's fields cannot.
const OURS: &str = "ferrolb.io/";

/// The keys of a pool that MetalLB's objects have, too.
const SHARED: [&str; 13] = [
    "name",
    "protocol",
    "addresses",
    "auto-assign",
    "avoid-buggy-ips",
    "bgp-advertisements",
    "priority",
    "namespaces",
    "namespace-selectors",
    "service-selectors",
    "node-selectors",
    "interfaces",
    "preferred-nodes",
];

/// Converts all of it; `lost` gets a sentence for each thing that is not the same afterwards.
pub(super) fn objects(config: &str, lost: &mut Vec<String>) -> anyhow::Result<Objects> {
    let root: Value = serde_yaml::from_str(config).context("the configuration is not YAML")?;
    let mut objects = Objects::default();
    let mut names = Names::default();
    let mut grouped: Vec<(L2Spec, Vec<String>)> = Vec::new();
    for pool in list(&root, "address-pools") {
        let written = text_at(pool, "name").unwrap_or_default();
        let name = names.of("pool", &written, lost);
        if name != written {
            lost.push(format!(
                "pool `{written}` becomes IPAddressPool {name}: change the annotation \
                 metallb.io/address-pool of the Services that name it"
            ));
        }
        let mut object = Object::new(name.clone(), pool_spec(pool));
        object.metadata.annotations = annotations(pool);
        objects.pools.push(object);
        let node_selectors = selectors(pool, "node-selectors");
        if text_at(pool, "protocol").as_deref() == Some("bgp") {
            objects.bgp.extend(routes(pool, &name, node_selectors));
            continue;
        }
        let spec = L2Spec {
            node_selectors,
            interfaces: texts(pool, "interfaces"),
            preferred_node_selectors: list(pool, "preferred-nodes")
                .iter()
                .filter_map(preferred)
                .collect(),
            ..L2Spec::default()
        };
        match grouped.iter_mut().find(|(other, _)| *other == spec) {
            Some((_, pools)) => pools.push(name),
            None => grouped.push((spec, vec![name])),
        }
    }
    for (spec, pools) in grouped {
        let name = pools.first().cloned().unwrap_or_default();
        let of = Pools {
            ip_address_pools: pools,
            ..Pools::default()
        };
        objects.announce(name, L2Spec { of, ..spec });
    }
    keep_order(&mut objects, lost);
    for profile in list(&root, "bfd-profiles") {
        let written = text_at(profile, "name").unwrap_or_default();
        let name = names.of("profile", &written, lost);
        objects
            .profiles
            .push(Object::new(name, profile_spec(profile)));
    }
    for (index, peer) in list(&root, "peers").iter().enumerate() {
        let mut spec = peer_spec(peer);
        spec.bfd_profile = spec
            .bfd_profile
            .map(|written| names.of("profile", &written, &mut Vec::new()));
        let name = format!("peer-{}", index + 1);
        objects.peers.push(Object::new(name, spec));
    }
    if let Some(Value::Mapping(map)) = root.get("bgp-communities") {
        let community = |(name, value): (&Value, &Value)| Community {
            name: text(name).unwrap_or_default(),
            value: text(value).unwrap_or_default(),
        };
        let spec = CommunitySpec {
            communities: map.iter().map(community).collect(),
        };
        objects.communities.push(Object::new("communities", spec));
    }
    Ok(objects)
}

fn pool_spec(pool: &Value) -> PoolSpec {
    let allocation = Allocation {
        priority: pool.get("priority").and_then(Value::as_i64),
        namespaces: texts(pool, "namespaces"),
        namespace_selectors: selectors(pool, "namespace-selectors"),
        service_selectors: selectors(pool, "service-selectors"),
    };
    PoolSpec {
        addresses: texts(pool, "addresses")
            .iter()
            .map(|entry| with_length(entry))
            .collect(),
        auto_assign: flag(pool, "auto-assign").filter(|on| !on),
        avoid_buggy_ips: flag(pool, "avoid-buggy-ips").filter(|on| *on),
        service_allocation: Some(allocation).filter(|one| *one != Allocation::default()),
        ..PoolSpec::default()
    }
}

/// MetalLB refuses an address without a length, and it may be what these objects go back to.
fn with_length(entry: &str) -> String {
    match entry.trim().parse() {
        Ok(IpAddr::V4(address)) => format!("{address}/32"),
        Ok(IpAddr::V6(address)) => format!("{address}/128"),
        Err(_) => entry.to_owned(),
    }
}

/// What only FerroLB has, as annotations of the same names.
fn annotations(pool: &Value) -> BTreeMap<String, String> {
    let Value::Mapping(map) = pool else {
        return BTreeMap::new();
    };
    let annotation = |(key, value): (&Value, &Value)| {
        let key = text(key).filter(|key| !SHARED.contains(&key.as_str()))?;
        let value = match value {
            Value::Sequence(items) => {
                let items: Vec<_> = items.iter().filter_map(text).collect();
                items.join(", ")
            }
            one => text(one)?,
        };
        Some((format!("{OURS}{key}"), value))
    };
    map.iter().filter_map(annotation).collect()
}

/// A ConfigMap's pools are tried by priority, then as they stand in the file; objects by whether they are
/// tied to somebody, priority, name. Where that differs, each pool gets a priority.
fn keep_order(objects: &mut Objects, lost: &mut Vec<String>) {
    let priority = |pool: &Object<PoolSpec>| {
        let allocation = pool.spec.service_allocation.as_ref();
        allocation.and_then(|one| one.priority)
    };
    let given = |pool: &&Object<PoolSpec>| pool.spec.auto_assign != Some(false);
    let mut before: Vec<_> = objects.pools.iter().filter(given).collect();
    before.sort_by_key(|pool| priority(pool).unwrap_or(i64::MAX));
    let mut after = before.clone();
    after.sort_by_key(|pool| {
        let tied = pool.spec.service_allocation.is_some();
        // 0 is none.
        let priority = priority(pool).filter(|number| *number > 0);
        (!tied, priority.unwrap_or(i64::MAX), &pool.metadata.name)
    });
    if before == after {
        return;
    }
    let order: Vec<_> = before.iter().map(|one| one.metadata.name.clone()).collect();
    for pool in &mut objects.pools {
        let place = order.iter().position(|name| *name == pool.metadata.name);
        if let Some(place) = place.and_then(|place| i64::try_from(place).ok()) {
            let allocation = pool.spec.service_allocation.get_or_insert_default();
            allocation.priority = Some((place + 1) * 10);
        }
    }
    lost.push(format!(
        "pools are tried in the order of the file ({}): each one has serviceAllocation.priority now, because \
         objects have no order. MetalLB before 0.15 gives addresses of such a pool only to Services that \
         name it",
        order.join(", ")
    ));
}

fn routes(pool: &Value, name: &str, node_selectors: Vec<Selector>) -> Vec<Object<BgpSpec>> {
    let written = list(pool, "bgp-advertisements");
    // Without any there is one with defaults.
    let all = if written.is_empty() {
        &[Value::Null]
    } else {
        written
    };
    let route = |(index, route): (usize, &Value)| {
        let spec = BgpSpec {
            of: Pools {
                ip_address_pools: vec![name.to_owned()],
                ..Pools::default()
            },
            aggregation_length: number(route, "aggregation-length"),
            aggregation_length_v6: number(route, "aggregation-length-v6"),
            localpref: number(route, "localpref"),
            communities: texts(route, "communities"),
            node_selectors: node_selectors.clone(),
            ..BgpSpec::default()
        };
        let name = match index {
            0 => name.to_owned(),
            _ => format!("{name}-{}", index + 1),
        };
        Object::new(name, spec)
    };
    all.iter().enumerate().map(route).collect()
}

fn peer_spec(peer: &Value) -> PeerSpec {
    PeerSpec {
        my_asn: number(peer, "my-asn").unwrap_or_default(),
        peer_asn: number(peer, "peer-asn"),
        peer_address: text_at(peer, "peer-address"),
        source_address: text_at(peer, "source-address"),
        peer_port: number(peer, "peer-port"),
        hold_time: text_at(peer, "hold-time"),
        keepalive_time: text_at(peer, "keepalive-time"),
        router_id: text_at(peer, "router-id"),
        node_selectors: selectors(peer, "node-selectors"),
        password: text_at(peer, "password"),
        bfd_profile: text_at(peer, "bfd-profile"),
        ebgp_multihop: flag(peer, "ebgp-multihop"),
        ..PeerSpec::default()
    }
}

fn profile_spec(profile: &Value) -> ProfileSpec {
    ProfileSpec {
        receive_interval: number(profile, "receive-interval"),
        transmit_interval: number(profile, "transmit-interval"),
        echo_interval: number(profile, "echo-interval"),
        detect_multiplier: number(profile, "detect-multiplier"),
        minimum_ttl: number(profile, "minimum-ttl"),
        echo_mode: flag(profile, "echo-mode"),
        passive_mode: flag(profile, "passive-mode"),
        ..ProfileSpec::default()
    }
}

fn preferred(entry: &Value) -> Option<Preferred> {
    Some(Preferred {
        weight: number(entry, "weight")?,
        preference: selector(entry.get("preference")?),
    })
}

fn list<'a>(node: &'a Value, key: &str) -> &'a [Value] {
    let items = node.get(key).and_then(Value::as_sequence);
    items.map_or(&[], Vec::as_slice)
}

fn texts(node: &Value, key: &str) -> Vec<String> {
    list(node, key).iter().filter_map(text).collect()
}

fn text_at(node: &Value, key: &str) -> Option<String> {
    node.get(key).and_then(text)
}

/// `name: 123` is a text to MetalLB.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    }
}

fn number<N: TryFrom<u64>>(node: &Value, key: &str) -> Option<N> {
    let number = node.get(key)?.as_u64()?;
    N::try_from(number).ok()
}

/// As YAML 1.1 has it: `yes` is true.
fn flag(node: &Value, key: &str) -> Option<bool> {
    match node.get(key)? {
        Value::Bool(truth) => Some(*truth),
        Value::String(word) => match word.to_lowercase().as_str() {
            "true" | "yes" | "on" | "y" => Some(true),
            "false" | "no" | "off" | "n" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

fn selectors(node: &Value, key: &str) -> Vec<Selector> {
    list(node, key).iter().map(selector).collect()
}

fn selector(node: &Value) -> Selector {
    let labels = node.get("match-labels").and_then(Value::as_mapping);
    let label = |(key, value): (&Value, &Value)| Some((text(key)?, text(value)?));
    let expression = |one: &Value| {
        Some(Expression {
            key: text_at(one, "key")?,
            operator: text_at(one, "operator")?,
            values: texts(one, "values"),
        })
    };
    Selector {
        match_labels: labels.into_iter().flatten().filter_map(label).collect(),
        match_expressions: list(node, "match-expressions")
            .iter()
            .filter_map(expression)
            .collect(),
    }
}

/// Names for objects, which are narrower than those of a ConfigMap: lower case, digits, `-` and `.`.
#[derive(Debug, Default)]
struct Names {
    /// By kind and the name that is written.
    given: BTreeMap<(&'static str, String), String>,
    taken: BTreeSet<(&'static str, String)>,
}

impl Names {
    /// The object's name for what is called `written`, always the same one.
    fn of(&mut self, kind: &'static str, written: &str, lost: &mut Vec<String>) -> String {
        let key = (kind, written.to_owned());
        if let Some(name) = self.given.get(&key) {
            return name.clone();
        }
        let plain = |c: char| match c.to_ascii_lowercase() {
            c if c.is_ascii_alphanumeric() || c == '.' => c,
            _ => '-',
        };
        let plain: String = written.chars().map(plain).collect();
        let plain = plain.trim_matches(['-', '.']);
        let base = if plain.is_empty() { kind } else { plain };
        let base: String = base.chars().take(200).collect();
        let mut name = base.clone();
        let mut count = 1;
        while !self.taken.insert((kind, name.clone())) {
            count += 1;
            name = format!("{base}-{count}");
        }
        if name != written && kind != "pool" {
            lost.push(format!("BFD profile `{written}` is called {name} now"));
        }
        self.given.insert(key, name.clone());
        name
    }
}
