//! Reports of addresses that cannot serve, and their end: they are taken back after a while, so that an
//! address whose stranger has left is used again. Its first announcement probes for it anew.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use ferrolb_core::Instant;
use ferrolb_core::conflict::{Cause, Finding, MOST_GATEWAYS, MOST_REPORTS, PUT_ASIDE, Report};
use ferrolb_core::removal::Removal;
use jiff::Timestamp;

/// At least so long from when it was first seen: the clock of a node may be wrong.
const AT_LEAST: Duration = Duration::from_secs(10);

/// The `ConfigMap` of reports, as far as it can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportsView {
    /// `metadata.resourceVersion`
    pub resource_version: String,
    /// Entries by key.
    pub entries: BTreeMap<String, String>,
}

/// The reports that are in force.
#[derive(Debug, Default)]
pub struct Conflicts {
    resource_version: String,
    /// By key.
    entries: BTreeMap<String, Entry>,
}

/// What stands there.
#[derive(Debug)]
struct Entry {
    text: String,
    /// What it says, if it can be read.
    report: Option<Report>,
    /// Its time is over then.
    until: Instant,
}

impl Conflicts {
    /// The `ConfigMap` was read; `None` if there is none.
    ///
    /// `time` is the wall clock's: a report counts from when it was written, whoever has led since.
    pub fn handle_reports(&mut self, reports: Option<ReportsView>, time: Timestamp, now: Instant) {
        let Some(reports) = reports else {
            *self = Self::default();
            return;
        };
        self.resource_version = reports.resource_version;
        let mut former = std::mem::take(&mut self.entries);
        for (key, text) in reports.entries {
            // One that was written anew counts anew.
            let known = former.remove(&key).filter(|entry| entry.text == text);
            let entry = known.unwrap_or_else(|| {
                let report = Report::decode(&key, &text);
                if let Err(error) = &report {
                    tracing::warn!(entry = key, %error, "cannot read a conflict report");
                }
                let report = report.ok();
                let age = report
                    .as_ref()
                    .map(|report| time.duration_since(report.time));
                let age = age.and_then(|age| Duration::try_from(age).ok());
                let cause = report.as_ref().map(|report| report.cause);
                let lasts = cause.map_or(PUT_ASIDE, Cause::put_aside);
                let left = lasts.saturating_sub(age.unwrap_or_default());
                Entry {
                    text,
                    report,
                    until: now + left.max(AT_LEAST),
                }
            });
            self.entries.insert(key, entry);
        }
    }

    /// The addresses that are put aside, each with why. Of one node only so many gateways count.
    #[must_use]
    pub fn findings(&self) -> BTreeMap<IpAddr, Finding> {
        let entries = self.entries.values();
        let reports = entries.filter_map(|entry| entry.report.as_ref());
        let mut gateways: BTreeMap<&str, usize> = BTreeMap::new();
        reports
            .filter(|report| {
                if report.cause != Cause::Gateway {
                    return true;
                }
                let of_node = gateways.entry(report.node.as_str()).or_default();
                *of_node += 1;
                *of_node <= MOST_GATEWAYS
            })
            .map(|report| (report.address, report.finding()))
            .collect()
    }

    /// The entries whose time is over, and beyond [`MOST_REPORTS`] those whose time is over next: a
    /// `ConfigMap` that is full takes no more.
    #[must_use]
    pub fn poll_removal(&self, now: Instant) -> Option<Removal> {
        let too_many = self.entries.len().saturating_sub(MOST_REPORTS);
        let mut by_end: Vec<_> = self
            .entries
            .iter()
            .map(|(key, entry)| (entry.until, key))
            .collect();
        by_end.sort_unstable();
        let mut over = by_end.into_iter().enumerate();
        let keys: Vec<_> = over
            .by_ref()
            .take_while(|(place, (until, _))| *until <= now || *place < too_many)
            .map(|(_, (_, key))| key.clone())
            .collect();
        (!keys.is_empty()).then(|| Removal {
            resource_version: self.resource_version.clone(),
            keys,
        })
    }

    /// When to poll again.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.entries.len() > MOST_REPORTS {
            return Some(Instant::START);
        }
        self.entries.values().map(|entry| entry.until).min()
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_millis(seconds * 1_000)
    }

    fn reports(version: &str, entries: &[(&str, &str)]) -> Option<ReportsView> {
        let entries = entries
            .iter()
            .map(|(key, time)| {
                let text = format!(
                    r#"{{"address":"{key}","mac":"02:00:c0:a8:40:64","node":"n1","service":"shop/web","time":"{time}"}}"#
                );
                ((*key).to_owned(), text)
            })
            .collect();
        Some(ReportsView {
            resource_version: version.to_owned(),
            entries,
        })
    }

    const EARLY: &str = "2026-11-25T18:00:00Z";
    const LATER: &str = "2026-11-25T18:05:00Z";

    /// The wall clock, which shows [`EARLY`] at 0.
    fn clock(seconds: i64) -> Timestamp {
        let early: Timestamp = EARLY.parse().unwrap();
        early + SignedDuration::from_secs(seconds)
    }

    #[test]
    fn a_report_is_in_force_for_ten_minutes_from_when_it_was_last_written() {
        let mut conflicts = Conflicts::default();
        conflicts.handle_reports(
            reports("1", &[("10.0.0.1", EARLY), ("10.0.0.2", EARLY)]),
            clock(0),
            at(0),
        );
        let findings = conflicts.findings();
        assert_eq!(findings.len(), 2);
        let finding = &findings[&"10.0.0.1".parse::<IpAddr>().unwrap()];
        assert_eq!(
            (finding.cause, finding.node.as_str()),
            (Cause::Host("02:00:c0:a8:40:64".parse().unwrap()), "n1")
        );
        assert_eq!(conflicts.poll_timeout(), Some(at(600)));
        conflicts.handle_reports(
            reports("2", &[("10.0.0.1", EARLY), ("10.0.0.2", LATER)]),
            clock(300),
            at(300),
        );
        assert_eq!(conflicts.poll_removal(at(599)), None);
        let removal = conflicts.poll_removal(at(600)).unwrap();
        assert_eq!(
            (removal.resource_version.as_str(), removal.keys),
            ("2", vec!["10.0.0.1".to_owned()])
        );
        conflicts.handle_reports(reports("3", &[("10.0.0.2", LATER)]), clock(600), at(600));
        assert_eq!(conflicts.poll_timeout(), Some(at(900)));
        conflicts.handle_reports(None, clock(601), at(601));
        assert_eq!(conflicts.findings().len(), 0);
    }

    #[test]
    fn who_takes_over_lets_a_report_end_when_it_would_have_ended() {
        // Another replica has known it for 8 minutes; the node's clock is an hour slow, or fast.
        for (seconds, left) in [(480, 120), (3_600, 10), (-3_600, 600)] {
            let mut conflicts = Conflicts::default();
            let report = reports("1", &[("10.0.0.1", EARLY)]);
            conflicts.handle_reports(report, clock(seconds), at(5));
            assert_eq!(conflicts.poll_timeout(), Some(at(5 + left)));
        }
    }

    #[test]
    fn an_entry_that_is_no_report_puts_nothing_aside_and_is_removed_like_any_other() {
        let mut conflicts = Conflicts::default();
        let mut nonsense = reports("1", &[]).unwrap();
        nonsense
            .entries
            .insert("10.0.0.1".to_owned(), "nonsense".to_owned());
        conflicts.handle_reports(Some(nonsense), clock(0), at(0));
        assert_eq!(conflicts.findings().len(), 0);
        assert!(conflicts.poll_removal(at(600)).is_some());
    }

    #[test]
    fn what_no_host_can_have_is_put_aside_for_a_day() {
        let mut conflicts = Conflicts::default();
        let mut found = reports("1", &[("10.0.0.0", EARLY)]).unwrap();
        for text in found.entries.values_mut() {
            *text = text.replace(r#""node""#, r#""subnet":"10.0.0.0/24","node""#);
        }
        conflicts.handle_reports(Some(found), clock(3_600), at(5));
        let findings = conflicts.findings();
        let finding = findings.values().next().unwrap();
        assert_eq!(finding.cause, Cause::Subnet("10.0.0.0/24".parse().unwrap()));
        assert_eq!(conflicts.poll_timeout(), Some(at(5 + 23 * 3_600)));
    }

    #[test]
    fn a_gateway_is_put_aside_for_a_day_and_sixteen_of_one_node_at_most() {
        let mut conflicts = Conflicts::default();
        let keys: Vec<_> = (1..=20).map(|n| format!("10.0.0.{n}")).collect();
        let keys: Vec<_> = keys.iter().map(|key| (key.as_str(), EARLY)).collect();
        let mut found = reports("1", &keys).unwrap();
        for text in found.entries.values_mut() {
            *text = text.replace(r#""node""#, r#""gateway":true,"node""#);
        }
        conflicts.handle_reports(Some(found), clock(3_600), at(5));
        let findings = conflicts.findings();
        assert_eq!(findings.len(), MOST_GATEWAYS);
        assert!(findings.values().all(|one| one.cause == Cause::Gateway));
        assert_eq!(conflicts.poll_timeout(), Some(at(5 + 23 * 3_600)));
    }

    #[test]
    fn of_too_many_reports_the_oldest_go_at_once() {
        let keys: Vec<_> = (0..=MOST_REPORTS)
            .map(|n| format!("10.0.{}.{}", n / 250, n % 250 + 1))
            .collect();
        let mut entries: Vec<_> = keys.iter().map(|key| (key.as_str(), LATER)).collect();
        entries[7].1 = EARLY;
        let mut conflicts = Conflicts::default();
        conflicts.handle_reports(reports("1", &entries), clock(301), at(0));
        assert!(conflicts.poll_timeout() <= Some(at(0)));
        let removal = conflicts.poll_removal(at(0)).unwrap();
        assert_eq!(removal.keys, ["10.0.0.8"]);
        entries.remove(7);
        conflicts.handle_reports(reports("2", &entries), clock(301), at(0));
        assert_eq!(conflicts.poll_removal(at(0)), None);
    }
}
