//! Watches that yield views: no whole object lives longer than one step of the stream.

use std::collections::BTreeSet;
use std::fmt::Debug;

use ferrolb_core::view::ServiceKey;
use ferrolb_kube::watch::{
    self, Event, NOT_SELECTABLE, NOT_THERE, Watched, or_else, or_none, told,
};
use futures::stream::{BoxStream, Stream, StreamExt};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;

/// What a watch saw.
#[derive(Debug)]
pub enum Seen<V> {
    /// Created or changed.
    Applied(V),
    /// Deleted, or selected no longer, or without a view.
    Deleted(ServiceKey),
    /// Everything there is.
    Listed {
        /// What could be decoded.
        views: Vec<V>,
        /// What exists and could not.
        unreadable: BTreeSet<ServiceKey>,
    },
    /// An object that could not be decoded; what is known of it stays. The log says so already.
    Unreadable(ServiceKey),
}

/// An object's namespace and name, and its view.
type Viewed<V> = (ServiceKey, Option<V>);

/// Watches the objects that `fields` selects, called `what` in the log, as far as they have a view; all of
/// them, where the API server does not know these fields.
pub fn watch<K, V, F>(
    what: &'static str,
    api: Api<K>,
    fields: &str,
    view: F,
) -> impl Stream<Item = Seen<V>> + Send + use<K, V, F>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
    V: Send + 'static,
    F: Fn(&K) -> Option<V> + Clone + Send + 'static,
{
    let events = |fields| viewed(api.clone(), fields, view.clone());
    let events = if fields.is_empty() {
        events(None).boxed()
    } else {
        let why = "the API server does not select these objects by field";
        or_else(events(Some(fields)), NOT_SELECTABLE, events(None), why).boxed()
    };
    seen(what, events)
}

/// The same of objects that the controller can do without: there are none as long as reading them is
/// forbidden, or the API server has no such kind.
pub fn watch_if_there_are<K, V, F>(
    what: &'static str,
    api: Api<K>,
    fields: Option<&'static str>,
    view: F,
) -> impl Stream<Item = Seen<V>> + Send + use<K, V, F>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
    V: Send + 'static,
    F: Fn(&K) -> Option<V> + Clone + Send + 'static,
{
    let events = move || viewed(api.clone(), fields, view.clone());
    let why = "some objects cannot be read, and are done without";
    seen(what, or_none(events, NOT_THERE, why).boxed())
}

/// The same of objects of the whole cluster, which are known by their names: for a store.
pub fn watch_by_name<K, V, F>(
    what: &'static str,
    api: Api<K>,
    view: F,
) -> BoxStream<'static, Event<(String, Option<V>)>>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
    V: Send + 'static,
    F: Fn(&K) -> Option<V> + Clone + Send + 'static,
{
    let events = told(what, viewed(api, None, view));
    let by_name = |event: Event<Viewed<V>>| event.map(|(key, view)| (key.name.to_string(), view));
    events.map(by_name).boxed()
}

fn viewed<K, V, F>(
    api: Api<K>,
    fields: Option<&str>,
    view: F,
) -> impl Stream<Item = Watched<Event<Viewed<V>>>> + Send + use<K, V, F>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
    V: Send + 'static,
    F: Fn(&K) -> Option<V> + Clone + Send + 'static,
{
    let read = move |key: &ServiceKey, object: Option<&K>| (key.clone(), object.and_then(&view));
    watch::watch(api, fields.map(str::to_owned), read)
}

fn seen<V: Send + 'static>(
    what: &'static str,
    events: BoxStream<'static, Watched<Event<Viewed<V>>>>,
) -> impl Stream<Item = Seen<V>> + Send + use<V> {
    let mut list = List::default();
    let seen = told(what, events).map(move |event| list.take(event));
    seen.filter_map(std::future::ready)
}

/// A list that comes in.
#[derive(Debug)]
pub struct List<V> {
    views: Vec<V>,
    unreadable: BTreeSet<ServiceKey>,
}

impl<V> Default for List<V> {
    fn default() -> Self {
        Self {
            views: Vec::new(),
            unreadable: BTreeSet::new(),
        }
    }
}

impl<V> List<V> {
    /// Takes one event; what it comes to, if that is complete.
    pub fn take(&mut self, event: Event<Viewed<V>>) -> Option<Seen<V>> {
        match event {
            Event::Init => {
                *self = Self::default();
                None
            }
            Event::InitApply((_, view)) => {
                self.views.extend(view);
                None
            }
            Event::InitDone => {
                let Self { views, unreadable } = std::mem::take(self);
                Some(Seen::Listed { views, unreadable })
            }
            // It may have had a view before.
            Event::Apply((key, view)) => Some(view.map_or(Seen::Deleted(key), Seen::Applied)),
            Event::Delete((key, _)) => Some(Seen::Deleted(key)),
            Event::Unreadable((key, _)) => {
                self.unreadable.insert(key.clone());
                Some(Seen::Unreadable(key))
            }
        }
    }
}

/// Watches objects that may not be read: none are ever seen.
#[must_use]
pub fn watch_nothing<T: Send + 'static>() -> BoxStream<'static, T> {
    futures::stream::pending().boxed()
}
