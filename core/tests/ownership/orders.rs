//! H3: orders that speakers hear of at different times move an address once each at most.

use std::collections::BTreeMap;
use std::time::Duration;

use ferrolb_core::ownership::{FAST, Leaving, Settings};

use crate::faults::Fault;
use crate::seeds;
use crate::world::{Vip, World, ms, vip};

const VIPS: usize = 4;

/// Whatever people and their tools order.
fn random_order(world: &mut World) -> (Fault, Vec<Vip>) {
    let hosts = world.hosts.len();
    let host = world.random.index(hosts);
    let of = vip(world.random.index(VIPS));
    let all = || (0..VIPS).map(vip).collect();
    let coin = world.random.below(2) == 0;
    match world.random.below(6) {
        0 => (Fault::Cordon(host, coin), all()),
        1 => (Fault::Exclude(host, coin), all()),
        // Somebody is always eligible: where nobody is, nobody serves.
        2 => {
            let eligible = (0..hosts).map(|host| host == 0 || world.random.chance(600));
            (Fault::Eligible(of, eligible.collect()), vec![of])
        }
        3 => (Fault::MoveTo(of, None), vec![of]),
        _ => (Fault::MoveTo(of, Some(host)), vec![of]),
    }
}

/// Gives orders for a while; how many concern each address.
fn order(world: &mut World, orders: u64, pause: std::ops::Range<u64>) -> BTreeMap<Vip, usize> {
    let mut given = BTreeMap::new();
    for _ in 0..orders {
        let (order, concerned) = random_order(world);
        for vip in concerned {
            *given.entry(vip).or_default() += 1;
        }
        world.inflict(order);
        let pause = world.random.millis(pause.clone());
        world.run(pause);
    }
    given
}

impl World {
    fn moves_of(&self, vip: Vip) -> usize {
        self.moves.iter().filter(|one| one.vip == vip).count()
    }

    fn assert_moved_at_most(&self, given: &BTreeMap<Vip, usize>, why: &str) {
        for n in 0..VIPS {
            let (moved, orders) = (self.moves_of(vip(n)), given.get(&vip(n)).copied());
            let moves: Vec<_> = self.moves.iter().filter(|one| one.vip == vip(n)).collect();
            assert!(
                moved <= orders.unwrap_or(0),
                "{why}: {moved} moves for {orders:?} orders: {moves:#?}"
            );
        }
    }

    /// One of the best of those who may have it has it.
    fn assert_as_ordered(&self, why: &str) {
        for (vip, (_, candidates)) in &self.truth.wanted {
            let owners = self.owners(*vip);
            let ids: Vec<_> = owners.iter().map(|&host| self.hosts[host].id).collect();
            let order = || candidates.in_order();
            let tier = order().next().map(|one| one.tier);
            let best = order().filter(|one| Some(one.tier) == tier);
            let best: Vec<_> = best.map(|one| one.node).collect();
            assert!(
                ids.len() == 1 && best.contains(&ids[0]),
                "{why}: {vip} is announced by {owners:?}, not by one of {best:?}"
            );
        }
    }
}

/// A person changes their mind: the first speaker hears of it long before the second.
#[test]
fn two_moves_against_each_other_move_an_address_twice_at_most() {
    for (seed, pause) in seeds(20).flat_map(|seed| [20, 300, 500].map(|pause| (seed, pause))) {
        let mut world = World::settled(3, VIPS, seed, &FAST);
        let away = world.owners(vip(0))[0];
        let (one, other) = ((away + 1) % 3, (away + 2) % 3);
        for lag in [100, 400, 1_500] {
            world.api_lag = ms(lag);
            world.forget_past();
            for to in [one, other, one] {
                world.inflict(Fault::MoveTo(vip(0), Some(to)));
                world.run(ms(pause));
            }
            world.run(ms(4_000));
            let why = format!("seed {seed}, {pause} ms apart, heard of within {lag} ms");
            assert_eq!(world.owners(vip(0)), [one], "{why}");
            assert!(world.moves.len() <= 3, "{why}: {:#?}", world.moves);
            assert!(world.dark.is_empty(), "{why}");
            world.inflict(Fault::MoveTo(vip(0), Some(other)));
            world.run(ms(4_000));
        }
        world.assert_sound(seed);
    }
}

#[test]
fn any_orders_move_each_address_once_each_at_most_and_are_carried_out() {
    let best_rank = Settings {
        preference: ferrolb_core::ownership::Preference::BestRank,
        ..FAST
    };
    for seed in seeds(120) {
        let hosts = [2, 3, 4, 7][(seed % 4) as usize];
        let lag = [30, 300, 1_000, 3_000][(seed / 4 % 4) as usize];
        let loss = [0, 50][(seed / 16 % 2) as usize];
        let settings = [&FAST, &best_rank][usize::from(seed % 7 == 0)];
        let mut world = World::settled(hosts, VIPS, seed, settings);
        world.api_lag = ms(lag);
        world.network.loss = loss;
        let given = order(&mut world, 12, 5..600);
        world.run(ms(lag) + ms(5_000));
        let why = format!("seed {seed}, {hosts} nodes, lag {lag} ms, loss {loss}");
        world.assert_moved_at_most(&given, &why);
        world.assert_as_ordered(&why);
        assert_eq!(world.dark, [], "{why}");
        world.check("carried out");
        world.assert_sound(seed);
    }
}

#[test]
fn orders_while_speakers_restart_move_each_address_once_each_at_most() {
    for seed in seeds(24) {
        let hosts = [3, 4, 5][(seed % 3) as usize];
        let mut world = World::settled(hosts, VIPS, seed, &FAST);
        world.api_lag = ms([30, 400, 1_200][(seed / 3 % 3) as usize]);
        for host in 0..hosts {
            let at = ms(1_500 * host as u64) + world.random.millis(0..300);
            world.schedule(at, Fault::Leave(host, Leaving::Restarting));
            let back: Duration = world.random.millis(700..1_300);
            world.schedule(at + back, Fault::Start(host));
        }
        let given = order(&mut world, 15, 50..900);
        world.run(ms(8_000));
        let why = format!("seed {seed}");
        world.assert_moved_at_most(&given, &why);
        world.assert_as_ordered(&why);
        world.check("carried out");
        world.assert_sound(seed);
    }
}

/// Whoever is the best hears of the order last: `kubectl ferrolb plan drain` has named it, and the others are as
/// good in their own eyes.
#[test]
fn an_address_goes_to_the_best_one_though_it_hears_of_the_order_last() {
    for (seed, lag) in seeds(30).flat_map(|seed| [20, 200, 700].map(|lag| (seed, lag))) {
        let mut world = World::settled([3, 4, 5][(seed % 3) as usize], VIPS, seed, &FAST);
        world.api_lag = ms(lag);
        let owner = world.owners(vip(0))[0];
        world.inflict(Fault::Cordon(owner, true));
        world.run(ms(3_000));
        for n in 0..VIPS {
            let best = world.order_of(vip(n))[0];
            let owners = world.owners(vip(n));
            let is_moved = world.moves_of(vip(n)) > 0;
            assert!(
                !is_moved || owners == [best],
                "seed {seed}, heard of within {lag} ms: {owners:?}, not {best}"
            );
        }
        assert_eq!(world.moves_of(vip(0)), 1, "seed {seed}, {lag} ms");
        world.assert_sound(seed);
    }
}

/// Its connection to the API server hangs.
#[test]
fn an_address_goes_to_the_next_one_after_a_second_where_the_best_hears_of_no_order() {
    for seed in seeds(12) {
        let mut world = World::settled(3, VIPS, seed, &FAST);
        let owner = world.owners(vip(0))[0];
        let mut order = world.order_of(vip(0)).into_iter();
        let deaf = order.find(|host| *host != owner);
        let deaf = deaf.expect("three may have it");
        world.hosts[deaf].api_at = world.now + ms(60_000);
        world.inflict(Fault::Cordon(owner, true));
        world.run(ms(900));
        assert_eq!(world.owners(vip(0)), [owner], "seed {seed}: not yet");
        world.run(ms(1_100));
        assert_eq!(world.owners(vip(0)), [3 - owner - deaf], "seed {seed}");
        assert_eq!(world.dark, [], "seed {seed}");
    }
}

/// The best one hears of the order late: the second best knows that it is not its own.
#[test]
fn a_second_best_that_knows_a_better_one_does_not_take_the_address() {
    for seed in seeds(12) {
        let mut world = World::settled(3, VIPS, seed, &FAST);
        let owner = world.owners(vip(0))[0];
        let best = (owner + 1) % 3;
        world.hosts[best].api_at = world.now + ms(1_800);
        world.inflict(Fault::MoveTo(vip(0), Some(best)));
        world.inflict(Fault::Cordon(owner, true));
        world.run(ms(4_000));
        assert_eq!(world.owners(vip(0)), [best], "seed {seed}");
        assert_eq!(world.moves_of(vip(0)), 1, "seed {seed}: {:#?}", world.moves);
    }
}

/// The best one cannot take it, and only it knows: the second best does not wait for it for ever.
#[test]
fn whoever_is_second_best_serves_where_the_best_refuses() {
    for seed in seeds(6) {
        let mut world = World::settled(3, VIPS, seed, &FAST);
        let owner = world.owners(vip(0))[0];
        let (best, second) = ((owner + 1) % 3, (owner + 2) % 3);
        // Its own link is down, which the API does not tell.
        world.unable.insert((vip(0), best));
        world.inflict(Fault::MoveTo(vip(0), Some(best)));
        world.inflict(Fault::Cordon(owner, true));
        world.run(ms(2_000));
        assert_eq!(world.owners(vip(0)), [second], "seed {seed}");
        assert!(
            world.moves_of(vip(0)) == 1,
            "seed {seed}: {:#?}",
            world.moves
        );
        world.unable.clear();
        world.inflict(Fault::MoveTo(vip(0), Some(best)));
        world.run(ms(2_000));
        assert_eq!(
            world.owners(vip(0)),
            [best],
            "seed {seed}: its link is back"
        );
    }
}

/// One of them has a version that asks nobody: it hands over, and takes, as it always has.
#[test]
fn with_a_version_that_asks_nobody_orders_are_carried_out_too() {
    for seed in seeds(12) {
        let mut world = World::new(3, VIPS, seed, &FAST);
        world.asks_nobody.insert((seed % 3) as usize);
        (0..3).for_each(|host| world.inflict(Fault::Start(host)));
        world.run(ms(6_000));
        for _ in 0..4 {
            let (host, of) = (world.random.index(3), vip(world.random.index(VIPS)));
            world.inflict(Fault::MoveTo(of, Some(host)));
            world.run(ms(2_000));
            assert_eq!(world.owners(of), [host], "seed {seed}");
        }
        world.assert_sound(seed);
    }
}
