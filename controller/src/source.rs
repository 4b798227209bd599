//! What is read of the `ConfigMap`.

use ferrolb_core::config::{Outcome, Warnings, of_data_with_warnings};
use k8s_openapi::api::core::v1::ConfigMap;

/// What is read of the `ConfigMap`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigMapView {
    /// `metadata.uid`
    pub uid: String,
    /// `metadata.resourceVersion`
    pub resource_version: String,
    /// What it says.
    pub outcome: Outcome,
    /// What it says, and probably does not mean.
    pub warnings: Warnings,
}

impl ConfigMapView {
    /// The view of `map`.
    #[must_use]
    pub fn of(map: &ConfigMap) -> Self {
        let (outcome, warnings) = of_data_with_warnings(map.data.as_ref());
        Self {
            uid: map.metadata.uid.clone().unwrap_or_default(),
            resource_version: map.metadata.resource_version.clone().unwrap_or_default(),
            outcome,
            warnings,
        }
    }
}
