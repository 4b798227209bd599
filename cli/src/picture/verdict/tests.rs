use anyhow::anyhow;
use serde_json::json;

use ferrolb_core::report::{SpeakerStatus, Word};

use super::*;
use crate::daemons::{Component, Daemon};
use crate::fixtures::{
    announcing, blocked, controller, found_dead, heard, member, passing_on, said_of, unable,
};
use crate::picture::tests::{heard_of, now};
use crate::picture::{AddressState, Happening, Heard, NodeFacts, NodeState};

const ADDRESS: &str = "192.168.64.240";

/// A controller, three speakers, and an address that n1 announces.
fn healthy() -> Heard {
    let mut status = controller();
    status.services.truncate(1);
    let mut speakers = announcing(&[ADDRESS]);
    speakers.extend(said_of(
        ADDRESS,
        &[("n2", Some("not_owner")), ("n3", Some("not_owner"))],
    ));
    let daemons = vec![
        Daemon::fixture(Component::Controller, "c", "n1"),
        Daemon::fixture(Component::Speaker, "s1", "n1"),
        Daemon::fixture(Component::Speaker, "s2", "n2"),
        Daemon::fixture(Component::Speaker, "s3", "n3"),
    ];
    heard_of(daemons, Ok(status), speakers)
}

/// What is said, in sentences.
#[derive(Debug, Default, PartialEq, Eq)]
struct Judged {
    problems: Vec<String>,
    unknown: Vec<String>,
    notes: Vec<String>,
}

impl Judged {
    fn is_well(&self) -> bool {
        self.problems.is_empty() && self.unknown.is_empty()
    }
}

fn judged(change: impl FnOnce(&mut Heard)) -> Judged {
    let mut heard = healthy();
    change(&mut heard);
    let verdict = Picture::of(heard, now()).verdict;
    let sentences = |severity| {
        let findings = verdict.of(severity);
        findings.map(|one| one.sentence(now())).collect()
    };
    let judged = Judged {
        problems: sentences(Severity::Problem),
        unknown: sentences(Severity::Unknown),
        notes: sentences(Severity::Note),
    };
    assert_eq!(judged.is_well(), verdict.is_well());
    // Whatever is wrong in any of these tests, it is said what to do next.
    for finding in &verdict.findings {
        let is_note = finding.severity == Severity::Note;
        assert!(is_note || finding.next.is_some(), "{finding:?}");
    }
    judged
}

fn speaker(picture: &mut Heard, index: usize) -> &mut SpeakerStatus {
    picture.speakers[index].1.as_mut().unwrap()
}

fn vip_reason(picture: &mut Heard, index: usize, reason: &str) {
    let vip = &mut speaker(picture, index).vips[0];
    vip.announced_here = false;
    vip.reason = Some(reason.into());
}

/// The only problem, and nothing else.
fn problem(change: impl FnOnce(&mut Heard)) -> String {
    let verdict = judged(change);
    assert_eq!(verdict.problems.len(), 1, "{verdict:?}");
    assert_eq!(verdict.unknown, [""; 0]);
    verdict.problems[0].clone()
}

#[test]
fn where_each_address_is_announced_once_all_is_well() {
    let verdict = judged(|_| {});
    assert_eq!(verdict, Judged::default());
    assert!(verdict.is_well());
}

#[test]
fn a_node_that_others_hold_dead_is_named_and_why_its_speaker_is_silent_is_not_asked() {
    let said = problem(|picture| {
        for index in [0, 1] {
            let dead = member("n3", "gone", Some("node"), None);
            speaker(picture, index).members.push(dead);
        }
        picture.speakers[2].1 = Err(anyhow!("no answer within 2 s"));
    });
    assert_eq!(
        said,
        "n3 is held dead (node, n1, n2 say so), for 3s: kubectl describe node n3, then see its network"
    );
}

#[test]
fn a_speaker_that_restarts_is_a_note_and_a_node_without_a_speaker_is_nothing() {
    let verdict = judged(|picture| {
        let members = &mut speaker(picture, 0).members;
        members.push(member("n3", "held", Some("restarting"), None));
        members.push(member("n9", "never_heard", None, None));
    });
    assert!(verdict.is_well());
    assert_eq!(verdict.notes, ["the speaker of n3 restarts, say n1"]);
}

#[test]
fn connections_that_are_kept_are_a_note_and_a_keeper_that_cannot_is_a_problem() {
    let verdict = judged(|picture| {
        let kept = [(ADDRESS, "n2", 5), ("192.168.64.9", "n3", 0)];
        speaker(picture, 0).keeping = Some(passing_on(&kept));
    });
    assert!(verdict.is_well());
    assert_eq!(
        verdict.notes,
        [
            "n1 passes open connections of 192.168.64.240 on to n2, where they began: \
             kubectl ferrolb explain 192.168.64.240",
            "n1 passes open connections of 192.168.64.9 on to n3, where they began: \
             kubectl ferrolb explain 192.168.64.9",
        ]
    );
    let said = problem(|picture| speaker(picture, 2).keeping = Some(unable()));
    assert_eq!(
        said,
        "n3 cannot keep the open connections of addresses that move to it: the keeper cannot be reached: no \
         such file: kubectl logs -c keeper -n metallb-system s3"
    );
}

#[test]
fn a_speaker_that_nobody_can_speak_for_is_unknown() {
    let verdict = judged(|picture| picture.speakers[1].1 = Err(anyhow!("no answer within 2 s")));
    assert_eq!(verdict.problems, [""; 0]);
    assert_eq!(verdict.unknown.len(), 1);
    assert!(
        verdict.unknown[0].starts_with("the speaker of n2"),
        "{verdict:?}"
    );
    let verdict = judged(|picture| picture.speakers[0].1 = Err(anyhow!("no answer within 2 s")));
    assert_eq!(
        verdict.unknown[1],
        "it is not known who announces 192.168.64.240, because not every speaker answered: \
         kubectl ferrolb explain 192.168.64.240"
    );
}

#[test]
fn an_address_that_nobody_announces_is_a_problem_unless_it_is_silent_on_purpose() {
    let all = |picture: &mut Heard, reason: &str| {
        for index in 0..3 {
            vip_reason(picture, index, reason);
        }
    };
    let said = problem(|picture| all(picture, "address_conflict"));
    assert!(
        said.starts_with("announced by nobody: 192.168.64.240 (address_conflict: "),
        "{said}"
    );
    for silent in [
        "no_endpoint",
        "bgp_not_announced",
        "not_advertised",
        "address_outside_pools",
    ] {
        let verdict = judged(|picture| all(picture, silent));
        assert!(verdict.is_well(), "{silent}");
        assert_eq!(verdict.notes.len(), 1);
    }
    // One that has just started does not contradict; one that says otherwise does.
    for (other, is_well) in [("joining", true), ("no_local_endpoint", false)] {
        let verdict = judged(|picture| {
            all(picture, "no_endpoint");
            vip_reason(picture, 1, other);
        });
        assert_eq!(verdict.is_well(), is_well, "{other}");
    }
    assert_eq!(
        judged(|picture| all(picture, "node_address")),
        Judged::default()
    );
    let said = problem(|picture| {
        for index in 0..3 {
            speaker(picture, index).vips.clear();
        }
    });
    assert!(said.contains("no speaker knows about it"), "{said}");
}

#[test]
fn an_address_that_two_announce_is_a_problem() {
    let said = problem(|picture| speaker(picture, 1).vips[0].announced_here = true);
    assert!(
        said.starts_with("192.168.64.240 is announced by n1, n2"),
        "{said}"
    );
}

#[test]
fn what_stands_against_a_node_is_said_with_what_to_do() {
    for reason in ["kernel_silent", "link_silent"] {
        let said = problem(|picture| {
            let members = &mut speaker(picture, 0).members;
            members.push(member("n3", "live", None, Some(reason)));
        });
        assert!(said.starts_with(&format!("n3: {reason}: ")), "{said}");
    }
    let said = problem(|picture| vip_reason(picture, 1, "kube_proxy_unhealthy"));
    assert!(said.starts_with("n2: kube_proxy_unhealthy: "), "{said}");
    // It keeps its addresses, so only its line among the members tells of it: its own, or another's.
    for teller in [1, 0] {
        let said = problem(|picture| {
            let members = &mut speaker(picture, teller).members;
            members.retain(|one| one.node != "n2");
            members.push(member("n2", "live", None, Some("kube_proxy_unhealthy")));
        });
        assert!(said.starts_with("n2: kube_proxy_unhealthy: "), "{said}");
    }
    let said = problem(|picture| speaker(picture, 1).isolated = true);
    assert!(said.starts_with("n2: isolated: "), "{said}");
    let said =
        problem(|picture| speaker(picture, 1).waiting_for = Some("the list of Nodes".to_owned()));
    assert!(said.contains("it waits for the list of Nodes"), "{said}");
}

/// Two nodes that do not hear each other.
type Pair = (&'static str, &'static str);

/// What speakers say of each other where none of these pairs hears the other, and each kernel answers.
fn unheard(picture: &mut Heard, pairs: &[Pair]) {
    let nodes: Vec<String> = picture.speakers.iter().map(|(by, _)| by.clone()).collect();
    for (by, told) in &mut picture.speakers {
        let by = by.as_str();
        let is_blocked = |one: &str| pairs.contains(&(by, one)) || pairs.contains(&(one, by));
        let members = nodes.iter().map(|one| match is_blocked(one) {
            true => blocked(one),
            false => heard(one),
        });
        told.as_mut().unwrap().members = members.collect();
    }
}

#[test]
fn a_node_that_cannot_be_heard_lives_and_announces_what_it_has() {
    const ALL: [Pair; 3] = [("n1", "n2"), ("n1", "n3"), ("n2", "n3")];
    // Which pairs do not hear each other, among how many nodes, and who is named for it.
    let cases: [(usize, &[Pair], &[&str]); 5] = [
        (3, &[("n1", "n2"), ("n1", "n3")], &["n1"]),
        (3, &[("n3", "n1"), ("n3", "n2")], &["n3"]),
        (3, &[("n2", "n3")], &["n2", "n3"]),
        (3, &ALL, &["n1", "n2", "n3"]),
        (2, &[("n1", "n2")], &["n1", "n2"]),
    ];
    for (count, pairs, named) in cases {
        let mut heard = healthy();
        heard.speakers.truncate(count);
        heard.daemons.truncate(count + 1);
        unheard(&mut heard, pairs);
        for (by, told) in &mut heard.speakers {
            let is_blind =
                pairs.contains(&("n1", by.as_str())) || pairs.contains(&(by.as_str(), "n1"));
            if is_blind {
                told.as_mut().unwrap().vips[0].reason = Some("peer_announces".into());
            }
        }
        let picture = Picture::of(heard, now());
        let states: Vec<_> = picture.nodes.iter().map(|node| node.state).collect();
        assert_eq!(states, vec![NodeState::Live; count], "{pairs:?}");
        let address = &picture.addresses[0];
        assert_eq!(address.state, AddressState::Announced, "{pairs:?}");
        assert_eq!(address.nodes, ["n1"]);
        assert_eq!(picture.node("n1").unwrap().addresses, 1);
        let findings = &picture.verdict.findings;
        let found: Vec<_> = findings.iter().map(|one| one.node.as_deref()).collect();
        let named: Vec<_> = named.iter().map(|node| Some(*node)).collect();
        assert_eq!(found, named, "{pairs:?}: {findings:?}");
        for finding in findings {
            assert_eq!(finding.severity, Severity::Problem);
            assert_eq!(finding.reason.as_deref(), Some("peer_blocked"));
        }
    }
}

#[test]
fn one_that_neither_others_nor_we_hear_may_announce_what_it_had() {
    let mut heard = healthy();
    unheard(&mut heard, &[("n1", "n2"), ("n1", "n3")]);
    heard.speakers[0].1 = Err(anyhow!("no answer within 2 s"));
    let picture = Picture::of(heard, now());
    assert_eq!(picture.nodes[0].state, NodeState::Unknown);
    assert_eq!(picture.addresses[0].state, AddressState::Unknown);
}

#[test]
fn beside_one_that_cannot_be_heard_a_dead_one_is_found() {
    let verdict = judged(|picture| {
        unheard(picture, &[("n1", "n2"), ("n1", "n3")]);
        for index in [0, 1] {
            speaker(picture, index).members[2] = member("n3", "gone", Some("node"), None);
        }
        picture.speakers[2].1 = Err(anyhow!("no answer within 2 s"));
    });
    assert_eq!(verdict.unknown, [""; 0]);
    assert_eq!(verdict.problems.len(), 3, "{verdict:?}");
    assert!(verdict.problems[0].starts_with("n1: peer_blocked: "));
    assert!(verdict.problems[1].starts_with("n2: peer_blocked: "));
    assert!(verdict.problems[2].starts_with("n3 is held dead (node, n1, n2 say so)"));
}

#[test]
fn a_service_with_a_problem_is_named_also_if_it_has_an_address() {
    let with = |reason: &str| {
        let reason = Word::from(reason);
        move |picture: &mut Heard| {
            let status = picture.controller.as_mut().unwrap();
            status.services[0].problem = Some(ferrolb_core::report::Explained {
                reason: reason.clone(),
                message: "…".to_owned(),
            });
        }
    };
    assert_eq!(
        problem(with("unknown_pool")),
        "unknown_pool: shop/api: kubectl ferrolb explain -n shop svc/api"
    );
    let verdict = judged(with("foreign_status"));
    assert!(verdict.is_well());
    assert_eq!(verdict.notes.len(), 1);
}

#[test]
fn a_leader_that_does_not_answer_is_named() {
    let said = problem(|picture| {
        let status = picture.controller.as_mut().unwrap();
        status.leading = false;
        status.leader = Some("c2".to_owned());
        status.services.clear();
    });
    assert!(
        said.contains("the controller that leads, c2, does not answer"),
        "{said}"
    );
}

#[test]
fn two_versions_are_a_note_until_the_rollout_stands_still() {
    let mixed = |minutes: i64, change: fn(&mut Heard)| {
        judged(move |heard| {
            let started = now() - jiff::SignedDuration::from_mins(minutes);
            heard.daemons[2].started = Some(started);
            change(heard);
        })
    };
    let images: fn(&mut Heard) = |heard| heard.daemons[2].image = "speaker:0.2.0".to_owned();
    let versions: fn(&mut Heard) = |heard| speaker(heard, 1).version = "0.2.0".to_owned();
    for change in [images, versions] {
        let verdict = mixed(9, change);
        assert!(verdict.is_well());
        assert_eq!(verdict.notes.len(), 1);
        let verdict = mixed(11, change);
        assert_eq!(verdict.problems.len(), 1);
        assert!(
            verdict.problems[0].contains(", for 11m: kubectl get pods"),
            "{verdict:?}"
        );
    }
}

#[test]
fn a_node_that_is_cut_off_holds_all_others_dead_and_is_not_believed() {
    let verdict = judged(|heard| {
        let live = ["n1", "n2"];
        for index in [0, 1] {
            let members = &mut speaker(heard, index).members;
            members.extend(live.map(|node| member(node, "live", None, None)));
            members.push(member("n3", "gone", Some("node"), None));
        }
        let alone = speaker(heard, 2);
        alone.members.push(member("n3", "live", None, None));
        alone
            .members
            .extend(live.map(|node| member(node, "gone", Some("node"), None)));
        // It goes on announcing what it had, and nobody hears it.
        alone.vips[0].announced_here = true;
    });
    assert_eq!(verdict.problems.len(), 1, "{verdict:?}");
    assert!(verdict.problems[0].starts_with("n3 is held dead (node, n1, n2 say so)"));
}

#[test]
fn of_a_speaker_that_is_silent_to_us_alone_others_tell_what_it_announces() {
    let verdict = judged(|heard| {
        for index in [1, 2] {
            speaker(heard, index).vips[0].owner = Some("n1".to_owned());
        }
        heard.speakers[0].1 = Err(anyhow!("no answer within 2 s"));
    });
    assert_eq!(verdict.problems, [""; 0]);
    assert_eq!(verdict.unknown.len(), 1, "{verdict:?}");
    // One of many that were not asked: nothing is unknown.
    let verdict = judged(|heard| {
        for index in [1, 2] {
            speaker(heard, index).vips[0].owner = Some("n1".to_owned());
        }
        drop(heard.speakers.remove(0));
    });
    assert_eq!(verdict, Judged::default());
}

#[test]
fn a_pod_on_a_dead_node_and_a_controller_there_are_not_told_twice() {
    let verdict = judged(|heard| {
        for index in [1, 2] {
            let members = &mut speaker(heard, index).members;
            members.push(member("n1", "gone", Some("node"), None));
        }
        heard.daemons[0].ready = false;
        heard.daemons[1].ready = false;
        heard.controller = Err(anyhow!("no answer within 2 s"));
        heard.leaders.clear();
        heard.speakers[0].1 = Err(anyhow!("no answer within 2 s"));
    });
    assert_eq!(verdict.unknown, [""; 0]);
    assert_eq!(verdict.problems.len(), 2, "{verdict:?}");
    assert!(verdict.problems[0].starts_with("n1 is held dead"));
    assert!(verdict.problems[1].starts_with("every controller is on a dead node"));
}

/// The only problem about the controllers, with an Event on the configuration two minutes ago.
fn of_controller(change: impl FnOnce(&mut ferrolb_core::report::ControllerStatus)) -> String {
    problem(|heard| {
        let mut told = vec![
            event("ConfigRefused", None, 900, 900),
            event("ConfigAccepted", None, 600, 600),
            event("ConfigRefused", None, 30, 120),
        ];
        for event in &mut told {
            event.kind = "ConfigMap".to_owned();
            event.namespace = "metallb-system".to_owned();
            event.name = "config".to_owned();
        }
        let of_pool = told.iter().cloned().map(|event| Happening {
            kind: "IPAddressPool".to_owned(),
            name: "lan".to_owned(),
            ..event
        });
        let of_pool: Vec<_> = of_pool.collect();
        heard.events = Ok([told, of_pool].concat());
        change(heard.controller.as_mut().unwrap());
    })
}

#[test]
fn what_is_wrong_with_the_controller_and_the_configuration_is_said_with_the_next_command() {
    let explained = |reason: &str| {
        Some(ferrolb_core::report::Explained {
            reason: reason.into(),
            message: "why".to_owned(),
        })
    };
    let logs = |status: &mut ferrolb_core::report::ControllerStatus| {
        status.instance = "c".to_owned();
    };
    let said = of_controller(|status| {
        logs(status);
        status.leading = false;
        status.leader = None;
        status.services.clear();
    });
    assert_eq!(
        said,
        "no controller gives addresses at the moment: kubectl logs -n metallb-system c"
    );
    let said = of_controller(|status| {
        logs(status);
        status.blockers = vec!["services: not listed yet".to_owned()];
    });
    assert_eq!(
        said,
        "services: not listed yet: kubectl logs -n metallb-system c"
    );
    let said = of_controller(|status| status.configuration.problem = explained("config_refused"));
    assert_eq!(
        said,
        "config_refused: why, for 2m: kubectl describe configmap -n metallb-system config"
    );
    let said = of_controller(|status| status.configuration.problem = explained("not_configured"));
    assert_eq!(
        said,
        "not_configured: why: kubectl ferrolb explain not_configured"
    );
    let said = of_controller(|status| {
        status.configuration.from = Some("objects".to_owned());
        let object = crate::fixtures::object_status("lan", "pool_overlaps", true, true);
        status.configuration.objects.push(object);
    });
    assert!(
        said.ends_with(", for 2m: kubectl describe ipaddresspool -n metallb-system lan"),
        "{said}"
    );
}

#[test]
fn a_speaker_that_waits_or_is_silent_is_said_with_since_when_and_its_pod() {
    let unready = |heard: &mut Heard| {
        heard.daemons[2].ready = false;
        heard.daemons[2].ready_since = Some(now() - jiff::SignedDuration::from_secs(90));
    };
    let waits = judged(|heard| {
        unready(heard);
        speaker(heard, 1).waiting_for = Some("the list of Nodes".to_owned());
    });
    assert_eq!(
        waits.problems[0],
        "the speaker of n2 announces nothing new yet: it waits for the list of Nodes, for 90s: \
         kubectl logs -n metallb-system s2"
    );
    let silent = judged(|heard| {
        unready(heard);
        heard.speakers[1].1 = Err(anyhow!("no answer within 2 s"));
    });
    assert_eq!(
        silent.unknown,
        [
            "the speaker of n2 does not answer, so what it announces is not known: no answer within \
             2 s, for 90s: kubectl describe pod -n metallb-system s2"
        ]
    );
}

#[test]
fn since_when_a_node_is_not_heard_or_hears_nobody_is_said() {
    let said = problem(|heard| unheard(heard, &[("n1", "n2"), ("n1", "n3")]));
    assert!(said.starts_with("n1: peer_blocked: "), "{said}");
    assert!(said.contains(", for 3s: let UDP 7946 "), "{said}");
    let said = problem(|heard| {
        // The others hear each other, and itself still.
        unheard(heard, &[]);
        let alone = speaker(heard, 1);
        alone.isolated = true;
        let others = ["n1", "n3"].map(|node| member(node, "gone", Some("node"), None));
        alone.members = [vec![crate::fixtures::heard("n2")], others.into()].concat();
    });
    assert!(said.starts_with("n2: isolated: "), "{said}");
    assert!(said.contains(", for 3s: "), "{said}");
}

#[test]
fn of_every_reason_that_may_stand_against_a_node_it_is_said_what_to_do() {
    let known = Reason::ALL.iter().map(|one| one.as_str());
    for reason in known.chain(["brand_new"]) {
        let next = of_node("n1", reason).next;
        assert!(next.is_some_and(|next| !next.is_empty()), "{reason}");
    }
}

#[test]
fn two_that_say_to_lead_are_a_problem() {
    let said = problem(|heard| heard.leaders.push("c2".to_owned()));
    assert!(
        said.starts_with("several controllers say that they lead"),
        "{said}"
    );
}

fn event(reason: &str, node: Option<&str>, seconds_ago: i64, first: i64) -> Happening {
    let time = |seconds| Some(now() - jiff::SignedDuration::from_secs(seconds));
    Happening {
        time: time(seconds_ago),
        first: time(first),
        kind: "Service".to_owned(),
        namespace: "shop".to_owned(),
        name: "api".to_owned(),
        r#type: "Normal".to_owned(),
        reason: reason.to_owned(),
        message: String::new(),
        node: node.map(str::to_owned),
        version: 0,
    }
}

#[test]
fn events_tell_since_when() {
    let said = problem(|heard| {
        heard.events = Ok(vec![
            event("AllocationFailed", None, 900, 900),
            event("IPAllocated", None, 600, 600),
            event("AllocationFailed", None, 30, 150),
        ]);
        let status = heard.controller.as_mut().unwrap();
        status.services[0].addresses.clear();
        status.services[0].problem = Some(crate::fixtures::exhausted());
    });
    assert_eq!(
        said,
        "pool_exhausted: shop/api without an address, for 2m: kubectl ferrolb explain -n shop svc/api"
    );
    let said = problem(|heard| {
        for index in 0..3 {
            vip_reason(heard, index, "address_conflict");
        }
        heard.events = Ok(vec![
            event("nodeAssigned", Some("n1"), 400, 400),
            event("notAnnounced", None, 90, 100),
        ]);
    });
    assert!(
        said.contains(", for 100s: kubectl ferrolb explain 192.168.64.240"),
        "{said}"
    );
    let since = |events: Vec<Happening>| {
        let mut heard = healthy();
        heard.events = Ok(events);
        let picture = Picture::of(heard, now());
        picture.services[0]
            .since
            .map(|time| ago::column(Some(time), now()))
    };
    let by = |node: &str, ago| event("nodeAssigned", Some(node), ago, ago);
    assert_eq!(
        since(vec![by("n2", 300), by("n1", 60)]).as_deref(),
        Some("60s")
    );
    // The newest word is of another node: what came since was not told.
    assert_eq!(since(vec![by("n1", 300), by("n2", 60)]), None);
}

#[test]
fn what_else_cannot_be_read_leaves_the_verdict_as_it_is() {
    let verdict = judged(|heard| heard.events = Err(anyhow!("events is forbidden")));
    assert!(verdict.is_well());
    assert_eq!(
        verdict.notes,
        ["Events could not be read, so some columns are empty: events is forbidden"]
    );
}

#[test]
fn a_ready_node_without_a_speaker_is_a_note() {
    let facts = |name: &str| {
        let node = json!({
            "metadata": { "name": name },
            "status": { "conditions": [{ "type": "Ready", "status": "True" }] },
        });
        let node = serde_json::from_value(node).unwrap();
        NodeFacts {
            view: ferrolb_core::k8s::node_view(&node).unwrap(),
            ready: true,
        }
    };
    let verdict = judged(|heard| heard.nodes = Ok(["n1", "n4"].map(facts).into()));
    assert!(verdict.is_well());
    assert!(
        verdict.notes[0].starts_with("no speaker on n4, so"),
        "{verdict:?}"
    );
}

#[test]
fn pods_out_of_rotation_are_a_problem_and_so_is_why_those_of_a_dead_node_stay() {
    let with = |dead: ferrolb_core::dead::DeadNodesStatus| {
        judged(|heard| heard.controller.as_mut().unwrap().dead_nodes = Some(dead)).problems
    };
    let out = with(found_dead("removed", None)).remove(0);
    assert!(
        out.starts_with(
            "2 pods of n2 are out of rotation, because n1, n3 find it dead; 1 more stay, for "
        ),
        "{out}"
    );
    assert!(out.ends_with("kubectl ferrolb explain node/n2"), "{out}");
    for state in ["left", "waiting"] {
        let blind = with(found_dead(state, Some("look_blind"))).remove(0);
        assert!(
            blind.starts_with("n2: look_blind: the controller"),
            "{blind}"
        );
    }
    assert_eq!(with(found_dead("waiting", None)), [""; 0]);
    assert_eq!(with(found_dead("restored", None)), [""; 0]);
    let no_right = ferrolb_core::dead::DeadNodesStatus {
        reason: Some("no_right_to_pods".to_owned()),
        nodes: Vec::new(),
    };
    let said = with(no_right).remove(0);
    assert!(
        said.starts_with("dead nodes: no_right_to_pods: deadNodes.endpoints is remove"),
        "{said}"
    );
}
