//! Watches that yield views: no whole object lives longer than one step of the stream.

use std::collections::BTreeSet;
use std::fmt::Debug;

use ferrolb_core::view::ServiceKey;
use ferrolb_kube::backoff::delay;
use ferrolb_kube::watch::{self, Error, Event};
use futures::stream::{BoxStream, Stream, StreamExt, unfold};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::time::sleep;

/// What a watch saw.
#[derive(Debug)]
pub enum Seen<V> {
    /// Created or changed.
    Applied(V),
    /// Deleted, or selected no longer.
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
    /// The watch failed and is tried again.
    Failed(Error),
}

/// An object's namespace and name, and its view.
type Viewed<V> = (ServiceKey, Option<V>);
type Events<V> = BoxStream<'static, Result<Event<Viewed<V>>, Error>>;

struct Watch<V> {
    events: Events<V>,
    /// The next way to try if the server refuses the current one.
    fallback: Option<Events<V>>,
    views: Vec<V>,
    unreadable: BTreeSet<ServiceKey>,
    failures: u32,
    /// The last attempt failed.
    has_to_wait: bool,
}

/// Watches the objects that `fields` selects, as far as they have a view. Servers before 1.31 cannot
/// select Services by type: then all are watched.
pub fn watch<K, V, F>(
    api: Api<K>,
    fields: &str,
    view: F,
) -> impl Stream<Item = Seen<V>> + Send + use<K, V, F>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
    V: Send + 'static,
    F: Fn(&K) -> Option<V> + Clone + Send + 'static,
{
    let events = |fields: &str| {
        let view = view.clone();
        let fields = (!fields.is_empty()).then(|| fields.to_owned());
        let read =
            move |key: &ServiceKey, object: Option<&K>| (key.clone(), object.and_then(&view));
        watch::watch(api.clone(), fields, read).boxed()
    };
    let watch = Watch {
        events: events(fields),
        fallback: (!fields.is_empty()).then(|| events("")),
        views: Vec::new(),
        unreadable: BTreeSet::new(),
        failures: 0,
        has_to_wait: false,
    };
    unfold(watch, |mut watch| async move {
        loop {
            if std::mem::take(&mut watch.has_to_wait) {
                sleep(delay(watch.failures)).await;
            }
            let event = watch.events.next().await?;
            if let Some(seen) = watch.take(event) {
                return Some((seen, watch));
            }
        }
    })
}

impl<V> Watch<V> {
    fn take(&mut self, event: Result<Event<Viewed<V>>, Error>) -> Option<Seen<V>> {
        match event {
            // Comes before each attempt to list, also one that fails.
            Ok(Event::Init) => {
                self.views.clear();
                self.unreadable.clear();
                return None;
            }
            Ok(_) => self.failures = 0,
            Err(_) => {}
        }
        match event {
            Ok(Event::Init) => None,
            Ok(Event::InitApply((_, view))) => {
                self.views.extend(view);
                None
            }
            Ok(Event::InitDone) => Some(Seen::Listed {
                views: std::mem::take(&mut self.views),
                unreadable: std::mem::take(&mut self.unreadable),
            }),
            Ok(Event::Apply((_, view))) => view.map(Seen::Applied),
            Ok(Event::Delete((key, _))) => Some(Seen::Deleted(key)),
            Ok(Event::Unreadable((key, _))) => {
                self.unreadable.insert(key.clone());
                Some(Seen::Unreadable(key))
            }
            Err(error) => {
                if matches!(error.code(), Some(400 | 422))
                    && let Some(events) = self.fallback.take()
                {
                    tracing::info!(%error, "the API server refuses this way of watching, trying another");
                    self.events = events;
                    return None;
                }
                self.failures = self.failures.saturating_add(1);
                self.has_to_wait = true;
                Some(Seen::Failed(error))
            }
        }
    }
}

/// Watches objects that may not be read: none are ever seen.
#[must_use]
pub fn watch_nothing<V: Send + 'static>() -> BoxStream<'static, Seen<V>> {
    futures::stream::pending().boxed()
}
