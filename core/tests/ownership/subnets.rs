//! S1 to S4: subnets that only some nodes have.

use std::collections::BTreeSet;

use ferrolb_core::ownership::FAST;

use crate::faults::Fault;
use crate::network::{Kind, Station};
use crate::seeds;
use crate::world::{World, ms};

const HOSTS: usize = 4;

/// A settled cluster, these hosts of which are on no subnet of the addresses.
fn settled(off_subnet: &[Station], seed: u64) -> World {
    let mut world = World::new(HOSTS, 12, seed, &FAST);
    world.tell_subnets = true;
    world.off_subnet = off_subnet.iter().copied().collect();
    (0..HOSTS).for_each(|host| world.inflict(Fault::Start(host)));
    world.run(ms(6_000));
    world.forget_past();
    world
}

fn owners(world: &World) -> BTreeSet<Station> {
    let mut owners = BTreeSet::new();
    for vip in world.vips() {
        let of_vip = world.owners(vip);
        assert_eq!(of_vip.len(), 1, "{vip}: {of_vip:?}");
        owners.extend(of_vip);
    }
    owners
}

#[test]
fn an_address_in_a_subnet_that_only_some_nodes_have_is_announced_by_those() {
    for seed in seeds(6) {
        let mut world = settled(&[0, 2], seed);
        assert!(owners(&world).is_subset(&[1, 3].into()), "seed {seed}");
        let dead = world.some_owner();
        let orphans = world.hosts[dead].announcing.len();
        let began = world.now;
        world.inflict(Fault::Die(dead));
        // Nobody waits for those that cannot: a turn is 50 ms.
        while world.moves.len() < orphans {
            world.run(ms(1));
            assert!(world.now < began + ms(120), "seed {seed}");
        }
        world.run(ms(2_000));
        assert_eq!(owners(&world), [4 - dead].into(), "seed {seed}");
        // Both are gone, and those who are left are not on its LAN.
        world.inflict(Fault::Die(4 - dead));
        world.run(ms(10_000));
        for vip in world.vips() {
            assert!(world.owners(vip).is_empty(), "seed {seed}");
        }
        world.inflict(Fault::Boot(dead));
        world.run(ms(4_000));
        assert_eq!(owners(&world), [dead].into(), "seed {seed}");
    }
}

#[test]
fn an_address_on_no_nodes_subnet_is_announced_all_the_same() {
    for seed in seeds(4) {
        let mut world = settled(&[0, 1, 2, 3], seed);
        world.check("start");
        world.inflict(Fault::Die(1));
        world.run(ms(2_000));
        world.check("after a death");
        world.assert_sound(seed);
    }
}

#[test]
fn who_loses_the_subnet_hands_over_at_once_and_takes_nothing_back() {
    for seed in seeds(8) {
        let mut world = settled(&[], seed);
        let victim = world.some_owner();
        let lost = world.hosts[victim].announcing.len();
        world.inflict(Fault::Subnet(victim, false));
        world.run(ms(20));
        assert!(world.hosts[victim].announcing.is_empty(), "seed {seed}");
        assert_eq!(world.moves.len(), lost, "seed {seed}");
        owners(&world);
        world.run(ms(5_000));
        world.inflict(Fault::Subnet(victim, true));
        world.run(ms(5_000));
        assert_eq!(world.moves.len(), lost, "seed {seed}: nothing returns");
        assert!(world.dark.is_empty(), "seed {seed}");
        world.check("at last");
        world.assert_sound(seed);
    }
}

/// The lease is lost: it hears nobody any more, so that everybody is gone for it.
#[test]
fn who_loses_the_subnet_with_its_address_stays_silent_while_it_hears_nobody() {
    for seed in seeds(8) {
        let mut world = settled(&[], seed);
        let victim = world.some_owner();
        let old = world.hosts[victim].addresses.clone();
        world.inflict(Fault::Readdress(victim, Vec::new()));
        world.inflict(Fault::Subnet(victim, false));
        world.run(ms(2_500));
        owners(&world);
        let began = world.now;
        while world.now < began + ms(60_000) {
            world.run(ms(500));
            assert!(world.hosts[victim].announcing.is_empty(), "seed {seed}");
        }
        world.inflict(Fault::Readdress(victim, old));
        world.inflict(Fault::Subnet(victim, true));
        world.run(ms(4_000));
        world.check("after its return");
        world.assert_sound(seed);
    }
}

/// S4: it starts first and knows of nobody; where it announces is no LAN of the address.
#[test]
fn who_starts_first_and_is_not_on_the_subnet_leaves_the_others_the_time_to_tell() {
    for seed in seeds(6) {
        let mut world = World::new(HOSTS, 12, seed, &FAST);
        world.tell_subnets = true;
        world.off_subnet = [0].into();
        world.inflict(Fault::Start(0));
        for host in 1..HOSTS {
            world.schedule(ms(1_500), Fault::Start(host));
        }
        world.run(ms(6_000));
        let by_the_first = |(_, by, ..): &&(_, Station, _, _)| *by == 0;
        assert_eq!(
            world.announcements.iter().find(by_the_first),
            None,
            "seed {seed}"
        );
        owners(&world);
    }
}

/// A version before tells no subnets and goes by none.
#[test]
fn beside_a_version_that_tells_no_subnets_every_address_is_served() {
    for seed in seeds(6) {
        for old in [vec![0], vec![1, 2], vec![0, 1, 2]] {
            let mut world = World::new(HOSTS, 12, seed, &FAST);
            world.tell_subnets = true;
            world.asks_nobody = old.iter().copied().collect();
            world.off_subnet = [0].into();
            (0..HOSTS).for_each(|host| world.inflict(Fault::Start(host)));
            world.run(ms(6_000));
            owners(&world);
            let dead = world.some_owner();
            world.inflict(Fault::Die(dead));
            world.run(ms(3_000));
            owners(&world);
        }
    }
}

/// S1: it is heard before its record is.
#[test]
fn while_the_only_node_on_the_subnet_starts_again_it_is_known_to_have_it() {
    for seed in seeds(6) {
        let mut world = settled(&[0, 2, 3], seed);
        world.inflict(Fault::Die(1));
        world.run(ms(10_000));
        world.forget_past();
        let lost = [0, 2, 3].map(|other| (1, other)).into();
        world.inflict(Fault::Lose(Kind::Records, lost));
        world.inflict(Fault::Boot(1));
        world.run(ms(400));
        world.inflict(Fault::Lose(Kind::Records, Vec::new()));
        world.run(ms(4_000));
        let by_others = |(_, by, ..): &&(_, Station, _, _)| *by != 1;
        let announced = world.announcements.iter().find(by_others);
        assert_eq!(announced, None, "seed {seed}");
        assert_eq!(owners(&world), [1].into(), "seed {seed}");
    }
}
