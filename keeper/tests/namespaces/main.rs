//! The keeper's program on a real kernel, with real packets, in network namespaces of the test's own. Needs
//! root, iproute2, nftables and util-linux.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that fails is a test that fails"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "the kernel tells of no packet that did not come, nor of an entry that ended"
)]
#![expect(clippy::print_stderr, reason = "figures are for people to read")]

mod lan;
mod load;
mod speaker;

use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use ferrolb_core::keep::Station;
use ferrolb_core::keep::words::{Question, Unable, Way};

use lan::{Lan, Service};
use load::{Held, Outcome, STALL, serve, stray_ack, stray_ack_from};
use speaker::{Keeper, stations};

const MANY: usize = 100;
const SOON: Duration = Duration::from_secs(10);

fn vips() -> Vec<IpAddr> {
    let all = Service::ALL.into_iter();
    all.flat_map(|service| [service.vip(false), service.vip(true)])
        .collect()
}

/// The value, once it is so much at least and stays what it is for 0.3 s.
fn settled(least: u64, mut look: impl FnMut() -> u64) -> u64 {
    let deadline = Instant::now() + SOON;
    let mut last = look();
    while last < least {
        assert!(Instant::now() < deadline, "{last}, not {least}");
        thread::sleep(Duration::from_millis(20));
        last = look();
    }
    loop {
        thread::sleep(Duration::from_millis(300));
        let now = look();
        if now == last {
            return now;
        }
        last = now;
    }
}

#[test]
fn a_stray_packet_between_two_keepers_goes_one_hop_and_no_further() {
    let lan = Lan::build();
    for by in ["dup", "tee"] {
        for vip in [Service::Far.vip(false), Service::Far.vip(true)] {
            let (mut a, mut b) = (Keeper::start(&lan, "a", by), Keeper::start(&lan, "b", by));
            assert!(a.keep_both(&[vip], 12) && b.keep_both(&[vip], 11));
            lan.give_to("a");
            stray_ack(&lan, vip);
            let passed = settled(1, || a.passed() + b.passed());
            assert_eq!(passed, 1, "{vip} by {by}");
        }
    }
}

/// What the guard is for, and what is left where it fails: the time to live.
#[test]
fn a_loop_between_hardware_addresses_that_nobody_knows_ends_with_the_packets_time_to_live() {
    let lan = Lan::build();
    let vip = Service::Far.vip(false);
    let (mut a, mut b) = (
        Keeper::start(&lan, "a", "dup"),
        Keeper::start(&lan, "b", "dup"),
    );
    for (keeper, me) in [(&mut a, "a"), (&mut b, "b")] {
        let wrong = stations(&lan, me).into_iter().map(|station| Station {
            mac: "02:00:00:00:99:99".parse().unwrap(),
            ..station
        });
        keeper.say(&Question::Stations(wrong.collect()));
    }
    assert!(a.keep(&[vip], "192.168.77.12") && b.keep(&[vip], "192.168.77.11"));
    lan.give_to("a");
    stray_ack(&lan, vip);
    let passed = settled(10, || a.passed() + b.passed());
    assert!((10..=64).contains(&passed), "{passed} times round");
}

#[test]
fn without_a_keeper_a_move_resets_every_connection() {
    let lan = Lan::build();
    serve(&lan);
    for service in Service::ALL {
        lan.give_to("a");
        let mut held = Held::open(&lan, "client", service.vip(false), 20);
        assert_eq!(held.talk().alive, 20, "{service:?}");
        lan.give_to("b");
        assert_eq!(held.talk().reset, 20, "{service:?}");
    }
}

#[test]
fn with_one_no_connection_is_reset_or_stalls_and_every_fin_is_answered() {
    for (by, way) in [("dup", Way::Dup), ("tee", Way::Tee)] {
        let lan = Lan::build();
        serve(&lan);
        let mut b = Keeper::start(&lan, "b", by);
        assert_eq!(b.way, Ok(way));
        for service in Service::ALL {
            for six in [false, true] {
                let vip = service.vip(six);
                let what = format!("{service:?} {vip} by {by}");
                lan.give_to("a");
                let mut held = Held::open(&lan, "client", vip, MANY);
                assert_eq!(held.talk().alive, MANY, "{what}");
                let syns = lan.counted_on("a");
                assert!(b.keep_both(&[vip], 11), "{what}");
                lan.give_to("b");
                for _ in 0..3 {
                    let alive = Outcome {
                        alive: MANY,
                        ..Outcome::default()
                    };
                    assert_eq!(held.talk(), alive, "{what}");
                }
                // New ones are the new owner's alone.
                let mut new = Held::open(&lan, "client", vip, 10);
                assert_eq!(new.talk().alive, 10, "{what}");
                assert_eq!(lan.counted_on("a"), syns, "{what}");
                assert_eq!(held.close(), MANY, "FINs answered, {what}");
                assert!(b.passed() >= 3 * MANY as u64, "{what}");
                b.drop_all(&[vip]);
            }
        }
    }
}

#[test]
fn connections_that_the_new_owner_passes_on_leave_nothing_in_its_connection_tracking() {
    let lan = Lan::build();
    serve(&lan);
    let mut b = Keeper::start(&lan, "b", "auto");
    let vip = Service::Far.vip(false);
    lan.give_to("a");
    let mut held = Held::open(&lan, "client", vip, 20);
    assert!(b.keep(&[vip], "192.168.77.11"));
    lan.give_to("b");
    assert_eq!(held.talk().alive, 20);
    let tracked = lan.run(
        "b",
        &["conntrack", "-L", "-p", "tcp", "-d", &vip.to_string()],
    );
    assert_eq!(tracked.lines().count(), 0, "{tracked}");
}

#[test]
fn moved_back_within_the_window_both_nodes_connections_live() {
    let lan = Lan::build();
    serve(&lan);
    let vip = Service::Local.vip(false);
    let (mut a, mut b) = (
        Keeper::start(&lan, "a", "auto"),
        Keeper::start(&lan, "b", "auto"),
    );
    lan.give_to("a");
    let mut old = Held::open(&lan, "client", vip, 50);
    assert!(b.keep(&[vip], "192.168.77.11"));
    lan.give_to("b");
    let mut new = Held::open(&lan, "client", vip, 50);
    assert_eq!((old.talk().alive, new.talk().alive), (50, 50));
    b.drop_all(&[vip]);
    assert!(a.keep(&[vip], "192.168.77.12"));
    lan.give_to("a");
    assert_eq!((old.talk().alive, new.talk().alive), (50, 50));
    assert_eq!((old.close(), new.close()), (50, 50));
}

#[test]
fn a_stateful_router_between_client_and_nodes_lets_everything_through() {
    let lan = Lan::build();
    serve(&lan);
    lan.make_router_stateful();
    let mut b = Keeper::start(&lan, "b", "auto");
    for vip in [Service::Far.vip(false), Service::Local.vip(true)] {
        lan.give_to("a");
        let mut held = Held::open(&lan, "remote", vip, MANY);
        assert_eq!(held.talk().alive, MANY, "{vip}");
        assert!(b.keep_both(&[vip], 11));
        lan.give_to("b");
        for _ in 0..3 {
            assert_eq!(held.talk().alive, MANY, "{vip}");
        }
        let mut new = Held::open(&lan, "remote", vip, 10);
        assert_eq!(new.talk().alive, 10, "{vip}");
        assert_eq!(
            (held.close(), new.close()),
            (MANY, 10),
            "FINs answered, {vip}"
        );
        b.drop_all(&[vip]);
    }
    assert_eq!(lan.counted_on("router"), 0);
    // It does drop what belongs to no connection.
    stray_ack_from(&lan, "remote", Service::Far.vip(false));
    assert_eq!(settled(1, || lan.counted_on("router")), 1);
}

#[test]
fn a_paths_mtu_that_shrinks_after_the_move_hangs_nobody() {
    for six in [false, true] {
        let lan = Lan::build();
        serve(&lan);
        let vip = Service::Far.vip(six);
        let mut b = Keeper::start(&lan, "b", "auto");
        lan.give_to("a");
        let mut held = Held::open(&lan, "remote", vip, 1);
        assert_eq!(held.download(100_000, STALL), 100_000);
        assert!(b.keep_both(&[vip], 11));
        lan.give_to("b");
        lan.ip("router", "link set eth1 mtu 1300");
        let got = held.download(100_000, STALL);
        assert_eq!(
            got, 100_000,
            "{vip}: the router's word reaches whoever sends"
        );
    }
}

#[test]
fn once_the_old_owner_is_dead_connections_are_reset_within_a_second_instead_of_hanging() {
    let round = |_| {
        let lan = Lan::build();
        serve(&lan);
        let vip = Service::Far.vip(false);
        let mut b = Keeper::start(&lan, "b", "auto");
        lan.give_to("a");
        let mut held = Held::open(&lan, "client", vip, 20);
        assert!(b.keep(&[vip], "192.168.77.11"));
        lan.give_to("b");
        assert_eq!(held.talk().alive, 20);
        lan.cut("a");
        thread::sleep(Duration::from_millis(200));
        b.drop_all(&[vip]);
        // It is answered after the other word has been carried out.
        assert_eq!(b.passed(), 0);
        let dropped_at = Instant::now();
        let outcome = held.talk();
        assert_eq!((outcome.reset, outcome.stalled), (20, 0), "{outcome:?}");
        dropped_at.elapsed()
    };
    // The best of three: in another one somebody else may have had the cores.
    assert!((0..3).map(round).any(|took| took < Duration::from_secs(1)));
}

#[test]
fn a_keeper_that_is_killed_leaves_nothing_behind_and_nobody_else_can_touch_its_table() {
    let lan = Lan::build();
    let mut b = Keeper::start(&lan, "b", "auto");
    assert!(b.keep_both(&vips(), 11));
    let tables = |lan: &Lan| lan.run("b", &["nft", "list", "tables"]);
    assert_eq!(tables(&lan).matches("ferrolb-keeper").count(), 2);
    let deleted = lan
        .command("b", &["nft", "delete table ip ferrolb-keeper"])
        .output()
        .unwrap();
    assert!(!deleted.status.success(), "it is the keeper's");
    lan.nft("b", "flush ruleset");
    assert_eq!(
        tables(&lan).matches("ferrolb-keeper").count(),
        2,
        "not even by a flush"
    );
    b.kill();
    let deadline = Instant::now() + SOON;
    while tables(&lan).contains("ferrolb") {
        assert!(Instant::now() < deadline, "{}", tables(&lan));
    }
}

#[test]
fn nft_shows_the_table_as_it_is_meant() {
    let lan = Lan::build();
    let mut b = Keeper::start(&lan, "b", "auto");
    assert!(b.keep_for(
        &[Service::Far.vip(false)],
        "192.168.77.11",
        Duration::from_secs(600)
    ));
    let shown = lan.run("b", &["nft", "list table ip ferrolb-keeper"]);
    let shown: String = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    for line in [
        "flags owner",
        "type filter hook prerouting priority mangle - 1; policy accept;",
        "ip daddr != @moved accept",
        "ether saddr @peers accept",
        "ip ttl < 3 accept",
        "goto pass",
        "dup to ip daddr map @passed",
        "192.168.77.200 timeout 10m",
        "192.168.77.11",
    ] {
        assert!(shown.contains(line), "{line:?} in {shown}");
    }
}

#[test]
fn an_entry_ends_by_itself_and_with_a_speaker_that_does_not_come_back() {
    let lan = Lan::build();
    let mut b = Keeper::start(&lan, "b", "auto");
    let [short, long] = [Service::Far, Service::OnA].map(|service| service.vip(false));
    assert!(b.keep(&[long], "192.168.77.11"));
    assert!(b.keep_for(&[short], "192.168.77.11", Duration::from_secs(3)));
    let elements = |lan: &Lan, of: IpAddr| {
        let shown = lan.run("b", &["nft", "list map ip ferrolb-keeper passed"]);
        shown.contains(&of.to_string())
    };
    let ends = |of: IpAddr| {
        let deadline = Instant::now() + SOON;
        while elements(&lan, of) {
            assert!(Instant::now() < deadline, "{of} does not end");
            thread::sleep(Duration::from_millis(50));
        }
    };
    assert!(elements(&lan, short) && elements(&lan, long));
    ends(short);
    assert!(elements(&lan, long));
    // A speaker that was restarted finds what goes on.
    b.reconnect();
    let found: Vec<IpAddr> = b.found.iter().map(|entry| entry.vip).collect();
    assert_eq!(found, [long]);
    assert!(
        b.found[0].time > Duration::from_secs(50),
        "its time is what it was"
    );
    // The same again, with another target, replaces it.
    b.say(&Question::Stations(stations(&lan, "b")));
    assert!(b.keep(&[long], "192.168.77.13"));
    assert!(
        lan.run("b", &["nft", "list map ip ferrolb-keeper passed"])
            .contains("192.168.77.13")
    );
    b.say_bytes(&[0xff; 8]);
    assert!(b.has_hung_up(), "what is no word ends the connection");
    // Nobody would notice the old owner's death.
    ends(long);
    assert!(b.is_running());
}

#[test]
fn what_may_not_be_passed_on_is_refused_and_the_rest_goes_on() {
    let lan = Lan::build();
    let mut b = Keeper::start(&lan, "b", "auto");
    let vip = Service::Far.vip(false);
    for via in [
        "192.168.77.12",
        "192.168.77.14",
        "172.31.77.2",
        "224.0.0.1",
        "8.8.8.8",
        "fd77::11",
    ] {
        assert!(!b.keep(&[vip], via), "{via}");
    }
    assert!(
        !b.keep(&["192.168.77.12".parse().unwrap()], "192.168.77.11"),
        "its own address"
    );
    assert!(b.keep(&[vip], "192.168.77.11"));
    let shown = lan.run("b", &["nft", "list map ip ferrolb-keeper passed"]);
    assert_eq!(shown.matches(" : ").count() - 1, 1, "{shown}");
}

#[test]
fn a_node_whose_connection_tracking_is_strict_keeps_nothing_and_says_so() {
    let lan = Lan::build();
    // Its settings are there once something tracks connections, as kube-proxy does.
    lan.set("b", "net/netfilter/nf_conntrack_tcp_loose", "0");
    let mut b = Keeper::start(&lan, "b", "auto");
    assert_eq!(b.way, Err(Unable::Strict));
    assert!(!b.keep(&[Service::Far.vip(false)], "192.168.77.11"));
    let tables = lan.run("b", &["nft", "list", "tables"]);
    assert!(!tables.contains("ferrolb"), "{tables}");
}

#[test]
fn a_thousand_entries_are_taken_at_once() {
    let lan = Lan::build();
    for by in ["dup", "tee"] {
        let mut b = Keeper::start(&lan, "b", by);
        let vips: Vec<IpAddr> = (0..1_000_u32)
            .map(|n| IpAddr::from((0x0a63_4000 + n).to_be_bytes()))
            .collect();
        let began = Instant::now();
        assert!(b.keep(&vips, "192.168.77.11"));
        let first = began.elapsed();
        assert!(b.keep(&vips, "192.168.77.13"), "and again, elsewhere");
        b.drop_all(&vips);
        assert_eq!(b.passed(), 0);
        eprintln!("1,000 entries by {by}: {first:?}");
    }
}
