//! Whom to believe.

use super::*;

/// Votes in short: `n1:n2 n3:n2` say that n2 is dead; `n1:n2+` has heard it.
fn votes(text: &str) -> BTreeMap<String, Vec<Vote>> {
    let mut all: BTreeMap<String, Vec<Vote>> = BTreeMap::new();
    for part in text.split_whitespace() {
        let (voter, about) = part.split_once(':').unwrap();
        let opinion = match about.chars().last() {
            Some('+') => Opinion::Heard,
            _ => Opinion::Dead,
        };
        let about = about.trim_end_matches('+');
        let votes = all.entry(voter.to_owned()).or_default();
        votes.push(vote(about, LIFE, opinion));
    }
    all
}

#[test]
fn a_death_needs_two_voters_that_count_and_few_enough_deaths() {
    let not_confirmed = Some(Reason::DeathNotConfirmed);
    let too_many = Some(Reason::TooManyDead);
    for (count, unready, said, about, reason) in [
        (3, "", "n1:n2 n3:n2", "n2", None),
        (3, "", "n1:n2", "n2", not_confirmed),
        (3, "", "n1:n2 n3:n2+", "n2", not_confirmed),
        // Whoever is no Node, or not ready, or dead itself, does not count.
        (3, "", "n1:n2 n7:n2", "n2", not_confirmed),
        (6, "n3", "n1:n2 n3:n2", "n2", not_confirmed),
        (9, "", "n1:n2 n3:n2 n4:n3 n5:n3", "n2", not_confirmed),
        (9, "", "n1:n2 n3:n2 n4:n3 n5:n3", "n3", None),
        // Each pair accuses one of the other.
        (9, "", "n1:n3 n2:n3 n3:n1 n4:n1", "n3", not_confirmed),
        (9, "", "n1:n3 n2:n3 n3:n1 n4:n1", "n1", not_confirmed),
        // One liar alone disqualifies nobody.
        (9, "", "n1:n2 n3:n2 n9:n1", "n2", None),
        // Two nodes cannot confirm a death, whoever says so.
        (2, "", "n1:n2 n3:n2", "n2", not_confirmed),
        // A third, at least one.
        (4, "", "n3:n1 n4:n1 n3:n2 n4:n2", "n1", too_many),
        (5, "", "n3:n1 n4:n1 n3:n2 n4:n2", "n2", too_many),
        (6, "", "n3:n1 n4:n1 n3:n2 n4:n2", "n2", None),
        (
            9,
            "",
            "n5:n1 n6:n1 n5:n2 n6:n2 n5:n3 n6:n3 n5:n4 n6:n4",
            "n1",
            too_many,
        ),
        // One liar alone spares nobody.
        (4, "", "n3:n1 n4:n1 n3:n2", "n1", None),
        // Fewer than half, with those that the API server itself sees as not ready.
        (4, "n2", "n3:n1 n4:n1", "n1", too_many),
        (5, "n2", "n3:n1 n4:n1", "n1", None),
        (3, "n2", "n1:n2 n3:n2", "n2", None),
    ] {
        let mut nodes = nodes(count);
        for name in unready.split_whitespace() {
            nodes.get_mut(name).unwrap().ready = false;
        }
        let verdicts = judge(&nodes, &votes(said));
        let verdict = &verdicts[&(about.to_owned(), LIFE)];
        assert_eq!(
            verdict.reason, reason,
            "{count} nodes, {unready} unready, {said}: {about}"
        );
        let mut all = nodes.keys();
        assert!(
            verdict.by.iter().all(|voter| all.any(|name| name == voter)),
            "{said}"
        );
    }
}

#[test]
fn votes_on_two_lives_of_a_process_do_not_add_up_and_the_first_word_counts_as_the_time() {
    let next = Process {
        incarnation: 2,
        ..LIFE
    };
    let mut said = votes("n1:n2 n3:n2 n4:n2");
    said.get_mut("n1").unwrap()[0].process = next;
    said.get_mut("n3").unwrap()[0].since = clock(-3);
    let verdicts = judge(&nodes(5), &said);
    let of = |process| &verdicts[&("n2".to_owned(), process)];
    assert_eq!(of(next).reason, Some(Reason::DeathNotConfirmed));
    assert_eq!(of(LIFE).reason, None);
    assert_eq!(of(LIFE).since, Some(clock(-3)));
    assert_eq!(of(LIFE).by, ["n3", "n4"]);
}

#[test]
fn a_node_that_does_not_exist_cannot_be_dead() {
    assert_eq!(judge(&nodes(3), &votes("n1:n8 n3:n8")), BTreeMap::new());
}
