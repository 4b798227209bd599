//! C9: what was free is probed before it is announced, and a takeover never is.

use ferrolb_core::ownership::{FAST, Leaving};

use crate::faults::Fault;
use crate::network::Station;
use crate::seeds;
use crate::world::{Vip, World, ms, vip};

fn v6() -> Vip {
    "2001:db8::1".parse().expect("an address")
}

/// A cluster at peace that announces these two, and whatever else.
fn settled(hosts: usize, seed: u64) -> World {
    let mut world = World::settled(hosts, 12, seed, &FAST);
    world.inflict(Fault::Want(v6(), true));
    world.run(ms(1_000));
    world.forget_past();
    world
}

impl World {
    /// Who probed `vip`, in the order of time.
    fn probed_by(&self, vip: Vip) -> Vec<Station> {
        let probes = self.probes.iter().filter(|(_, _, of)| *of == vip);
        probes.map(|(_, host, _)| *host).collect()
    }

    /// Every claim on `vip` since the past was forgotten was probed, and there was one.
    fn assert_probed(&self, vip: Vip, why: &str) {
        let claims = self.announcements.iter().filter(|(_, _, of, _)| *of == vip);
        let claims: Vec<Station> = claims.map(|(_, host, _, _)| *host).collect();
        assert!(!claims.is_empty(), "{why}: nobody claims {vip}");
        assert_eq!(self.probed_by(vip), claims, "{why}: {vip}");
        assert_eq!(self.owners(vip).len(), 1, "{why}: {vip}");
        assert!(self.neighbours.contains_key(&vip), "{why}: {vip} is silent");
    }

    fn assert_served_without_a_probe(&self, why: &str) {
        assert_eq!(self.probes, [], "{why}");
        for vip in self.vips() {
            assert_eq!(self.owners(vip).len(), 1, "{why}: {vip}");
        }
    }
}

#[test]
fn an_address_that_is_removed_and_created_again_is_probed_soon_or_late() {
    for (seed, pause) in seeds(2).flat_map(|seed| [100, 600, 5_000].map(|pause| (seed, pause))) {
        let mut world = settled(3, seed);
        for address in [vip(3), v6()] {
            world.inflict(Fault::Want(address, false));
            world.run(ms(pause));
            world.forget_past();
            world.inflict(Fault::Want(address, true));
            world.run(ms(2_000));
            world.assert_probed(address, &format!("seed {seed}, {pause} ms"));
        }
        world.assert_sound(seed);
    }
}

/// As with policy Local and no endpoint.
#[test]
fn what_no_node_could_serve_for_a_while_is_probed() {
    for seed in seeds(4) {
        for address in [vip(3), v6()] {
            let mut world = settled(3, seed);
            world.inflict(Fault::Eligible(address, vec![false; 3]));
            world.run(ms(4_000));
            assert_eq!(world.owners(address), [0_usize; 0], "seed {seed}");
            world.forget_past();
            let on = world.random.index(3);
            let only: Vec<bool> = (0..3).map(|host| host == on).collect();
            world.inflict(Fault::Eligible(address, only));
            world.run(ms(2_000));
            world.assert_probed(address, &format!("seed {seed}"));
        }
    }
}

/// As with policy Local, when the only endpoint's node died.
#[test]
fn what_a_dead_node_left_is_probed_when_nobody_could_take_it_over() {
    for seed in seeds(4) {
        let mut world = settled(3, seed);
        let owner = world.owners(vip(3))[0];
        let only = |one: Station| (0..3).map(move |host| host == one).collect();
        world.inflict(Fault::Eligible(vip(3), only(owner)));
        world.run(ms(500));
        world.inflict(Fault::Die(owner));
        world.run(ms(4_000));
        world.forget_past();
        world.inflict(Fault::Eligible(vip(3), only((owner + 1) % 3)));
        world.run(ms(2_000));
        world.assert_probed(vip(3), &format!("seed {seed}"));
    }
}

#[test]
fn after_a_restart_of_all_speakers_everything_is_probed() {
    for seed in seeds(4) {
        let mut world = settled(3, seed);
        for host in 0..3 {
            world.inflict(Fault::Kill(host));
        }
        world.run(ms(5_000));
        world.forget_past();
        world.neighbours.clear();
        for host in 0..3 {
            world.inflict(Fault::Start(host));
        }
        world.run(ms(5_000));
        for vip in world.vips() {
            world.assert_probed(vip, &format!("seed {seed}"));
        }
        world.assert_sound(seed);
    }
}

#[test]
fn a_takeover_from_a_node_that_dies_is_never_probed() {
    for (seed, hosts) in seeds(3).flat_map(|seed| [2, 3, 7].map(|hosts| (seed, hosts))) {
        let mut world = settled(hosts, seed);
        let victim = world.some_owner();
        world.inflict(Fault::Die(victim));
        world.run(ms(2_000));
        world.assert_served_without_a_probe(&format!("seed {seed}, {hosts} nodes"));
    }
}

#[test]
fn a_process_that_does_not_come_back_is_taken_over_without_a_probe() {
    for seed in seeds(4) {
        let mut world = settled(3, seed);
        let victim = world.some_owner();
        world.inflict(Fault::Kill(victim));
        world.run(ms(5_000));
        world.assert_served_without_a_probe(&format!("seed {seed}"));
    }
}

#[test]
fn whoever_restarts_in_time_probes_nothing() {
    for (seed, sigterm) in seeds(4).flat_map(|seed| [(seed, true), (seed, false)]) {
        let mut world = settled(3, seed);
        let victim = world.some_owner();
        match sigterm {
            true => world.inflict(Fault::Leave(victim, Leaving::Restarting)),
            false => world.inflict(Fault::Kill(victim)),
        }
        world.run(ms(1_500));
        world.inflict(Fault::Start(victim));
        world.run(ms(4_000));
        world.assert_served_without_a_probe(&format!("seed {seed}"));
        world.assert_no_moves(seed);
    }
}

#[test]
fn a_handover_is_never_probed() {
    for seed in seeds(4) {
        let mut world = settled(4, seed);
        let owner = world.some_owner();
        world.inflict(Fault::Cordon(owner, true));
        world.run(ms(1_000));
        let owner = world.owners(vip(3))[0];
        world.inflict(Fault::MoveTo(vip(3), Some((owner + 1) % 4)));
        world.run(ms(1_000));
        let owner = world.some_owner();
        world.inflict(Fault::Leave(owner, Leaving::Draining));
        world.run(ms(3_000));
        world.assert_served_without_a_probe(&format!("seed {seed}"));
    }
}

/// Only what was announced was ours: who dies or hands over while it asks has shown nothing.
#[test]
fn who_takes_over_an_address_that_was_not_announced_yet_probes_it_too() {
    for seed in seeds(6) {
        let mut world = settled(3, seed);
        // A printer has it.
        world.taken.insert(vip(90));
        world.inflict(Fault::Want(vip(90), true));
        world.run(ms(1_000));
        for round in 0..3 {
            let why = format!("seed {seed}, round {round}");
            let [owner] = world.owners(vip(90))[..] else {
                panic!("{why}");
            };
            world.forget_past();
            match round {
                0 => world.inflict(Fault::Cordon(owner, true)),
                1 => world.inflict(Fault::Kill(owner)),
                _ => world.inflict(Fault::Die(owner)),
            }
            if round == 1 {
                world.run(ms(1_000));
                world.inflict(Fault::Start(owner));
            }
            world.run(ms(4_000));
            assert_eq!(world.probed_by(vip(90)).len(), 1, "{why}");
            assert!(!world.neighbours.contains_key(&vip(90)), "{why}: announced");
        }
        // The printer is gone.
        world.taken.clear();
        let [owner] = world.owners(vip(90))[..] else {
            panic!("seed {seed}");
        };
        world.find_free(owner, vip(90));
        world.run(ms(1_000));
        world.forget_past();
        world.inflict(Fault::Die(owner));
        world.run(ms(2_000));
        assert_eq!(world.owners(vip(90)).len(), 1, "seed {seed}");
        assert_eq!(world.probes, [], "seed {seed}: now it is ours");
    }
}

/// Their probes are all that those who cannot hear each other know of a claim in the making.
#[test]
fn where_nobody_hears_anybody_the_probes_decide_who_announces() {
    for seed in seeds(8) {
        let mut world = World::new(3, 0, seed, &FAST);
        for host in 0..3 {
            world.inflict(Fault::Firewall(host, true));
            world.inflict(Fault::Start(host));
        }
        world.run(ms(10_000));
        // A lesser one may ask first.
        world.api_lag = ms([20, 200][(seed % 2) as usize]);
        for n in 0..6 {
            world.inflict(Fault::Want(vip(n), true));
        }
        world.run(ms(8_000));
        for n in 0..6 {
            assert_eq!(world.owners(vip(n)).len(), 1, "seed {seed}");
            assert!(!world.probed_by(vip(n)).is_empty(), "seed {seed}");
            let announced = world.moves.iter().filter(|one| one.vip == vip(n));
            assert_eq!(announced.count(), 1, "seed {seed}: by one alone");
        }
        world.assert_sound(seed);
    }
}
