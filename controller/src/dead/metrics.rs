//! What is counted about dead nodes; registered only where something is done about them.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
    reason: &'static str,
}

/// Numbers about dead nodes.
#[derive(Debug, Clone)]
pub struct Metrics {
    nodes: Gauge,
    pods: Family<ResultLabel, Counter>,
    seconds: Histogram,
}

/// Kubernetes itself needs 50 s.
const BUCKETS: [f64; 9] = [0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 5.0, 10.0, 50.0];

impl Metrics {
    /// Makes and registers them.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            nodes: Gauge::default(),
            pods: Family::default(),
            seconds: Histogram::new(BUCKETS),
        };
        registry.register(
            "ferrolb_dead_nodes",
            "Nodes whose pods are out of rotation because speakers found them dead",
            metrics.nodes.clone(),
        );
        // The library appends `_total` to the names of counters.
        registry.register(
            "ferrolb_dead_node_pods",
            "Pods of dead nodes, by what was done to them and why it was not more",
            metrics.pods.clone(),
        );
        registry.register(
            "ferrolb_dead_node_seconds",
            "From when speakers found a node dead until its last pod was marked",
            metrics.seconds.clone(),
        );
        metrics
    }

    /// Shows how many nodes' pods are out of rotation.
    pub(super) fn set_nodes(&self, nodes: usize) {
        self.nodes.set(i64::try_from(nodes).unwrap_or(i64::MAX));
    }

    pub(super) fn count(&self, result: &'static str, reason: &'static str, by: u64) {
        self.pods
            .get_or_create(&ResultLabel { result, reason })
            .inc_by(by);
    }

    pub(super) fn took(&self, time: Duration) {
        self.seconds.observe(time.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    #[test]
    fn the_names_are_those_that_the_alert_and_the_docs_know() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        metrics.set_nodes(1);
        metrics.count("removed", "", 2);
        metrics.took(Duration::from_millis(600));
        let mut text = String::new();
        encode(&mut text, &registry).expect("writing to a String");
        for line in [
            "ferrolb_dead_nodes 1",
            "ferrolb_dead_node_pods_total{result=\"removed\",reason=\"\"} 2",
            "ferrolb_dead_node_seconds_bucket{le=\"0.7\"} 1",
        ] {
            assert!(text.lines().any(|one| one == line), "{line}\n{text}");
        }
    }
}
