use ferrolb_core::config::{NotConfigured, Outcome as Parsed, of_data, parse};
use ferrolb_core::conflict::Cause;
use ferrolb_core::view::{FamilyPolicy, NamespaceView, Protocol, TrafficPolicy};

use ferrolb_kube::watch::Event;

use super::writing::joined;
use super::*;
use crate::source::ConfigMapView;

#[path = "../../../core/src/in_force/states.rs"]
mod states;

const POOL_OF_TWO: &str =
    "address-pools: [{ name: default, protocol: layer2, addresses: [10.0.0.1-10.0.0.2] }]";

fn map(outcome: Parsed) -> ConfigMapView {
    ConfigMapView {
        uid: "map".to_owned(),
        resource_version: "1".to_owned(),
        id: String::new(),
        outcome,
        warnings: None,
    }
}

fn key(name: &str) -> ServiceKey {
    ServiceKey::new("shop", name)
}

pub(super) fn service(name: &str, version: &str, assigned: &[&str]) -> ServiceView {
    ServiceView {
        key: key(name),
        uid: format!("uid-{name}").into(),
        created: None,
        resource_version: version.into(),
        labels: Labels::default(),
        load_balancer: true,
        class: None,
        cluster_ips: vec!["10.96.0.1".parse().unwrap()],
        family_policy: FamilyPolicy::SingleStack,
        traffic_policy: TrafficPolicy::Cluster,
        ports: [(Protocol::Tcp, 80)].into(),
        selector: Box::default(),
        address_requests: Box::default(),
        requested_pool: None,
        sharing_key: None,
        allow_node_ports: false,
        assigned: assigned
            .iter()
            .map(|address| address.parse().unwrap())
            .collect(),
        status_is_canonical: true,
        status_manager: None,
        too_long: Box::default(),
        status_written: None,
        adopt_from: None,
        unknown_annotations: None,
        deleting: None,
        external_ips: Box::default(),
        move_to: None,
    }
}

fn listed(services: Vec<ServiceView>) -> Index {
    let mut index = Index::new(None, "metallb-system/config".to_owned());
    index.reset(services, &BTreeSet::new(), Instant::START);
    index
}

pub(super) fn configured(services: Vec<ServiceView>) -> Index {
    let mut index = listed(services);
    index.set_config(Some(&map(parse(POOL_OF_TWO))));
    index.settle();
    index
}

/// Every update that can be sent now: `name address…`.
pub(super) fn updates(index: &mut Index) -> Vec<Update> {
    index.settle();
    std::iter::from_fn(|| index.poll_update()).collect()
}

pub(super) fn told(updates: &[Update]) -> Vec<String> {
    let told = |update: &Update| format!("{} {}", update.key.name, joined(&update.addresses));
    updates
        .iter()
        .map(|update| told(update).trim().to_owned())
        .collect()
}

pub(super) fn notices(index: &mut Index) -> Vec<(event::EventReason, String)> {
    let notices = std::iter::from_fn(|| index.poll_notice());
    notices
        .map(|notice| (notice.words.reason, notice.words.message))
        .collect()
}

fn second(second: u64) -> Instant {
    Instant::from_millis(second * 1_000)
}

/// These are all Nodes that there are.
pub(super) fn list_nodes(index: &mut Index, nodes: Vec<NodeAddresses>) {
    index.handle_nodes(Event::Init);
    for node in nodes {
        index.handle_nodes(Event::InitApply((node.node.clone(), Some(node))));
    }
    index.handle_nodes(Event::InitDone);
}

/// And these all Namespaces.
fn list_namespaces(index: &mut Index, namespaces: impl IntoIterator<Item = NamespaceView>) {
    index.handle_namespaces(Event::Init);
    for namespace in namespaces {
        index.handle_namespaces(Event::InitApply((namespace.name.clone(), Some(namespace))));
    }
    index.handle_namespaces(Event::InitDone);
}

pub(super) fn written(version: &str) -> WriteOutcome {
    WriteOutcome::Written {
        resource_version: version.to_owned(),
    }
}

#[test]
fn nothing_is_decided_before_services_and_configuration_are_listed() {
    let mut index = Index::new(None, "metallb-system/config".to_owned());
    assert_eq!(index.blockers().len(), 2);
    index.set_config(Some(&map(parse(POOL_OF_TWO))));
    index.apply(service("early", "1", &[]), Instant::START);
    assert_eq!(told(&updates(&mut index)), [""; 0]);
    index.reset(
        vec![
            service("early", "1", &[]),
            service("old", "2", &["10.0.0.1"]),
        ],
        &BTreeSet::new(),
        Instant::START,
    );
    assert_eq!(index.blockers(), [""; 0]);
    assert_eq!(told(&updates(&mut index)), ["early 10.0.0.2"]);
}

#[test]
fn without_a_configuration_services_wait_and_are_told_for_what() {
    let mut index = listed(vec![service("web", "1", &[])]);
    index.set_config(None);
    assert_eq!(told(&updates(&mut index)), [""; 0]);
    let (reason, message) = notices(&mut index).pop().unwrap();
    assert_eq!(reason, event::ALLOCATION_FAILED);
    assert!(
        message.contains("create ConfigMap metallb-system/config"),
        "{message}"
    );
    assert_eq!(
        index.pending(),
        BTreeMap::from([(Reason::NotConfigured, 1)])
    );
    assert!(!index.config_stale(), "nothing is out of date");

    index.set_config(Some(&map(parse(POOL_OF_TWO))));
    assert_eq!(told(&updates(&mut index)), ["web 10.0.0.1"]);
    assert_eq!(
        notices(&mut index),
        [(
            event::CONFIG_ACCEPTED,
            "configuration in force: 1 address pool".to_owned()
        )]
    );
}

#[test]
fn a_status_is_written_once_and_told_once() {
    let mut index = configured(vec![service("web", "1", &[])]);
    let sent = updates(&mut index);
    assert_eq!(sent[0].resource_version, "1");
    assert_eq!(
        told(&updates(&mut index)),
        [""; 0],
        "one write of a Service at a time"
    );
    index.handle_outcome(&sent[0], &written("2"), Instant::START);
    assert_eq!(
        told(&updates(&mut index)),
        [""; 0],
        "the watch will show it"
    );
    assert_eq!(
        notices(&mut index),
        [(
            event::IP_ALLOCATED,
            "assigned 10.0.0.1 from pool default".to_owned()
        )]
    );
    index.apply(service("web", "2", &["10.0.0.1"]), Instant::START);
    assert_eq!(told(&updates(&mut index)), [""; 0]);
    assert_eq!(notices(&mut index), []);
}

#[test]
fn a_watch_that_is_faster_than_the_answer_to_the_write_hides_no_event() {
    let mut index = configured(vec![service("web", "1", &[])]);
    let sent = updates(&mut index);
    index.apply(service("web", "2", &["10.0.0.1"]), Instant::START);
    index.handle_outcome(&sent[0], &written("2"), Instant::START);
    assert_eq!(told(&updates(&mut index)), [""; 0]);
    assert_eq!(notices(&mut index)[0].0, event::IP_ALLOCATED);
}

#[test]
fn a_conflict_is_decided_anew_on_the_version_that_comes() {
    let mut index = configured(vec![service("web", "1", &[])]);
    let sent = updates(&mut index);
    index.handle_outcome(&sent[0], &WriteOutcome::Conflict, Instant::START);
    assert_eq!(
        told(&updates(&mut index)),
        [""; 0],
        "the same version would be refused again"
    );
    index.apply(service("web", "3", &[]), Instant::START);
    let again = updates(&mut index);
    assert_eq!((again[0].resource_version.as_str(), again.len()), ("3", 1));
}

#[test]
fn a_change_that_overtakes_a_write_is_written_after_it() {
    let mut index = configured(vec![service("web", "1", &[])]);
    let sent = updates(&mut index);
    index.apply(service("web", "2", &[]), Instant::START);
    assert_eq!(
        told(&updates(&mut index)),
        [""; 0],
        "one write of a Service at a time"
    );
    index.handle_outcome(&sent[0], &WriteOutcome::Conflict, Instant::START);
    assert_eq!(updates(&mut index)[0].resource_version, "2");
}

#[test]
fn a_failed_write_is_tried_again_after_a_while() {
    let mut index = configured(vec![service("web", "1", &[])]);
    let sent = updates(&mut index);
    index.handle_outcome(&sent[0], &WriteOutcome::Failed, Instant::START);
    assert_eq!(told(&updates(&mut index)), [""; 0]);
    index.handle_retry(&key("web"));
    let again = updates(&mut index);
    assert_eq!(
        (told(&again), again[0].attempt),
        (vec!["web 10.0.0.1".to_owned()], 1)
    );
}

#[test]
fn an_answer_about_a_deleted_service_is_not_taken_for_its_successor() {
    let mut index = configured(vec![service("web", "1", &[])]);
    let sent = updates(&mut index);
    let successor = ServiceView {
        uid: "another".into(),
        ..service("web", "2", &[])
    };
    index.apply(successor, Instant::START);
    assert_eq!(updates(&mut index)[0].uid, "another");
    index.handle_outcome(&sent[0], &WriteOutcome::Gone, Instant::START);
    assert_eq!(
        told(&updates(&mut index)),
        [""; 0],
        "its own write is still under way"
    );
}

#[test]
fn a_deleted_service_frees_its_address_for_one_that_waits() {
    let held = vec![
        service("a", "1", &["10.0.0.1"]),
        service("b", "2", &["10.0.0.2"]),
    ];
    let mut index = configured(held);
    index.apply(service("c", "3", &[]), Instant::START);
    assert_eq!(told(&updates(&mut index)), [""; 0]);
    assert_eq!(notices(&mut index)[0].0, event::ALLOCATION_FAILED);
    index.delete(&key("a"));
    assert_eq!(told(&updates(&mut index)), ["c 10.0.0.1"]);
}

#[test]
fn a_changed_type_or_class_and_a_new_identity_free_the_address_too() {
    let cluster_ip = ServiceView {
        load_balancer: false,
        ..service("a", "9", &[])
    };
    let class = Some("other.example/lb".into());
    let other_class = ServiceView {
        class,
        ..service("a", "9", &["10.0.0.1"])
    };
    for changed in [cluster_ip, other_class] {
        let mut index = configured(vec![
            service("a", "1", &["10.0.0.1"]),
            service("b", "2", &["10.0.0.2"]),
            service("c", "3", &[]),
        ]);
        index.apply(changed, Instant::START);
        assert_eq!(told(&updates(&mut index)), ["c 10.0.0.1"]);
    }
    let mut index = configured(vec![service("b", "1", &["10.0.0.1"])]);
    let recreated = ServiceView {
        uid: "another".into(),
        ..service("b", "9", &[])
    };
    index.apply(recreated, Instant::START);
    index.apply(service("a", "10", &[]), Instant::START);
    assert_eq!(told(&updates(&mut index)), ["a 10.0.0.1", "b 10.0.0.2"]);
}

#[test]
fn a_service_missing_from_a_new_list_is_gone_unless_it_could_not_be_read() {
    let held = || {
        vec![
            service("a", "1", &["10.0.0.1"]),
            service("b", "2", &["10.0.0.2"]),
        ]
    };
    let waiting = || vec![service("b", "2", &["10.0.0.2"]), service("c", "3", &[])];
    let mut index = configured(held());
    index.reset(waiting(), &BTreeSet::from([key("a")]), Instant::START);
    assert_eq!(told(&updates(&mut index)), [""; 0]);
    index.reset(waiting(), &BTreeSet::new(), Instant::START);
    assert_eq!(told(&updates(&mut index)), ["c 10.0.0.1"]);
}

#[test]
fn a_broken_edit_changes_nothing_and_says_where_it_is_broken() {
    let mut index = configured(vec![service("a", "1", &["10.0.0.1"])]);
    notices(&mut index);
    let broken = map(parse(
        "address-pools:\n- name: default\n  protocol: layer3\n",
    ));
    index.set_config(Some(&broken));
    assert!(index.config_stale() && index.config_loaded());
    let (reason, message) = notices(&mut index).pop().unwrap();
    assert_eq!(reason, event::CONFIG_REFUSED);
    assert!(message.contains("line 3, column "), "{message}");
    index.set_config(Some(&broken));
    assert_eq!(notices(&mut index), [], "said once");
    index.apply(service("b", "2", &[]), Instant::START);
    assert_eq!(
        told(&updates(&mut index)),
        ["b 10.0.0.2"],
        "the last good one is in force"
    );

    index.set_config(Some(&map(parse(POOL_OF_TWO))));
    assert!(!index.config_stale());
    assert_eq!(notices(&mut index)[0].0, event::CONFIG_ACCEPTED, "repaired");
}

#[test]
fn after_a_restart_with_a_broken_configuration_statuses_are_kept() {
    let mut index = listed(vec![
        service("a", "1", &["10.0.0.1"]),
        service("b", "2", &[]),
    ]);
    index.set_config(Some(&map(parse("nonsense"))));
    assert_eq!(told(&updates(&mut index)), [""; 0]);
    assert!(index.config_stale() && !index.config_loaded());
    assert_eq!(
        index.pending(),
        BTreeMap::from([(Reason::ConfigRefused, 1)])
    );
}

#[test]
fn removing_all_pools_takes_no_address_away() {
    let mut index = configured(vec![service("a", "1", &["10.0.0.1"])]);
    index.set_config(Some(&map(Parsed::NotConfigured(NotConfigured::Empty))));
    assert_eq!(told(&updates(&mut index)), [""; 0]);
    let (reason, message) = notices(&mut index).pop().unwrap();
    assert_eq!(reason, event::ALLOCATION_FAILED);
    assert!(message.starts_with("keeps 10.0.0.1"), "{message}");
}

#[test]
fn an_address_is_written_only_after_its_former_status_is_gone() {
    let move_away = |version: &str, assigned: &[&str]| ServiceView {
        address_requests: [ferrolb_core::view::AddressRequest {
            source: "spec.loadBalancerIP".to_owned(),
            text: "10.0.0.2".to_owned(),
        }]
        .into(),
        ..service("mover", version, assigned)
    };
    let mut index = configured(vec![service("mover", "1", &["10.0.0.1"])]);
    index.apply(move_away("2", &["10.0.0.1"]), Instant::START);
    index.apply(service("next", "3", &[]), Instant::START);
    assert_eq!(told(&updates(&mut index)), ["mover 10.0.0.2"]);
    assert_eq!(
        told(&updates(&mut index)),
        [""; 0],
        "10.0.0.1 still stands in mover's status"
    );
    index.apply(move_away("4", &["10.0.0.2"]), Instant::START);
    assert_eq!(told(&updates(&mut index)), ["next 10.0.0.1"]);
}

#[test]
fn a_thousand_who_wait_in_vain_are_told_once_each() {
    let services: Vec<_> = (0..1_000)
        .map(|number| service(&format!("s{number:03}"), "1", &[]))
        .collect();
    let mut index = configured(services);
    assert_eq!(updates(&mut index).len(), 2);
    assert_eq!(notices(&mut index).len(), 998);
    for _ in 0..10 {
        index.delete(&key("s999"));
        index.apply(service("s999", "2", &[]), Instant::START);
        index.settle();
    }
    assert!(
        notices(&mut index).len() <= 10,
        "only the one that is new each time"
    );
}

#[test]
fn who_follows_decides_and_says_nothing_and_decides_anew_when_it_leads() {
    let mut index = Index::new(None, "metallb-system/config".to_owned());
    index.follow();
    index.set_config(Some(&map(parse(POOL_OF_TWO))));
    index.reset(
        vec![service("a", "1", &[])],
        &BTreeSet::new(),
        Instant::START,
    );
    assert_eq!(index.blockers(), [""; 0], "ready to take over");
    assert_eq!(told(&updates(&mut index)), [""; 0]);
    assert_eq!(notices(&mut index), []);

    index.lead();
    assert_eq!(
        told(&updates(&mut index)),
        [""; 0],
        "the last writes of the other may be unseen"
    );
    let seen = vec![service("a", "2", &["10.0.0.1"]), service("b", "3", &[])];
    index.reset(seen, &BTreeSet::new(), Instant::START);
    assert_eq!(told(&updates(&mut index)), ["b 10.0.0.2"]);

    index.follow();
    index.apply(service("c", "4", &[]), Instant::START);
    assert_eq!(told(&updates(&mut index)), [""; 0]);
}

fn by_rival(version: &str) -> ServiceView {
    ServiceView {
        status_manager: Some("rival".into()),
        ..service("web", version, &["10.9.9.9"])
    }
}

fn ours(version: &str) -> ServiceView {
    ServiceView {
        status_manager: Some("ferrolb-controller".into()),
        ..service("web", version, &["10.0.0.1"])
    }
}

#[test]
fn a_rival_who_rewrites_a_status_twice_within_thirty_seconds_gets_it() {
    let at = |seconds: u64| Instant::from_millis(seconds * 1_000);
    let mut index = configured(vec![ours("1")]);
    index.apply(by_rival("2"), at(10));
    let repaired = updates(&mut index);
    assert_eq!(told(&repaired), ["web 10.0.0.1"]);
    index.handle_outcome(&repaired[0], &written("3"), Instant::START);
    index.apply(ours("3"), at(11));
    notices(&mut index);
    index.apply(by_rival("4"), at(12));
    assert_eq!(told(&updates(&mut index)), [""; 0], "no write war");
    let (_, message) = notices(&mut index).pop().unwrap();
    assert!(message.starts_with("rival rewrites"), "{message}");
    index.apply(by_rival("5"), at(13));
    assert_eq!(
        (told(&updates(&mut index)), notices(&mut index)),
        (vec![], vec![])
    );
    // Once in a while is no war.
    let mut index = configured(vec![ours("1")]);
    for round in 1..5 {
        let (theirs, repaired) = (format!("{round}1"), format!("{round}2"));
        index.apply(by_rival(&theirs), at(round * 40));
        let sent = updates(&mut index);
        assert_eq!(told(&sent), ["web 10.0.0.1"]);
        index.handle_outcome(&sent[0], &written(&repaired), Instant::START);
        index.apply(ours(&repaired), at(round * 40 + 1));
    }
}

#[test]
fn a_rival_of_any_kind_ends_in_no_write_war_and_our_status_is_tried_again_later() {
    let at = |seconds: u64| Instant::from_millis(seconds * 1_000);
    let emptied = |version: &str| service("web", version, &[]);
    let added_to = |version: &str| ServiceView {
        status_is_canonical: false,
        status_manager: Some("rival".into()),
        ..service("web", version, &["10.0.0.1"])
    };
    let by_metallb = |version: &str| ServiceView {
        status_manager: Some("controller".into()),
        ..service("web", version, &["10.9.9.9"])
    };
    type Rival<'a> = &'a dyn Fn(&str) -> ServiceView;
    let rivals: [(Rival<'_>, &str, &[&str]); 3] = [
        (
            &emptied,
            "a program without a name empties",
            &["web 10.0.0.1"],
        ),
        // What it has left there stays its own.
        (&added_to, "rival rewrites", &[]),
        // Its address is taken over.
        (&by_metallb, "controller rewrites", &[]),
    ];
    for (rival, said, later) in rivals {
        let mut index = configured(vec![ours("1")]);
        index.apply(rival("2"), at(10));
        let repaired = updates(&mut index);
        assert_eq!(told(&repaired), ["web 10.0.0.1"]);
        index.handle_outcome(&repaired[0], &written("3"), Instant::START);
        index.apply(ours("3"), at(11));
        notices(&mut index);
        index.apply(rival("4"), at(12));
        assert_eq!(told(&updates(&mut index)), [""; 0], "{said}: no write war");
        let (_, message) = notices(&mut index).pop().unwrap();
        assert!(message.starts_with(said), "{message}");
        index.apply(rival("5"), at(13));
        assert_eq!(told(&updates(&mut index)), [""; 0], "{said}: nor later");

        assert_eq!(index.poll_timeout(), Some(at(612)));
        index.handle_timeout(at(611));
        assert_eq!(told(&updates(&mut index)), [""; 0], "{said}: too early");
        index.handle_timeout(at(612));
        assert_eq!(told(&updates(&mut index)), later, "{said}");
        assert_eq!(index.poll_timeout(), None);
    }
}

#[test]
fn nodes_are_waited_for_where_they_can_be_read_and_a_nodes_address_is_told() {
    let mut index = Index::new(None, "metallb-system/config".to_owned());
    index.await_nodes();
    index.set_config(Some(&map(parse(POOL_OF_TWO))));
    let wants = ServiceView {
        address_requests: [ferrolb_core::view::AddressRequest {
            source: "spec.loadBalancerIP".to_owned(),
            text: "10.0.0.1".to_owned(),
        }]
        .into(),
        ..service("web", "1", &[])
    };
    let all = vec![service("a", "1", &[]), wants];
    index.reset(all, &BTreeSet::new(), Instant::START);
    assert_eq!(index.blockers(), ["nodes: not listed yet"]);
    assert_eq!(told(&updates(&mut index)), [""; 0]);
    let node = NodeAddresses {
        node: "n1".to_owned(),
        addresses: vec!["10.0.0.1".parse().unwrap()],
        pod_ranges: Vec::new(),
    };
    list_nodes(&mut index, vec![node]);
    let sent = updates(&mut index);
    assert_eq!(told(&sent), ["a 10.0.0.2", "web 10.0.0.1"]);
    index.handle_outcome(&sent[1], &written("2"), Instant::START);
    let (reason, message) = notices(&mut index).pop().unwrap();
    assert_eq!(reason, event::NODE_ADDRESS_GIVEN);
    assert_eq!(
        message,
        "10.0.0.1 is node n1's own address: 80/TCP on that node now serves this Service, and no other \
         node takes over if n1 goes down"
    );
}

fn by_a_host() -> BTreeMap<IpAddr, Finding> {
    let finding = Finding {
        cause: Cause::Host("02:00:00:00:00:01".parse().unwrap()),
        node: "n1".to_owned(),
    };
    BTreeMap::from([("10.0.0.1".parse().unwrap(), finding)])
}

#[test]
fn an_address_that_another_host_has_is_replaced_before_it_is_in_use_and_it_is_said_which_host() {
    let mut index = configured(vec![service("web", "1", &[])]);
    let sent = updates(&mut index);
    index.handle_outcome(&sent[0], &written("2"), Instant::START);
    index.apply(service("web", "2", &["10.0.0.1"]), second(1));
    notices(&mut index);
    index.set_conflicts(by_a_host(), second(2));
    let sent = updates(&mut index);
    assert_eq!(told(&sent), ["web 10.0.0.2"]);
    index.handle_outcome(&sent[0], &written("3"), Instant::START);
    assert_eq!(
        notices(&mut index).pop().unwrap().1,
        "assigned 10.0.0.2 from pool default instead of 10.0.0.1, which the host with MAC \
         02:00:00:00:00:01 (heard by node n1) uses"
    );
}

#[test]
fn an_address_in_use_stays_whatever_is_reported_and_it_is_said_who_contends_and_what_to_do() {
    let command = "kubectl annotate -n shop service web --overwrite \
                   metallb.io/loadBalancerIPs=ADDRESS";
    let is_told = |index: &mut Index| {
        assert_eq!(told(&updates(index)), [""; 0], "nothing changes");
        let (reason, message) = notices(index).pop().unwrap();
        assert_eq!(reason, event::ADDRESS_CONFLICT);
        for part in ["MAC 02:00:00:00:00:01", command] {
            assert!(message.contains(part), "{message}");
        }
        let services = index.service_statuses();
        let problem = services[0].problem.as_ref().unwrap();
        assert_eq!(
            (problem.reason.as_str(), &problem.message),
            ("address_conflict", &message)
        );
    };
    // In a status that was there before this process.
    let mut index = configured(vec![service("web", "1", &["10.0.0.1"])]);
    index.set_conflicts(by_a_host(), second(1));
    is_told(&mut index);
    // Another one that leads from now on, with the report there already.
    index.follow();
    index.lead();
    index.reset(
        vec![service("web", "1", &["10.0.0.1"])],
        &BTreeSet::new(),
        second(2),
    );
    is_told(&mut index);
    // Given by this process, and shown for ten seconds.
    let mut index = configured(vec![service("web", "1", &[])]);
    let sent = updates(&mut index);
    index.handle_outcome(&sent[0], &written("2"), Instant::START);
    index.apply(service("web", "2", &["10.0.0.1"]), second(100));
    updates(&mut index);
    notices(&mut index);
    index.set_conflicts(by_a_host(), second(110));
    is_told(&mut index);
    assert_eq!(index.poll_timeout(), None);
}

#[test]
fn who_has_no_other_address_is_told_the_command_once_the_address_is_in_use() {
    let mut index = configured(vec![service("other", "1", &["10.0.0.2"])]);
    index.apply(service("web", "2", &[]), second(0));
    let sent = updates(&mut index);
    index.handle_outcome(&sent[0], &written("3"), Instant::START);
    index.apply(service("web", "3", &["10.0.0.1"]), second(1));
    index.settle();
    notices(&mut index);
    index.set_conflicts(by_a_host(), second(2));
    index.settle();
    let (_, message) = notices(&mut index).pop().unwrap();
    assert!(message.contains("no other is free"), "{message}");
    assert_eq!(index.poll_timeout(), Some(second(11)));
    index.handle_timeout(second(11));
    // Too late: it stays, although there is another one now.
    index.delete(&key("other"));
    assert_eq!(told(&updates(&mut index)), [""; 0]);
    let (_, message) = notices(&mut index).pop().unwrap();
    assert!(message.contains("kubectl annotate"), "{message}");
}

#[test]
fn the_status_shows_pools_and_decisions() {
    let mut index = configured(vec![
        service("a", "1", &["10.0.0.1"]),
        service("b", "2", &["10.0.0.2"]),
        service("c", "3", &[]),
    ]);
    index.settle();
    let pool = &index.pool_statuses()[0];
    assert_eq!((pool.total, pool.used, pool.free), (2, 2, 0));
    assert_eq!(pool.first_free, [""; 0]);
    let services = index.service_statuses();
    assert_eq!(services[0].pool.as_deref(), Some("default"));
    assert_eq!(services[2].addresses, [""; 0]);
    assert_eq!(
        services[2].problem.as_ref().unwrap().reason,
        "pool_exhausted"
    );
    assert!(index.configuration_status().loaded);
}

const POOL_BY_LABEL: &str = "address-pools:
- {name: a, protocol: layer2, addresses: [10.1.0.1-10.1.0.9], service-selectors: [{match-labels: {tier: web}}]}
";

fn labelled(name: &str, version: &str, tier: Option<&str>) -> ServiceView {
    ServiceView {
        labels: tier.into_iter().map(|tier| ("tier", tier)).collect(),
        ..service(name, version, &[])
    }
}

#[test]
fn a_configuration_waits_for_the_labels_that_it_names_and_the_last_good_one_serves_until_then() {
    let mut index = configured(vec![service("a", "1", &[])]);
    assert_eq!(index.poll_relist(), None, "it selects by nothing");
    index.set_config(Some(&map(parse(POOL_BY_LABEL))));
    let names = index.poll_relist().expect("it selects by a label");
    assert_eq!(names.services, ["tier".to_owned()].into());
    assert_eq!(names.namespaces, Default::default());
    assert_eq!(index.poll_relist(), None, "asked for once");

    // Meanwhile what is in force serves, as if nothing had happened.
    index.apply(service("b", "1", &[]), Instant::START);
    assert_eq!(told(&updates(&mut index)), ["a 10.0.0.1", "b 10.0.0.2"]);
    assert!(index.blockers().is_empty());

    // Listed anew, now with labels.
    let views = vec![
        service("a", "1", &["10.0.0.1"]),
        service("b", "1", &["10.0.0.2"]),
        labelled("web", "1", Some("web")),
        labelled("db", "1", None),
    ];
    index.reset(views, &BTreeSet::new(), Instant::START);
    assert_eq!(told(&updates(&mut index)), ["web 10.1.0.1"]);
    index.set_config(Some(&map(parse(POOL_BY_LABEL))));
    assert_eq!(index.poll_relist(), None, "these labels are known");
}

#[test]
fn at_the_start_nothing_is_decided_before_the_labels_are_known() {
    let mut index = Index::new(None, "metallb-system/config".to_owned());
    index.await_namespaces();
    let held = || ServiceView {
        assigned: vec!["10.1.0.1".parse().unwrap()],
        ..labelled("web", "1", None)
    };
    index.reset(vec![held()], &BTreeSet::new(), Instant::START);
    list_namespaces(&mut index, []);
    let by_both = POOL_BY_LABEL.replace(
        "}]}\n",
        "}], namespace-selectors: [{match-labels: {team: a}}]}\n",
    );
    index.set_config(Some(&map(parse(&by_both))));
    assert_eq!(index.blockers().len(), 1, "{:?}", index.blockers());
    assert_eq!(index.settle(), 0);
    assert!(index.poll_relist().is_some());
    index.reset(vec![held()], &BTreeSet::new(), Instant::START);
    assert_eq!(index.settle(), 0, "namespaces are listed anew, too");
    let team = NamespaceView {
        name: "shop".to_owned(),
        labels: [("team", "a")].into_iter().collect(),
    };
    list_namespaces(&mut index, [team]);
    assert_eq!(index.blockers(), [""; 0]);
    assert_eq!(index.settle(), 1);
    // Of other labels of Services alone, only those are listed anew.
    index.set_config(Some(&map(parse(&by_both.replace("tier", "app")))));
    assert!(index.poll_relist().is_some());
    index.reset(vec![held()], &BTreeSet::new(), Instant::START);
    assert!(index.settle() > 0, "it is in force");
}

#[test]
fn a_configuration_that_is_replaced_while_it_waits_never_comes_into_force() {
    let mut index = configured(vec![service("a", "1", &[])]);
    index.set_config(Some(&map(parse(POOL_BY_LABEL))));
    index.set_config(Some(&map(parse("address-pools: ["))));
    index.reset(
        vec![service("a", "1", &[])],
        &BTreeSet::new(),
        Instant::START,
    );
    assert!(index.config_stale());
    assert_eq!(
        told(&updates(&mut index)),
        ["a 10.0.0.1"],
        "the last good one"
    );
}

#[test]
fn of_nodes_that_cannot_be_decoded_what_is_known_stays() {
    let node = |name: &str, address: &str| NodeAddresses {
        node: name.to_owned(),
        addresses: vec![address.parse().unwrap()],
        pod_ranges: Vec::new(),
    };
    let mut index = configured(Vec::new());
    let nodes = vec![node("n1", "10.0.0.1"), node("n2", "10.0.0.2")];
    list_nodes(&mut index, nodes);
    index.handle_nodes(Event::Init);
    index.handle_nodes(Event::Unreadable(("n1".to_owned(), None)));
    let new = node("n3", "10.0.0.3");
    index.handle_nodes(Event::InitApply(("n3".to_owned(), Some(new))));
    index.handle_nodes(Event::InitDone);
    let node_of = |address: &str| index.allocator.node_of(address.parse().unwrap());
    assert_eq!(node_of("10.0.0.1"), Some("n1"));
    assert_eq!(node_of("10.0.0.2"), None, "gone");
    assert_eq!(node_of("10.0.0.3"), Some("n3"));
}

#[test]
fn what_a_configuration_probably_does_not_mean_is_said_once() {
    let map = |addresses: &str| {
        let text = POOL_OF_TWO.replace("10.0.0.1-10.0.0.2", addresses);
        let (outcome, warnings) = ferrolb_core::config::parse_with_warnings(&text);
        ConfigMapView {
            warnings,
            ..map(outcome)
        }
    };
    let mut index = listed(vec![]);
    let mut said = |addresses: &str| {
        index.set_config(Some(&map(addresses)));
        let said = notices(&mut index).into_iter();
        let warnings = said.filter(|(reason, _)| *reason == event::CONFIG_WARNING);
        warnings.map(|(_, message)| message).collect::<Vec<_>>()
    };
    let first = said("10.0.0.9/30");
    assert_eq!(first.len(), 1);
    assert!(
        first[0].contains("it means 10.0.0.8 to 10.0.0.11"),
        "{first:?}"
    );
    assert_eq!(said("10.0.0.9/30"), [""; 0]);
    assert_eq!(said("10.0.0.8/30"), [""; 0]);
    assert_eq!(said("10.0.0.9/30").len(), 1);
}

#[test]
fn what_is_left_out_of_a_configuration_is_said_and_the_rest_is_in_force() {
    let loopback = POOL_OF_TWO.replace("[10", "[127.0.0.2-127.0.0.10, 10");
    let mut index = listed(vec![service("web", "1", &[])]);
    index.set_config(Some(&map(parse(&loopback))));
    assert_eq!(told(&updates(&mut index)), ["web 10.0.0.1"]);
    let said = notices(&mut index);
    let said: Vec<_> = said
        .iter()
        .filter(|(reason, _)| *reason == event::ADDRESSES_LEFT_OUT)
        .collect();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].1.contains("line 1, column "), "{said:?}");
    assert!(index.config_loaded() && !index.config_stale());
    assert_eq!(index.entries_left_out(), 1);
    let problem = index.configuration_status().problem.unwrap();
    assert_eq!(problem.reason, "addresses_left_out");
    index.set_config(Some(&map(parse(&loopback))));
    assert_eq!(notices(&mut index), [], "said once");
    // What is in force stays, and so does what is said of it.
    index.set_config(Some(&map(parse("nonsense"))));
    assert_eq!(index.entries_left_out(), 1);
    index.set_config(Some(&map(parse(POOL_OF_TWO))));
    assert_eq!(index.entries_left_out(), 0);
    assert_eq!(index.configuration_status().problem, None);
}

#[test]
fn whatever_the_configmap_is_the_marks_are_those_of_the_speaker() {
    for state in states::all() {
        let mut index = listed(Vec::new());
        if state.after_a_good_one {
            index.set_config(Some(&map(parse(states::GOOD))));
        }
        let read = state.data.as_ref().map(|data| map(of_data(Some(data))));
        index.set_config(read.as_ref());
        let marks = (index.config_loaded(), index.config_stale());
        let states::State {
            name,
            after_a_good_one,
            ..
        } = state;
        assert_eq!(
            marks, state.marks,
            "{name}, after a good one: {after_a_good_one}"
        );
    }
}
