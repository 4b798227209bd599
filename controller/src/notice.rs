//! Events for people. Core v1: `events.k8s.io` is forbidden under the RBAC of older manifests.

use ferrolb_core::names::{CONTROLLER_COMPONENT, FIELD_MANAGER};
use ferrolb_core::text::shortened;
use ferrolb_core::view::ServiceView;
use ferrolb_kube::events::fingerprint;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

use crate::source::ConfigMapView;

/// The API server refuses longer messages.
const MESSAGE: usize = 1_024;

/// What an Event is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    kind: &'static str,
    namespace: String,
    name: String,
    uid: String,
    resource_version: String,
}

impl Object {
    /// A Service.
    #[must_use]
    pub fn service(view: &ServiceView) -> Self {
        Self {
            kind: "Service",
            namespace: view.key.namespace.clone(),
            name: view.key.name.clone(),
            uid: view.uid.clone(),
            resource_version: view.resource_version.clone(),
        }
    }

    /// The `ConfigMap` called `source` (`namespace/name`).
    #[must_use]
    pub fn config_map(source: &str, map: &ConfigMapView) -> Self {
        let (namespace, name) = source.split_once('/').unwrap_or_default();
        Self {
            kind: "ConfigMap",
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            uid: map.uid.clone(),
            resource_version: map.resource_version.clone(),
        }
    }
}

/// An Event to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    object: Object,
    warning: bool,
    /// Whether a predecessor may have said it already.
    perhaps_said: bool,
    /// One of `ferrolb_core::names::event`.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

impl Notice {
    /// As it should be.
    #[must_use]
    pub fn normal(object: Object, reason: &'static str, message: String) -> Self {
        Self {
            object,
            warning: false,
            perhaps_said: false,
            reason,
            message: shortened(&message, MESSAGE),
        }
    }

    /// Somebody has to do something.
    #[must_use]
    pub fn warning(object: Object, reason: &'static str, message: String) -> Self {
        Self {
            object,
            warning: true,
            perhaps_said: false,
            reason,
            message: shortened(&message, MESSAGE),
        }
    }

    /// This process has only just looked: if the same was said before, it is not said again.
    #[must_use]
    pub fn no_news(self) -> Self {
        Self {
            perhaps_said: true,
            ..self
        }
    }

    /// Writes it into its object's namespace; the API server takes it nowhere else. One that is there
    /// already gets the new time.
    ///
    /// # Errors
    /// The API server's.
    pub async fn write(&self, client: &Client, instance: &str) -> kube::Result<()> {
        let api: Api<Event> = Api::namespaced(client.clone(), &self.object.namespace);
        let params = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            dry_run: false,
        };
        let event = self.event(instance, Timestamp::now());
        match api.create(&params, &event).await {
            Err(kube::Error::Api(status)) if status.is_already_exists() => {}
            created => return created.map(drop),
        }
        if self.perhaps_said {
            return Ok(());
        }
        let again = Patch::Merge(json!({ "lastTimestamp": event.last_timestamp }));
        let name = event.metadata.name.as_deref().unwrap_or_default();
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        api.patch(name, &params, &again).await.map(drop)
    }

    /// The same for the same words on the same object, in whichever replica: who takes over repeats
    /// nothing.
    fn fingerprint(&self) -> u64 {
        fingerprint(&[&self.object.uid, self.reason, &self.message])
    }

    fn event(&self, instance: &str, now: Timestamp) -> Event {
        let Object {
            kind,
            namespace,
            name,
            uid,
            resource_version,
        } = self.object.clone();
        Event {
            metadata: ObjectMeta {
                name: Some(format!("{name}.{:016x}", self.fingerprint())),
                namespace: Some(namespace.clone()),
                ..ObjectMeta::default()
            },
            involved_object: ObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some(kind.to_owned()),
                namespace: Some(namespace),
                name: Some(name),
                uid: Some(uid),
                resource_version: Some(resource_version),
                field_path: None,
            },
            type_: Some(if self.warning { "Warning" } else { "Normal" }.to_owned()),
            reason: Some(self.reason.to_owned()),
            message: Some(self.message.clone()),
            source: Some(EventSource {
                component: Some(CONTROLLER_COMPONENT.to_owned()),
                host: None,
            }),
            reporting_component: Some(CONTROLLER_COMPONENT.to_owned()),
            reporting_instance: Some(instance.to_owned()),
            first_timestamp: Some(Time(now)),
            last_timestamp: Some(Time(now)),
            count: Some(1),
            ..Event::default()
        }
    }
}
