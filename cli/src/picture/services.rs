//! The Services that are ours to serve.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ferrolb_core::report::ServiceStatus;
use ferrolb_core::view::ServiceView;

use super::addresses::policy;
use super::{Address, AddressState, Heard, Service};

/// By the controller's word; if none leads, as the API server lists them.
pub(super) fn joined(heard: &Heard, addresses: &[Address]) -> Vec<Service> {
    let by_address: BTreeMap<IpAddr, &Address> =
        addresses.iter().map(|one| (one.address, one)).collect();
    let views = heard.services.iter().flatten();
    let views: BTreeMap<_, _> = views
        .map(|view| ((&*view.key.namespace, &*view.key.name), view))
        .collect();
    let service = |status: ServiceStatus| {
        let view = views.get(&(status.namespace.as_str(), status.name.as_str()));
        let own = status.addresses.iter();
        let own: Vec<_> = own
            .filter_map(|text| by_address.get(&text.parse::<IpAddr>().ok()?).copied())
            .collect();
        let nodes: BTreeSet<_> = own.iter().flat_map(|one| &one.nodes).cloned().collect();
        let is_known = own.iter().all(|one| one.state != AddressState::Unknown);
        let answered = own.iter().filter(|one| is_answered(one.state)).count();
        Service {
            nodes: (is_known || !nodes.is_empty()).then(|| nodes.into_iter().collect()),
            announced: is_known.then_some(answered),
            since: None,
            created: view.and_then(|view| view.created),
            policy: view.map(|view| policy(view.traffic_policy)),
            status,
        }
    };
    let leading = heard.controller.as_ref().ok().filter(|one| one.leading);
    match leading {
        Some(status) => status.services.iter().cloned().map(service).collect(),
        None => {
            let ours = views.values().filter(|view| view.is_for(None));
            ours.map(|view| service(as_listed(view))).collect()
        }
    }
}

const fn is_answered(state: AddressState) -> bool {
    matches!(
        state,
        AddressState::Announced | AddressState::OfNode | AddressState::Twice
    )
}

/// What is known without a controller.
fn as_listed(view: &ServiceView) -> ServiceStatus {
    ServiceStatus {
        namespace: view.key.namespace.to_string(),
        name: view.key.name.to_string(),
        addresses: view.assigned.iter().map(ToString::to_string).collect(),
        pool: None,
        problem: None,
    }
}
