//! `L2Advertisement` and `BGPAdvertisement`.

use super::annotations::Annotations;
use super::read::{ChosenPools, Manifest, Said, SaidRoute};
use super::values::{names, plain_names, selectors, spec};
use crate::config::fields::{Fields, integer};
use crate::config::pool::{INTERFACE_HELP, is_interface};
use crate::config::preferred::preferred_nodes;
use crate::config::problem::Report;
use crate::config::selector::OF_OBJECT;

use crate::config::{BgpAdvertisement, Layer2Advertisement, RouteAttributes, Scope};

const LAYER2_KEYS: [&str; 6] = [
    "ipAddressPools",
    "ipAddressPoolSelectors",
    "nodeSelectors",
    "interfaces",
    "serviceSelectors",
    PREFERRED,
];
const PREFERRED: &str = "preferredNodeSelectors";

const BGP_KEYS: [&str; 10] = [
    "aggregationLength",
    "aggregationLengthV6",
    LOCAL_PREF,
    PREPEND,
    "communities",
    "ipAddressPools",
    "ipAddressPoolSelectors",
    "nodeSelectors",
    "peers",
    "serviceSelectors",
];

pub(super) const LOCAL_PREF: &str = "localPref";
pub(super) const PREPEND: &str = "asPathPrepend";

pub(super) fn layer2(manifest: &Manifest<'_>, report: &mut Report<'_>) -> Option<Said> {
    let fields = spec(manifest, "an L2Advertisement", &LAYER2_KEYS, report)?;
    let ours = Annotations::read(manifest, report);
    let (scope, chosen) = scope(&fields, report);
    let preferred = fields.get(PREFERRED);
    let preferred = preferred.map(|node| preferred_nodes(node, PREFERRED, OF_OBJECT, report));
    let mut of_both = preferred.unwrap_or_default();
    // For those whose API server does not know the field.
    if let Some(list) = ours.list("preferred-nodes", report) {
        let what = ours.name("preferred-nodes");
        of_both.extend(preferred_nodes(&list, &what, OF_OBJECT, report));
    }
    let one = Layer2Advertisement {
        name: manifest.object.name.clone(),
        scope,
        interfaces: plain_names(&fields, "interfaces", is_interface, INTERFACE_HELP, report),
        preferred_nodes: of_both,
    };
    Some(Said::Layer2 { one, chosen })
}

fn scope(fields: &Fields<'_>, report: &mut Report<'_>) -> (Scope, ChosenPools) {
    let names = names(fields, "ipAddressPools", report);
    let scope = Scope {
        pools: names.iter().map(|(name, _)| name.clone()).collect(),
        pool_selectors: selectors(fields, "ipAddressPoolSelectors", report),
        service_selectors: selectors(fields, "serviceSelectors", report),
        node_selectors: selectors(fields, "nodeSelectors", report),
    };
    let selectors = report.place(&fields.key_span("ipAddressPoolSelectors"));
    (scope, ChosenPools { names, selectors })
}

pub(super) fn bgp(manifest: &Manifest<'_>, report: &mut Report<'_>) -> Option<Said> {
    let fields = spec(manifest, "a BGPAdvertisement", &BGP_KEYS, report)?;
    Annotations::read(manifest, report);
    let (scope, chosen) = scope(&fields, report);
    let default = RouteAttributes::default();
    let [v4, v6] = ["aggregationLength", "aggregationLengthV6"];
    let mut length = |key, range| integer(fields.get(key)?, key, range, report);
    let aggregation_length = length(v4, 1..=32).unwrap_or(default.aggregation_length);
    let aggregation_length_v6 = length(v6, 0..=128).unwrap_or(default.aggregation_length_v6);
    let is_of_some = !scope.service_selectors.is_empty();
    for (key, length, whole) in [
        (v4, aggregation_length, 32),
        (v6, aggregation_length_v6, 128),
    ] {
        if is_of_some && length != whole {
            report.add(
                &fields.key_span(key),
                format!("`{key}: {length}` together with `serviceSelectors`"),
                format!("remove one of the two: a /{length} stands for other Services as well"),
            );
        }
    }
    let localpref = fields.get(LOCAL_PREF);
    let localpref = localpref.and_then(|node| integer(node, LOCAL_PREF, 0..=u32::MAX, report));
    let prepend = fields.get(PREPEND);
    let prepend = prepend.and_then(|node| integer(node, PREPEND, 1..=10, report));
    let communities = names(&fields, "communities", report);
    let peers = names(&fields, "peers", report);
    let one = BgpAdvertisement {
        name: manifest.object.name.clone(),
        scope,
        route: RouteAttributes {
            aggregation_length,
            aggregation_length_v6,
            localpref: localpref.unwrap_or(default.localpref),
            as_path_prepend: prepend.unwrap_or(default.as_path_prepend),
            ..default
        },
        peers: peers.iter().map(|(name, _)| name.clone()).collect(),
    };
    Some(Said::Bgp(Box::new(SaidRoute {
        one,
        chosen,
        peers,
        communities,
        lengths: [v4, v6].map(|key| report.place(&fields.key_span(key))),
        preferences: [LOCAL_PREF, PREPEND].map(|key| report.place(&fields.key_span(key))),
    })))
}
