//! What is measured of it. There only with `keepConnections`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use ferrolb_core::keep::End;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ip {
    ip: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    end: &'static str,
}

/// Counters and gauges of what is kept.
#[derive(Debug, Clone, Default)]
pub struct KeepMetrics {
    ready: Gauge,
    addresses: Gauge,
    packets: Family<Ip, Counter>,
    ended: Family<Ended, Counter>,
    /// Of each address, what its entry had passed on when it was last looked at.
    seen: Arc<Mutex<BTreeMap<IpAddr, u64>>>,
}

impl KeepMetrics {
    /// Under their names.
    pub fn register(&self, registry: &mut Registry) {
        for end in End::ALL {
            let end = end.as_str();
            drop(self.ended.get_or_create(&Ended { end }));
        }
        registry.register(
            "ferrolb_keeper_ready",
            "1 if the keeper of this node can pass packets of moved connections on",
            self.ready.clone(),
        );
        registry.register(
            "ferrolb_kept_addresses",
            "Addresses that moved here, whose old connections are passed on to the node that has them",
            self.addresses.clone(),
        );
        registry.register(
            "ferrolb_kept_packets",
            "Packets of old connections that were passed on, by address",
            self.packets.clone(),
        );
        registry.register(
            "ferrolb_kept_addresses_ended",
            "Addresses for which this has ended, by cause",
            self.ended.clone(),
        );
    }

    pub(super) fn set(&self, ready: bool, addresses: usize) {
        self.ready.set(ready.into());
        self.addresses
            .set(i64::try_from(addresses).unwrap_or(i64::MAX));
    }

    /// So many by now, since the entry began.
    pub(super) fn passed(&self, vip: IpAddr, packets: u64) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let before = seen.insert(vip, packets).unwrap_or(0);
        let more = packets.checked_sub(before).unwrap_or(packets);
        let ip = vip.to_string();
        self.packets.get_or_create(&Ip { ip }).inc_by(more);
    }

    /// The next entry of this address begins at zero.
    pub(super) fn ended(&self, vip: IpAddr, end: End) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.remove(&vip);
        let end = end.as_str();
        self.ended.get_or_create(&Ended { end }).inc();
    }

    /// No Service has the address any more.
    pub fn forget(&self, vip: IpAddr) {
        let ip = vip.to_string();
        self.packets.remove(&Ip { ip });
    }
}
