//! What a speaker says, and when.

use super::*;

fn found(node: &str, process: Process) -> Found {
    Found {
        node: node.to_owned(),
        process,
        with: "n3".to_owned(),
        since: clock(0),
    }
}

/// The entry that is to be written, as words; it is written.
fn told(ballot: &mut Ballot, now: Instant) -> Option<String> {
    let entry = ballot.poll_entry(now)?;
    ballot.handle_written(entry.clone());
    let Some(text) = entry.0 else {
        return Some("nothing".to_owned());
    };
    let votes = decode("n1", &text).unwrap();
    let words = votes
        .iter()
        .map(|vote| format!("{} {:?}", vote.node, vote.opinion));
    Some(words.collect::<Vec<_>>().join(", "))
}

fn later(boots: u64, incarnations: u32) -> Option<Process> {
    Some(Process {
        boot: LIFE.boot + boots,
        incarnation: LIFE.incarnation + incarnations,
    })
}

#[test]
fn a_death_is_told_and_taken_back_when_the_same_process_is_heard() {
    let mut ballot = Ballot::default();
    assert_eq!(
        (ballot.poll_entry(at(0)), ballot.poll_timeout()),
        (None, None)
    );
    ballot.handle_found(found("n2", LIFE), at(600));
    assert_eq!(told(&mut ballot, at(600)).as_deref(), Some("n2 Dead"));
    assert_eq!(told(&mut ballot, at(601)), None, "once");
    // What was known of it before is no sign of life.
    ballot.handle_alive("n2", Some(LIFE), at(700));
    assert_eq!(told(&mut ballot, at(700)), None);
    ballot.handle_alive("n2", later(0, 1), at(3_000));
    ballot.handle_alive("n2", later(0, 1), at(4_000));
    assert_eq!(told(&mut ballot, at(4_000)).as_deref(), Some("n2 Heard"));
    assert_eq!(ballot.poll_timeout(), Some(at(63_000)));
    assert_eq!(told(&mut ballot, at(63_000)).as_deref(), Some("nothing"));
    assert_eq!(ballot.poll_timeout(), None);
}

#[test]
fn a_node_that_started_anew_or_was_deleted_is_spoken_of_no_more() {
    for back in [later(1, 0), None] {
        let mut ballot = Ballot::default();
        ballot.handle_found(found("n2", LIFE), at(0));
        assert_eq!(told(&mut ballot, at(0)).as_deref(), Some("n2 Dead"));
        ballot.handle_alive("n2", back, at(9_000));
        assert_eq!(told(&mut ballot, at(9_000)).as_deref(), Some("nothing"));
    }
}

#[test]
fn two_that_die_together_are_told_in_one_entry() {
    let mut ballot = Ballot::default();
    ballot.handle_found(found("n2", LIFE), at(0));
    ballot.handle_found(found("n4", LIFE), at(0));
    assert_eq!(
        told(&mut ballot, at(0)).as_deref(),
        Some("n2 Dead, n4 Dead")
    );
}

#[test]
fn a_process_dies_once_and_its_next_life_may_die_again() {
    let mut ballot = Ballot::default();
    ballot.handle_found(found("n2", LIFE), at(0));
    assert!(told(&mut ballot, at(0)).is_some());
    ballot.handle_found(found("n2", LIFE), at(50));
    assert_eq!(
        told(&mut ballot, at(50)),
        None,
        "another watcher's verdict on the same"
    );
    ballot.handle_alive("n2", later(0, 1), at(1_000));
    assert_eq!(told(&mut ballot, at(1_000)).as_deref(), Some("n2 Heard"));
    ballot.handle_found(found("n2", later(0, 1).unwrap()), at(2_000));
    assert_eq!(told(&mut ballot, at(2_000)).as_deref(), Some("n2 Dead"));
}

#[test]
fn an_entry_that_was_not_written_is_tried_again() {
    let mut ballot = Ballot::default();
    ballot.handle_found(found("n2", LIFE), at(0));
    let first = ballot.poll_entry(at(0));
    assert!(first.is_some());
    assert_eq!(ballot.poll_entry(at(1)), first);
}

#[test]
fn a_vote_that_nobody_needs_any_more_is_taken_back() {
    let mut ballot = Ballot::default();
    ballot.handle_found(found("n2", LIFE), at(0));
    assert!(told(&mut ballot, at(0)).is_some());
    assert_eq!(ballot.poll_timeout(), Some(at(600_000)));
    assert_eq!(told(&mut ballot, at(600_000)).as_deref(), Some("nothing"));
}
