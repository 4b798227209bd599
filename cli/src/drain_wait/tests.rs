use anyhow::anyhow;
use serde_json::json;

use super::*;
use crate::fixtures::{WEB, announcing, as_data, blocked, passing_on, printed, said_of, vouching};
use crate::output::Output;

const IDLE: Duration = Duration::from_secs(60);

fn n1(unschedulable: bool) -> NodeView {
    let node = json!({ "metadata": { "name": "n1" }, "spec": { "unschedulable": unschedulable } });
    node_view(&serde_json::from_value(node).unwrap()).unwrap()
}

/// n1 announces these.
fn n1_announces(addresses: &[&str]) -> Said {
    announcing(addresses)
}

/// n1 has given its address to n2, which keeps connections for it.
fn moved(kept: &[(&str, &str, u64)]) -> Said {
    let mut said = n1_announces(&[]);
    said.extend(said_of(WEB.address, &[("n2", None)]));
    for (_, told) in &mut said {
        told.as_mut().unwrap().keeping = Some(passing_on(&[]));
    }
    said[1].1.as_mut().unwrap().keeping = Some(passing_on(kept));
    said
}

fn of(said: &Said) -> Answer {
    judged(&n1(true), said, Cordon::Move, IDLE).unwrap()
}

fn code(answer: &Answer) -> String {
    format!("{:?}", answer.exit_code())
}

#[test]
fn it_waits_as_long_as_packets_are_passed_on_to_the_node_and_no_longer() {
    let waits = of(&moved(&[(WEB.address, "n1", 1_234)]));
    assert!(!waits.done);
    assert_eq!(code(&waits), code_of(NOT_DONE));
    assert_eq!(
        waits.progress(),
        "waiting for n1 (0s): open connections of 1 address are passed on to it (last packet 7s ago, 9m left)"
    );
    insta::assert_snapshot!(printed(|out| text(out, &waits)));
    insta::assert_snapshot!(as_data(Output::Yaml, &waits));
    // What goes through another node is another matter.
    for ended in [moved(&[]), moved(&[(WEB.address, "n3", 5)])] {
        let ended = of(&ended);
        assert!(ended.done, "{ended:?}");
        assert_eq!(code(&ended), code_of(0));
        let said = printed(|out| text(out, &ended));
        assert_eq!(said, "nothing goes through n1 any more\n");
    }
}

fn code_of(number: u8) -> String {
    format!("{:?}", ExitCode::from(number))
}

#[test]
fn connections_that_have_been_silent_for_long_are_not_waited_for() {
    let said = moved(&[(WEB.address, "n1", 1_234)]);
    let idle = |seconds| judged(&n1(true), &said, Cordon::Move, Duration::from_secs(seconds));
    assert!(!idle(8).unwrap().done, "7 s ago");
    let done = idle(7).unwrap();
    assert!(done.done);
    let silent = "192.168.64.240: none of its old connections has sent anything for 7s";
    assert_eq!(done.notes, [silent]);
}

#[test]
fn addresses_that_have_not_moved_yet_are_waited_for_unless_a_cordon_moves_nothing() {
    let said = n1_announces(&[WEB.address]);
    let waits = of(&said);
    assert!(!waits.done);
    assert!(waits.progress().ends_with("it announces 1 address"));
    let shown = printed(|out| text(out, &waits));
    let line = "n1 still announces 192.168.64.240 (why: kubectl ferrolb plan drain n1)";
    assert!(shown.contains(line), "{shown}");
    let stays = judged(&n1(true), &said, Cordon::Stay, IDLE).unwrap();
    assert!(stays.done);
    assert!(
        stays.notes[1].contains("they move when it shuts down"),
        "{stays:?}"
    );
}

#[test]
fn a_node_that_nobody_drains_is_refused_with_what_to_do() {
    let said = n1_announces(&[WEB.address]);
    let error = judged(&n1(false), &said, Cordon::Move, IDLE).unwrap_err();
    assert_eq!(
        error.to_string(),
        "n1 is not cordoned and announces 1 address: run kubectl drain n1 first"
    );
    // Its addresses were moved away one by one.
    assert!(
        judged(&n1(false), &moved(&[]), Cordon::Move, IDLE)
            .unwrap()
            .done
    );
}

#[test]
fn while_the_value_is_off_it_says_so_and_waits_for_the_addresses_alone() {
    let mut said = n1_announces(&[]);
    said.extend(said_of(WEB.address, &[("n2", None)]));
    let answer = of(&said);
    assert!(answer.done);
    assert!(answer.notes[0].starts_with("speaker.keepConnections is off"));
}

#[test]
fn a_speaker_that_is_silent_may_pass_something_on_unless_its_node_is_dead() {
    let silent = || Err(anyhow!("no answer within 2 s"));
    let mut said = moved(&[]);
    said.push(("n3".to_owned(), silent()));
    let unknown = of(&said);
    assert_eq!(unknown.unknown, ["n3"]);
    assert_eq!(code(&unknown), code_of(NOT_KNOWN));
    let mut said = vouching("n2", &[("n3", "gone")]);
    said.push(("n3".to_owned(), silent()));
    assert!(of(&said).done);
    let mut said = vouching("n2", &[]);
    said[0].1.as_mut().unwrap().members.push(blocked("n3"));
    said.push(("n3".to_owned(), silent()));
    assert_eq!(of(&said).unknown, ["n3"]);
    let mut said = vouching("n2", &[("n3", "lost")]);
    said.push(("n3".to_owned(), silent()));
    assert!(!of(&said).done);
}

#[test]
fn what_a_node_has_that_cannot_speak_for_itself_the_others_tell() {
    let mut said = said_of(WEB.address, &[("n2", Some("not_owner"))]);
    said[0].1.as_mut().unwrap().vips[0].owner = Some("n1".to_owned());
    said.push(("n1".to_owned(), Err(anyhow!("no answer within 2 s"))));
    let answer = of(&said);
    assert!(!answer.done);
    assert_eq!(answer.announces, [WEB.address.parse::<IpAddr>().unwrap()]);
    assert_eq!(answer.unknown, [""; 0], "it passes nothing on to itself");
}
