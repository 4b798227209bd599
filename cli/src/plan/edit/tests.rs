use ferrolb_core::compiled::Compiled;
use ferrolb_core::config::objects::{Kind, ObjectView, Spec};
use ferrolb_core::config::{self, check_file};
use ferrolb_core::labels::Labels;
use ferrolb_core::names::ADOPTED_MANAGERS;
use ferrolb_core::source::{Memory, Source};
use serde_json::json;

use super::applied::{config_of, the_one};
use super::*;
use crate::configured::Configured;
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
        service.status_manager = ADOPTED_MANAGERS.first().map(|one| (*one).into());
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
        Applied {
            result: Ok(parsed(text)),
            objects: Vec::new(),
            notes: Vec::new(),
        },
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
    let refused = config_of(&config::parse("address-pools: [{}]"));
    assert_eq!(refused.as_ref().unwrap_err().0, "refused");
    let answer = Answer::nothing(Applied {
        result: refused,
        objects: Vec::new(),
        notes: Vec::new(),
    });
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

/// A cluster where that is in force.
fn there(source: Source, text: Option<&str>, views: Vec<ObjectView>) -> There {
    let compiled = Compiled {
        memory: Memory {
            source,
            ignored: None,
            orphaned: false,
        },
        config: parsed(AS_IT_IS),
    };
    let text = text.map(|text| ("id".to_owned(), config::parse(text)));
    There {
        namespace: "metallb-system".to_owned(),
        map: "config".to_owned(),
        configured: Configured::of(text, Some(Ok(compiled))),
        views,
        has_kinds: true,
        may_read: true,
        choice: Choice::Auto,
    }
}

fn view(kind: Kind, name: &str, spec: serde_json::Value) -> ObjectView {
    ObjectView {
        kind,
        api_version: "metallb.io/v1beta1".to_owned(),
        namespace: "metallb-system".to_owned(),
        name: name.to_owned(),
        uid: format!("uid-{name}"),
        resource_version: "1".to_owned(),
        generation: 1,
        created: 1,
        labels: Labels::default(),
        annotations: [].into(),
        spec: Spec::of(spec),
    }
}

/// What [`AS_IT_IS`] says, as objects.
fn objects_as_they_are() -> Vec<ObjectView> {
    vec![
        view(
            Kind::IpAddressPool,
            "default",
            json!({ "addresses": ["192.168.64.240/28"] }),
        ),
        view(
            Kind::L2Advertisement,
            "default",
            json!({ "ipAddressPools": ["default"] }),
        ),
    ]
}

fn object(kind: &str, name: &str, spec: &str) -> String {
    format!(
        "apiVersion: metallb.io/v1beta1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n---\n"
    )
}

fn pool(name: &str, addresses: &str) -> String {
    object(
        "IPAddressPool",
        name,
        &format!("{{addresses: [{addresses}]}}"),
    )
}

fn answer_for(text: &str, there: &There, cluster: &(Election, Picture)) -> Answer {
    let (election, picture) = cluster;
    let applied = applied(text, there, election).unwrap();
    match applied.result {
        Ok(_) => {
            let world = World {
                namespaces: Some([].into()),
                served: None,
            };
            Answer::of(election, picture, &world, applied)
        }
        Err(_) => Answer::nothing(applied),
    }
}

#[test]
fn objects_of_a_file_take_the_place_of_those_in_the_cluster_and_the_others_stay() {
    let cluster = cluster();
    let there = || there(Source::Objects, None, objects_as_they_are());
    // The advertisement is in the cluster.
    let answer = answer_for(&pool("default", "192.168.64.240/28"), &there(), &cluster);
    assert_eq!((answer.outcome, answer.unchanged), ("in_force", 2));
    assert!(answer.objects.is_empty(), "{:?}", answer.objects);
    let smaller = answer_for(&pool("default", "192.168.64.240/32"), &there(), &cluster);
    let [change] = &smaller.services[..] else {
        panic!("{smaller:?}");
    };
    assert_eq!(change.name, "api");
    assert!(
        change.what[0].contains("in no pool any more (it was in default)"),
        "{change:?}"
    );
    let silent = object("L2Advertisement", "default", "{ipAddressPools: [other]}");
    let silent = answer_for(&silent, &there(), &cluster);
    assert!(
        silent
            .services
            .iter()
            .all(|one| one.effect == Effect::Loses),
        "{silent:?}"
    );
    let said: Vec<_> = silent
        .objects
        .iter()
        .map(|one| (one.kind.as_str(), one.reason.as_str()))
        .collect();
    assert_eq!(
        said,
        [
            ("IPAddressPool", "not_advertised"),
            ("L2Advertisement", "unknown_reference")
        ]
    );
    insta::assert_snapshot!(printed(|out| text_of_answer(out, &silent)));
}

#[test]
fn a_bad_object_of_a_file_is_told_and_its_last_good_version_stays() {
    let there = there(Source::Objects, None, objects_as_they_are());
    let file =
        pool("default", "192.168.64.250-192.168.64.240") + &pool("more", "192.168.64.248/29");
    let answer = answer_for(&file, &there, &cluster());
    assert_eq!((answer.outcome, answer.unchanged), ("in_force", 2));
    let said: Vec<_> = answer
        .objects
        .iter()
        .map(|one| (one.name.as_str(), one.refused, one.former_in_force))
        .collect();
    assert_eq!(said, [("default", true, true), ("more", true, false)]);
    assert!(answer.services.is_empty());
}

#[test]
fn objects_wait_until_they_hold_and_announce_what_the_configmap_holds() {
    let there = || there(Source::ConfigMap, Some(AS_IT_IS), Vec::new());
    let both = |addresses: &str| pool("lan", addresses) + &object("L2Advertisement", "l", "{}");
    let answer = answer_for(&both("192.168.64.240/32"), &there(), &cluster());
    assert_eq!(answer.outcome, "waits");
    assert!(
        answer
            .problem
            .as_ref()
            .unwrap()
            .contains("192.168.64.241 missing"),
        "{answer:?}"
    );
    let without = answer_for(&pool("lan", "192.168.64.240/28"), &there(), &cluster());
    assert_eq!(without.outcome, "waits");
    let answer = answer_for(&both("192.168.64.240/28"), &there(), &cluster());
    assert_eq!(answer.outcome, "in_force");
    assert_eq!(
        answer.services[0].what,
        ["keeps 192.168.64.241, then of pool lan"]
    );
    let chosen = There {
        choice: Choice::Only(Source::ConfigMap),
        ..there()
    };
    let answer = answer_for(&both("192.168.64.240/28"), &chosen, &cluster());
    assert_eq!(answer.outcome, "ignored");
}

#[test]
fn a_configmap_beside_objects_in_force_is_said_to_be_ignored() {
    let there = there(Source::Objects, Some(AS_IT_IS), objects_as_they_are());
    let answer = answer_for(AS_IT_IS, &there, &cluster());
    assert_eq!(answer.outcome, "ignored");
    let shown = printed(|out| text_of_answer(out, &answer));
    assert!(shown.contains("edit the objects"), "{shown}");
}

#[test]
fn a_file_with_both_forms_is_refused_with_what_to_do() {
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: config}\ndata:\n  config: |\n    address-pools: []\n---\n";
    let both = map.to_owned() + &pool("lan", "10.0.0.0/24");
    let there = there(Source::Objects, None, objects_as_they_are());
    let error = applied(&both, &there, &cluster().0)
        .unwrap_err()
        .to_string();
    assert!(error.ends_with("put them into two files"), "{error}");
    let none = "apiVersion: v1\nkind: Secret\nmetadata: {name: x}\n";
    assert!(applied(none, &there, &cluster().0).is_err());
}

#[test]
fn objects_of_another_namespace_are_told_and_change_nothing() {
    let there = there(Source::Objects, None, objects_as_they_are());
    let elsewhere =
        pool("lan", "10.0.0.0/24").replace("{name: lan}", "{name: lan, namespace: shop}");
    let answer = answer_for(&elsewhere, &there, &cluster());
    assert_eq!(answer.services, []);
    assert_eq!(answer.objects[0].reason, "other_namespace");
}
