//! C6, C7: what one member knows, all come to know, whichever of the messages that tell it are lost;
//! and of two that claim the same, one falls silent and the other has the last word.

use ferrolb_core::ownership::FAST;

use crate::faults::Fault;
use crate::network::{Kind, Station};
use crate::world::{World, ms, vip};
use crate::{rings, seeds};

/// A cluster without addresses whose API tells everybody at about the same time.
fn settled(hosts: usize, seed: u64) -> World {
    let mut world = World::settled(hosts, 0, seed, &FAST);
    world.api_lag = ms(5);
    world
}

/// From every host to these.
fn to(world: &World, hosts: &[Station]) -> Vec<(Station, Station)> {
    let all = 0..world.hosts.len();
    all.flat_map(|from| hosts.iter().map(move |&to| (from, to)))
        .collect()
}

fn lose_records(world: &mut World, paths: Vec<(Station, Station)>) {
    world.inflict(Fault::Lose(Kind::Records, paths));
}

/// The hosts in the order in which they may claim `vip(0)`, once it is wanted.
fn want_one(world: &mut World) -> Vec<Station> {
    world.inflict(Fault::Want(vip(0), true));
    world.order_of(vip(0))
}

fn all_know_the_owner(world: &World) -> bool {
    let [owner] = world.owners(vip(0))[..] else {
        return false;
    };
    let owner = Some(world.hosts[owner].id);
    (0..world.hosts.len()).all(|host| world.owner_known_to(host, vip(0)) == owner)
}

/// C9: its owner has asked whether anybody has it, and announced it. The record says so.
fn is_probed(world: &World) -> bool {
    let mut hosts = world.hosts.iter();
    !hosts.any(|host| host.asking.contains_key(&vip(0)))
}

/// Otherwise the next in turn would claim it too, and the client would be moved to and fro.
#[test]
fn a_claim_whose_record_is_lost_is_known_to_all_before_the_next_ones_turn() {
    for (hosts, seed) in rings([3, 4, 10], 6) {
        let mut world = settled(hosts, seed);
        let all: Vec<Station> = (0..hosts).collect();
        let paths = to(&world, &all);
        lose_records(&mut world, paths);
        want_one(&mut world);
        world.run_until(|world| !world.owners(vip(0)).is_empty());
        lose_records(&mut world, Vec::new());
        world.run(ms(20));
        assert!(all_know_the_owner(&world), "seed {seed}");
        world.run(ms(2_000));
        world.check("afterwards");
        world.assert_sound(seed);
        assert_eq!(world.moves.len(), 1, "seed {seed}: {:?}", world.moves);
    }
}

/// Along the ring alone it takes seconds.
#[test]
fn what_one_other_member_learned_gets_around_among_sixty_within_250_ms() {
    for seed in seeds(2) {
        let hosts = 60;
        let mut world = settled(hosts, seed);
        let owner = world.random.index(hosts);
        let paths = (0..hosts).filter(|&to| to != (owner + 1) % hosts);
        let paths = paths.map(|to| (owner, to)).collect();
        lose_records(&mut world, paths);
        let eligible = (0..hosts).map(|host| host == owner).collect();
        world.inflict(Fault::WantOn(vip(0), eligible));
        world.run_until(|world| !world.owners(vip(0)).is_empty());
        world.run_until(is_probed);
        let began = world.now;
        // The record and its repetition; what is repaired from the second member's copy is not lost.
        world.run(ms(20));
        lose_records(&mut world, Vec::new());
        let rest = (began + ms(250)).saturating_since(world.now);
        world.run(rest);
        assert!(all_know_the_owner(&world), "seed {seed}");
    }
}

/// On the ring each member is watched by the two after it. Where these paths are dead at two places,
/// the halves between hear each other well, and compare nothing.
#[test]
fn halves_that_watch_only_themselves_come_to_the_same_table() {
    for seed in seeds(8) {
        let hosts = 10;
        let mut world = settled(hosts, seed);
        let mut ring: Vec<Station> = (0..hosts).collect();
        ring.sort_by_key(|&host| world.hosts[host].id);
        for place in [0, 5] {
            for (before, after) in [(9, 0), (8, 0), (9, 1)] {
                let [a, b] = [before, after].map(|step| ring[(place + step) % hosts]);
                world.inflict(Fault::Cut(a, b, true));
                world.inflict(Fault::Cut(b, a, true));
            }
        }
        let (one, other) = ring.split_at(5);
        let between = one.iter().flat_map(|&a| other.iter().map(move |&b| (a, b)));
        lose_records(&mut world, between.collect());
        let eligible = (0..hosts).map(|host| host == one[2]).collect();
        world.inflict(Fault::WantOn(vip(0), eligible));
        world.run(ms(150));
        assert_eq!(world.owners(vip(0)), [one[2]], "seed {seed}");
        lose_records(&mut world, Vec::new());
        let began = world.now;
        while !all_know_the_owner(&world) && world.now < began + ms(30_000) {
            world.run(ms(50));
        }
        assert!(all_know_the_owner(&world), "seed {seed}");
        assert!(world.verdicts.is_empty(), "seed {seed}");
    }
}

/// The one next in turn has not heard of the first one's claim.
#[test]
fn who_claims_what_is_held_already_is_told_and_falls_silent_at_once() {
    for seed in seeds(20) {
        let mut world = settled(4, seed);
        let second = want_one(&mut world)[1];
        let paths = to(&world, &[second]);
        lose_records(&mut world, paths);
        world.run_until(|world| !world.owners(vip(0)).is_empty());
        world.run(ms(40));
        lose_records(&mut world, Vec::new());
        let claims = |world: &World| world.hosts[second].announcing.contains(&vip(0));
        world.run_until(claims);
        world.run(ms(2));
        assert!(!claims(&world), "seed {seed}");
        world.run(ms(2_000));
        world.check("afterwards");
        world.assert_sound(seed);
    }
}

/// C6: it hears of the better claim, and the better one's owner never hears of its own.
#[test]
fn a_winner_that_never_knew_of_the_other_claim_has_the_last_word_too() {
    for lost_once in [false, true] {
        for seed in seeds(10) {
            let mut world = settled(4, seed);
            let all: Vec<Station> = (0..4).collect();
            let paths = to(&world, &all);
            lose_records(&mut world, paths);
            let order = want_one(&mut world);
            world.run_until(|world| world.owners(vip(0)).len() == 2);
            // Both have announced it, the second one last.
            world.run_until(is_probed);
            let paths = to(&world, &order[..1]);
            lose_records(&mut world, paths);
            if lost_once {
                let paths = to(&world, &order[..1]);
                world.inflict(Fault::Lose(Kind::Yield, paths));
            }
            world.run_until(|world| world.owners(vip(0)) == order[..1]);
            world.inflict(Fault::Lose(Kind::Yield, Vec::new()));
            world.run(ms(50));
            lose_records(&mut world, Vec::new());
            world.check("afterwards");
            world.assert_sound(seed);
        }
    }
}

/// C6: who yields knows an owner that another may not know yet, and who would otherwise be the first in
/// turn for what has just become free.
#[test]
fn who_learns_that_one_has_yielded_waits_to_hear_to_whom() {
    for seed in seeds(10) {
        let mut world = settled(3, seed);
        let (_, order) = world.offer(vip(0), vec![true; 3]);
        let order: Vec<_> = order
            .in_order()
            .map(|one| world.station(one.node))
            .collect();
        let [best, owner, other] = order[..] else {
            unreachable!("all three may have it")
        };
        let paths = to(&world, &[best, owner, other]);
        lose_records(&mut world, paths);
        let eligible = (0..3).map(|host| host != best).collect();
        world.inflict(Fault::WantOn(vip(0), eligible));
        world.run_until(|world| world.owners(vip(0)).len() == 2);
        // The best one hears the other alone, and may claim from now on.
        let paths = vec![(owner, best), (owner, other), (best, other), (other, owner)];
        lose_records(&mut world, paths);
        world.run(ms(20));
        let known = Some(world.hosts[other].id);
        assert_eq!(world.owner_known_to(best, vip(0)), known, "seed {seed}");
        world.inflict(Fault::Eligible(vip(0), vec![true; 3]));
        world.run(ms(10));
        lose_records(&mut world, vec![(owner, best)]);
        world.run(ms(2_000));
        assert_eq!(world.owners(vip(0)), [owner], "seed {seed}");
        lose_records(&mut world, Vec::new());
        world.run(ms(2_000));
        world.check("afterwards");
        world.assert_sound(seed);
        assert_eq!(world.owners(vip(0)), [owner], "seed {seed}: displaced");
    }
}
