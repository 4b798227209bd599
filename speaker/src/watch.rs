//! What the speaker watches: objects in, views out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ferrolb_core::k8s::{endpoint_slice_view, endpoints_views, node_view, service_view};
use ferrolb_core::labels::{LabelNames, Labels};
use ferrolb_core::names::{CONFIG_KEY, CONFLICTS_NAME};
use ferrolb_core::text::LONGEST_VALUE;
use ferrolb_core::view::{EndpointSliceView, NodeView, ServiceKey, ServiceView};
use ferrolb_kube::watch::{Error, Event, watch};
use futures::stream::{self, BoxStream, StreamExt as _};
use k8s_openapi::api::core::v1::{ConfigMap, Endpoints, Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{Api, Client};
use tokio::sync::watch as latest;
use tracing::{debug, info, warn};

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
    /// The Nodes are listed anew, with their labels of these names.
    Labels(Arc<LabelNames>),
    /// A Node.
    Node(Event<(String, Option<NodeView>)>),
    /// The `data` of the `ConfigMap`.
    Config(Data),
    /// The `data` of the `ConfigMap` of conflicts.
    Reports(Data),
}

impl Input {
    /// Whether it tells of an object that cannot be decoded.
    #[must_use]
    pub const fn is_unreadable(&self) -> bool {
        matches!(
            self,
            Self::Service(Event::Unreadable(_))
                | Self::Slice(Event::Unreadable(_))
                | Self::Node(Event::Unreadable(_))
                | Self::Config(Event::Unreadable(_))
                | Self::Reports(Event::Unreadable(_))
        )
    }
}

/// Of the one `ConfigMap` that is watched.
type Data = Event<((), Option<BTreeMap<String, String>>)>;

/// Everything that the speaker watches, Nodes with those labels that `labels` names at the time. It
/// never ends: what fails is tried again.
pub fn all(
    client: &Client,
    namespace: &str,
    config: &str,
    labels: latest::Receiver<Arc<LabelNames>>,
) -> BoxStream<'static, Input> {
    let configs = patient(config_map(client, namespace, config, config_data))
        .filter_map(async |event| Some(Input::Config(event?)));
    let reports = {
        let (client, namespace) = (client.clone(), namespace.to_owned());
        move || config_map(&client, &namespace, CONFLICTS_NAME, reports_data)
    };
    let reports = or_else(
        reports(),
        403,
        none_until_allowed(reports, FORBIDDEN_RETRY),
        "the reports of conflicts are forbidden: a takeover of an address that another host has is \
         announced",
    );
    stream::select_all([
        services(client).map(Input::Service).boxed(),
        slices(client).map(Input::Slice).boxed(),
        nodes(client.clone(), labels),
        configs.boxed(),
        reports.map(Input::Reports).boxed(),
    ])
    .boxed()
}

type Texts = BTreeMap<String, String>;

/// The data of one `ConfigMap`, as far as `data` keeps it.
fn config_map(
    client: &Client,
    namespace: &str,
    name: &str,
    data: fn(&Texts) -> Texts,
) -> impl futures::Stream<Item = Watched<Data>> + Send + 'static + use<> {
    let by_name = format!("metadata.name={name}");
    let api = Api::<ConfigMap>::namespaced(client.clone(), namespace);
    watch(api, Some(by_name), move |_, map: Option<&ConfigMap>| {
        ((), map.and_then(|map| map.data.as_ref()).map(data))
    })
}

/// Of other keys only the names are told.
fn config_data(data: &Texts) -> Texts {
    let kept = data.iter().map(|(key, value)| {
        let value = if key == CONFIG_KEY {
            value.as_str()
        } else {
            ""
        };
        (key.clone(), value.to_owned())
    });
    kept.collect()
}

/// A report has some two hundred bytes.
fn reports_data(data: &Texts) -> Texts {
    let short = data
        .iter()
        .filter(|(_, value)| value.len() <= LONGEST_VALUE);
    short
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// Nodes; listed anew as soon as other labels are wanted.
fn nodes(client: Client, labels: latest::Receiver<Arc<LabelNames>>) -> BoxStream<'static, Input> {
    let begin = move |labels: Arc<LabelNames>| {
        let names = Arc::clone(&labels);
        let read = move |key: &ServiceKey, node: Option<&Node>| {
            let view = node.and_then(node_view).map(|view| NodeView {
                labels: view.labels.only(&names),
                ..view
            });
            (key.name.clone(), view)
        };
        let events = patient(watch(Api::<Node>::all(client.clone()), None, read));
        let events = events.filter_map(async |event| Some(Input::Node(event?)));
        stream::once(std::future::ready(Input::Labels(labels)))
            .chain(events)
            .boxed()
    };
    renewed(labels, begin)
}

/// What `begin` makes of the latest value; it begins again when there is another one.
fn renewed<T, S>(
    mut latest: latest::Receiver<T>,
    begin: impl Fn(T) -> BoxStream<'static, S> + Send + 'static,
) -> BoxStream<'static, S>
where
    T: Clone + Send + Sync + 'static,
    S: Send + 'static,
{
    let first = begin(latest.borrow_and_update().clone());
    stream::unfold(
        (latest, begin, first),
        |(mut latest, begin, mut current)| async move {
            loop {
                tokio::select! {
                    biased;
                    Ok(()) = latest.changed() => {
                        current = begin(latest.borrow_and_update().clone());
                    }
                    item = current.next() => return Some((item?, (latest, begin, current))),
                }
            }
        },
    )
    .boxed()
}

/// Only Services of type `LoadBalancer`, by a field selector; all, where the API server does not
/// know it (before 1.31).
fn services(client: &Client) -> BoxStream<'static, Event<(ServiceKey, Option<ServiceView>)>> {
    let api = Api::<Service>::all(client.clone());
    let read = |key: &ServiceKey, service: Option<&Service>| {
        let view = service.and_then(service_view);
        let view = view.filter(|view| view.load_balancer);
        // No decision of a speaker reads them.
        let view = view.map(|view| ServiceView {
            labels: Labels::default(),
            ..view
        });
        (key.clone(), view)
    };
    or_else(
        watch(api.clone(), Some("spec.type=LoadBalancer".to_owned()), read),
        400,
        watch(api, None, read),
        "the API server selects no Services by type",
    )
}

/// `EndpointSlices`; Endpoints, where the role allows no slices (minikube's addon).
fn slices(client: &Client) -> BoxStream<'static, Event<(ServiceKey, Option<EndpointSliceView>)>> {
    let slices = Api::<EndpointSlice>::all(client.clone());
    let slices = watch(slices, None, |key, slice: Option<&EndpointSlice>| {
        vec![(key.clone(), slice.and_then(endpoint_slice_view))]
    });
    let endpoints = Api::<Endpoints>::all(client.clone());
    let endpoints = watch(endpoints, None, |key, endpoints: Option<&Endpoints>| {
        let views = endpoints_views(endpoints.unwrap_or(&Endpoints::default()));
        let of_family = |(suffix, view)| {
            let name = format!("{}{suffix}", key.name);
            let namespace = key.namespace.clone();
            (ServiceKey { namespace, name }, view)
        };
        views.map(of_family).to_vec()
    });
    or_else(
        slices.map(|event| event.map(split)),
        403,
        endpoints.map(|event| event.map(split)),
        "EndpointSlices are forbidden, reading Endpoints",
    )
    .flat_map(stream::iter)
    .boxed()
}

/// One event for each view of an object.
fn split<T>(event: Event<Vec<T>>) -> Vec<Event<T>> {
    let each = |views: Vec<T>, event: fn(T) -> Event<T>| views.into_iter().map(event).collect();
    match event {
        Event::Apply(views) => each(views, Event::Apply),
        Event::Delete(views) => each(views, Event::Delete),
        Event::Init => vec![Event::Init],
        Event::InitApply(views) => each(views, Event::InitApply),
        Event::InitDone => vec![Event::InitDone],
        Event::Unreadable(views) => each(views, Event::Unreadable),
    }
}

type Watched<T> = Result<T, Error>;

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
                Err(error) if error.code() == Some(code) && !choice.is_settled => {
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
            let is_forbidden = event.as_ref().err().and_then(Error::code) == Some(403);
            std::future::ready(!is_forbidden)
        })
    });
    none.chain(attempts.flatten())
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
        Err(Error::List(kube::Error::Api(Box::new(status))))
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
    async fn what_is_wanted_otherwise_begins_anew() {
        let (want, latest) = latest::channel("a");
        let mut told = renewed(latest, |what| {
            stream::iter([what, "more"])
                .chain(stream::pending())
                .boxed()
        });
        assert_eq!(told.next().await, Some("a"));
        want.send_replace("b");
        assert_eq!(
            told.next().await,
            Some("b"),
            "nothing of the former comes after that"
        );
        assert_eq!(told.next().await, Some("more"));
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
