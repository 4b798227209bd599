//! Watches of the API server: objects in, views out. Whole objects are never kept.

use std::collections::BTreeMap;
use std::time::Duration;

use ferrolb_core::k8s::{endpoint_slice_view, endpoints_views, node_view, service_view};
use ferrolb_core::names::CONFLICTS_NAME;
use ferrolb_core::view::{EndpointSliceView, NodeView, ServiceKey, ServiceView};
use futures::stream::{self, BoxStream, StreamExt as _};
use k8s_openapi::api::core::v1::{ConfigMap, Endpoints, Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource, ResourceExt as _};
use tracing::{debug, info, warn};

/// Objects of one page of a list.
const PAGE: u32 = 100;
/// Seconds after which a watch is begun anew, as a guard against one that has silently died.
const WATCH_SECONDS: u32 = 60;
/// Wait after a failure, doubled up to the longest one.
const FIRST_RETRY: Duration = Duration::from_millis(250);
const LONGEST_RETRY: Duration = Duration::from_secs(5);

/// Rights that are missing may be given while the speaker runs.
const FORBIDDEN_RETRY: Duration = Duration::from_secs(60);

/// What the API server tells. Keys are namespace and name of the object.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "one at a time, and it moves straight into its store"
)]
pub enum Input {
    /// A Service.
    Service(Event<(ServiceKey, Option<ServiceView>)>),
    /// An `EndpointSlice`, or one family of an Endpoints object.
    Slice(Event<(ServiceKey, Option<EndpointSliceView>)>),
    /// A Node.
    Node(Event<(String, Option<NodeView>)>),
    /// The `data` of the `ConfigMap`.
    Config(Data),
    /// The `data` of the `ConfigMap` of conflicts.
    Reports(Data),
}

/// Of the one `ConfigMap` that is watched.
type Data = Event<((), Option<BTreeMap<String, String>>)>;

/// Everything that the speaker watches. It never ends: what fails is tried again.
pub fn all(client: &Client, namespace: &str, config: &str) -> BoxStream<'static, Input> {
    let configs = patient(config_map(client, namespace, config))
        .filter_map(async |event| Some(Input::Config(event?)));
    let reports = {
        let (client, namespace) = (client.clone(), namespace.to_owned());
        move || config_map(&client, &namespace, CONFLICTS_NAME)
    };
    let reports = or_else(
        reports(),
        403,
        none_until_allowed(reports, FORBIDDEN_RETRY),
        "the reports of conflicts are forbidden: a takeover of an address that another host has is \
         announced",
    );
    let nodes = patient(watcher(
        Api::<Node>::all(client.clone()),
        settings(<_>::default()),
    ))
    .filter_map(async |event| {
        Some(Input::Node(map(event?, |node| {
            (node.name_any(), node_view(&node))
        })))
    });
    stream::select_all([
        services(client).map(Input::Service).boxed(),
        slices(client).map(Input::Slice).boxed(),
        nodes.boxed(),
        configs.boxed(),
        reports.map(Input::Reports).boxed(),
    ])
    .boxed()
}

/// The data of one `ConfigMap`.
fn config_map(
    client: &Client,
    namespace: &str,
    name: &str,
) -> impl futures::Stream<Item = Watched<Data>> + Send + 'static + use<> {
    let by_name = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let api = Api::<ConfigMap>::namespaced(client.clone(), namespace);
    watcher(api, settings(by_name)).map(|event| event.map(|event| map(event, |map| ((), map.data))))
}

fn settings(config: watcher::Config) -> watcher::Config {
    config.page_size(PAGE).timeout(WATCH_SECONDS)
}

/// Only Services of type `LoadBalancer`, by a field selector; all, where the API server does not
/// know it (before 1.31).
fn services(client: &Client) -> BoxStream<'static, Event<(ServiceKey, Option<ServiceView>)>> {
    let api = Api::<Service>::all(client.clone());
    let selected = settings(watcher::Config::default().fields("spec.type=LoadBalancer"));
    let view = |service: Service| {
        let view = service_view(&service).filter(|view| view.load_balancer);
        (key(&service), view)
    };
    let every = watcher(api.clone(), settings(<_>::default()));
    or_else(
        watcher(api, selected),
        400,
        every,
        "the API server selects no Services by type",
    )
    .map(move |event| map(event, view))
    .boxed()
}

/// `EndpointSlices`; Endpoints, where the role allows no slices (minikube's addon).
fn slices(client: &Client) -> BoxStream<'static, Event<(ServiceKey, Option<EndpointSliceView>)>> {
    let slices = Api::<EndpointSlice>::all(client.clone());
    let slices = watcher(slices, settings(<_>::default())).map(|event| {
        event.map(|event| split(event, |slice| [(key(slice), endpoint_slice_view(slice))]))
    });
    let endpoints = Api::<Endpoints>::all(client.clone());
    let endpoints = watcher(endpoints, settings(<_>::default())).map(|event| {
        event.map(|event| {
            split(event, |endpoints| {
                let key = key(endpoints);
                endpoints_views(endpoints).map(|(suffix, view)| {
                    let name = format!("{}{suffix}", key.name);
                    (
                        ServiceKey {
                            name,
                            ..key.clone()
                        },
                        view,
                    )
                })
            })
        })
    });
    or_else(
        slices,
        403,
        endpoints,
        "EndpointSlices are forbidden, reading Endpoints",
    )
    .flat_map(stream::iter)
    .boxed()
}

fn key<K: Resource>(object: &K) -> ServiceKey {
    ServiceKey {
        namespace: object.namespace().unwrap_or_default(),
        name: object.name_any(),
    }
}

fn map<A, B>(event: Event<A>, f: impl FnOnce(A) -> B) -> Event<B> {
    match event {
        Event::Apply(object) => Event::Apply(f(object)),
        Event::Delete(object) => Event::Delete(f(object)),
        Event::Init => Event::Init,
        Event::InitApply(object) => Event::InitApply(f(object)),
        Event::InitDone => Event::InitDone,
    }
}

/// One event for each view of an object.
fn split<A, B, I: IntoIterator<Item = B>>(
    event: Event<A>,
    f: impl FnOnce(&A) -> I,
) -> Vec<Event<B>> {
    match event {
        Event::Apply(object) => f(&object).into_iter().map(Event::Apply).collect(),
        Event::Delete(object) => f(&object).into_iter().map(Event::Delete).collect(),
        Event::Init => vec![Event::Init],
        Event::InitApply(object) => f(&object).into_iter().map(Event::InitApply).collect(),
        Event::InitDone => vec![Event::InitDone],
    }
}

type Watched<T> = Result<T, watcher::Error>;

/// What came out of a watch.
trait Told {
    /// A list is about to be asked for; nothing has been told yet.
    fn only_begins(&self) -> bool;
}

impl<T> Told for Event<T> {
    fn only_begins(&self) -> bool {
        matches!(self, Self::Init)
    }
}

impl<T> Told for Vec<Event<T>> {
    fn only_begins(&self) -> bool {
        self.iter().all(Told::only_begins)
    }
}

/// Goes on with `other` when the API server answers `first` with this status code before it has told
/// anything, and back again when that is refused, too: an API server that is starting forbids
/// everything for a moment.
fn or_else<T: Told + Send + 'static>(
    first: impl futures::Stream<Item = Watched<T>> + Send + 'static,
    code: u16,
    other: impl futures::Stream<Item = Watched<T>> + Send + 'static,
    why: &'static str,
) -> BoxStream<'static, T> {
    let choice = Choice {
        streams: [first.boxed(), other.boxed()],
        current: 0,
        is_settled: false,
    };
    let chosen = stream::unfold(choice, move |mut choice| async move {
        loop {
            let event = choice.streams[choice.current].next().await?;
            match &event {
                Err(error) if status(error) == Some(code) && !choice.is_settled => {
                    choice.current = 1 - choice.current;
                    if choice.current == 1 {
                        debug!("{why}");
                        continue;
                    }
                }
                Ok(told) if !told.only_begins() && !choice.is_settled => {
                    choice.is_settled = true;
                    if choice.current == 1 {
                        info!("{why}");
                    }
                }
                _ => {}
            }
            return Some((event, choice));
        }
    });
    patient(chosen).filter_map(async |event| event).boxed()
}

/// Two ways to the same objects, until one has told something.
struct Choice<T> {
    streams: [BoxStream<'static, Watched<T>>; 2],
    current: usize,
    is_settled: bool,
}

/// There are none, until reading them is no longer forbidden: looked up with this pause.
fn none_until_allowed<T, S>(
    watch: impl Fn() -> S + Send + 'static,
    pause: Duration,
) -> impl futures::Stream<Item = Watched<Event<T>>> + Send + 'static
where
    T: Send + 'static,
    S: futures::Stream<Item = Watched<Event<T>>> + Send + 'static,
{
    let none = stream::iter([Event::Init, Event::InitDone].map(Ok));
    let attempts = stream::repeat_with(watch).then(move |events| async move {
        tokio::time::sleep(pause).await;
        events.take_while(|event| {
            let is_forbidden = event.as_ref().err().and_then(status) == Some(403);
            std::future::ready(!is_forbidden)
        })
    });
    none.chain(attempts.flatten())
}

fn status(error: &watcher::Error) -> Option<u16> {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => Some(status.code),
        _ => None,
    }
}

/// Waits after each failure, longer each time; `None` stands for a failure. Only the first of several
/// in a row is worth a warning.
fn patient<T: Told + Send + 'static>(
    events: impl futures::Stream<Item = Watched<T>> + Send + 'static,
) -> impl futures::Stream<Item = Option<T>> + Send {
    let events = Box::pin(events);
    stream::unfold((events, None), |(mut events, waited)| async move {
        match events.next().await? {
            // Comes before each attempt to list, also one that fails.
            Ok(event) if event.only_begins() => Some((Some(event), (events, waited))),
            Ok(event) => {
                if waited.is_some() {
                    info!("the API server tells again");
                }
                Some((Some(event), (events, None)))
            }
            Err(error) => {
                let error = chain(&error);
                if waited.is_none() {
                    warn!(error, "the API server does not tell; what is known stays");
                } else {
                    debug!(error, "the API server still does not tell");
                }
                let wait = waited
                    .map_or(FIRST_RETRY, |wait: Duration| wait * 2)
                    .min(LONGEST_RETRY);
                tokio::time::sleep(wait).await;
                Some((None, (events, Some(wait))))
            }
        }
    })
}

/// The error with its causes: the outer one's text has only the next one's.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: u16) -> Watched<Event<u8>> {
        let status = kube::core::Status {
            code,
            ..Default::default()
        };
        Err(watcher::Error::InitialListFailed(kube::Error::Api(
            Box::new(status),
        )))
    }

    /// What comes of two ways that tell these, one after the other.
    async fn told(first: Vec<Watched<Event<u8>>>, other: Vec<Watched<Event<u8>>>) -> Vec<u8> {
        let applied = async |event| match event {
            Event::Apply(n) => Some(n),
            _ => None,
        };
        or_else(stream::iter(first), 403, stream::iter(other), "")
            .filter_map(applied)
            .collect()
            .await
    }

    #[tokio::test]
    async fn a_right_that_is_given_later_is_noticed() {
        let attempts = std::sync::Mutex::new(vec![
            vec![Ok(Event::Init), Ok(Event::Apply(1))],
            vec![Ok(Event::Init), refused(403), Ok(Event::Apply(9))],
            vec![refused(403)],
        ]);
        let watch = move || stream::iter(attempts.lock().unwrap().pop().unwrap_or_default());
        let told = none_until_allowed(watch, Duration::ZERO).take(5);
        let kinds = told.map(|event| match event.unwrap() {
            Event::Init => "init",
            Event::InitDone => "done",
            Event::Apply(1) => "one",
            _ => "another",
        });
        let told: Vec<_> = kinds.collect().await;
        assert_eq!(told, ["init", "done", "init", "init", "one"]);
    }

    #[tokio::test]
    async fn what_is_forbidden_for_a_moment_only_is_tried_again() {
        let apply = |n| Ok(Event::Apply(n));
        let first = vec![Ok(Event::Init), refused(403), Ok(Event::Init), apply(1)];
        let other = vec![Ok(Event::Init), refused(403), apply(2)];
        assert_eq!(
            told(first, other).await,
            [1],
            "the first way is the better one"
        );
        let first = vec![refused(403), apply(1)];
        let other = vec![refused(500), apply(2), refused(403), apply(3)];
        assert_eq!(
            told(first, other).await,
            [2, 3],
            "once it told something, it stays"
        );
    }
}
