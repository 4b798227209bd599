//! What the controller says in Events.

use ferrolb_core::config::objects::{Kind, ObjectRef};
use ferrolb_core::names::CONTROLLER_COMPONENT;
use ferrolb_core::names::event::EventReason;
use ferrolb_kube::events::{Author, Before, Object, Severity, Words, fingerprint};
use kube::Client;

/// The author of all Events of the pod `instance`.
#[must_use]
pub fn author(instance: &str) -> Author {
    Author {
        component: CONTROLLER_COMPONENT,
        instance: instance.to_owned(),
        host: None,
    }
}

/// The `ConfigMap` called `source` (`namespace/name`).
#[must_use]
pub fn config_map(source: &str, uid: &str, resource_version: &str) -> Object {
    let (namespace, name) = source.split_once('/').unwrap_or_default();
    Object {
        api_version: "v1",
        kind: "ConfigMap",
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        uid: uid.to_owned(),
        resource_version: Some(resource_version.to_owned()),
    }
}

/// An object of `MetalLB`'s.
#[must_use]
pub fn object(of: &ObjectRef) -> Object {
    Object {
        api_version: match of.kind {
            Kind::BgpPeer => "metallb.io/v1beta2",
            _ => "metallb.io/v1beta1",
        },
        kind: of.kind.as_str(),
        namespace: of.namespace.clone(),
        name: of.name.clone(),
        uid: of.uid.clone(),
        resource_version: None,
    }
}

/// An Event to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// What it says, on what.
    pub words: Words,
    /// Whether a predecessor may have said it already.
    perhaps_said: bool,
    /// What it is about, if that alone makes it one Event, whatever the words.
    about: Option<String>,
}

impl Notice {
    /// As it should be.
    #[must_use]
    pub fn normal(object: Object, reason: EventReason, message: String) -> Self {
        Self::new(object, Severity::Normal, reason, message)
    }

    /// Somebody has to do something.
    #[must_use]
    pub fn warning(object: Object, reason: EventReason, message: String) -> Self {
        Self::new(object, Severity::Warning, reason, message)
    }

    fn new(object: Object, severity: Severity, reason: EventReason, message: String) -> Self {
        Self {
            words: Words {
                object,
                severity,
                reason,
                message,
            },
            perhaps_said: false,
            about: None,
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

    /// What is said later of the same replaces it: others cause it, and as often as they like.
    #[must_use]
    pub fn one_about(self, what: impl ToString) -> Self {
        Self {
            about: Some(what.to_string()),
            ..self
        }
    }

    /// What tells its Event from others on the same object.
    #[must_use]
    pub fn suffix(&self) -> String {
        let words = &self.words;
        let said = self.about.as_deref().unwrap_or(&words.message);
        let number = fingerprint(&[&words.object.uid, words.reason.as_str(), said]);
        format!("{number:016x}")
    }

    /// Writes it. The same words on the same object are one Event, in whichever replica: whoever takes
    /// over repeats nothing.
    ///
    /// # Errors
    /// The API server's.
    pub async fn write(&self, client: &Client, author: &Author) -> kube::Result<()> {
        let before = match self.perhaps_said {
            true => Before::Keep,
            false => Before::Renew,
        };
        let suffix = self.suffix();
        self.words.write(client, author, &suffix, before).await
    }
}
