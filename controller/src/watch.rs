//! Watches that yield views: no whole object lives longer than one step of the stream.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::time::Duration;

use ferrolb_core::view::ServiceKey;
use futures::stream::{BoxStream, Stream, StreamExt, unfold};
use kube::core::{DeserializeGuard, ObjectMeta};
use kube::runtime::WatchStreamExt;
use kube::runtime::utils::ResetTimerBackoff;
use kube::runtime::watcher::{Config, Error, Event, watcher};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;

use crate::backoff::WatchBackoff;

/// A watch is renewed after this many seconds; that costs one request and no list.
const WATCH_SECONDS: u32 = 60;
/// A watch that lived so long is no failing one.
const BACKOFF_RESET: Duration = Duration::from_secs(10);
/// Where lists come in pages, this is what is held in memory at once.
const PAGE: u32 = 50;

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
    /// An object that could not be decoded; what is known of it stays.
    Unreadable(ServiceKey, String),
    /// The watch failed and is tried again.
    Failed(Error),
}

type View<K, V> = Box<dyn Fn(&K) -> Option<V> + Send>;

struct Watch<K, V> {
    api: Api<DeserializeGuard<K>>,
    /// The next way to try if the server refuses the current one.
    fallbacks: std::vec::IntoIter<Config>,
    events: BoxStream<'static, Result<Event<DeserializeGuard<K>>, Error>>,
    view: View<K, V>,
    views: Vec<V>,
    unreadable: BTreeSet<ServiceKey>,
}

/// Watches the objects that `fields` selects, as far as they have a view. Servers before 1.31 cannot select Services by type,
/// and before 1.34 they may refuse streaming lists: then the watch falls back by itself.
pub fn watch<K, V, F>(
    api: Api<DeserializeGuard<K>>,
    fields: &str,
    view: F,
) -> impl Stream<Item = Seen<V>> + Send + use<K, V, F>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
    V: Send + 'static,
    F: Fn(&K) -> Option<V> + Send + 'static,
{
    let base = Config::default().timeout(WATCH_SECONDS);
    let selected = match fields {
        "" => base.clone(),
        fields => base.clone().fields(fields),
    };
    let ways = vec![
        selected.clone().streaming_lists(),
        selected.page_size(PAGE),
        base.page_size(PAGE),
    ];
    let mut fallbacks = ways.into_iter();
    let first = fallbacks.next().unwrap_or_default();
    let events = events(&api, first);
    let unreadable = BTreeSet::new();
    let view = Box::new(view);
    let watch = Watch {
        api,
        fallbacks,
        events,
        view,
        views: Vec::new(),
        unreadable,
    };
    unfold(watch, |mut watch| async move {
        loop {
            let event = watch.events.next().await?;
            if let Some(seen) = watch.take(event) {
                return Some((seen, watch));
            }
        }
    })
}

fn events<K>(
    api: &Api<DeserializeGuard<K>>,
    config: Config,
) -> BoxStream<'static, Result<Event<DeserializeGuard<K>>, Error>>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let backoff = ResetTimerBackoff::new(WatchBackoff::default(), BACKOFF_RESET);
    watcher(api.clone(), config).backoff(backoff).boxed()
}

impl<K, V> Watch<K, V>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    fn take(&mut self, event: Result<Event<DeserializeGuard<K>>, Error>) -> Option<Seen<V>> {
        match event {
            Ok(Event::Init) => {
                self.views.clear();
                self.unreadable.clear();
                None
            }
            Ok(Event::InitApply(DeserializeGuard(Ok(object)))) => {
                self.views.extend((self.view)(&object));
                None
            }
            Ok(Event::InitApply(DeserializeGuard(Err(invalid)))) => {
                let key = key_of(&invalid.metadata);
                self.unreadable.insert(key.clone());
                Some(Seen::Unreadable(key, invalid.error))
            }
            Ok(Event::InitDone) => Some(Seen::Listed {
                views: std::mem::take(&mut self.views),
                unreadable: std::mem::take(&mut self.unreadable),
            }),
            Ok(Event::Apply(DeserializeGuard(Ok(object)))) => {
                (self.view)(&object).map(Seen::Applied)
            }
            Ok(Event::Apply(DeserializeGuard(Err(invalid)))) => {
                Some(Seen::Unreadable(key_of(&invalid.metadata), invalid.error))
            }
            Ok(Event::Delete(DeserializeGuard(Ok(object)))) => {
                Some(Seen::Deleted(key_of(object.meta())))
            }
            Ok(Event::Delete(DeserializeGuard(Err(invalid)))) => {
                Some(Seen::Deleted(key_of(&invalid.metadata)))
            }
            Err(error) => {
                if is_refused(&error)
                    && let Some(config) = self.fallbacks.next()
                {
                    tracing::info!(%error, "the API server refuses this way of watching, trying another");
                    self.events = events(&self.api, config);
                    return None;
                }
                Some(Seen::Failed(error))
            }
        }
    }
}

fn key_of(meta: &ObjectMeta) -> ServiceKey {
    ServiceKey {
        namespace: meta.namespace.clone().unwrap_or_default(),
        name: meta.name.clone().unwrap_or_default(),
    }
}

/// Whether the server does not understand the request, rather than being unable to serve it.
fn is_refused(error: &Error) -> bool {
    let (Error::InitialListFailed(kube::Error::Api(status))
    | Error::WatchStartFailed(kube::Error::Api(status))) = error
    else {
        return false;
    };
    matches!(status.code, 400 | 422)
}

/// Watches objects that may not be read: none are ever seen.
#[must_use]
pub fn watch_nothing<V: Send + 'static>() -> BoxStream<'static, Seen<V>> {
    futures::stream::pending().boxed()
}
