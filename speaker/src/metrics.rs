//! Counters and gauges: `MetalLB`'s names where the meaning is the same, then ours.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use ferrolb_core::Reason;
use ferrolb_core::address::Family as IpFamily;
use ferrolb_core::announce::{FrameOutcome, Kind};
use ferrolb_core::ownership::Cause;
use ferrolb_core::view::ServiceKey;
use prometheus_client::encoding::{
    EncodeLabelSet, EncodeLabelValue, EncodeMetric, LabelValueEncoder, MetricEncoder,
};
use prometheus_client::metrics::counter::Counter as Total;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::{MetricType, TypedMetric};
use prometheus_client::registry::Registry;

use crate::gauges::Gauges;
use crate::keep::KeepMetrics;

/// A counter under exactly the name that it is registered with: the library's own one appends
/// `_total`, which `MetalLB`'s names do not have.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    fn increment(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl EncodeMetric for Counter {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        encoder.encode_gauge(&self.0.load(Ordering::Relaxed))
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }
}

impl TypedMetric for Counter {
    const TYPE: MetricType = MetricType::Counter;
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Announced {
    service: String,
    protocol: &'static str,
    node: String,
    ip: String,
}

/// Labels of what is counted for each frame: to look one up allocates nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ip {
    ip: Address,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Address(IpAddr);

impl EncodeLabelValue for Address {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        write!(encoder, "{}", self.0)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Frames {
    link: Arc<str>,
    kind: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Conflicts {
    ip: String,
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Datagrams {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Verdicts {
    verdict: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Moves {
    cause: &'static str,
}

/// Seconds. A beat comes each 0.05 s (0.2 with calm failure detection) and is late after 0.07 (0.7).
const HEARTBEAT_GAPS: [f64; 9] = [0.045, 0.055, 0.07, 0.1, 0.15, 0.25, 0.5, 0.7, 1.0];

/// Everything that this process measures.
#[derive(Debug)]
pub struct Metrics {
    registry: Mutex<Registry>,
    announced: Family<Announced, Gauge>,
    requests_received: Family<Ip, Counter>,
    responses_sent: Family<Ip, Counter>,
    gratuitous_sent: Family<Ip, Counter>,
    frames: Family<Frames, Counter>,
    conflicts: Family<Conflicts, Counter>,
    conflict_kinds: Mutex<BTreeSet<&'static str>>,
    datagrams: Family<Datagrams, Counter>,
    verdicts: Family<Verdicts, Counter>,
    moves: Family<Moves, Counter>,
    heartbeat_gaps: Histogram,
    peers_alive: Gauge,
    config_loaded: Gauge,
    config_stale: Gauge,
    unreadable: Total,
    gauges: Gauges,
    keep: OnceLock<KeepMetrics>,
}

impl Metrics {
    /// All at zero.
    #[must_use]
    pub fn new() -> Self {
        let metrics = Self {
            registry: Mutex::default(),
            announced: Family::default(),
            requests_received: Family::default(),
            responses_sent: Family::default(),
            gratuitous_sent: Family::default(),
            frames: Family::default(),
            conflicts: Family::default(),
            conflict_kinds: Mutex::default(),
            datagrams: Family::default(),
            verdicts: Family::default(),
            moves: Family::default(),
            heartbeat_gaps: Histogram::new(HEARTBEAT_GAPS),
            peers_alive: Gauge::default(),
            config_loaded: Gauge::default(),
            config_stale: Gauge::default(),
            unreadable: Total::default(),
            gauges: Gauges::default(),
            keep: OnceLock::new(),
        };
        // Without a zero before it, Prometheus does not see the first one.
        for cause in [Cause::New, Cause::Orphan, Cause::Handover, Cause::Restart] {
            let cause = cause.as_str();
            drop(metrics.moves.get_or_create(&Moves { cause }));
        }
        metrics.register();
        metrics
    }

    fn register(&self) {
        let Ok(mut registry) = self.registry.lock() else {
            return;
        };
        registry.register(
            "metallb_speaker_announced",
            "Services that this node announces",
            self.announced.clone(),
        );
        for (name, help, counter) in [
            (
                "metallb_layer2_requests_received",
                "ARP requests and neighbour solicitations for addresses that this node announces",
                &self.requests_received,
            ),
            (
                "metallb_layer2_responses_sent",
                "Answers to them",
                &self.responses_sent,
            ),
            (
                "metallb_layer2_gratuitous_sent",
                "Gratuitous ARP packets and unsolicited neighbour advertisements sent",
                &self.gratuitous_sent,
            ),
        ] {
            registry.register(name, help, counter.clone());
        }
        registry.register(
            "ferrolb_frames_total",
            "Frames by link, kind and what became of them",
            self.frames.clone(),
        );
        registry.register(
            "ferrolb_conflicts_total",
            "Other stations found to have an address that this node announces or is about to",
            self.conflicts.clone(),
        );
        registry.register(
            "ferrolb_peer_datagrams_total",
            "Datagrams of other speakers by what became of them",
            self.datagrams.clone(),
        );
        registry.register(
            "ferrolb_verdicts_total",
            "What this speaker found of others: how they are gone (lost: it alone does not hear them), or what \
             keeps them from being heard or watched",
            self.verdicts.clone(),
        );
        registry.register(
            "ferrolb_addresses_taken_total",
            "Addresses that this node began to announce, by cause",
            self.moves.clone(),
        );
        registry.register(
            "ferrolb_heartbeat_gap_seconds",
            "Time between two beats of the speakers that this one watches",
            self.heartbeat_gaps.clone(),
        );
        registry.register(
            "ferrolb_undecodable_objects",
            "Objects of the API that could not be decoded",
            self.unreadable.clone(),
        );
        registry.register(
            "ferrolb_peers_alive",
            "Speakers that answer, this one included",
            self.peers_alive.clone(),
        );
        registry.register(
            "metallb_k8s_client_config_loaded_bool",
            "1 if a configuration is in force",
            self.config_loaded.clone(),
        );
        registry.register(
            "metallb_k8s_client_config_stale_bool",
            "1 if the newest configuration was refused and an older one is in force",
            self.config_stale.clone(),
        );
        self.gauges.register(&mut registry);
    }

    /// Those of the state that this speaker sees.
    pub const fn gauges(&self) -> &Gauges {
        &self.gauges
    }

    /// Those of kept connections: from now on there are some.
    pub fn keep(&self) -> KeepMetrics {
        let keep = self.keep.get_or_init(|| {
            let metrics = KeepMetrics::default();
            let registry = &mut self.registry.lock().unwrap_or_else(PoisonError::into_inner);
            metrics.register(registry);
            metrics
        });
        keep.clone()
    }

    /// An object of the API could not be decoded.
    pub fn count_unreadable(&self) {
        self.unreadable.inc();
    }

    /// Whether this node announces `ip` of a Service.
    pub fn set_announced(&self, service: &ServiceKey, ip: IpAddr, node: &str, announced: bool) {
        let labels = Announced {
            service: service.to_string(),
            protocol: "layer2",
            node: node.to_owned(),
            ip: ip.to_string(),
        };
        if announced {
            self.announced.get_or_create(&labels).set(1);
        } else {
            self.announced.remove(&labels);
        }
    }

    /// A frame came in.
    pub fn frame_received(&self, link: &Arc<str>, family: IpFamily, outcome: FrameOutcome) {
        let word = match outcome {
            FrameOutcome::Answered(vip) => {
                let ip = Address(vip);
                self.requests_received.get_or_create(&Ip { ip }).increment();
                "answered"
            }
            FrameOutcome::Dropped(reason) => reason.as_str(),
        };
        let kind = match family {
            IpFamily::V4 => "arp",
            IpFamily::V6 => "nd",
        };
        self.count(link, kind, word);
    }

    /// A frame was sent, or could not be.
    pub fn frame_sent(&self, link: &Arc<str>, kind: Kind, vip: IpAddr, sent: bool) {
        let (kind, counter) = match (kind, IpFamily::of(vip)) {
            (Kind::Gratuitous, IpFamily::V4) => ("arp_gratuitous", Some(&self.gratuitous_sent)),
            (Kind::Gratuitous, IpFamily::V6) => ("nd_gratuitous", Some(&self.gratuitous_sent)),
            (Kind::Reply, IpFamily::V4) => ("arp_reply", Some(&self.responses_sent)),
            (Kind::Reply, IpFamily::V6) => ("nd_reply", Some(&self.responses_sent)),
            (Kind::Probe, IpFamily::V4) => ("arp_probe", None),
            (Kind::Probe, IpFamily::V6) => ("nd_probe", None),
        };
        if let Some(counter) = counter.filter(|_| sent) {
            let ip = Address(vip);
            counter.get_or_create(&Ip { ip }).increment();
        }
        self.count(link, kind, if sent { "sent" } else { "not_sent" });
    }

    fn count(&self, link: &Arc<str>, kind: &'static str, outcome: &'static str) {
        self.frames
            .get_or_create(&Frames {
                link: Arc::clone(link),
                kind,
                outcome,
            })
            .increment();
    }

    /// Another station was found to have `ip`.
    pub fn conflict(&self, ip: IpAddr, kind: &'static str) {
        if let Ok(mut kinds) = self.conflict_kinds.lock() {
            kinds.insert(kind);
        }
        let ip = ip.to_string();
        self.conflicts
            .get_or_create(&Conflicts { ip, kind })
            .increment();
    }

    /// No Service has `ip` any more: whoever creates and deletes many fills no memory.
    pub fn forget(&self, ip: IpAddr) {
        let labels = Ip { ip: Address(ip) };
        for counter in [
            &self.requests_received,
            &self.responses_sent,
            &self.gratuitous_sent,
        ] {
            counter.remove(&labels);
        }
        if let Some(keep) = self.keep.get() {
            keep.forget(ip);
        }
        let kinds = self.conflict_kinds.lock();
        for &kind in kinds.iter().flat_map(|kinds| kinds.iter()) {
            let ip = ip.to_string();
            self.conflicts.remove(&Conflicts { ip, kind });
        }
    }

    /// A datagram of another speaker came in.
    pub fn datagram(&self, outcome: Result<(), Reason>) {
        let outcome = outcome.map_or_else(Reason::as_str, |()| "taken");
        self.datagrams
            .get_or_create(&Datagrams { outcome })
            .increment();
    }

    /// What was found of another speaker.
    pub fn verdict(&self, verdict: &'static str) {
        self.verdicts
            .get_or_create(&Verdicts { verdict })
            .increment();
    }

    /// This node announces one more address.
    pub fn moved(&self, cause: Cause) {
        let cause = cause.as_str();
        self.moves.get_or_create(&Moves { cause }).increment();
    }

    /// The time between two beats of a speaker that this one watches.
    pub fn heartbeat_gap(&self, gap: Duration) {
        self.heartbeat_gaps.observe(gap.as_secs_f64());
    }

    /// How many speakers answer.
    pub fn set_peers_alive(&self, count: usize) {
        self.peers_alive
            .set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// What the configuration is like.
    pub fn set_config(&self, loaded: bool, stale: bool) {
        self.config_loaded.set(loaded.into());
        self.config_stale.set(stale.into());
    }

    /// Writes all of it in Prometheus' text format 0.0.4.
    ///
    /// # Errors
    /// Those of `text`; a `String` has none.
    pub fn encode(&self, text: &mut String) -> fmt::Result {
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        prometheus_client::encoding::text::encode(text, &registry)
    }

    #[cfg(test)]
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        self.encode(&mut text).unwrap();
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(metrics: &Metrics) -> String {
        let mut text = String::new();
        metrics.encode(&mut text).unwrap();
        text
    }

    #[test]
    fn of_an_address_that_is_forgotten_no_series_is_left() {
        let metrics = Metrics::new();
        let lan: Arc<str> = "lan0".into();
        let before = metrics.text();
        let [gone, stays] = ["192.168.64.200", "fd00:64::200"].map(|ip| ip.parse().unwrap());
        for ip in [gone, stays] {
            metrics.frame_received(&lan, IpFamily::of(ip), FrameOutcome::Answered(ip));
            metrics.frame_sent(&lan, Kind::Reply, ip, true);
            metrics.frame_sent(&lan, Kind::Gratuitous, ip, true);
            metrics.conflict(ip, "in_use");
            metrics.conflict(ip, "before_use");
        }
        let mentions = |ip: IpAddr| {
            let label = format!("ip=\"{ip}\"");
            metrics.text().matches(&label).count()
        };
        assert_eq!((mentions(gone), mentions(stays)), (5, 5));
        metrics.forget(gone);
        assert_eq!((mentions(gone), mentions(stays)), (0, 5));
        metrics.forget(stays);
        let with_address = |text: &str| text.matches("ip=\"").count();
        assert_eq!(with_address(&metrics.text()), with_address(&before));
    }

    #[test]
    fn metallbs_names_and_labels_are_kept_to_the_letter() {
        let metrics = Metrics::new();
        let ip: IpAddr = "192.168.64.200".parse().unwrap();
        let key = ServiceKey::new("shop", "web");
        let lan: Arc<str> = "lan0".into();
        metrics.set_announced(&key, ip, "n1", true);
        metrics.frame_received(&lan, IpFamily::V4, FrameOutcome::Answered(ip));
        metrics.frame_received(&lan, IpFamily::V6, FrameOutcome::Dropped(Reason::NotOurs));
        metrics.frame_sent(&lan, Kind::Reply, ip, true);
        metrics.frame_sent(&lan, Kind::Gratuitous, ip, true);
        metrics.frame_sent(&lan, Kind::Gratuitous, ip, false);
        let text = text_of(&metrics);
        for line in [
            r#"metallb_speaker_announced{service="shop/web",protocol="layer2",node="n1",ip="192.168.64.200"} 1"#,
            "# TYPE metallb_layer2_requests_received counter",
            r#"metallb_layer2_requests_received{ip="192.168.64.200"} 1"#,
            r#"metallb_layer2_responses_sent{ip="192.168.64.200"} 1"#,
            r#"metallb_layer2_gratuitous_sent{ip="192.168.64.200"} 1"#,
            r#"ferrolb_frames_total{link="lan0",kind="nd",outcome="not_ours"} 1"#,
            r#"ferrolb_frames_total{link="lan0",kind="arp_gratuitous",outcome="not_sent"} 1"#,
            "metallb_k8s_client_config_loaded_bool 0",
        ] {
            assert!(
                text.lines().any(|got| got == line),
                "{line} is not in\n{text}"
            );
        }
        metrics.set_announced(&key, ip, "n1", false);
        assert!(
            !text_of(&metrics).contains("shop/web"),
            "a withdrawn series is gone"
        );
    }
}
