//! The watches of `EndpointSlices`, of which `core::cover` says how many there are and what they select.

use std::collections::BTreeMap;
use std::sync::Arc;

use ferrolb_core::cover::{Order, WatchId};
use ferrolb_core::k8s::{endpoint_slice_view, endpoints_views};
use ferrolb_core::view::{EndpointSliceView, ServiceKey};
use ferrolb_kube::trimmed::Trimmed;
use ferrolb_kube::watch::{Event, or_else, told, watch, watch_labelled};
use futures::stream::{self, BoxStream, SelectAll, Stream, StreamExt as _};
use k8s_openapi::api::core::v1::Endpoints;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{Api, Client};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;
use tracing::debug;

use crate::slices::Told;

/// What the watches tell that are open at the time.
pub(super) fn watches(
    client: Client,
    orders: UnboundedReceiver<Order>,
) -> impl Stream<Item = Told> + Send {
    let watches = Watches {
        client,
        orders,
        open: SelectAll::new(),
        ends: BTreeMap::new(),
    };
    stream::unfold(watches, |mut watches| async move {
        let told = watches.next().await?;
        Some((told, watches))
    })
}

struct Watches {
    client: Client,
    orders: UnboundedReceiver<Order>,
    open: SelectAll<BoxStream<'static, Told>>,
    /// A watch ends when its sender is dropped.
    ends: BTreeMap<WatchId, oneshot::Sender<()>>,
}

impl Watches {
    async fn next(&mut self) -> Option<Told> {
        loop {
            tokio::select! {
                biased;
                Some(order) = self.orders.recv() => self.carry_out(order),
                Some(told) = self.open.next() => return Some(told),
                // Nobody can begin another one.
                else => return None,
            }
        }
    }

    fn carry_out(&mut self, order: Order) {
        match order {
            Order::Open(id, selector) => {
                debug!(watch = id, selector, "watching EndpointSlices");
                let (end, ended) = oneshot::channel();
                let told = slices(&self.client, selector).map(move |part| Told {
                    watch: id,
                    is_of_all: part.is_of_all,
                    event: part.event,
                });
                self.open.push(told.take_until(ended).boxed());
                self.ends.insert(id, end);
            }
            Order::Close(id) => {
                debug!(watch = id, "no longer watching these EndpointSlices");
                self.ends.remove(&id);
            }
        }
    }
}

/// Of an object, or of each family of one.
type Views = Vec<(ServiceKey, Option<EndpointSliceView>)>;

struct Part<T> {
    is_of_all: bool,
    event: Event<T>,
}

impl<T> ferrolb_kube::watch::Told for Part<T> {
    fn only_begins(&self) -> bool {
        self.event.only_begins()
    }
}

/// `EndpointSlices` that the selector selects; all Endpoints, where the role allows no slices (minikube's
/// addon): these carry no label with the name of their Service.
fn slices(
    client: &Client,
    selector: Option<String>,
) -> impl Stream<Item = Part<(ServiceKey, Option<EndpointSliceView>)>> + Send + use<> {
    let slices = Api::all(client.clone());
    let view = |key: &ServiceKey, slice: Option<&Trimmed<EndpointSlice>>| {
        let mut view = slice.and_then(|Trimmed(slice)| endpoint_slice_view(slice));
        if let Some(view) = &mut view {
            // The same text, for as long as it is known.
            view.service.namespace = Arc::clone(&key.namespace);
        }
        vec![(key.clone(), view)]
    };
    let slices = watch_labelled(slices, selector, view);
    let endpoints = Api::all(client.clone());
    let views = |key: &ServiceKey, endpoints: Option<&Endpoints>| -> Views {
        let views = endpoints_views(endpoints.unwrap_or(&Endpoints::default()));
        let of_family = |(suffix, view)| {
            let name = format!("{}{suffix}", key.name);
            let namespace = key.namespace.clone();
            (ServiceKey::new(namespace, name), view)
        };
        views.map(of_family).to_vec()
    };
    let endpoints = watch(endpoints, None, views);
    let part = |is_of_all| move |event: Event<Views>| Part { is_of_all, event };
    let slices = or_else(
        slices.map(move |event| event.map(part(false))),
        &[403],
        endpoints.map(move |event| event.map(part(true))),
        "EndpointSlices are forbidden, reading Endpoints",
    );
    told("EndpointSlices", slices).flat_map(|part| stream::iter(split(part)))
}

/// One event for each view of an object.
fn split<T>(Part { is_of_all, event }: Part<Vec<T>>) -> Vec<Part<T>> {
    let each = |views: Vec<T>, event: fn(T) -> Event<T>| views.into_iter().map(event).collect();
    let events: Vec<_> = match event {
        Event::Apply(views) => each(views, Event::Apply),
        Event::Delete(views) => each(views, Event::Delete),
        Event::Init => vec![Event::Init],
        Event::InitApply(views) => each(views, Event::InitApply),
        Event::InitDone => vec![Event::InitDone],
        Event::Unreadable(views) => each(views, Event::Unreadable),
    };
    let part = |event| Part { is_of_all, event };
    events.into_iter().map(part).collect()
}
