use std::time::Duration;

use super::super::tests::{configured, notices, service, told, updates, written};
use super::*;
use crate::index::Index;
use ferrolb_core::view::ServiceView;

fn noon() -> Timestamp {
    "2026-11-29T12:00:00Z".parse().unwrap()
}

fn minutes(minutes: u64) -> Instant {
    Instant::START + Duration::from_secs(minutes * 60)
}

/// The controller starts at noon, when k3s has written last so many minutes before.
fn index() -> Index {
    let mut index = configured(vec![]);
    index.set_wall_clock(noon(), Instant::START);
    index
}

fn by_k3s(version: &str, before_noon: i64, asks: bool) -> ServiceView {
    ServiceView {
        status_manager: Some("k3s".into()),
        status_written: Some(noon() - SignedDuration::from_mins(before_noon)),
        adopt_from: asks.then(|| "k3s".into()),
        ..service("web", version, &["192.168.64.11", "192.168.64.12"])
    }
}

fn reasons(index: &mut Index) -> Vec<event::EventReason> {
    notices(index)
        .into_iter()
        .map(|(reason, _)| reason)
        .collect()
}

#[test]
fn a_status_that_is_asked_for_is_taken_over_at_once_if_it_is_old_and_that_is_said() {
    let mut index = index();
    index.apply(by_k3s("1", 60, false), minutes(0));
    assert_eq!(told(&updates(&mut index)), [""; 0]);
    let said = notices(&mut index);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].1.contains("kubectl ferrolb adopt -n shop svc/web"),
        "{said:?}"
    );

    index.apply(by_k3s("2", 60, true), minutes(1));
    let sent = updates(&mut index);
    assert_eq!(told(&sent), ["web 10.0.0.1"]);
    let said = notices(&mut index);
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!(
        said[0],
        (
            event::STATUS_ADOPTED,
            "taken over from k3s (ServiceLB), as the annotation ferrolb.io/adopt-from asks: the \
             Service gets 10.0.0.1"
                .to_owned()
        )
    );
    index.handle_outcome(&sent[0], &written("3"), Instant::START);
    assert_eq!(reasons(&mut index), [event::IP_ALLOCATED]);
}

#[test]
fn who_wrote_a_moment_ago_is_waited_for_until_it_has_been_quiet_for_ten_minutes() {
    let mut index = index();
    index.apply(by_k3s("1", 4, true), minutes(0));
    assert_eq!(told(&updates(&mut index)), [""; 0]);
    let said = notices(&mut index);
    assert!(
        said[0].1.contains("taken over at 12:06 UTC on 2026-11-29"),
        "{said:?}"
    );
    assert_eq!(index.poll_timeout(), Some(minutes(6)));
    // It writes again, so the time begins anew.
    index.apply(by_k3s("2", -3, true), minutes(3));
    assert_eq!(index.poll_timeout(), Some(minutes(13)));
    index.handle_timeout(minutes(6));
    assert_eq!(told(&updates(&mut index)), [""; 0]);
    index.handle_timeout(minutes(13));
    assert_eq!(told(&updates(&mut index)), ["web 10.0.0.1"]);
    assert_eq!(index.poll_timeout(), None);
}

#[test]
fn a_clock_that_was_never_told_takes_nothing_over() {
    let mut index = configured(vec![]);
    index.apply(by_k3s("1", 600, true), minutes(0));
    assert_eq!(told(&updates(&mut index)), [""; 0]);
}

#[test]
fn who_rewrites_it_after_that_has_it_until_somebody_asks_anew() {
    let mut index = index();
    let ours = |version: &str| ServiceView {
        status_manager: Some("ferrolb-controller".into()),
        adopt_from: Some("k3s".into()),
        ..service("web", version, &["10.0.0.1"])
    };
    index.apply(by_k3s("1", 60, true), minutes(0));
    for (theirs, version) in [("2", "3"), ("4", "5")] {
        let sent = updates(&mut index);
        assert_eq!(told(&sent), ["web 10.0.0.1"]);
        index.handle_outcome(&sent[0], &written(version), Instant::START);
        index.apply(ours(version), minutes(1));
        index.apply(by_k3s(theirs, -1, true), minutes(1));
    }
    assert_eq!(told(&updates(&mut index)), [""; 0], "no write war");
    notices(&mut index);
    // The ten minutes of a contest are over, and it is quiet. It is not tried again by itself.
    index.handle_timeout(minutes(30));
    assert_eq!(told(&updates(&mut index)), [""; 0]);
    let said = notices(&mut index);
    assert!(said[0].1.contains("after it was taken over"), "{said:?}");
    // Somebody asks anew, as `adopt` does: the annotation goes, and comes.
    index.apply(by_k3s("6", -1, false), minutes(31));
    index.apply(by_k3s("7", -1, true), minutes(31));
    assert_eq!(told(&updates(&mut index)), ["web 10.0.0.1"]);
}

#[test]
fn an_annotation_that_nobody_reads_is_said_once_for_each_set_of_names() {
    let mut index = configured(vec![]);
    let slip = |version: &str, said: Option<&str>| ServiceView {
        unknown_annotations: said.map(Into::into),
        ..service("web", version, &["10.0.0.1"])
    };
    for (version, said, want) in [
        ("1", Some("a"), vec![event::UNKNOWN_ANNOTATION]),
        ("2", Some("a"), vec![]),
        ("3", Some("a and b"), vec![event::UNKNOWN_ANNOTATION]),
        ("4", None, vec![]),
        ("5", Some("a"), vec![event::UNKNOWN_ANNOTATION]),
    ] {
        index.apply(slip(version, said), minutes(0));
        index.settle();
        assert_eq!(reasons(&mut index), want, "{version}");
    }
    // Whoever leads next says it too: the Event has the same name, so it is not there twice.
    index.follow();
    index.settle();
    assert_eq!(reasons(&mut index), []);
    index.lead();
    index.reset(vec![slip("6", Some("a"))], &[].into(), minutes(1));
    index.settle();
    assert_eq!(reasons(&mut index), [event::UNKNOWN_ANNOTATION]);
}
