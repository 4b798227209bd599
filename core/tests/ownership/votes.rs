//! D1 to D5: who says that a node is dead. Two or more where it is, and nobody who lives on the small side of a
//! network that was cut, however that came about.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ferrolb_core::ownership::{CALM, FAST, Leaving, NodeId, Settings};

use crate::faults::Fault;
use crate::figures::vips_for;
use crate::network::Station;
use crate::world::{World, ms};
use crate::{rings, seeds};

/// The default of `deadNodes.after`.
pub(crate) const VOTING: Settings = Settings {
    votes_after: Some(ms(500)),
    ..FAST
};
/// A vote comes by then: found within 0.12 s, or within 0.4 s more where witnesses died as well.
const BY_THEN: Duration = ms(1_200);

/// Voters by whom they vote on.
fn votes(world: &World) -> BTreeMap<Station, BTreeSet<Station>> {
    let mut all: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for (&(node, ..), voters) in &world.votes {
        let of_node = all.entry(world.station(node)).or_default();
        of_node.extend(voters);
    }
    all
}

fn assert_no_votes(world: &World, what: &str) {
    assert!(world.votes.is_empty(), "{what}: {:?}", votes(world));
    world.assert_sound(0);
}

fn settled(hosts: usize, seed: u64, settings: &Settings) -> World {
    World::settled(hosts, vips_for(hosts), seed, settings)
}

/// The client is with the first.
fn split(segments: &[u8]) -> Fault {
    let client = segments.first().copied();
    Fault::Split(segments.iter().copied().chain(client).collect())
}

#[test]
fn a_nodes_death_has_two_voters_within_a_second_and_few_more() {
    for settings in [&VOTING, &at_once(&FAST)] {
        for (hosts, seed) in rings([3, 4, 10], 10) {
            let mut world = settled(hosts, seed, settings);
            let dead = world.random.index(hosts);
            world.inflict(Fault::Die(dead));
            world.run(ms(800));
            let votes = votes(&world);
            let what = format!("N = {hosts}, seed {seed}: {votes:?}");
            assert_eq!(world.votes.len(), 1, "{what}: one process died");
            // Two watchers, with two or three witnesses each.
            let few = (2..=6).contains(&votes[&dead].len()) && !votes[&dead].contains(&dead);
            assert!(few, "{what}");
            world.assert_sound(seed);
        }
    }
}

fn at_once(settings: &Settings) -> Settings {
    Settings {
        votes_after: Some(ms(0)),
        ..settings.clone()
    }
}

#[test]
fn a_vote_waits_for_half_a_second_of_silence_or_as_long_as_was_asked_for() {
    for (after, not_before, by) in [(0, 400, 620), (500, 500, 720), (3_000, 3_000, 3_220)] {
        for seed in seeds(5) {
            let settings = Settings {
                votes_after: Some(ms(after)),
                ..FAST
            };
            let mut world = settled(3, seed, &settings);
            world.inflict(Fault::Die(1));
            world.run(ms(not_before));
            assert_no_votes(&world, &format!("after {after} ms, seed {seed}"));
            world.run(ms(by - not_before));
            assert_eq!(votes(&world)[&1].len(), 2, "after {after} ms, seed {seed}");
        }
    }
}

#[test]
fn with_the_calm_preset_a_death_has_two_voters_as_well() {
    let calm = Settings {
        votes_after: Some(ms(500)),
        ..CALM
    };
    for seed in seeds(5) {
        let mut world = settled(4, seed, &calm);
        world.inflict(Fault::Die(1));
        world.run(ms(2_500));
        assert!(votes(&world)[&1].len() >= 2, "seed {seed}");
    }
}

#[test]
fn where_nobody_asks_for_votes_nobody_votes_and_in_peace_votes_cost_a_few_questions_a_minute() {
    let sent = |settings: &Settings| {
        let mut world = settled(4, 1, settings);
        world.run(ms(60_000));
        let counters = world.hosts.iter().map(|host| host.counters.sent);
        (counters.sum::<u64>(), world)
    };
    let (without, mut world) = sent(&FAST);
    world.inflict(Fault::Die(1));
    world.run(ms(5_000));
    assert_no_votes(&world, "off");
    let (with, _) = sent(&VOTING);
    // The kernel of the one member that a node of four does not watch.
    assert!(with.abs_diff(without) <= 40, "{with}, {without} without");
}

#[test]
fn of_two_nodes_nobody_votes_on_the_other() {
    for seed in seeds(10) {
        let mut world = settled(2, seed, &VOTING);
        world.inflict(Fault::Die(1));
        world.run(ms(5_000));
        assert_no_votes(&world, &format!("seed {seed}"));
    }
}

/// The segments of `all` by whether most are in them; whoever votes has to be there, and votes on all others.
fn assert_the_large_side_votes(world: &World, segments: &[u8], what: &str) {
    let is_large = |segment: u8| {
        let members = segments.iter().filter(|other| **other == segment);
        2 * members.count() > segments.len()
    };
    for (dead, voters) in votes(world) {
        for voter in voters {
            let counts = is_large(segments[voter]) && segments[voter] != segments[dead];
            assert!(counts, "{what}: n{voter} votes on n{dead}");
        }
    }
    world.assert_sound(0);
}

#[test]
fn the_small_side_of_a_partition_votes_on_nobody() {
    for segments in [
        &[0, 0, 1][..],
        &[0, 0, 1, 1],
        &[0, 0, 0, 1],
        &[0, 0, 0, 1, 1],
        &[0, 0, 1, 1, 2],
        &[0, 0, 0, 1, 1, 1],
        &[0, 0, 0, 0, 1, 1, 1],
        &[0, 0, 0, 0, 0, 0, 1, 1, 1, 1],
        &[0, 0, 0, 1, 1, 1, 2, 2, 2, 3],
    ] {
        for settings in [&VOTING, &at_once(&FAST)] {
            for seed in seeds(3) {
                let mut world = settled(segments.len(), seed, settings);
                let mut mixed = segments.to_vec();
                for n in (1..mixed.len()).rev() {
                    mixed.swap(n, world.random.index(n + 1));
                }
                world.inflict(split(&mixed));
                world.run(ms(5_000));
                let what = format!("{mixed:?}, seed {seed}");
                assert_the_large_side_votes(&world, &mixed, &what);
                // Back, and cut once more: what was found before counts no more.
                world.inflict(Fault::Heal);
                world.run(ms(5_000));
                world.votes.clear();
                mixed.reverse();
                world.inflict(split(&mixed));
                world.run(ms(5_000));
                assert_the_large_side_votes(&world, &mixed, &what);
            }
        }
    }
}

#[test]
fn a_node_that_is_cut_off_alone_has_two_voters_and_votes_on_nobody() {
    for seed in seeds(10) {
        let mut world = settled(5, seed, &VOTING);
        world.inflict(split(&[0, 0, 0, 0, 1]));
        world.run(BY_THEN);
        let votes = votes(&world);
        assert!(votes[&4].len() >= 2 && votes.len() == 1, "{votes:?}");
    }
}

/// One port after the other goes over to the other side, and each is found before the next one goes.
#[test]
fn a_side_that_becomes_the_small_one_step_by_step_votes_on_nobody() {
    for pause in [50, 100, 200, 300, 400, 450] {
        for seed in seeds(8) {
            let mut world = settled(5, seed, &VOTING);
            for gone in 1..=3 {
                let segments: Vec<u8> = (0..5).map(|host| u8::from(host >= gone)).collect();
                world.inflict(split(&segments));
                world.run(ms(pause));
            }
            world.run(ms(5_000));
            for (dead, voters) in votes(&world) {
                let of_small = voters.iter().any(|voter| *voter >= 3);
                assert!(
                    !of_small,
                    "pause {pause}, seed {seed}: {voters:?} on n{dead}"
                );
            }
        }
    }
}

#[test]
fn of_two_that_die_one_after_the_other_both_have_voters_while_most_live_and_neither_else() {
    for pause in [0, 30, 100, 300, 450] {
        for (hosts, most_live) in [(4, false), (5, true), (6, true)] {
            for seed in seeds(5) {
                let mut world = settled(hosts, seed, &VOTING);
                world.inflict(Fault::Die(0));
                world.run(ms(pause));
                world.inflict(Fault::Die(2));
                world.run(ms(450));
                let what = format!("N = {hosts}, {pause} ms, seed {seed}");
                assert_no_votes(&world, &what);
                world.run(ms(4_000));
                let votes = votes(&world);
                if most_live {
                    assert!(!votes.is_empty(), "{what}");
                } else {
                    assert!(votes.is_empty(), "{what}: {votes:?}");
                }
                world.assert_sound(seed);
            }
        }
    }
}

#[test]
fn a_link_that_is_back_within_the_wait_costs_no_vote() {
    for back in [150, 250, 350, 400, 450] {
        for segments in [&[0, 0, 1][..], &[0, 0, 0, 1, 1], &[0, 0, 0, 0, 0, 0, 0, 1]] {
            for seed in seeds(5) {
                let mut world = settled(segments.len(), seed, &VOTING);
                world.inflict(split(segments));
                world.run(ms(back));
                world.inflict(Fault::Heal);
                world.run(ms(5_000));
                assert_no_votes(&world, &format!("{segments:?}, {back} ms, seed {seed}"));
            }
        }
    }
}

/// A link that comes and goes is no dead node: each time it was heard in between.
#[test]
fn a_link_that_flaps_costs_no_vote() {
    for seed in seeds(5) {
        let mut world = settled(4, seed, &VOTING);
        for _ in 0..6 {
            world.inflict(split(&[0, 0, 0, 1]));
            world.run(ms(420));
            world.inflict(Fault::Heal);
            world.run(ms(120));
        }
        world.run(ms(3_000));
        assert_no_votes(&world, &format!("seed {seed}"));
    }
}

#[test]
fn a_voter_that_was_stopped_does_not_vote_on_what_it_missed() {
    for (found, stop, back) in [
        (130, 150, 200),
        (130, 350, 300),
        (130, 600, 400),
        (130, 2_000, 420),
        (130, 6_000, 5_000),
        // D5: everybody was asked, and has answered.
        (500, 300, 50),
        (500, 2_000, 1_000),
        (560, 2_000, 100),
    ] {
        for seed in seeds(5) {
            let mut world = settled(5, seed, &VOTING);
            world.inflict(split(&[0, 0, 0, 0, 1]));
            world.run(ms(found));
            // All who found it, at once: nobody is left who hears it and tells them.
            for host in 0..4 {
                world.inflict(Fault::Stop(host, ms(stop)));
            }
            world.schedule(ms(back), Fault::Heal);
            world.run(ms(stop.max(back) - 1));
            // Their sockets overflowed: what was said meanwhile is lost.
            for host in 0..4 {
                if stop > back {
                    world.hosts[host].inbox.clear();
                }
            }
            world.run(ms(5_000));
            if stop > back || back < 300 {
                let what = format!("{found} ms, then {stop} ms, back {back}, seed {seed}");
                assert_no_votes(&world, &what);
            }
        }
    }
}

#[test]
fn speakers_that_restart_on_the_small_side_vote_on_nobody() {
    for seed in seeds(5) {
        let segments = [0, 0, 0, 0, 1, 1, 1];
        let mut world = settled(7, seed, &VOTING);
        world.inflict(split(&segments));
        world.run(ms(300));
        for (pause, host) in [(0, 4), (700, 5), (700, 6)] {
            world.run(ms(pause));
            world.inflict(Fault::Leave(host, Leaving::Restarting));
            world.schedule(ms(400), Fault::Start(host));
        }
        world.run(ms(4_000));
        // One of them dies for good.
        world.inflict(Fault::Die(6));
        world.run(ms(4_000));
        assert_the_large_side_votes(&world, &segments, &format!("seed {seed}"));
    }
}

/// It is heard by others, who say so.
#[test]
fn a_node_that_some_cannot_hear_is_not_voted_on() {
    for deaf in [vec![0], vec![0, 1], vec![0, 1, 2]] {
        for seed in seeds(8) {
            let mut world = settled(6, seed, &VOTING);
            for &host in &deaf {
                world.inflict(Fault::Cut(host, 5, true));
                world.inflict(Fault::Cut(5, host, true));
            }
            world.run(ms(6_000));
            assert_no_votes(&world, &format!("{deaf:?}, seed {seed}"));
        }
    }
}

/// A stopped process looks like a dead node there, but for the time that it takes.
#[test]
fn where_kernels_answer_nothing_nobody_votes() {
    let faults: [fn(usize) -> Fault; 3] = [
        |host| Fault::Stop(host, ms(8_000)),
        |host| Fault::Firewall(host, true),
        Fault::Die,
    ];
    for fault in faults {
        for seed in seeds(5) {
            let mut world = settled(4, seed, &VOTING);
            for host in 0..4 {
                world.inflict(Fault::Unanswering(host, true));
            }
            // Each kernel is asked once a minute, and three times more where it does not answer.
            world.run(ms(70_000));
            world.inflict(fault(1));
            world.run(ms(7_000));
            let voted: Vec<NodeId> = world.votes.keys().map(|(node, ..)| *node).collect();
            assert_eq!(voted, [], "seed {seed}");
        }
    }
}

#[test]
fn a_process_that_ends_stops_or_leaves_is_no_dead_node() {
    let faults: [fn(usize) -> Fault; 5] = [
        Fault::Kill,
        |host| Fault::Stop(host, ms(8_000)),
        |host| Fault::Leave(host, Leaving::Restarting),
        |host| Fault::Leave(host, Leaving::Draining),
        |host| Fault::Deaf(host, true),
    ];
    for fault in faults {
        for seed in seeds(5) {
            let mut world = settled(4, seed, &VOTING);
            world.inflict(fault(1));
            world.run(ms(12_000));
            assert_no_votes(&world, &format!("seed {seed}"));
        }
    }
}

#[test]
fn at_5_and_15_percent_loss_a_death_still_has_two_voters() {
    let mut without = 0;
    for (loss, allowed) in [(50, 0), (150, 2)] {
        for (hosts, seed) in rings([3, 4, 10], 10) {
            let mut world = settled(hosts, seed, &VOTING);
            world.inflict(Fault::Loss(loss));
            world.run(ms(300));
            world.inflict(Fault::Die(1));
            world.run(ms(3_000));
            without += usize::from(votes(&world).get(&1).is_none_or(|voters| voters.len() < 2));
        }
        assert!(
            without <= allowed,
            "{without} deaths of 30 at {loss} in 1,000"
        );
    }
}
