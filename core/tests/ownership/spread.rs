//! How addresses are spread: new ones by load, where eligibility allows; nothing moves for it.

use ferrolb_core::Reason;
use ferrolb_core::ownership::{Cause, FAST, Leaving, Preference, Settings};

use crate::faults::Fault;
use crate::seeds;
use crate::world::{World, ms, vip};

/// Addresses that many nodes gain, one after another or all at once.
const VIPS: usize = 60;

#[test]
fn addresses_gained_one_after_another_or_at_once_stay_within_two_of_even() {
    for (gap, hosts, seed) in [0, 5, 100].into_iter().flat_map(|gap| {
        [2, 3, 4, 7, 10]
            .into_iter()
            .flat_map(move |n| seeds(2).map(move |seed| (gap, n, seed)))
    }) {
        let mut world = World::settled(hosts, 0, seed, &FAST);
        for n in 0..VIPS {
            let jitter = world.random.millis(0..20);
            world.schedule(ms(gap * n as u64) + jitter, Fault::Want(vip(n), true));
        }
        world.run(ms(gap * VIPS as u64 + 2_000));
        world.check("after they were created");
        world.assert_sound(seed);
        let even = VIPS as f64 / hosts as f64;
        let counts = world.hosts.iter().map(|host| host.announcing.len());
        let counts: Vec<usize> = counts.collect();
        let is_even = |&count: &usize| (count as f64 - even).abs() <= 2.0;
        assert!(
            counts.iter().all(is_even),
            "gap {gap}, N = {hosts}, seed {seed}: {counts:?}"
        );
        // Two that learn of an address at different times may both claim it, and one yields at once.
        let needless = world.moves.len() - VIPS;
        assert!(
            needless <= VIPS / 5,
            "seed {seed}: {needless} claimed twice"
        );
    }
}

/// Each goes to a node that, of those that may, has at most one more than the least.
#[test]
fn where_not_every_node_may_an_address_goes_to_one_of_the_least_loaded_that_may() {
    for seed in seeds(12) {
        let hosts = [3, 4, 7, 10][(seed % 4) as usize];
        let mut world = World::settled(hosts, 0, seed, &FAST);
        for n in 0..40 {
            let mut eligible: Vec<bool> = (0..hosts).map(|_| world.random.chance(500)).collect();
            let one = world.random.index(hosts);
            eligible[one] = true;
            let before: Vec<usize> = world.hosts.iter().map(|h| h.announcing.len()).collect();
            world.inflict(Fault::WantOn(vip(n), eligible.clone()));
            world.run(ms(1_500));
            let [owner] = world.owners(vip(n))[..] else {
                panic!("seed {seed}: {:?}", world.owners(vip(n)));
            };
            let may = (0..hosts).filter(|&host| eligible[host]);
            let least = may.map(|host| before[host]).min().expect("one may");
            assert!(
                eligible[owner] && before[owner] <= least + 1,
                "seed {seed}: {owner} of {eligible:?} with {before:?}"
            );
        }
        world.check("at last");
        world.assert_sound(seed);
    }
}

/// What `rebalance` does: the node asks for nothing, a person does, address by address.
#[test]
fn a_returned_node_takes_its_share_only_address_by_address_when_it_is_asked_for() {
    for seed in seeds(6) {
        let mut world = World::settled(4, 0, seed, &FAST);
        world.inflict(Fault::Die(0));
        world.run(ms(1_000));
        for n in 0..12 {
            world.inflict(Fault::Want(vip(n), true));
        }
        world.run(ms(1_000));
        world.inflict(Fault::Boot(0));
        world.run(ms(4_000));
        assert!(world.hosts[0].announcing.is_empty(), "seed {seed}");
        world.forget_past();
        for n in 0..3 {
            world.inflict(Fault::MoveTo(vip(n), Some(0)));
            world.run(ms(500));
        }
        assert_eq!(world.hosts[0].announcing.len(), 3, "seed {seed}");
        assert_eq!(world.moves.len(), 3, "seed {seed}");
        assert!(
            world.dark.is_empty(),
            "seed {seed}: make before break: {:?}",
            world.dark
        );
        world.run(ms(3_000));
        world.check("afterwards");
        world.assert_sound(seed);
        assert_eq!(world.moves.len(), 3, "seed {seed}: and they stay");
    }
}

/// Otherwise each new address would be claimed by the least loaded node, and moved at once.
#[test]
fn with_metallbs_way_a_new_address_goes_to_its_best_rank_at_once() {
    let settings = Settings {
        preference: Preference::BestRank,
        ..FAST
    };
    let mut world = World::settled(4, 0, 1, &settings);
    for n in 0..40 {
        world.inflict(Fault::Want(vip(n), true));
    }
    world.run(ms(3_000));
    let causes = world.announcements.iter().map(|(.., cause)| *cause);
    assert!(causes.clone().all(|cause| cause != Cause::Handover));
    assert_eq!(world.moves.len(), 40);
    world.assert_the_best_rank_owns(1);
}

/// C5: of those that are left when the best one does nothing, a cordoned node comes last, however
/// little it has. It would have to hand it over again.
#[test]
fn a_new_address_passes_over_a_cordoned_node_that_has_less() {
    for seed in seeds(6) {
        let mut world = World::settled(3, 0, seed, &FAST);
        let hosts = [0, 1, 2].map(|n| (n + seed as usize) % 3);
        let [stopped, loaded, cordoned] = hosts;
        for n in 1..5 {
            let eligible = (0..3).map(|host| host == loaded).collect();
            world.inflict(Fault::WantOn(vip(n), eligible));
        }
        world.inflict(Fault::Cordon(cordoned, true));
        world.run(ms(1_000));
        world.forget_past();
        world.inflict(Fault::Stop(stopped, ms(500)));
        world.inflict(Fault::Want(vip(0), true));
        world.run(ms(2_000));
        world.check("afterwards");
        world.assert_sound(seed);
        assert_eq!(world.owners(vip(0)), [loaded], "seed {seed}");
        assert_eq!(world.moves.len(), 1, "seed {seed}: {:?}", world.moves);
    }
}

/// kube-proxy's health is a hint: it may be wrong, and a move resets connections for sure.
#[test]
fn a_node_whose_forwarding_is_in_doubt_keeps_what_it_has_and_takes_nothing_that_another_would() {
    for seed in seeds(6) {
        let mut world = World::settled(3, 15, seed, &FAST);
        let doubtful = world.some_owner();
        let had = world.hosts[doubtful].announcing.clone();
        world.inflict(Fault::Doubtful(doubtful, true));
        for n in 15..30 {
            world.inflict(Fault::Want(vip(n), true));
        }
        let dies = (doubtful + 1) % 3;
        world.run(ms(1_000));
        world.inflict(Fault::Die(dies));
        world.run(ms(3_000));
        world.check("with the only sound one");
        assert_eq!(world.hosts[doubtful].announcing, had, "seed {seed}");
        // Nobody else is left: better in doubt than not at all.
        world.inflict(Fault::Die((doubtful + 2) % 3));
        world.run(ms(4_000));
        world.check("with the doubtful one alone");
        world.assert_sound(seed);
        assert_eq!(world.hosts[doubtful].announcing.len(), 30, "seed {seed}");
    }
}

/// It keeps its addresses, so no address tells of it.
#[test]
fn a_node_whose_forwarding_is_in_doubt_is_shown_so_by_itself_and_by_the_others() {
    for hosts in [1, 3] {
        let mut world = World::settled(hosts, 5, 1, &FAST);
        let shown = |world: &World, of: usize| -> Vec<Option<Reason>> {
            let speakers = world.hosts.iter().flat_map(|host| &host.speaker);
            let members = speakers.flat_map(|speaker| speaker.members());
            let of_it = members.filter(|member| member.node == world.hosts[of].id);
            of_it.map(|member| member.reason).collect()
        };
        world.inflict(Fault::Doubtful(0, true));
        world.run(ms(500));
        let said = Some(Reason::KubeProxyUnhealthy);
        assert_eq!(shown(&world, 0), vec![said; hosts]);
        let sound = (1..hosts).flat_map(|host| shown(&world, host));
        assert_eq!(sound.flatten().collect::<Vec<_>>(), []);
        world.inflict(Fault::Doubtful(0, false));
        world.run(ms(500));
        assert_eq!(shown(&world, 0), vec![None; hosts]);
    }
}

/// Where all are in doubt, a doubt tells nobody from anybody.
#[test]
fn where_the_forwarding_of_all_is_in_doubt_they_take_over_as_if_that_of_none_were() {
    for seed in seeds(6) {
        let mut world = World::settled(4, 20, seed, &FAST);
        (0..4).for_each(|host| world.inflict(Fault::Doubtful(host, true)));
        world.run(ms(500));
        world.assert_no_moves(seed);
        let victim = world.some_owner();
        let lost = world.hosts[victim].announcing.len();
        world.inflict(Fault::Die(victim));
        world.run(ms(91));
        assert_eq!(world.moves.len(), lost, "seed {seed}");
        let leaver = world.some_owner();
        world.inflict(Fault::Leave(leaver, Leaving::Draining));
        world.run(ms(20));
        assert!(world.hosts[leaver].speaker.is_none(), "seed {seed}");
        assert!(world.dark.is_empty(), "seed {seed}: {:?}", world.dark);
        world.inflict(Fault::Want(vip(20), true));
        world.run(ms(200));
        world.check("with a new one");
        world.assert_sound(seed);
    }
}
