use ferrolb_core::keep::shown::KeepingStatus;
use serde_json::{Value, json};

use super::*;
use crate::election::ServiceFixture;
use crate::fixtures::{WEB, as_data, passing_on, printed, unable};
use crate::output::Output;

const API: ServiceFixture<'static> = ServiceFixture { name: "api", ..WEB };
const MAIL: ServiceFixture<'static> = ServiceFixture {
    name: "mail",
    address: "192.168.64.242",
    policy: "Local",
    pods_on: &["n1", "n3"],
    asks_for: None,
};

/// A speaker that hears `live`, and says of each address why it does not announce it.
fn speaker(live: &[&str], vips: &[(&ServiceFixture<'_>, Option<&str>)]) -> SpeakerStatus {
    let member = |node: &&str| {
        json!({
            "node": node,
            "address": "192.168.64.11",
            "mac": "02:00:c0:a8:40:0b",
            "standing": "live",
            "verdict": null,
            "incarnation": 1,
            "heardMillisAgo": 20,
            "addresses": 2,
        })
    };
    let vip = |(service, reason): &(&ServiceFixture<'_>, Option<&str>)| {
        json!({
            "address": service.address,
            "services": [format!("shop/{}", service.name)],
            "owner": "n1",
            "epoch": 3,
            "announcedHere": reason.is_none(),
            "reason": reason,
        })
    };
    let members: Vec<Value> = live.iter().map(member).collect();
    let vips: Vec<Value> = vips.iter().map(vip).collect();
    serde_json::from_value(json!({
        "node": "n1",
        "version": "0.1.0",
        "waitingFor": null,
        "isolated": false,
        "members": members,
        "vips": vips,
    }))
    .unwrap()
}

fn speaker_that_says(reason: &str, service: &ServiceFixture<'_>) -> SpeakerStatus {
    speaker(&["n1"], &[(service, Some(reason))])
}

fn said(election: &Election, speaker: &SpeakerStatus, asked: &Asked) -> String {
    let answer = answer(election, "n1", speaker, asked);
    printed(|out| text(out, &answer))
}

fn goes_to(election: &Election, speaker: &SpeakerStatus, asked: &Asked) -> Option<String> {
    answer(election, "n1", speaker, asked).addresses[0]
        .to
        .clone()
}

#[test]
fn each_address_is_shown_with_where_it_goes_and_what_is_lost() {
    let election = Election::fixture("", &[&API, &MAIL]);
    let speaker = speaker(&["n1", "n2", "n3"], &[(&API, None), (&MAIL, None)]);
    insta::assert_snapshot!(said(&election, &speaker, &Asked::new()));
}

#[test]
fn a_node_that_announces_nothing_has_nothing_to_move() {
    let own = ServiceFixture {
        name: "own",
        address: "192.168.64.11",
        ..API
    };
    let election = Election::fixture("", &[&API, &own]);
    let vips = [(&API, Some("not_owner")), (&own, Some("node_address"))];
    insta::assert_snapshot!(said(&election, &speaker(&["n2"], &vips), &Asked::new()));
}

#[test]
fn an_address_that_nobody_takes_at_once_is_said() {
    let alone = ServiceFixture {
        pods_on: &["n1"],
        ..MAIL
    };
    let single = ServiceFixture {
        pods_on: &["n1"],
        ..API
    };
    let election = Election::fixture("", &[&single, &alone]);
    let speaker = speaker(&["n2", "n3"], &[(&single, None), (&alone, None)]);
    insta::assert_snapshot!(said(&election, &speaker, &Asked::new()));
}

/// By SHA-256 of `node#address` the order for .240 is n2, n3, or the other way round: whichever is
/// first is taken out.
#[test]
fn a_successor_lives_is_not_cordoned_and_has_a_link_for_the_address() {
    let election = Election::fixture("", &[&API]);
    let all = speaker(&["n2", "n3"], &[(&API, None)]);
    let first = goes_to(&election, &all, &Asked::new()).unwrap();
    let second = if first == "n2" { "n3" } else { "n2" };

    let without = speaker(&[second], &[(&API, None)]);
    assert_eq!(
        goes_to(&election, &without, &Asked::new()).as_deref(),
        Some(second)
    );

    let cordoned = Election::fixture(&first, &[&API]);
    assert_eq!(
        goes_to(&cordoned, &all, &Asked::new()).as_deref(),
        Some(second)
    );

    let says = |reason| {
        let said = speaker_that_says(reason, &API);
        Asked::from([(first.clone(), Some(said))])
    };
    assert_eq!(
        goes_to(&election, &all, &says("no_link")).as_deref(),
        Some(second)
    );
    assert_eq!(
        goes_to(&election, &all, &says("not_owner")),
        Some(first.clone())
    );
    let silent = Asked::from([(first.clone(), None)]);
    assert!(said(&election, &all, &silent).contains("does not answer"));
}

#[test]
fn between_cordoned_nodes_nothing_moves_until_the_node_stops() {
    let election = Election::fixture("n2", &[&API]);
    let speaker = speaker(&["n2"], &[(&API, None)]);
    insta::assert_snapshot!(said(&election, &speaker, &Asked::new()));
}

#[test]
fn an_address_that_was_moved_to_the_node_is_said_to_come_back() {
    let moved = ServiceFixture {
        asks_for: Some("n1"),
        ..API
    };
    let election = Election::fixture("", &[&moved]);
    let speaker = speaker(&["n2", "n3"], &[(&moved, None)]);
    insta::assert_snapshot!(said(&election, &speaker, &Asked::new()));
    // What the others say of themselves until then.
    let says = |node: &str| {
        (
            node.to_owned(),
            Some(speaker_that_says("other_node_chosen", &moved)),
        )
    };
    let asked = Asked::from([says("n2"), says("n3")]);
    assert!(goes_to(&election, &speaker, &asked).is_some());
}

#[test]
fn addresses_that_a_preferred_node_takes_back_are_said_to_come_back() {
    let speaker = speaker(&["n2", "n3"], &[(&API, None), (&MAIL, None)]);
    let notes = |election: &Election| {
        let answer = answer(election, "n1", &speaker, &Asked::new());
        answer.notes.join("\n")
    };
    let said = "192.168.64.240, 192.168.64.242 return, one after another, to n1 once that has been well \
                for 30 s, because it is preferred (preferred-nodes)";
    for cordoned in ["", "n1"] {
        let election = Election::fixture(cordoned, &[&API, &MAIL]).preferring("n1");
        assert_eq!(notes(&election), said);
    }
    let election = Election::fixture("", &[&API, &MAIL]).preferring("n2");
    assert_eq!(notes(&election), "");
}

/// It is no better than a cordoned node, and has it all the same, after 30 s.
#[test]
fn a_preferred_node_takes_what_a_cordoned_one_would_keep() {
    let both = Election::fixture("n2", &[&API]);
    let speaker = speaker(&["n2"], &[(&API, None)]);
    let hands_over = |election: &Election| {
        answer(election, "n1", &speaker, &Asked::new()).addresses[0].hands_over
    };
    assert!(!hands_over(&both));
    assert!(hands_over(&both.preferring("n2")));
}

#[test]
fn programs_get_the_same_as_data() {
    let election = Election::fixture("", &[&API]);
    let speaker = speaker(&["n2"], &[(&API, None)]);
    let answer = answer(&election, "n1", &speaker, &Asked::new());
    insta::assert_snapshot!(as_data(Output::Yaml, &answer));
}

/// The successor and what its keeper is like.
fn kept_by(successor: &str, keeping: Option<KeepingStatus>) -> Asked {
    let mut said = speaker_that_says("not_owner", &API);
    said.keeping = keeping;
    Asked::from([(successor.to_owned(), Some(said))])
}

#[test]
fn where_connections_are_kept_it_is_said_for_how_long_and_by_whom() {
    let election = Election::fixture("", &[&API, &MAIL]);
    let speaker = speaker(&["n1", "n2", "n3"], &[(&API, None), (&MAIL, None)]);
    insta::assert_snapshot!(said(
        &election,
        &speaker,
        &kept_by("n3", Some(passing_on(&[])))
    ));
    let answer = answer(
        &election,
        "n1",
        &speaker,
        &kept_by("n3", Some(passing_on(&[]))),
    );
    let kept: Vec<_> = answer
        .addresses
        .iter()
        .map(|one| one.kept_seconds)
        .collect();
    assert_eq!(kept, [Some(600), Some(600)]);
}

#[test]
fn where_a_keeper_cannot_connections_are_reset_and_why_is_said() {
    let election = Election::fixture("", &[&API]);
    let speaker = speaker(&["n3"], &[(&API, None)]);
    let shown = said(&election, &speaker, &kept_by("n3", Some(unable())));
    assert!(
        shown.contains("connections through n1 are reset"),
        "{shown}"
    );
    let why = "n3 cannot keep open connections: the keeper cannot be reached: no such file";
    assert!(shown.contains(why), "{shown}");
    // While the value is off, or the speaker is silent, nothing is promised.
    for asked in [kept_by("n3", None), Asked::from([("n3".to_owned(), None)])] {
        let shown = said(&election, &speaker, &asked);
        assert!(
            shown.contains("connections through n1 are reset"),
            "{shown}"
        );
        assert!(!shown.contains("kept"), "{shown}");
    }
}

#[test]
fn connections_that_the_drained_node_keeps_for_another_are_reset_unless_they_go_back_there() {
    let election = Election::fixture("", &[&API]);
    let lost = |from: &str| {
        let mut speaker = speaker(&["n3"], &[(&API, None)]);
        speaker.keeping = Some(passing_on(&[(API.address, from, 3)]));
        let asked = kept_by("n3", Some(passing_on(&[])));
        said(&election, &speaker, &asked).contains(&format!(
            "192.168.64.240: open connections that n1 passes on to {from} are reset when the address moves again"
        ))
    };
    assert!(lost("n2"));
    assert!(!lost("n3"), "n3 has them itself");
}

#[test]
fn where_a_cordon_moves_nothing_an_address_stays_until_its_pods_end_or_the_node_shuts_down() {
    let mut election = Election::fixture("", &[&API, &MAIL]);
    election.cordon = Cordon::Stay;
    let speaker = speaker(&["n2", "n3"], &[(&API, None), (&MAIL, None)]);
    let answer = answer(&election, "n1", &speaker, &Asked::new());
    let hands_over: Vec<_> = answer.addresses.iter().map(|one| one.hands_over).collect();
    assert_eq!(
        hands_over,
        [false, true],
        "Cluster; Local, which leaves with its pod"
    );
    assert_eq!(answer.cordon, "stay");
    insta::assert_snapshot!(said(&election, &speaker, &Asked::new()));
}
