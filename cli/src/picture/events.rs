//! What the daemons told in Events.

use ferrolb_core::names::event::{
    ALLOCATION_FAILED, CONFIG_ACCEPTED, CONFIG_REFUSED, EventReason, IP_ALLOCATED, NODE_ASSIGNED,
    NOT_ANNOUNCED,
};
use ferrolb_core::names::{CONTROLLER_COMPONENT, SPEAKER_COMPONENT};
use futures::future;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use kube::Api;
use kube::api::ListParams;
use serde::Serialize;

use super::{Address, AddressState};
use crate::ago;
use crate::cluster::{Cluster, pages_of};

/// As many as are kept, the newest.
const KEPT: usize = 5_000;

/// An Event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Happening {
    #[serde(serialize_with = "ago::serialize")]
    pub(crate) time: Option<Timestamp>,
    /// When it was told for the first time.
    #[serde(serialize_with = "ago::serialize")]
    pub(crate) first: Option<Timestamp>,
    pub(crate) kind: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) r#type: String,
    pub(crate) reason: String,
    pub(crate) message: String,
    /// The node whose speaker tells it.
    pub(crate) node: Option<String>,
    /// Of those of one second the versions, which the API server counts up, tell the order.
    #[serde(skip)]
    pub(crate) version: u64,
}

impl Cluster {
    /// What our daemons told, oldest first.
    pub(super) async fn happenings(&self) -> anyhow::Result<Vec<Happening>> {
        let api: Api<Event> = Api::all(self.client.clone());
        let of = |component: &str| {
            let params = ListParams::default().fields(&format!("source={component}"));
            pages_of(&api, "events", params, |event| Some(happening(&event)))
        };
        let both = future::try_join(of(CONTROLLER_COMPONENT), of(SPEAKER_COMPONENT)).await?;
        let mut all = [both.0, both.1].concat();
        in_order(&mut all);
        all.drain(..all.len().saturating_sub(KEPT));
        Ok(all)
    }
}

/// Oldest first.
pub(crate) fn in_order(events: &mut [Happening]) {
    events.sort_by_key(|event| (event.time, event.version));
}

/// What is read of an Event.
pub(crate) fn happening(event: &Event) -> Happening {
    let object = &event.involved_object;
    let times = [
        event.event_time.as_ref().map(|time| time.0),
        event.last_timestamp.as_ref().map(|time| time.0),
    ];
    let version = event.metadata.resource_version.as_deref();
    let source = event.source.as_ref();
    Happening {
        time: times.into_iter().flatten().max(),
        first: event.first_timestamp.as_ref().map(|time| time.0),
        kind: object.kind.clone().unwrap_or_default(),
        namespace: object.namespace.clone().unwrap_or_default(),
        name: object.name.clone().unwrap_or_default(),
        r#type: event.type_.clone().unwrap_or_default(),
        reason: event.reason.clone().unwrap_or_default(),
        message: event.message.clone().unwrap_or_default(),
        node: source.and_then(|source| source.host.clone()),
        version: version.and_then(|one| one.parse().ok()).unwrap_or(0),
    }
}

impl Happening {
    /// Whether it is about the Service `namespace/name`.
    pub(crate) fn is_about(&self, service: &str) -> bool {
        let (namespace, name) = service.split_once('/').unwrap_or_default();
        self.kind == "Service" && self.namespace == namespace && self.name == name
    }
}

/// Since when the address is announced, or by nobody, as far as Events tell.
pub(super) fn since(address: &Address, events: &[Happening]) -> Option<Timestamp> {
    let of_services = |event: &&Happening| address.services.iter().any(|one| event.is_about(one));
    let newest = |reason: EventReason| {
        let mut newest = events.iter().rev().filter(of_services);
        newest.find(|event| event.reason == reason)
    };
    match address.state {
        AddressState::Announced => {
            let assigned = newest(NODE_ASSIGNED)?;
            let by = assigned.node.as_ref();
            // An older word, of another node, says nothing of this one.
            by.filter(|node| address.nodes.contains(node))?;
            assigned.time
        }
        AddressState::Silent | AddressState::Quiet => {
            let told = newest(NOT_ANNOUNCED)?;
            let was_announced = newest(NODE_ASSIGNED).and_then(|event| event.time);
            let first = told.first.or(told.time)?;
            was_announced
                .is_none_or(|time| time <= first)
                .then_some(first)
        }
        _ => None,
    }
}

/// Since when the Service is refused an address, as far as Events tell.
pub(super) fn refused_since(service: &str, events: &[Happening]) -> Option<Timestamp> {
    let about = |event: &&Happening| event.is_about(service);
    let mut since = None;
    for event in events.iter().filter(about) {
        if event.reason == IP_ALLOCATED {
            since = None;
        } else if event.reason == ALLOCATION_FAILED {
            since = since.or(event.first).or(event.time);
        }
    }
    since
}

/// Since when the newest version of a configuration, or of one of MetalLB's objects, is refused, as far as Events tell.
pub(super) fn config_refused_since(
    kind: &str,
    namespace: &str,
    name: &str,
    events: &[Happening],
) -> Option<Timestamp> {
    let about = |event: &&Happening| {
        event.kind == kind && event.namespace == namespace && event.name == name
    };
    let mut since = None;
    for event in events.iter().filter(about) {
        if event.reason == CONFIG_ACCEPTED {
            since = None;
        } else if event.reason == CONFIG_REFUSED {
            since = since.or(event.first).or(event.time);
        }
    }
    since
}
