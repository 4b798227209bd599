//! What the speaker watches: objects in, views out.

use std::collections::BTreeMap;
use std::sync::Arc;

use ferrolb_core::compiled::{self, Compiled, Unread};
use ferrolb_core::k8s::{endpoint_slice_view, endpoints_views, node_view, service_view};
use ferrolb_core::labels::{LabelNames, Labelled, NamedLabels};
use ferrolb_core::names::{CONFIG_KEY, CONFLICTS_NAME};
use ferrolb_core::text::LONGEST_VALUE;
use ferrolb_core::view::{EndpointSliceView, NodeView, ServiceKey, ServiceView};
use ferrolb_kube::trimmed::Trimmed;
use ferrolb_kube::watch::{Event, NOT_SELECTABLE, Watched, or_else, or_none, renewed, told, watch};
use futures::stream::{self, BoxStream, StreamExt as _};
use k8s_openapi::api::core::v1::{ConfigMap, Endpoints, Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{Api, Client};
use tokio::sync::watch as latest;

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
    /// The objects of that kind are listed anew, with their labels of these names.
    Labels(Labelled, Arc<LabelNames>),
    /// A Node.
    Node(Event<(String, Option<NodeView>)>),
    /// The `data` of the `ConfigMap`.
    Config(Data),
    /// What is in force, as the controller has compiled it; or why that is not read.
    Compiled(Event<((), Option<Read>)>),
    /// The `data` of the `ConfigMap` of conflicts.
    Reports(Data),
}

/// What the compiled object says.
pub type Read = Result<Compiled, Unread>;

impl Input {
    /// Whether it tells of an object that cannot be decoded.
    #[must_use]
    pub const fn is_unreadable(&self) -> bool {
        match self {
            Self::Service(event) => event.is_unreadable(),
            Self::Slice(event) => event.is_unreadable(),
            Self::Node(event) => event.is_unreadable(),
            Self::Compiled(event) => event.is_unreadable(),
            Self::Config(event) | Self::Reports(event) => event.is_unreadable(),
            Self::Labels(..) => false,
        }
    }
}

/// Which labels Services and Nodes are listed with.
#[derive(Debug)]
pub struct Labels {
    services: latest::Sender<Arc<LabelNames>>,
    nodes: latest::Sender<Arc<LabelNames>>,
}

/// The other end of [`Labels`].
#[derive(Debug)]
pub struct WantedLabels {
    services: latest::Receiver<Arc<LabelNames>>,
    nodes: latest::Receiver<Arc<LabelNames>>,
}

impl Labels {
    /// None, to begin with.
    #[must_use]
    pub fn channel() -> (Self, WantedLabels) {
        let (services, wanted_services) = latest::channel(Arc::default());
        let (nodes, wanted_nodes) = latest::channel(Arc::default());
        let wanted = WantedLabels {
            services: wanted_services,
            nodes: wanted_nodes,
        };
        (Self { services, nodes }, wanted)
    }

    /// Has each kind listed anew whose labels are others.
    pub fn set(&self, names: NamedLabels) {
        for (sender, names) in [(&self.services, names.services), (&self.nodes, names.nodes)] {
            sender.send_if_modified(|former| {
                let is_news = **former != names;
                *former = Arc::new(names);
                is_news
            });
        }
    }
}

/// Of the one `ConfigMap` that is watched.
type Data = Event<((), Option<BTreeMap<String, String>>)>;

/// Everything that the speaker watches, Services and Nodes with those labels that `labels` names at the
/// time. It never ends: what fails is tried again.
pub fn all(
    client: &Client,
    namespace: &str,
    (config, compiled): (&str, &str),
    labels: WantedLabels,
) -> BoxStream<'static, Input> {
    let configs = config_map(client, namespace, config, config_data);
    let configs = told("ConfigMap", configs).map(Input::Config);
    let compiled = {
        let (client, namespace) = (client.clone(), namespace.to_owned());
        let name = compiled.to_owned();
        move || compiled_object(&client, &namespace, &name)
    };
    let compiled = or_none(
        compiled,
        &[403],
        "the compiled configuration is forbidden: the ConfigMap alone is read",
    );
    let reports = {
        let (client, namespace) = (client.clone(), namespace.to_owned());
        move || config_map(&client, &namespace, CONFLICTS_NAME, reports_data)
    };
    let reports = or_none(
        reports,
        &[403],
        "the reports of conflicts are forbidden: a takeover of an address that another host has is \
         announced",
    );
    stream::select_all([
        services(client.clone(), labels.services),
        slices(client).map(Input::Slice).boxed(),
        nodes(client.clone(), labels.nodes),
        configs.boxed(),
        told("compiled configuration", compiled)
            .map(Input::Compiled)
            .boxed(),
        told("reports of conflicts", reports)
            .map(Input::Reports)
            .boxed(),
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

/// What the controller has put in force.
fn compiled_object(
    client: &Client,
    namespace: &str,
    name: &str,
) -> impl futures::Stream<Item = Watched<Event<((), Option<Read>)>>> + Send + 'static + use<> {
    let by_name = format!("metadata.name={name}");
    let api = Api::<ConfigMap>::namespaced(client.clone(), namespace);
    watch(api, Some(by_name), |_, map: Option<&ConfigMap>| {
        let read = map.map(|map| {
            let uid = map.metadata.uid.as_deref().unwrap_or_default();
            let none = Texts::new();
            compiled::read(map.data.as_ref().unwrap_or(&none), uid)
        });
        ((), read)
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
        let read = move |key: &ServiceKey, node: Option<&Trimmed<Node>>| {
            let view = node
                .and_then(|Trimmed(node)| node_view(node))
                .map(|view| NodeView {
                    labels: view.labels.only(&names),
                    ..view
                });
            (key.name.clone(), view)
        };
        let nodes = watch(Api::all(client.clone()), None, read);
        let events = told("Nodes", nodes).map(Input::Node);
        with(Labelled::Nodes, labels, events)
    };
    renewed(labels, begin)
}

/// Tells first with which labels.
fn with(
    kind: Labelled,
    labels: Arc<LabelNames>,
    events: impl futures::Stream<Item = Input> + Send + 'static,
) -> BoxStream<'static, Input> {
    let labels = stream::once(std::future::ready(Input::Labels(kind, labels)));
    labels.chain(events).boxed()
}

/// Only Services of type `LoadBalancer`, by a field selector; all, where the API server does not
/// know it (before 1.31). Listed anew as soon as other labels are wanted.
fn services(
    client: Client,
    labels: latest::Receiver<Arc<LabelNames>>,
) -> BoxStream<'static, Input> {
    let begin = move |labels: Arc<LabelNames>| {
        let api = Api::<Service>::all(client.clone());
        let names = Arc::clone(&labels);
        let read = move |key: &ServiceKey, service: Option<&Service>| {
            let view = service.and_then(service_view);
            let view = view.filter(|view| view.load_balancer);
            let view = view.map(|view| ServiceView {
                labels: view.labels.only(&names),
                ..view
            });
            (key.clone(), view)
        };
        let by_type = Some("spec.type=LoadBalancer".to_owned());
        let services = or_else(
            watch(api.clone(), by_type, read.clone()),
            NOT_SELECTABLE,
            watch(api, None, read),
            "the API server selects no Services by type",
        );
        let events = told("Services", services).map(Input::Service);
        with(Labelled::Services, labels, events)
    };
    renewed(labels, begin)
}

/// `EndpointSlices`; Endpoints, where the role allows no slices (minikube's addon).
fn slices(client: &Client) -> BoxStream<'static, Event<(ServiceKey, Option<EndpointSliceView>)>> {
    let slices = Api::<Trimmed<EndpointSlice>>::all(client.clone());
    let slices = watch(
        slices,
        None,
        |key, slice: Option<&Trimmed<EndpointSlice>>| {
            let view = slice.and_then(|Trimmed(slice)| endpoint_slice_view(slice));
            vec![(key.clone(), view)]
        },
    );
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
    let slices = or_else(
        slices.map(|event| event.map(split)),
        &[403],
        endpoints.map(|event| event.map(split)),
        "EndpointSlices are forbidden, reading Endpoints",
    );
    told("EndpointSlices", slices)
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
