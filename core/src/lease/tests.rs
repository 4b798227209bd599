use super::*;

/// The API server's side: one Lease, optimistic concurrency.
#[derive(Default)]
struct Server {
    lease: Option<LeaseView>,
    writes: u32,
}

impl Server {
    fn write(&mut self, write: &LeaseWrite) -> Option<LeaseView> {
        let current = self
            .lease
            .as_ref()
            .map(|lease| lease.resource_version.clone());
        if current != write.resource_version {
            return None;
        }
        self.writes += 1;
        let lease = LeaseView {
            resource_version: self.writes.to_string(),
            holder: write.holder.clone(),
            duration: LEASE_DURATION,
            transitions: write.transitions,
        };
        self.lease = Some(lease.clone());
        Some(lease)
    }
}

fn at(seconds: u64) -> Instant {
    Instant::from_millis(seconds * 1_000)
}

/// Reads, and writes what is due, without delay.
fn step(elector: &mut Elector, server: &mut Server, now: Instant) {
    elector.handle_lease(server.lease.clone(), now);
    if let Some(write) = elector.poll_write(now) {
        match server.write(&write) {
            Some(lease) => elector.handle_accepted(lease, now),
            None => elector.handle_refused(now),
        }
    }
}

#[test]
fn the_first_replica_creates_the_lease_and_renews_it_every_two_seconds() {
    let mut server = Server::default();
    let mut a = Elector::new("a", at(0));
    assert_eq!(
        a.poll_write(at(0)),
        None,
        "nothing is written before the Lease has been read"
    );
    for second in 0..=10 {
        step(&mut a, &mut server, at(second));
        assert!(a.is_leader(at(second)));
    }
    assert_eq!(
        server.writes, 6,
        "one to create, five renewals in ten seconds"
    );
    assert_eq!(server.lease.map(|lease| lease.transitions), Some(0));
}

#[test]
fn another_replica_waits_for_the_whole_duration_by_its_own_clock() {
    let mut server = Server::default();
    let mut a = Elector::new("a", at(0));
    step(&mut a, &mut server, at(0));
    // b is started long after a died, and still watches for seven seconds.
    let mut b = Elector::new("b", at(100));
    for second in 100..107 {
        step(&mut b, &mut server, at(second));
        assert!(!b.is_leader(at(second)), "at {second} s");
    }
    step(&mut b, &mut server, at(107));
    assert!(b.is_leader(at(107)));
    assert_eq!(server.lease.map(|lease| lease.transitions), Some(1));
}

#[test]
fn a_released_lease_is_taken_at_once() {
    let mut server = Server::default();
    let (mut a, mut b) = (Elector::new("a", at(0)), Elector::new("b", at(0)));
    step(&mut a, &mut server, at(0));
    step(&mut b, &mut server, at(1));
    a.release(at(2));
    assert!(!a.is_leader(at(2)));
    step(&mut a, &mut server, at(2));
    assert_eq!(
        server.lease.as_ref().and_then(|lease| lease.holder.clone()),
        None
    );
    step(&mut b, &mut server, at(2));
    assert!(b.is_leader(at(2)));
    step(&mut a, &mut server, at(60));
    assert!(!a.is_leader(at(60)), "who released does not come back");
}

#[test]
fn a_leader_that_cannot_renew_stops_before_another_may_start() {
    let mut server = Server::default();
    let (mut a, mut b) = (Elector::new("a", at(0)), Elector::new("b", at(0)));
    step(&mut a, &mut server, at(0));
    for millis in (0..30_000).step_by(100) {
        let now = Instant::from_millis(millis);
        // a's requests no longer reach the API server.
        if a.poll_write(now).is_some() {
            a.handle_refused(now);
        }
        step(&mut b, &mut server, now);
        assert!(
            !(a.is_leader(now) && b.is_leader(now)),
            "two leaders at {millis} ms"
        );
    }
    assert!(b.is_leader(Instant::from_millis(29_900)));
}

#[test]
fn of_two_writers_on_one_version_one_wins_and_the_other_follows() {
    let mut server = Server::default();
    let (mut a, mut b) = (Elector::new("a", at(0)), Elector::new("b", at(0)));
    a.handle_lease(None, at(0));
    b.handle_lease(None, at(0));
    let (first, second) = (a.poll_write(at(0)).unwrap(), b.poll_write(at(0)).unwrap());
    a.handle_accepted(server.write(&first).unwrap(), at(0));
    assert_eq!(server.write(&second), None);
    b.handle_refused(at(0));
    for now in 0..40 {
        step(&mut a, &mut server, at(now));
        step(&mut b, &mut server, at(now));
        assert!(a.is_leader(at(now)) && !b.is_leader(at(now)));
    }
}

#[test]
fn a_lease_stolen_or_deleted_ends_leading_at_once() {
    let mut server = Server::default();
    let mut a = Elector::new("a", at(0));
    step(&mut a, &mut server, at(0));
    let stolen = LeaseView {
        resource_version: "9".to_owned(),
        holder: Some("b".to_owned()),
        duration: LEASE_DURATION,
        transitions: 1,
    };
    a.handle_lease(Some(stolen), at(1));
    assert!(!a.is_leader(at(1)));

    let mut a = Elector::new("a", at(0));
    let mut server = Server::default();
    step(&mut a, &mut server, at(0));
    a.handle_lease(None, at(1));
    assert!(!a.is_leader(at(1)));
}

#[test]
fn the_deadline_is_said_even_while_a_renewal_hangs() {
    let mut server = Server::default();
    let mut a = Elector::new("a", at(0));
    step(&mut a, &mut server, at(0));
    assert!(a.poll_write(at(2)).is_some());
    assert_eq!(a.poll_timeout(), Some((at(5), "renewal overdue")));
    assert!(a.is_leader(at(4)) && !a.is_leader(at(5)));
    assert_eq!(a.poll_write(at(5)), None);
    assert_eq!(
        a.poll_timeout(),
        None,
        "it has passed, and the write is still under way"
    );
}

#[test]
fn a_renewal_that_hangs_leaves_time_for_another_one() {
    let mut server = Server::default();
    let mut a = Elector::new("a", at(0));
    step(&mut a, &mut server, at(0));
    assert!(a.poll_write(at(2)).is_some());
    // Given up after the retry period, when the next one is due.
    a.handle_refused(at(4));
    let again = a.poll_write(at(4)).unwrap();
    a.handle_accepted(server.write(&again).unwrap(), at(4));
    assert!(a.is_leader(at(8)), "counted from the second renewal");
}
