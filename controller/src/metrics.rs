//! Metrics: `MetalLB`'s names and labels, then ours.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use ferrolb_core::Reason;
use ferrolb_core::alloc::PoolUsage;
use ferrolb_core::conflict::{Cause, Finding};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PoolLabel {
    pool: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ConflictLabel {
    ip: String,
    /// Empty for what no host can have.
    mac: String,
    reason: &'static str,
}

/// Every number that the controller shows.
#[derive(Debug, Clone)]
pub struct Metrics {
    addresses: Family<PoolLabel, Gauge<f64, AtomicU64>>,
    in_use: Family<PoolLabel, Gauge<f64, AtomicU64>>,
    /// Configurations and Services that were looked at.
    pub updates: Counter,
    /// Those that could not be used.
    pub update_errors: Counter,
    config_loaded: Gauge,
    config_stale: Gauge,
    left_out: Gauge,
    loops: Gauge,
    pending: Family<ReasonLabel, Gauge>,
    writes: Family<OutcomeLabel, Counter>,
    write_seconds: Histogram,
    /// Decisions about Services, also those that changed nothing.
    pub decisions: Counter,
    leader: Gauge,
    /// As many as there may be reports, whatever the network says.
    conflicts: Family<ConflictLabel, Gauge>,
    /// Objects that could not be decoded.
    pub unreadable: Counter,
    /// Events that were not written.
    pub events_lost: Counter,
}

/// A write takes about 10 ms; one that takes 2 s is given up.
const WRITE_BUCKETS: [f64; 9] = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0];

impl Default for Metrics {
    fn default() -> Self {
        Self {
            addresses: Family::default(),
            in_use: Family::default(),
            updates: Counter::default(),
            update_errors: Counter::default(),
            config_loaded: Gauge::default(),
            config_stale: Gauge::default(),
            left_out: Gauge::default(),
            loops: Gauge::default(),
            pending: Family::default(),
            writes: Family::default(),
            write_seconds: Histogram::new(WRITE_BUCKETS),
            decisions: Counter::default(),
            leader: Gauge::default(),
            conflicts: Family::default(),
            unreadable: Counter::default(),
            events_lost: Counter::default(),
        }
    }
}

impl Metrics {
    /// Registers them all.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "metallb_allocator_addresses_total",
            "Addresses that the pool may give out",
            self.addresses.clone(),
        );
        registry.register(
            "metallb_allocator_addresses_in_use_total",
            "Distinct addresses of the pool that are held",
            self.in_use.clone(),
        );
        // The library appends `_total` to the names of counters.
        registry.register(
            "metallb_k8s_client_updates",
            "Changes of Services and of the configuration that were seen",
            self.updates.clone(),
        );
        registry.register(
            "metallb_k8s_client_update_errors",
            "Those of them that could not be used",
            self.update_errors.clone(),
        );
        registry.register(
            "metallb_k8s_client_config_loaded_bool",
            "1 if a configuration is in force",
            self.config_loaded.clone(),
        );
        registry.register(
            "metallb_k8s_client_config_stale_bool",
            "1 if the ConfigMap, or one of MetalLB's objects, says something else than what is in force",
            self.config_stale.clone(),
        );
        registry.register(
            "ferrolb_config_entries_left_out",
            "Entries of addresses in the configuration of which something is left out, because no host \
             can have it",
            self.left_out.clone(),
        );
        registry.register(
            "ferrolb_write_loops",
            "Services whose status was written again and again, and is left as it is",
            self.loops.clone(),
        );
        registry.register(
            "ferrolb_pending_services",
            "Services without an address, by reason",
            self.pending.clone(),
        );
        registry.register(
            "ferrolb_writes",
            "Status writes, by outcome",
            self.writes.clone(),
        );
        registry.register(
            "ferrolb_write_seconds",
            "How long a status write took",
            self.write_seconds.clone(),
        );
        registry.register(
            "ferrolb_decisions",
            "Decisions about Services, also those that changed nothing",
            self.decisions.clone(),
        );
        registry.register(
            "ferrolb_leader",
            "1 on the replica that gives addresses",
            self.leader.clone(),
        );
        registry.register(
            "ferrolb_addresses_in_conflict",
            "1 for each address that cannot serve, with the host that has it",
            self.conflicts.clone(),
        );
        registry.register(
            "ferrolb_undecodable_objects",
            "Objects of the API that could not be decoded",
            self.unreadable.clone(),
        );
        registry.register(
            "ferrolb_events_lost",
            "Events that could not be written",
            self.events_lost.clone(),
        );
    }

    /// Shows how full the pools are.
    pub fn set_usage(&self, usage: &[PoolUsage]) {
        // Pools that exist no more must not stand there for ever.
        self.addresses.clear();
        self.in_use.clear();
        for pool in usage {
            let label = PoolLabel {
                pool: pool.pool.clone(),
            };
            self.addresses.get_or_create(&label).set(as_f64(pool.total));
            self.in_use.get_or_create(&label).set(as_f64(pool.in_use));
        }
    }

    /// Shows who waits for what.
    pub fn set_pending(&self, pending: &BTreeMap<Reason, u64>) {
        self.pending.clear();
        for (reason, count) in pending {
            let label = ReasonLabel {
                reason: reason.as_str(),
            };
            self.pending
                .get_or_create(&label)
                .set(i64::try_from(*count).unwrap_or(i64::MAX));
        }
    }

    /// Shows what became of the configuration.
    pub fn set_config(&self, loaded: bool, stale: bool) {
        self.config_loaded.set(loaded.into());
        self.config_stale.set(stale.into());
    }

    /// Shows of how many entries of the configuration something is left out, and how many statuses are
    /// left as they are because they were written again and again.
    pub fn set_left_out(&self, entries: usize, loops: usize) {
        self.left_out
            .set(i64::try_from(entries).unwrap_or(i64::MAX));
        self.loops.set(i64::try_from(loops).unwrap_or(i64::MAX));
    }

    /// Counts a status write.
    pub fn count_write(&self, outcome: &'static str, took: Duration) {
        self.writes.get_or_create(&OutcomeLabel { outcome }).inc();
        self.write_seconds.observe(took.as_secs_f64());
    }

    /// Shows which addresses cannot serve.
    pub fn set_conflicts<'a>(&self, findings: impl Iterator<Item = (IpAddr, &'a Finding)>) {
        self.conflicts.clear();
        for (address, finding) in findings {
            let (mac, reason) = match finding.cause {
                Cause::Host(mac) => (mac.to_string(), Reason::AddressConflict),
                Cause::Subnet(_) => (String::new(), Reason::NoHostAddress),
                // That a pool leaves one out is no trouble.
                Cause::Gateway => continue,
            };
            let label = ConflictLabel {
                ip: address.to_string(),
                mac,
                reason: reason.as_str(),
            };
            self.conflicts.get_or_create(&label).set(1);
        }
    }

    /// Shows whether this replica leads.
    pub fn set_leader(&self, leads: bool) {
        self.leader.set(leads.into());
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a gauge is an f64, and a pool can hold 2^128"
)]
const fn as_f64(count: u128) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    #[test]
    fn the_names_are_those_that_dashboards_and_alerts_know() {
        let metrics = Metrics::default();
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        metrics.set_usage(&[PoolUsage {
            pool: "default".to_owned(),
            total: 3,
            in_use: 1,
            by_family: [(3, 1), (0, 0)],
            first_free: Vec::new(),
        }]);
        metrics.set_pending(&BTreeMap::from([(Reason::PoolExhausted, 2)]));
        metrics.set_config(true, false);
        metrics.set_left_out(2, 1);
        metrics.count_write("written", Duration::from_millis(7));
        metrics.set_leader(true);
        let finding = Finding {
            cause: Cause::Host("02:00:c0:a8:40:64".parse().unwrap()),
            node: "n1".to_owned(),
        };
        let address: IpAddr = "10.0.0.1".parse().unwrap();
        let gateway = Finding {
            cause: Cause::Gateway,
            node: "n1".to_owned(),
        };
        let findings = [
            (address, &finding),
            ("10.0.0.254".parse().unwrap(), &gateway),
        ];
        metrics.set_conflicts(findings.into_iter());
        metrics.updates.inc();
        let mut text = String::new();
        encode(&mut text, &registry).expect("writing to a String");
        for line in [
            "metallb_allocator_addresses_total{pool=\"default\"} 3.0",
            "metallb_allocator_addresses_in_use_total{pool=\"default\"} 1.0",
            "metallb_k8s_client_updates_total 1",
            "metallb_k8s_client_update_errors_total 0",
            "metallb_k8s_client_config_loaded_bool 1",
            "metallb_k8s_client_config_stale_bool 0",
            "ferrolb_pending_services{reason=\"pool_exhausted\"} 2",
            "ferrolb_config_entries_left_out 2",
            "ferrolb_write_loops 1",
            "ferrolb_writes_total{outcome=\"written\"} 1",
            "ferrolb_write_seconds_bucket{le=\"0.01\"} 1",
            "ferrolb_leader 1",
            "ferrolb_addresses_in_conflict{ip=\"10.0.0.1\",mac=\"02:00:c0:a8:40:64\",reason=\"address_conflict\"} 1",
        ] {
            assert!(
                text.lines().any(|one| one == line),
                "{line} is missing in\n{text}"
            );
        }
        assert!(!text.contains("10.0.0.254"), "{text}");
    }
}
