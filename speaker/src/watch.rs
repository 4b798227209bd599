//! What the speaker watches: objects in, views out.

mod slices;

use std::collections::BTreeMap;
use std::sync::Arc;

use ferrolb_core::compiled::{self, Compiled, Unread};
use ferrolb_core::cover::Order;
use ferrolb_core::k8s::{node_view, service_view};
use ferrolb_core::labels::{LabelNames, Labelled, NamedLabels};
use ferrolb_core::names::{CONFIG_KEY, CONFLICTS_NAME};
use ferrolb_core::text::LONGEST_VALUE;
use ferrolb_core::view::{NodeView, ServiceKey, ServiceView};
use ferrolb_kube::trimmed::Trimmed;
use ferrolb_kube::watch::{Event, NOT_SELECTABLE, Watched, or_else, or_none, renewed, told, watch};
use futures::stream::{self, BoxStream, StreamExt as _};
use k8s_openapi::api::core::v1::{ConfigMap, Node, Service};
use kube::{Api, Client};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::watch as latest;

use crate::slices::Told;

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
    Slice(Told),
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
            Self::Slice(told) => told.event.is_unreadable(),
            Self::Node(event) => event.is_unreadable(),
            Self::Compiled(event) => event.is_unreadable(),
            Self::Config(event) | Self::Reports(event) => event.is_unreadable(),
            Self::Labels(..) => false,
        }
    }
}

/// What the watches are told: which labels Services and Nodes are listed with, and which
/// `EndpointSlices` are watched.
#[derive(Debug)]
pub struct Steering {
    services: latest::Sender<Arc<LabelNames>>,
    nodes: latest::Sender<Arc<LabelNames>>,
    slices: UnboundedSender<Order>,
}

/// The other end of [`Steering`].
#[derive(Debug)]
pub struct Steered {
    services: latest::Receiver<Arc<LabelNames>>,
    nodes: latest::Receiver<Arc<LabelNames>>,
    slices: UnboundedReceiver<Order>,
}

impl Steering {
    /// No labels and no slices, to begin with.
    #[must_use]
    pub fn channel() -> (Self, Steered) {
        let (services, of_services) = latest::channel(Arc::default());
        let (nodes, of_nodes) = latest::channel(Arc::default());
        // Without a bound: `core::cover` gives a few orders in minutes, and each is carried out before anything else
        // is told.
        let (slices, of_slices) = mpsc::unbounded_channel();
        let steered = Steered {
            services: of_services,
            nodes: of_nodes,
            slices: of_slices,
        };
        let steering = Self {
            services,
            nodes,
            slices,
        };
        (steering, steered)
    }

    /// Has each kind listed anew whose labels are others.
    pub fn set_labels(&self, names: NamedLabels) {
        for (sender, names) in [(&self.services, names.services), (&self.nodes, names.nodes)] {
            sender.send_if_modified(|former| {
                let is_news = **former != names;
                *former = Arc::new(names);
                is_news
            });
        }
    }

    /// Begins or ends a watch of slices.
    pub fn order(&self, order: Order) {
        // Without an end there is nothing that could be watched.
        let _ = self.slices.send(order);
    }
}

/// Of the one `ConfigMap` that is watched.
type Data = Event<((), Option<BTreeMap<String, String>>)>;

/// Everything that the speaker watches, as it is `steered` at the time. It never ends: what fails is tried
/// again.
pub fn all(
    client: &Client,
    namespace: &str,
    (config, compiled): (&str, &str),
    steered: Steered,
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
        services(client.clone(), steered.services),
        slices::watches(client.clone(), steered.slices)
            .map(Input::Slice)
            .boxed(),
        nodes(client.clone(), steered.nodes),
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
            (key.name.to_string(), view)
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
            // The same texts, for as long as it is known.
            let key = view.as_ref().map_or(key, |view| &view.key);
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
