mod cases;
mod compile;
mod fields;
mod properties;
mod routes;
mod texts;

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Value as Json, json};

use super::*;
use crate::advertise::Advertised;
use crate::alloc::tests::service;
use crate::alloc::{Allocator, Decision, Refusal};
use crate::config::Pool;
use crate::elect::{Backend, ExcludeLabel, standings};
use crate::labels::Labels;
use crate::view::{EndpointView, NodeView, ServiceView, TrafficPolicy};

const NAMESPACE: &str = "metallb-system";

/// The objects of a namespace, as they are applied one after the other.
struct World {
    objects: Objects,
    views: BTreeMap<(Kind, String), ObjectView>,
    /// Of nodes n1, n2 and n3, besides `kubernetes.io/hostname`.
    node_labels: BTreeMap<&'static str, (&'static str, &'static str)>,
    /// Labels by namespace.
    namespaces: BTreeMap<String, Labels>,
    compiled: Compiled,
    clock: i64,
}

impl World {
    fn new() -> Self {
        let mut objects = Objects::new(NAMESPACE.to_owned());
        Self {
            compiled: objects.compile(&[]),
            objects,
            views: BTreeMap::new(),
            node_labels: BTreeMap::new(),
            namespaces: BTreeMap::new(),
            clock: 0,
        }
    }

    fn of(objects: &[(Kind, &str, Json)]) -> Self {
        let mut world = Self::new();
        for (kind, name, spec) in objects {
            world.set(*kind, name, spec.clone());
        }
        world.compile();
        world
    }

    /// Creates or edits an object.
    fn set(&mut self, kind: Kind, name: &str, spec: Json) -> &mut ObjectView {
        self.clock += 1;
        let clock = self.clock;
        let view = self
            .views
            .entry((kind, name.to_owned()))
            .or_insert_with(|| view(kind, name, Json::Null, clock));
        view.spec = Spec::of(spec);
        view.resource_version = clock.to_string();
        view
    }

    fn apply(&mut self, kind: Kind, name: &str, spec: Json) {
        self.set(kind, name, spec);
        self.compile();
    }

    fn delete(&mut self, kind: Kind, name: &str) {
        self.views.remove(&(kind, name.to_owned()));
        self.compile();
    }

    fn compile(&mut self) {
        let views: Vec<_> = self.views.values().cloned().collect();
        self.compiled = self.objects.compile(&views);
    }

    fn pool(&self, name: &str) -> Option<&Pool> {
        self.compiled.config.pool(name)
    }

    /// Of an object: each as `refused config_refused: …`, or `former …` if an earlier version is in force.
    fn said(&self, name: &str) -> Vec<String> {
        let findings = self.compiled.findings.iter();
        let of_it = findings.filter(|one| one.object.name == name);
        of_it
            .map(|one| {
                let what = match one.severity {
                    Severity::Refused if one.former_in_force => "former",
                    Severity::Refused => "refused",
                    Severity::Warning => "warning",
                };
                format!("{what} {}: {}", one.reason, one.text())
            })
            .collect()
    }

    fn is_refused(&self, name: &str) -> bool {
        let mut findings = self.compiled.findings.iter();
        findings.any(|one| one.object.name == name && one.severity == Severity::Refused)
    }

    /// What these Services get, one after the other: addresses, or `none`.
    fn addresses(&self, services: &[ServiceView]) -> String {
        let mut allocator = self.allocator();
        let given = services.iter().map(|view| match allocator.ensure(view) {
            Decision::Hold { addresses, .. } => addresses
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("+"),
            Decision::Refuse(_) | Decision::Leave { .. } => "none".to_owned(),
        });
        given.collect::<Vec<_>>().join(" ")
    }

    /// The pool that a Service gets its address from, or `none`.
    fn pool_for(&self, service: &ServiceView) -> String {
        match self.allocator().ensure(service) {
            Decision::Hold { pool, .. } => pool.unwrap_or_default(),
            Decision::Refuse(_) | Decision::Leave { .. } => "none".to_owned(),
        }
    }

    fn allocator(&self) -> Allocator {
        let mut allocator = Allocator::new(Refusal::new(Reason::NotConfigured, "nothing"));
        allocator.set_config(self.compiled.config.clone());
        allocator.set_namespaces(&self.namespaces);
        allocator
    }

    fn nodes(&self) -> BTreeMap<String, NodeView> {
        let names = ["n1", "n2", "n3"].into_iter();
        names
            .map(|name| {
                let own = self.node_labels.get(name).copied();
                let labels = [("kubernetes.io/hostname", name)].into_iter().chain(own);
                let node = NodeView {
                    name: name.to_owned(),
                    labels: labels.collect(),
                    addresses: Vec::new(),
                    network_unavailable: false,
                    excluded: false,
                    unschedulable: false,
                    leaving: false,
                };
                (name.to_owned(), node)
            })
            .collect()
    }

    /// Who announces `address` of these Services, the first candidate first; the Reason if nobody does.
    fn announcers_of(&self, address: &str, services: &[&ServiceView]) -> String {
        let address: IpAddr = address.parse().unwrap();
        let advertised = Advertised::of(address, services, Some(&self.compiled.config));
        if let Err(reason) = advertised.layer2_services() {
            return reason.to_string();
        }
        let nodes = self.nodes();
        let endpoints: Vec<_> = nodes.keys().map(|node| endpoint(node)).collect();
        let backend = Backend {
            policy: TrafficPolicy::Cluster,
            endpoints: endpoints.iter().collect(),
            move_to: None,
        };
        let standings = standings(
            address,
            &[backend],
            advertised.layer2(),
            &nodes,
            ExcludeLabel::Prefer,
        )
        .unwrap();
        let names: Vec<_> = standings
            .candidates(address)
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        match standings.why_nobody() {
            Some(reason) => reason.to_string(),
            None => names.join(" "),
        }
    }

    fn announcers(&self, address: &str) -> String {
        self.announcers_of(address, &[&service("s")])
    }

    /// The links that each node announces `address` on; `*` for all.
    fn links(&self, address: &str) -> String {
        let service = service("s");
        let services = [&service];
        let advertised = Advertised::of(
            address.parse().unwrap(),
            &services,
            Some(&self.compiled.config),
        );
        let links = self.nodes().into_values().filter_map(|node| {
            let links = advertised.plan(&node).layer2?;
            let links: Vec<_> = links.into_iter().collect();
            let links = if links.is_empty() {
                "*".to_owned()
            } else {
                links.join(",")
            };
            Some(format!("{}:{links}", node.name))
        });
        links.collect::<Vec<_>>().join(" ")
    }
}

fn view(kind: Kind, name: &str, spec: Json, created: i64) -> ObjectView {
    let version = kind.versions()[0];
    ObjectView {
        kind,
        api_version: format!("{}/{version}", Kind::GROUP),
        namespace: NAMESPACE.to_owned(),
        name: name.to_owned(),
        uid: format!("{name}-{created}"),
        resource_version: "1".to_owned(),
        generation: 1,
        created,
        labels: Labels::default(),
        annotations: BTreeMap::new(),
        spec: Spec::of(spec),
    }
}

fn endpoint(node: &str) -> EndpointView {
    EndpointView {
        node: Some(node.to_owned()),
        ready: true,
        serving: true,
    }
}

fn labels(all: &[(&str, &str)]) -> Labels {
    all.iter().copied().collect()
}

fn labelled(name: &str, all: &[(&str, &str)]) -> ServiceView {
    ServiceView {
        labels: labels(all),
        ..service(name)
    }
}

fn in_namespace(namespace: &str, name: &str) -> ServiceView {
    let mut view = service(name);
    view.key.namespace = namespace.into();
    view
}

fn selector(key: &str, value: &str) -> Json {
    json!({ "matchLabels": { key: value } })
}

fn host(name: &str) -> Json {
    selector("kubernetes.io/hostname", name)
}

/// The pool of the cases that do not say which.
fn lan(name: &'static str) -> (Kind, &'static str, Json) {
    let addresses = match name {
        "p2" | "b" => "192.168.65.240-192.168.65.250",
        _ => "192.168.64.240-192.168.64.250",
    };
    (
        Kind::IpAddressPool,
        name,
        json!({ "addresses": [addresses] }),
    )
}

fn l2(name: &'static str, spec: Json) -> (Kind, &'static str, Json) {
    (Kind::L2Advertisement, name, spec)
}

const P1: &str = "192.168.64.240";
const P2: &str = "192.168.65.240";
