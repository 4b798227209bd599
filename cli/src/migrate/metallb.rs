//! MetalLB's objects, as its API has them: read and written. Fields that we do not know are kept by name, to
//! be told, or to be written again.

use std::collections::BTreeMap;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use serde_yaml::Value;

/// What the files hold of MetalLB's.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The values of key `config` of ConfigMaps.
    pub(super) maps: Vec<String>,
    pub(super) objects: Objects,
}

/// The objects of MetalLB 0.13 and later.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Objects {
    pub(super) pools: Vec<Object<PoolSpec>>,
    pub(super) l2: Vec<Object<L2Spec>>,
    pub(super) bgp: Vec<Object<BgpSpec>>,
    pub(super) peers: Vec<Object<PeerSpec>>,
    pub(super) profiles: Vec<Object<ProfileSpec>>,
    pub(super) communities: Vec<Object<CommunitySpec>>,
}

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
pub(super) struct Object<Spec> {
    pub(super) metadata: Metadata,
    pub(super) spec: Spec,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
pub(super) struct Metadata {
    pub(super) name: String,
    /// Set when it is written; a file's is looked at before.
    #[serde(skip_deserializing)]
    pub(super) namespace: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) labels: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) annotations: BTreeMap<String, String>,
}

impl<Spec> Object<Spec> {
    pub(super) fn new(name: impl Into<String>, spec: Spec) -> Self {
        let metadata = Metadata {
            name: name.into(),
            ..Metadata::default()
        };
        Self { metadata, spec }
    }
}

/// Fields that we do not know.
pub(super) type Other = BTreeMap<String, Value>;

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PoolSpec {
    pub(super) addresses: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) auto_assign: Option<bool>,
    #[serde(rename = "avoidBuggyIPs")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) avoid_buggy_ips: Option<bool>,
    /// With one, also an empty one, the pool goes before those without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) service_allocation: Option<Allocation>,
    #[serde(flatten)]
    pub(super) other: Other,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Allocation {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) priority: Option<i64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) namespaces: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) namespace_selectors: Vec<Selector>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) service_selectors: Vec<Selector>,
}

/// `metav1.LabelSelector`
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Selector {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) match_labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) match_expressions: Vec<Expression>,
}

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
pub(super) struct Expression {
    pub(super) key: String,
    pub(super) operator: String,
    #[serde(default)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) values: Vec<String>,
}

/// Which pools an advertisement is for; without any, for all.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Pools {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) ip_address_pools: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) ip_address_pool_selectors: Vec<Selector>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct L2Spec {
    #[serde(flatten)]
    pub(super) of: Pools,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) node_selectors: Vec<Selector>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) interfaces: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) service_selectors: Vec<Selector>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) preferred_node_selectors: Vec<Preferred>,
    #[serde(flatten)]
    pub(super) other: Other,
}

/// Nodes that rather announce than others.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
pub(super) struct Preferred {
    pub(super) weight: u8,
    pub(super) preference: Selector,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct BgpSpec {
    #[serde(flatten)]
    pub(super) of: Pools,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) aggregation_length: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) aggregation_length_v6: Option<u8>,
    #[serde(rename = "localPref")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) localpref: Option<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) communities: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) node_selectors: Vec<Selector>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) service_selectors: Vec<Selector>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) peers: Vec<String>,
    #[serde(flatten)]
    pub(super) other: Other,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PeerSpec {
    #[serde(rename = "myASN")]
    pub(super) my_asn: u32,
    #[serde(rename = "peerASN")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) peer_asn: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) peer_address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) source_address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) peer_port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hold_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) keepalive_time: Option<String>,
    #[serde(rename = "routerID")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) router_id: Option<String>,
    #[serde(default)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) node_selectors: Vec<Selector>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) password: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bfd_profile: Option<String>,
    #[serde(rename = "ebgpMultiHop")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ebgp_multihop: Option<bool>,
    #[serde(flatten)]
    pub(super) other: Other,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ProfileSpec {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) receive_interval: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) transmit_interval: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) echo_interval: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) detect_multiplier: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) minimum_ttl: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) echo_mode: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) passive_mode: Option<bool>,
    #[serde(flatten)]
    pub(super) other: Other,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
pub(super) struct CommunitySpec {
    #[serde(default)]
    pub(super) communities: Vec<Community>,
}

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
pub(super) struct Community {
    pub(super) name: String,
    pub(super) value: String,
}

impl Objects {
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// An L2Advertisement for these pools.
    pub(super) fn announce(&mut self, name: impl Into<String>, spec: L2Spec) {
        self.l2.push(Object::new(name, spec));
    }
}

impl Found {
    /// Takes one object. Those that are not MetalLB's are passed over: a dump of a namespace may hold
    /// anything.
    pub(super) fn take(&mut self, value: Value) -> anyhow::Result<()> {
        match kind(&value) {
            Some("ConfigMap") => {
                let config = value.get("data").and_then(|data| data.get("config"));
                self.maps
                    .extend(config.and_then(Value::as_str).map(str::to_owned));
            }
            Some("IPAddressPool") => self.objects.pools.push(object(value)?),
            Some("L2Advertisement") => self.objects.l2.push(object(value)?),
            Some("BGPAdvertisement") => self.objects.bgp.push(object(value)?),
            Some("BGPPeer") => self.objects.peers.push(object(value)?),
            Some("BFDProfile") => self.objects.profiles.push(object(value)?),
            Some("Community") => self.objects.communities.push(object(value)?),
            _ => {}
        }
        Ok(())
    }
}

/// Of an object that may be a part of MetalLB's configuration.
pub(super) fn kind(value: &Value) -> Option<&str> {
    const KINDS: [&str; 6] = [
        "IPAddressPool",
        "L2Advertisement",
        "BGPAdvertisement",
        "BGPPeer",
        "BFDProfile",
        "Community",
    ];
    let kind = value.get("kind")?.as_str()?;
    if kind == "ConfigMap" {
        return value.get("data")?.get("config").map(|_| kind);
    }
    let (group, _) = value.get("apiVersion")?.as_str()?.split_once('/')?;
    (group == "metallb.io" && KINDS.contains(&kind)).then_some(kind)
}

fn object<Spec: for<'de> Deserialize<'de>>(mut value: Value) -> anyhow::Result<Object<Spec>> {
    let kind = value
        .get("kind")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let name = value
        .get("metadata")
        .and_then(|metadata| metadata.get("name"))
        .and_then(Value::as_str)
        .unwrap_or("without a name");
    let what = format!("{kind} {name} cannot be decoded");
    // `spec: {}` may be left out.
    if let Value::Mapping(map) = &mut value
        && map.get("spec").is_none_or(Value::is_null)
    {
        map.insert("spec".into(), Value::Mapping(serde_yaml::Mapping::new()));
    }
    serde_yaml::from_value(value).context(what)
}
