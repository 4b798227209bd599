//! Metrics: `MetalLB`'s names and labels, then ours.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;

use ferrolb_core::Reason;
use ferrolb_core::alloc::PoolUsage;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
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

/// Every number that the controller shows.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    addresses: Family<PoolLabel, Gauge<f64, AtomicU64>>,
    in_use: Family<PoolLabel, Gauge<f64, AtomicU64>>,
    /// Configurations and Services that were looked at.
    pub updates: Counter,
    /// Those that could not be used.
    pub update_errors: Counter,
    config_loaded: Gauge,
    config_stale: Gauge,
    pending: Family<ReasonLabel, Gauge>,
    writes: Family<OutcomeLabel, Counter>,
    /// Objects that could not be decoded.
    pub unreadable: Counter,
    /// Events that were not written.
    pub events_lost: Counter,
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
            "1 if the ConfigMap says something else than what is in force",
            self.config_stale.clone(),
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

    /// Counts a status write.
    pub fn count_write(&self, outcome: &'static str) {
        self.writes.get_or_create(&OutcomeLabel { outcome }).inc();
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
        }]);
        metrics.set_pending(&BTreeMap::from([(Reason::PoolExhausted, 2)]));
        metrics.set_config(true, false);
        metrics.count_write("written");
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
            "ferrolb_writes_total{outcome=\"written\"} 1",
        ] {
            assert!(
                text.lines().any(|one| one == line),
                "{line} is missing in\n{text}"
            );
        }
    }
}
