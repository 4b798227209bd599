use proptest::prelude::*;

use super::super::tests::{address, asking, configured, dual, ensure, pool, service, three};
use super::super::{Decision, ServiceView};
use super::*;
use crate::view::FamilyPolicy;

fn named(namespace: &str, name: &str) -> ServiceKey {
    ServiceKey::new(namespace, name)
}

fn lists(allocator: &mut Allocator, name: &str, addresses: &[&str]) -> BTreeSet<ServiceKey> {
    let addresses: Vec<_> = addresses.iter().map(|text| address(text)).collect();
    allocator.set_external_ips(Lister::Other, &named("tenant", name), &addresses)
}

#[test]
fn what_another_service_lists_is_given_last_with_a_warning_that_names_it() {
    let mut allocator = configured(vec![
        pool("first", &[("10.0.0.1", "10.0.0.2")]),
        pool("second", &[("10.0.1.1", "10.0.1.1")]),
    ]);
    lists(&mut allocator, "greedy", &["10.0.0.1"]);
    assert_eq!(ensure(&mut allocator, &service("a")), "10.0.0.2");
    assert_eq!(
        ensure(&mut allocator, &service("b")),
        "10.0.1.1",
        "every pool first"
    );
    let decision = allocator.ensure(&service("c"));
    assert_eq!(decision.addresses(), [address("10.0.0.1")]);
    let refusal = decision.refusal().unwrap();
    assert_eq!(refusal.reason, crate::Reason::ExternalIp);
    assert!(refusal.text.contains("Service tenant/greedy"), "{refusal}");
    assert_eq!(ensure(&mut allocator, &service("d")), "pool_exhausted");
}

#[test]
fn a_tenant_who_lists_a_whole_pool_keeps_nobody_from_an_address() {
    let mut allocator = three();
    lists(
        &mut allocator,
        "greedy",
        &["10.0.0.1", "10.0.0.2", "10.0.0.3"],
    );
    assert_eq!(
        ensure(&mut allocator, &asking("10.0.0.2", service("a"))),
        "10.0.0.2 external_ip"
    );
    assert_eq!(
        ensure(&mut allocator, &service("b")),
        "10.0.0.1 external_ip"
    );
    assert_eq!(
        ensure(&mut allocator, &service("c")),
        "10.0.0.3 external_ip"
    );
}

#[test]
fn a_holder_is_told_and_keeps_its_address_and_only_holders_are_looked_at_again() {
    let mut allocator = three();
    for name in ["a", "b"] {
        ensure(&mut allocator, &service(name));
    }
    let touched = lists(&mut allocator, "late", &["10.0.0.1", "10.0.0.3"]);
    assert_eq!(touched, [service("a").key].into());
    assert_eq!(
        ensure(&mut allocator, &service("a")),
        "10.0.0.1 external_ip"
    );
    assert_eq!(
        lists(&mut allocator, "late", &["10.0.0.1", "10.0.0.3"]),
        [].into()
    );
    assert_eq!(
        lists(&mut allocator, "late", &[]),
        [service("a").key].into()
    );
    assert_eq!(ensure(&mut allocator, &service("a")), "10.0.0.1");
    assert!(allocator.surroundings.external.listers.is_empty());
    assert!(allocator.surroundings.external.services.is_empty());
}

#[test]
fn what_a_service_lists_itself_is_no_reason_to_give_it_another_or_to_warn() {
    let mut allocator = three();
    let view = service("a");
    allocator.set_external_ips(Lister::LoadBalancer, &view.key, &[address("10.0.0.1")]);
    assert_eq!(ensure(&mut allocator, &view), "10.0.0.1");
}

#[test]
fn both_families_with_a_listed_address_come_before_one_family_alone() {
    let mut allocator = configured(vec![pool(
        "p",
        &[("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::1")],
    )]);
    lists(&mut allocator, "greedy", &["fd00::1", "10.0.0.1"]);
    assert_eq!(
        ensure(&mut allocator, &dual("a", FamilyPolicy::PreferDualStack)),
        "10.0.0.2 fd00::1 external_ip"
    );
}

#[test]
fn a_type_that_changes_while_both_watches_run_apart_forgets_nothing() {
    let mut allocator = three();
    let key = named("tenant", "both");
    let listed = [address("10.0.0.1")];
    allocator.set_external_ips(Lister::LoadBalancer, &key, &listed);
    allocator.set_external_ips(Lister::Other, &key, &listed);
    allocator.set_external_ips(Lister::LoadBalancer, &key, &[]);
    assert_eq!(ensure(&mut allocator, &service("a")), "10.0.0.2");
    assert_eq!(allocator.listers(Lister::Other), [key]);
    assert_eq!(allocator.listers(Lister::LoadBalancer), []);
}

#[test]
fn no_tenant_fills_the_memory_nor_takes_the_place_of_others() {
    let mut allocator = three();
    let mut number = 0_u32;
    let mut flood = |allocator: &mut Allocator, namespace: &str| {
        for name in 0..1_000 {
            let addresses: Vec<_> = (0..100)
                .map(|_| {
                    number += 1;
                    IpAddr::V4((0x0b00_0000 + number).into())
                })
                .collect();
            let key = named(namespace, &format!("s{name}"));
            allocator.set_external_ips(Lister::Other, &key, &addresses);
        }
    };
    flood(&mut allocator, "hostile");
    assert_eq!(allocator.surroundings.external.count, MOST_OF_A_NAMESPACE);
    lists(&mut allocator, "honest", &["10.0.0.1"]);
    assert_eq!(ensure(&mut allocator, &service("a")), "10.0.0.2");
    for namespace in 0..40 {
        flood(&mut allocator, &format!("n{namespace}"));
    }
    let external = &allocator.surroundings.external;
    assert_eq!((external.count, external.listers.len()), (MOST, MOST));
}

proptest! {
    /// Whatever is listed, before or after, by whom: the same Services have addresses, those asked for
    /// by name are had, and nobody moves.
    #[test]
    fn lists_of_tenants_change_no_more_than_which_free_address_is_next(
        before in prop::collection::vec((0_u8..3, prop::collection::vec(0_u8..8, 0..5)), 0..4),
        after in prop::collection::vec((0_u8..3, prop::collection::vec(0_u8..8, 0..5)), 0..4),
        wishes in prop::collection::vec(prop::option::of(0_u8..8), 1..10),
    ) {
        let octet = |octet: u8| IpAddr::from([10, 0, 0, octet]);
        let pools = || vec![
            pool("p", &[("10.0.0.0", "10.0.0.3")]),
            pool("q", &[("10.0.0.5", "10.0.0.6")]),
        ];
        let views: BTreeMap<_, _> = wishes
            .iter()
            .enumerate()
            .map(|(number, wish)| {
                let view = service(&format!("s{number}"));
                let view = match wish {
                    Some(wish) => asking(&octet(*wish).to_string(), view),
                    None => view,
                };
                (view.key.clone(), view)
            })
            .collect();
        let settle = |allocator: &mut Allocator, views: &BTreeMap<ServiceKey, ServiceView>| {
            allocator.settle(views.keys().cloned().collect(), |key| views.get(key))
        };
        let write = |allocator: &mut Allocator, lists: &[(u8, Vec<u8>)]| {
            for (lister, octets) in lists {
                let addresses: Vec<_> = octets.iter().map(|one| octet(*one)).collect();
                let key = named("tenant", &lister.to_string());
                allocator.set_external_ips(Lister::Other, &key, &addresses);
            }
        };
        let mut plain = configured(pools());
        let without = settle(&mut plain, &views);
        let mut allocator = configured(pools());
        write(&mut allocator, &before);
        let with = settle(&mut allocator, &views);
        for (key, decision) in &without {
            let other = &with[key];
            prop_assert_eq!(decision.addresses().len(), other.addresses().len(), "{}", key);
            if !views[key].address_requests.is_empty() {
                prop_assert_eq!(decision.addresses(), other.addresses());
            }
        }
        write(&mut allocator, &after);
        let addresses = |decided: &BTreeMap<ServiceKey, Decision>| -> Vec<_> {
            decided.values().map(|one| one.addresses().to_vec()).collect()
        };
        let later = settle(&mut allocator, &views);
        prop_assert_eq!(addresses(&later), addresses(&with));
    }
}
