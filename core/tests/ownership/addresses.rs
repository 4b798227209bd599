//! A2 to A8: nodes whose addresses change while their speakers run.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ferrolb_core::ownership::{FAST, Key, Keys, Leaving, Standing};
use ferrolb_core::wire::MacAddr;

use crate::faults::Fault;
use crate::network::Station;
use crate::world::{World, ms};
use crate::{rings, seeds};

fn keys() -> Keys {
    let key = Key::new(b"sixteen bytes or more").expect("long enough");
    Keys {
        signs: Some(key.clone()),
        accepted: vec![key],
        unsigned: false,
    }
}

fn settled(hosts: usize, seed: u64, keys: Keys) -> World {
    let mut world = World::new(hosts, 5 * hosts, seed, &FAST);
    world.keys = keys;
    (0..hosts).for_each(|host| world.inflict(Fault::Start(host)));
    world.run(ms(4_500));
    world.check("start");
    world.forget_past();
    world
}

/// What a DHCP server gives next.
fn another(host: Station) -> IpAddr {
    Ipv4Addr::new(10, 0, 200, host as u8).into()
}

fn of_ipv6(host: Station) -> IpAddr {
    Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, host as u16 + 1).into()
}

fn of_ipv4(host: Station) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, host as u8).into()
}

fn all_are_live(world: &World, seed: u64) {
    let hosts = 0..world.hosts.len();
    for host in hosts.clone() {
        for other in hosts.clone() {
            let id = world.hosts[other].id;
            assert!(
                !world.knows_gone(host, id),
                "seed {seed}: n{host} holds n{other} gone"
            );
        }
    }
}

fn is_spoken_to_at(world: &World, host: Station, address: IpAddr) -> bool {
    let id = world.hosts[host].id;
    let others = world.hosts.iter().enumerate().filter(|(n, _)| *n != host);
    let mut speakers = others.filter_map(|(_, other)| other.speaker.as_ref());
    speakers.all(|speaker| {
        let mut members = speaker.members();
        members.any(|member| member.node == id && member.address == address)
    })
}

#[test]
fn with_a_key_a_node_is_followed_to_another_address_before_its_node_lists_it() {
    for (hosts, seed) in rings([2, 3, 4], 6) {
        let mut world = settled(hosts, seed, keys());
        let moved = world.some_owner();
        world.inflict(Fault::Readdress(moved, vec![another(moved)]));
        world.run(ms(50));
        assert!(
            is_spoken_to_at(&world, moved, another(moved)),
            "seed {seed}"
        );
        world.run(ms(9_000));
        world.inflict(Fault::List(moved, vec![another(moved)]));
        world.run(ms(3_000));
        world.check("after it is listed");
        world.assert_sound(seed);
        world.assert_no_moves(seed);
        assert_eq!(world.verdicts, [], "seed {seed}");
        all_are_live(&world, seed);
    }
}

#[test]
fn without_a_key_it_leaves_its_addresses_to_others_until_its_node_lists_it() {
    for (hosts, seed) in rings([2, 3, 4], 6) {
        let mut world = settled(hosts, seed, Keys::default());
        let moved = world.some_owner();
        let phase = world.random.millis(0..60);
        world.run(phase);
        world.inflict(Fault::Readdress(moved, vec![another(moved)]));
        let began = world.now;
        while world.now < began + ms(20_000) {
            world.run(ms(100));
            let has_some = !world.hosts[moved].announcing.is_empty();
            assert!(!has_some, "seed {seed}: it announces what others do");
        }
        world.check("while it is not listed");
        world.forget_past();
        // Who hears of it first, itself or the others, is chance.
        world.api_lag = ms(1_000);
        world.inflict(Fault::List(moved, vec![another(moved)]));
        world.run(ms(2_000));
        all_are_live(&world, seed);
        assert!(
            is_spoken_to_at(&world, moved, another(moved)),
            "seed {seed}"
        );
        world.check("after it is listed");
        world.assert_sound(seed);
        world.assert_no_moves(seed);
    }
}

/// Nobody takes over what nobody else may announce.
#[test]
fn what_no_other_node_may_announce_stays_with_it() {
    for seed in seeds(6) {
        let mut world = settled(3, seed, Keys::default());
        let moved = world.some_owner();
        let vip = *world.hosts[moved].announcing.first().expect("an owner");
        let alone = (0..3).map(|host| host == moved).collect();
        world.inflict(Fault::Eligible(vip, alone));
        world.run(ms(1_000));
        world.inflict(Fault::Readdress(moved, vec![another(moved)]));
        world.run(ms(5_000));
        assert_eq!(world.owners(vip), [moved], "seed {seed}");
        // All others are dead, also as far as it can tell.
        for host in (0..3).filter(|host| *host != moved) {
            world.inflict(Fault::Die(host));
        }
        world.run(ms(70_000));
        for vip in world.vips() {
            assert_eq!(world.owners(vip), [moved], "seed {seed}");
        }
    }
}

/// The Node object is new before the links are, as where somebody edits it, or long after. A key makes
/// up for what it says wrongly.
#[test]
fn a_node_object_that_is_early_or_wrong_separates_nobody_for_long() {
    for seed in seeds(6) {
        for keys in [keys(), Keys::default()] {
            let is_locked = keys.signs.is_some();
            let mut world = settled(3, seed, keys);
            let moved = world.some_owner();
            world.inflict(Fault::List(moved, vec![another(moved)]));
            world.run(ms(5_000));
            if is_locked {
                all_are_live(&world, seed);
                assert!(
                    is_spoken_to_at(&world, moved, of_ipv4(moved)),
                    "seed {seed}"
                );
                world.assert_no_moves(seed);
            }
            world.check("while the Node object is wrong");
            world.inflict(Fault::Readdress(moved, vec![another(moved)]));
            world.run(ms(2_000));
            all_are_live(&world, seed);
            world.check("after the links followed");
            world.assert_sound(seed);
        }
    }
}

/// A8: it was held dead before it got the address, and nobody knows where it is.
#[test]
fn a_node_that_was_cut_off_and_comes_back_elsewhere_is_found() {
    for (hosts, seed) in rings([2, 4], 6) {
        let mut world = settled(hosts, seed, keys());
        let moved = world.some_owner();
        let segments = (0..=hosts).map(|station| u8::from(station == moved));
        world.inflict(Fault::Split(segments.collect()));
        world.run(ms(8_000));
        world.inflict(Fault::Readdress(moved, vec![another(moved)]));
        world.run(ms(4_000));
        world.inflict(Fault::Heal);
        world.run(ms(2_000));
        all_are_live(&world, seed);
        world.check("after its return");
        world.assert_sound(seed);
    }
}

/// A6: a kubelet may take a minute to bring the key to a node, and one gets its address meanwhile: the one that
/// moves has the key before it does, or long after, and so have the others.
#[test]
fn a_node_that_moved_is_found_whoever_gets_the_key_first() {
    const AFTER_MS: [u64; 4] = [0, 1_000, 8_000, 70_000];
    for (of_moved, of_others) in pairs(AFTER_MS) {
        for (hosts, seed) in rings([2, 3, 4], 2) {
            let case =
                format!("{hosts} hosts, seed {seed}, keys {of_moved} and {of_others} ms after");
            let mut world = settled(hosts, seed, Keys::default());
            let moved = world.some_owner();
            world.inflict(Fault::Readdress(moved, vec![another(moved)]));
            let mut passed = 0;
            for at in [of_moved.min(of_others), of_moved.max(of_others)] {
                world.run(ms(at - passed));
                passed = at;
                for host in 0..hosts {
                    let of_this = if host == moved { of_moved } else { of_others };
                    if of_this == at {
                        changeover(&mut world, host);
                    }
                }
            }
            world.run(ms(4_000));
            all_are_live(&world, seed);
            assert!(is_spoken_to_at(&world, moved, another(moved)), "{case}");
            world.check(&case);
        }
    }
}

fn pairs<const N: usize>(of: [u64; N]) -> impl Iterator<Item = (u64, u64)> {
    of.into_iter()
        .flat_map(move |one| of.map(|other| (one, other)))
}

/// The first key comes to a host.
fn changeover(world: &mut World, host: Station) {
    let now = world.now;
    let speaker = world.hosts[host].speaker.as_mut().expect("it runs");
    let keys = Keys {
        unsigned: true,
        ..keys()
    };
    speaker.set_keys(keys, now);
}

/// A6: a speaker that starts takes it for where its Node lists it, and it may be the only one that knows better.
#[test]
fn a_node_that_moved_is_found_by_those_who_start_later() {
    for (hosts, seed) in rings([2, 3, 4], 6) {
        let mut world = settled(hosts, seed, keys());
        let moved = world.some_owner();
        world.inflict(Fault::Readdress(moved, vec![another(moved)]));
        world.run(ms(6_000));
        for host in (0..hosts).filter(|host| *host != moved) {
            world.inflict(Fault::Leave(host, Leaving::Restarting));
        }
        world.run(ms(1_000));
        for host in (0..hosts).filter(|host| *host != moved) {
            world.inflict(Fault::Start(host));
        }
        world.run(ms(5_000));
        all_are_live(&world, seed);
        assert!(
            is_spoken_to_at(&world, moved, another(moved)),
            "seed {seed}"
        );
        world.check("after they have started");
    }
}

/// A6: those who have not heard it since are told again.
#[test]
fn at_twenty_percent_loss_too_a_node_that_moved_is_found() {
    for seed in seeds(10) {
        let mut world = settled(4, seed, keys());
        world.inflict(Fault::Loss(200));
        let moved = world.some_owner();
        world.inflict(Fault::Readdress(moved, vec![another(moved)]));
        world.run(ms(1_000));
        world.inflict(Fault::Loss(0));
        world.run(ms(3_000));
        all_are_live(&world, seed);
        assert!(
            is_spoken_to_at(&world, moved, another(moved)),
            "seed {seed}"
        );
        world.check("after the loss");
        world.assert_sound(seed);
    }
}

/// A5: each Node lists its addresses in another order, and some have one family alone.
#[test]
fn speakers_meet_whatever_the_order_in_which_nodes_list_their_addresses() {
    for seed in seeds(6) {
        for keys in [keys(), Keys::default()] {
            let mut world = World::new(3, 9, seed, &FAST);
            world.keys = keys;
            let both = |host| (of_ipv4(host), of_ipv6(host));
            for (host, listed) in [
                (0, vec![both(0).0, both(0).1]),
                (1, vec![both(1).1, both(1).0]),
                (2, vec![both(2).0]),
            ] {
                world.hosts[host].addresses.clone_from(&listed);
                world.hosts[host].listed = listed;
            }
            (0..3).for_each(|host| world.inflict(Fault::Start(host)));
            world.run(ms(4_500));
            all_are_live(&world, seed);
            let speaker = world.hosts[2].speaker.as_ref().expect("it runs");
            assert!(speaker.members().all(|member| member.address.is_ipv4()));
            world.check("start");
            // The order alone changes: nothing follows from it.
            world.forget_past();
            for (host, listed) in [
                (0, vec![both(0).1, both(0).0]),
                (1, vec![both(1).0, both(1).1]),
            ] {
                world.inflict(Fault::List(host, listed.clone()));
                world.inflict(Fault::Readdress(host, listed));
            }
            world.run(ms(3_000));
            all_are_live(&world, seed);
            world.assert_no_moves(seed);
            assert_eq!(world.verdicts, [], "seed {seed}");
            // One loses the family that the others speak to it in.
            world.inflict(Fault::Readdress(0, vec![both(0).0]));
            world.run(ms(3_000));
            all_are_live(&world, seed);
            world.check("at last");
            world.assert_sound(seed);
        }
    }
}

/// Two exchange their addresses, as after a DHCP server has forgotten its leases.
#[test]
fn two_nodes_that_exchange_their_addresses_are_both_found() {
    for seed in seeds(6) {
        for keys in [keys(), Keys::default()] {
            let mut world = settled(3, seed, keys);
            for (host, address) in [(0, of_ipv4(1)), (1, of_ipv4(0))] {
                world.inflict(Fault::Readdress(host, vec![address]));
            }
            world.run(ms(700));
            for (host, address) in [(0, of_ipv4(1)), (1, of_ipv4(0))] {
                world.inflict(Fault::List(host, vec![address]));
                world.run(ms(300));
            }
            world.run(ms(3_000));
            all_are_live(&world, seed);
            world.check("after the exchange");
            world.assert_sound(seed);
        }
    }
}

#[test]
fn a_node_whose_hardware_address_changes_is_heard_on_and_proven_alive_by_its_kernel() {
    for seed in seeds(6) {
        let mut world = settled(3, seed, Keys::default());
        let host = world.some_owner();
        world.inflict(Fault::Mac(host, MacAddr::from([2, 0, 0, 0, 9, 9])));
        world.run(ms(1_000));
        world.inflict(Fault::Stop(host, ms(2_000)));
        world.run(ms(4_000));
        world.assert_no_moves(seed);
        let known = world.hosts[(host + 1) % 3]
            .speaker
            .as_ref()
            .expect("it runs");
        let id = world.hosts[host].id;
        let mut members = known.members();
        let member = members.find(|one| one.node == id).expect("a member");
        assert_eq!(member.mac, MacAddr::from([2, 0, 0, 0, 9, 9]));
        assert_eq!(member.standing, Standing::Live);
    }
}
