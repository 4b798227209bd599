use ferrolb_core::config;
use ferrolb_core::names::ADOPTED_MANAGERS;

use super::*;
use crate::election::ServiceFixture;
use crate::fixtures::{WEB, announcing, controller, printed};
use crate::picture::tests::{picture_of, speakers_on};

const API: ServiceFixture<'static> = ServiceFixture {
    name: "api",
    address: "192.168.64.241",
    ..WEB
};

/// What the fixture's election has in force.
const AS_IT_IS: &str =
    "address-pools:\n- name: default\n  protocol: layer2\n  addresses: [192.168.64.240/28]\n";

/// Both Services were given their address by us; n1 announces both.
fn cluster() -> (Election, Picture) {
    let mut election = Election::fixture("", &[&WEB, &API]);
    for service in &mut election.services {
        service.status_manager = ADOPTED_MANAGERS.first().map(|one| (*one).to_owned());
    }
    let mut status = controller();
    status.services.truncate(2);
    for (status, service) in status.services.iter_mut().zip([&WEB, &API]) {
        status.name = service.name.to_owned();
        status.addresses = vec![service.address.to_owned()];
    }
    let speakers = announcing(&[WEB.address, API.address]);
    let picture = picture_of(speakers_on(&["n1"]), Ok(status), speakers);
    (election, picture)
}

fn parsed(text: &str) -> Config {
    config_of(&config::parse(text)).unwrap()
}

fn planned_of(cluster: &(Election, Picture), text: &str) -> Answer {
    let (election, picture) = cluster;
    Answer::of(
        election,
        picture,
        &World {
            namespaces: Some([].into()),
            served: None,
        },
        parsed(text),
    )
}

/// For each Service of which something changes: its name, the effect, and what.
fn planned(text: &str) -> Vec<(String, Effect, Vec<String>)> {
    let services = planned_of(&cluster(), text).services.into_iter();
    services
        .map(|one| (one.name, one.effect, one.what))
        .collect()
}

#[test]
fn what_is_in_force_already_changes_nothing() {
    assert_eq!(planned(AS_IT_IS), []);
    let answer = planned_of(&cluster(), AS_IT_IS);
    assert_eq!(answer.unchanged, 2);
    assert!(
        printed(|out| text_of_answer(out, &answer))
            .starts_with("nothing would change for any Service\n")
    );
}

#[test]
fn an_address_of_a_pool_that_is_taken_away_stays_and_is_said_to_be_in_none() {
    let changes =
        planned("address-pools:\n- name: other\n  protocol: layer2\n  addresses: [10.0.0.0/30]\n");
    assert_eq!(changes.len(), 2, "{changes:?}");
    for (_, effect, what) in changes {
        assert_eq!(effect, Effect::Changes, "{what:?}");
        assert!(
            what[0].contains("which is in no pool any more (it was in default)"),
            "{what:?}"
        );
    }
}

#[test]
fn a_pool_of_another_name_is_another_pool() {
    let renamed = AS_IT_IS.replace("default", "gold");
    let changes = planned(&renamed);
    assert_eq!(changes[0].2, ["keeps 192.168.64.241, then of pool gold"]);
}

#[test]
fn who_waits_gains_from_a_larger_pool_and_loses_nothing_by_a_smaller_one() {
    let mut cluster = cluster();
    cluster.0.services[1].assigned.clear();
    cluster.0.config = Some(parsed(&AS_IT_IS.replace("/28", "/32")));
    let answer = planned_of(&cluster, AS_IT_IS);
    let [change] = &answer.services[..] else {
        panic!("{answer:?}");
    };
    assert_eq!(
        (change.name.as_str(), change.effect),
        ("api", Effect::Gains)
    );
    assert_eq!(change.what, ["gets 192.168.64.241 from pool default"]);
    insta::assert_snapshot!(printed(|out| text_of_answer(out, &answer)));
}

#[test]
fn where_nodes_are_selected_an_address_moves_or_falls_silent() {
    let selecting = |node: &str| {
        format!(
            "{AS_IT_IS}  node-selectors:\n  - match-labels:\n      kubernetes.io/hostname: {node}\n"
        )
    };
    let mut cluster = cluster();
    for node in cluster.0.nodes.values_mut() {
        node.labels = [("kubernetes.io/hostname".to_owned(), node.name.clone())]
            .into_iter()
            .collect();
    }
    let changed = |text: &str| planned_of(&cluster, text).services;
    for change in changed(&selecting("n2")) {
        assert_eq!(change.effect, Effect::Changes);
        assert!(
            change.what[0].ends_with("would move from n1 to n2 (node_not_selected)"),
            "{change:?}"
        );
    }
    assert_eq!(changed(&selecting("n1")), []);
    let silent = changed(&selecting("n9"));
    assert_eq!(silent.len(), 2);
    assert_eq!(silent[0].effect, Effect::Loses);
    assert!(
        silent[0].what[0].contains("announced by nobody: node_not_selected"),
        "{silent:?}"
    );
    insta::assert_snapshot!(printed(|out| text_of_answer(
        out,
        &planned_of(&cluster, &selecting("n9"))
    )));
}

#[test]
fn what_would_be_refused_changes_nothing_and_says_so() {
    let (outcome, problem) = config_of(&config::parse("address-pools: [{}]")).unwrap_err();
    assert_eq!(outcome, "refused");
    let answer = Answer::nothing(outcome, problem);
    let shown = printed(|out| text_of_answer(out, &answer));
    assert!(shown.starts_with("refused: "), "{shown}");
    assert!(shown.contains("nothing would change"), "{shown}");
    let unfilled = "address-pools:\n- name: default\n  protocol: layer2\n  addresses: [-]\n";
    assert!(config_of(&config::parse(unfilled)).is_err());
    // As with MetalLB, that is a configuration without pools.
    assert_eq!(config_of(&config::parse("")).unwrap(), Config::default());
}

#[test]
fn of_several_in_a_file_the_one_that_the_daemons_read_is_meant() {
    let map = |namespace: &str, name: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{namespace: {namespace}, name: {name}}}\n\
             data:\n  config: |\n    address-pools: []\n---\n"
        )
    };
    let both = check_file(&(map("lb", "other") + &map("lb", "config"))).unwrap();
    let one = the_one(&both, "lb", "config").unwrap();
    assert_eq!(one.object.as_ref().unwrap().name, "config");
    let error = the_one(&both, "metallb-system", "config").unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("the file has 2 configurations"),
        "{error}"
    );
    assert!(the_one(&both[..1], "metallb-system", "config").is_ok());
}
