//! What helm makes of the chart, found by name.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use ferrolb_tests::command::stdout_of;
use ferrolb_tests::manifests::KUBE_VERSION;
use ferrolb_tests::tools::{Module, Tools};
use serde::Deserialize;
use serde_yaml::Value;

pub(crate) struct Chart {
    helm: PathBuf,
    dir: PathBuf,
}

impl Chart {
    pub(crate) fn here() -> Self {
        let tools = Tools::ensure(&[Module::Kubernetes]).unwrap();
        Self {
            helm: tools.binary("helm").unwrap(),
            dir: Self::folder(),
        }
    }

    /// Where its files are; to read them, no helm is needed.
    pub(crate) fn folder() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/ferrolb")
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Runs helm in the chart's folder; `values` are those on its standard input, if asked for.
    pub(crate) fn helm(&self, args: &[&str], values: &str) -> Result<String> {
        stdout_of(
            Command::new(&self.helm).args(args).current_dir(&self.dir),
            values,
        )
    }

    pub(crate) fn template(&self, values: &str) -> Result<String> {
        self.template_as("ferrolb", "metallb-system", values)
    }

    pub(crate) fn template_as(
        &self,
        release: &str,
        namespace: &str,
        values: &str,
    ) -> Result<String> {
        let args = [
            "template",
            release,
            ".",
            "--namespace",
            namespace,
            "--values",
            "-",
        ];
        self.helm(
            &[&args[..], &["--kube-version", KUBE_VERSION]].concat(),
            values,
        )
    }

    /// The notes that an installation ends with. Helm shows them to those alone who have a cluster,
    /// so they are rendered as the data of an object, by a copy of the chart.
    pub(crate) fn notes(&self, values: &str) -> Result<String> {
        let copy = tempfile::tempdir()?;
        copy_folder(&self.dir, copy.path())?;
        fs::rename(
            copy.path().join("templates/NOTES.txt"),
            copy.path().join("notes.tpl"),
        )?;
        fs::write(
            copy.path().join("templates/notes.yaml"),
            "kind: Notes\nmetadata: {name: notes}\ntext: {{ tpl (.Files.Get \"notes.tpl\") . | quote }}\n",
        )?;
        let copied = Self {
            helm: self.helm.clone(),
            dir: copy.path().to_owned(),
        };
        let rendered = Rendered::parse(&copied.template(values)?);
        let text = rendered.get("Notes/notes", &["text"]);
        Ok(text
            .and_then(|text| text.as_str().map(str::to_owned))
            .unwrap())
    }
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            fs::create_dir(&target)?;
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// The objects, by `Kind/name`.
pub(crate) struct Rendered {
    objects: BTreeMap<String, Value>,
}

impl Rendered {
    pub(crate) fn of(values: &str) -> Self {
        Self::parse(&Chart::here().template(values).unwrap())
    }

    pub(crate) fn parse(text: &str) -> Self {
        let documents = serde_yaml::Deserializer::from_str(text);
        let objects = documents.map(|document| Value::deserialize(document).unwrap());
        // What kubectl prints of several objects is one document.
        let objects = objects.flat_map(|object| match object.get("items") {
            Some(Value::Sequence(items)) => items.clone(),
            _ => vec![object],
        });
        let named = objects.filter(|object| !object.is_null()).map(|object| {
            let name = object["metadata"]["name"].as_str().unwrap();
            (
                format!("{}/{name}", object["kind"].as_str().unwrap()),
                object,
            )
        });
        Self {
            objects: named.collect(),
        }
    }

    /// The value at `path` in `object`. A step into a list names its element: `name=speaker` is the
    /// one with that field, `--port` is the rest of the string that begins with `--port=`, or nothing
    /// where it stands alone.
    pub(crate) fn get(&self, object: &str, path: &[&str]) -> Option<Value> {
        let mut at = self.objects.get(object)?.clone();
        for step in path {
            at = match at {
                Value::Sequence(list) => list.iter().find_map(|element| select(element, step))?,
                _ => at.get(step)?.clone(),
            };
        }
        Some(at)
    }

    /// All objects of a kind.
    pub(crate) fn of_kind<'a>(&'a self, kind: &str) -> impl Iterator<Item = &'a Value> {
        let begin = format!("{kind}/");
        let those = self.objects.iter();
        those.filter_map(move |(key, object)| key.starts_with(&begin).then_some(object))
    }

    /// How many objects there are of each kind.
    pub(crate) fn kinds(&self) -> BTreeMap<&str, usize> {
        let mut kinds = BTreeMap::new();
        for (kind, _) in self.objects.keys().filter_map(|key| key.split_once('/')) {
            *kinds.entry(kind).or_default() += 1;
        }
        kinds
    }

    /// Objects that belong to no namespace.
    pub(crate) fn cluster_scoped(&self) -> Vec<String> {
        let global = self
            .objects
            .iter()
            .filter(|(_, it)| it["metadata"].get("namespace").is_none());
        global.map(|(key, _)| key.clone()).collect()
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.objects
            .keys()
            .filter_map(|key| Some(key.split_once('/')?.1))
    }
}

fn select(element: &Value, step: &str) -> Option<Value> {
    if let Some(text) = element.as_str() {
        let rest = text.strip_prefix(step)?;
        let value = if rest.is_empty() {
            rest
        } else {
            rest.strip_prefix('=')?
        };
        return Some(Value::from(value));
    }
    let (key, wanted) = step.split_once('=')?;
    (element.get(key)?.as_str()? == wanted).then(|| element.clone())
}
