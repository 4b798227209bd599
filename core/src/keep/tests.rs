use super::*;
use crate::ownership::Hold;

const START: Instant = Instant::from_millis(1_000);
const LONG: Duration = Duration::from_secs(600);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn mac(n: u8) -> MacAddr {
    MacAddr(2, 0, 0, 0, 0, n)
}

fn giver(n: u8) -> Giver {
    Giver {
        node: NodeId::of(&format!("n{n}")),
        at: Station {
            address: ip(&format!("10.0.0.{n}")),
            mac: mac(n),
        },
    }
}

fn vip() -> IpAddr {
    ip("10.0.0.200")
}

/// One that knows n1 and n3, and whose first order, that of the stations, is taken.
fn keep() -> Keep {
    let mut keep = Keep::new(LONG);
    keep.set_stations(vec![giver(3).at, giver(1).at]);
    let stations = vec![giver(1).at, giver(3).at];
    assert_eq!(keep.poll_order(), Some(Order::Stations(stations)));
    keep
}

fn taken() -> Keep {
    let mut keep = keep();
    assert!(keep.handle_taken(vip(), giver(1), START));
    let (vip, via, time) = (vip(), giver(1).at.address, LONG);
    assert_eq!(
        keep.poll_order(),
        Some(Order::Keep(Entry { vip, via, time }))
    );
    keep
}

fn ended(keep: &mut Keep) -> Option<End> {
    assert_eq!(keep.poll_order()?, Order::Drop(vip()));
    let ended = keep.poll_ended()?;
    assert_eq!(ended.vip, vip());
    assert_eq!(keep.poll_ended(), None, "it is said once");
    Some(ended.end)
}

fn after(millis: u64) -> Instant {
    START + Duration::from_millis(millis)
}

fn held() -> Standing {
    Standing::Held(Hold {
        verdict: Verdict::Restarting,
        until: after(5_000),
    })
}

#[test]
fn a_planned_move_is_kept_until_its_time_is_over() {
    let mut keep = taken();
    // Traffic all the time.
    for second in 1..600 {
        let now = after(second * 1_000);
        keep.handle_standings(|_| Some(Standing::Live), now);
        keep.handle_passed(vip(), second, now);
        keep.handle_timeout(now);
        assert_eq!(keep.poll_order(), None, "after {second} s");
    }
    let kept: Vec<Kept> = keep.kept(after(599_000)).collect();
    let from = giver(1).node;
    let left = Duration::from_secs(1);
    let idle = Duration::ZERO;
    let packets = 599;
    let vip = vip();
    assert_eq!(
        kept,
        [Kept {
            vip,
            from,
            left,
            idle,
            packets
        }]
    );
    keep.handle_timeout(after(600_000));
    assert_eq!(ended(&mut keep), Some(End::Over));
    assert_eq!(keep.kept(after(600_000)).count(), 0);
}

#[test]
fn it_ends_once_nothing_was_passed_on_for_five_minutes() {
    let mut keep = taken();
    keep.handle_passed(vip(), 5, after(10_000));
    // The same count again is no packet.
    keep.handle_passed(vip(), 5, after(200_000));
    keep.handle_timeout(after(309_999));
    assert_eq!(ended(&mut keep), None);
    let idle = keep.kept(after(309_999)).next().map(|kept| kept.idle);
    assert_eq!(idle, Some(Duration::from_millis(299_999)));
    assert_eq!(keep.poll_timeout(), Some(after(310_000)));
    keep.handle_timeout(after(310_000));
    assert_eq!(ended(&mut keep), Some(End::Idle));
}

#[test]
fn a_dead_or_deaf_old_owner_ends_it_at_once_and_so_does_one_that_nobody_knows() {
    for standing in [
        Some(Standing::Gone(Verdict::Node)),
        Some(Standing::Gone(Verdict::Deaf)),
        Some(Standing::NeverHeard),
        None,
    ] {
        let mut keep = taken();
        keep.handle_standings(|_| standing, after(10));
        assert_eq!(ended(&mut keep), Some(End::OldOwnerGone), "{standing:?}");
    }
}

#[test]
fn while_its_speaker_is_away_its_kernel_is_asked_and_a_silent_one_ends_it_within_200_ms() {
    for standing in [
        held(),
        Standing::Lost { held: None },
        Standing::Gone(Verdict::Left),
        Standing::Gone(Verdict::Process),
        Standing::Gone(Verdict::Stalled),
        Standing::Gone(Verdict::Restarting),
    ] {
        let mut keep = taken();
        let mut now = START;
        // For ten seconds it answers.
        for _ in 0..200 {
            keep.handle_standings(|_| Some(standing), now);
            keep.handle_timeout(now);
            assert_eq!(keep.poll_probe(), Some(giver(1).at.address), "{standing:?}");
            assert_eq!(keep.poll_probe(), None);
            keep.handle_kernel_answer(giver(1).at.address, KernelAnswer::Echo);
            now = keep.poll_timeout().unwrap();
        }
        // A stranger's answers and those of a proxy say nothing.
        let silent_since = now;
        while keep.kept(now).count() > 0 {
            keep.handle_kernel_answer(ip("10.0.0.3"), KernelAnswer::Echo);
            keep.handle_kernel_answer(giver(1).at.address, KernelAnswer::Neighbour(mac(9)));
            keep.handle_standings(|_| Some(standing), now);
            keep.handle_timeout(now);
            now = keep.poll_timeout().unwrap_or(now);
        }
        assert!(now <= silent_since + Duration::from_millis(200));
        assert_eq!(ended(&mut keep), Some(End::OldOwnerGone));
    }
}

#[test]
fn a_speaker_that_is_back_ends_the_questions() {
    let mut keep = taken();
    keep.handle_standings(|_| Some(held()), START);
    keep.handle_timeout(START);
    assert!(keep.poll_probe().is_some());
    keep.handle_standings(|_| Some(Standing::Live), after(20));
    for millis in (50..5_000).step_by(50) {
        keep.handle_timeout(after(millis));
    }
    assert_eq!((keep.poll_probe(), keep.poll_order()), (None, None));
}

#[test]
fn many_addresses_of_one_node_are_one_question() {
    let mut keep = keep();
    for n in 0..100 {
        assert!(keep.handle_taken(ip(&format!("10.0.1.{n}")), giver(1), START));
    }
    keep.handle_standings(|_| Some(held()), START);
    keep.handle_timeout(START);
    assert!(keep.poll_probe().is_some());
    assert_eq!(keep.poll_probe(), None);
}

#[test]
fn whoever_gives_the_address_away_keeps_nothing() {
    let mut keep = taken();
    keep.handle_given(vip());
    assert_eq!(ended(&mut keep), Some(End::Moved));
    keep.handle_given(vip());
    assert_eq!(keep.poll_order(), None, "it is said once");
}

#[test]
fn moved_again_within_the_window_it_is_the_last_owner_that_counts() {
    let mut keep = taken();
    keep.handle_given(vip());
    assert_eq!(ended(&mut keep), Some(End::Moved));
    assert!(keep.handle_taken(vip(), giver(3), after(5_000)));
    keep.handle_standings(
        |node| {
            Some(if node == giver(1).node {
                Standing::Gone(Verdict::Node)
            } else {
                Standing::Live
            })
        },
        after(5_010),
    );
    let Some(Order::Keep(entry)) = keep.poll_order() else {
        panic!("it is passed on to n3");
    };
    assert_eq!(entry.via, giver(3).at.address);
    assert_eq!(keep.poll_order(), None, "n1's death is no matter any more");
}

#[test]
fn only_known_stations_of_the_same_family_are_passed_on_to_and_no_more_than_there_is_room_for() {
    let mut keep = keep();
    // Not told to the keeper; another hardware address than the one told; another family.
    assert!(!keep.handle_taken(vip(), giver(2), START));
    let mut other = giver(1);
    other.at.mac = mac(7);
    assert!(!keep.handle_taken(vip(), other, START));
    assert!(!keep.handle_taken(ip("fd00::200"), giver(1), START));
    assert!(!keep.handle_taken(giver(1).at.address, giver(1), START));
    let vips = (0..).map(|n: u32| IpAddr::from((0x0a01_0000 + n).to_be_bytes()));
    let vips: Vec<IpAddr> = vips.take(MAX_ENTRIES + 1).collect();
    let taken = vips
        .iter()
        .filter(|vip| keep.handle_taken(**vip, giver(1), START));
    assert_eq!(taken.count(), MAX_ENTRIES);
    assert!(
        keep.handle_taken(vips[0], giver(3), START),
        "its room is its own"
    );
}

#[test]
fn no_one_can_ask_for_more_than_an_hour() {
    let mut keep = Keep::new(Duration::from_secs(1 << 30));
    keep.set_stations(vec![giver(1).at]);
    assert!(keep.handle_taken(vip(), giver(1), START));
    let kept = keep.kept(START).next();
    assert_eq!(kept.map(|kept| kept.left), Some(LONGEST));
}

#[test]
fn a_new_keeper_is_told_everything_with_the_time_that_is_left() {
    let mut keep = taken();
    keep.handle_new_keeper(after(100_000));
    let stations = vec![giver(1).at, giver(3).at];
    assert_eq!(keep.poll_order(), Some(Order::Stations(stations)));
    let (vip, via, time) = (vip(), giver(1).at.address, LONG - Duration::from_secs(100));
    assert_eq!(
        keep.poll_order(),
        Some(Order::Keep(Entry { vip, via, time }))
    );
    assert_eq!(keep.poll_order(), None);
}

/// A keeper that restarts at this moment is told nothing of it: it has nothing to drop.
#[test]
fn that_it_has_ended_is_said_also_if_a_new_keeper_comes_in_between() {
    let mut keep = taken();
    keep.handle_given(vip());
    keep.handle_new_keeper(after(10));
    assert!(matches!(keep.poll_order(), Some(Order::Stations(_))));
    assert_eq!(keep.poll_order(), None);
    let (vip, from, end) = (vip(), giver(1).node, End::Moved);
    assert_eq!(keep.poll_ended(), Some(Ended { vip, from, end }));
}

#[test]
fn what_a_keeper_still_does_goes_on_only_if_its_target_is_a_node() {
    let found = Entry {
        vip: vip(),
        via: giver(1).at.address,
        time: Duration::from_secs(30),
    };
    let mut keep = keep();
    keep.handle_found(found, None, START);
    assert_eq!(keep.poll_order(), Some(Order::Drop(vip())));
    assert_eq!(keep.poll_ended(), None, "nobody was told that it began");
    keep.handle_found(found, Some(giver(1)), START);
    assert_eq!(keep.poll_order(), None);
    keep.handle_timeout(after(30_000));
    assert_eq!(ended(&mut keep), Some(End::Over));
}

#[test]
fn the_old_owner_is_reached_on_the_link_of_the_address() {
    let link = |name: &str, carrier, prefixes: &[&str]| Link {
        name: name.into(),
        mac: mac(100),
        prefixes: prefixes.iter().map(|text| text.parse().unwrap()).collect(),
        routes: BTreeMap::new(),
        carrier,
    };
    let links = [
        link("eth0", true, &["10.0.0.5/24", "fd00::5/64"]),
        link("dmz0", true, &["10.9.0.5/24"]),
        link("down0", false, &["10.8.0.5/24"]),
    ];
    let links: BTreeMap<LinkId, Link> = (1..).map(LinkId).zip(links).collect();
    let all = [
        ("10.0.0.1", 1),
        ("10.9.0.1", 2),
        ("10.8.0.1", 3),
        ("fd00::1", 1),
        ("172.16.0.1", 4),
    ];
    let stations = all.map(|(address, n)| Station {
        address: ip(address),
        mac: mac(n),
    });
    for (vip, expected) in [
        ("10.0.0.200", Some("10.0.0.1")),
        ("10.9.0.200", Some("10.9.0.1")),
        ("fd00::200", Some("fd00::1")),
        // On no subnet: it is announced on every link.
        ("192.168.9.9", Some("10.0.0.1")),
        ("10.8.0.200", Some("10.0.0.1")),
    ] {
        let found = station_for(ip(vip), stations, &links);
        assert_eq!(found.map(|it| it.address), expected.map(ip), "{vip}");
    }
    let no_mac = Station {
        address: ip("10.0.0.1"),
        mac: MacAddr::zero(),
    };
    let own = Station {
        address: ip("10.0.0.5"),
        mac: mac(100),
    };
    for unfit in [no_mac, own, stations[2], stations[3], stations[4]] {
        assert_eq!(station_for(vip(), [unfit], &links), None, "{unfit:?}");
    }
}

#[test]
fn what_the_keeper_refuses_is_forgotten_without_a_word() {
    let mut keep = taken();
    assert!(keep.keeps(vip()));
    keep.handle_refused(vip());
    assert!(!keep.keeps(vip()));
    keep.handle_given(vip());
    keep.handle_timeout(after(600_000));
    assert_eq!(keep.poll_order(), None);
}
