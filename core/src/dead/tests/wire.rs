//! The form of an entry, and what is not one.

use super::*;
use crate::dead::vote::MOST_VOTES as MOST;

#[test]
fn what_a_speaker_writes_is_read_as_it_was_meant() {
    let votes = [
        vote("n2", LIFE, Opinion::Dead),
        vote("worker-3.example.org", LIFE, Opinion::Heard),
        vote("n4", LIFE, Opinion::Dead),
    ];
    let text = encode(votes.iter()).unwrap();
    assert_eq!(decode("n1", &text).unwrap(), votes);
    insta::assert_snapshot!(text, @r#"{"votes":[{"node":"n2","boot":7,"incarnation":1,"verdict":"node","since":"2026-11-30T00:00:00Z","with":"n9","opinion":"dead"},{"node":"worker-3.example.org","boot":7,"incarnation":1,"verdict":"node","since":"2026-11-30T00:00:00Z","with":"n9","opinion":"heard"},{"node":"n4","boot":7,"incarnation":1,"verdict":"node","since":"2026-11-30T00:00:00Z","with":"n9","opinion":"dead"}]}"#);
}

#[test]
fn an_entry_with_the_longest_names_and_the_most_votes_is_read() {
    let long = |number: usize| format!("{}{number:03}", "a".repeat(250));
    let votes: Vec<_> = (0..MOST)
        .map(|number| Vote {
            with: long(999),
            process: Process {
                boot: u64::MAX,
                incarnation: u32::MAX,
            },
            ..vote(&long(number), LIFE, Opinion::Heard)
        })
        .collect();
    let text = encode(votes.iter()).unwrap();
    assert_eq!(
        decode("n1", &text).unwrap().len(),
        MOST,
        "{} bytes",
        text.len()
    );
}

#[test]
fn what_is_not_a_speakers_entry_counts_for_nothing_and_says_why() {
    let good = encode([vote("n2", LIFE, Opinion::Dead)].iter()).unwrap();
    let one = good
        .trim_start_matches(r#"{"votes":["#)
        .trim_end_matches("]}");
    let many = format!(r#"{{"votes":[{}]}}"#, vec![one; MOST + 1].join(","));
    let twice = format!(r#"{{"votes":[{one},{one}]}}"#);
    for (text, why) in [
        ("", "not the JSON"),
        ("[]", "not the JSON"),
        (r#"{"votes":7}"#, "not the JSON"),
        (&good.replace("\"dead\"", "\"deaf\""), "not the JSON"),
        (&good.replace(":7", ":-7"), "not the JSON"),
        (&good.replace("\"n2\"", "\"n1\""), "the voter itself"),
        (&good.replace("\"n2\"", "\"\""), "not the name"),
        (&good.replace("\"n2\"", "\"n 2\\n\""), "not the name"),
        (&good.replace("n9", &"a".repeat(254)), "not the name"),
        (
            &good.replace("\"node\",\"since", "\"process\",\"since"),
            "not voted on",
        ),
        (&good.replace("2026-11-30T", "yesterday"), "since"),
        (&many, "17 votes"),
        (&twice, "two votes on node n2"),
        (&"x".repeat(20_000), "longer than"),
    ] {
        let error = decode("n1", text).unwrap_err().to_string();
        assert!(error.contains(why), "{text}: {error}");
    }
    let more = good.replace("\"with\"", "\"later\":[1],\"with\"");
    assert!(decode("n1", &more).is_ok(), "a later version may say more");
}
