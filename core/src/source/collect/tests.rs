use serde_json::Value;

use super::*;
use crate::config::objects::Spec;
use crate::labels::Labels;

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

fn view(kind: Kind, name: &str, version: &str) -> ObjectView {
    ObjectView {
        kind,
        api_version: "metallb.io/v1beta1".to_owned(),
        namespace: "metallb-system".to_owned(),
        name: name.to_owned(),
        uid: format!("uid-{name}"),
        resource_version: version.to_owned(),
        generation: 1,
        created: 0,
        labels: Labels::default(),
        annotations: BTreeMap::new(),
        spec: Spec::of(Value::Null),
    }
}

fn all(presence: Presence) -> BTreeMap<Kind, Presence> {
    Kind::ALL.into_iter().map(|kind| (kind, presence)).collect()
}

fn listed(names: &[&str]) -> impl Fn(Kind) -> Change {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    move |kind| Change::Listed {
        objects: names.iter().map(|name| view(kind, name, "1")).collect(),
        unreadable: BTreeSet::new(),
    }
}

/// All kinds are served and listed, one object of each, and looked at, at 1 s.
fn settled() -> Collector {
    let mut collector = Collector::default();
    collector.handle_kinds(&all(Presence::Served), at(1_000));
    for kind in Kind::ALL {
        collector.handle(kind, listed(&["a"])(kind), at(1_000));
    }
    assert_eq!(collector.poll_due(at(1_000)), Due::Compile);
    collector
}

const POOL: Kind = Kind::IpAddressPool;

#[test]
fn nothing_is_compiled_before_the_kinds_are_known_and_listed() {
    let mut collector = Collector::default();
    assert!(collector.missing(at(0)).unwrap().contains("not asked"));
    assert_eq!(collector.poll_due(at(0)), Due::Nothing);
    collector.handle_kinds(&all(Presence::Served), at(10));
    for kind in Kind::ALL {
        assert_eq!(collector.poll_due(at(20)), Due::Nothing);
        assert!(collector.missing(at(20)).is_some());
        collector.handle(kind, listed(&["a"])(kind), at(20));
    }
    assert_eq!(collector.missing(at(20)), None);
    assert_eq!(
        collector.poll_due(at(20)),
        Due::Compile,
        "at the start at once"
    );
    assert_eq!(collector.poll_due(at(20)), Due::Nothing);
    assert_eq!(collector.views().count(), Kind::ALL.len());
    assert_eq!(collector.pools(), 1);
}

#[test]
fn where_there_are_no_kinds_there_is_nothing_to_wait_for() {
    let mut collector = Collector::default();
    collector.handle_kinds(&BTreeMap::new(), at(10));
    assert_eq!(collector.missing(at(10)), None);
    assert_eq!(collector.poll_due(at(10)), Due::Compile);
    assert_eq!(collector.presence(false), (Presence::Absent, at(10)));
    collector.handle_kinds(&BTreeMap::new(), at(30_010));
    assert_eq!(collector.poll_due(at(40_000)), Due::Nothing, "no news");
}

#[test]
fn routers_that_cannot_be_read_stop_nothing_for_long() {
    let mut collector = Collector::default();
    collector.handle_kinds(&all(Presence::Served), at(0));
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::BgpPeer) {
        collector.handle(kind, listed(&["a"])(kind), at(100));
    }
    assert_eq!(collector.poll_due(at(4_999)), Due::Nothing);
    assert_eq!(collector.poll_timeout(), Some(at(5_000)));
    assert_eq!(collector.poll_due(at(5_000)), Due::Compile);
    // Pools are waited for as long as it takes.
    let mut collector = Collector::default();
    collector.handle_kinds(&all(Presence::Served), at(0));
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != POOL) {
        collector.handle(kind, listed(&["a"])(kind), at(100));
    }
    assert_eq!(collector.poll_due(at(600_000)), Due::Nothing);
    assert_eq!(collector.poll_timeout(), None);
}

#[test]
fn changes_that_follow_each_other_are_one() {
    let mut collector = settled();
    let spec = |kind, name, version: &str| ObjectView {
        spec: Spec::of(version.into()),
        ..view(kind, name, version)
    };
    collector.handle(POOL, Change::Applied(spec(POOL, "b", "2")), at(5_000));
    assert_eq!(collector.poll_timeout(), Some(at(5_300)));
    let l2 = Kind::L2Advertisement;
    collector.handle(l2, Change::Applied(view(l2, "b", "3")), at(5_200));
    assert_eq!(collector.poll_due(at(5_300)), Due::Nothing);
    assert_eq!(collector.poll_due(at(5_500)), Due::Compile);
    // Whoever never stops is not waited for.
    for n in 0..20 {
        let changed = spec(POOL, "b", &format!("{n}"));
        collector.handle(POOL, Change::Applied(changed), at(6_000 + n * 100));
        assert_eq!(collector.poll_due(at(6_000 + n * 100)), Due::Nothing, "{n}");
    }
    assert_eq!(collector.poll_due(at(8_000)), Due::Compile);
    // The same in another version has another status alone.
    let same = ObjectView {
        resource_version: "99".to_owned(),
        ..spec(POOL, "b", "19")
    };
    collector.handle(POOL, Change::Applied(same), at(9_000));
    assert_eq!(collector.poll_timeout(), None);
}

#[test]
fn before_something_goes_it_is_asked_whether_its_kind_does() {
    let gone = |change: Change| {
        let mut collector = settled();
        collector.handle(POOL, change, at(5_000));
        assert_eq!(collector.poll_due(at(5_200)), Due::Nothing);
        assert_eq!(collector.poll_due(at(5_300)), Due::Look);
        assert_eq!(collector.poll_due(at(5_400)), Due::Nothing, "asked once");
        assert_eq!(collector.poll_timeout(), None);
        collector
    };
    let mut collector = gone(Change::Deleted("a".to_owned()));
    collector.handle_kinds(&all(Presence::Served), at(5_300));
    assert_eq!(collector.poll_due(at(5_400)), Due::Compile);
    assert_eq!(collector.pools(), 0);
    let mut collector = gone(listed(&["b"])(POOL));
    collector.handle_kinds(&all(Presence::Terminating), at(5_300));
    assert_eq!(collector.presence(false).0, Presence::Terminating);
    assert_eq!(collector.poll_due(at(6_000)), Due::Compile);
    // An answer to an earlier question says nothing about it.
    let mut collector = settled();
    collector.handle(POOL, Change::Deleted("a".to_owned()), at(5_000));
    collector.handle_kinds(&all(Presence::Served), at(4_990));
    assert_eq!(collector.poll_due(at(5_300)), Due::Look);
}

#[test]
fn what_cannot_be_decoded_is_there_all_the_same() {
    let mut collector = settled();
    let part = Change::Listed {
        objects: vec![view(POOL, "b", "2")],
        unreadable: ["a".to_owned()].into(),
    };
    collector.handle(POOL, part, at(5_000));
    assert_eq!(collector.pools(), 2);
    assert_eq!(
        collector.poll_due(at(5_300)),
        Due::Compile,
        "nothing has gone"
    );
}

#[test]
fn kinds_that_come_later_are_listed_first() {
    let mut collector = Collector::default();
    collector.handle_kinds(&BTreeMap::new(), at(10));
    assert_eq!(collector.poll_due(at(10)), Due::Compile);
    collector.handle_kinds(&all(Presence::Served), at(30_000));
    assert_eq!(collector.poll_due(at(31_000)), Due::Nothing);
    for kind in Kind::ALL {
        collector.handle(kind, listed(&["a"])(kind), at(31_000));
    }
    assert_eq!(collector.poll_due(at(31_300)), Due::Compile);
    // And those that go are gone.
    collector.handle_kinds(&BTreeMap::new(), at(60_000));
    assert_eq!(collector.views().count(), 0);
    assert_eq!(collector.poll_due(at(60_300)), Due::Compile);
}

#[test]
fn a_question_can_be_asked_for() {
    let mut collector = settled();
    collector.ask();
    assert_eq!(collector.poll_due(at(2_000)), Due::Look);
    collector.ask();
    assert_eq!(
        collector.poll_due(at(2_000)),
        Due::Nothing,
        "it is under way"
    );
    collector.handle_kinds(&all(Presence::Served), at(2_000));
    assert_eq!(collector.presence(true), (Presence::Served, at(2_000)));
}
