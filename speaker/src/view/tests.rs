use k8s_openapi::api::core::v1::{ConfigMap, Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::{Value, json};

use std::sync::Arc;

use ferrolb_core::compiled::Compiled;
use ferrolb_core::config::{LabelSelector, Layer2Advertisement, Outcome, Scope};
use ferrolb_core::conflict::Cause;
use ferrolb_core::cover::WatchId;
use ferrolb_core::k8s::{endpoint_slice_view, node_view, service_view};
use ferrolb_core::ownership::Candidate;
use ferrolb_core::source::Memory;
use ferrolb_core::view::EndpointSliceView;

use crate::slices::Told;

use super::*;

#[path = "../../../core/src/in_force/states.rs"]
mod states;

const SOURCE: &str = "metallb-system/config";

const ADDRESS: &str = "192.168.64.200";
const POOLS: &str = "address-pools:
- {name: lan, protocol: layer2, addresses: [192.168.64.200-192.168.64.210], interfaces: [lan0]}
- {name: far, protocol: bgp, addresses: [10.9.0.0/24]}
";

/// A cluster of n1 to n3 with the ready Service shop/web, seen from n2 (the first by rank for
/// 192.168.64.200 and n1 second).
struct Cluster {
    view: View,
    dirty: Dirty,
    now: Instant,
    /// What had to be done with the watches of slices.
    orders: Vec<Order>,
}

impl Cluster {
    fn new(config: Option<&str>) -> Self {
        let view = View::new(
            "n2".to_owned(),
            None,
            SOURCE.to_owned(),
            ExcludeLabel::Prefer,
        );
        let mut cluster = Self {
            view,
            dirty: Dirty::default(),
            now: Instant::START,
            orders: Vec::new(),
        };
        cluster.take(Input::Service(Event::Init));
        cluster.take(Input::Node(Event::Init));
        cluster.take(Input::Config(Event::Init));
        cluster.take(Input::Reports(Event::Init));
        cluster.take(Input::Compiled(Event::Init));
        for (index, name) in ["n1", "n2", "n3"].into_iter().enumerate() {
            let node = node(name, &format!("192.168.64.{}", 11 + index));
            cluster.take(Input::Node(Event::InitApply((name.to_owned(), Some(node)))));
        }
        if let Some(config) = config {
            cluster.take(Input::Config(Event::InitApply(((), data(config)))));
        }
        cluster.take(Input::Service(Event::InitApply(service(
            json!({}),
            ADDRESS,
        ))));
        cluster.take(Input::Service(Event::InitDone));
        cluster.list_slices(0, [slice("web-1", "web", true)]);
        cluster.take(Input::Node(Event::InitDone));
        cluster.take(Input::Config(Event::InitDone));
        cluster.take(Input::Compiled(Event::InitDone));
        cluster.take(Input::Reports(Event::InitDone));
        cluster
    }

    fn take(&mut self, input: Input) {
        self.view.handle(input, &mut self.dirty);
        self.poll();
        if let Some(names) = self.view.poll_labels() {
            self.list_anew(&names);
        }
    }

    fn poll(&mut self) {
        while let Some(order) = self.view.poll_order(&mut self.dirty, self.now) {
            self.orders.push(order);
        }
    }

    /// What a watch of slices tells at first.
    fn list_slices<const N: usize>(
        &mut self,
        watch: WatchId,
        slices: [(ServiceKey, Option<EndpointSliceView>); N],
    ) {
        self.take(told(watch, Event::Init));
        for slice in slices {
            self.take(told(watch, Event::InitApply(slice)));
        }
        self.take(told(watch, Event::InitDone));
    }

    /// What the watches of Services and Nodes do when other labels are wanted.
    fn list_anew(&mut self, names: &NamedLabels) {
        let services = self.view.services.views().clone().into_iter();
        let services = services.map(|(key, view)| (key, Some(*view)));
        let services = services.map(Event::InitApply).map(Input::Service);
        self.list(
            Labelled::Services,
            names,
            Input::Service(Event::Init),
            services,
        );
        self.view
            .handle(Input::Service(Event::InitDone), &mut self.dirty);
        let nodes = self.view.nodes.views().clone().into_iter();
        let nodes = nodes.map(|(name, view)| (name, Some(view)));
        let nodes = nodes.map(Event::InitApply).map(Input::Node);
        self.list(Labelled::Nodes, names, Input::Node(Event::Init), nodes);
        self.view
            .handle(Input::Node(Event::InitDone), &mut self.dirty);
    }

    fn list(
        &mut self,
        kind: Labelled,
        names: &NamedLabels,
        begin: Input,
        all: impl Iterator<Item = Input>,
    ) {
        let before = [labels(kind, names), begin];
        for input in before.into_iter().chain(all) {
            self.view.handle(input, &mut self.dirty);
        }
    }

    /// What has become dirty since the last call.
    fn dirty(&mut self) -> Dirty {
        std::mem::take(&mut self.dirty)
    }

    /// Who may announce the address of the Service shop/web.
    fn wish(&self) -> Result<Wish, Reason> {
        let service = self.view.services.views().get(&key("web"));
        let address = service.and_then(|service| service.assigned.first());
        self.view.wish(*address.expect("an address"), None)
    }

    /// Whether this node may.
    fn may(&self) -> Result<(), Reason> {
        self.wish().and_then(|wish| wish.may)
    }
}

fn labels(kind: Labelled, names: &NamedLabels) -> Input {
    Input::Labels(kind, Arc::new(names.of(kind).clone()))
}

fn key(name: &str) -> ServiceKey {
    ServiceKey::new("shop", name)
}

fn data(config: &str) -> Option<BTreeMap<String, String>> {
    let map: ConfigMap = serde_json::from_value(json!({ "data": { "config": config } })).unwrap();
    map.data
}

fn node(name: &str, address: &str) -> NodeView {
    node_with(name, address, json!({}))
}

fn node_with(name: &str, address: &str, change: Value) -> NodeView {
    let mut value = json!({
        "metadata": { "name": name },
        "status": { "addresses": [{ "type": "InternalIP", "address": address }] },
    });
    merge(&mut value, change);
    let node: Node = serde_json::from_value(value).unwrap();
    node_view(&node).unwrap()
}

fn service(change: Value, address: &str) -> (ServiceKey, Option<ServiceView>) {
    let mut value = json!({
        "metadata": { "name": "web", "namespace": "shop", "uid": "u" },
        "spec": { "type": "LoadBalancer" },
        "status": { "loadBalancer": { "ingress": [{ "ip": address }] } },
    });
    merge(&mut value, change);
    let service: Service = serde_json::from_value(value).unwrap();
    (key("web"), service_view(&service))
}

fn merge(value: &mut Value, change: Value) {
    match (value, change) {
        (Value::Object(value), Value::Object(change)) => {
            for (key, change) in change {
                merge(value.entry(key).or_insert(Value::Null), change);
            }
        }
        (value, change) => *value = change,
    }
}

/// What one of the watches of slices tells.
fn told(watch: WatchId, event: Event<(ServiceKey, Option<EndpointSliceView>)>) -> Input {
    Input::Slice(Told {
        watch,
        is_of_all: false,
        event,
    })
}

fn slice(name: &str, service: &str, ready: bool) -> (ServiceKey, Option<EndpointSliceView>) {
    let slice: EndpointSlice = serde_json::from_value(json!({
        "metadata": { "name": name, "namespace": "shop",
                      "labels": { "kubernetes.io/service-name": service } },
        "addressType": "IPv4",
        "endpoints": [{ "addresses": ["10.1.0.1"], "nodeName": "n2",
                        "conditions": { "ready": ready } }],
    }))
    .unwrap();
    (key(name), endpoint_slice_view(&slice))
}

#[test]
fn a_services_address_in_a_layer2_pool_is_announced_on_the_pools_links() {
    let cluster = Cluster::new(Some(POOLS));
    let equal = |name| Candidate {
        node: NodeId::of(name),
        tier: 0,
        unpreferred: 0,
    };
    let want = Wish {
        may: Ok(()),
        drawback: None,
        candidates: Candidates::of(ADDRESS.parse().unwrap(), ["n2", "n1", "n3"].map(equal)),
        interfaces: ["lan0".to_owned()].into(),
        in_conflict: false,
    };
    assert_eq!(cluster.wish(), Ok(want));
    let addresses: Vec<_> = cluster.view.addresses().collect();
    assert_eq!(addresses, [ADDRESS.parse::<IpAddr>().unwrap()]);
}

/// `cordon: stay`
#[test]
fn a_cordon_that_moves_nothing_still_hands_over_when_the_speaker_is_told_to_stop() {
    let mut cluster = Cluster::new(Some(POOLS));
    cluster.view = cluster.view.with_cordon(Cordon::Stay);
    let before = cluster.wish();
    let node = |marks| node_with("n2", "192.168.64.12", marks);
    let told = |marks| Input::Node(Event::Apply(("n2".into(), Some(node(marks)))));
    cluster.take(told(json!({ "spec": { "unschedulable": true } })));
    assert_eq!(cluster.wish(), before, "the election sees no cordon");
    assert_eq!(
        cluster.view.leaving(),
        Leaving::Draining,
        "a reboot is next"
    );
    // What says that the node goes counts as before.
    let taint = json!({ "key": "ToBeDeletedByClusterAutoscaler", "effect": "NoSchedule" });
    cluster.take(told(
        json!({ "spec": { "unschedulable": true, "taints": [taint] } }),
    ));
    assert_eq!(cluster.wish().unwrap().drawback, Some(Reason::NodeLeaving));
    cluster.take(told(json!({})));
    assert_eq!(cluster.wish(), before);
    assert_eq!(cluster.view.leaving(), Leaving::Restarting);
}

#[test]
fn only_a_node_that_is_about_to_go_hands_over_when_it_is_told_to_stop() {
    let mut cluster = Cluster::new(Some(POOLS));
    assert_eq!(cluster.view.leaving(), Leaving::Restarting);
    for (marks, drawback) in [
        (
            json!({ "spec": { "unschedulable": true } }),
            Reason::NodeLeaving,
        ),
        (
            json!({ "metadata": { "deletionTimestamp": "2026-11-25T18:00:00Z" } }),
            Reason::NodeLeaving,
        ),
        (
            json!({ "spec": { "taints": [
                { "key": "node.kubernetes.io/out-of-service", "effect": "NoExecute" }
            ] } }),
            Reason::NodeLeaving,
        ),
        (
            json!({ "status": { "conditions": [{
                "type": "Ready", "status": "False", "message": "node is shutting down",
            }] } }),
            Reason::NodeLeaving,
        ),
    ] {
        let leaving = node_with("n2", "192.168.64.12", marks.clone());
        cluster.take(Input::Node(Event::Apply(("n2".into(), Some(leaving)))));
        assert_eq!(cluster.view.leaving(), Leaving::Draining, "{marks}");
        let wish = cluster.wish().unwrap();
        assert_eq!(wish.drawback, Some(drawback), "{marks}");
        assert_eq!(
            wish.candidates.in_order().last().unwrap().node,
            NodeId::of("n2")
        );
    }
    cluster.take(Input::Node(Event::Delete(("n2".into(), None))));
    assert_eq!(
        cluster.view.leaving(),
        Leaving::Draining,
        "its Node is deleted"
    );
    assert_eq!(cluster.may(), Err(Reason::UnknownNode));
    let unknown = View::new(
        "n2".to_owned(),
        None,
        SOURCE.to_owned(),
        ExcludeLabel::Prefer,
    );
    assert_eq!(
        unknown.leaving(),
        Leaving::Restarting,
        "nothing is known of it"
    );
}

#[test]
fn two_services_at_one_address_are_one_wish() {
    let mut cluster = Cluster::new(Some(POOLS));
    let (_, other) = service(json!({ "metadata": { "name": "other" } }), ADDRESS);
    cluster.take(Input::Service(Event::Apply((key("other"), other))));
    let address = ADDRESS.parse().unwrap();
    assert_eq!(cluster.view.services_at(address).count(), 2);
    assert_eq!(
        cluster.may(),
        Ok(()),
        "the other one has no endpoint, and says nothing"
    );
    cluster.take(Input::Service(Event::Delete((key("web"), None))));
    assert_eq!(cluster.view.wish(address, None), Err(Reason::NoEndpoint));
    cluster.take(Input::Service(Event::Delete((key("other"), None))));
    assert_eq!(cluster.view.addresses().count(), 0);
}

#[test]
fn what_is_not_announced_has_its_reason() {
    let rows = [
        (
            json!({ "spec": { "loadBalancerClass": "other" } }),
            ADDRESS,
            Reason::OtherClass,
        ),
        (json!({}), "10.9.0.1", Reason::BgpNotAnnounced),
        (json!({}), "10.8.0.1", Reason::AddressOutsidePools),
        (json!({}), "192.168.64.11", Reason::AddressOutsidePools),
        (
            json!({ "metadata": { "name": "idle" } }),
            ADDRESS,
            Reason::NoEndpoint,
        ),
    ];
    for (change, address, reason) in rows {
        let mut cluster = Cluster::new(Some(POOLS));
        let (_, view) = service(change.clone(), address);
        cluster.take(Input::Service(Event::Apply((key("web"), view))));
        assert_eq!(cluster.may(), Err(reason), "{change} {address}");
    }
}

/// What is in force with POOLS, with these advertisements in place of its own.
fn advertised(layer2: Vec<Layer2Advertisement>) -> Cluster {
    let mut cluster = Cluster::new(Some(POOLS));
    let mut config = cluster.view.in_force.current().expect("POOLS").clone();
    config.layer2 = layer2;
    let view = &mut cluster.view;
    view.in_force.handle(Some(Outcome::Valid(config)));
    if let Some(names) = view.poll_labels() {
        cluster.list_anew(&names);
    }
    cluster
}

#[test]
fn services_are_listed_anew_with_the_labels_that_advertisements_name() {
    let mut cluster = Cluster::new(Some(POOLS));
    let mut config = cluster.view.in_force.current().expect("POOLS").clone();
    config.layer2 = vec![of_lan(&[], Some("web"))];
    let view = &mut cluster.view;
    view.in_force.handle(Some(Outcome::Valid(config)));
    let names = view.poll_labels().expect("a label is named");
    assert_eq!(names.services, ["app".to_owned()].into());
    assert_eq!(names.nodes, Default::default(), "the Nodes are not");
    assert_eq!(cluster.may(), Ok(()), "the last good one is in force");
    let app = json!({ "metadata": { "labels": { "app": "web" } } });
    for input in [
        labels(Labelled::Services, &names),
        Input::Service(Event::Init),
        Input::Service(Event::InitApply(service(app, ADDRESS))),
        Input::Service(Event::InitDone),
    ] {
        cluster.view.handle(input, &mut cluster.dirty);
    }
    assert_eq!(cluster.may(), Ok(()));
    let (_, other) = service(
        json!({ "metadata": { "labels": { "app": "db" } } }),
        ADDRESS,
    );
    cluster.take(Input::Service(Event::Apply((key("web"), other))));
    assert_eq!(cluster.may(), Err(Reason::NotAdvertised));
}

/// On links of these names, of Services with that label `app` alone, if there is one.
fn of_lan(interfaces: &[&str], app: Option<&str>) -> Layer2Advertisement {
    let labels = |app: &str| LabelSelector {
        match_labels: [("app".to_owned(), app.to_owned())].into(),
        ..LabelSelector::default()
    };
    Layer2Advertisement {
        name: "lan".to_owned(),
        scope: Scope {
            pools: ["lan".to_owned()].into(),
            pool_selectors: Vec::new(),
            service_selectors: app.map(labels).into_iter().collect(),
            node_selectors: Vec::new(),
        },
        interfaces: interfaces.iter().map(|name| (*name).to_owned()).collect(),
        preferred_nodes: Vec::new(),
    }
}

#[test]
fn an_address_of_a_pool_that_nobody_advertises_is_silent_and_says_so() {
    let address = ADDRESS.parse().unwrap();
    let cluster = advertised(Vec::new());
    assert_eq!(cluster.may(), Err(Reason::NotAdvertised));
    let why = cluster.view.why_nobody(address);
    assert_eq!(why, Some(Reason::NotAdvertised), "an Event says it");
    let cluster = advertised(vec![of_lan(&[], None)]);
    assert_eq!(
        (cluster.may(), cluster.view.why_nobody(address)),
        (Ok(()), None)
    );
}

#[test]
fn an_address_is_announced_as_the_advertisements_of_its_services_say() {
    let advertisements = || {
        vec![
            of_lan(&["lan0"], Some("web")),
            of_lan(&["lan1"], Some("web")),
            of_lan(&["lan2"], Some("mail")),
        ]
    };
    for (app, want) in [
        ("web", Ok(vec!["lan0", "lan1"])),
        ("mail", Ok(vec!["lan2"])),
        ("other", Err(Reason::NotAdvertised)),
    ] {
        let mut cluster = advertised(advertisements());
        let labels = json!({ "metadata": { "labels": { "app": app } } });
        cluster.take(Input::Service(Event::Apply(service(labels, ADDRESS))));
        let wish = cluster.wish();
        let links = wish.map(|wish| wish.interfaces.into_iter().collect::<Vec<_>>());
        let want = want.map(|links| links.into_iter().map(str::to_owned).collect());
        assert_eq!(links, want, "{app}");
    }
}

#[test]
fn who_shares_an_address_where_advertisements_choose_services_is_silent_and_says_so() {
    for prefix in ["metallb.io", "metallb.universe.tf"] {
        for key in ["k", ""] {
            let mut cluster = advertised(vec![of_lan(&[], Some("web"))]);
            let change = json!({ "metadata": {
                "labels": { "app": "web" },
                "annotations": { format!("{prefix}/allow-shared-ip"): key },
            } });
            cluster.take(Input::Service(Event::Apply(service(change, ADDRESS))));
            let why = cluster.view.why_nobody(ADDRESS.parse().unwrap());
            assert_eq!(why, Some(Reason::SharedWithSelectors), "{prefix} {key:?}");
        }
    }
}

#[test]
fn a_node_that_may_not_announce_knows_the_links_of_those_who_may() {
    let pools = POOLS.replace(
        "interfaces",
        "node-selectors: [{match-labels: {site: far}}], interfaces",
    );
    let wish = Cluster::new(Some(&pools)).wish().unwrap();
    assert_eq!(wish.may, Err(Reason::NodeNotSelected));
    assert_eq!(wish.interfaces, ["lan0".to_owned()].into());
}

#[test]
fn a_nodes_own_address_is_left_to_its_kernel() {
    let pools = "address-pools: [{name: own, protocol: layer2, addresses: [192.168.64.12/32]}]";
    let mut cluster = Cluster::new(Some(pools));
    cluster.take(Input::Service(Event::Apply(service(
        json!({}),
        "192.168.64.12",
    ))));
    assert_eq!(cluster.may(), Err(Reason::NodeAddress));
}

#[test]
fn an_ipv6_address_needs_an_endpoint_of_its_own_family() {
    let pools = "address-pools: [{name: six, protocol: layer2, addresses: [fd00::/120]}]";
    let mut cluster = Cluster::new(Some(pools));
    cluster.take(Input::Service(Event::Apply(service(json!({}), "fd00::1"))));
    assert_eq!(cluster.may(), Err(Reason::NoEndpoint));
}

#[test]
fn whatever_the_configmap_is_the_marks_are_those_of_the_controller() {
    for state in states::all() {
        let good = state.after_a_good_one.then_some(states::GOOD);
        let mut cluster = Cluster::new(good);
        let event = match state.data.clone() {
            Some(data) => Event::Apply(((), Some(data))),
            None => Event::Delete(((), None)),
        };
        cluster.take(Input::Config(event));
        let marks = cluster.view.config_state();
        assert_eq!(marks, state.marks, "{}, after {good:?}", state.name);
    }
}

#[test]
fn a_broken_or_deleted_configuration_changes_nothing_and_is_marked() {
    let mut cluster = Cluster::new(Some(POOLS));
    cluster.dirty();
    for broken in [
        "address-pools: [",
        "address-pools: [{name: a, protocol: layer2, addresses: [x]}]",
    ] {
        cluster.take(Input::Config(Event::Apply(((), data(broken)))));
        assert_eq!(cluster.view.config_state(), (true, true), "{broken}");
        assert_eq!(cluster.may(), Ok(()), "{broken}");
    }
    cluster.take(Input::Config(Event::Delete(((), None))));
    assert_eq!(cluster.view.config_state(), (true, true), "deleted");
    assert_eq!(cluster.may(), Ok(()));
    cluster.take(Input::Config(Event::Apply(((), data("address-pools: []")))));
    assert_eq!(cluster.view.config_state(), (true, false));
    assert_eq!(cluster.may(), Err(Reason::AddressOutsidePools));
    assert!(cluster.dirty().all);
}

#[test]
fn what_no_host_can_have_is_left_out_of_a_configuration_and_announced_by_nobody() {
    let pools = POOLS.replace("[192", "[127.0.0.0/8, 192");
    let mut cluster = Cluster::new(Some(&pools));
    assert_eq!(cluster.view.config_state(), (true, false));
    assert!(cluster.wish().is_ok(), "the rest is in force");
    cluster.take(Input::Service(Event::Apply(service(
        json!({}),
        "127.0.0.2",
    ))));
    let wish = cluster.view.wish("127.0.0.2".parse().unwrap(), None);
    assert_eq!(wish.err(), Some(Reason::AddressOutsidePools));
}

#[test]
fn without_any_configuration_only_our_controllers_addresses_are_announced() {
    let written_by = |manager: &str| {
        json!({ "metadata": { "managedFields": [{
            "manager": manager, "fieldsV1": { "f:status": { "f:loadBalancer": {} } },
        }] } })
    };
    let rows = [
        (written_by("ferrolb-controller"), Ok(())),
        (written_by("controller"), Ok(())),
        (written_by("cloud-provider"), Err(Reason::NotConfigured)),
        (json!({}), Err(Reason::NotConfigured)),
    ];
    for config in [None, Some("address-pools: [")] {
        for (change, want) in &rows {
            let mut cluster = Cluster::new(config);
            assert!(cluster.view.missing().is_none());
            cluster.take(Input::Service(Event::Apply(service(
                change.clone(),
                ADDRESS,
            ))));
            assert_eq!(cluster.may(), *want, "{change}");
        }
    }
}

#[test]
fn only_what_an_event_touches_is_decided_anew() {
    let mut cluster = Cluster::new(Some(POOLS));
    assert!(cluster.dirty().all, "the lists are complete");
    cluster.take(told(0, Event::Apply(slice("web-1", "web", false))));
    let dirty = cluster.dirty();
    assert!(!dirty.all && dirty.addresses == [ADDRESS.parse().unwrap()].into());
    assert_eq!(cluster.may(), Err(Reason::NoEndpoint));
    cluster.take(Input::Node(Event::Apply((
        "n1".into(),
        Some(node("n1", "192.168.64.11")),
    ))));
    let dirty = cluster.dirty();
    assert!(
        !dirty.all && !dirty.nodes,
        "a heartbeat of a kubelet is no change"
    );
    cluster.take(Input::Node(Event::Apply((
        "n1".into(),
        Some(node("n1", "192.168.64.99")),
    ))));
    let dirty = cluster.dirty();
    assert!(dirty.all && dirty.nodes);
}

#[test]
fn a_slice_that_moves_to_another_service_leaves_the_first_one() {
    let mut cluster = Cluster::new(Some(POOLS));
    cluster.dirty();
    cluster.take(told(0, Event::Apply(slice("web-1", "other", true))));
    assert_eq!(cluster.dirty().addresses, [ADDRESS.parse().unwrap()].into());
    assert_eq!(cluster.may(), Err(Reason::NoEndpoint));
    cluster.take(told(0, Event::Delete(slice("web-1", "other", true))));
    assert_eq!(cluster.view.slices.services(), 0);
}

#[test]
fn slices_of_services_of_the_same_name_in_other_namespaces_are_neither_counted_nor_kept() {
    let mut cluster = Cluster::new(Some(POOLS));
    let (_, foreign) = slice("web-1", "web", true);
    let mut foreign = foreign.unwrap();
    foreign.service.namespace = "bank".into();
    let bank = ServiceKey::new("bank", "web-1");
    cluster.take(told(0, Event::Apply((bank, Some(foreign)))));
    assert_eq!(cluster.view.slices.services(), 1);
    cluster.take(told(0, Event::Delete(slice("web-1", "web", true))));
    assert_eq!(cluster.may(), Err(Reason::NoEndpoint));
}

/// A second Service at another address, which needs a watch of its own at first.
fn other_service() -> Input {
    let (_, other) = service(json!({ "metadata": { "name": "other" } }), "192.168.64.201");
    Input::Service(Event::Apply((key("other"), other)))
}

#[test]
fn no_address_is_lost_while_the_watches_of_slices_are_replaced() {
    let mut cluster = Cluster::new(Some(POOLS));
    let only = |names: &str| Some(format!("kubernetes.io/service-name in ({names})"));
    assert_eq!(cluster.orders, [Order::Open(0, only("web"))]);
    cluster.take(other_service());
    while cluster.orders.len() < 2 {
        cluster.now = cluster.view.poll_timeout().unwrap();
        cluster.poll();
    }
    assert_eq!(cluster.orders[1], Order::Open(1, only("other")));
    let other = "192.168.64.201".parse().unwrap();
    assert_eq!(cluster.view.wish(other, None), Err(Reason::NoEndpoint));
    cluster.dirty();
    cluster.list_slices(1, [slice("other-1", "other", true)]);
    assert!(cluster.dirty().addresses.contains(&other));
    assert!(cluster.view.wish(other, None).is_ok());
    // Minutes later both become one, which lists what was before the newest change.
    cluster.now = cluster.view.poll_timeout().unwrap();
    cluster.poll();
    assert_eq!(cluster.orders[2], Order::Open(2, only("other,web")));
    cluster.take(told(0, Event::Apply(slice("web-2", "web", true))));
    cluster.take(told(0, Event::Delete(slice("web-1", "web", true))));
    let other_slices = || slice("other-1", "other", true);
    cluster.take(told(2, Event::Init));
    cluster.take(told(2, Event::InitApply(slice("web-1", "web", false))));
    cluster.take(told(2, Event::InitApply(other_slices())));
    assert_eq!(cluster.may(), Ok(()));
    cluster.dirty();
    cluster.take(told(2, Event::InitDone));
    assert_eq!(cluster.may(), Ok(()), "the former watch still speaks");
    assert_eq!(cluster.orders[3..], [Order::Close(1)]);
    cluster.take(told(2, Event::Apply(slice("web-2", "web", true))));
    cluster.take(told(2, Event::Delete(slice("web-1", "web", true))));
    assert!(!cluster.dirty().all);
    cluster.now = cluster.view.poll_timeout().unwrap();
    cluster.poll();
    assert_eq!(cluster.orders[4..], [Order::Close(0)]);
    let web: IpAddr = ADDRESS.parse().unwrap();
    assert!(
        !cluster.dirty().addresses.contains(&web),
        "nothing has changed"
    );
    assert_eq!(cluster.may(), Ok(()));
    // What a closed one still tells is not heard.
    cluster.take(told(0, Event::Delete(slice("web-2", "web", true))));
    assert_eq!(cluster.may(), Ok(()));
    cluster.take(told(2, Event::Delete(slice("web-2", "web", true))));
    assert_eq!(cluster.may(), Err(Reason::NoEndpoint));
    assert!(cluster.view.wish(other, None).is_ok());
}

#[test]
fn what_a_former_watch_had_missed_is_noticed_when_it_is_closed() {
    let mut cluster = Cluster::new(Some(POOLS));
    cluster.take(other_service());
    while cluster.orders.len() < 3 {
        cluster.now = cluster.view.poll_timeout().unwrap();
        cluster.poll();
        if cluster.orders.len() == 2 {
            cluster.list_slices(1, []);
        }
    }
    cluster.list_slices(2, []);
    assert_eq!(cluster.may(), Ok(()));
    cluster.dirty();
    while !cluster.orders.contains(&Order::Close(0)) {
        cluster.now = cluster.view.poll_timeout().unwrap();
        cluster.poll();
    }
    assert_eq!(cluster.dirty().addresses, [ADDRESS.parse().unwrap()].into());
    assert_eq!(cluster.may(), Err(Reason::NoEndpoint));
}

#[test]
fn where_endpoints_are_read_a_new_service_needs_no_watch() {
    let mut cluster = Cluster::new(Some(POOLS));
    let of_all = |event| {
        Input::Slice(Told {
            watch: 0,
            is_of_all: true,
            event,
        })
    };
    cluster.take(of_all(Event::Init));
    for name in ["web", "other"] {
        let slice = slice(&format!("{name}-ipv4"), name, true);
        cluster.take(of_all(Event::InitApply(slice)));
    }
    cluster.take(of_all(Event::InitDone));
    assert_eq!(cluster.may(), Ok(()));
    cluster.take(other_service());
    assert!(
        cluster
            .view
            .wish("192.168.64.201".parse().unwrap(), None)
            .is_ok()
    );
    assert_eq!(cluster.orders.len(), 1);
}

#[test]
fn without_services_of_ours_no_slices_are_waited_for() {
    let class = Some("example.com/other".to_owned());
    let mut view = View::new(
        "n1".to_owned(),
        class,
        SOURCE.to_owned(),
        ExcludeLabel::Prefer,
    );
    let dirty = &mut Dirty::default();
    view.handle(Input::Service(Event::Init), dirty);
    let other = service(json!({}), ADDRESS);
    view.handle(Input::Service(Event::InitApply(other)), dirty);
    assert_eq!(view.poll_order(dirty, Instant::START), None);
    assert_eq!(view.missing(), Some("the list of Services"));
    view.handle(Input::Service(Event::InitDone), dirty);
    assert_eq!(view.poll_order(dirty, Instant::START), None);
    assert_eq!(view.missing(), Some("the list of Nodes"));
}

#[test]
fn what_is_not_listed_yet_is_named() {
    let view = View::new(
        "n1".to_owned(),
        None,
        SOURCE.to_owned(),
        ExcludeLabel::Prefer,
    );
    assert_eq!(view.missing(), Some("the list of Services"));
    assert_eq!(Cluster::new(None).view.missing(), None);
}

#[test]
fn reports_are_written_until_there_are_a_thousand_and_those_that_are_there_anew() {
    let mut cluster = Cluster::new(Some(POOLS));
    let address = ADDRESS.parse().unwrap();
    for (others, has_it, has_room) in [
        (0, false, true),
        (MOST_REPORTS - 1, false, true),
        (MOST_REPORTS, false, false),
        (MOST_REPORTS, true, true),
    ] {
        let entries = (0..others).map(|n| (format!("fd00__{n:x}"), String::new()));
        let mine = has_it.then(|| (ADDRESS.to_owned(), String::new()));
        let data = entries.chain(mine).collect();
        cluster.take(Input::Reports(Event::Apply(((), Some(data)))));
        assert_eq!(cluster.view.has_room_for_a_report(address), has_room);
    }
}

#[test]
fn an_address_that_another_host_has_is_known_until_its_report_is_gone() {
    let mut cluster = Cluster::new(Some(POOLS));
    let address = ADDRESS.parse().unwrap();
    let report = |announced| Report {
        address,
        cause: Cause::Host("02:00:c0:a8:40:64".parse().unwrap()),
        node: "n1".into(),
        service: Some(key("web")),
        time: "2026-11-25T18:00:00Z".parse().unwrap(),
        announced,
    };
    cluster.dirty();
    for (announced, in_conflict) in [(false, true), (true, false)] {
        let entry = (ADDRESS.to_owned(), report(announced).encode().unwrap());
        let data = BTreeMap::from([entry, ("10.0.0.1".to_owned(), "{}".to_owned())]);
        cluster.take(Input::Reports(Event::Apply(((), Some(data)))));
        assert_eq!(cluster.wish().unwrap().in_conflict, in_conflict);
        assert_eq!(cluster.dirty().addresses, [address].into());
    }
    let entry = (ADDRESS.to_owned(), report(false).encode().unwrap());
    cluster.take(Input::Reports(Event::Apply(((), Some([entry].into())))));
    cluster.take(Input::Reports(Event::Delete(((), None))));
    assert!(!cluster.wish().unwrap().in_conflict);
}

/// n3 alone has the label `site: far`, and the pool selects by it.
const SELECTING: &str = "address-pools:
- {name: lan, protocol: layer2, addresses: [192.168.64.200-192.168.64.210], node-selectors: [{match-labels: {site: far}}]}
";

#[test]
fn a_configuration_waits_for_the_labels_of_nodes_and_the_last_good_one_stays_until_then() {
    let mut cluster = Cluster::new(Some(POOLS));
    assert_eq!(cluster.may(), Ok(()));
    let view = &mut cluster.view;
    let mut dirty = Dirty::default();
    let mut take = |view: &mut View, input| view.handle(input, &mut dirty);
    take(view, Input::Config(Event::Apply(((), data(SELECTING)))));
    let names = view.poll_labels().expect("another label is named");
    assert_eq!(names.nodes, ["site".to_owned()].into());
    assert_eq!(names.services, Default::default());
    assert_eq!(view.poll_labels(), None, "asked for once");
    let may = |view: &View| {
        view.wish(ADDRESS.parse().unwrap(), None)
            .and_then(|wish| wish.may)
    };
    assert_eq!(may(view), Ok(()), "nothing has moved");
    // A list without the labels, which was under way, is not what is waited for.
    take(view, Input::Node(Event::Init));
    for (name, address) in [("n1", "192.168.64.11"), ("n2", "192.168.64.12")] {
        let node = node(name, address);
        take(
            view,
            Input::Node(Event::InitApply((name.to_owned(), Some(node)))),
        );
    }
    take(view, Input::Node(Event::InitDone));
    assert_eq!(may(view), Ok(()));

    take(view, labels(Labelled::Nodes, &names));
    take(view, Input::Node(Event::Init));
    let far = json!({ "metadata": { "labels": { "site": "far" } } });
    let far = node_with("n3", "192.168.64.13", far);
    take(
        view,
        Input::Node(Event::InitApply((
            "n2".to_owned(),
            Some(node("n2", "192.168.64.12")),
        ))),
    );
    take(
        view,
        Input::Node(Event::InitApply(("n3".to_owned(), Some(far)))),
    );
    assert_eq!(may(view), Ok(()), "the list is not complete");
    take(view, Input::Node(Event::InitDone));
    assert_eq!(may(view), Err(Reason::NodeNotSelected));
    assert!(dirty.all);
}

#[test]
fn a_speaker_that_starts_waits_for_the_labels_of_nodes() {
    let mut view = View::new(
        "n1".to_owned(),
        None,
        SOURCE.to_owned(),
        ExcludeLabel::Prefer,
    );
    let dirty = &mut Dirty::default();
    view.handle(Input::Labels(Labelled::Nodes, Arc::default()), dirty);
    for input in [
        Input::Service(Event::Init),
        Input::Service(Event::InitDone),
        Input::Node(Event::Init),
        Input::Node(Event::InitDone),
        Input::Reports(Event::Init),
        Input::Reports(Event::InitDone),
        Input::Compiled(Event::Init),
        Input::Compiled(Event::InitDone),
        Input::Config(Event::Init),
        Input::Config(Event::InitApply(((), data(SELECTING)))),
        Input::Config(Event::InitDone),
    ] {
        view.handle(input, dirty);
    }
    assert_eq!(
        view.missing(),
        Some("the labels of Services and Nodes that the configuration names")
    );
    let names = view.poll_labels().expect("a label is named");
    for input in [
        labels(Labelled::Nodes, &names),
        Input::Node(Event::Init),
        Input::Node(Event::InitDone),
    ] {
        view.handle(input, dirty);
    }
    assert_eq!(view.missing(), None);
    assert_eq!(view.config_state(), (true, false));
}

/// What the controller writes of this configuration, which comes from there.
fn compiled(source: Source, text: &str) -> Event<((), Option<Read>)> {
    let config = config::parse(text).in_force().expect("a configuration");
    let memory = Memory {
        source,
        ignored: None,
        orphaned: false,
    };
    Event::Apply(((), Some(Ok(Compiled { memory, config }))))
}

/// n2, which asks, is not selected.
const NOT_HERE: &str = "address-pools:
- {name: lan, protocol: layer2, addresses: [192.168.64.200-192.168.64.210], node-selectors: [{match-labels: {site: far}}]}
";
const BROKEN: &str = "address-pools: [";

#[test]
fn where_objects_are_in_force_what_the_controller_has_compiled_counts() {
    let mut cluster = Cluster::new(Some(POOLS));
    assert_eq!(cluster.may(), Ok(()));
    cluster.take(Input::Compiled(compiled(Source::Objects, NOT_HERE)));
    assert_eq!(cluster.may(), Err(Reason::NodeNotSelected));
    for text in [POOLS, BROKEN, ""] {
        cluster.take(Input::Config(Event::Apply(((), data(text)))));
        assert_eq!(cluster.may(), Err(Reason::NodeNotSelected), "{text}");
        assert_eq!(cluster.view.config_state(), (true, false), "{text}");
    }
    // Deleted, or another version's: the last good one stays, and the ConfigMap does not come back.
    cluster.take(Input::Config(Event::Apply(((), data(POOLS)))));
    let unusable = Unread::Unusable {
        source: Some(Source::Objects),
        why: String::new(),
    };
    for event in [
        Event::Delete(((), None)),
        Event::Apply(((), Some(Err(unusable)))),
        Event::Apply(((), Some(Err(Unread::Unmarked)))),
    ] {
        cluster.take(Input::Compiled(event));
        assert_eq!(cluster.may(), Err(Reason::NodeNotSelected));
    }
    // Until the controller says so.
    cluster.take(Input::Compiled(compiled(Source::ConfigMap, NOT_HERE)));
    assert_eq!(cluster.may(), Ok(()));
}

#[test]
fn a_speaker_that_starts_beside_a_broken_configmap_keeps_what_was_in_force() {
    let mut cluster = Cluster::new(Some(BROKEN));
    assert_eq!(cluster.may(), Err(Reason::NotConfigured), "nobody knows");
    cluster.take(Input::Compiled(compiled(Source::ConfigMap, NOT_HERE)));
    assert_eq!(cluster.may(), Err(Reason::NodeNotSelected));
    assert_eq!(cluster.view.config_state(), (true, true), "and says so");
    // A newer one is no reason to change what is in force.
    cluster.take(Input::Compiled(compiled(Source::ConfigMap, POOLS)));
    assert_eq!(cluster.may(), Err(Reason::NodeNotSelected));
    cluster.take(Input::Config(Event::Apply(((), data(POOLS)))));
    assert_eq!(cluster.may(), Ok(()));
    assert_eq!(cluster.view.config_state(), (true, false));
}

#[test]
fn what_the_controller_has_not_written_is_as_if_it_were_not_there() {
    let mut cluster = Cluster::new(Some(POOLS));
    cluster.take(Input::Compiled(Event::Apply((
        (),
        Some(Err(Unread::Unmarked)),
    ))));
    assert_eq!(cluster.may(), Ok(()));
    assert_eq!(cluster.view.config_state(), (true, false));
}
