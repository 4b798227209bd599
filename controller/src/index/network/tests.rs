use super::super::tests::{configured, list_nodes, notices, service, told, updates};
use super::*;
use crate::index::NodeAddresses;
use ferrolb_core::Instant;
use ferrolb_core::names::event;
use ferrolb_core::view::ServiceView;

fn key(name: &str) -> ServiceKey {
    ServiceKey::new("tenant", name)
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn list(name: &str, addresses: &[&str]) -> (ServiceKey, Box<[IpAddr]>) {
    (
        key(name),
        addresses.iter().map(|text| address(text)).collect(),
    )
}

fn listed(views: Vec<(ServiceKey, Box<[IpAddr]>)>, unreadable: &[&str]) -> Found {
    Found::Services(Seen::Listed {
        views,
        unreadable: unreadable.iter().map(|name| key(name)).collect(),
    })
}

#[test]
fn nothing_is_given_before_it_is_known_what_others_list_or_cannot_be_known() {
    let mut index = configured(Vec::new());
    for source in [Source::Services, Source::ApiServer, Source::ServiceRanges] {
        index.await_source(source);
    }
    index.apply(service("web", "2", &[]), Instant::START);
    assert_eq!(told(&updates(&mut index)), [""; 0]);
    assert_eq!(index.blockers().len(), 3);
    index.handle_network(listed(vec![list("other", &["10.0.0.1"])], &[]));
    index.handle_network(Found::ApiServer(Seen::Listed {
        views: vec![vec![address("10.0.0.2")]],
        unreadable: BTreeSet::new(),
    }));
    assert_eq!(index.blockers(), ["ranges of cluster IPs: not listed yet"]);
    // Forbidden, or no such kind.
    index.handle_network(Found::ServiceRanges(Seen::Listed {
        views: Vec::new(),
        unreadable: BTreeSet::new(),
    }));
    assert_eq!(told(&updates(&mut index)), ["web 10.0.0.1"]);
    let said = notices(&mut index);
    let said: Vec<_> = said
        .iter()
        .filter(|(what, _)| *what == event::ADDRESS_CLAIMED)
        .collect();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].1.contains("Service tenant/other"), "{said:?}");
}

#[test]
fn who_holds_an_address_is_told_when_another_service_lists_it_and_when_that_is_over() {
    let mut index = configured(vec![service("web", "1", &["10.0.0.1"])]);
    let problem = |index: &mut Index| {
        assert_eq!(told(&updates(index)), [""; 0], "nobody moves");
        let status = index.service_statuses().remove(0);
        status
            .problem
            .map_or_else(String::new, |problem| problem.reason.to_string())
    };
    index.handle_network(listed(vec![list("a", &["10.0.0.1"])], &[]));
    assert_eq!(problem(&mut index), "external_ip");
    index.handle_network(listed(Vec::new(), &["a"]));
    assert_eq!(
        problem(&mut index),
        "external_ip",
        "it cannot be decoded now"
    );
    index.handle_network(Found::Services(Seen::Deleted(key("a"))));
    assert_eq!(problem(&mut index), "");
    index.handle_network(Found::Services(Seen::Applied(list("b", &["10.0.0.1"]))));
    assert_eq!(problem(&mut index), "external_ip");
    index.handle_network(listed(Vec::new(), &[]));
    assert_eq!(problem(&mut index), "");
}

#[test]
fn services_of_type_load_balancer_list_addresses_too_also_those_of_another_class() {
    let of_class = |name: &str, class: Option<&str>| ServiceView {
        class: class.map(Into::into),
        external_ips: [address("10.0.0.1")].into(),
        ..service(name, "1", &["10.9.9.9"])
    };
    for class in [None, Some("another")] {
        let mut index = configured(Vec::new());
        index.apply(of_class("lister", class), Instant::START);
        index.apply(service("web", "2", &[]), Instant::START);
        assert_eq!(told(&updates(&mut index)), ["web 10.0.0.2"], "{class:?}");
        // It is gone, and nobody saw it go.
        index.reset(
            vec![service("web", "3", &["10.0.0.2"])],
            &BTreeSet::new(),
            Instant::START,
        );
        index.apply(service("new", "4", &[]), Instant::START);
        assert_eq!(told(&updates(&mut index)), ["new 10.0.0.1"], "{class:?}");
        assert_eq!(index.service_statuses()[0].problem, None, "{class:?}");
    }
}

#[test]
fn ranges_of_services_and_pods_come_and_go() {
    let mut index = configured(Vec::new());
    let range = |text: &str| AddressRange::of_prefix(text).unwrap();
    index.handle_network(Found::ServiceRanges(Seen::Applied((
        "kubernetes".to_owned(),
        vec![range("10.0.0.1/32")],
    ))));
    index.apply(service("web", "1", &[]), Instant::START);
    assert_eq!(told(&updates(&mut index)), ["web 10.0.0.2"]);
    index.delete(&service("web", "1", &[]).key);
    index.handle_network(Found::ServiceRanges(Seen::Deleted(ServiceKey::new(
        "",
        "kubernetes",
    ))));
    let node = NodeAddresses {
        node: "n1".to_owned(),
        addresses: Vec::new(),
        pod_ranges: vec![range("10.0.0.2/32")],
    };
    list_nodes(&mut index, vec![node]);
    index.apply(service("web", "1", &[]), Instant::START);
    assert_eq!(told(&updates(&mut index)), ["web 10.0.0.1"]);
}
