use serde_json::{Value, json};

use super::*;

fn service(value: Value) -> ServiceView {
    let service: Service = serde_json::from_value(value).expect("a Service");
    service_view(&service).expect("a view")
}

fn named(mut value: Value) -> Value {
    value["metadata"]["name"] = json!("web");
    value["metadata"]["namespace"] = json!("shop");
    value
}

#[test]
fn the_age_of_a_service_is_read() {
    let view = service(named(json!({ "metadata": {
        "creationTimestamp": "2026-11-29T12:00:00Z",
    } })));
    let created = view.created.map(|time| time.to_string());
    assert_eq!(created.as_deref(), Some("2026-11-29T12:00:00Z"));
}

#[test]
fn the_new_annotation_prefix_wins_over_the_old_one() {
    let view = service(named(json!({ "metadata": { "annotations": {
        "metallb.universe.tf/address-pool": "old",
        "metallb.io/address-pool": "new",
        "metallb.universe.tf/allow-shared-ip": "key",
    } } })));
    assert_eq!(view.requested_pool.as_deref(), Some("new"));
    assert_eq!(view.sharing_key.as_deref(), Some("key"));
}

#[test]
fn both_ways_to_ask_for_an_address_are_seen_and_named() {
    let view = service(named(json!({
        "metadata": { "annotations": { "metallb.universe.tf/loadBalancerIPs": "10.0.0.2,fd00::2" } },
        "spec": { "loadBalancerIP": "10.0.0.1" },
    })));
    let requests: Vec<_> = view
        .address_requests
        .iter()
        .map(|request| (request.source.as_str(), request.text.as_str()))
        .collect();
    assert_eq!(
        requests,
        [
            ("spec.loadBalancerIP", "10.0.0.1"),
            ("metallb.universe.tf/loadBalancerIPs", "10.0.0.2,fd00::2"),
        ]
    );
}

#[test]
fn junk_and_duplicates_in_a_status_are_ignored_but_mark_it_for_rewriting() {
    let rows = [
        (json!([]), vec![], true),
        (json!([{ "ip": "10.0.0.1" }]), vec!["10.0.0.1"], true),
        (
            json!([{ "ip": "10.0.0.1", "ipMode": "VIP" }]),
            vec!["10.0.0.1"],
            true,
        ),
        (
            json!([{ "ip": "10.0.0.1", "ipMode": "Proxy" }]),
            vec!["10.0.0.1"],
            false,
        ),
        (
            json!([{ "ip": "10.0.0.1" }, { "ip": "10.0.0.1" }]),
            vec!["10.0.0.1"],
            false,
        ),
        (
            json!([{ "ip": "192.168.064.1" }]),
            vec!["192.168.64.1"],
            false,
        ),
        (json!([{ "ip": "::ffff:1.2.3.4" }]), vec!["1.2.3.4"], false),
        (json!([{ "ip": "nonsense" }]), vec![], false),
        (json!([{ "hostname": "web.example" }]), vec![], false),
    ];
    for (ingress, want, canonical) in rows {
        let view = service(named(
            json!({ "status": { "loadBalancer": { "ingress": ingress.clone() } } }),
        ));
        let got: Vec<_> = view.assigned.iter().map(ToString::to_string).collect();
        assert_eq!(got, want, "{ingress}");
        assert_eq!(view.status_is_canonical, canonical, "{ingress}");
    }
}

#[test]
fn a_headless_service_has_no_cluster_address() {
    let view = service(named(
        json!({ "spec": { "clusterIP": "None", "clusterIPs": ["None"] } }),
    ));
    assert_eq!(view.cluster_ips, Vec::<IpAddr>::new());
}

#[test]
fn the_newest_writer_of_the_status_is_named() {
    let view = service(named(json!({ "metadata": { "managedFields": [
        { "manager": "controller", "time": "2026-01-01T00:00:00Z",
          "fieldsV1": { "f:status": { "f:loadBalancer": {} } } },
        { "manager": "other", "time": "2026-01-02T00:00:00Z",
          "fieldsV1": { "f:status": { "f:loadBalancer": {} } } },
        { "manager": "kubectl", "time": "2026-01-03T00:00:00Z",
          "fieldsV1": { "f:spec": {} } },
    ] } })));
    assert_eq!(view.status_manager.as_deref(), Some("other"));
}

#[test]
fn absent_endpoint_conditions_mean_ready_and_serving() {
    let slice: EndpointSlice = serde_json::from_value(json!({
        "metadata": { "name": "web-x", "namespace": "shop",
                      "labels": { "kubernetes.io/service-name": "web" } },
        "addressType": "IPv4",
        "endpoints": [
            { "addresses": ["10.1.0.1"], "nodeName": "n1" },
            { "addresses": ["10.1.0.2"], "conditions": { "ready": false, "serving": true } },
            { "addresses": ["10.1.0.3"], "conditions": { "ready": false, "serving": false } },
            { "addresses": ["10.1.0.4"], "conditions": { "ready": true, "serving": false } },
        ],
    }))
    .expect("an EndpointSlice");
    let view = endpoint_slice_view(&slice).expect("a view");
    let usable: Vec<_> = view.endpoints.iter().map(EndpointView::is_usable).collect();
    assert_eq!(usable, [true, true, false, true]);
    assert_eq!(view.endpoints[0].node.as_deref(), Some("n1"));
}

#[test]
fn a_slice_of_host_names_or_of_no_service_has_no_view() {
    for value in [
        json!({ "metadata": { "name": "a", "namespace": "b" }, "addressType": "IPv4", "endpoints": [] }),
        json!({ "metadata": { "name": "a", "namespace": "b",
                "labels": { "kubernetes.io/service-name": "web" } },
                "addressType": "FQDN", "endpoints": [] }),
    ] {
        let slice: EndpointSlice = serde_json::from_value(value).expect("an EndpointSlice");
        assert_eq!(endpoint_slice_view(&slice), None);
    }
}

#[test]
fn endpoints_are_read_by_family_where_slices_are_not_to_be_had() {
    let endpoints: Endpoints = serde_json::from_value(json!({
        "metadata": { "name": "web", "namespace": "shop" },
        "subsets": [{
            "addresses": [{ "ip": "10.1.0.1", "nodeName": "n1" }, { "ip": "fd00::1" }],
            "notReadyAddresses": [{ "ip": "10.1.0.2", "nodeName": "n2" }],
        }],
    }))
    .expect("Endpoints");
    let [(first, v4), (second, v6)] = endpoints_views(&endpoints);
    let (v4, v6) = (v4.expect("a view"), v6.expect("a view"));
    assert_eq!((first, second), ("-ipv4", "-ipv6"));
    let usable: Vec<_> = v4.endpoints.iter().map(EndpointView::is_usable).collect();
    assert_eq!(usable, [true, false]);
    assert_eq!(v4.endpoints[0].node.as_deref(), Some("n1"));
    assert_eq!((v6.family, v6.endpoints.len()), (Family::V6, 1));
}

#[test]
fn a_node_keeps_its_addresses_and_leaves_its_host_name() {
    let node: Node = serde_json::from_value(json!({
        "metadata": { "name": "n1",
            "labels": { "node.kubernetes.io/exclude-from-external-load-balancers": "" } },
        "spec": { "unschedulable": true },
        "status": {
            "addresses": [
                { "type": "InternalIP", "address": "192.168.64.4" },
                { "type": "Hostname", "address": "10.9.9.9" },
            ],
            "conditions": [{ "type": "NetworkUnavailable", "status": "True" }],
        },
    }))
    .expect("a Node");
    let view = node_view(&node).expect("a view");
    assert_eq!(
        view.addresses,
        ["192.168.64.4".parse::<IpAddr>().expect("an address")]
    );
    assert!(view.excluded && view.unschedulable && view.network_unavailable);
}

/// Debug text of a view: a bound on what it keeps.
fn size(view: &impl std::fmt::Debug) -> usize {
    format!("{view:?}").len()
}

#[test]
fn a_value_that_is_too_long_is_refused_and_named_whichever_it_is() {
    let long = "\u{1}".repeat(260_000);
    for (name, annotated) in [
        ("metallb.io/address-pool", true),
        ("metallb.universe.tf/address-pool", true),
        ("metallb.io/loadBalancerIPs", true),
        ("ferrolb.io/move-to", true),
        ("spec.loadBalancerIP", false),
    ] {
        let view = service(named(if annotated {
            json!({ "metadata": { "annotations": { name: &long } } })
        } else {
            json!({ "spec": { "loadBalancerIP": &long } })
        }));
        let want = TooLong {
            source: name.to_owned(),
            bytes: long.len(),
        };
        assert_eq!(*view.too_long, [want], "{name}");
        assert!(size(&view) < 2_000, "{name}");
    }
    let fits = "a".repeat(LONGEST_VALUE);
    let view = service(named(
        json!({ "metadata": { "annotations": { "metallb.io/address-pool": &fits } } }),
    ));
    assert_eq!(view.requested_pool.as_deref(), Some(&*fits));
    assert_eq!(*view.too_long, []);
}

#[test]
fn what_is_only_compared_is_kept_in_a_bounded_form_and_differs_as_before() {
    let view = |key: &str, label: &str| {
        service(named(json!({
            "metadata": { "annotations": { "metallb.io/allow-shared-ip": key } },
            "spec": { "selector": { "app": label } },
        })))
    };
    let long = "k".repeat(260_000);
    let (one, same) = (view(&long, &long), view(&long, &long));
    let other = view(&format!("{long}x"), &format!("{long}x"));
    assert!(size(&one) < 2_000);
    assert_eq!(one, same);
    assert_ne!(one.sharing_key, other.sharing_key);
    assert_ne!(one.selector, other.selector);
    assert_eq!(
        *one.too_long,
        [],
        "a long key shares as well as a short one"
    );
}

#[test]
fn of_a_status_with_thousands_of_addresses_the_first_are_kept() {
    let ingress: Vec<_> = (0..5_000)
        .map(|n| json!({ "ip": format!("10.0.{}.{}", n / 250, n % 250) }))
        .collect();
    let view = service(named(
        json!({ "status": { "loadBalancer": { "ingress": ingress } } }),
    ));
    assert_eq!(view.assigned.len(), ADDRESSES);
    assert_eq!(view.assigned[0].to_string(), "10.0.0.0");
    assert!(!view.status_is_canonical);
}

#[test]
fn a_thousand_endpoints_that_are_alike_are_one() {
    let endpoints: Vec<_> = (0..1_000)
        .map(|n| json!({ "addresses": [format!("10.1.{}.{}", n / 250, n % 250)], "nodeName": format!("n{}", n % 3) }))
        .collect();
    let slice: EndpointSlice = serde_json::from_value(json!({
        "metadata": { "name": "web-x", "namespace": "shop",
                      "labels": { "kubernetes.io/service-name": "web" } },
        "addressType": "IPv4",
        "endpoints": endpoints,
    }))
    .expect("an EndpointSlice");
    let view = endpoint_slice_view(&slice).expect("a view");
    let nodes: Vec<_> = view
        .endpoints
        .iter()
        .map(|one| one.node.as_deref())
        .collect();
    assert_eq!(nodes, [Some("n0"), Some("n1"), Some("n2")]);
}

#[test]
fn ten_thousand_ports_are_all_kept_and_each_once() {
    let ports: Vec<_> = (0..20_000)
        .map(|n| json!({ "name": format!("p{n}"), "port": 1 + n % 10_000 }))
        .collect();
    let view = service(named(json!({ "spec": { "ports": ports } })));
    assert_eq!(view.ports.len(), 10_000);
}

#[test]
fn who_wrote_a_status_and_when_and_whom_it_may_be_taken_from_is_read() {
    let entry = |manager: &str, time: &str| {
        json!({
            "manager": manager,
            "time": time,
            "fieldsV1": { "f:status": { "f:loadBalancer": { "f:ingress": {} } } },
        })
    };
    let view = |annotation: &str| {
        service(json!({
            "metadata": {
                "namespace": "shop",
                "name": "web",
                "annotations": { "ferrolb.io/adopt-from": annotation },
                "managedFields": [
                    entry("kube-vip", "2026-11-29T11:00:00Z"),
                    entry("k3s", "2026-11-29T12:00:00Z"),
                ],
            },
            "spec": { "type": "LoadBalancer" },
            "status": { "loadBalancer": { "ingress": [{ "hostname": "lb.example.com" }] } },
        }))
    };
    let asks = view(" k3s ");
    assert_eq!(
        asks.foreign_manager(),
        Some("k3s"),
        "a host name is something, too"
    );
    let written = asks.status_written.map(|time| time.to_string());
    assert_eq!(written.as_deref(), Some("2026-11-29T12:00:00Z"));
    assert_eq!(asks.adopt_from.as_deref(), Some("k3s"));
    for nobody in ["", "  ", &"x".repeat(100_000)] {
        assert_eq!(view(nobody).adopt_from, None);
    }
}

#[test]
fn slips_in_annotations_and_what_holds_a_deletion_are_kept_short() {
    let finalizers: Vec<_> = (0..1_000)
        .map(|n| format!("example.com/{n}{}", "x".repeat(100)))
        .collect();
    let view = service(json!({
        "metadata": {
            "namespace": "shop",
            "name": "web",
            "annotations": { "metallb.universe.tf/loadBalancerIP": "192.168.64.27" },
            "deletionTimestamp": "2026-11-29T12:00:00Z",
            "finalizers": finalizers,
        },
        "spec": { "type": "LoadBalancer" },
    }));
    let said = view.unknown_annotations.unwrap();
    assert!(
        said.ends_with("did you mean metallb.universe.tf/loadBalancerIPs?"),
        "{said}"
    );
    let held = view.deleting.unwrap();
    assert!(
        held.starts_with("example.com/0x") && held.len() <= 200,
        "{held}"
    );
    let alive = service(json!({
        "metadata": { "namespace": "shop", "name": "web", "finalizers": ["example.com/a"] },
    }));
    assert_eq!((alive.deleting, alive.unknown_annotations), (None, None));
}
