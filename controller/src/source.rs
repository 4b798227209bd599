//! What is read of the `ConfigMap`.

use ferrolb_core::config::{Outcome, Warnings, of_data_with_warnings};
use ferrolb_core::source::text_id;
use ferrolb_kube::events::Object;
use k8s_openapi::api::core::v1::ConfigMap;

use crate::notice::config_map;

/// What is read of the `ConfigMap`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigMapView {
    /// `metadata.uid`
    pub uid: String,
    /// `metadata.resourceVersion`
    pub resource_version: String,
    /// Which one, in which state: `ferrolb_core::source::text_id`.
    pub id: String,
    /// What it says.
    pub outcome: Outcome,
    /// What it says, and probably does not mean.
    pub warnings: Warnings,
}

impl ConfigMapView {
    /// The object that Events are about. `source` is its `namespace/name`.
    #[must_use]
    pub fn object(&self, source: &str) -> Object {
        config_map(source, &self.uid, &self.resource_version)
    }

    /// The view of `map`.
    #[must_use]
    pub fn of(map: &ConfigMap) -> Self {
        let (outcome, warnings) = of_data_with_warnings(map.data.as_ref());
        let uid = map.metadata.uid.clone().unwrap_or_default();
        Self {
            id: text_id(&uid, map.data.as_ref()),
            uid,
            resource_version: map.metadata.resource_version.clone().unwrap_or_default(),
            outcome,
            warnings,
        }
    }
}
