//! What is in force, as speakers know it: they read the ConfigMap, and what the controller has compiled of
//! MetalLB's objects.

use anyhow::Context;
use ferrolb_core::compiled::{self, Compiled, Unread};
use ferrolb_core::config::{self, Config, Outcome};
use ferrolb_core::names::{COMPILED_NAME, DEFAULT_CONFIG_NAME, DEFAULT_NAMESPACE};
use ferrolb_core::source::{Memory, Source, text_id};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;

use crate::cluster::Cluster;
use crate::daemons::Daemon;

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Configured {
    /// Where what is in force comes from, and what the controller remembers of the other source.
    pub(crate) memory: Memory,
    /// `None`: none is in force, or the last good one is not known here.
    pub(crate) config: Option<Config>,
    /// What makes it uncertain.
    pub(crate) note: Option<&'static str>,
    /// The ConfigMap, if there is one: which one, in which state, and what it says.
    pub(crate) text: Option<(String, Outcome)>,
}

/// Daemons go on with the last good one, and nobody but them knows it.
const REFUSED: &str =
    "the ConfigMap is refused, so it is not known which nodes the pools in force select";
const UNREADABLE: &str = "MetalLB's objects are in force, and this plugin cannot read what they come to: use the plugin of the \
     controller's version";

impl Cluster {
    /// What is in force, and from which source.
    pub(crate) async fn configured(&self, daemons: &[Daemon]) -> anyhow::Result<Configured> {
        let (namespace, name) = self.config_source(daemons).await;
        let text = self.map(&namespace, &name).await?.map(|map| {
            let uid = map.metadata.uid.as_deref().unwrap_or_default();
            let data = map.data.as_ref();
            (text_id(uid, data), config::of_data(data))
        });
        let name = daemons.iter().find_map(|one| one.compiled.as_deref());
        let compiled = self.map(&namespace, name.unwrap_or(COMPILED_NAME)).await;
        let compiled = match compiled {
            Ok(map) => map,
            // It was read by those alone who have the right.
            Err(error) if is_forbidden(&error) => None,
            Err(error) => return Err(error),
        };
        let compiled = compiled.map(|map| {
            let uid = map.metadata.uid.as_deref().unwrap_or_default();
            compiled::read(&map.data.unwrap_or_default(), uid)
        });
        Ok(Configured::of(text, compiled))
    }

    async fn map(&self, namespace: &str, name: &str) -> anyhow::Result<Option<ConfigMap>> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), namespace);
        let map = api.get_opt(name).await;
        map.with_context(|| format!("cannot read ConfigMap {namespace}/{name}"))
    }

    /// The ConfigMap that the daemons read: as the controller says, or else where it usually is.
    pub(crate) async fn config_source(&self, daemons: &[Daemon]) -> (String, String) {
        let told = self.controller(daemons).await;
        let told = told.ok().and_then(|status| {
            let (namespace, name) = status.configuration.source.split_once('/')?;
            Some((namespace.to_owned(), name.to_owned()))
        });
        told.unwrap_or_else(|| {
            let namespace = daemons.first().map(|daemon| daemon.namespace.as_str());
            let namespace = self.system_namespace.as_deref().or(namespace);
            let namespace = namespace.unwrap_or(DEFAULT_NAMESPACE);
            (namespace.to_owned(), DEFAULT_CONFIG_NAME.to_owned())
        })
    }
}

/// Whether the API server does not allow it.
pub(crate) fn is_forbidden(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<kube::Error>();
    matches!(error, Some(kube::Error::Api(status)) if status.is_forbidden())
}

impl Configured {
    pub(crate) fn of(
        text: Option<(String, Outcome)>,
        compiled: Option<Result<Compiled, Unread>>,
    ) -> Self {
        let (before, unread) = match compiled {
            Some(Ok(compiled)) => (Some(compiled), None),
            Some(Err(Unread::Unusable { source, .. })) => (None, source),
            Some(Err(Unread::Unmarked)) | None => (None, None),
        };
        let source = before.as_ref().map(|it| it.memory.source).or(unread);
        let memory = before.as_ref().map(|it| it.memory.clone());
        let memory = memory.unwrap_or(Memory {
            source: source.unwrap_or(Source::ConfigMap),
            ignored: None,
            orphaned: false,
        });
        let before = before.map(|it| it.config);
        let (config, note) = match (memory.source, &text) {
            (Source::Objects, _) if before.is_none() => (None, Some(UNREADABLE)),
            (Source::Objects, _) => (before, None),
            (Source::ConfigMap, Some((_, said))) => match said.clone().in_force() {
                Some(config) => (Some(config), None),
                // What was in force before stays.
                None if before.is_some() => (before, None),
                None => {
                    let is_refused = matches!(said, Outcome::Refused(_));
                    (None, is_refused.then_some(REFUSED))
                }
            },
            (Source::ConfigMap, None) => (before, None),
        };
        Self {
            memory,
            config,
            note,
            text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "address-pools: [{name: text, protocol: layer2, addresses: [10.0.0.0/24]}]";
    const OTHER: &str =
        "address-pools: [{name: before, protocol: layer2, addresses: [10.1.0.0/24]}]";

    fn before(source: Source) -> Option<Result<Compiled, Unread>> {
        Some(Ok(Compiled {
            memory: Memory {
                source,
                ignored: None,
                orphaned: false,
            },
            config: config::parse(OTHER).in_force().unwrap(),
        }))
    }

    fn text(text: &str) -> Option<(String, Outcome)> {
        Some(("id".to_owned(), config::parse(text)))
    }

    /// The pool that is in force, and what makes that uncertain.
    fn pool(configured: &Configured) -> (Option<&str>, bool) {
        let config = configured.config.as_ref();
        let pool = config.and_then(|config| config.pools.first());
        (
            pool.map(|pool| pool.name.as_str()),
            configured.note.is_some(),
        )
    }

    #[test]
    fn what_is_in_force_is_what_speakers_take() {
        let objects = || before(Source::Objects);
        let map = || before(Source::ConfigMap);
        let unusable = |source| {
            Some(Err(Unread::Unusable {
                source,
                why: String::new(),
            }))
        };
        for (text, compiled, want, is_uncertain) in [
            (None, None, None, false),
            (text(TEXT), None, Some("text"), false),
            (text(TEXT), map(), Some("text"), false),
            (text(TEXT), Some(Err(Unread::Unmarked)), Some("text"), false),
            // The ConfigMap does not count beside objects.
            (text(TEXT), objects(), Some("before"), false),
            (None, objects(), Some("before"), false),
            (text(TEXT), unusable(Some(Source::Objects)), None, true),
            (
                text(TEXT),
                unusable(Some(Source::ConfigMap)),
                Some("text"),
                false,
            ),
            // The last good one stays.
            (text("address-pools: ["), map(), Some("before"), false),
            (text("address-pools: ["), None, None, true),
            (None, map(), Some("before"), false),
            (text(""), map(), None, false),
        ] {
            let said = format!("{text:?} {compiled:?}");
            let configured = Configured::of(text, compiled);
            assert_eq!(pool(&configured), (want, is_uncertain), "{said}");
        }
    }
}
