//! What the index shows on `/status`.

use ferrolb_core::alloc::{Decision, Refusal};
use ferrolb_core::config::{Announcement, Pool};
use ferrolb_core::report::{ConfigurationStatus, Explained, PoolStatus, ServiceStatus, saturated};

use super::{Entry, Index};

impl Index {
    /// What became of the `ConfigMap`.
    #[must_use]
    pub fn configuration_status(&self) -> ConfigurationStatus {
        ConfigurationStatus {
            source: self.source.clone(),
            loaded: self.config_loaded(),
            problem: (self.in_force.why_not())
                .or(self.left_out.as_ref().map(|(_, refusal)| refusal))
                .map(explained),
        }
    }

    /// The pools, in the order of the file.
    #[must_use]
    pub fn pool_statuses(&self) -> Vec<PoolStatus> {
        let pools = self
            .in_force
            .current()
            .into_iter()
            .flat_map(|config| &config.pools);
        pools
            .zip(self.usage())
            .map(|(pool, usage)| PoolStatus {
                name: pool.name.clone(),
                protocol: protocol(pool).to_owned(),
                auto_assign: pool.auto_assign,
                ranges: pool.ranges.iter().map(ToString::to_string).collect(),
                total: saturated(usage.total),
                used: saturated(usage.in_use),
                free: saturated(usage.total.saturating_sub(usage.in_use)),
                first_free: usage.first_free.iter().map(ToString::to_string).collect(),
            })
            .collect()
    }

    /// Every Service with what was decided for it.
    #[must_use]
    pub fn service_statuses(&self) -> Vec<ServiceStatus> {
        self.services
            .values()
            .filter_map(|entry| service(entry))
            .collect()
    }
}

const fn protocol(pool: &Pool) -> &'static str {
    match pool.protocol {
        Announcement::Layer2 => "layer2",
        Announcement::Bgp => "bgp",
    }
}

fn service(entry: &Entry) -> Option<ServiceStatus> {
    let decision = entry.decision.as_ref()?;
    let pool = match decision {
        Decision::Hold { pool, .. } => pool.clone(),
        Decision::Refuse(_) | Decision::Leave { .. } => None,
    };
    Some(ServiceStatus {
        namespace: entry.view.key.namespace.clone(),
        name: entry.view.key.name.clone(),
        addresses: decision
            .addresses()
            .iter()
            .map(ToString::to_string)
            .collect(),
        pool,
        problem: decision.refusal().map(explained),
    })
}

fn explained(refusal: &Refusal) -> Explained {
    Explained {
        reason: refusal.reason.to_string(),
        message: refusal.text.clone(),
    }
}
