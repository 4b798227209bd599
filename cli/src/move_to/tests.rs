use super::*;
use crate::election::ServiceFixture;
use crate::fixtures::printed;

const WEB: ServiceFixture<'static> = ServiceFixture {
    name: "web",
    address: "192.168.64.241",
    policy: "Cluster",
    pods_on: &["n1"],
    asks_for: None,
};
const LOCAL: ServiceFixture<'static> = ServiceFixture {
    name: "mail",
    address: "192.168.64.242",
    policy: "Local",
    pods_on: &["n1"],
    asks_for: None,
};

/// What `move TEXT NODE` says, or `move TEXT --clear`.
fn said(election: &Election, named: &str, node: Option<&str>) -> String {
    let told = target(named, "shop").and_then(|target| {
        let services = services(election, &target)?;
        Ok((answer(election, &services, node)?, target))
    });
    match told {
        Ok((answer, target)) => printed(|out| text(out, &answer, &target)),
        Err(error) => format!("error: {error:#}"),
    }
}

#[test]
fn what_a_move_costs_and_how_long_it_holds_is_said() {
    let election = Election::fixture("", &[&WEB, &LOCAL]);
    insta::assert_snapshot!(said(&election, "192.168.64.241", Some("n3")));
    assert_eq!(
        said(&election, "svc/web", Some("n3")).replace("-n shop svc/web", "192.168.64.241"),
        said(&election, "192.168.64.241", Some("n3"))
    );
}

#[test]
fn every_service_that_shares_the_address_is_asked() {
    let also = ServiceFixture {
        name: "web-udp",
        asks_for: Some("n3"),
        ..WEB
    };
    let election = Election::fixture("", &[&WEB, &also, &LOCAL]);
    insta::assert_snapshot!(said(&election, "svc/web", Some("n3")));
    insta::assert_snapshot!(said(&election, "svc/web", None));
}

#[test]
fn a_node_that_has_no_pod_yet_is_waited_for() {
    let election = Election::fixture("", &[&LOCAL]);
    insta::assert_snapshot!(said(&election, "svc/mail", Some("n3")));
}

#[test]
fn an_address_that_no_advertisement_covers_goes_nowhere() {
    let mut election = Election::fixture("", &[&WEB]);
    let address = "192.168.64.241".parse().unwrap();
    assert_eq!(obstacle(&election, address, "n1"), None);
    let config = election.config.as_mut().unwrap();
    config.layer2.clear();
    let why = obstacle(&election, address, "n1");
    assert_eq!(why, Some(Reason::NotAdvertised));
}

#[test]
fn what_cannot_be_moved_is_refused_with_the_reason() {
    let elsewhere = ServiceFixture {
        name: "other",
        address: "10.9.9.9",
        ..WEB
    };
    let own = ServiceFixture {
        name: "own",
        address: "192.168.64.12",
        ..WEB
    };
    let pending = ServiceFixture {
        name: "pending",
        address: "",
        ..WEB
    };
    let services = [&WEB, &elsewhere, &own, &pending];
    let election = Election::fixture("n3", &services);
    let refused = [
        ("192.168.64.241", "n9"),
        ("192.168.64.241", "n3"),
        ("192.168.64.12", "n1"),
        ("192.168.64.250", "n1"),
        ("10.9.9.9", "n1"),
        ("svc/pending", "n1"),
        ("svc/none", "n1"),
        ("pod/web", "n1"),
        ("web", "n1"),
    ]
    .map(|(text, node)| {
        let said = said(&election, text, Some(node));
        format!("$ kubectl ferrolb move {text} {node}\n{said}")
    });
    insta::assert_snapshot!(refused.join("\n"));
}

#[test]
fn the_annotation_is_written_and_taken_away_by_a_merge_patch() {
    assert_eq!(
        patch(Some("n3")),
        json!({ "metadata": { "annotations": { "ferrolb.io/move-to": "n3" } } })
    );
    assert_eq!(
        patch(None).to_string(),
        r#"{"metadata":{"annotations":{"ferrolb.io/move-to":null}}}"#
    );
}
