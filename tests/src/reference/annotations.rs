//! Annotations, from the tables that their readers take them from, with what stands above their names.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use ferrolb_core::annotations::{ALL, OF_OBJECTS, OUR_PREFIX, On};
use ferrolb_core::config::keys;
use ferrolb_core::names::ANNOTATION_PREFIXES;

use super::source::documented_constants;
use super::{cell, meaning, page, read};

/// A part of the page: on what, and what is to be said of it.
const PARTS: [(&str, On, &str); 3] = [
    (
        "On a Service",
        On::Service,
        "Those that begin with `metallb.io/` may begin with `metallb.universe.tf/` as well; if both are there, `metallb.io/` counts. \
         Any other annotation under one of these prefixes, or under `ferrolb.io/`, is told in the Event `UnknownAnnotation`.",
    ),
    (
        "On a Namespace",
        On::Namespace,
        "It counts for all pods in it.",
    ),
    (
        "On the Deployment and the DaemonSet",
        On::Daemons,
        "For people, and for `kubectl ferrolb check`.",
    ),
];

pub(super) fn annotations() -> Result<String> {
    let mut text = page(
        "Annotations",
        "Every annotation that FerroLB reads or writes. [Configure](../configure.md#what-a-service-can-ask-for) explains what to use when. \
         Annotations of Nodes are not read.",
    );
    let names = documented_constants(&read("core/src/names.rs")?);
    let documented: BTreeMap<_, _> = names.into_iter().collect();
    for (title, on, about) in PARTS {
        let _ = writeln!(
            text,
            "## {title}\n\n{about}\n\n| annotation | value | read by | written by | meaning |\n| --- | --- | --- | --- | --- |"
        );
        for one in ALL.iter().filter(|one| one.on.contains(&on)) {
            let about = documented.get(one.name).map_or("", String::as_str);
            let about = meaning(one.name, about)?;
            let prefix = match one.name.starts_with(OUR_PREFIX) {
                true => "",
                false => ANNOTATION_PREFIXES[0],
            };
            let (value, reader, writer) = (cell(one.value), one.reader, one.writer);
            let _ = writeln!(
                text,
                "| `{prefix}{}` | {value} | {reader} | {writer} | {about} |",
                one.name
            );
        }
        text.push('\n');
    }
    text += &of_objects()?;
    Ok(text)
}

fn of_objects() -> Result<String> {
    let mut text = format!(
        "## On MetalLB's objects\n\nWhat is FerroLB's own, with the meaning of the [key of a pool](config.md#address-pools) that is called \
         so. The controller reads them; you or `kubectl ferrolb migrate` write them. Any other annotation under `{OUR_PREFIX}` \
         is a warning.\n\n| annotation | on | value | meaning |\n| --- | --- | --- | --- |\n"
    );
    let mut mappings = keys::ALL.iter();
    let pool = mappings.find(|mapping| mapping.place == "address-pools[]");
    let pool = pool.context("no keys of a pool")?;
    for one in OF_OBJECTS {
        let key = pool.keys.iter().find(|key| key.name == one.key);
        let key = key.with_context(|| format!("a pool has no key {}", one.key))?;
        let about = meaning(one.key, key.meaning)?;
        let (kind, value) = (one.kind, cell(one.value));
        let _ = writeln!(
            text,
            "| `{OUR_PREFIX}{}` | {kind} | {value} | {about} |",
            one.key
        );
    }
    Ok(text)
}
