//! This node's gateways, told to the controller: it gives none of them to a Service.
//!
//! All nodes of a subnet have the same gateway, so each waits a moment of its own, and writes only where no fresh
//! report is there yet, whoever's. In peace a gateway is so written about once in twelve hours, for the whole cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use ferrolb_core::Instant;
use ferrolb_core::conflict::{Cause, MOST_GATEWAYS, REPORT_AGAIN_GATEWAY, Report, SPREAD_GATEWAY};
use ferrolb_core::elect::rank;
use k8s_openapi::jiff::Timestamp;

/// The speakers of a `DaemonSet` start together: they are spread over so long, and see what the first one wrote.
const SPREAD: Duration = Duration::from_secs(5);
/// A report that was lost, or taken away by a controller of a version that knows none of a gateway.
const AGAIN: Duration = Duration::from_mins(10);

/// Which gateways have to be reported, and when.
#[derive(Debug)]
pub struct Gateways {
    me: String,
    all: BTreeSet<IpAddr>,
    due: BTreeMap<IpAddr, Instant>,
    told: BTreeMap<IpAddr, Instant>,
}

impl Gateways {
    /// Of the node `me`, which has none yet.
    #[must_use]
    pub const fn new(me: String) -> Self {
        Self {
            me,
            all: BTreeSet::new(),
            due: BTreeMap::new(),
            told: BTreeMap::new(),
        }
    }

    /// What the kernel tells.
    pub fn set(&mut self, gateways: &[IpAddr]) {
        self.all = gateways.iter().copied().collect();
        let all = &self.all;
        self.told.retain(|address, _| all.contains(address));
    }

    /// Looks again at what there is to report. Only an address of a pool is of interest (`is_in_a_pool`), and none
    /// that another host's report already puts aside.
    pub fn look(
        &mut self,
        is_in_a_pool: impl Fn(IpAddr) -> bool,
        report_of: impl Fn(IpAddr) -> Option<Report>,
        time: Timestamp,
        now: Instant,
    ) {
        let in_pools = self.all.iter().filter(|address| is_in_a_pool(**address));
        let due = in_pools.take(MOST_GATEWAYS).filter_map(|&address| {
            let at = match report_of(address) {
                None => {
                    let soon = || now + self.spread(address, SPREAD);
                    let at = self.due.get(&address).copied().unwrap_or_else(soon);
                    let told = self.told.get(&address);
                    told.map_or(at, |told| at.max(*told + AGAIN))
                }
                Some(report) if report.cause == Cause::Gateway => {
                    let age = Duration::try_from(time.duration_since(report.time));
                    let again = REPORT_AGAIN_GATEWAY + self.spread(address, SPREAD_GATEWAY);
                    now + again.saturating_sub(age.unwrap_or_default())
                }
                Some(_) => return None,
            };
            Some((address, at))
        });
        self.due = due.collect();
    }

    /// Those that have to be reported now.
    pub fn poll(&mut self, now: Instant) -> Vec<IpAddr> {
        let due = self.due.iter().filter(|(_, at)| **at <= now);
        let due: Vec<IpAddr> = due.map(|(address, _)| *address).collect();
        for address in &due {
            self.due.remove(address);
            self.told.insert(*address, now);
        }
        due
    }

    /// When to poll again.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.due.values().min().copied()
    }

    /// The report to write.
    #[must_use]
    pub fn report(&self, address: IpAddr, time: Timestamp) -> Report {
        Report {
            address,
            cause: Cause::Gateway,
            node: self.me.clone(),
            service: None,
            time,
            // It keeps nobody silent: whoever takes over an address asks the network itself.
            announced: true,
        }
    }

    /// This node's moment within `time`: always the same one.
    fn spread(&self, address: IpAddr, time: Duration) -> Duration {
        let share = u64::from(rank(&self.me, address).prefix()) + 1;
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(micros / (1 << 16) * share / (1 << 16))
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::SignedDuration;

    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_millis(seconds * 1_000)
    }

    /// The wall clock shows that much then.
    fn clock(seconds: u64) -> Timestamp {
        let start: Timestamp = "2026-11-25T18:00:00Z".parse().unwrap();
        start + SignedDuration::from_secs(i64::try_from(seconds).unwrap())
    }

    fn address(last: u8) -> IpAddr {
        [192, 168, 64, last].into()
    }

    /// So many nodes with the same gateway, and the `ConfigMap` of reports.
    struct Cluster {
        nodes: Vec<Gateways>,
        report: Option<Report>,
        writes: Vec<u64>,
    }

    impl Cluster {
        fn new(nodes: usize) -> Self {
            let node = |number| {
                let mut gateways = Gateways::new(format!("n{number}"));
                gateways.set(&[address(1)]);
                gateways
            };
            Self {
                nodes: (0..nodes).map(node).collect(),
                report: None,
                writes: Vec::new(),
            }
        }

        /// A second passes; each node sees at once what another one has written.
        fn tick(&mut self, second: u64) {
            for node in &mut self.nodes {
                let report = self.report.clone();
                node.look(|_| true, |_| report.clone(), clock(second), at(second));
                for address in node.poll(at(second)) {
                    self.report = Some(node.report(address, clock(second)));
                    self.writes.push(second);
                }
            }
        }
    }

    #[test]
    fn a_gateway_is_reported_within_seconds_and_then_twice_a_day_by_one_node_of_all() {
        let mut cluster = Cluster::new(50);
        (0..10).for_each(|second| cluster.tick(second));
        assert_eq!(cluster.writes.len(), 1, "{:?}", cluster.writes);
        assert!(cluster.writes[0] <= 5);
        // Nobody looks at it that often.
        (1..4 * 24 * 60).for_each(|minute| cluster.tick(minute * 60));
        let pauses = cluster.writes.windows(2).map(|two| two[1] - two[0]);
        let pauses: Vec<u64> = pauses.collect();
        assert!((6..=8).contains(&pauses.len()), "{pauses:?}");
        let (least, most) = (12 * 3_600 - 10, 13 * 3_600 + 60);
        assert!(
            pauses.iter().all(|one| (least..=most).contains(one)),
            "{pauses:?}"
        );
    }

    #[test]
    fn only_addresses_of_pools_are_reported_and_sixteen_at_most() {
        let mut gateways = Gateways::new("n1".to_owned());
        let all: Vec<_> = (1..=40).map(address).collect();
        gateways.set(&all);
        let in_pool = |one: IpAddr| one == address(7);
        gateways.look(in_pool, |_| None, clock(0), at(0));
        assert!(gateways.poll_timeout().unwrap() <= at(5));
        assert_eq!(gateways.poll(at(5)), [address(7)]);
        assert_eq!(gateways.poll_timeout(), None, "until somebody looks again");
        gateways.look(|_| true, |_| None, clock(5), at(5));
        assert!(gateways.poll(at(3_600)).len() <= MOST_GATEWAYS);
        gateways.set(&[]);
        gateways.look(|_| true, |_| None, clock(5), at(5));
        assert_eq!(gateways.poll_timeout(), None);
    }

    /// It is put aside as long as that host has it, and reported as a gateway as soon as it is not.
    #[test]
    fn the_report_of_another_host_stays_and_one_that_is_taken_away_comes_again_ten_minutes_later() {
        let mut gateways = Gateways::new("n1".to_owned());
        gateways.set(&[address(1)]);
        let host = Report {
            cause: Cause::Host("02:00:00:00:00:01".parse().unwrap()),
            ..gateways.report(address(1), clock(0))
        };
        gateways.look(|_| true, |_| Some(host.clone()), clock(0), at(0));
        assert_eq!(gateways.poll_timeout(), None);
        gateways.look(|_| true, |_| None, clock(0), at(0));
        let first = gateways.poll_timeout().unwrap();
        assert!(first <= at(5));
        assert_eq!(gateways.poll(first), [address(1)]);
        for second in [6, 60, 300] {
            gateways.look(|_| true, |_| None, clock(second), at(second));
            assert_eq!(gateways.poll_timeout(), Some(first + AGAIN));
        }
    }
}
