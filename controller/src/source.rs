//! The `ConfigMap`, and what it amounts to.

use ferrolb_core::Reason;
use ferrolb_core::alloc::Refusal;
use ferrolb_core::config::{Config, NotConfigured, Outcome, Warnings, of_data_with_warnings};
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

/// What the `ConfigMap` amounts to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loaded {
    /// A configuration to put in force.
    Valid(Config),
    /// There are no pools, and nothing is wrong either.
    Empty(Refusal),
    /// Nothing that could be put in force.
    Unusable(Refusal),
}

/// What `map` amounts to, if there is one; `source` is its name for people.
#[must_use]
pub fn load(map: Option<&ConfigMapView>, source: &str) -> Loaded {
    let unconfigured = |text| Refusal::new(Reason::NotConfigured, text);
    let Some(map) = map else {
        return Loaded::Unusable(unconfigured(format!(
            "no addresses yet: create ConfigMap {source} with address pools"
        )));
    };
    match &map.outcome {
        Outcome::Valid(config) | Outcome::Partly(config, _) => Loaded::Valid(config.clone()),
        Outcome::NotConfigured(what) => {
            let refusal = unconfigured(format!("{what} (ConfigMap {source})"));
            match what {
                NotConfigured::Empty => Loaded::Empty(refusal),
                NotConfigured::NoKey(_) | NotConfigured::Unfilled => Loaded::Unusable(refusal),
            }
        }
        Outcome::Refused(problems) => Loaded::Unusable(Refusal::new(
            Reason::ConfigRefused,
            format!("ConfigMap {source} is refused: {problems}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(text: &str) -> Loaded {
        let data = [("config".to_owned(), text.to_owned())].into();
        let map = ConfigMap {
            data: Some(data),
            ..ConfigMap::default()
        };
        load(Some(&ConfigMapView::of(&map)), "metallb-system/config")
    }

    #[test]
    fn those_who_wait_are_told_what_for() {
        let Loaded::Unusable(refusal) = load(None, "metallb-system/config") else {
            panic!("there is no configuration");
        };
        assert_eq!(
            refusal.text,
            "no addresses yet: create ConfigMap metallb-system/config with address pools"
        );
        let Loaded::Unusable(refusal) = loaded("address-pools:\n- name: [\n") else {
            panic!("the configuration is broken");
        };
        assert_eq!(refusal.reason, Reason::ConfigRefused);
        assert!(refusal.text.contains("line "), "{refusal}");
        assert!(refusal.text.contains("column "), "{refusal}");
    }

    #[test]
    fn an_empty_configuration_is_none_yet_and_no_mistake() {
        assert!(matches!(loaded(""), Loaded::Empty(_)));
    }
}
