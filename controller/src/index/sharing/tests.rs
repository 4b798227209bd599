use std::collections::BTreeSet;

use ferrolb_core::Instant;
use ferrolb_core::names::event;
use ferrolb_core::view::{Protocol, ServiceKey, ServiceView, TrafficPolicy};

use crate::index::Index;
use crate::index::tests::{configured, notices, service, told, updates, written};
use crate::notice::Notice;

fn sharing(namespace: &str, name: &str, version: &str, port: u16, shown: &[&str]) -> ServiceView {
    let view = service(name, version, shown);
    ServiceView {
        key: ServiceKey::new(namespace, name),
        uid: format!("uid-{namespace}-{name}").into(),
        sharing_key: Some("k".into()),
        ports: [(Protocol::Tcp, port)].into(),
        ..view
    }
}

fn second(second: u64) -> Instant {
    Instant::from_millis(second * 1_000)
}

/// Writes what is to be written; the watch shows it later.
fn write(index: &mut Index, now: Instant) -> Vec<String> {
    let sent = updates(index);
    for update in &sent {
        index.handle_outcome(update, &written("written"), now);
    }
    told(&sent)
}

fn of_sharing(index: &mut Index) -> Vec<Notice> {
    let notices = std::iter::from_fn(|| index.poll_notice());
    notices
        .filter(|notice| notice.words.reason == event::ADDRESS_SHARED)
        .collect()
}

fn said(notices: &[Notice]) -> Vec<String> {
    let said = |notice: &Notice| {
        let object = &notice.words.object;
        format!(
            "{}/{}: {}",
            object.namespace, object.name, notice.words.message
        )
    };
    notices.iter().map(said).collect()
}

const ACROSS: &str = ", since they have the same allow-shared-ip; share-within: namespace in the pool \
                      keeps other namespaces out";

#[test]
fn both_are_told_who_the_other_one_is_when_they_come_to_share_an_address() {
    let mut index = configured(vec![sharing("shop", "web", "1", 80, &["10.0.0.1"])]);
    assert_eq!(said(&of_sharing(&mut index)), [""; 0]);
    index.apply(sharing("blog", "web", "2", 81, &[]), second(1));
    assert_eq!(write(&mut index, second(1)), ["web 10.0.0.1"]);
    assert_eq!(
        said(&of_sharing(&mut index)),
        [
            format!("blog/web: shares 10.0.0.1 with Service shop/web{ACROSS}"),
            format!("shop/web: shares 10.0.0.1 with Service blog/web{ACROSS}"),
        ]
    );
    // Of one namespace, and three at once: each is told once.
    let mut index = configured(
        ["a", "b", "c"]
            .into_iter()
            .zip(80..)
            .map(|(name, port)| sharing("shop", name, "1", port, &[]))
            .collect(),
    );
    write(&mut index, second(1));
    assert_eq!(
        said(&of_sharing(&mut index)),
        [
            "shop/a: shares 10.0.0.1 with Service shop/b, shop/c",
            "shop/b: shares 10.0.0.1 with Service shop/a, shop/c",
            "shop/c: shares 10.0.0.1 with Service shop/a, shop/b",
        ]
    );
    index.handle_timeout(second(600));
    assert_eq!(said(&of_sharing(&mut index)), [""; 0]);
}

#[test]
fn a_new_leader_says_nothing_of_those_who_shared_before() {
    let both = [
        sharing("shop", "web", "1", 80, &["10.0.0.1"]),
        sharing("blog", "web", "1", 81, &["10.0.0.1"]),
    ];
    let mut index = configured(both.to_vec());
    assert_eq!(write(&mut index, second(1)), [""; 0]);
    index.follow();
    index.lead();
    index.reset(both.to_vec(), &BTreeSet::new(), second(2));
    assert_eq!(write(&mut index, second(2)), [""; 0]);
    assert_eq!(notices(&mut index), []);
}

#[test]
fn a_lodger_that_comes_and_goes_is_told_of_once_a_minute_and_in_one_event() {
    let mut index = configured(vec![sharing("shop", "web", "1", 80, &["10.0.0.1"])]);
    let mut of_host = Vec::new();
    // Under one name, then under ever new ones: ten times a second.
    for tenth in 0..6_000_u64 {
        let now = Instant::from_millis(tenth * 100);
        index.handle_timeout(now);
        let name = if tenth < 3_000 {
            "lodger".to_owned()
        } else {
            format!("lodger{tenth}")
        };
        let lodger = sharing("blog", &name, "1", 81, &[]);
        let key = lodger.key.clone();
        index.apply(lodger, now);
        assert_eq!(write(&mut index, now), [format!("{name} 10.0.0.1")]);
        index.delete(&key);
        let notices = of_sharing(&mut index).into_iter();
        of_host.extend(notices.filter(|notice| notice.words.object.namespace == "shop"));
    }
    assert!(of_host.len() <= 10, "{} in ten minutes", of_host.len());
    let names: BTreeSet<_> = of_host.iter().map(Notice::suffix).collect();
    assert_eq!(names.len(), 1, "one Event: {:?}", said(&of_host));
    // Whoever comes within the pause is told of after it.
    let mut index = configured(vec![sharing("shop", "web", "1", 80, &["10.0.0.1"])]);
    for (name, port) in [("first", 81), ("second", 82)] {
        index.apply(sharing("blog", name, "1", port, &[]), second(1));
        write(&mut index, second(1));
    }
    let strangers = |notices: Vec<Notice>| {
        let notices = said(&notices).into_iter();
        let host = notices.filter(|line| line.starts_with("shop/web"));
        host.collect::<Vec<_>>()
    };
    assert_eq!(
        strangers(of_sharing(&mut index)),
        [format!(
            "shop/web: shares 10.0.0.1 with Service blog/first{ACROSS}"
        )]
    );
    let due = index.poll_timeout().unwrap();
    assert_eq!(due, second(61));
    index.handle_timeout(due);
    assert_eq!(
        strangers(of_sharing(&mut index)),
        [format!(
            "shop/web: shares 10.0.0.1 with Service blog/second, blog/first{ACROSS}"
        )]
    );
    assert_eq!(index.poll_timeout(), None);
}

#[test]
fn a_crowd_at_one_address_is_told_in_part_and_strangers_first() {
    let shown = &["10.0.0.1"];
    let crowd = (0..40_u16).map(|n| sharing("blog", &format!("n{n:02}"), "1", 100 + n, shown));
    let host = sharing("shop", "web", "1", 80, shown);
    let mut index = configured(crowd.chain([host]).collect());
    index.apply(sharing("blog", "new", "1", 90, &[]), second(1));
    write(&mut index, second(1));
    let said = said(&of_sharing(&mut index));
    assert_eq!(said.len(), 1 + super::MOST_TOLD);
    let newcomer = "blog/new: shares 10.0.0.1 with Service shop/web, blog/n00, blog/n01, blog/n02, \
                    blog/n03 and 36 more";
    assert!(said[0].starts_with(newcomer), "{}", said[0]);
    assert!(said[1].starts_with("shop/web: shares 10.0.0.1 with Service blog/new, blog/n00,"));
}

#[test]
fn two_that_are_edited_one_after_the_other_keep_their_statuses_and_both_are_warned_once() {
    let dns = |name, version, policy, port| ServiceView {
        traffic_policy: policy,
        selector: "app=dns".into(),
        ..sharing("shop", name, version, port, &["10.0.0.1"])
    };
    let [cluster, local] = [TrafficPolicy::Cluster, TrafficPolicy::Local];
    let mut index = configured(vec![
        dns("t2", "1", cluster, 53),
        dns("u2", "1", cluster, 54),
    ]);
    index.apply(dns("t2", "2", local, 53), second(1));
    assert_eq!(write(&mut index, second(1)), [""; 0]);
    let warned = notices(&mut index);
    let reasons: Vec<_> = warned.iter().map(|(reason, _)| *reason).collect();
    assert_eq!(reasons, [event::SHARED_IN_DISCORD; 2]);
    assert!(
        warned[0].1.contains("shop/u2") && warned[1].1.contains("shop/t2"),
        "{warned:?}"
    );
    // Over a restart in the middle.
    let both = vec![dns("t2", "2", local, 53), dns("u2", "1", cluster, 54)];
    let mut index = configured(both);
    assert_eq!(write(&mut index, second(2)), [""; 0]);
    notices(&mut index);
    index.apply(dns("u2", "2", local, 54), second(3));
    assert_eq!(write(&mut index, second(3)), [""; 0]);
    assert_eq!(notices(&mut index), []);
    let statuses = index.service_statuses();
    assert!(
        statuses.iter().all(|one| one.problem.is_none()),
        "{statuses:?}"
    );
}

#[test]
fn a_lodger_that_changes_its_key_to_and_fro_warns_its_host_once_a_minute() {
    let lodger = |version: &str, key: &str| ServiceView {
        sharing_key: Some(key.into()),
        ..sharing("blog", "web", version, 81, &["10.0.0.1"])
    };
    let host = sharing("shop", "web", "1", 80, &["10.0.0.1"]);
    let mut index = configured(vec![host, lodger("1", "k")]);
    let mut warned = 0;
    let of_host = |index: &mut Index| {
        let notices = std::iter::from_fn(|| index.poll_notice());
        let of_host = notices.filter(|one| one.words.object.namespace == "shop");
        of_host.map(|one| one.words.reason).collect::<Vec<_>>()
    };
    for tenth in 0..6_000_u64 {
        let now = Instant::from_millis(tenth * 100);
        index.set_wall_clock(jiff::Timestamp::UNIX_EPOCH, now);
        index.handle_timeout(now);
        let key = if tenth % 2 == 0 { "other" } else { "k" };
        index.apply(lodger(&tenth.to_string(), key), now);
        assert_eq!(write(&mut index, now), [""; 0]);
        warned += of_host(&mut index).len();
    }
    assert!((5..=10).contains(&warned), "{warned} in ten minutes");
    // What stays so is said after the pause.
    let now = second(601);
    index.set_wall_clock(jiff::Timestamp::UNIX_EPOCH, now);
    index.apply(lodger("last", "other"), now);
    write(&mut index, now);
    let now = second(700);
    index.set_wall_clock(jiff::Timestamp::UNIX_EPOCH, now);
    index.handle_timeout(now);
    assert_eq!(of_host(&mut index).last(), Some(&event::SHARED_IN_DISCORD));
    assert_eq!(index.poll_timeout(), None);
}
