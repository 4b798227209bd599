//! Networks that keep something back: datagrams of port 7946, questions to kernels, or the truth about
//! the dead.

use std::time::Duration;

use ferrolb_core::ownership::{FAST, Leaving, Standing};
use ferrolb_core::{Instant, Reason};

use crate::faults::Fault;
use crate::figures::vips_for;
use crate::world::{World, ms};
use crate::{rings, seeds};

/// The longest that anything takes where datagrams are blocked: three rounds of announcements without
/// a word, and the turns of those who may claim.
const BLOCKED: Duration = ms(17_000);

fn block_all(world: &mut World) {
    (0..world.hosts.len()).for_each(|host| world.inflict(Fault::Firewall(host, true)));
}

fn unanswering(world: &mut World) {
    (0..world.hosts.len()).for_each(|host| world.inflict(Fault::Unanswering(host, true)));
}

/// A cluster in which no speaker ever hears another.
fn blocked_from_the_start(hosts: usize, seed: u64) -> World {
    let mut world = World::new(hosts, vips_for(hosts), seed, &FAST);
    block_all(&mut world);
    for host in 0..hosts {
        let at = world.random.millis(0..500);
        world.schedule(at, Fault::Start(host));
    }
    world.run(ms(12_000));
    world.check("blocked from the start");
    world.assert_sound(seed);
    world
}

/// How long the client was with the wrong node, or with none, until each address had settled.
fn last_move(world: &World, since: Instant) -> Duration {
    let moves = world.moves.iter().map(|a_move| a_move.at);
    moves.max().unwrap_or(since).saturating_since(since)
}

#[test]
fn speakers_that_never_hear_each_other_do_not_fight() {
    for (hosts, seed) in rings([2, 3, 4, 10], 4) {
        let mut world = blocked_from_the_start(hosts, seed);
        let says_so = |host: usize| world.blocked.iter().any(|(by, _)| *by == host);
        assert!((0..hosts).all(says_so), "seed {seed}: it is said");
        world.forget_past();
        world.run(ms(40_000));
        world.check("later");
        world.assert_sound(seed);
        world.assert_no_moves(seed);
        let status = world.hosts[0].speaker.as_ref().expect("it runs").members();
        let reasons = status.filter_map(|member| member.reason);
        assert_eq!(
            reasons.collect::<Vec<_>>(),
            vec![Reason::PeerBlocked; hosts - 1]
        );
    }
}

#[test]
fn a_node_that_dies_unheard_is_replaced_within_a_limit_and_takes_nothing_on_its_return() {
    for (hosts, seed) in rings([2, 3, 4, 10], 3) {
        let mut world = blocked_from_the_start(hosts, seed);
        let victim = world.some_owner();
        world.forget_past();
        let (began, lost) = (world.now, world.hosts[victim].announcing.len());
        world.inflict(Fault::Die(victim));
        world.run(ms(6_000));
        world.check("without it");
        world.assert_sound(seed);
        assert!(world.moves.len() >= lost, "seed {seed}");
        let took = last_move(&world, began);
        assert!(took <= ms(5_600), "seed {seed}: {took:?}");
        world.inflict(Fault::Boot(victim));
        world.forget_past();
        world.run(ms(20_000));
        world.check("with it again");
        world.assert_sound(seed);
        world.assert_no_moves(seed);
    }
}

/// J1, B2: its port takes a moment to come up, so its first questions are lost.
#[test]
fn an_unheard_node_that_starts_asks_again_whether_the_others_live_and_takes_nothing() {
    for (hosts, seed) in rings([2, 3, 4], 3) {
        let mut world = blocked_from_the_start(hosts, seed);
        let victim = world.some_owner();
        world.inflict(Fault::Die(victim));
        world.run(ms(6_000));
        world.forget_past();
        world.inflict(Fault::Mute(victim, true));
        world.inflict(Fault::Boot(victim));
        world.schedule(ms(250), Fault::Mute(victim, false));
        world.run(ms(20_000));
        world.check("with it again");
        world.assert_sound(seed);
        world.assert_no_moves(seed);
    }
}

#[test]
fn an_unheard_speaker_that_ends_is_replaced_after_three_rounds_of_silence() {
    for seed in seeds(4) {
        let mut world = blocked_from_the_start(3, seed);
        let victim = world.some_owner();
        world.forget_past();
        let began = world.now;
        world.inflict(Fault::Kill(victim));
        world.run(BLOCKED + ms(1_000));
        world.check("without it");
        world.assert_sound(seed);
        let took = last_move(&world, began);
        assert!(took <= BLOCKED, "seed {seed}: {took:?}");
    }
}

/// A firewall comes up in the middle of the day, and goes again.
#[test]
fn a_cluster_that_is_blocked_later_settles_to_one_owner_and_so_it_does_when_the_block_ends() {
    for (hosts, seed) in rings([2, 3, 4], 4) {
        let mut world = World::settled(hosts, vips_for(hosts), seed, &FAST);
        block_all(&mut world);
        world.run(ms(20_000));
        world.check("blocked");
        world.assert_sound(seed);
        world.forget_past();
        world.run(ms(20_000));
        world.check("still blocked");
        world.assert_sound(seed);
        world.assert_no_moves(seed);
        world.inflict(Fault::Heal);
        world.run(ms(9_000));
        world.check("healed");
        world.forget_past();
        world.run(ms(5_000));
        world.check("healed for good");
        world.assert_sound(seed);
        world.assert_no_moves(seed);
    }
}

#[test]
fn one_node_that_nobody_hears_neither_fights_nor_is_fought() {
    for seed in seeds(4) {
        let mut world = World::settled(4, 20, seed, &FAST);
        world.inflict(Fault::Firewall(0, true));
        world.run(ms(20_000));
        world.check("one is blocked");
        let other = (1..4).find(|&host| !world.hosts[host].announcing.is_empty());
        world.inflict(Fault::Die(other.expect("another owns something")));
        world.run(BLOCKED);
        world.check("another dies");
        world.assert_sound(seed);
    }
}

/// B1: the one of lower rank heard nothing while it listened. Its first announcement is answered, not
/// left to stand until the owner's next round.
#[test]
fn who_announces_what_a_better_rank_owns_is_corrected_at_once() {
    for seed in seeds(6) {
        let mut world = World::new(2, 1, seed, &FAST);
        block_all(&mut world);
        let vip = world.vips()[0];
        let [best, other] = world.order_of(vip)[..] else {
            unreachable!("both may have it")
        };
        world.inflict(Fault::Start(best));
        world.run(ms(8_000));
        assert_eq!(world.owners(vip), [best], "seed {seed}");
        world.inflict(Fault::Start(other));
        world.run(ms(600));
        let cut = |world: &mut World, is_cut| {
            world.inflict(Fault::Cut(best, other, is_cut));
            world.inflict(Fault::Cut(other, best, is_cut));
        };
        cut(&mut world, true);
        while world.owners(vip).len() == 1 {
            world.run(Duration::from_micros(50));
            assert!(world.now < Instant::from_millis(30_000), "seed {seed}");
        }
        // Its questions are over, and nobody has heard them (C9).
        world.run(ms(200));
        assert!(world.hosts[other].asking.contains_key(&vip), "seed {seed}");
        cut(&mut world, false);
        world.run_until(|world| !world.hosts[other].asking.contains_key(&vip));
        world.run(ms(5));
        assert_eq!(world.owners(vip), [best], "seed {seed}");
        world.check("at once");
        world.assert_sound(seed);
    }
}

#[test]
fn everything_may_happen_to_those_who_cannot_be_heard() {
    for seed in seeds(12) {
        let hosts = [2, 3, 4, 5][(seed % 4) as usize];
        let mut world = blocked_from_the_start(hosts, seed);
        for _ in 0..6 {
            let host = world.random.index(hosts);
            let fault = match world.random.below(4) {
                0 => Fault::Die(host),
                1 => Fault::Kill(host),
                2 => Fault::Stop(host, ms(3_000)),
                _ => Fault::Boot(host),
            };
            world.inflict(fault);
            let pause = world.random.millis(200..8_000);
            world.run(pause);
        }
        (0..hosts).for_each(|host| world.inflict(Fault::Boot(host)));
        world.run(ms(40_000));
        world.check("in peace");
        world.forget_past();
        world.run(ms(20_000));
        world.check("still in peace");
        world.assert_sound(seed);
        world.assert_no_moves(seed);
    }
}

/// A rolling update to a version that does not understand the one before, and is not understood.
#[test]
fn a_ring_of_mixed_versions_has_one_owner_all_along() {
    for seed in seeds(4) {
        let mut world = World::settled(4, 20, seed, &FAST);
        for host in 0..4 {
            world.inflict(Fault::Leave(host, Leaving::Restarting));
            world.run(ms(1_000));
            world.newer.insert(host);
            world.inflict(Fault::Start(host));
            world.run(ms(20_000));
            world.check("one more is updated");
        }
        world.forget_past();
        world.run(ms(5_000));
        world.check("all are updated");
        world.assert_sound(seed);
        world.assert_no_moves(seed);
    }
}

/// Off-link, behind a router that lets no echo through.
fn settled_without_kernels(hosts: usize, seed: u64) -> World {
    let mut world = World::new(hosts, vips_for(hosts), seed, &FAST);
    unanswering(&mut world);
    (0..hosts).for_each(|host| world.inflict(Fault::Start(host)));
    world.run(ms(8_000));
    world.check("start");
    world.assert_sound(seed);
    world.forget_past();
    world
}

#[test]
fn where_no_kernel_answers_a_stopped_process_is_given_time_and_it_is_said() {
    for (hosts, seed) in rings([2, 3, 4, 10], 4) {
        let mut world = settled_without_kernels(hosts, seed);
        assert!(!world.silent_kernels.is_empty(), "seed {seed}: it is said");
        for _ in 0..3 {
            let host = world.random.index(hosts);
            world.inflict(Fault::Stop(host, ms(900)));
            world.run(ms(2_500));
        }
        world.check("after the stops");
        world.assert_sound(seed);
        world.assert_no_moves(seed);
    }
}

#[test]
fn where_no_kernel_answers_a_dead_node_is_replaced_after_a_second() {
    for (hosts, seed) in rings([2, 3, 4, 10], 4) {
        let mut world = settled_without_kernels(hosts, seed);
        let victim = world.some_owner();
        let (began, lost) = (world.now, world.hosts[victim].announcing.len());
        world.inflict(Fault::Die(victim));
        world.run(ms(2_000));
        world.check("without it");
        world.assert_sound(seed);
        assert_eq!(world.moves.len(), lost, "seed {seed}");
        let took = last_move(&world, began);
        assert!(
            (ms(1_000)..ms(1_300)).contains(&took),
            "seed {seed}: {took:?}"
        );
    }
}

#[test]
fn where_no_kernel_answers_a_restart_moves_nothing_either() {
    for seed in seeds(4) {
        let mut world = settled_without_kernels(4, seed);
        let victim = world.some_owner();
        world.inflict(Fault::Leave(victim, Leaving::Restarting));
        world.run(ms(2_000));
        world.inflict(Fault::Start(victim));
        world.run(ms(3_000));
        world.check("it is back");
        world.assert_sound(seed);
        world.assert_no_moves(seed);
    }
}

/// A kernel that answered once, and now answers for seconds after its death by somebody else's mouth.
#[test]
fn a_fabric_that_answers_for_the_dead_delays_a_takeover_to_a_limit() {
    for (echo, within) in [(true, ms(150)), (false, ms(6_000))] {
        for seed in seeds(4) {
            let mut world = World::new(4, 20, seed, &FAST);
            for fault in [Fault::Echo(echo), Fault::AnswerForTheDead(true)] {
                world.inflict(fault);
            }
            (0..4).for_each(|host| world.inflict(Fault::Start(host)));
            world.run(ms(6_000));
            world.forget_past();
            let victim = world.some_owner();
            let (began, lost) = (world.now, world.hosts[victim].announcing.len());
            world.inflict(Fault::Die(victim));
            world.run(ms(7_000));
            world.check("without it");
            world.assert_sound(seed);
            assert_eq!(world.moves.len(), lost, "echo {echo}, seed {seed}");
            let took = last_move(&world, began);
            assert!(took <= within, "echo {echo}, seed {seed}: {took:?}");
            let id = world.hosts[victim].id;
            let observer = (0..4).find(|&host| host != victim).expect("others run");
            let speaker = world.hosts[observer].speaker.as_ref();
            let mut members = speaker.expect("it runs").members();
            let victim = members.find(|member| member.node == id).expect("listed");
            assert!(matches!(victim.standing, Standing::Gone(_)), "seed {seed}");
        }
    }
}
