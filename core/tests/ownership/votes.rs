//! Who would vote that a node is dead: two or more when it is, and nobody who counts when it lives.

use ferrolb_core::ownership::{FAST, Leaving};

use crate::faults::Fault;
use crate::figures::vips_for;
use crate::seeds;
use crate::world::{World, ms};

#[test]
fn a_nodes_death_has_two_voters_within_a_fifth_of_a_second_and_few_more() {
    for hosts in [3, 4, 10] {
        for seed in seeds(20) {
            let mut world = World::settled(hosts, vips_for(hosts), seed, &FAST);
            let dead = world.random.index(hosts);
            world.inflict(Fault::Die(dead));
            world.run(ms(200));
            let votes: Vec<_> = world.votes.values().collect();
            assert_eq!(votes.len(), 1, "N = {hosts}, seed {seed}: one process died");
            let voters = votes[0];
            // Two watchers, with two witnesses each.
            let few = (2..=6).contains(&voters.len()) && !voters.contains(&dead);
            assert!(few, "N = {hosts}, seed {seed}: {voters:?} vote on n{dead}");
        }
    }
}

#[test]
fn of_two_nodes_nobody_votes_on_the_other() {
    for seed in seeds(10) {
        let mut world = World::settled(2, vips_for(2), seed, &FAST);
        world.inflict(Fault::Die(1));
        world.run(ms(5_000));
        assert!(world.votes.is_empty(), "seed {seed}: {:?}", world.votes);
    }
}

#[test]
fn the_small_side_of_a_partition_votes_on_nobody() {
    for seed in seeds(10) {
        let mut world = World::settled(5, vips_for(5), seed, &FAST);
        world.inflict(Fault::Split(vec![0, 0, 0, 1, 1]));
        world.run(ms(5_000));
        for voters in world.votes.values() {
            let of_small = voters.iter().filter(|voter| **voter > 2).count();
            // Its first verdict may come before it knows that it is the small one; that is one vote.
            assert!(of_small < 2, "seed {seed}: {:?}", world.votes);
        }
    }
}

#[test]
fn a_process_that_ends_stops_or_leaves_is_no_dead_node() {
    let faults: [fn(usize) -> Fault; 4] = [
        Fault::Kill,
        |host| Fault::Stop(host, ms(8_000)),
        |host| Fault::Leave(host, Leaving::Restarting),
        |host| Fault::Leave(host, Leaving::Draining),
    ];
    for fault in faults {
        for seed in seeds(5) {
            let mut world = World::settled(4, vips_for(4), seed, &FAST);
            world.inflict(fault(1));
            world.run(ms(12_000));
            assert!(world.votes.is_empty(), "seed {seed}: {:?}", world.votes);
        }
    }
}
