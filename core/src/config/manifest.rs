//! Configurations in files: `ConfigMap` manifests, lists of them, or the bare configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use super::objects::{Compiled, Kind, Manifest, ObjectRef, ObjectView, Objects, Read};
use super::place::{Origin, Place};
use super::problem::Report;
use super::tree::{self, Node, Style, Value};
use super::{
    Config, NotConfigured, Outcome, Warnings, judged, parse_with_warnings, parse_within,
    root_fields,
};
use crate::labels::Labels;
use crate::names::CONFIG_KEY;

/// The key of the chart's values, ours and `MetalLB`'s, that holds a configuration.
const INLINE: &str = "configInline";
/// The key that makes a text a configuration.
const POOLS: &str = "address-pools";

/// Namespace and name of a manifest's object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectName {
    /// `metadata.namespace`
    pub namespace: Option<String>,
    /// `metadata.name`; empty if it has none.
    pub name: String,
}

/// `namespace/name`, or the name alone.
impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            _ if self.name.is_empty() => f.write_str("without a name"),
            Some(namespace) => write!(f, "{namespace}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// One configuration of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The `ConfigMap` that holds it; `None` if the file is the bare configuration.
    pub object: Option<ObjectName>,
    /// What it says.
    pub outcome: Outcome,
    /// What it says, and probably does not mean.
    pub warnings: Warnings,
    /// The text that problems point into if it is not the file: the value of a key that is written
    /// in quotes or folded, whose lines are not those of the file.
    pub value: Option<String>,
}

/// A file of manifests without a `ConfigMap` that holds a configuration. Its text says what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoConfiguration {
    /// There are objects of `MetalLB` 0.13 or later, of this kind.
    metallbs: Option<String>,
}

impl fmt::Display for NoConfiguration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.metallbs {
            None => write!(f, "no ConfigMap with key `{CONFIG_KEY}` in it"),
            Some(kind) => write!(
                f,
                "no ConfigMap with key `{CONFIG_KEY}` in it, but MetalLB's objects ({kind}): kubectl \
                 ferrolb migrate FILE writes the ConfigMap that says the same"
            ),
        }
    }
}

impl std::error::Error for NoConfiguration {}

/// What a file says, in both forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedFile {
    /// Each `ConfigMap` with a configuration, or the bare configuration.
    pub configurations: Vec<Checked>,
    /// What `MetalLB`'s objects in it come to, together with those of the other files; `None` if there are none.
    /// Pools and findings are those of this file alone. Places are those in the file.
    pub objects: Option<Compiled>,
}

/// A file that is checked, perhaps together with others.
#[derive(Debug, Clone, Copy)]
pub struct ManifestFile<'t> {
    /// What to call it in what is said of other files.
    pub name: &'t str,
    /// What it holds.
    pub text: &'t str,
    /// The namespace whose objects are read. Objects without one count as its own, as they would with
    /// `kubectl apply -n`.
    pub namespace: &'t str,
}

/// Reads a file as [`check_file`] does, and `MetalLB`'s objects in it, as [`check_all_manifests`] does.
///
/// # Errors
/// If it holds manifests, and nothing in them is a configuration.
pub fn check_manifests(text: &str, namespace: &str) -> Result<CheckedFile, NoConfiguration> {
    let file = ManifestFile {
        name: "",
        text,
        namespace,
    };
    let mut checked = check_all_manifests(&[file]);
    checked.pop().expect("one for each file")
}

/// Reads files that are applied to one cluster, each as [`check_file`] does. Objects of one namespace are taken
/// together, whichever file they stand in: an advertisement in one file is for pools in another.
#[must_use]
pub fn check_all_manifests(
    files: &[ManifestFile<'_>],
) -> Vec<Result<CheckedFile, NoConfiguration>> {
    let mut compiled = compiled(files);
    let check = |(index, file): (usize, &ManifestFile<'_>)| {
        let objects = compiled.remove(&index);
        let configurations = match check_file(file.text) {
            Ok(configurations) => configurations,
            Err(_) if objects.is_some() => Vec::new(),
            Err(error) => return Err(error),
        };
        Ok(CheckedFile {
            configurations,
            objects,
        })
    };
    files.iter().enumerate().map(check).collect()
}

/// What the objects of each file come to, by its index; none for a file without.
fn compiled(files: &[ManifestFile<'_>]) -> BTreeMap<usize, Compiled> {
    let documents: Vec<Vec<Node>> = files
        .iter()
        .map(|file| tree::load(file.text).unwrap_or_default())
        .collect();
    let names = files.iter().map(|file| Arc::from(file.name));
    let names: Vec<Arc<str>> = names.collect();
    let mut compiled = BTreeMap::new();
    let namespaces: BTreeSet<&str> = files.iter().map(|file| file.namespace).collect();
    for namespace in namespaces {
        let of_it = files.iter().enumerate();
        let of_it: Vec<_> = of_it
            .filter(|(_, one)| one.namespace == namespace)
            .collect();
        let found = of_it.iter().flat_map(|(index, file)| {
            let file = InFile {
                index: *index,
                name: (files.len() > 1).then_some(&names[*index]),
                text: file.text,
            };
            let objects = documents[*index].iter().flat_map(objects);
            objects.map(move |object| (file, object))
        });
        let read = objects_of_metallb(found, namespace);
        let all: BTreeSet<usize> = read.files;
        let home = read.objects.iter();
        let home = home.map(|(index, one)| (one.object().clone(), *index));
        let home: BTreeMap<ObjectRef, usize> = home.collect();
        let objects = read.objects.into_iter().map(|(_, one)| one).collect();
        let together = Objects::new(namespace.to_owned()).compile_read(objects);
        for index in all {
            let is_of_it = |object: &ObjectRef| home.get(object) == Some(&index);
            let pools = home.iter().filter(|(_, home)| **home == index);
            let pools = pools.filter(|(object, _)| {
                object.kind == Kind::IpAddressPool && object.namespace == namespace
            });
            let pools: BTreeSet<&str> = pools.map(|(object, _)| object.name.as_str()).collect();
            let mut part = together.clone();
            part.config
                .pools
                .retain(|pool| pools.contains(pool.name.as_str()));
            part.findings.retain(|finding| is_of_it(&finding.object));
            compiled.insert(index, part);
        }
    }
    compiled
}

/// What the objects of a file come to once they are applied to those that are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// What all of them come to. Places are those in the file, or in the object.
    pub compiled: Compiled,
    /// The objects of the file, without their uids.
    pub named: BTreeSet<ObjectRef>,
    /// How many `IPAddressPool`s there are then in the namespace, good or bad.
    pub pools: usize,
}

/// Applies the objects of a file to those that are `there`, as `kubectl apply -n` with that namespace does.
/// `objects` has compiled these before. `None` if the file has no objects of `MetalLB`'s.
pub fn apply_manifests(
    objects: &mut Objects,
    text: &str,
    namespace: &str,
    there: &[ObjectView],
) -> Option<Applied> {
    let documents = tree::load(text).ok()?;
    let file = InFile {
        index: 0,
        name: None,
        text,
    };
    let found = documents.iter().flat_map(self::objects);
    let found = objects_of_metallb(found.map(|object| (file, object)), namespace);
    let mut read: Vec<Read> = found.objects.into_iter().map(|(_, one)| one).collect();
    if read.is_empty() {
        return None;
    }
    let anonymous = |object: &ObjectRef| ObjectRef {
        uid: String::new(),
        ..object.clone()
    };
    let named: BTreeSet<_> = read.iter().map(|one| anonymous(one.object())).collect();
    let mut others = Vec::new();
    for view in there {
        let object = view.object_ref();
        let mut edited = read
            .iter_mut()
            .filter(|one| anonymous(one.object()) == anonymous(&object));
        match edited.next() {
            Some(edited) => edited.replaces(view),
            None => others.push(Read::of(view)),
        }
    }
    let is_new = |one: &Read| one.object().uid.is_empty();
    read.iter_mut()
        .filter(|one| is_new(one))
        .for_each(Read::is_the_youngest);
    read.extend(others);
    let is_pool = |one: &&Read| {
        let object = one.object();
        object.kind == Kind::IpAddressPool && object.namespace == namespace
    };
    Some(Applied {
        pools: read.iter().filter(is_pool).count(),
        compiled: objects.compile_read(read),
        named,
    })
}

/// The file that an object stands in.
#[derive(Clone, Copy)]
struct InFile<'t> {
    index: usize,
    /// If there are several.
    name: Option<&'t Arc<str>>,
    text: &'t str,
}

/// `MetalLB`'s objects of several files.
struct FoundObjects {
    /// Each with the index of its file.
    objects: Vec<(usize, Read)>,
    /// The files that have any.
    files: BTreeSet<usize>,
}

/// Of two of one name the later one: it is the one that would be applied last.
fn objects_of_metallb<'n>(
    found: impl Iterator<Item = (InFile<'n>, &'n Node)>,
    namespace: &str,
) -> FoundObjects {
    let mut read: BTreeMap<ObjectRef, (Place, usize, Read)> = BTreeMap::new();
    let mut files = BTreeSet::new();
    for (file, object) in found {
        let Some((manifest, mut report)) = manifest_of(object, file, namespace) else {
            continue;
        };
        files.insert(file.index);
        let (key, place) = (manifest.object.clone(), report.place(&manifest.place));
        if let Some((first, ..)) = read.get(&key) {
            let message = format!("the same object is already there {}", report.beside(first));
            report.warn(&place, message, "remove one of the two: this one counts");
        }
        read.insert(key, (place, file.index, Read::from(manifest, report)));
    }
    let objects = read.into_values().map(|(_, index, read)| (index, read));
    FoundObjects {
        objects: objects.collect(),
        files,
    }
}

fn manifest_of<'n, 't>(
    object: &'n Node,
    file: InFile<'t>,
    namespace: &str,
) -> Option<(Manifest<'n>, Report<'t>)> {
    let kind = kind_of_metallb(object).and_then(Kind::of)?;
    let metadata = object.get("metadata");
    let text_of = |key: &str| {
        metadata
            .and_then(|node| word(node, key))
            .filter(|text| !text.is_empty())
    };
    let name = metadata.and_then(|node| node.get("name"));
    let place = name.map_or_else(|| object.headline(), Node::headline);
    let report = Report::new(file.text, &Origin::Whole).open();
    let mut report = report.in_file(file.name);
    if text_of("name").is_none() {
        report.add(
            &place,
            format!("the {kind} has no name"),
            "write `name: NAME` under `metadata:`",
        );
    }
    let labels = match metadata
        .and_then(|node| node.get("labels"))
        .map(|node| &node.value)
    {
        Some(Value::Map(entries)) => entries
            .iter()
            .filter_map(|(key, value)| Some((&key.scalar()?.text, &value.scalar()?.text)))
            .collect(),
        _ => Labels::default(),
    };
    let manifest = Manifest {
        object: ObjectRef {
            kind,
            namespace: text_of("namespace").unwrap_or(namespace).to_owned(),
            name: text_of("name").unwrap_or_default().to_owned(),
            uid: String::new(),
        },
        version: word(object, "apiVersion").unwrap_or_default(),
        created: 0,
        labels,
        annotations: metadata.and_then(|node| node.get("annotations")),
        spec: object.get("spec").filter(|spec| !spec.is_null()),
        place,
    };
    Some((manifest, report))
}

/// Reads a file: every `ConfigMap` in it with key `config` (in any of its documents, also in a
/// `kind: List`), values for the chart, or the bare configuration. Positions in problems are those in
/// the file. A `ConfigMap` whose key has another name and which holds pools is not configured.
///
/// # Errors
/// If it holds manifests, and none of them is such a `ConfigMap`.
pub fn check_file(text: &str) -> Result<Vec<Checked>, NoConfiguration> {
    // What is no YAML is no manifest either; reading it as a configuration tells why.
    let Ok(documents) = tree::load(text) else {
        return Ok(vec![bare(text)]);
    };
    let objects: Vec<&Node> = documents.iter().flat_map(objects).collect();
    if objects.is_empty() {
        let inline = documents.iter().find_map(inline_of_chart);
        return Ok(vec![
            inline.map_or_else(|| bare(text), |inline| in_values(inline, text)),
        ]);
    }
    let checked = objects.iter().filter_map(|object| check(object, text));
    let checked: Vec<_> = checked.collect();
    if checked.is_empty() {
        let metallbs = objects.iter().filter_map(|object| kind_of_metallb(object));
        Err(NoConfiguration {
            metallbs: metallbs.map(str::to_owned).next(),
        })
    } else {
        Ok(checked)
    }
}

fn bare(text: &str) -> Checked {
    let (outcome, warnings) = parse_with_warnings(text);
    Checked {
        object: None,
        outcome,
        warnings,
        value: None,
    }
}

/// `configInline` of the chart's values, also where the chart is part of another one.
fn inline_of_chart(values: &Node) -> Option<&Node> {
    let inline = |node: &Node| node.get(INLINE).is_some();
    if inline(values) {
        return values.get(INLINE);
    }
    let Value::Map(entries) = &values.value else {
        return None;
    };
    let of_part = entries
        .iter()
        .map(|(_, part)| part)
        .find(|part| inline(part));
    of_part.and_then(|part| part.get(INLINE))
}

fn in_values(inline: &Node, text: &str) -> Checked {
    let mut report = Report::new(text, &Origin::Whole);
    let config = if inline.is_null() {
        Config::default()
    } else {
        root_fields(inline, &mut report)
    };
    let (outcome, warnings) = judged(config, report);
    Checked {
        object: None,
        outcome,
        warnings,
        value: None,
    }
}

fn kind_of_metallb(object: &Node) -> Option<&str> {
    let version = word(object, "apiVersion")?;
    let rest = version.strip_prefix(Kind::GROUP)?;
    rest.starts_with('/')
        .then(|| word(object, "kind"))
        .flatten()
}

/// The manifests in a document.
fn objects(document: &Node) -> Vec<&Node> {
    let is_object = document.get("kind").is_some() && document.get("apiVersion").is_some();
    match document.get("items").map(|items| &items.value) {
        _ if !is_object => Vec::new(),
        Some(Value::List(items)) => items.iter().flat_map(objects).collect(),
        _ => vec![document],
    }
}

fn word<'n>(node: &'n Node, key: &str) -> Option<&'n str> {
    Some(node.get(key)?.scalar()?.text.as_str())
}

fn check(object: &Node, text: &str) -> Option<Checked> {
    if word(object, "kind") != Some("ConfigMap") {
        return None;
    }
    let metadata = object.get("metadata");
    let name = ObjectName {
        namespace: metadata
            .and_then(|node| word(node, "namespace"))
            .map(str::to_owned),
        name: metadata
            .and_then(|node| word(node, "name"))
            .unwrap_or_default()
            .to_owned(),
    };
    let data = object.get("data")?;
    let Some(value) = data.get(CONFIG_KEY) else {
        // As the daemons say it of theirs. Other ConfigMaps are no concern of ours.
        return keys_with_pools(data).map(|keys| Checked {
            object: Some(name),
            outcome: Outcome::NotConfigured(NotConfigured::NoKey(keys)),
            warnings: None,
            value: None,
        });
    };
    let (outcome, warnings, value) = check_value(value, text);
    Some(Checked {
        object: Some(name),
        outcome,
        warnings,
        value,
    })
}

/// The keys whose values look like a configuration.
fn keys_with_pools(data: &Node) -> Option<Vec<String>> {
    let Value::Map(entries) = &data.value else {
        return None;
    };
    let has_pools = |value: &Node| match value.scalar() {
        Some(scalar) => scalar
            .text
            .lines()
            .any(|line| line.trim_start_matches('\u{feff}').starts_with(POOLS)),
        None => value.get(POOLS).is_some(),
    };
    let keys: Vec<_> = entries
        .iter()
        .filter(|(_, value)| has_pools(value))
        .filter_map(|(key, _)| Some(key.scalar()?.text.clone()))
        .collect();
    (!keys.is_empty()).then_some(keys)
}

fn check_value(value: &Node, text: &str) -> (Outcome, Warnings, Option<String>) {
    if value.is_null() {
        return (Outcome::NotConfigured(NotConfigured::Empty), None, None);
    }
    let Some(scalar) = value.scalar() else {
        let mut report = Report::new(text, &Origin::Whole);
        report.add(
            &value.headline(),
            format!("`{CONFIG_KEY}` must be a text, not {}", value.kind()),
            format!("write `{CONFIG_KEY}: |` and leave the lines below indented"),
        );
        let (outcome, warnings) = judged(Config::default(), report);
        return (outcome, warnings, None);
    };
    let origin = (scalar.style == Style::Literal)
        .then(|| Origin::of_literal(&scalar.text, text, value.span.start))
        .flatten();
    match origin {
        Some(origin) => {
            let (outcome, warnings) = parse_within(&scalar.text, text, &origin);
            (outcome, warnings, None)
        }
        None => {
            let (outcome, warnings) = parse_with_warnings(&scalar.text);
            (outcome, warnings, Some(scalar.text.clone()))
        }
    }
}
