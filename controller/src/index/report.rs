//! What the index shows on `/status`.

use ferrolb_core::alloc::{Decision, Refusal};
use ferrolb_core::config::Pool;
use ferrolb_core::conflict::Cause;
use ferrolb_core::report::{ConfigurationStatus, Explained, PoolStatus, ServiceStatus, saturated};

use super::{Entry, Index};

impl Index {
    /// What became of the configuration.
    #[must_use]
    pub fn configuration_status(&self) -> ConfigurationStatus {
        let (from, waits_for) = self.source_status();
        ConfigurationStatus {
            from: from.map(|source| source.as_str().to_owned()),
            objects: self.object_statuses(),
            waits_for,
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
        let config = self.in_force.current().into_iter();
        let pools = config.flat_map(|config| config.pools.iter().map(move |pool| (config, pool)));
        pools
            .zip(self.usage())
            .map(|((config, pool), usage)| PoolStatus {
                name: pool.name.clone(),
                protocol: config.protocols_of(&pool.name).to_string(),
                auto_assign: pool.auto_assign,
                ranges: pool.ranges.iter().map(ToString::to_string).collect(),
                total: saturated(usage.total),
                used: saturated(usage.in_use),
                free: saturated(usage.total.saturating_sub(usage.in_use)),
                first_free: usage.first_free.iter().map(ToString::to_string).collect(),
                left_out: self.gateways_in(pool),
            })
            .collect()
    }

    fn gateways_in(&self, pool: &Pool) -> Vec<String> {
        let gateways = self.findings().filter(|(address, finding)| {
            finding.cause == Cause::Gateway && pool.contains(*address)
        });
        gateways
            .map(|(address, finding)| format!("{address}, {}", finding.which(address)))
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

fn service(entry: &Entry) -> Option<ServiceStatus> {
    let decision = entry.decision.as_ref()?;
    let pool = match decision {
        Decision::Hold { pool, .. } => pool.clone(),
        Decision::Refuse(_) | Decision::Leave { .. } => None,
    };
    Some(ServiceStatus {
        namespace: entry.view.key.namespace.to_string(),
        name: entry.view.key.name.to_string(),
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
        reason: refusal.reason.into(),
        message: refusal.text.clone(),
    }
}
