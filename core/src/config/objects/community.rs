//! `Community`: names for BGP communities.

use super::annotations::Annotations;
use super::read::{Community, Manifest, Said};
use super::values::spec;
use crate::config::bgp::{COMMUNITY_FORM, community, large_community};
use crate::config::fields::{Fields, list, text};
use crate::config::place::At;
use crate::config::problem::{Report, quoted};

pub(super) fn read(manifest: &Manifest<'_>, report: &mut Report<'_>) -> Option<Said> {
    let key = "communities";
    let fields = spec(manifest, "a Community", &[key], report)?;
    Annotations::read(manifest, report);
    let items = fields
        .get(key)
        .map_or(&[][..], |node| list(node, key, report));
    let mut communities: Vec<(String, Community, _)> = Vec::new();
    for item in items {
        let what = format!("an entry of `{key}`");
        let Some(fields) = Fields::read(item, &what, &["name", "value"], report) else {
            continue;
        };
        let name = fields.require("name", "write `name: NAME`", report);
        let value = fields.require("value", COMMUNITY_FORM, report);
        let (Some(name), Some(value)) = (name, value) else {
            continue;
        };
        let texts = (text(name, "name", report), text(value, "value", report));
        let (Some(word), Some(number)) = texts else {
            continue;
        };
        if word.is_empty() {
            report.add(
                &name.span,
                "a community's name is blank",
                "write `name: NAME`",
            );
        }
        if communities.iter().any(|(have, ..)| have == word) {
            let message = format!("{} is already defined here", quoted(word));
            report.add(&name.span, message, "remove one of the two");
        }
        if let Some(community) = value_of(number, &value.span, report) {
            communities.push((word.to_owned(), community, report.place(&name.span)));
        }
    }
    Some(Said::Communities(communities))
}

fn value_of(text: &str, at: &dyn At, report: &mut Report<'_>) -> Option<Community> {
    let value = number(text);
    if value.is_none() {
        let message = format!("{} is not a BGP community", quoted(text));
        report.add(at, message, COMMUNITY_FORM);
    }
    value
}

/// `64512:100` or `large:64512:1:2`.
pub(super) fn number(text: &str) -> Option<Community> {
    let large = || large_community(text).map(Community::Large);
    community(text).map(Community::Plain).or_else(large)
}
