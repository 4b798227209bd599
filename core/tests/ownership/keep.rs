//! Open connections through addresses that move: who passes them on to whom, and for how long.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use ferrolb_core::Instant;
use ferrolb_core::keep::{Giver, Keep, Order, Station as Target};
use ferrolb_core::ownership::{Cause, FAST, KernelAnswer, Leaving};

use crate::faults::Fault;
use crate::network::Station;
use crate::seeds;
use crate::world::{Vip, World, ms, vip};

const HOSTS: usize = 4;
const VIPS: usize = 6;
/// Often enough to see a claim before its giver has fallen silent.
const STEP: Duration = Duration::from_micros(200);
/// No entry for a dead or a present owner is older.
const AT_ONCE: Duration = ms(200);

/// A keeper's decisions on each host, beside its speaker.
struct Keepers {
    keeps: Vec<Keep>,
    /// What the keepers of the hosts pass on, and to whom.
    in_force: BTreeMap<(Station, Vip), IpAddr>,
    seen: usize,
}

impl Keepers {
    fn new(world: &World) -> Self {
        let stations = |me: Station| {
            let others = world
                .hosts
                .iter()
                .enumerate()
                .filter(move |(host, _)| *host != me);
            others.map(|(_, host)| target(world, host.id)).collect()
        };
        let keeps = (0..HOSTS).map(|host| {
            let mut keep = Keep::new(Duration::from_secs(600));
            keep.set_stations(stations(host));
            keep
        });
        Self {
            keeps: keeps.collect(),
            in_force: BTreeMap::new(),
            seen: world.announcements.len(),
        }
    }

    fn run(&mut self, world: &mut World, time: Duration) {
        let until = world.now + time;
        while world.now < until {
            world.run(STEP);
            self.follow(world);
        }
    }

    fn follow(&mut self, world: &World) {
        let now = world.now;
        let new = &world.announcements[self.seen..];
        let takeovers = new
            .iter()
            .filter(|(_, _, _, cause)| matches!(cause, Cause::Handover | Cause::Orphan));
        for &(_, host, vip, _) in takeovers {
            let speaker = world.hosts[host].speaker.as_ref();
            if let Some(node) = speaker.and_then(|speaker| speaker.giver_of(vip)) {
                let at = target(world, node);
                assert!(self.keeps[host].handle_taken(vip, Giver { node, at }, now));
            }
        }
        self.seen = world.announcements.len();
        for host in 0..HOSTS {
            self.follow_one(world, host);
        }
    }

    fn follow_one(&mut self, world: &World, host: Station) {
        let (now, keep) = (world.now, &mut self.keeps[host]);
        let Some(speaker) = &world.hosts[host].speaker else {
            return;
        };
        let mine = |vip: &Vip| world.hosts[host].announcing.contains(vip);
        let kept: Vec<Vip> = keep.kept(now).map(|kept| kept.vip).collect();
        for vip in kept.into_iter().filter(|vip| !mine(vip)) {
            keep.handle_given(vip);
        }
        keep.handle_standings(|node| speaker.standing_of(node), now);
        keep.handle_timeout(now);
        while let Some(asked) = keep.poll_probe() {
            let other = world
                .hosts
                .iter()
                .position(|other| other.addresses[0] == asked);
            let answers = other.is_some_and(|other| {
                world.hosts[other].powered
                    && world.network.connects(host, other)
                    && world.network.connects(other, host)
            });
            if answers {
                keep.handle_kernel_answer(asked, KernelAnswer::Echo);
            }
        }
        while let Some(order) = keep.poll_order() {
            match order {
                Order::Keep(entry) => drop(self.in_force.insert((host, entry.vip), entry.via)),
                Order::Drop(vip) => drop(self.in_force.remove(&(host, vip))),
                Order::Stations(_) => {}
            }
        }
    }

    /// What is passed on to this host.
    fn to(&self, world: &World, host: Station) -> Vec<(Station, Vip)> {
        let address = world.hosts[host].addresses[0];
        let all = self.in_force.iter().filter(|(_, via)| **via == address);
        all.map(|(key, _)| *key).collect()
    }

    /// Only who announces an address passes on for it, and never to itself.
    fn assert_sound(&self, world: &World, seed: u64) {
        for ((host, vip), via) in &self.in_force {
            let host = &world.hosts[*host];
            assert!(
                host.announcing.contains(vip),
                "seed {seed}: {} passes on {vip}",
                host.name
            );
            assert!(!host.addresses.contains(via), "seed {seed}");
        }
    }
}

fn target(world: &World, node: ferrolb_core::ownership::NodeId) -> Target {
    let host = &world.hosts[world.station(node)];
    Target {
        address: host.addresses[0],
        mac: host.mac,
    }
}

#[test]
fn every_planned_move_is_kept_by_the_new_owner_and_a_dead_old_owner_by_nobody_for_long() {
    for seed in seeds(15) {
        let mut world = World::settled(HOSTS, VIPS, seed, &FAST);
        let mut keepers = Keepers::new(&world);
        let old = world.some_owner();
        let moved = world.hosts[old].announcing.clone();
        world.inflict(Fault::Cordon(old, true));
        keepers.run(&mut world, ms(600));
        let kept: Vec<Vip> = keepers
            .to(&world, old)
            .into_iter()
            .map(|(_, vip)| vip)
            .collect();
        assert_eq!(
            kept.len(),
            moved.len(),
            "seed {seed}: {kept:?} of {moved:?}"
        );
        keepers.assert_sound(&world, seed);
        // A drained node's speaker says good-bye, and its kernel goes on for a while.
        let leaves = seed % 2 == 0;
        if leaves {
            world.inflict(Fault::Leave(old, Leaving::Draining));
            keepers.run(&mut world, ms(2_000));
            assert_eq!(
                keepers.to(&world, old).len(),
                moved.len(),
                "seed {seed}: its kernel lives"
            );
        }
        world.inflict(Fault::Die(old));
        keepers.run(&mut world, AT_ONCE);
        assert_eq!(
            keepers.to(&world, old),
            [],
            "seed {seed}, left before: {leaves}"
        );
        keepers.assert_sound(&world, seed);
    }
}

/// Its process has forgotten how often each address has moved, and the others have not.
#[test]
fn a_node_whose_speaker_has_restarted_since_the_last_move_is_the_old_owner_as_well() {
    for (seed, restarted_first) in seeds(10).flat_map(|seed| [(seed, true), (seed, false)]) {
        let mut world = World::settled(HOSTS, VIPS, seed, &FAST);
        for host in [0, 1, 2, 0, 3, 1] {
            world.inflict(Fault::MoveTo(vip(0), Some(host)));
            world.run(ms(1_000));
        }
        world.inflict(Fault::MoveTo(vip(0), None));
        let old = 1;
        assert_eq!(world.owners(vip(0)), [old], "seed {seed}");
        let mut all = vec![0, 2, 3];
        all.insert(if restarted_first { 0 } else { 3 }, old);
        for host in all {
            world.inflict(Fault::Leave(host, Leaving::Restarting));
            world.run(ms(300));
            world.inflict(Fault::Start(host));
            world.run(ms(2_000));
        }
        assert_eq!(world.owners(vip(0)), [old], "seed {seed}");
        let moved = world.hosts[old].announcing.clone();
        let mut keepers = Keepers::new(&world);
        world.inflict(Fault::Cordon(old, true));
        keepers.run(&mut world, ms(600));
        let kept = keepers.to(&world, old);
        assert_eq!(
            kept.len(),
            moved.len(),
            "seed {seed}: {kept:?} of {moved:?}"
        );
        keepers.assert_sound(&world, seed);
    }
}

#[test]
fn a_node_that_dies_with_its_addresses_leaves_nothing_to_keep() {
    for seed in seeds(15) {
        let mut world = World::settled(HOSTS, VIPS, seed, &FAST);
        let mut keepers = Keepers::new(&world);
        let dead = world.some_owner();
        world.inflict(Fault::Die(dead));
        for _ in 0..30 {
            keepers.run(&mut world, ms(50));
            assert_eq!(keepers.to(&world, dead), [], "seed {seed}");
        }
        assert!(
            !world.moves.is_empty(),
            "seed {seed}: others have taken over"
        );
    }
}

#[test]
fn a_speaker_that_stays_away_from_a_living_node_is_a_planned_move() {
    for seed in seeds(15) {
        let mut world = World::settled(HOSTS, VIPS, seed, &FAST);
        let mut keepers = Keepers::new(&world);
        let old = world.some_owner();
        let moved = world.hosts[old].announcing.clone();
        world.inflict(Fault::Kill(old));
        keepers.run(&mut world, ms(5_000));
        assert_eq!(keepers.to(&world, old).len(), moved.len(), "seed {seed}");
        let died: Instant = world.now;
        world.inflict(Fault::Die(old));
        keepers.run(&mut world, AT_ONCE);
        assert_eq!(keepers.to(&world, old), [], "seed {seed}, at {died:?}");
    }
}

#[test]
fn moved_back_it_is_the_other_one_that_passes_on_and_never_both_for_longer_than_at_once() {
    for seed in seeds(15) {
        let mut world = World::settled(HOSTS, VIPS, seed, &FAST);
        let mut keepers = Keepers::new(&world);
        let first = world.some_owner();
        for round in 0..6 {
            let cordoned = round % 2 == 0;
            world.inflict(Fault::Cordon(first, cordoned));
            // Back again: whoever has them now is cordoned in turn.
            for other in (0..HOSTS).filter(|host| *host != first) {
                world.inflict(Fault::Cordon(other, !cordoned));
            }
            keepers.run(&mut world, ms(1_000));
            keepers.assert_sound(&world, seed);
            for vip in world.vips() {
                let passing =
                    (0..HOSTS).filter(|host| keepers.in_force.contains_key(&(*host, vip)));
                assert!(passing.count() <= 1, "seed {seed}: {vip}");
            }
        }
    }
}
