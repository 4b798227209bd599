use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;

use crate::adopt::{Adoption, adoption};
use crate::alloc::tests::contended::{by_a_host, by_its_subnet};
use crate::alloc::tests::{address, configured, ensure, pool, service, three};
use crate::alloc::{Allocator, Decision, MOST_REPLACED};
use crate::conflict::Finding;
use crate::view::ServiceView;
use crate::{Instant, Reason};

const NOON: &str = "2026-11-29T12:00:00Z";

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// As k3s left it at noon.
fn left_by_k3s(name: &str, assigned: &[&str]) -> ServiceView {
    ServiceView {
        assigned: assigned.iter().map(|one| address(one)).collect(),
        status_manager: Some("k3s".into()),
        status_written: Some(time(NOON)),
        ..service(name)
    }
}

fn asking(view: ServiceView) -> ServiceView {
    ServiceView {
        adopt_from: Some("k3s".into()),
        ..view
    }
}

/// What is decided at that time.
fn at(allocator: &mut Allocator, now: &str, view: &ServiceView) -> Decision {
    allocator.set_adoption(&view.key, adoption(view, false, time(now)));
    allocator.ensure(view)
}

#[test]
fn a_quiet_status_is_left_alone_for_ever_unless_somebody_asks_and_the_command_is_said() {
    let mut allocator = three();
    let view = left_by_k3s("web", &["192.168.64.11", "192.168.64.12"]);
    let Decision::Leave { addresses, why } = at(&mut allocator, "2027-11-29T12:00:00Z", &view)
    else {
        panic!("time alone is no sign");
    };
    assert_eq!(addresses, view.assigned);
    assert_eq!(why.reason, Reason::ForeignStatus);
    insta::assert_snapshot!(why.text);
}

#[test]
fn who_asks_gets_an_address_of_a_pool_ten_minutes_after_the_last_write_and_not_before() {
    let mut allocator = three();
    let view = asking(left_by_k3s("web", &["192.168.64.11", "192.168.64.12"]));
    let early = at(&mut allocator, "2026-11-29T12:09:59Z", &view);
    let Decision::Leave { why, .. } = &early else {
        panic!("k3s may run: {early:?}");
    };
    insta::assert_snapshot!(why.text);
    let late = at(&mut allocator, "2026-11-29T12:10:00Z", &view);
    assert_eq!(late.addresses(), [address("10.0.0.1")]);
    assert_eq!(
        ensure(&mut allocator, &service("b")),
        "10.0.0.2",
        "it is held"
    );
}

#[test]
fn an_address_inside_a_pool_is_kept_and_those_outside_are_not() {
    let mut allocator = three();
    // The first one is no pool's, the second one is kept, one of a family is enough.
    let view = asking(left_by_k3s(
        "web",
        &["192.168.64.11", "10.0.0.3", "10.0.0.2"],
    ));
    let decision = at(&mut allocator, "2026-11-29T13:00:00Z", &view);
    assert_eq!(decision.addresses(), [address("10.0.0.3")]);
    // It stays so when it is looked at again.
    assert_eq!(at(&mut allocator, "2026-11-29T13:00:01Z", &view), decision);
}

#[test]
fn a_status_with_a_host_name_alone_is_another_ones_too() {
    let mut allocator = three();
    let view = ServiceView {
        status_is_canonical: false,
        status_manager: Some("aws-cloud-controller-manager".into()),
        ..left_by_k3s("web", &[])
    };
    let left = at(&mut allocator, "2026-11-29T13:00:00Z", &view);
    assert!(matches!(left, Decision::Leave { .. }), "{left:?}");
    let asking = ServiceView {
        adopt_from: Some("aws-cloud-controller-manager".into()),
        ..view
    };
    let decision = at(&mut allocator, "2026-11-29T13:00:00Z", &asking);
    assert_eq!(decision.addresses(), [address("10.0.0.1")]);
}

#[test]
fn nothing_is_emptied_while_there_is_no_address_to_give_and_it_is_tried_again() {
    let mut allocator = three();
    for name in ["a", "b", "c"] {
        ensure(&mut allocator, &service(name));
    }
    let view = asking(left_by_k3s("web", &["192.168.64.11"]));
    let verdict = adoption(&view, false, time("2026-11-29T13:00:00Z"));
    allocator.set_adoption(&view.key, verdict);
    let decisions = allocator.settle([view.key.clone()].into(), |_| Some(&view));
    let Decision::Leave { addresses, why } = &decisions[&view.key] else {
        panic!("{decisions:?}");
    };
    assert_eq!(*addresses, view.assigned);
    assert_eq!(why.reason, Reason::PoolExhausted);
    assert!(why.text.contains("no IPv4 address is left"), "{why}");

    allocator.release(&service("b").key);
    let decisions = allocator.settle([].into(), |_| Some(&view));
    assert_eq!(decisions[&view.key].addresses(), [address("10.0.0.2")]);

    // Nor without any configuration.
    let unconfigured = crate::alloc::Refusal::new(Reason::NotConfigured, "no pools yet");
    let mut allocator = Allocator::new(unconfigured);
    let left = at(&mut allocator, "2026-11-29T13:00:00Z", &view);
    assert_eq!(left.addresses(), view.assigned);
}

#[test]
fn addresses_in_other_statuses_are_restored_before_an_adopted_service_chooses() {
    let mut allocator = three();
    let adopts = asking(left_by_k3s("a", &["192.168.64.11"]));
    let has = ServiceView {
        assigned: vec![address("10.0.0.1")],
        status_manager: Some("ferrolb-controller".into()),
        ..service("b")
    };
    let verdict = adoption(&adopts, false, time("2026-11-29T13:00:00Z"));
    allocator.set_adoption(&adopts.key, verdict);
    let both = [adopts.key.clone(), has.key.clone()];
    let view_of = |key: &_| Some(if *key == adopts.key { &adopts } else { &has });
    let decisions = allocator.settle(both.into(), view_of);
    assert_eq!(decisions[&has.key].addresses(), [address("10.0.0.1")]);
    assert_eq!(decisions[&adopts.key].addresses(), [address("10.0.0.2")]);
}

#[test]
fn who_is_asked_of_must_be_who_wrote_and_whoever_rewrote_it_once_is_not_tried_again() {
    let other = ServiceView {
        adopt_from: Some("kube-vip".into()),
        ..left_by_k3s("web", &["192.168.64.11"])
    };
    let late = time("2026-11-29T13:00:00Z");
    assert_eq!(
        adoption(&other, false, late),
        Adoption::AskedOf("kube-vip".into())
    );
    let view = asking(left_by_k3s("web", &["192.168.64.11"]));
    assert_eq!(adoption(&view, true, late), Adoption::Undone);
    // A clock that goes wrong, here or there, is no reason to hurry, or to wait for ever.
    let early = time("2020-01-01T00:00:00Z");
    assert_eq!(
        adoption(&view, false, early),
        Adoption::NotBefore(time("2020-01-01T00:10:00Z"))
    );
    for (verdict, word) in [
        (
            Adoption::AskedOf("kube-vip".into()),
            "names kube-vip instead",
        ),
        (Adoption::Undone, "rewrote this Service's status after"),
    ] {
        let mut allocator = three();
        allocator.set_adoption(&view.key, verdict);
        let left = allocator.ensure(&view);
        let text = &left.refusal().unwrap().text;
        assert!(text.contains(word) && text.contains("svc/web"), "{text}");
    }
}

#[test]
fn a_managers_name_is_quoted_short_and_never_in_a_command_that_a_shell_would_take_apart() {
    let mut allocator = three();
    let name = format!("x; rm -rf ~ \u{1b}[31m{}", "y".repeat(500));
    let view = ServiceView {
        status_manager: Some(name.into()),
        ..left_by_k3s("web", &["192.168.64.11"])
    };
    let left = allocator.ensure(&view);
    let text = &left.refusal().unwrap().text;
    assert!(text.len() < 600 && !text.contains('\u{1b}'), "{text}");
    assert!(!text.contains("adopt-from="), "{text}");
    assert!(
        text.contains("kubectl ferrolb adopt -n shop svc/web"),
        "{text}"
    );
}

#[test]
fn who_waits_for_a_service_that_is_being_deleted_is_told_what_holds_it() {
    let mut allocator = three();
    let holder = service("a");
    ensure(&mut allocator, &holder);
    let wants = super::super::tests::asking("10.0.0.1", service("b"));
    let settle = |allocator: &mut Allocator, changed: &[&ServiceView]| {
        let keys = changed.iter().map(|view| view.key.clone()).collect();
        let find = |key: &_| changed.iter().find(|view| view.key == *key).copied();
        let find = |key: &_| find(key).or_else(|| (wants.key == *key).then_some(&wants));
        allocator.settle(keys, find)
    };
    let text = |decisions: BTreeMap<_, Decision>| {
        let refusal = decisions[&wants.key].refusal().unwrap();
        assert_eq!(refusal.reason, Reason::RequestedAddressInUse);
        refusal.text.clone()
    };
    let said = text(settle(&mut allocator, &[&wants]));
    assert!(said.ends_with("or free it there"), "{said}");
    // The one that waits is told as soon as the other one's deletion begins.
    let leaving = |finalizers: &str| ServiceView {
        deleting: Some(finalizers.into()),
        ..holder.clone()
    };
    let said = text(settle(&mut allocator, &[&leaving("example.com/backup")]));
    insta::assert_snapshot!(said);
    let said = text(settle(&mut allocator, &[&leaving("")]));
    assert!(
        said.ends_with("it is free as soon as that one is gone"),
        "{said}"
    );
    allocator.release(&holder.key);
    let decisions = settle(&mut allocator, &[]);
    assert_eq!(decisions[&wants.key].addresses(), [address("10.0.0.1")]);
}

/// A router that answers for every address; or somebody who does.
fn contended(addresses: &[&str]) -> BTreeMap<IpAddr, Finding> {
    let addresses = addresses.iter();
    addresses.map(|one| (address(one), by_a_host())).collect()
}

#[test]
fn what_an_adoption_gives_is_not_in_use_before_its_status_has_shown_it_for_ten_seconds() {
    let later = |seconds: u64| Instant::from_millis(seconds * 1_000);
    let adopted = |allocator: &mut Allocator| {
        let view = asking(left_by_k3s("web", &["192.168.64.11"]));
        let decision = at(allocator, "2026-11-29T13:00:00Z", &view);
        assert_eq!(decision.addresses(), [address("10.0.0.1")]);
        ServiceView {
            assigned: decision.addresses().to_vec(),
            status_manager: Some("ferrolb-controller".into()),
            ..view
        }
    };
    for (shown_for, want) in [(0, "10.0.0.2"), (9, "10.0.0.2"), (10, "10.0.0.1")] {
        let mut allocator = three();
        let shown = adopted(&mut allocator);
        allocator.ensure(&shown);
        allocator.handle_timeout(later(shown_for));
        allocator.set_conflicts(contended(&["10.0.0.1"]));
        let decision = allocator.ensure(&shown);
        assert_eq!(decision.addresses(), [address(want)], "{shown_for} s");
    }
    // Nor is what no status shows yet.
    let mut allocator = three();
    adopted(&mut allocator);
    allocator.handle_timeout(later(100));
    allocator.set_conflicts(contended(&["10.0.0.1"]));
    let view = asking(left_by_k3s("web", &["192.168.64.11"]));
    assert_eq!(ensure(&mut allocator, &view), "10.0.0.2");
    // What the other balancer had given, and was kept, is in use.
    let mut allocator = three();
    let view = asking(left_by_k3s("web", &["10.0.0.3"]));
    at(&mut allocator, "2026-11-29T13:00:00Z", &view);
    allocator.set_conflicts(contended(&["10.0.0.3"]));
    assert_eq!(allocator.ensure(&view).addresses(), [address("10.0.0.3")]);
}

#[test]
fn what_is_replaced_at_an_adoption_is_one_of_the_five_a_minute() {
    let ranges = [("10.0.0.0", "10.0.0.0"), ("10.0.1.0", "10.0.1.250")];
    let mut allocator = configured(vec![pool("default", &ranges)]);
    let adopts = |n: usize| asking(left_by_k3s(&format!("web{n}"), &[&format!("10.0.1.{n}")]));
    let network = |n: usize| (address(&format!("10.0.1.{n}")), by_its_subnet());
    allocator.set_conflicts((0..=MOST_REPLACED).map(network).collect());
    for n in 0..=MOST_REPLACED {
        let view = adopts(n);
        let decision = at(&mut allocator, "2026-11-29T13:00:00Z", &view);
        let kept = decision.addresses() == view.assigned;
        assert_eq!(kept, n == MOST_REPLACED, "{n}: {decision:?}");
    }
}
