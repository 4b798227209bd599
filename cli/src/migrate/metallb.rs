//! MetalLB's objects, as its API has them. Fields that we do not know are kept by name, to be told.

use std::collections::BTreeMap;

use anyhow::Context;
use serde::Deserialize;
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

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Object<Spec> {
    pub(super) metadata: Metadata,
    pub(super) spec: Spec,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Metadata {
    pub(super) name: String,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
}

type Other = BTreeMap<String, Value>;

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PoolSpec {
    pub(super) addresses: Vec<String>,
    pub(super) auto_assign: Option<bool>,
    #[serde(rename = "avoidBuggyIPs")]
    pub(super) avoid_buggy_ips: Option<bool>,
    /// With one, also an empty one, the pool goes before those without.
    pub(super) service_allocation: Option<Allocation>,
    #[serde(flatten)]
    pub(super) other: Other,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Allocation {
    pub(super) priority: Option<u32>,
    pub(super) namespaces: Vec<String>,
    pub(super) namespace_selectors: Vec<Selector>,
    pub(super) service_selectors: Vec<Selector>,
}

/// `metav1.LabelSelector`
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Selector {
    pub(super) match_labels: BTreeMap<String, String>,
    pub(super) match_expressions: Vec<Expression>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Expression {
    pub(super) key: String,
    pub(super) operator: String,
    #[serde(default)]
    pub(super) values: Vec<String>,
}

/// Which pools an advertisement is for; without any, for all.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Pools {
    pub(super) ip_address_pools: Vec<String>,
    pub(super) ip_address_pool_selectors: Vec<Selector>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct L2Spec {
    #[serde(flatten)]
    pub(super) of: Pools,
    pub(super) node_selectors: Vec<Selector>,
    pub(super) interfaces: Vec<String>,
    #[serde(flatten)]
    pub(super) other: Other,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct BgpSpec {
    #[serde(flatten)]
    pub(super) of: Pools,
    pub(super) aggregation_length: Option<u8>,
    pub(super) aggregation_length_v6: Option<u8>,
    #[serde(rename = "localPref")]
    pub(super) localpref: Option<u32>,
    pub(super) communities: Vec<String>,
    #[serde(flatten)]
    pub(super) other: Other,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PeerSpec {
    #[serde(rename = "myASN")]
    pub(super) my_asn: u32,
    #[serde(rename = "peerASN")]
    pub(super) peer_asn: Option<u32>,
    pub(super) peer_address: Option<String>,
    pub(super) source_address: Option<String>,
    pub(super) peer_port: Option<u16>,
    pub(super) hold_time: Option<String>,
    pub(super) keepalive_time: Option<String>,
    #[serde(rename = "routerID")]
    pub(super) router_id: Option<String>,
    #[serde(default)]
    pub(super) node_selectors: Vec<Selector>,
    pub(super) password: Option<String>,
    pub(super) bfd_profile: Option<String>,
    #[serde(rename = "ebgpMultiHop")]
    pub(super) ebgp_multihop: Option<bool>,
    #[serde(flatten)]
    pub(super) other: Other,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ProfileSpec {
    pub(super) receive_interval: Option<u32>,
    pub(super) transmit_interval: Option<u32>,
    pub(super) echo_interval: Option<u32>,
    pub(super) detect_multiplier: Option<u32>,
    pub(super) minimum_ttl: Option<u32>,
    pub(super) echo_mode: Option<bool>,
    pub(super) passive_mode: Option<bool>,
    #[serde(flatten)]
    pub(super) other: Other,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct CommunitySpec {
    #[serde(default)]
    pub(super) communities: Vec<Community>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Community {
    pub(super) name: String,
    pub(super) value: String,
}

impl Objects {
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
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
