use super::*;
use crate::alloc::tests::{pool, service};
use crate::config::LabelSelector;

const IN_POOL: &str = "10.0.0.5";

fn address() -> IpAddr {
    IN_POOL.parse().unwrap()
}

/// The label that is called `name` has one of these values; without any value everything is selected.
fn selectors(name: &str, values: &str) -> Vec<LabelSelector> {
    let selector = |value: &str| LabelSelector {
        match_labels: [(name.to_owned(), value.to_owned())].into(),
        match_expressions: Vec::new(),
    };
    values.split_whitespace().map(selector).collect()
}

/// Of pools `pools`, for Services with one of the labels `app`, by nodes of these names.
fn scope(pools: &str, apps: &str, nodes: &str) -> Scope {
    Scope {
        pools: pools.split_whitespace().map(str::to_owned).collect(),
        pool_selectors: Vec::new(),
        service_selectors: selectors("app", apps),
        node_selectors: selectors("name", nodes),
    }
}

fn layer2(scope: Scope, interfaces: &str) -> Layer2Advertisement {
    Layer2Advertisement {
        name: String::new(),
        scope,
        interfaces: interfaces.split_whitespace().map(str::to_owned).collect(),
        preferred_nodes: Vec::new(),
    }
}

fn bgp(scope: Scope, aggregation_length: u8, localpref: u32) -> BgpAdvertisement {
    BgpAdvertisement {
        name: String::new(),
        peers: BTreeSet::new(),
        scope,
        route: RouteAttributes {
            aggregation_length,
            localpref,
            ..RouteAttributes::default()
        },
    }
}

/// Pools `a` with 10.0.0.1 to 10.0.0.9 and `b` with 10.0.1.1 to 10.0.1.9, announced so.
fn config(layer2: Vec<Layer2Advertisement>, bgp: Vec<BgpAdvertisement>) -> Config {
    Config {
        pools: vec![
            pool("a", &[("10.0.0.1", "10.0.0.9")]),
            pool("b", &[("10.0.1.1", "10.0.1.9")]),
        ],
        layer2,
        bgp,
        ..Config::default()
    }
}

fn node(name: &str) -> NodeView {
    NodeView {
        name: name.to_owned(),
        labels: [("name", name)].into_iter().collect(),
        addresses: Vec::new(),
        network_unavailable: false,
        excluded: false,
        unschedulable: false,
        leaving: false,
    }
}

fn labelled(app: &str) -> ServiceView {
    ServiceView {
        labels: [("app", app)].into_iter().collect(),
        ..service(app)
    }
}

fn written_by(manager: Option<&str>) -> ServiceView {
    ServiceView {
        status_manager: manager.map(Into::into),
        ..service("web")
    }
}

/// How each of n1 to n3 announces by layer 2: `n1 n2(eth0,eth1)`; or why nobody does.
fn by_layer2(address: &str, services: &[ServiceView], config: Option<&Config>) -> String {
    let services: Vec<_> = services.iter().collect();
    let advertised = Advertised::of(address.parse().unwrap(), &services, config);
    if let Err(reason) = advertised.layer2_services() {
        for name in ["n1", "n2", "n3"] {
            assert_eq!(advertised.plan(&node(name)).layer2, None, "{reason}");
        }
        return reason.to_string();
    }
    let words = ["n1", "n2", "n3"].into_iter().filter_map(|name| {
        let links = advertised.plan(&node(name)).layer2;
        assert_eq!(advertised.layer2().selects(&node(name)), links.is_some());
        let links: Vec<_> = links?.into_iter().collect();
        Some(match links.as_slice() {
            [] => name.to_owned(),
            links => format!("{name}({})", links.join(",")),
        })
    });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn nodes_and_links_are_those_of_the_advertisements_that_cover_the_address() {
    let rows = [
        // One without selectors and links is what `protocol: layer2` says.
        (vec![layer2(scope("a", "", ""), "")], "n1 n2 n3"),
        (
            vec![layer2(scope("a", "", "n1 n3"), "eth0")],
            "n1(eth0) n3(eth0)",
        ),
        (vec![layer2(scope("b a", "", "n2"), "")], "n2"),
        // Links differ from node to node.
        (
            vec![
                layer2(scope("a", "", "n1"), "eth0"),
                layer2(scope("a", "", "n1 n2"), "eth1"),
            ],
            "n1(eth0,eth1) n2(eth1)",
        ),
        // One that names no link means all, where it counts.
        (
            vec![
                layer2(scope("a", "", ""), "eth0"),
                layer2(scope("a", "", "n3"), ""),
            ],
            "n1(eth0) n2(eth0) n3",
        ),
        // Those of other pools do not count.
        (
            vec![
                layer2(scope("a", "", "n1"), "eth0"),
                layer2(scope("b", "", ""), ""),
            ],
            "n1(eth0)",
        ),
        (vec![layer2(scope("a", "", "n4"), "")], ""),
    ];
    for (layer2, want) in rows {
        let config = config(layer2, Vec::new());
        let told = by_layer2(IN_POOL, &[service("web")], Some(&config));
        assert_eq!(told, want, "{:?}", config.layer2);
    }
}

#[test]
fn the_labels_of_the_services_decide_which_advertisements_cover_the_address() {
    let config = config(
        vec![
            layer2(scope("a", "web shop", "n1"), "eth0"),
            layer2(scope("a", "mail", "n2"), ""),
        ],
        Vec::new(),
    );
    for (apps, want) in [
        (vec!["web"], "n1(eth0)"),
        (vec!["shop"], "n1(eth0)"),
        (vec!["mail"], "n2"),
        (vec!["web", "mail"], "n1(eth0) n2"),
        (vec!["other"], "not_advertised"),
        (vec!["other", "mail"], "n2"),
        (vec![], "other_class"),
    ] {
        let services: Vec<_> = apps.iter().map(|app| labelled(app)).collect();
        assert_eq!(
            by_layer2(IN_POOL, &services, Some(&config)),
            want,
            "{apps:?}"
        );
    }
    let (mail, other) = (labelled("mail"), labelled("other"));
    let advertised = Advertised::of(address(), &[&other, &mail], Some(&config));
    assert_eq!(
        advertised.layer2_services(),
        Ok(&[&mail][..]),
        "whoever is not announced has no say"
    );
}

#[test]
fn an_address_that_layer_2_does_not_announce_has_its_reason() {
    let web = || [service("web")];
    let nobody = config(Vec::new(), Vec::new());
    let elsewhere = config(vec![layer2(scope("b", "", ""), "")], Vec::new());
    let routed = config(Vec::new(), vec![bgp(scope("a", "", ""), 32, 0)]);
    let both = config(
        vec![layer2(scope("a", "", "n1"), "")],
        vec![bgp(scope("a", "", ""), 32, 0)],
    );
    for (config, address, want) in [
        (&nobody, IN_POOL, "not_advertised"),
        (&elsewhere, IN_POOL, "not_advertised"),
        (&routed, IN_POOL, "bgp_not_announced"),
        (&routed, "10.0.1.5", "not_advertised"),
        (&both, IN_POOL, "n1"),
        (&both, "10.0.2.5", "address_outside_pools"),
        (&both, "127.0.0.1", "address_outside_pools"),
    ] {
        assert_eq!(by_layer2(address, &web(), Some(config)), want, "{address}");
    }
}

#[test]
fn an_address_in_no_pool_is_kept_if_our_controller_or_metallbs_gave_it() {
    let config = config(vec![layer2(scope("a", "", "n1"), "eth0")], Vec::new());
    for (manager, config, want) in [
        (Some("ferrolb-controller"), Some(&config), "n1 n2 n3"),
        (Some("controller"), None, "n1 n2 n3"),
        (
            Some("cloud-provider"),
            Some(&config),
            "address_outside_pools",
        ),
        (None, None, "not_configured"),
    ] {
        let told = by_layer2("10.0.2.5", &[written_by(manager)], config);
        assert_eq!(told, want, "{manager:?}");
    }
    let (ours, theirs) = (written_by(Some("controller")), written_by(Some("x")));
    let outside = "10.0.2.5".parse().unwrap();
    let advertised = Advertised::of(outside, &[&theirs, &ours], None);
    assert_eq!(advertised.layer2_services(), Ok(&[&ours][..]));
}

#[test]
fn whoever_may_not_announce_goes_by_the_links_of_those_who_may() {
    let config = config(
        vec![
            layer2(scope("a", "", "n1"), "eth0"),
            layer2(scope("a", "", "n2"), "eth1"),
        ],
        Vec::new(),
    );
    let web = service("web");
    let advertised = Advertised::of(address(), &[&web], Some(&config));
    assert_eq!(advertised.plan(&node("n3")).layer2, None);
    let links = ["eth0", "eth1"].map(str::to_owned);
    assert_eq!(advertised.layer2().interfaces(), links.into());
}

#[test]
fn each_bgp_advertisement_that_selects_the_node_is_a_route() {
    let config = config(
        Vec::new(),
        vec![
            bgp(scope("a", "", ""), 32, 100),
            bgp(scope("a", "", "n1"), 24, 50),
            bgp(scope("a", "", "n1"), 24, 50),
            bgp(scope("a", "mail", ""), 8, 0),
            bgp(scope("b", "", ""), 16, 0),
        ],
    );
    let web = service("web");
    let routes = |name: &str| {
        let plan = Advertised::of(address(), &[&web], Some(&config)).plan(&node(name));
        assert_eq!(plan.layer2, None, "a route needs no owner");
        let routes = plan.bgp.iter();
        let words = routes.map(|route| format!("{} {}", route.prefix, route.localpref));
        words.collect::<Vec<_>>()
    };
    assert_eq!(routes("n1"), ["10.0.0.0/24 50", "10.0.0.5/32 100"]);
    assert_eq!(routes("n2"), ["10.0.0.5/32 100"]);
}

#[test]
fn a_route_has_the_length_of_its_family() {
    let attributes = RouteAttributes {
        aggregation_length: 30,
        aggregation_length_v6: 64,
        ..RouteAttributes::default()
    };
    for (address, want) in [("10.0.0.7", "10.0.0.4/30"), ("fd00::1:2:3:4", "fd00::/64")] {
        let route = Route::of(address.parse().unwrap(), &attributes).unwrap();
        assert_eq!(route.prefix.to_string(), want);
    }
}
