//! L14: addresses on a second LAN, that no beat passes.

use ferrolb_core::ownership::{FAST, Preference, Settings};

use crate::faults::Fault;
use crate::network::Station;
use crate::seeds;
use crate::world::{World, ms};

const HOSTS: usize = 4;
const VIPS: usize = 6;

/// A settled cluster, these hosts of which are on the second LAN.
fn settled(on_it: &[Station], seed: u64, settings: &Settings) -> World {
    let mut world = World::new(HOSTS, VIPS, seed, settings);
    world.on_second_lan = on_it.iter().copied().collect();
    let eligible: Vec<bool> = (0..HOSTS).map(|host| on_it.contains(&host)).collect();
    for vip in world.vips() {
        world.inflict(Fault::Eligible(vip, eligible.clone()));
    }
    for host in 0..HOSTS {
        world.inflict(Fault::Start(host));
    }
    world.run(ms(6_000));
    world.check("start");
    world.forget_past();
    world
}

fn cut_off(world: &mut World, host: Station) {
    world.second_lan.mute.insert(host);
    world.second_lan.deaf.insert(host);
}

#[test]
fn where_a_port_dies_silently_a_node_that_hears_the_lan_takes_over_within_five_seconds() {
    for seed in seeds(20) {
        let mut world = settled(&[0, 1, 2, 3], seed, &FAST);
        let dead = world.some_owner();
        let vips = world.hosts[dead].announcing.clone();
        cut_off(&mut world, dead);
        world.run(ms(5_000));
        assert_eq!(world.silent_links, [dead], "seed {seed}");
        for &vip in &vips {
            let owners = world.owners(vip);
            assert!(
                owners.len() == 1 && owners != [dead],
                "seed {seed}: {owners:?}"
            );
        }
        assert_eq!(world.dark, [], "seed {seed}: make before break");
        assert_eq!(
            world.moves.len(),
            vips.len(),
            "seed {seed}: nothing else moves"
        );

        world.second_lan = Default::default();
        world.run(ms(20_000));
        assert_eq!(
            world.moves.len(),
            vips.len(),
            "seed {seed}: nothing returns by itself"
        );
        assert_eq!(world.violations, Vec::<String>::new());
    }
}

#[test]
fn where_the_whole_second_lan_is_dead_for_a_while_nothing_moves() {
    for preference in [Preference::Sticky, Preference::BestRank] {
        let settings = Settings { preference, ..FAST };
        for seed in seeds(20) {
            let mut world = settled(&[0, 1, 2, 3], seed, &settings);
            let lasts = world.random.millis(1_000..20_000);
            world.second_lan.blackout = true;
            world.run(lasts);
            world.second_lan.blackout = false;
            world.run(ms(15_000));
            assert_eq!(world.moves.len(), 0, "seed {seed}: {lasts:?}");
            assert_eq!(world.violations, Vec::<String>::new());
        }
    }
}

#[test]
fn loss_and_busy_cores_move_nothing_that_is_on_a_second_lan() {
    for seed in seeds(4) {
        let mut world = settled(&[0, 1, 2, 3], seed, &FAST);
        world.second_lan.loss = 50;
        world.busy = true;
        world.run(ms(300_000));
        assert_eq!(world.moves.len(), 0, "seed {seed}");
        assert!(world.silent_links.is_empty(), "seed {seed}");
    }
}

#[test]
fn a_node_that_is_alone_on_its_lan_or_with_a_dead_one_keeps_what_it_has() {
    for seed in seeds(10) {
        for on_it in [&[2][..], &[1, 2]] {
            let mut world = settled(on_it, seed, &FAST);
            let owner = world.some_owner();
            cut_off(&mut world, owner);
            world.run(ms(30_000));
            assert_eq!(world.moves.len(), 0, "seed {seed}: {on_it:?}");
        }
    }
}

#[test]
fn who_hears_nobody_on_a_second_lan_takes_nothing_that_another_would_and_makes_nobody_wait() {
    for seed in seeds(20) {
        let mut world = settled(&[0, 1, 2, 3], seed, &FAST);
        let owner = world.some_owner();
        let silent = (0..HOSTS).find(|&host| host != owner).unwrap();
        cut_off(&mut world, silent);
        let phase = world.random.millis(0..50);
        world.run(ms(5_000) + phase);
        let orphans = world.hosts[owner].announcing.clone();
        world.forget_past();
        world.inflict(Fault::Die(owner));
        // A turn that nobody takes would be 50 ms more.
        world.run(ms(100));
        for vip in orphans {
            let owners = world.owners(vip);
            assert!(
                owners.len() == 1 && owners != [silent],
                "seed {seed}: {owners:?}"
            );
        }
        assert_eq!(world.violations, Vec::<String>::new());
    }
}

#[test]
fn questions_on_a_second_lan_are_few_and_there_are_none_without_one() {
    let per_second = |world: &mut World| {
        world.run(ms(10_000));
        let sent = world.hosts.iter().map(|host| host.counters.sent).max();
        sent.unwrap_or_default() / 10
    };
    let mut plain = settled(&[], 1, &FAST);
    let mut second = settled(&[0, 1, 2, 3], 1, &FAST);
    let (plain, second) = (per_second(&mut plain), per_second(&mut second));
    println!("sent each second: {plain}, and with a second LAN {second}");
    assert!(second <= plain + 3, "{plain}, {second}");
}
