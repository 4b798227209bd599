//! How long things take.

use ferrolb_core::ownership::{FAST, Leaving};

use crate::checks::Times;
use crate::seeds;
use crate::world::{Fault, World, ms};

fn vips_for(hosts: usize) -> usize {
    (hosts * 5).min(200)
}

/// Until the first announcement of each address of a host that is hurt.
fn takeover(hosts: usize, seed: u64, loss: u64, fault: fn(usize) -> Fault, times: &mut Times) {
    let mut world = World::settled(hosts, vips_for(hosts), seed, &FAST);
    world.inflict(Fault::Loss(loss));
    let owner = world.some_owner();
    let lost = world.hosts[owner].announcing.clone();
    let pause = world.random.millis(500..1_500);
    world.run(pause);
    world.moves.clear();
    let began = world.now;
    world.inflict(fault(owner));
    world.run(ms(3_500));
    for vip in lost {
        let taken = world.moves.iter().find(|a_move| a_move.vip == vip);
        let taken = taken.unwrap_or_else(|| panic!("seed {seed}: nobody took {vip}"));
        times.add(taken.at.saturating_since(began));
    }
    world.inflict(Fault::Loss(0));
    world.run(ms(2_000));
    world.check("after the takeover");
    world.assert_sound(seed);
}

#[test]
fn a_dead_nodes_addresses_are_announced_within_91_ms() {
    for (hosts, runs) in [(3, 12), (4, 12), (10, 6), (100, 1)] {
        let mut times = Times::default();
        for seed in seeds(runs) {
            takeover(hosts, seed, 0, Fault::Die, &mut times);
        }
        println!("node dies, N = {hosts}: {times}");
        assert!(times.quantile(0.99) <= 91.0, "N = {hosts}: {times}");
    }
}

#[test]
fn a_rolling_restart_moves_nothing() {
    for hosts in [2, 3, 4, 10] {
        for seed in seeds(3) {
            let mut world = World::settled(hosts, vips_for(hosts), seed, &FAST);
            for host in 0..hosts {
                world.inflict(Fault::Leave(host, Leaving::Restarting));
                let away = world.random.millis(100..1_500);
                world.schedule(away, Fault::Start(host));
                world.run(away + ms(1_500));
            }
            world.run(ms(3_000));
            world.check("after the rolling restart");
            world.assert_sound(seed);
            world.assert_no_moves(seed);
        }
    }
}
