//! Properties 2 and 3: nodes that are cut off, come back or join, and partitions.

use std::collections::BTreeMap;
use std::time::Duration;

use ferrolb_core::Instant;
use ferrolb_core::ownership::{Cause, FAST, Leaving, Preference, Settings, Wanted};

use crate::checks::Times;
use crate::faults::Fault;
use crate::figures::vips_for;
use crate::world::{Vip, World, ms};
use crate::{rings, seeds};

/// One node's port fails for five seconds; its addresses are taken over, it seizes nothing, and when
/// it is back nothing moves again.
fn fails_and_returns(hosts: usize, seed: u64, fail: fn(&mut World, usize), within: u64) {
    let mut world = World::settled(hosts, vips_for(hosts), seed, &FAST);
    let victim = world.some_owner();
    let lost = world.hosts[victim].announcing.len();
    let pause = world.random.millis(0..60);
    world.run(pause);
    let began = world.now;
    fail(&mut world, victim);
    world.run(ms(5_000));
    let seized = world
        .announcements
        .iter()
        .filter(|(_, by, _, cause)| *by == victim && *cause != Cause::Reminder);
    assert_eq!(
        seized.count(),
        0,
        "seed {seed}: the failed node seized addresses"
    );
    assert!(
        world.moves.iter().all(|a_move| a_move.to != victim),
        "seed {seed}: {:?}",
        world.moves
    );
    assert_eq!(
        world.moves.len(),
        lost,
        "seed {seed}: each of its addresses is taken over once"
    );
    let last = world
        .moves
        .iter()
        .map(|a_move| a_move.at.saturating_since(began))
        .max();
    assert!(
        last <= Some(ms(within)),
        "seed {seed}: taken over after {last:?}"
    );
    world.moves.clear();
    world.inflict(Fault::Heal);
    world.run(ms(4_000));
    world.check("after its return");
    world.assert_sound(seed);
    world.assert_no_moves(seed);
}

fn cut_off(world: &mut World, victim: usize) {
    let segments = (0..=world.hosts.len()).map(|station| u8::from(station == victim));
    world.inflict(Fault::Split(segments.collect()));
}

#[test]
fn a_node_that_was_cut_off_takes_nothing_on_its_return() {
    for (hosts, seed) in rings([3, 4, 10], 10) {
        fails_and_returns(hosts, seed, cut_off, 150);
    }
}

/// Its driver sees the carrier go, so it is ineligible in its own view, and tries to hand over.
#[test]
fn a_node_without_carrier_is_replaced_and_takes_nothing_on_its_return() {
    let lose_carrier = |world: &mut World, victim: usize| {
        cut_off(world, victim);
        let wanted = world.truth.wanted.iter().map(|(&vip, (_, candidates))| {
            (
                vip,
                Wanted {
                    eligible: false,
                    on_subnet: true,
                    candidates: candidates.clone(),
                },
            )
        });
        let wanted = wanted.collect();
        world.hosts[victim]
            .speaker
            .as_mut()
            .expect("it runs")
            .set_wanted(wanted);
    };
    for (hosts, seed) in rings([3, 4, 10], 4) {
        fails_and_returns(hosts, seed, lose_carrier, 150);
    }
}

#[test]
fn a_mute_node_is_replaced_and_seizes_nothing() {
    for (hosts, seed) in rings([3, 4, 10], 8) {
        fails_and_returns(
            hosts,
            seed,
            |world, victim| world.inflict(Fault::Mute(victim, true)),
            150,
        );
    }
}

#[test]
fn a_deaf_node_is_replaced_and_seizes_nothing() {
    for (hosts, seed) in rings([3, 4, 10], 8) {
        fails_and_returns(
            hosts,
            seed,
            |world, victim| world.inflict(Fault::Deaf(victim, true)),
            300,
        );
    }
}

#[test]
fn a_paused_machine_is_replaced_and_takes_nothing_on_its_return() {
    for (hosts, seed) in rings([3, 4, 10], 8) {
        let pause = |world: &mut World, victim| {
            cut_off(world, victim);
            world.inflict(Fault::Stop(victim, ms(5_010)));
        };
        fails_and_returns(hosts, seed, pause, 150);
    }
}

#[test]
fn a_dead_node_that_boots_again_takes_nothing() {
    for seed in seeds(10) {
        let mut world = World::settled(4, 20, seed, &FAST);
        let victim = world.some_owner();
        world.inflict(Fault::Die(victim));
        world.run(ms(4_000));
        world.moves.clear();
        world.inflict(Fault::Boot(victim));
        world.run(ms(4_000));
        world.check("after its return");
        world.assert_sound(seed);
        world.assert_no_moves(seed);
    }
}

#[test]
fn a_node_that_joins_takes_nothing() {
    for (hosts, seed) in rings([2, 4, 10], 6) {
        let mut world = World::new(hosts, vips_for(hosts), seed, &FAST);
        for host in 1..hosts {
            world.inflict(Fault::Start(host));
        }
        world.run(ms(4_000));
        world.forget_past();
        world.inflict(Fault::Start(0));
        world.run(ms(4_000));
        world.check("after it joined");
        world.assert_sound(seed);
        world.assert_no_moves(seed);
    }
}

#[test]
fn with_metallbs_way_the_best_rank_owns() {
    let settings = Settings {
        preference: Preference::BestRank,
        ..FAST
    };
    for seed in seeds(6) {
        let mut world = World::settled(4, 20, seed, &settings);
        let victim = world.some_owner();
        world.inflict(Fault::Die(victim));
        world.run(ms(3_000));
        world.inflict(Fault::Boot(victim));
        world.run(ms(4_000));
        world.assert_the_best_rank_owns(seed);
        world.check("after its return");
        world.assert_sound(seed);
        assert!(world.dark.is_empty(), "seed {seed}: {:?}", world.dark);
    }
}

/// H2: it found nobody to hand over to, was stopped, and its time was over long since when it ran again.
/// The other one had been heard by the neighbours meanwhile.
#[test]
fn a_leaver_that_was_stopped_until_its_time_was_over_says_nothing_more() {
    for seed in seeds(6) {
        let mut world = World::settled(2, 10, seed, &FAST);
        cut_off(&mut world, 1);
        world.run(ms(2_000));
        world.inflict(Fault::Leave(0, Leaving::Draining));
        world.run(ms(1_000));
        world.inflict(Fault::Stop(0, ms(4_000)));
        world.run(ms(500));
        world.inflict(Fault::Heal);
        world.run(ms(3_000));
        let stopped_until = world.now;
        world.run(ms(8_000));
        assert!(world.hosts[0].speaker.is_none(), "seed {seed}");
        let is_late =
            |(at, by, ..): &&(Instant, usize, Vip, Cause)| *by == 0 && *at >= stopped_until;
        assert_eq!(
            world.announcements.iter().find(is_late),
            None,
            "seed {seed}"
        );
        world.check("without it");
        world.assert_sound(seed);
    }
}

fn random_split(world: &mut World, seed: u64) -> Vec<u8> {
    let hosts = world.hosts.len();
    if seed.is_multiple_of(3) {
        let alone = world.random.index(hosts);
        return (0..=hosts)
            .map(|station| u8::from(station == alone))
            .collect();
    }
    (0..=hosts).map(|_| world.random.below(2) as u8).collect()
}

/// Ends a partition and sees it through; how long it took until each address had one owner.
fn heal(world: &mut World, seed: u64) -> Duration {
    world.forget_past();
    world.inflict(Fault::Heal);
    let healed_at = world.now;
    while world.vips().iter().any(|&vip| world.owners(vip).len() != 1) {
        world.run(ms(2));
        assert!(
            world.now < healed_at + ms(500),
            "seed {seed}: not one owner after 0.5 s"
        );
    }
    let took = world.now.saturating_since(healed_at);
    world.run(ms(2_000));
    world.check("together again");
    world.assert_sound(seed);
    took
}

/// Property 3: each side that can serve does, and when they meet again one owner stays: of those who
/// held their addresses on the greater side all along, none is displaced.
#[test]
fn a_partition_is_served_on_both_sides_and_heals_to_one_owner() {
    let mut heals = Times::default();
    for (hosts, seed) in rings([2, 3, 4, 5, 10], 12) {
        let mut world = World::settled(hosts, vips_for(hosts), seed, &FAST);
        let split = random_split(&mut world, seed);
        let before: BTreeMap<Vip, usize> = world
            .vips()
            .into_iter()
            .map(|vip| (vip, world.owners(vip)[0]))
            .collect();
        let pause = world.random.millis(0..60);
        world.run(pause);
        world.inflict(Fault::Split(split.clone()));
        world.run(ms(3_000));
        world.check("apart");
        let pause = world.random.millis(0..60);
        world.run(pause);
        heals.add(heal(&mut world, seed));
        for &(silent_at, loser, vip) in &world.withdrawals {
            let has_last_word = |&(at, by, of, _): &(Instant, usize, Vip, Cause)| {
                of == vip && at > silent_at && by != loser
            };
            assert!(
                world.announcements.iter().any(has_last_word),
                "N = {hosts}, seed {seed}: {vip} is not announced again after {loser} fell silent"
            );
        }
        for (vip, owner) in before {
            let side = (0..hosts)
                .filter(|&host| split[host] == split[owner])
                .count();
            if 2 * side > hosts {
                assert_eq!(
                    world.owners(vip),
                    [owner],
                    "N = {hosts}, seed {seed}: displaced {vip}"
                );
            }
        }
    }
    println!("heal to one owner: {heals}");
}

/// L10: thirty are away on each side, and each speaker has two of them to try. That is not so many that it
/// tries them less often; the leases of beats are over by then, so nothing else heals it.
#[test]
fn halves_of_sixty_find_each_other_as_soon_as_those_of_ten() {
    let mut heals = Times::default();
    for seed in seeds(4) {
        let mut world = World::settled(60, 60, seed, &FAST);
        let split = (0..=60).map(|station| (station % 2) as u8).collect();
        world.inflict(Fault::Split(split));
        let pause = world.random.millis(0..1_000);
        world.run(ms(5_000) + pause);
        heals.add(heal(&mut world, seed));
    }
    println!("halves of sixty heal to one owner: {heals}");
}

/// L10: the halves never knew of each other's speakers.
#[test]
fn speakers_that_started_apart_find_each_other() {
    for (hosts, seed) in rings([2, 4, 7], 6) {
        let mut world = World::new(hosts, 12, seed, &FAST);
        let split = (0..=hosts).map(|station| (station % 2) as u8).collect();
        world.inflict(Fault::Split(split));
        (0..hosts).for_each(|host| world.inflict(Fault::Start(host)));
        world.run(ms(5_000));
        world.inflict(Fault::Heal);
        world.run(ms(3_000));
        world.check("together at last");
        world.assert_sound(seed);
    }
}

/// C3: what a few claimed is weak only as long as they are few: later, no small side's claims may
/// displace it.
#[test]
fn claims_made_by_a_few_count_in_full_once_the_others_are_back() {
    for seed in seeds(6) {
        let mut world = World::settled(5, 25, seed, &FAST);
        (0..3).for_each(|host| world.inflict(Fault::Die(host)));
        world.run(ms(2_000));
        (0..3).for_each(|host| world.inflict(Fault::Boot(host)));
        world.run(ms(4_000));
        world.check("all are back");
        let segments = (0..=5).map(|station| u8::from(station < 2));
        world.inflict(Fault::Split(segments.collect()));
        world.run(ms(4_000));
        world.moves.clear();
        world.inflict(Fault::Heal);
        world.run(ms(3_000));
        world.check("at last");
        world.assert_sound(seed);
        world.assert_no_moves(seed);
    }
}

/// C3: the one that the gateway answered while the other was away keeps what it took over.
#[test]
fn of_two_members_the_one_that_was_cut_off_takes_nothing_on_its_return() {
    for seed in seeds(10) {
        fails_and_returns(2, seed, cut_off, 500);
    }
}

/// L9: its successors are restarting when it is heard again, and find its claims the better ones.
#[test]
fn a_mute_node_whose_successors_restart_tells_the_neighbours_once_it_is_heard() {
    for seed in seeds(6) {
        let mut world = World::settled(4, 20, seed, &FAST);
        let victim = world.some_owner();
        world.inflict(Fault::Mute(victim, true));
        world.run(ms(1_000));
        let others: Vec<usize> = (0..4).filter(|&host| host != victim).collect();
        others
            .iter()
            .for_each(|&host| world.inflict(Fault::Leave(host, Leaving::Restarting)));
        world.run(ms(400));
        world.inflict(Fault::Heal);
        others
            .iter()
            .for_each(|&host| world.inflict(Fault::Start(host)));
        world.run(ms(4_000));
        world.check("all are back");
        world.assert_sound(seed);
    }
}

/// L7: one member missed the good news, and still holds another gone that the rest hears.
#[test]
fn a_member_in_doubt_is_watched_until_it_is_clear() {
    for seed in seeds(10) {
        let mut world = World::settled(5, 25, seed, &FAST);
        let segments = (0..=5).map(|station| u8::from(station == 1 || station == 2));
        world.inflict(Fault::Split(segments.collect()));
        world.run(ms(3_000));
        world.inflict(Fault::Heal);
        // One of those who were apart dies while the halves are learning of each other.
        let pause = world.random.millis(0..120);
        world.schedule(pause, Fault::Die(1));
        world.run(ms(3_000));
        world.check("without the dead one");
        world.assert_sound(seed);
        let dead = world.hosts[1].id;
        for host in [0, 2, 3, 4] {
            assert!(
                world.knows_gone(host, dead),
                "seed {seed}: n{host} holds the dead one live"
            );
        }
    }
}
