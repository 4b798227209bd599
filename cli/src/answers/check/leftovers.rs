//! What a MetalLB that is there, or was, means for its objects: webhooks that nobody answers, definitions that
//! somebody is about to delete, objects that nobody reads.

mod gather;
mod rules;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use ferrolb_core::config::ObjectName;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

pub(super) use gather::gather;
pub(super) use rules::judge;

/// The group of MetalLB's objects.
const GROUP: &str = "metallb.io";

/// What the rules judge. `None` is what could not be read.
#[derive(Debug, Default)]
pub(super) struct Leftovers {
    /// Those that judge objects of the group.
    webhooks: Option<Vec<ValidatingWebhookConfiguration>>,
    /// Those of the group.
    definitions: Option<Vec<CustomResourceDefinition>>,
    /// The Services that webhooks and conversions ask, by namespace and name, and whether one answers.
    answering: BTreeMap<(String, String), bool>,
    /// All IPAddressPools.
    pools: Vec<ObjectName>,
}

impl Leftovers {
    /// How many IPAddressPools the namespace has.
    pub(super) fn pools_in(&self, namespace: &str) -> usize {
        let pools = self.pools.iter();
        let is_there = |pool: &&ObjectName| pool.namespace.as_deref() == Some(namespace);
        pools.filter(is_there).count()
    }
}
