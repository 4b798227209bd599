//! Property 4: no false failover. Whatever is wrong here, every node forwards and every address must
//! stay.

use ferrolb_core::ownership::FAST;

use crate::faults::Fault;
use crate::figures::vips_for;
use crate::network::Kind;
use crate::seeds;
use crate::votes::VOTING;
use crate::world::{World, ms};

/// Runs `trouble` for ten seconds, then peace; nothing may move.
fn nothing_moves(hosts: &[usize], runs: u64, trouble: impl Fn(&mut World)) {
    for &hosts in hosts {
        for seed in seeds(runs) {
            let mut world = World::settled(hosts, vips_for(hosts), seed, &VOTING);
            trouble(&mut world);
            world.run(ms(10_000));
            for calm in [Fault::Loss(0), Fault::Busy(false)] {
                world.inflict(calm);
            }
            world.run(ms(2_500));
            world.check("after the stress");
            world.assert_sound(seed);
            world.assert_no_moves(seed);
            world.assert_no_quorum(seed);
        }
    }
}

/// A process stopped for a second, again and again, each time another one.
fn stop_processes(world: &mut World) {
    for round in 0..4 {
        let host = world.random.index(world.hosts.len());
        let at = ms(500 + round * 2_000) + world.random.millis(0..400);
        world.schedule(at, Fault::Stop(host, ms(1_000)));
    }
}

/// A path that takes 300 ms more for two seconds, again and again, each time another one.
fn slow_paths(world: &mut World) {
    for round in 0..3 {
        let (a, b) = two_hosts(world);
        world.schedule(ms(500 + round * 2_500), Fault::Slow(a, b, ms(300)));
        world.schedule(ms(2_500 + round * 2_500), Fault::Slow(a, b, ms(0)));
    }
}

fn two_hosts(world: &mut World) -> (usize, usize) {
    let hosts = world.hosts.len();
    let a = world.random.index(hosts);
    (a, (a + 1 + world.random.index(hosts - 1)) % hosts)
}

#[test]
fn loss_of_5_and_15_percent_with_doubles_and_disorder_moves_nothing() {
    nothing_moves(&[2, 3, 4, 10], 3, |world| world.inflict(Fault::Loss(50)));
    nothing_moves(&[3, 4, 10], 3, |world| world.inflict(Fault::Loss(150)));
}

#[test]
fn busy_cores_move_nothing() {
    nothing_moves(&[2, 3, 4, 10], 3, |world| world.inflict(Fault::Busy(true)));
}

#[test]
fn a_process_stopped_for_a_second_while_its_kernel_answers_moves_nothing() {
    nothing_moves(&[2, 3, 4, 10], 3, stop_processes);
}

#[test]
fn a_path_that_is_slow_by_300_ms_moves_nothing() {
    nothing_moves(&[3, 4, 10], 5, slow_paths);
}

#[test]
fn loss_with_stopped_processes_moves_nothing() {
    nothing_moves(&[3, 4, 10], 5, |world| {
        world.inflict(Fault::Loss(50));
        stop_processes(world);
    });
}

/// A stalled process answers nothing, so only its kernel's answers count, and some rounds bring none.
#[test]
fn stopped_processes_at_20_percent_loss_move_nothing() {
    nothing_moves(&[3], 10, |world| {
        world.inflict(Fault::Loss(200));
        stop_processes(world);
        world.schedule(ms(8_500), Fault::Loss(0));
    });
}

/// L5 d: its kernel is all that answers for it, and now and then one round of questions is lost.
#[test]
fn a_stopped_process_whose_port_blinks_for_70_ms_moves_nothing() {
    nothing_moves(&[3, 4, 10], 5, |world| {
        let host = world.random.index(world.hosts.len());
        world.inflict(Fault::Stop(host, ms(2_800)));
        for round in 1..9 {
            let at = ms(300 * round) + world.random.millis(0..100);
            world.schedule(at, Fault::Mute(host, true));
            world.schedule(at + ms(70), Fault::Mute(host, false));
        }
    });
}

#[test]
fn everything_at_once_moves_nothing() {
    nothing_moves(&[3, 4, 10], 3, |world| {
        world.inflict(Fault::Loss(50));
        world.inflict(Fault::Busy(true));
        stop_processes(world);
        slow_paths(world);
    });
}

#[test]
fn one_path_dead_for_seconds_in_one_or_both_directions_moves_nothing() {
    for both in [false, true] {
        nothing_moves(&[3, 4, 10], 3, |world| {
            let (a, b) = two_hosts(world);
            for (from, to) in [(a, b), (b, a)].into_iter().take(1 + usize::from(both)) {
                world.inflict(Fault::Cut(from, to, true));
                world.schedule(ms(7_000), Fault::Cut(from, to, false));
            }
            world.run(ms(8_000));
            assert!(
                world.verdicts.is_empty(),
                "witnesses hear it: {:?}",
                world.verdicts
            );
        });
    }
}

#[test]
fn a_blackout_of_300_ms_moves_nothing() {
    nothing_moves(&[2, 3, 4, 10], 6, |world| {
        let at = world.random.millis(0..200);
        world.schedule(at, Fault::Blackout(true));
        world.schedule(at + ms(300), Fault::Blackout(false));
    });
}

/// The kernel answers for three seconds of a stall, and the addresses are held for 2.5 s more.
#[test]
fn a_process_stopped_for_good_is_replaced_after_stall_and_hold() {
    for hosts in [3, 4] {
        for seed in seeds(3) {
            let mut world = World::settled(hosts, vips_for(hosts), seed, &FAST);
            let owner = world.some_owner();
            let lost = world.hosts[owner].announcing.len();
            world.inflict(Fault::Stop(owner, ms(20_000)));
            world.run(ms(5_000));
            world.assert_no_moves(seed);
            world.run(ms(1_500));
            assert_eq!(world.moves.len(), lost, "seed {seed}");
        }
    }
}

/// L5 e: to hear nothing oneself is no verdict, as long as no witness says the same.
#[test]
fn a_dead_path_while_all_witnesses_answers_are_lost_for_250_ms_moves_nothing() {
    nothing_moves(&[3, 4, 10], 3, |world| {
        let (a, b) = two_hosts(world);
        for (from, to) in [(a, b), (b, a)] {
            world.inflict(Fault::Cut(from, to, true));
            world.schedule(ms(3_000), Fault::Cut(from, to, false));
        }
        let hosts = world.hosts.len();
        let paths = (0..hosts).flat_map(|from| (0..hosts).map(move |to| (from, to)));
        let paths: Vec<_> = paths.collect();
        for at in [200, 900, 1_600] {
            world.schedule(ms(at), Fault::Lose(Kind::Tell, paths.clone()));
            world.schedule(ms(at + 250), Fault::Lose(Kind::Tell, Vec::new()));
        }
    });
}

/// A witness whose answer was lost is asked again, and tells again.
#[test]
fn a_path_that_is_slow_at_loss_of_15_percent_moves_nothing() {
    nothing_moves(&[3, 4, 10], 5, |world| {
        world.inflict(Fault::Loss(150));
        slow_paths(world);
    });
}

/// L12: what others announced meanwhile, and were told to yield, may have been lost to a full buffer.
#[test]
fn a_process_that_was_stopped_announces_its_addresses_again() {
    let mut world = World::settled(3, 15, 1, &FAST);
    let owner = world.some_owner();
    world.inflict(Fault::Stop(owner, ms(1_500)));
    world.run(ms(2_000));
    let reminded = world
        .announcements
        .iter()
        .filter(|(_, by, ..)| *by == owner);
    assert_eq!(reminded.count(), world.hosts[owner].announcing.len());
    world.assert_no_moves(1);
}
