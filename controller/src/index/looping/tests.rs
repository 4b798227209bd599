use super::super::tests::{configured, notices, service, told, updates, written};
use super::*;
use ferrolb_core::config::parse;
use ferrolb_core::names::event;
use ferrolb_core::view::Protocol;
use ferrolb_core::write_loop::MOST_WRITES;

use crate::index::NodeAddresses;
use crate::source::ConfigMapView;
use ferrolb_kube::watch::Event;

fn second(second: u64) -> Instant {
    Instant::from_millis(second * 1_000)
}

/// The API server with somebody who changes the status at each write.
struct Server {
    index: Index,
    version: u32,
    writes: u32,
}

impl Server {
    fn new(first: ServiceView) -> Self {
        let index = configured(vec![first]);
        Self {
            index,
            version: 100,
            writes: 0,
        }
    }

    /// Carries out every write that there is, up to 100, as `changed` leaves them.
    fn write_all(&mut self, now: Instant, changed: impl Fn(ServiceView) -> ServiceView) {
        let begin = self.writes;
        while let [update] = updates(&mut self.index).as_slice()
            && self.writes < begin + 100
        {
            self.version += 1;
            self.writes += 1;
            let version = self.version.to_string();
            let addresses: Vec<_> = update.addresses.iter().map(ToString::to_string).collect();
            let addresses: Vec<_> = addresses.iter().map(String::as_str).collect();
            let view = changed(service("web", &version, &addresses));
            self.index.handle_outcome(update, &written(&version), now);
            self.index.apply(view, now);
        }
    }

    /// How many writes there were since this was last asked.
    fn writes(&mut self) -> u32 {
        std::mem::take(&mut self.writes)
    }
}

/// An admission webhook on services/status that adds a host name to whatever is written.
fn webhook(view: ServiceView) -> ServiceView {
    ServiceView {
        status_is_canonical: false,
        ..view
    }
}

#[test]
fn a_webhook_that_changes_each_write_ends_in_a_status_that_is_left_as_it_is() {
    let mut server = Server::new(service("web", "1", &[]));
    server.write_all(second(1), webhook);
    assert_eq!(server.writes(), MOST_WRITES + 1);
    assert_eq!(server.index.loops(), 1);
    let told = notices(&mut server.index);
    let told: Vec<_> = told
        .iter()
        .filter(|(what, _)| *what == event::WRITE_LOOP)
        .collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].1.contains("webhook"), "{told:?}");
    let status = &server.index.service_statuses()[0];
    assert_eq!(status.problem.as_ref().unwrap().reason, "write_loop");
    assert_eq!(
        status.addresses,
        ["10.0.0.1"],
        "what the status shows is held"
    );

    // Nothing more, whatever comes by, until ten minutes are over.
    server
        .index
        .apply(webhook(service("web", "200", &["10.0.0.1"])), second(300));
    server.write_all(second(300), webhook);
    server.index.handle_timeout(second(600));
    server.write_all(second(600), webhook);
    assert_eq!(server.writes(), 0);
    assert_eq!(server.index.poll_timeout(), Some(second(601)));
    server.index.handle_timeout(second(601));
    server.write_all(second(601), |view| view);
    assert_eq!(
        (server.writes(), server.index.loops()),
        (1, 0),
        "the webhook is gone"
    );
}

#[test]
fn a_status_that_is_left_as_it_is_is_tried_again_when_the_service_or_the_configuration_changes() {
    let mut server = Server::new(service("web", "1", &[]));
    server.write_all(second(1), webhook);
    server.writes();
    let edited = ServiceView {
        ports: [(Protocol::Tcp, 81)].into(),
        ..webhook(service("web", "300", &["10.0.0.1"]))
    };
    server.index.apply(edited.clone(), second(2));
    server.write_all(second(2), |view| {
        webhook(ServiceView {
            ports: edited.ports.clone(),
            ..view
        })
    });
    assert_eq!(server.writes(), MOST_WRITES + 1);
    let text = "address-pools: [{ name: other, protocol: layer2, addresses: [10.0.0.1-10.0.0.9] }]";
    server.index.set_config(Some(&ConfigMapView {
        id: String::new(),
        uid: "map".to_owned(),
        resource_version: "2".to_owned(),
        outcome: parse(text),
        warnings: None,
    }));
    server.write_all(second(3), |view| ServiceView {
        ports: edited.ports.clone(),
        ..view
    });
    assert_eq!((server.writes(), server.index.loops()), (1, 0));
    assert_eq!(server.index.poll_timeout(), None);
}

#[test]
fn a_status_that_the_api_server_takes_and_does_not_change_is_not_written_for_ever() {
    let mut server = Server::new(service("web", "1", &[]));
    // It says yes, and keeps the version: nothing changed.
    let mut writes = 0;
    while let [update] = updates(&mut server.index).as_slice()
        && writes < 100
    {
        writes += 1;
        let outcome = written(&update.resource_version);
        server.index.handle_outcome(update, &outcome, second(1));
    }
    assert_eq!(writes, MOST_WRITES + 1);
}

#[test]
fn a_node_whose_addresses_follow_a_service_cannot_chase_it_for_ever() {
    let ssh = |view: ServiceView| ServiceView {
        ports: [(Protocol::Tcp, 22)].into(),
        ..view
    };
    let mut server = Server::new(ssh(service("web", "1", &[])));
    server.write_all(second(0), ssh);
    for round in 0..100_u64 {
        let status = server.index.service_statuses();
        let Some(address) = status[0].addresses.first().cloned() else {
            break;
        };
        let node = NodeAddresses {
            node: "n1".to_owned(),
            addresses: vec![address.parse().unwrap()],
            pod_ranges: Vec::new(),
        };
        let event = Event::Apply(("n1".to_owned(), Some(node)));
        server.index.handle_nodes(event);
        server.write_all(second(1 + round / 10), ssh);
    }
    assert_eq!(server.writes(), MOST_WRITES + 1);
    let problem = server.index.service_statuses()[0].problem.clone().unwrap();
    assert_eq!(problem.reason, "write_loop");
}

#[test]
fn what_is_written_once_in_a_while_and_what_others_get_is_no_loop() {
    let mut server = Server::new(service("web", "1", &[]));
    for minute in 0..60 {
        server.index.apply(
            service("web", &format!("5{minute}"), &[]),
            second(60 * minute),
        );
        server.write_all(second(60 * minute), |view| view);
    }
    assert_eq!((server.writes(), server.index.loops()), (60, 0));
    let many = (0..2)
        .map(|number| service(&format!("s{number}"), "1", &[]))
        .collect();
    let mut index = configured(many);
    assert_eq!(told(&updates(&mut index)), ["s0 10.0.0.1", "s1 10.0.0.2"]);
}
