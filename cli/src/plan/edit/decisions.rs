//! What the controller would decide, by its own code: first as it is, then under the other configuration.

use std::collections::{BTreeMap, BTreeSet};

use ferrolb_core::Reason;
use ferrolb_core::alloc::{Allocator, Decision, PoolUsage, Refusal};
use ferrolb_core::config::Config;
use ferrolb_core::labels::Labels;
use ferrolb_core::view::{ServiceKey, ServiceView};

use crate::election::Election;

/// What decides beside Services, Nodes and the configuration.
#[derive(Debug, Default)]
pub(super) struct World {
    /// Labels by namespace; `None` where they cannot be read.
    pub(super) namespaces: Option<BTreeMap<String, Labels>>,
    /// Namespace and name of each Service that the controller serves; `None` if none said so.
    pub(super) served: Option<BTreeSet<ServiceKey>>,
}

/// What is decided for each Service, before and after.
#[derive(Debug)]
pub(super) struct Decided {
    pub(super) before: BTreeMap<ServiceKey, Decision>,
    pub(super) after: BTreeMap<ServiceKey, Decision>,
    pub(super) usage: Vec<PoolUsage>,
}

pub(super) fn decide(election: &Election, world: &World, config: &Config) -> Decided {
    let is_served = |service: &&ServiceView| match &world.served {
        Some(served) => served.contains(&service.key),
        None => service.is_for(None),
    };
    let services = election.services.iter().filter(is_served);
    let services: BTreeMap<&ServiceKey, &ServiceView> =
        services.map(|view| (&view.key, view)).collect();
    let all = || services.keys().map(|key| (*key).clone()).collect();
    let view_of = |key: &ServiceKey| services.get(key).copied();
    let mut allocator = Allocator::new(Refusal::new(
        Reason::NotConfigured,
        "no configuration is in force",
    ));
    let nodes = election.nodes.values();
    let own = nodes.flat_map(|node| node.addresses.iter().map(|one| (*one, node.name.clone())));
    allocator.set_nodes(own.collect());
    if let Some(labels) = &world.namespaces {
        allocator.set_namespaces(labels);
    }
    if let Some(config) = &election.config {
        allocator.set_config(config.clone());
    }
    let before = allocator.settle(all(), view_of);
    allocator.set_config(config.clone());
    let after = allocator.settle(all(), view_of);
    Decided {
        before,
        after,
        usage: allocator.usage(),
    }
}
