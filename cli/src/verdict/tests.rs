use anyhow::anyhow;
use serde_json::json;

use super::*;
use crate::fixtures::{announcing, controller, said_of};

const ADDRESS: &str = "192.168.64.240";

/// A controller, three speakers, and an address that n1 announces.
fn healthy() -> Picture {
    let mut status = controller();
    status.services.truncate(1);
    let mut speakers = announcing(&[ADDRESS]);
    speakers.extend(said_of(
        ADDRESS,
        &[("n2", Some("not_owner")), ("n3", Some("not_owner"))],
    ));
    Picture {
        daemons: vec![
            Daemon::fixture(Component::Controller, "c", "n1"),
            Daemon::fixture(Component::Speaker, "s1", "n1"),
            Daemon::fixture(Component::Speaker, "s2", "n2"),
            Daemon::fixture(Component::Speaker, "s3", "n3"),
        ],
        controller: Ok(status),
        speakers,
    }
}

fn judged(change: impl FnOnce(&mut Picture)) -> Verdict {
    let mut picture = healthy();
    change(&mut picture);
    of(&picture)
}

fn speaker(picture: &mut Picture, index: usize) -> &mut SpeakerStatus {
    picture.speakers[index].1.as_mut().unwrap()
}

fn vip_reason(picture: &mut Picture, index: usize, reason: &str) {
    let vip = &mut speaker(picture, index).vips[0];
    vip.announced_here = false;
    vip.reason = Some(reason.into());
}

fn member(node: &str, standing: &str, verdict: Option<&str>, reason: Option<&str>) -> MemberStatus {
    serde_json::from_value(json!({
        "node": node, "address": "192.168.64.13", "mac": "02:00:00:00:00:0d", "standing": standing,
        "verdict": verdict, "incarnation": 1, "heardMillisAgo": 3_200, "addresses": 0,
        "reason": reason,
    }))
    .unwrap()
}

/// The only problem, and nothing else.
fn problem(change: impl FnOnce(&mut Picture)) -> String {
    let verdict = judged(change);
    assert_eq!(verdict.problems.len(), 1, "{verdict:?}");
    assert_eq!(verdict.unknown, [""; 0]);
    verdict.problems[0].clone()
}

#[test]
fn where_each_address_is_announced_once_all_is_well() {
    let verdict = judged(|_| {});
    assert_eq!(verdict, Verdict::default());
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
        "n3 is held dead, last heard 3 s ago (node, n1, n2 say so): see the node and its network, then its \
         speaker's pod"
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
        "it is unknown who announces 1 addresses, because not every speaker answered"
    );
}

#[test]
fn an_address_that_nobody_announces_is_a_problem_unless_it_is_silent_on_purpose() {
    let all = |picture: &mut Picture, reason: &str| {
        for index in 0..3 {
            vip_reason(picture, index, reason);
        }
    };
    let said = problem(|picture| all(picture, "address_conflict"));
    assert!(
        said.starts_with("announced by nobody: 192.168.64.240 (address_conflict: "),
        "{said}"
    );
    for silent in ["no_endpoint", "bgp_not_announced", "address_outside_pools"] {
        let verdict = judged(|picture| all(picture, silent));
        assert!(verdict.is_well(), "{silent}");
        assert_eq!(verdict.notes.len(), 1);
    }
    let said = problem(|picture| all(picture, "not_advertised"));
    assert!(said.contains("(not_advertised: "), "{said}");
    assert_eq!(
        judged(|picture| all(picture, "node_address")),
        Verdict::default()
    );
    let said = problem(|picture| {
        for index in 0..3 {
            speaker(picture, index).vips.clear();
        }
    });
    assert!(said.contains("no speaker knows about them"), "{said}");
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
    for reason in ["peer_blocked", "kernel_silent", "link_silent"] {
        let said = problem(|picture| {
            let members = &mut speaker(picture, 0).members;
            members.push(member("n3", "live", None, Some(reason)));
        });
        assert!(said.starts_with(&format!("n3: {reason}: ")), "{said}");
    }
    let said = problem(|picture| vip_reason(picture, 1, "kube_proxy_unhealthy"));
    assert!(said.starts_with("n2: kube_proxy_unhealthy: "), "{said}");
    let said = problem(|picture| speaker(picture, 1).isolated = true);
    assert!(said.starts_with("n2: isolated: "), "{said}");
    let said =
        problem(|picture| speaker(picture, 1).waiting_for = Some("the list of Nodes".to_owned()));
    assert!(said.contains("it waits for the list of Nodes"), "{said}");
}

#[test]
fn a_service_with_a_problem_is_named_also_if_it_has_an_address() {
    let with = |reason: &str| {
        let reason = reason.into();
        move |picture: &mut Picture| {
            let status = picture.controller.as_mut().unwrap();
            status.services[0].problem = Some(ferrolb_core::report::Explained {
                reason,
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
fn several_images_are_a_note() {
    let verdict = judged(|picture| picture.daemons[2].image = "speaker:0.2.0".to_owned());
    assert!(verdict.is_well());
    assert_eq!(verdict.notes.len(), 1);
}
