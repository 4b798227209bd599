//! Labels in one text: as a map, those of ten thousand Services take 10 MiB.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// Names of labels: those that selectors read. Others are not kept, since whoever may write an object
/// may give it a megabyte of them.
pub type LabelNames = BTreeSet<String>;

/// Kinds of objects whose labels selectors read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Labelled {
    /// Read by `service-selectors`, of pools and of advertisements.
    Services,
    /// Read by `namespace-selectors`.
    Namespaces,
    /// Read by `node-selectors`.
    Nodes,
}

/// Names of labels, for each kind of objects.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NamedLabels {
    /// Of Services.
    pub services: LabelNames,
    /// Of Namespaces.
    pub namespaces: LabelNames,
    /// Of Nodes.
    pub nodes: LabelNames,
}

impl NamedLabels {
    /// Those of one kind.
    #[must_use]
    pub const fn of(&self, kind: Labelled) -> &LabelNames {
        match kind {
            Labelled::Services => &self.services,
            Labelled::Namespaces => &self.namespaces,
            Labelled::Nodes => &self.nodes,
        }
    }

    /// The same, to be changed.
    pub const fn of_mut(&mut self, kind: Labelled) -> &mut LabelNames {
        match kind {
            Labelled::Services => &mut self.services,
            Labelled::Namespaces => &mut self.namespaces,
            Labelled::Nodes => &mut self.nodes,
        }
    }

    /// Whether `other` has all of them.
    #[must_use]
    pub fn is_subset(&self, other: &Self) -> bool {
        let kinds = [Labelled::Services, Labelled::Namespaces, Labelled::Nodes];
        kinds
            .into_iter()
            .all(|kind| self.of(kind).is_subset(other.of(kind)))
    }

    /// Adds those of `other`.
    pub fn extend(&mut self, other: Self) {
        self.services.extend(other.services);
        self.namespaces.extend(other.namespaces);
        self.nodes.extend(other.nodes);
    }
}

/// The labels of an object.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Labels(
    /// `name=value`, each with a line end. The API server allows neither character in either part.
    Box<str>,
);

impl Labels {
    /// The value of the label `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.lines().find_map(|line| {
            let (one, value) = line.split_once('=')?;
            (one == name).then_some(value)
        })
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.lines().filter_map(|line| line.split_once('='))
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Only those whose names are among `names`.
    #[must_use]
    pub fn only(&self, names: &LabelNames) -> Self {
        self.iter()
            .filter(|(name, _)| names.contains(*name))
            .collect()
    }
}

impl<N: AsRef<str>, V: AsRef<str>> FromIterator<(N, V)> for Labels {
    fn from_iter<T: IntoIterator<Item = (N, V)>>(labels: T) -> Self {
        let mut text = String::new();
        for (name, value) in labels {
            for part in [name.as_ref(), "=", value.as_ref(), "\n"] {
                text.push_str(part);
            }
        }
        Self(text.into_boxed_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_label_is_found_by_its_whole_name_alone() {
        let labels: Labels = [("app.kubernetes.io/name", "web"), ("empty", ""), ("x", "y")]
            .into_iter()
            .collect();
        assert_eq!(labels.get("app.kubernetes.io/name"), Some("web"));
        assert_eq!(labels.get("empty"), Some(""));
        for name in ["app", "name", "", "y", "web"] {
            assert_eq!(labels.get(name), None, "{name}");
        }
        assert_eq!(Labels::default().get(""), None);
    }

    #[test]
    fn only_labels_that_are_named_are_kept() {
        let labels: Labels = [
            ("app", "web"),
            ("app.kubernetes.io/name", "x"),
            ("tier", ""),
        ]
        .into_iter()
        .collect();
        let names = ["app", "tier", "absent"].map(str::to_owned).into();
        let kept: Labels = [("app", "web"), ("tier", "")].into_iter().collect();
        assert_eq!(labels.only(&names), kept);
        assert_eq!(labels.only(&LabelNames::new()), Labels::default());
    }
}
