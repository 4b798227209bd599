//! Whole deaths, from the first vote to the last write.

use super::*;

/// Three nodes; a Service with a pod on each.
fn three() -> World {
    World::new(3, vec![slice("web", "web-1@n1 web-2@n2 web-3@n3")])
}

fn dies(world: &mut World, now: Instant) -> Vec<String> {
    world.all_say(&["n1", "n3"], "n2", Opinion::Dead, now);
    world.run(Looked::Silent, now)
}

#[test]
fn the_pods_of_a_dead_node_are_marked_once_and_given_back_when_the_same_process_is_heard() {
    let mut world = three();
    world.all_say(&["n1"], "n2", Opinion::Dead, at(1_000));
    assert_eq!(world.dead.poll_look(at(1_000)), None, "one vote");
    world.all_say(&["n3"], "n2", Opinion::Dead, at(1_010));
    let look = world.dead.poll_look(at(1_010)).unwrap();
    assert_eq!(look.at, nodes(3)["n2"].addresses);
    assert_eq!(look.voters.len(), 2);
    assert_eq!(world.dead.poll_look(at(1_010)), None);
    world.dead.handle_look(&look, Looked::Silent, at(1_160));
    let write = world.dead.poll_write(at(1_160)).unwrap();
    assert_eq!((write.pod.clone(), world.dead.marked()), (pod("web-2"), 1));
    let Action::Mark(message) = &write.action else {
        panic!("{write:?}");
    };
    assert_eq!(
        message,
        "node n2 answers nobody (found by n1, n3): ferrolb took the pod out of rotation"
    );
    assert_eq!(world.dead.poll_write(at(1_160)), None);
    world.dead.handle_written(&write, Outcome::Done, at(1_200));
    let said = world.events();
    assert_eq!(
        said,
        [
            "n2 EndpointsRemoved: node n2 answers nobody (found by n1, n3): 1 pod of 1 Service is out of rotation"
        ]
    );
    world
        .dead
        .serving()
        .set_slice(slice("web", "web-1@n1 web-2@n2! web-3@n3"));
    world.dead.handle_slices(at(1_250));
    assert_eq!(world.run(Looked::Silent, at(1_250)), [""; 0]);
    // One of them hears it again: that is no quorum any more.
    world.all_say(&["n1"], "n2", Opinion::Heard, at(4_000));
    assert_eq!(world.run(Looked::Silent, at(4_000)), ["+web-2"]);
    let said = world.events();
    assert_eq!(
        said,
        ["n2 EndpointsRestored: n2 is heard again: 1 of its pods are back in rotation"]
    );
    world.all_say(&["n3"], "n2", Opinion::Heard, at(4_010));
    world.all_say(&["n1", "n3"], "n2", Opinion::Dead, at(5_000));
    assert_eq!(
        world.run(Looked::Silent, at(5_000)),
        [""; 0],
        "once for each death"
    );
    assert_eq!(
        world.dead.take_counts(),
        [(("removed", ""), 1), (("restored", ""), 1)].into()
    );
    assert_eq!(world.dead.take_counts(), BTreeMap::new());
}

#[test]
fn a_node_that_answers_or_a_look_that_sees_nothing_marks_nobody_and_is_repeated() {
    for (looked, why) in [
        (Looked::Answers, "node_answers"),
        (Looked::Blind, "look_blind"),
    ] {
        let mut world = three();
        world.all_say(&["n1", "n3"], "n2", Opinion::Dead, at(0));
        for second in 0..60 {
            assert_eq!(world.run(looked, at(second * 1_000)), [""; 0]);
        }
        let said = world.events();
        assert_eq!(said.len(), 1, "said once: {said:?}");
        assert!(said[0].contains(why), "{said:?}");
        assert_eq!(world.dead.poll_timeout(), None, "after ten looks");
        let status = world.dead.status().nodes.remove(0);
        assert_eq!(
            (&*status.state, status.reason.as_deref()),
            ("left", Some(why))
        );

        let mut world = three();
        world.all_say(&["n1", "n3"], "n2", Opinion::Dead, at(0));
        assert_eq!(world.run(looked, at(0)), [""; 0]);
        assert_eq!(world.dead.poll_timeout(), Some(at(1_000)));
        assert_eq!(
            world.run(Looked::Silent, at(1_000)),
            ["-web-2"],
            "then it is silent"
        );
    }
}

#[test]
fn the_controllers_own_node_proves_no_network() {
    let mut world = three();
    world.dead.set_own_address(Some([192, 168, 64, 13].into()));
    world.all_say(&["n1", "n3"], "n2", Opinion::Dead, at(0));
    let look = world.dead.poll_look(at(0)).unwrap();
    assert_eq!(look.voters, nodes(3)["n1"].addresses);
}

#[test]
fn what_comes_while_the_node_is_looked_at_goes_first() {
    // Taken back, and: another one dies.
    for second in [false, true] {
        let mut world = World::new(5, vec![slice("web", "web-1@n1 web-2@n2 web-3@n3")]);
        world.all_say(&["n4", "n3"], "n2", Opinion::Dead, at(0));
        let look = world.dead.poll_look(at(0)).unwrap();
        if second {
            let both = ["n1", "n2"].map(|node| vote(node, LIFE, Opinion::Dead));
            world.says("n3", &both, at(50));
            world.says("n4", &both, at(60));
        } else {
            world.all_say(&["n3"], "n2", Opinion::Heard, at(50));
        }
        world.dead.handle_look(&look, Looked::Silent, at(150));
        assert_eq!(world.run(Looked::Silent, at(150)), [""; 0]);
        assert_eq!(world.events().len(), if second { 2 } else { 0 });
    }
}

#[test]
fn the_last_endpoint_of_a_service_and_what_is_to_be_left_alone_stay_and_load_balancers_go_first() {
    let slices = vec![
        slice("db", "db-1@n1 db-2@n2"),
        slice("web", "zz-1@n1 zz-2@n2"),
        slice("only", "only@n2"),
        slice("down", "down-1@n1! down-2@n2"),
        // On a dead node is as good as nowhere, and unknown nodes are not alive.
        slice("far", "far-1@n7 far-2@n2"),
        // One pod of two Services: the last of one of them.
        slice("both", "both@n2 other@n1"),
        slice("alone", "both@n2"),
        slice("postgres", "pg-1@n1 pg-2@n2"),
    ];
    let mut world = World::new(3, slices);
    let facts = |name, load_balancer, ignored| ServiceFacts {
        key: service(name),
        load_balancer,
        ignored,
    };
    let services = vec![facts("web", true, false), facts("postgres", false, true)];
    world.dead.serving().list_services(services);
    world.dead.handle_services(at(0));
    assert_eq!(dies(&mut world, at(1_000)), ["-zz-2", "-db-2"]);
    let status = world.dead.status().nodes.remove(0);
    let left: BTreeMap<_, _> = status
        .left
        .iter()
        .map(|one| (&*one.pod, &*one.reason))
        .collect();
    assert_eq!(
        left,
        [
            ("shop/both", "last_endpoint"),
            ("shop/down-2", "last_endpoint"),
            ("shop/far-2", "last_endpoint"),
            ("shop/only", "last_endpoint"),
            ("shop/pg-2", "dead_node_ignored"),
        ]
        .into()
    );
    let said = world.events().join("\n");
    assert!(
        said.contains("2 pods of 2 Services are out of rotation"),
        "{said}"
    );
    assert!(
        said.contains("4 Services have their last endpoints there"),
        "{said}"
    );
}

#[test]
fn pods_of_an_annotated_namespace_are_left_alone() {
    let mut world = three();
    world
        .dead
        .serving()
        .set_ignored_namespace("shop".to_owned(), true);
    world.dead.handle_namespaces(at(0));
    assert_eq!(dies(&mut world, at(0)), [""; 0]);
    assert_eq!(world.events(), [""; 0]);
}

#[test]
fn the_replica_that_does_not_lead_waits_for_the_other_and_repeats_nothing() {
    let mut world = three();
    world.dead.set_leading(false);
    world.all_say(&["n1", "n3"], "n2", Opinion::Dead, at(1_000));
    assert_eq!(world.run(Looked::Silent, at(1_299)), [""; 0]);
    assert_eq!(world.dead.poll_timeout(), Some(at(1_300)));
    // The other one was there first.
    world
        .dead
        .serving()
        .set_slice(slice("web", "web-1@n1 web-2@n2! web-3@n3"));
    world.dead.handle_slices(at(1_200));
    assert_eq!(world.run(Looked::Silent, at(1_300)), [""; 0]);
    assert_eq!(world.events(), [""; 0]);

    // The other one is dead, too.
    let mut world = three();
    world.dead.set_leading(false);
    world.all_say(&["n1", "n3"], "n2", Opinion::Dead, at(1_000));
    assert_eq!(world.run(Looked::Silent, at(1_300)), ["-web-2"]);
    assert_eq!(world.events().len(), 1);
    world.all_say(&["n1"], "n2", Opinion::Heard, at(4_000));
    assert_eq!(world.run(Looked::Silent, at(4_000)), [""; 0]);
    assert_eq!(world.dead.poll_timeout(), Some(at(4_300)));
    world.dead.handle_timeout(at(4_300));
    assert_eq!(world.run(Looked::Silent, at(4_300)), ["+web-2"]);
}

#[test]
fn a_controller_that_died_in_between_leaves_nothing_behind() {
    // The marks are another process's: it sees pods that are not ready, and tries those.
    let slices = vec![slice("web", "web-1@n1 web-2@n2! sick@n2! web-3@n3")];
    let not_ours = |write: &Write| match &*write.pod.name {
        "sick" => Outcome::NotOurs,
        _ => Outcome::Done,
    };
    for before in [true, false] {
        let mut world = World::new(3, slices.clone());
        if before {
            assert_eq!(dies(&mut world, at(0)), [""; 0]);
        }
        world.all_say(&["n1"], "n2", Opinion::Heard, at(1_000));
        let done = world.run_with(Looked::Silent, not_ours, at(1_000));
        assert_eq!(done, ["+sick", "+web-2"], "known before: {before}");
        let said = world.events();
        assert!(said[0].contains("1 of its pods"), "{said:?}");
        // Once, whoever says so again.
        let next = Process {
            incarnation: 9,
            ..LIFE
        };
        world.says("n1", &[vote("n2", next, Opinion::Heard)], at(2_000));
        let again = world.run_with(Looked::Silent, not_ours, at(2_000));
        assert_eq!(again.is_empty(), !before, "{again:?}");
    }
}

#[test]
fn a_kubelet_that_says_that_a_marked_pod_is_ready_ends_it_for_ten_minutes() {
    let mut world = three();
    assert_eq!(dies(&mut world, at(0)), ["-web-2"]);
    // The slice is late: that is no word of the kubelet's.
    world.dead.handle_slices(at(10));
    assert_eq!(world.events().len(), 1);
    world
        .dead
        .serving()
        .set_slice(slice("web", "web-1@n1 web-2@n2! web-3@n3"));
    world.dead.handle_slices(at(100));
    world
        .dead
        .serving()
        .set_slice(slice("web", "web-1@n1 web-2@n2 web-3@n3"));
    world.dead.handle_slices(at(5_000));
    let said = world.events();
    assert!(said[0].contains("the kubelet of n2 says"), "{said:?}");
    let next = Process {
        incarnation: 2,
        ..LIFE
    };
    for voter in ["n1", "n3"] {
        world.says(voter, &[vote("n2", next, Opinion::Dead)], at(60_000));
    }
    assert_eq!(world.run(Looked::Silent, at(604_999)), [""; 0]);
    assert_eq!(world.run(Looked::Silent, at(605_000)), ["-web-2"]);
}

#[test]
fn a_node_that_comes_and_goes_is_marked_once_in_a_minute() {
    let mut world = three();
    assert_eq!(dies(&mut world, at(0)), ["-web-2"]);
    world.all_say(&["n1", "n3"], "n2", Opinion::Heard, at(3_000));
    assert_eq!(world.run(Looked::Silent, at(3_000)), ["+web-2"]);
    let next = Process {
        incarnation: 2,
        ..LIFE
    };
    for voter in ["n1", "n3"] {
        world.says(voter, &[vote("n2", next, Opinion::Dead)], at(10_000));
    }
    assert_eq!(world.run(Looked::Silent, at(59_999)), [""; 0]);
    let status = world.dead.status();
    let waiting = status
        .nodes
        .iter()
        .find(|node| node.state == "waiting")
        .unwrap();
    assert_eq!(waiting.reason.as_deref(), Some("marked_lately"));
    assert_eq!(world.run(Looked::Silent, at(60_000)), ["-web-2"]);
}

#[test]
fn a_node_that_started_anew_is_left_to_its_kubelet() {
    let mut world = three();
    assert_eq!(dies(&mut world, at(0)), ["-web-2"]);
    world.votes.clear();
    world.tell(at(40_000));
    assert_eq!(world.run(Looked::Silent, at(40_000)), [""; 0]);
    assert_eq!(world.dead.marked(), 0);
}

#[test]
fn a_write_that_fails_is_tried_once_more_and_one_that_is_refused_is_said() {
    let mut world = three();
    world.all_say(&["n1", "n3"], "n2", Opinion::Dead, at(0));
    let done = world.run_with(Looked::Silent, |_| Outcome::Failed, at(0));
    assert_eq!(done, ["-web-2", "-web-2"]);
    assert!(world.events()[0].contains("; 1 pod could not be marked"));

    let mut world = three();
    world.all_say(&["n1", "n3"], "n2", Opinion::Dead, at(0));
    world.run_with(Looked::Silent, |_| Outcome::Refused, at(0));
    assert!(world.events()[0].contains("the API server refuses it"));
}

/// The connection may lead to an API server on the dead node.
#[test]
fn a_mark_that_nobody_answers_is_tried_once_more_while_there_is_time() {
    let mut world = three();
    world.all_say(&["n1", "n3"], "n2", Opinion::Dead, at(0));
    let look = world.dead.poll_look(at(0)).unwrap();
    world.dead.handle_look(&look, Looked::Silent, at(150));
    let first = world.dead.poll_write(at(150)).unwrap();
    let given_up = at(150) + first.patience;
    world.dead.handle_timeout(given_up);
    world.dead.handle_written(&first, Outcome::Failed, given_up);
    let second = world.dead.poll_write(given_up).unwrap();
    assert_eq!(second.pod, first.pod);
    assert!(second.patience > first.patience, "it may be slow");
    let answered = given_up + second.patience;
    world.dead.handle_timeout(answered);
    world.dead.handle_written(&second, Outcome::Done, answered);
    let said = world.events().join("");
    assert!(said.contains("of 1 Service"), "{said}");
    assert!(!said.contains("could not"), "{said}");
}

#[test]
fn marks_that_have_not_begun_after_two_seconds_are_given_up() {
    let pods: Vec<_> = (10..60).map(|number| format!("p{number}@n2")).collect();
    let mut world = World::new(3, vec![slice("web", &format!("a@n1 {}", pods.join(" ")))]);
    world.all_say(&["n1", "n3"], "n2", Opinion::Dead, at(0));
    let look = world.dead.poll_look(at(0)).unwrap();
    world.dead.handle_look(&look, Looked::Silent, at(150));
    let writes: Vec<_> = (0..8)
        .map(|_| world.dead.poll_write(at(150)).unwrap())
        .collect();
    assert_eq!(world.dead.poll_timeout(), Some(at(2_150)));
    world.dead.handle_timeout(at(2_150));
    assert_eq!(world.dead.poll_write(at(2_150)), None);
    assert_eq!(
        world.dead.poll_timeout(),
        None,
        "nothing to do but wait for answers"
    );
    for write in writes {
        world.dead.handle_written(&write, Outcome::Done, at(2_500));
    }
    let said = world.events().join("");
    assert!(
        said.contains("8 pods of 1 Service are out of rotation"),
        "{said}"
    );
    assert!(said.contains("42 pods could not be marked"), "{said}");
}

#[test]
fn nothing_is_decided_before_everything_has_been_listed() {
    let mut dead = DeadNodes::default();
    dead.set_leading(true);
    let entry = Some(encode([vote("n2", LIFE, Opinion::Dead)].iter()).unwrap());
    let view = VotesView {
        resource_version: "1".to_owned(),
        entries: [("n1".to_owned(), entry.clone()), ("n3".to_owned(), entry)].into(),
    };
    dead.handle_votes(Some(view), clock(0), at(0));
    dead.handle_slices(at(0));
    dead.set_nodes(nodes(3), at(0));
    dead.handle_services(at(0));
    assert_eq!((dead.is_ready(), dead.poll_look(at(0))), (false, None));
    dead.handle_namespaces(at(0));
    assert!(dead.is_ready() && dead.poll_look(at(0)).is_some());
}

#[test]
fn votes_end_with_their_time_and_what_is_nobodys_is_removed_by_the_leader() {
    let mut world = three();
    world.votes.insert("stranger".to_owned(), None);
    world
        .votes
        .insert("n1".to_owned(), Some("nonsense".to_owned()));
    world.all_say(&["n3"], "n2", Opinion::Dead, at(1_000));
    assert_eq!(world.dead.poll_removal(at(10_999)), None);
    assert_eq!(world.dead.removal_due(), Some(at(11_000)));
    let removal = world.dead.poll_removal(at(11_000)).unwrap();
    assert_eq!(removal.keys, ["n1", "stranger"]);
    for key in removal.keys {
        world.votes.remove(&key);
    }
    world.tell(at(11_100));
    // By the voter's clock it was found at 0.
    assert_eq!(world.dead.removal_due(), Some(at(600_000)));
    assert_eq!(world.dead.poll_removal(at(600_000)).unwrap().keys, ["n3"]);
    world.dead.set_leading(false);
    assert_eq!(world.dead.poll_removal(at(600_000)), None);
    assert_eq!(world.dead.removal_due(), None);
    // Who votes late, or whose clock is an hour slow, is heard for ten seconds.
    world.all_say(&["n1"], "n2", Opinion::Dead, at(700_000));
    assert_eq!(
        world.dead.poll_look(at(700_300)),
        None,
        "the other one's time is over"
    );
}
