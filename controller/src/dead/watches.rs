//! What is watched: everything that a decision about dead nodes reads, and nothing more is kept of it.

use std::collections::BTreeSet;

use ferrolb_core::dead::{
    NodeFacts, ServiceFacts, SliceFacts, VOTES_NAME, VotesView, ignores_dead_nodes, node_facts,
    service_facts, slice_facts, votes_view,
};
use ferrolb_core::view::ServiceKey;
use ferrolb_kube::trimmed::Trimmed;
use futures::stream::{BoxStream, StreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{Api, Client};

use crate::watch::{Seen, watch};

/// Slices that changed together are taken together.
const BATCH: usize = 512;

/// The watches.
pub(super) struct Watches {
    pub(super) nodes: BoxStream<'static, Seen<(String, NodeFacts)>>,
    pub(super) services: BoxStream<'static, Seen<ServiceFacts>>,
    /// Those that leave their pods alone.
    pub(super) namespaces: BoxStream<'static, Seen<String>>,
    pub(super) slices: BoxStream<'static, Vec<Seen<SliceFacts>>>,
    pub(super) votes: BoxStream<'static, Seen<VotesView>>,
}

impl Watches {
    pub(super) fn begin(client: &Client, namespace: &str) -> Self {
        let nodes = Api::<Trimmed<Node>>::all(client.clone());
        let node_facts = |Trimmed(node): &Trimmed<Node>| node_facts(node);
        let services = Api::<Service>::all(client.clone());
        let namespaces = Api::<Namespace>::all(client.clone());
        let slices = Api::<EndpointSlice>::all(client.clone());
        let maps = Api::<ConfigMap>::namespaced(client.clone(), namespace);
        let is_ours = |map: &ConfigMap| map.metadata.name.as_deref() == Some(VOTES_NAME);
        let votes = move |map: &ConfigMap| is_ours(map).then(|| votes_view(map));
        let ignoring = |namespace: &Namespace| {
            let name = namespace.metadata.name.clone()?;
            ignores_dead_nodes(&namespace.metadata).then_some(name)
        };
        let slices = watch("EndpointSlices of pods", slices, "", slice_facts);
        Self {
            nodes: watch("Nodes for their readiness", nodes, "", node_facts).boxed(),
            services: watch("Services for dead nodes", services, "", service_facts).boxed(),
            namespaces: watch("Namespaces for dead nodes", namespaces, "", ignoring).boxed(),
            slices: slices.ready_chunks(BATCH).boxed(),
            votes: watch("votes", maps, &format!("metadata.name={VOTES_NAME}"), votes).boxed(),
        }
    }
}

/// Of a kind whose objects are known by their namespace and name.
pub(super) enum Known<V> {
    All(Vec<V>),
    One(V),
    Gone(ServiceKey),
}

impl<V> Known<V> {
    /// What is known after `seen`; one that cannot be decoded stays as it was.
    pub(super) fn of(seen: Seen<V>) -> Option<Self> {
        Some(match seen {
            Seen::Applied(view) => Self::One(view),
            Seen::Deleted(key) => Self::Gone(key),
            Seen::Listed { views, .. } => Self::All(views),
            Seen::Unreadable(_) => return None,
        })
    }
}

/// The names of namespaces.
pub(super) fn names(views: Vec<String>) -> BTreeSet<String> {
    views.into_iter().collect()
}
