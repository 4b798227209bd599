//! Properties 5 and 6, and what follows from what the API says.

use std::collections::BTreeMap;

use ferrolb_core::Reason;
use ferrolb_core::ownership::{Cause, Event, FAST};

use crate::faults::Fault;
use crate::seeds;
use crate::world::{World, ms, vip};

#[test]
fn a_speaker_that_restarts_without_the_api_stays_quiet() {
    for seed in seeds(4) {
        let mut world = World::settled(3, 15, seed, &FAST);
        let victim = world.some_owner();
        world.inflict(Fault::ApiDown(true));
        world.inflict(Fault::Kill(victim));
        world.run(ms(500));
        world.inflict(Fault::Start(victim));
        world.run(ms(8_000));
        assert!(
            world.hosts[victim].announcing.is_empty(),
            "seed {seed}: it cannot know"
        );
        for vip in world.vips() {
            assert_eq!(
                world.owners(vip).len(),
                1,
                "seed {seed}: {vip} is served by another"
            );
        }
        world.forget_past();
        world.inflict(Fault::ApiDown(false));
        world.run(ms(4_000));
        world.check("the API is back");
        world.assert_sound(seed);
        world.assert_no_moves(seed);
    }
}

#[test]
fn without_the_api_a_dead_node_is_replaced_by_those_who_run() {
    for seed in seeds(4) {
        let mut world = World::settled(4, 20, seed, &FAST);
        world.inflict(Fault::ApiDown(true));
        let victim = world.some_owner();
        world.inflict(Fault::Die(victim));
        world.run(ms(1_000));
        world.check("without the API");
        world.assert_sound(seed);
    }
}

/// Each of its two families, and each of two addresses of one family.
#[test]
fn each_address_of_a_service_is_decided_for_itself() {
    let v6 = "2001:db8::1".parse().expect("an address");
    for other in [vip(1), v6] {
        let mut world = World::settled(4, 1, 1, &FAST);
        world.inflict(Fault::WantOn(vip(0), vec![true, false, false, false]));
        world.inflict(Fault::WantOn(other, vec![false, false, true, false]));
        world.run(ms(1_000));
        assert_eq!(
            (world.owners(vip(0)), world.owners(other)),
            (vec![0], vec![2])
        );
        world.inflict(Fault::Die(0));
        world.run(ms(1_000));
        assert_eq!(world.owners(vip(0)), [0_usize; 0], "nobody else may");
        assert_eq!(world.owners(other), [2]);
        world.assert_sound(1);
    }
}

/// C4: others' views only order candidates. They learned of its ineligibility, it has not.
#[test]
fn nobody_takes_from_a_live_owner_that_is_ineligible_in_other_views() {
    for seed in seeds(6) {
        let mut world = World::settled(4, 8, seed, &FAST);
        world.api_lag = ms(2_000);
        let owner = world.owners(vip(0))[0];
        world.inflict(Fault::Eligible(
            vip(0),
            (0..4).map(|host| host != owner).collect(),
        ));
        world.run(ms(3_000));
        assert_eq!(
            world.moves.len(),
            1,
            "seed {seed}: it moves once, when its owner knows"
        );
        assert_eq!(world.announcements[0].3, Cause::Handover, "seed {seed}");
        assert!(world.dark.is_empty(), "seed {seed}");
    }
}

#[test]
fn a_fresh_cluster_goes_by_rank_alone() {
    for seed in seeds(20) {
        let mut world = World::new(4, 40, seed, &FAST);
        // All at the same instant, too: then nobody is waited for.
        let within = if seed % 2 == 0 { 1 } else { 50 };
        for host in 0..4 {
            let at = world.random.millis(0..within);
            world.schedule(at, Fault::Start(host));
        }
        world.run(ms(3_000));
        world.assert_the_best_rank_owns(seed);
    }
}

/// C5: as after a switch over from MetalLB, whose addresses stay where they are.
#[test]
fn speakers_that_start_seconds_apart_go_by_rank_as_if_at_once() {
    for seed in seeds(20) {
        let mut world = World::new(4, 40, seed, &FAST);
        for host in 0..4 {
            let at = world.random.millis(0..2_500);
            world.schedule(at, Fault::Start(host));
        }
        world.run(ms(7_000));
        world.assert_the_best_rank_owns(seed);
        assert_eq!(world.moves.len(), 40, "seed {seed}: announced once each");
    }
}

/// C5: a node that answers may have none, and one that does not is not waited for.
#[test]
fn where_a_cluster_starts_a_node_without_a_speaker_is_waited_for_only_a_while() {
    for (seed, is_dead) in seeds(10).flat_map(|seed| [(seed, false), (seed, true)]) {
        let mut world = World::new(4, 40, seed, &FAST);
        if is_dead {
            world.inflict(Fault::Die(0));
        }
        for host in 1..4 {
            world.inflict(Fault::Start(host));
        }
        let vips = world.vips();
        let served = |world: &World| vips.iter().all(|vip| world.owners(*vip).len() == 1);
        world.run(ms(1_000));
        assert_eq!(served(&world), is_dead, "seed {seed}");
        world.run(ms(3_000));
        assert!(served(&world), "seed {seed}");
        assert_eq!(world.moves.len(), 40, "seed {seed}: announced once each");
    }
}

#[test]
fn an_address_that_is_removed_and_created_again_has_one_owner() {
    for seed in seeds(5) {
        let mut world = World::settled(4, 8, seed, &FAST);
        world.api_lag = ms(200);
        for round in 0..6 {
            let pause = world.random.millis(20..400);
            world.schedule(pause + ms(round * 300), Fault::Want(vip(3), round % 2 == 1));
        }
        world.run(ms(5_000));
        world.check("after it came back");
        world.assert_sound(seed);
    }
}

#[test]
fn a_node_in_doubt_says_so_of_what_another_one_has_and_names_its_owner() {
    let mut world = World::settled(3, 6, 1, &FAST);
    let owner = world.owners(vip(2))[0];
    let other = (0..3).find(|host| *host != owner).expect("three of them");
    let now = world.now;
    let speaker = world.hosts[other].speaker.as_mut().expect("it runs");
    let before = speaker.vip_status(vip(2), now);
    assert_eq!(before.reason, Some(Reason::NotOwner));
    assert!(before.owner.is_some() && !before.asking);
    speaker.set_doubtful(true);
    let status = speaker.vip_status(vip(2), now);
    assert_eq!(status.reason, Some(Reason::KubeProxyUnhealthy));
    assert_eq!(status.owner, before.owner);
}

#[test]
fn an_unwanted_address_is_silent_in_the_same_step() {
    let mut world = World::settled(3, 6, 1, &FAST);
    let owner = world.owners(vip(2))[0];
    let now = world.now;
    let speaker = world.hosts[owner].speaker.as_mut().expect("it runs");
    speaker.set_wanted(BTreeMap::new());
    assert_eq!(speaker.owned().count(), 0);
    assert_eq!(
        speaker.vip_status(vip(2), now).reason,
        Some(Reason::Unwanted)
    );
    let events: Vec<Event> = std::iter::from_fn(|| speaker.poll_event()).collect();
    assert!(
        events
            .iter()
            .all(|event| matches!(event, Event::Withdraw { .. })),
        "{events:?}"
    );
}

#[test]
fn a_cordoned_owner_hands_over_and_takes_nothing_back_afterwards() {
    for seed in seeds(6) {
        let mut world = World::settled(4, 20, seed, &FAST);
        let owner = world.some_owner();
        let its = world.hosts[owner].announcing.clone();
        world.inflict(Fault::Cordon(owner, true));
        world.run(ms(1_000));
        assert!(world.hosts[owner].announcing.is_empty(), "seed {seed}");
        assert_eq!(world.moves.len(), its.len(), "seed {seed}: once each");
        assert!(world.dark.is_empty(), "seed {seed}: make before break");
        world.check("cordoned");
        world.forget_past();
        world.inflict(Fault::Cordon(owner, false));
        world.run(ms(1_000));
        assert_eq!(
            world.moves.len(),
            0,
            "seed {seed}: each move resets connections"
        );
        world.assert_sound(seed);
    }
}

#[test]
fn a_cordoned_node_serves_as_long_as_nobody_else_can() {
    for seed in seeds(4) {
        let mut world = World::settled(2, 6, seed, &FAST);
        world.inflict(Fault::Cordon(0, true));
        world.run(ms(500));
        world.inflict(Fault::Die(1));
        world.run(ms(2_000));
        assert_eq!(
            world.hosts[0].announcing.len(),
            6,
            "seed {seed}: it is all there is"
        );
        world.inflict(Fault::Boot(1));
        world.run(ms(2_000));
        assert_eq!(
            world.hosts[0].announcing.len(),
            0,
            "seed {seed}: the better node is back"
        );
        world.inflict(Fault::Want(vip(9), true));
        world.run(ms(1_000));
        assert_eq!(
            world.owners(vip(9)),
            [1],
            "seed {seed}: although it has more already"
        );
        world.assert_sound(seed);
    }
}
