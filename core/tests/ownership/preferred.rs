//! H4: preferred nodes take their addresses back, late and one at a time.

use std::time::Duration;

use ferrolb_core::Instant;
use ferrolb_core::ownership::{Cause, FAST, Leaving, Preference, Settings};

use crate::faults::Fault;
use crate::network::Station;
use crate::seeds;
use crate::world::{Vip, World, ms, vip};

/// So long a node has to be well, and a little less and more: it joins, and its death is found.
const ALMOST: Duration = ms(28_500);
const AFTER_ALL: Duration = ms(33_000);

/// `hosts` of which the first is preferred, and has all `vips`.
fn preferring_the_first(hosts: usize, vips: usize, seed: u64) -> World {
    let mut world = World::settled(hosts, 0, seed, &FAST);
    world.inflict(Fault::Weigh(vec![(0, 50)]));
    for n in 0..vips {
        world.inflict(Fault::Want(vip(n), true));
    }
    world.run(ms(2_000));
    assert_eq!(
        world.hosts[0].announcing.len(),
        vips,
        "seed {seed}: all new ones are its own"
    );
    world.forget_past();
    world
}

impl World {
    /// Runs, and sees to it that each address is announced by one node all along: by two only while one is
    /// being handed over, and by none only while a death is being found.
    fn run_with_one_owner(&mut self, duration: Duration, seed: u64) {
        const STEP: Duration = ms(20);
        const FOUND: Duration = ms(500);
        let (vips, mut doubled, mut served) = (self.vips(), Vec::new(), self.now);
        let end = self.now + duration;
        while self.now < end {
            self.run(STEP);
            let twice = |vip: &Vip| self.owners(*vip).len() > 1;
            let still: Vec<Vip> = vips.iter().copied().filter(twice).collect();
            let both = still.iter().find(|vip| doubled.contains(*vip));
            assert_eq!(
                both, None,
                "seed {seed}: announced by two at {:?}",
                self.now
            );
            doubled = still;
            if vips.iter().all(|vip| !self.owners(*vip).is_empty()) {
                served = self.now;
            }
            assert!(
                self.now <= served + FOUND,
                "seed {seed}: silent at {:?}",
                self.now
            );
        }
        self.check("watched");
        self.assert_sound(seed);
    }

    fn has_all(&self, host: Station) -> bool {
        self.hosts[host].announcing.len() == self.vips().len()
    }

    fn takes_back(&self) -> Vec<Instant> {
        let announcements = self.announcements.iter();
        let handed_over = announcements.filter(|(_, _, _, cause)| *cause == Cause::Handover);
        handed_over.map(|(at, ..)| *at).collect()
    }
}

#[test]
fn a_preferred_node_takes_its_address_back_once_when_it_has_been_well_for_30_seconds() {
    for (seed, settings) in [(1, FAST), (2, FAST), (3, ferrolb_core::ownership::CALM)] {
        let mut world = World::settled(3, 1, seed, &settings);
        world.inflict(Fault::Weigh(vec![(0, 50)]));
        world.run(AFTER_ALL);
        world.inflict(Fault::Die(0));
        world.run(ms(5_000));
        assert!(world.hosts[0].announcing.is_empty());
        world.inflict(Fault::Boot(0));
        world.forget_past();
        world.run(ALMOST);
        world.assert_no_moves(seed);
        world.run_with_one_owner(AFTER_ALL - ALMOST, seed);
        assert_eq!(world.owners(vip(0)), [0], "seed {seed}");
        world.run(AFTER_ALL);
        assert_eq!(world.moves.len(), 1, "seed {seed}: {:?}", world.moves);
        assert_eq!(world.dark, [], "seed {seed}: make before break");
        world.check("at last");
        world.assert_sound(seed);
    }
}

#[test]
fn ten_addresses_go_back_one_after_another() {
    for seed in seeds(2) {
        // Two nodes: all have one giver.
        let mut world = preferring_the_first(2, 10, seed);
        world.inflict(Fault::Die(0));
        world.run(ms(5_000));
        world.inflict(Fault::Boot(0));
        world.forget_past();
        world.run(AFTER_ALL);
        let began = world.hosts[0].announcing.len();
        assert!((1..6).contains(&began), "seed {seed}: {began} already");
        // A process that is stopped for a moment may get one offer less; nothing is hurried after it.
        world.inflict(Fault::Stop(0, ms(40)));
        world.run_with_one_owner(ms(12_000), seed);
        assert!(world.has_all(0), "seed {seed}");
        let at = world.takes_back();
        assert_eq!((at.len(), world.moves.len()), (10, 10), "seed {seed}");
        let pauses = at.windows(2).map(|two| two[1].saturating_since(two[0]));
        let least = pauses.min().expect("ten");
        assert!(least >= ms(990), "seed {seed}: {least:?} between two");
        assert_eq!(world.dark, [], "seed {seed}");
    }
}

/// Each owner gives one at a time: how many owners there are is how many come at once.
#[test]
fn several_owners_give_one_at_a_time_each() {
    for seed in seeds(2) {
        let mut world = preferring_the_first(4, 12, seed);
        world.inflict(Fault::Die(0));
        world.run(ms(5_000));
        let givers: Vec<(Vip, Station)> = world
            .vips()
            .iter()
            .map(|vip| (*vip, world.owners(*vip)[0]))
            .collect();
        world.inflict(Fault::Boot(0));
        world.forget_past();
        world.run_with_one_owner(AFTER_ALL + ms(12_000), seed);
        assert!(world.has_all(0), "seed {seed}");
        for giver in 1..4 {
            let its = |of: &Vip| givers.contains(&(*of, giver));
            let at: Vec<_> = world.moves.iter().filter(|one| its(&one.vip)).collect();
            let pauses = at
                .windows(2)
                .map(|two| two[1].at.saturating_since(two[0].at));
            assert!(
                pauses.min().is_none_or(|least| least >= ms(990)),
                "seed {seed}: {at:?}"
            );
        }
    }
}

#[test]
fn one_that_cannot_take_an_address_holds_up_none_of_the_others() {
    for seed in seeds(2) {
        let mut world = preferring_the_first(3, 4, seed);
        world.inflict(Fault::Die(0));
        world.run(ms(5_000));
        // Of the first address, and no other: its own link to it is down, and the API does not tell.
        world.unable.insert((vip(0), 0));
        world.inflict(Fault::Boot(0));
        world.run_with_one_owner(AFTER_ALL + ms(8_000), seed);
        assert_eq!(world.hosts[0].announcing.len(), 3, "seed {seed}");
        assert_ne!(world.owners(vip(0)), [0], "seed {seed}");
        world.unable.clear();
        world.inflict(Fault::Want(vip(9), true));
        world.run_with_one_owner(AFTER_ALL, seed);
        assert!(world.has_all(0), "seed {seed}: and it is asked again later");
    }
}

#[test]
fn a_node_that_comes_and_goes_gets_nothing_until_it_stays() {
    let comes_and_goes: [fn(&mut World); 4] = [
        |world| {
            world.inflict(Fault::Die(0));
            world.schedule(ms(4_000), Fault::Boot(0));
        },
        // Its speaker, and nobody has a verdict on it.
        |world| {
            world.inflict(Fault::Leave(0, Leaving::Restarting));
            world.schedule(ms(900), Fault::Start(0));
        },
        |world| {
            world.inflict(Fault::Doubtful(0, true));
            world.schedule(ms(1_000), Fault::Doubtful(0, false));
        },
        |world| {
            world.inflict(Fault::Cordon(0, true));
            world.schedule(ms(1_000), Fault::Cordon(0, false));
        },
    ];
    for (seed, come_and_go) in (0..).zip(comes_and_goes) {
        let mut world = preferring_the_first(3, 3, seed);
        world.inflict(Fault::Die(0));
        world.run(ms(5_000));
        world.inflict(Fault::Boot(0));
        world.run(ms(5_000));
        world.forget_past();
        for _ in 0..4 {
            come_and_go(&mut world);
            world.run_with_one_owner(ms(25_000), seed);
            world.assert_no_moves(seed);
        }
        world.run_with_one_owner(AFTER_ALL, seed);
        assert!(world.has_all(0), "{seed}: it stays, so it has them back");
        assert_eq!(world.moves.len(), 3, "{seed}");
    }
}

/// Its speaker was stopped, and all that happened meanwhile comes at once.
#[test]
fn an_owner_that_slept_through_an_absence_counts_anew_all_the_same() {
    for seed in seeds(2) {
        let mut world = preferring_the_first(3, 1, seed);
        world.inflict(Fault::Die(0));
        world.run(ms(5_000));
        world.inflict(Fault::Boot(0));
        world.run(ms(20_000));
        world.forget_past();
        let owner = world.owners(vip(0))[0];
        world.inflict(Fault::Stop(owner, ms(1_500)));
        world.inflict(Fault::Kill(0));
        world.schedule(ms(200), Fault::Start(0));
        world.run(ms(1_500) + ALMOST);
        world.assert_no_moves(seed);
        world.run_with_one_owner(AFTER_ALL - ALMOST, seed);
        assert!(world.has_all(0), "seed {seed}");
    }
}

/// Nothing else has the new owner look again.
#[test]
fn one_that_missed_its_turn_has_the_address_later() {
    for seed in seeds(3) {
        let mut world = preferring_the_first(4, 1, seed);
        world.inflict(Fault::MoveTo(vip(0), Some(1)));
        world.run(ms(2_000));
        world.inflict(Fault::Die(1));
        world.run(ms(40));
        world.inflict(Fault::Stop(0, ms(300)));
        world.run(ms(2_000));
        let owner = world.owners(vip(0))[0];
        assert_ne!(owner, 0, "seed {seed}: it was stopped");
        world.run_with_one_owner(AFTER_ALL, seed);
        assert!(world.has_all(0), "seed {seed}");
    }
}

#[test]
fn a_node_that_is_not_well_gets_nothing() {
    let unwell: [fn(Station) -> Fault; 3] = [
        |host| Fault::Doubtful(host, true),
        |host| Fault::Cordon(host, true),
        |host| Fault::Exclude(host, true),
    ];
    for (seed, unwell) in (0..).zip(unwell) {
        let mut world = preferring_the_first(3, 3, seed);
        world.inflict(Fault::Die(0));
        world.run(ms(5_000));
        world.inflict(Fault::Boot(0));
        world.run(ms(1_000));
        world.inflict(unwell(0));
        world.forget_past();
        world.run_with_one_owner(AFTER_ALL * 2, seed);
        world.assert_no_moves(seed);
    }
}

#[test]
fn what_somebody_moved_stays_there_and_goes_back_once_nobody_asks_for_it() {
    for seed in seeds(2) {
        let mut world = preferring_the_first(3, 2, seed);
        world.inflict(Fault::MoveTo(vip(0), Some(1)));
        world.run_with_one_owner(AFTER_ALL * 2, seed);
        assert_eq!(world.owners(vip(0)), [1], "seed {seed}");
        assert_eq!(world.moves.len(), 1, "seed {seed}");
        world.inflict(Fault::MoveTo(vip(0), None));
        world.run(ALMOST);
        assert_eq!(world.moves.len(), 1, "seed {seed}: not at once");
        world.run_with_one_owner(AFTER_ALL - ALMOST, seed);
        assert!(world.has_all(0), "seed {seed}");
        assert_eq!(
            (world.moves.len(), &world.dark[..]),
            (2, &[][..]),
            "seed {seed}"
        );
        // Where nobody has it that it was moved to, weights count among the others.
        world.inflict(Fault::MoveTo(vip(0), Some(1)));
        world.run(ms(1_000));
        world.inflict(Fault::Die(1));
        world.run_with_one_owner(ms(2_000), seed);
        assert_eq!(world.owners(vip(0)), [0], "seed {seed}");
    }
}

#[test]
fn weights_that_change_move_each_address_once_and_equal_ones_or_none_move_nothing() {
    for seed in seeds(3) {
        let mut world = World::settled(3, 6, seed, &FAST);
        world.api_lag = ms([30, 400, 3_000][(seed % 3) as usize]);
        let settle = AFTER_ALL + ms(12_000);
        let equal = vec![(0, 7), (1, 7), (2, 7)];
        world.inflict(Fault::Weigh(equal));
        world.run_with_one_owner(settle, seed);
        world.assert_no_moves(seed);
        let elsewhere = 6 - world.hosts[2].announcing.len();
        world.inflict(Fault::Weigh(vec![(2, 10)]));
        world.run_with_one_owner(settle, seed);
        assert!(world.has_all(2), "seed {seed}");
        assert_eq!(world.moves.len(), elsewhere, "seed {seed}");
        world.forget_past();
        // Faster than a node can be well for long enough.
        for turn in 0..6 {
            world.inflict(Fault::Weigh(vec![(turn % 2, 10)]));
            world.run_with_one_owner(ms(20_000), seed);
        }
        world.inflict(Fault::Weigh(Vec::new()));
        world.run_with_one_owner(settle, seed);
        world.assert_no_moves(seed);
    }
}

/// A weight may add to another one, and the best is not always there.
#[test]
fn of_several_preferred_nodes_the_best_that_is_well_has_it() {
    for seed in seeds(2) {
        let mut world = World::settled(4, 2, seed, &FAST);
        world.inflict(Fault::Weigh(vec![(0, 100), (1, 50)]));
        world.inflict(Fault::Die(0));
        world.run_with_one_owner(AFTER_ALL + ms(3_000), seed);
        assert!(world.has_all(1), "seed {seed}: the second best");
        world.inflict(Fault::Boot(0));
        world.forget_past();
        world.run_with_one_owner(AFTER_ALL + ms(3_000), seed);
        assert!(world.has_all(0), "seed {seed}: the best");
        assert_eq!(world.moves.len(), 2, "seed {seed}");
    }
}

/// One of them has a version that knows no weights: it gives nothing for them, and takes nothing for them.
#[test]
fn among_versions_that_know_no_weights_each_address_has_one_owner_all_along() {
    for seed in seeds(6) {
        let mut world = World::settled(3, 6, seed, &FAST);
        world.knows_no_weights = [0, 1, 2]
            .into_iter()
            .filter(|host| (seed + 1) >> host & 1 == 1)
            .collect();
        world.inflict(Fault::Weigh(vec![(0, 50)]));
        world.run_with_one_owner(AFTER_ALL + ms(8_000), seed);
        world.forget_past();
        let dies = (seed % 3) as usize;
        world.inflict(Fault::Die(dies));
        world.run_with_one_owner(ms(5_000), seed);
        world.inflict(Fault::Boot(dies));
        world.run_with_one_owner(AFTER_ALL * 2, seed);
        assert!(world.moves.len() <= 12, "seed {seed}: {:?}", world.moves);
        // Everybody has the new version.
        world.knows_no_weights.clear();
        world.inflict(Fault::Weigh(vec![(0, 51)]));
        world.run_with_one_owner(AFTER_ALL + ms(8_000), seed);
        assert!(world.has_all(0), "seed {seed}");
    }
}

#[test]
fn with_metallbs_way_the_preferred_node_has_its_addresses_back_at_once() {
    let settings = Settings {
        preference: Preference::BestRank,
        ..FAST
    };
    let mut world = World::settled(3, 6, 1, &settings);
    world.inflict(Fault::Weigh(vec![(0, 50)]));
    world.run_with_one_owner(ms(1_000), 1);
    assert!(world.has_all(0));
}
