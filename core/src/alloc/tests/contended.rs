//! Addresses that cannot serve.

use super::*;
use crate::conflict::Cause;
use crate::wire::MacAddr;

pub(in crate::alloc) fn by_a_host() -> Finding {
    Finding {
        cause: Cause::Host(MacAddr(0x02, 0, 0xc0, 0xa8, 0x40, 0x64)),
        node: "n1".to_owned(),
    }
}

pub(in crate::alloc) fn by_its_subnet() -> Finding {
    Finding {
        cause: Cause::Subnet("10.0.0.0/30".parse().unwrap()),
        node: "n1".to_owned(),
    }
}

pub(in crate::alloc) fn by_a_gateway() -> Finding {
    Finding {
        cause: Cause::Gateway,
        node: "n1".to_owned(),
    }
}

/// The Service once its status shows what was decided.
fn shown(allocator: &mut Allocator, view: &ServiceView) -> ServiceView {
    let assigned = allocator.ensure(view).addresses().to_vec();
    let shown = ServiceView {
        assigned,
        ..view.clone()
    };
    allocator.ensure(&shown);
    shown
}

/// What is said of an address that the Service keeps.
fn kept(allocator: &mut Allocator, view: &ServiceView, address_kept: &str) -> Refusal {
    let decision = allocator.ensure(view);
    assert_eq!(decision.addresses(), [address(address_kept)]);
    decision.refusal().expect("a warning").clone()
}

fn seconds(seconds: u64) -> Instant {
    Instant::from_millis(seconds * 1_000)
}

fn contend(allocator: &mut Allocator, findings: &[(&str, Finding)]) {
    let findings = findings.iter().cloned();
    allocator.set_conflicts(findings.map(|(text, it)| (address(text), it)).collect());
}

const COMMAND: &str =
    "kubectl annotate -n shop service a --overwrite metallb.io/loadBalancerIPs=ADDRESS";

/// How far a Service has come with its address.
#[derive(Debug, Clone, Copy)]
enum Use {
    /// Decided, and in no status yet.
    Decided,
    /// In the status for that many seconds.
    Shown(u64),
    /// In the status since before this reign, or before this process.
    Former,
}

#[test]
fn only_what_is_not_in_use_yet_is_replaced_for_a_hosts_word_and_what_is_asked_for_never() {
    use Use::{Decided, Former, Shown};
    let (host, subnet, gateway) = (by_a_host(), by_its_subnet(), by_a_gateway());
    // The Service's use of 10.0.0.0, what is found, and whether another address is given: without a
    // request, and with one for just this address.
    let rows = [
        (Decided, &host, true),
        (Shown(0), &host, true),
        (Shown(9), &host, true),
        (Shown(10), &host, false),
        (Shown(100_000), &host, false),
        (Former, &host, false),
        (Decided, &subnet, true),
        (Shown(9), &subnet, true),
        (Shown(10), &subnet, true),
        (Former, &subnet, true),
        (Decided, &gateway, true),
        (Shown(9), &gateway, true),
        (Shown(10), &gateway, false),
        (Former, &gateway, false),
    ];
    for (use_of_it, finding, replaced) in rows {
        for asks in [false, true] {
            let mut allocator = configured(vec![pool("default", &[("10.0.0.0", "10.0.0.2")])]);
            let plain = match asks {
                true => asking("10.0.0.0", service("a")),
                false => service("a"),
            };
            let mut web = plain.clone();
            match use_of_it {
                Decided => drop(allocator.ensure(&plain)),
                Shown(for_seconds) => {
                    web = shown(&mut allocator, &plain);
                    allocator.handle_timeout(seconds(for_seconds));
                }
                Former => web.assigned = vec![address("10.0.0.0")],
            }
            contend(&mut allocator, &[("10.0.0.0", finding.clone())]);
            let decision = allocator.ensure(&web);
            let what = format!("{use_of_it:?} {finding:?} asked for: {asks}");
            if replaced && !asks {
                assert_eq!(decision.addresses(), [address("10.0.0.1")], "{what}");
                assert_eq!(decision.refusal(), None, "{what}");
                continue;
            }
            assert_eq!(decision.addresses(), [address("10.0.0.0")], "{what}");
            let refusal = decision.refusal().expect("a warning");
            let (reason, who) = match finding.cause {
                Cause::Host(_) => (
                    Reason::AddressConflict,
                    "which the host with MAC 02:00:c0:a8:40:64 (heard by node n1) uses",
                ),
                Cause::Subnet(_) => (
                    Reason::NoHostAddress,
                    "which is the network address of 10.0.0.0/30, the subnet of node n1",
                ),
                Cause::Gateway => (Reason::GatewayAddress, "which is the gateway of node n1"),
            };
            assert_eq!(refusal.reason, reason, "{what}");
            let remedy = if asks {
                "the Service asks for it"
            } else {
                COMMAND
            };
            for part in [who, remedy] {
                assert!(refusal.text.contains(part), "{what}: {refusal}");
            }
        }
    }
}

/// Of both families, in whatever way somebody comes to an address.
#[test]
fn a_nodes_gateway_is_given_to_nobody_whoever_asks_for_it() {
    let gateways = [("10.0.0.1", by_a_gateway()), ("fd00::1", by_a_gateway())];
    let both = || {
        configured(vec![pool(
            "default",
            &[("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2")],
        )])
    };
    let mut allocator = both();
    contend(&mut allocator, &gateways);
    for (gateway, asks) in [("10.0.0.1", "10.0.0.1"), ("fd00::1", "10.0.0.2,fd00::1")] {
        let asking = asking(asks, dual("asks", FamilyPolicy::PreferDualStack));
        let refusal = allocator
            .ensure(&asking)
            .refusal()
            .cloned()
            .expect("refused");
        assert_eq!(refusal.reason, Reason::RequestedAddressOutsidePools);
        let text = format!(
            "pool default leaves {gateway} out, because it is the gateway of node n1: ask for another \
             address"
        );
        assert_eq!(refusal.text, text);
    }
    let web = allocator.ensure(&dual("web", FamilyPolicy::RequireDualStack));
    assert_eq!(web.addresses(), [address("10.0.0.2"), address("fd00::2")]);
    let waits = allocator.ensure(&service("waits"));
    let refusal = waits.refusal().unwrap();
    assert_eq!(refusal.reason, Reason::PoolExhausted);
    let why = "(10.0.0.1, which is the gateway of node n1, left out)";
    assert!(refusal.text.contains(why), "{refusal}");
    // By a key, or in a pool that needs none, the address of whom had it before is not shared either.
    let mut allocator = both();
    let keyed = |name, port| ServiceView {
        sharing_key: Some("k".into()),
        ..on_port(port, service(name))
    };
    let mut former = keyed("former", 80);
    former.assigned = vec![address("10.0.0.1")];
    assert_eq!(ensure(&mut allocator, &former), "10.0.0.1");
    contend(&mut allocator, &gateways);
    assert_eq!(
        kept(&mut allocator, &former, "10.0.0.1").reason,
        Reason::GatewayAddress
    );
    assert_eq!(ensure(&mut allocator, &keyed("lodger", 81)), "10.0.0.2");
}

#[test]
fn an_address_comes_into_use_ten_seconds_after_its_status_shows_it_and_not_after_the_decision() {
    let mut allocator = three();
    let a = service("a");
    allocator.ensure(&a);
    allocator.handle_timeout(seconds(100));
    contend(&mut allocator, &[("10.0.0.1", by_a_host())]);
    assert_eq!(
        ensure(&mut allocator, &a),
        "10.0.0.2",
        "the API server was slow"
    );
    let a = shown(&mut allocator, &a);
    // Looking at the Service again puts nothing off.
    allocator.handle_timeout(seconds(105));
    allocator.ensure(&a);
    assert_eq!(allocator.poll_timeout(), Some(seconds(110)));
    allocator.handle_timeout(seconds(110));
    contend(&mut allocator, &[("10.0.0.2", by_a_host())]);
    kept(&mut allocator, &a, "10.0.0.2");
}

#[test]
fn what_is_put_aside_is_given_to_nobody_until_it_is_free_again() {
    let mut allocator = three();
    assert_eq!(ensure(&mut allocator, &service("a")), "10.0.0.1");
    contend(&mut allocator, &[("10.0.0.1", by_a_host())]);
    assert_eq!(ensure(&mut allocator, &service("a")), "10.0.0.2");
    assert_eq!(ensure(&mut allocator, &service("b")), "10.0.0.3");
    let waits = allocator.ensure(&service("c"));
    assert_eq!(waits.refusal().unwrap().reason, Reason::PoolExhausted);
    contend(&mut allocator, &[]);
    assert_eq!(
        ensure(&mut allocator, &service("a")),
        "10.0.0.2",
        "it stays"
    );
    assert_eq!(ensure(&mut allocator, &service("c")), "10.0.0.1");
}

#[test]
fn a_conflict_takes_nothing_from_whom_has_no_other_choice() {
    for finding in [by_a_host(), by_its_subnet()] {
        let mut allocator = configured(vec![pool("default", &[("10.0.0.0", "10.0.0.0")])]);
        ensure(&mut allocator, &service("a"));
        contend(&mut allocator, &[("10.0.0.0", finding)]);
        let refusal = kept(&mut allocator, &service("a"), "10.0.0.0");
        assert!(refusal.text.contains("no other is free"), "{refusal}");
    }
}

#[test]
fn a_person_gives_another_address_by_asking_for_it_and_the_old_one_is_not_given_on() {
    let mut allocator = three();
    let a = shown(&mut allocator, &service("a"));
    allocator.handle_timeout(seconds(60));
    contend(&mut allocator, &[("10.0.0.1", by_a_host())]);
    let refusal = kept(&mut allocator, &a, "10.0.0.1");
    assert!(refusal.text.contains("kubectl ferrolb pools"), "{refusal}");
    // What the command does.
    let moved = asking("10.0.0.3", a);
    assert_eq!(ensure(&mut allocator, &moved), "10.0.0.3");
    assert_eq!(ensure(&mut allocator, &service("b")), "10.0.0.2");
    let waits = allocator.ensure(&service("c"));
    assert_eq!(waits.refusal().unwrap().reason, Reason::PoolExhausted);
}

#[test]
fn a_new_leader_takes_what_statuses_show_for_in_use_and_what_it_gives_itself_not() {
    let mut allocator = three();
    let a = shown(&mut allocator, &service("a"));
    let written_late = service("b");
    allocator.ensure(&written_late);
    allocator.forget_holdings();
    let both = BTreeMap::from([
        (a.key.clone(), &a),
        (written_late.key.clone(), &written_late),
    ]);
    let settled = allocator.settle(both.keys().cloned().collect(), |key| both.get(key).copied());
    assert_eq!(
        settled[&written_late.key].addresses(),
        [address("10.0.0.2")]
    );
    contend(
        &mut allocator,
        &[("10.0.0.1", by_a_host()), ("10.0.0.2", by_a_host())],
    );
    kept(&mut allocator, &a, "10.0.0.1");
    assert_eq!(ensure(&mut allocator, &written_late), "10.0.0.3");
}

#[test]
fn whom_an_address_is_given_after_another_service_may_lose_it_and_who_lodges_with_one_may_not() {
    let mut allocator = three();
    shown(&mut allocator, &service("a"));
    allocator.handle_timeout(seconds(60));
    allocator.release(&service("a").key);
    let successor = shown(&mut allocator, &service("b"));
    contend(&mut allocator, &[("10.0.0.1", by_a_host())]);
    assert_eq!(ensure(&mut allocator, &successor), "10.0.0.2");

    let mut allocator = three();
    let sharing = |name, port| ServiceView {
        sharing_key: Some("k".into()),
        ..on_port(port, service(name))
    };
    shown(&mut allocator, &sharing("a", 80));
    allocator.handle_timeout(seconds(60));
    let lodger = shown(&mut allocator, &sharing("b", 81));
    contend(&mut allocator, &[("10.0.0.1", by_a_host())]);
    kept(&mut allocator, &lodger, "10.0.0.1");

    // A lodger that comes and goes brings nothing into use.
    let mut allocator = three();
    let host = shown(&mut allocator, &sharing("a", 80));
    let lodger = shown(&mut allocator, &sharing("b", 81));
    allocator.release(&lodger.key);
    contend(&mut allocator, &[("10.0.0.1", by_a_host())]);
    assert_eq!(ensure(&mut allocator, &host), "10.0.0.2");
}

#[test]
fn of_two_families_the_one_in_use_stays_when_the_other_is_replaced() {
    // The second pool could give both, and would take the address in use away.
    let mut allocator = configured(vec![
        pool("a", &[("10.0.0.1", "10.0.0.3"), ("fd00::", "fd00::")]),
        pool("b", &[("10.0.1.1", "10.0.1.3"), ("fd00::1:1", "fd00::1:3")]),
    ]);
    let both = dual("a", FamilyPolicy::PreferDualStack);
    let web = shown(&mut allocator, &both);
    assert_eq!(web.assigned, [address("10.0.0.1"), address("fd00::")]);
    let routers = Finding {
        cause: Cause::Subnet("fd00::/64".parse().unwrap()),
        ..by_its_subnet()
    };
    contend(&mut allocator, &[("fd00::", routers)]);
    let decision = allocator.ensure(&web);
    assert_eq!(
        decision.addresses(),
        web.assigned,
        "nothing to give in its pool"
    );
    let wider = pool("a", &[("10.0.0.1", "10.0.0.3"), ("fd00::", "fd00::5")]);
    allocator.set_config(Config {
        pools: vec![wider],
        ..Config::default()
    });
    let decision = allocator.ensure(&web);
    assert_eq!(
        decision.addresses(),
        [address("10.0.0.1"), address("fd00::1")]
    );
}

/// A router that answers for every address; or somebody who does.
#[test]
fn five_services_a_minute_get_another_address_at_most_and_no_pool_is_walked_through() {
    let mut allocator = configured(vec![pool("default", &[("10.0.0.1", "10.0.0.250")])]);
    let mut views: BTreeMap<_, _> = (0..20)
        .map(|n| service(&n.to_string()))
        .map(|view| (view.key.clone(), view))
        .collect();
    let mut changes = Vec::new();
    let mut conflicts = BTreeMap::new();
    for second in 0..600 {
        allocator.handle_timeout(seconds(second));
        allocator.set_conflicts(conflicts.clone());
        let all = views.keys().cloned().collect();
        for (key, decision) in allocator.settle(all, |key| views.get(key)) {
            let view = views.get_mut(&key).unwrap();
            if !view.assigned.is_empty() && view.assigned != decision.addresses() {
                changes.push(second);
            }
            view.assigned = decision.addresses().to_vec();
            conflicts.extend(view.assigned.iter().map(|one| (*one, by_a_host())));
        }
    }
    assert_eq!(changes, [1; MOST_REPLACED], "then all are in use");
    assert_eq!(conflicts.len(), 20 + MOST_REPLACED);
}

#[test]
fn the_network_address_waits_its_turn_where_many_are_replaced() {
    let mut allocator = configured(vec![pool("default", &[("10.0.0.0", "10.0.0.250")])]);
    let mut found = Vec::new();
    let views: Vec<_> = (0..=MOST_REPLACED)
        .map(|n| shown(&mut allocator, &service(&n.to_string())))
        .collect();
    for view in &views[1..] {
        found.push((view.assigned[0], by_a_host()));
    }
    found.push((views[0].assigned[0], by_its_subnet()));
    allocator.set_conflicts(found.into_iter().collect());
    for view in &views[1..] {
        assert_ne!(allocator.ensure(view).addresses(), view.assigned);
    }
    let refusal = kept(&mut allocator, &views[0], "10.0.0.0");
    assert!(refusal.text.contains("within 60 s already"), "{refusal}");
    let later = seconds(60);
    allocator.handle_timeout(later);
    // Without anybody's doing: it waits.
    let settled = allocator.settle(BTreeSet::new(), |key| {
        views.iter().find(|view| view.key == *key)
    });
    assert_eq!(settled[&views[0].key].addresses(), [address("10.0.0.11")]);
}

#[test]
fn a_nodes_claim_to_an_address_that_was_given_before_is_said_with_the_way_out() {
    let mut allocator = three();
    let a = shown(&mut allocator, &service("a"));
    at_node(&mut allocator, "10.0.0.1");
    let refusal = kept(&mut allocator, &a, "10.0.0.1");
    assert_eq!(refusal.reason, Reason::NodeAddress);
    for part in ["Node n1", COMMAND] {
        assert!(refusal.text.contains(part), "{refusal}");
    }
    let asks = asking("10.0.0.1", a);
    assert_eq!(allocator.ensure(&asks).refusal(), None, "it means it");
}
