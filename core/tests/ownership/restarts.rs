//! R1 to R4: a restart is not a death, and nothing moves that need not.

use ferrolb_core::ownership::{FAST, Leaving};

use crate::faults::Fault;
use crate::figures::vips_for;
use crate::network::Kind;
use crate::world::{World, ms};
use crate::{rings, seeds};

/// A cluster in which owners are not the best ranked any more: nobody gets anything back by rank.
fn shuffled(hosts: usize, seed: u64) -> World {
    let mut world = World::settled(hosts, vips_for(hosts), seed, &FAST);
    for host in 0..hosts / 2 {
        world.inflict(Fault::Die(host));
        world.run(ms(1_000));
        world.inflict(Fault::Boot(host));
        world.run(ms(2_000));
    }
    world.check("shuffled");
    world.forget_past();
    world
}

fn rolling_restart(hosts: usize, seed: u64, loss: u64, how: fn(usize) -> Fault) {
    let mut world = shuffled(hosts, seed);
    world.inflict(Fault::Loss(loss));
    for host in 0..hosts {
        world.inflict(how(host));
        let away = world.random.millis(50..2_000);
        world.schedule(away, Fault::Start(host));
        world.run(away + ms(1_500));
    }
    world.inflict(Fault::Loss(0));
    world.run(ms(3_000));
    world.check("after the rolling restart");
    world.assert_sound(seed);
    world.assert_no_moves(seed);
}

#[test]
fn a_rolling_restart_moves_nothing() {
    for hosts in [2, 3, 4, 10] {
        for seed in seeds(4) {
            rolling_restart(hosts, seed, 0, |host| {
                Fault::Leave(host, Leaving::Restarting)
            });
        }
    }
}

#[test]
fn a_rolling_restart_at_five_percent_loss_moves_nothing() {
    for hosts in [3, 4, 10] {
        for seed in seeds(6) {
            rolling_restart(hosts, seed, 50, |host| {
                Fault::Leave(host, Leaving::Restarting)
            });
        }
    }
}

#[test]
fn speakers_killed_and_back_within_two_seconds_move_nothing() {
    for hosts in [2, 3, 4, 10] {
        for seed in seeds(4) {
            rolling_restart(hosts, seed, 0, Fault::Kill);
        }
    }
}

/// So fast that nobody has missed it yet.
#[test]
fn a_crash_that_nobody_noticed_moves_nothing() {
    for seed in seeds(20) {
        let mut world = World::settled(4, 20, seed, &FAST);
        let host = world.some_owner();
        world.inflict(Fault::Kill(host));
        let away = world.random.millis(2..60);
        world.schedule(away, Fault::Start(host));
        world.run(ms(4_000));
        world.check("after the crash");
        world.assert_sound(seed);
        world.assert_no_moves(seed);
    }
}

/// L11: its old boots are void; the new one must outbid them.
#[test]
fn a_speaker_whose_clock_went_back_is_heard_and_keeps_its_addresses() {
    for seed in seeds(10) {
        let mut world = World::settled(4, 20, seed, &FAST);
        let host = world.some_owner();
        world.inflict(Fault::Kill(host));
        world.schedule(ms(300), Fault::StartInThePast(host));
        world.run(ms(4_000));
        world.check("after the crash");
        world.assert_sound(seed);
        world.assert_no_moves(seed);
    }
}

#[test]
fn the_returned_speaker_announces_its_addresses_at_once() {
    for seed in seeds(60) {
        let mut world = shuffled(4, seed);
        let host = world.some_owner();
        let held = world.hosts[host].announcing.clone();
        world.inflict(Fault::Leave(host, Leaving::Restarting));
        world.run(ms(1_000));
        world.inflict(Fault::Start(host));
        world.run(ms(20));
        assert_eq!(
            world.hosts[host].announcing, held,
            "seed {seed}: within 20 ms"
        );
    }
}

/// R2: the hold would end while it is still learning.
#[test]
fn a_speaker_that_returns_at_the_last_moment_is_given_the_time_to_learn() {
    for seed in seeds(6) {
        let mut world = World::settled(4, 20, seed, &FAST);
        let host = world.some_owner();
        world.inflict(Fault::Kill(host));
        world.run(ms(2_400));
        let paths = (0..4).map(|from| (from, host)).collect();
        world.inflict(Fault::Lose(Kind::Records, paths));
        world.inflict(Fault::Start(host));
        world.run(ms(200));
        world.inflict(Fault::Lose(Kind::Records, Vec::new()));
        world.run(ms(4_000));
        world.check("afterwards");
        world.assert_sound(seed);
        world.assert_no_moves(seed);
    }
}

#[test]
fn all_speakers_killed_at_once_come_back_to_what_they_had_or_settle() {
    for seed in seeds(6) {
        let mut world = World::settled(4, 20, seed, &FAST);
        for host in 0..4 {
            world.inflict(Fault::Kill(host));
            let away = world.random.millis(100..800);
            world.schedule(away, Fault::Start(host));
        }
        world.run(ms(7_000));
        world.check("after the crash of all");
        world.assert_sound(seed);
    }
}

/// R4, H1: what will not come back hands over first.
#[test]
fn draining_hands_over_at_once_and_never_leaves_an_address_dark() {
    for (hosts, loss) in [(2, 0), (3, 0), (4, 50), (10, 0)] {
        for seed in seeds(6) {
            let mut world = World::settled(hosts, vips_for(hosts), seed, &FAST);
            world.inflict(Fault::Loss(loss));
            let host = world.some_owner();
            let given = world.hosts[host].announcing.len();
            let began = world.now;
            world.inflict(Fault::Leave(host, Leaving::Draining));
            world.run(ms(2_500));
            assert!(
                world.hosts[host].speaker.is_none(),
                "seed {seed}: it may exit"
            );
            let first_moves = &world.moves[..given];
            let last = first_moves
                .iter()
                .map(|a_move| a_move.at.saturating_since(began))
                .max();
            assert!(
                last <= Some(ms(if loss > 0 { 150 } else { 20 })),
                "seed {seed}: {last:?}"
            );
            assert!(world.dark.is_empty(), "seed {seed}: {:?}", world.dark);
            world.inflict(Fault::Loss(0));
            world.run(ms(2_000));
            world.check("after the drain");
            world.assert_sound(seed);
        }
    }
}

#[test]
fn at_15_percent_loss_draining_still_ends_within_300_ms_and_is_never_dark() {
    for seed in seeds(20) {
        let mut world = World::settled(4, 20, seed, &FAST);
        world.inflict(Fault::Loss(150));
        let host = world.some_owner();
        world.inflict(Fault::Leave(host, Leaving::Draining));
        world.run(ms(300));
        assert!(
            world.hosts[host].speaker.is_none(),
            "seed {seed}: it may exit"
        );
        assert!(world.dark.is_empty(), "seed {seed}: {:?}", world.dark);
    }
}

/// H1: the successor has announced, and its record is lost twice: the offer that comes again is
/// answered.
#[test]
fn a_giver_that_missed_its_successors_claims_is_told_and_done_within_40_ms() {
    for (hosts, seed) in rings([2, 3, 4, 10], 5) {
        let mut world = World::settled(hosts, vips_for(hosts), seed, &FAST);
        let giver = world.some_owner();
        let paths = (0..hosts).map(|from| (from, giver)).collect();
        world.inflict(Fault::Lose(Kind::Records, paths));
        world.inflict(Fault::Leave(giver, Leaving::Draining));
        world.schedule(ms(25), Fault::Lose(Kind::Records, Vec::new()));
        world.run(ms(40));
        assert!(
            world.hosts[giver].speaker.is_none(),
            "N = {hosts}, seed {seed}: it may exit"
        );
        assert!(world.dark.is_empty(), "seed {seed}: {:?}", world.dark);
        world.run(ms(2_000));
        world.check("after the drain");
        world.assert_sound(seed);
    }
}

/// H1: the best-ranked successor says no.
#[test]
fn draining_past_a_node_that_refuses_is_over_within_20_ms_too() {
    for seed in seeds(6) {
        let mut world = World::settled(4, 20, seed, &FAST);
        let giver = world.some_owner();
        let unwilling = (giver + 1 + world.random.index(3)) % 4;
        let had = world.hosts[unwilling].announcing.clone();
        // It has learned that it may not take them, and the giver has not.
        let mut truth = (*world.truth).clone();
        for vip in &world.hosts[giver].announcing {
            let (eligible, _) = truth.wanted.get_mut(vip).expect("it is wanted");
            eligible[unwilling] = false;
        }
        let mut speaker = world.hosts[unwilling].speaker.take().expect("it runs");
        world.tell_api(unwilling, &truth, &mut speaker);
        world.hosts[unwilling].speaker = Some(speaker);
        world.inflict(Fault::Leave(giver, Leaving::Draining));
        world.run(ms(20));
        assert!(world.hosts[giver].speaker.is_none(), "seed {seed}");
        assert!(world.dark.is_empty(), "seed {seed}: {:?}", world.dark);
        assert_eq!(world.hosts[unwilling].announcing, had, "seed {seed}");
        world.run(ms(2_000));
        world.check("after the drain");
        world.assert_sound(seed);
    }
}

/// H1: the best-ranked successor says nothing. Once it runs again it finds offers that somebody else
/// has accepted.
#[test]
fn draining_past_a_process_that_is_stopped_moves_each_address_once() {
    for seed in seeds(6) {
        let mut world = World::settled(4, 20, seed, &FAST);
        let giver = world.some_owner();
        let given = world.hosts[giver].announcing.len();
        let stopped = (giver + 1 + world.random.index(3)) % 4;
        world.inflict(Fault::Stop(stopped, ms(400)));
        world.inflict(Fault::Leave(giver, Leaving::Draining));
        world.run(ms(100));
        assert!(world.hosts[giver].speaker.is_none(), "seed {seed}");
        assert!(world.dark.is_empty(), "seed {seed}: {:?}", world.dark);
        world.run(ms(2_000));
        world.check("after the drain");
        world.assert_sound(seed);
        assert_eq!(world.moves.len(), given, "seed {seed}: {:?}", world.moves);
    }
}

#[test]
fn an_owner_that_becomes_ineligible_hands_over_although_views_lag() {
    for (lag, seed) in [5, 500]
        .into_iter()
        .flat_map(|lag| seeds(5).map(move |seed| (lag, seed)))
    {
        let mut world = World::settled(4, 20, seed, &FAST);
        world.api_lag = ms(lag);
        let owner = world.some_owner();
        let lost = world.hosts[owner].announcing.clone();
        for &vip in &lost {
            let eligible = (0..4).map(|host| host != owner).collect();
            world.inflict(Fault::Eligible(vip, eligible));
        }
        world.run(ms(4_000));
        assert_eq!(
            world.moves.len(),
            lost.len(),
            "seed {seed}: each moves once"
        );
        assert!(world.dark.is_empty(), "seed {seed}: {:?}", world.dark);
        world.check("after the change");
        world.assert_sound(seed);
    }
}

#[test]
fn a_giver_or_taker_that_dies_amid_a_handover_leaves_one_owner() {
    for (seed, loss) in seeds(12).flat_map(|seed| [(seed, 0), (seed, 50)]) {
        let mut world = World::settled(4, 20, seed, &FAST);
        world.inflict(Fault::Loss(loss));
        let giver = world.some_owner();
        let taker = (giver + 1 + world.random.index(3)) % 4;
        world.inflict(Fault::Leave(giver, Leaving::Draining));
        let pause = world.random.millis(0..if loss > 0 { 25 } else { 1 });
        world.schedule(pause, Fault::Die(if seed % 2 == 0 { giver } else { taker }));
        world.run(ms(3_000));
        world.inflict(Fault::Loss(0));
        world.run(ms(2_500));
        world.check("after the broken handover");
        world.assert_sound(seed);
    }
}

#[test]
fn a_move_that_was_asked_for_is_made_before_it_breaks() {
    for seed in seeds(6) {
        let mut world = World::settled(4, 20, seed, &FAST);
        let owner = world.some_owner();
        let vip = *world.hosts[owner]
            .announcing
            .first()
            .expect("it owns something");
        let to = (owner + 1) % 4;
        world.inflict(Fault::MoveTo(vip, Some(to)));
        world.run(ms(100));
        assert_eq!(world.owners(vip), [to], "seed {seed}");
        assert_eq!(world.moves.len(), 1, "seed {seed}");
        assert!(world.dark.is_empty(), "seed {seed}");
    }
}
