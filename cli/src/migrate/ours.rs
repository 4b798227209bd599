//! Our configuration, to be written. Keys that have their default are left out.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_yaml::Value;

use super::metallb;

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Config {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) peers: Vec<Peer>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) bgp_communities: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) bfd_profiles: Vec<Profile>,
    pub(super) address_pools: Vec<Pool>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Pool {
    pub(super) name: String,
    pub(super) protocol: &'static str,
    pub(super) addresses: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) auto_assign: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) avoid_buggy_ips: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) priority: Option<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) namespaces: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) namespace_selectors: Vec<Selector>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) service_selectors: Vec<Selector>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) node_selectors: Vec<Selector>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) interfaces: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) preferred_nodes: Vec<Preferred>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) bgp_advertisements: Vec<Advertisement>,
    /// Keys that only FerroLB has.
    #[serde(flatten)]
    pub(super) ours: BTreeMap<String, Value>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Selector {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    match_labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    match_expressions: Vec<Expression>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Expression {
    key: String,
    operator: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    values: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Preferred {
    weight: u8,
    preference: Selector,
}

impl From<&metallb::Preferred> for Preferred {
    fn from(theirs: &metallb::Preferred) -> Self {
        Self {
            weight: theirs.weight,
            preference: Selector::from(&theirs.preference),
        }
    }
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Advertisement {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) aggregation_length: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) aggregation_length_v6: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) localpref: Option<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) communities: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Peer {
    pub(super) my_asn: u32,
    pub(super) peer_asn: u32,
    pub(super) peer_address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) source_address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) peer_port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hold_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) keepalive_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) router_id: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) node_selectors: Vec<Selector>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) password: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bfd_profile: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ebgp_multihop: Option<bool>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Profile {
    pub(super) name: String,
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
}

impl From<&metallb::Selector> for Selector {
    fn from(theirs: &metallb::Selector) -> Self {
        let expression = |theirs: &metallb::Expression| Expression {
            key: theirs.key.clone(),
            operator: theirs.operator.clone(),
            values: theirs.values.clone(),
        };
        Self {
            match_labels: theirs.match_labels.clone(),
            match_expressions: theirs.match_expressions.iter().map(expression).collect(),
        }
    }
}

pub(super) fn selectors(theirs: &[metallb::Selector]) -> Vec<Selector> {
    theirs.iter().map(Selector::from).collect()
}
