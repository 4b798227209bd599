//! Pools at the edges of what a host can have. Whatever is given may be kept: in the books, and in a
//! status as the API server shows it.

use proptest::prelude::*;

use super::*;
use crate::address::{canonical, predecessor, successor};
use crate::config::parse;

/// The first and the last address of what a host can have, cannot have, or is seldom meant to have.
const EDGES: [&str; 20] = [
    "0.0.0.0",
    "0.255.255.255",
    "10.0.0.0",
    "127.0.0.0",
    "127.255.255.255",
    "169.254.255.255",
    "192.168.0.255",
    "224.0.0.0",
    "239.255.255.255",
    "255.255.255.255",
    "::",
    "::1",
    "::fffe:ffff:ffff",
    "::ffff:ffff:ffff",
    "::1:0:0:0",
    "fd00::",
    "fe80::",
    "ff00::",
    "ff02::1",
    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
];

/// A few addresses around an edge, or all between two edges.
fn range() -> impl Strategy<Value = (IpAddr, IpAddr)> {
    let edge = || prop::sample::select(EDGES.map(address).to_vec());
    let step = |from: IpAddr, steps: usize, next: fn(IpAddr) -> Option<IpAddr>| {
        let walk = std::iter::successors(Some(from), |at| next(*at));
        walk.take(steps + 1).last().unwrap_or(from)
    };
    prop_oneof![
        4 => (edge(), 0_usize..4, 0_usize..4).prop_map(move |(edge, before, after)| {
            (step(edge, before, predecessor), step(edge, after, successor))
        }),
        1 => (edge(), edge()).prop_map(|(one, other)| (one.min(other), one.max(other))),
    ]
}

fn pools() -> impl Strategy<Value = String> {
    let pool = (prop::collection::vec(range(), 1..3), any::<bool>());
    prop::collection::vec(pool, 1..4).prop_map(|pools| {
        let mut text = "address-pools:\n".to_owned();
        for (number, (ranges, avoid)) in pools.iter().enumerate() {
            text += &format!(
                "- name: p{number}\n  protocol: layer2\n  avoid-buggy-ips: {avoid}\n  addresses:\n"
            );
            for (first, last) in ranges {
                // Spelt out: `::ffff:1.2.3.4` would mean IPv4.
                let plain = |end: &IpAddr| match end {
                    IpAddr::V4(v4) => v4.to_string(),
                    IpAddr::V6(v6) => v6.segments().map(|part| format!("{part:x}")).join(":"),
                };
                text += &format!("  - '{}-{}'\n", plain(first), plain(last));
            }
        }
        text
    })
}

fn view(number: usize, kind: u8) -> ServiceView {
    let name = format!("s{number}");
    match kind {
        0 => service(&name),
        1 => ServiceView {
            cluster_ips: vec![address("fd96::1")],
            ..service(&name)
        },
        2 => dual(&name, FamilyPolicy::PreferDualStack),
        3 => dual(&name, FamilyPolicy::RequireDualStack),
        _ => sharing("k", u16::try_from(number).unwrap() + 1, service(&name)),
    }
}

type Views = BTreeMap<ServiceKey, ServiceView>;

fn settle(allocator: &mut Allocator, views: &Views) -> BTreeMap<ServiceKey, Decision> {
    let decisions = allocator.settle(views.keys().cloned().collect(), |key| views.get(key));
    allocator.holdings.check();
    decisions
}

proptest! {
    #[test]
    fn whatever_is_given_may_be_kept(
        text in pools(),
        kinds in prop::collection::vec(0_u8..5, 1..12),
    ) {
        // Ranges that overlap are refused, and some are no range.
        let Some(config) = parse(&text).in_force() else {
            return Ok(());
        };
        let mut views = Views::new();
        for (number, kind) in kinds.into_iter().enumerate() {
            let view = view(number, kind);
            views.insert(view.key.clone(), view);
        }
        let mut allocator = Allocator::new(unconfigured());
        allocator.set_config(config.clone());
        let given = settle(&mut allocator, &views);
        let again = settle(&mut allocator, &views);
        prop_assert_eq!(&again, &given, "looked at again");
        for (key, decision) in &given {
            let shown = decision.addresses().iter().map(ToString::to_string);
            let shown: Vec<_> = shown.filter_map(|text| canonical(&text)).collect();
            prop_assert_eq!(&shown, decision.addresses(), "as the API server shows them");
            if let Some(view) = views.get_mut(key) {
                view.assigned = shown;
            }
        }
        let written = settle(&mut allocator, &views);
        prop_assert_eq!(&written, &given, "once the statuses show it");
        let mut restarted = Allocator::new(unconfigured());
        restarted.set_config(config);
        prop_assert_eq!(&settle(&mut restarted, &views), &given, "after a restart");
    }
}

#[test]
fn a_service_whose_pool_has_no_possible_address_is_told_so_and_others_are_served() {
    let text = "address-pools:\n\
                - {name: lo, protocol: layer2, addresses: [127.0.0.2-127.0.0.10]}\n\
                - {name: lan, protocol: layer2, addresses: [10.0.0.1-10.0.0.2]}\n";
    let mut allocator = Allocator::new(unconfigured());
    allocator.set_config(parse(text).in_force().unwrap());
    let decision = allocator.ensure(&from_pool("lo", service("a")));
    assert_eq!(told(&decision), "no_pool_matches");
    let said = decision.refusal().unwrap().to_string();
    assert!(said.contains("pool lo has no usable address"), "{said}");
    assert_eq!(ensure(&mut allocator, &service("b")), "10.0.0.1");
    let wants = allocator.ensure(&asking("127.0.0.2", service("c")));
    assert_eq!(told(&wants), "bad_requested_address");
    let said = wants.refusal().unwrap().to_string();
    assert!(
        said.contains("no host can have (loopback addresses"),
        "{said}"
    );
}

#[test]
fn what_a_service_holds_of_a_range_that_is_left_out_in_part_it_keeps() {
    let mut allocator = Allocator::new(unconfigured());
    let text =
        "address-pools: [{name: a, protocol: layer2, addresses: [223.255.255.254-224.0.0.5]}]";
    allocator.set_config(parse(text).in_force().unwrap());
    let held = ServiceView {
        assigned: vec![address("223.255.255.255")],
        ..service("a")
    };
    assert_eq!(ensure(&mut allocator, &held), "223.255.255.255");
    assert_eq!(ensure(&mut allocator, &service("b")), "223.255.255.254");
    assert_eq!(ensure(&mut allocator, &service("c")), "pool_exhausted");
}
