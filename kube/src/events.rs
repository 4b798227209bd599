//! Kubernetes Events. Core v1: `events.k8s.io` is forbidden under the rights of older manifests.

use ferrolb_core::names::event::EventReason;
use ferrolb_core::text::shortened;
use ferrolb_core::view::ServiceView;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

/// The API server refuses longer messages.
const MESSAGE: usize = 1_024;

/// The kind that is in no namespace.
pub const NODE: &str = "Node";

/// What an Event is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// `apiVersion`
    pub api_version: &'static str,
    /// `Service`, `ConfigMap`, [`NODE`], or a kind of `MetalLB`'s.
    pub kind: &'static str,
    /// Its `metadata.namespace`; of a Node, which has none, where its Events are: `default`.
    pub namespace: String,
    /// Its `metadata.name`.
    pub name: String,
    /// Its `metadata.uid`.
    pub uid: String,
    /// Its `metadata.resourceVersion`, if that is known.
    pub resource_version: Option<String>,
}

impl Object {
    /// A Service.
    #[must_use]
    pub fn service(view: &ServiceView) -> Self {
        let version = &view.resource_version;
        Self {
            api_version: "v1",
            kind: "Service",
            namespace: view.key.namespace.to_string(),
            name: view.key.name.to_string(),
            uid: view.uid.to_string(),
            resource_version: (!version.is_empty()).then(|| version.to_string()),
        }
    }
}

/// Whether somebody has to do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// All is as it should be.
    Normal,
    /// Somebody has to do something.
    Warning,
}

impl Severity {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// What is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    /// What it is about.
    pub object: Object,
    /// Whether somebody has to do something.
    pub severity: Severity,
    /// Why it is written.
    pub reason: EventReason,
    /// For people.
    pub message: String,
}

/// Who says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    /// The program.
    pub component: &'static str,
    /// Which of them: a pod, or a node.
    pub instance: String,
    /// The node, where that matters.
    pub host: Option<String>,
}

/// What to do with an Event of that name that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// It gets the new time and the new words.
    Renew,
    /// It stays as it is.
    Keep,
}

impl Words {
    /// Writes them into their object's namespace; the API server takes an Event nowhere else. It is
    /// called by its object and `suffix`, and two of one name are one Event.
    ///
    /// # Errors
    /// The API server's.
    pub async fn write(
        &self,
        client: &Client,
        author: &Author,
        suffix: &str,
        before: Before,
    ) -> kube::Result<()> {
        let api: Api<Event> = Api::namespaced(client.clone(), &self.object.namespace);
        let params = PostParams {
            field_manager: Some(author.component.to_owned()),
            dry_run: false,
        };
        let event = self.event(author, suffix, Timestamp::now());
        match (api.create(&params, &event).await, before) {
            (Err(kube::Error::Api(status)), before) if status.is_already_exists() => {
                if before == Before::Keep {
                    return Ok(());
                }
            }
            (created, _) => return created.map(drop),
        }
        let again = Patch::Merge(json!({
            "lastTimestamp": event.last_timestamp,
            "message": event.message,
        }));
        let name = event.metadata.name.as_deref().unwrap_or_default();
        let params = PatchParams {
            field_manager: Some(author.component.to_owned()),
            ..PatchParams::default()
        };
        api.patch(name, &params, &again).await.map(drop)
    }

    fn event(&self, author: &Author, suffix: &str, now: Timestamp) -> Event {
        let object = self.object.clone();
        Event {
            metadata: ObjectMeta {
                name: Some(format!("{}.{suffix}", object.name)),
                namespace: Some(object.namespace.clone()),
                ..ObjectMeta::default()
            },
            involved_object: ObjectReference {
                api_version: Some(object.api_version.to_owned()),
                kind: Some(object.kind.to_owned()),
                // `kubectl describe node` looks for Events without one.
                namespace: (object.kind != NODE).then_some(object.namespace),
                name: Some(object.name),
                uid: Some(object.uid),
                resource_version: object.resource_version,
                field_path: None,
            },
            type_: Some(self.severity.as_str().to_owned()),
            reason: Some(self.reason.as_str().to_owned()),
            message: Some(shortened(&self.message, MESSAGE)),
            source: Some(EventSource {
                component: Some(author.component.to_owned()),
                host: author.host.clone(),
            }),
            reporting_component: Some(author.component.to_owned()),
            reporting_instance: Some(author.instance.clone()),
            first_timestamp: Some(Time(now)),
            last_timestamp: Some(Time(now)),
            count: Some(1),
            ..Event::default()
        }
    }
}

/// The same for the same words, in whichever process, release and architecture: an Event whose name
/// follows from what it says is one object, however often it is said and by how many.
#[must_use]
pub fn fingerprint(words: &[&str]) -> u64 {
    // FNV-1a: the standard library's hash may be another one with each release.
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let bytes = words
        .iter()
        // No text has this byte, so words that are joined otherwise are other words.
        .flat_map(|word| word.bytes().chain([0xff]));
    bytes.fold(OFFSET, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(PRIME)
    })
}

#[cfg(test)]
mod tests {
    use ferrolb_core::names::event::NODE_ASSIGNED;

    use super::*;

    #[test]
    fn an_event_names_its_objects_namespace_unless_that_is_a_node() {
        let of = |kind| {
            let words = Words {
                object: Object {
                    api_version: "v1",
                    kind,
                    namespace: "default".to_owned(),
                    name: "n1".to_owned(),
                    uid: "1".to_owned(),
                    resource_version: None,
                },
                severity: Severity::Normal,
                reason: NODE_ASSIGNED,
                message: String::new(),
            };
            let author = Author {
                component: "test",
                instance: String::new(),
                host: None,
            };
            let event = words.event(&author, "1", Timestamp::UNIX_EPOCH);
            (event.metadata.namespace, event.involved_object.namespace)
        };
        let default = Some("default".to_owned());
        assert_eq!(of("Service"), (default.clone(), default.clone()));
        assert_eq!(of(NODE), (default, None));
    }

    #[test]
    fn the_same_words_have_one_fingerprint_for_ever_and_others_have_another() {
        assert_eq!(fingerprint(&[]), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fingerprint(&["a", "b"]), 0xd2b3_7181_9297_f98a);
        assert_ne!(fingerprint(&["ab", ""]), fingerprint(&["a", "b"]));
        assert_ne!(fingerprint(&["ab"]), fingerprint(&["a", "b"]));
        assert_ne!(fingerprint(&["b", "a"]), fingerprint(&["a", "b"]));
    }
}
