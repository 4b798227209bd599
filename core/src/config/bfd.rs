//! `bfd-profiles`.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::fields::{Fields, boolean, integer, list, report_duplicate, text};
use super::place::Span;
use super::problem::Report;
use super::tree::Node;
use super::{BfdProfile, keys};

/// How [`settings`] are written in a `ConfigMap`.
const OF_TEXT: [&str; 7] = [
    "receive-interval",
    "transmit-interval",
    "echo-interval",
    "detect-multiplier",
    "minimum-ttl",
    "echo-mode",
    "passive-mode",
];
/// In an object.
pub(super) const OF_OBJECT: [&str; 7] = [
    "receiveInterval",
    "transmitInterval",
    "echoInterval",
    "detectMultiplier",
    "minimumTtl",
    "echoMode",
    "passiveMode",
];

const INTERVAL_MILLIS: RangeInclusive<u32> = 10..=60_000;

/// The profiles with their names' places.
pub(super) fn profiles(node: &Node, report: &mut Report<'_>) -> Vec<BfdProfile> {
    let mut places: BTreeMap<String, Span> = BTreeMap::new();
    let mut profiles = Vec::new();
    for item in list(node, "bfd-profiles", report) {
        let Some((profile, place)) = profile(item, report) else {
            continue;
        };
        match places.get(&profile.name) {
            Some(first) => report_duplicate(place, &profile.name, first, report),
            None => {
                places.insert(profile.name.clone(), place.span.clone());
                profiles.push(profile);
            }
        }
    }
    profiles
}

fn profile<'n>(node: &'n Node, report: &mut Report<'_>) -> Option<(BfdProfile, &'n Node)> {
    let fields = Fields::read(node, "a BFD profile", keys::BFD_PROFILE, report)?;
    let help = "write `name: NAME`; peers refer to it by `bfd-profile: NAME`";
    let name_node = fields.require("name", help, report);
    let read = settings(&fields, OF_TEXT, report);
    let name_node = name_node?;
    let name = text(name_node, "name", report)?;
    if name.is_empty() {
        report.add(&name_node.span, "a BFD profile's name is blank", help);
        return None;
    }
    let profile = BfdProfile {
        name: name.to_owned(),
        ..read
    };
    Some((profile, name_node))
}

/// What a profile says besides its name.
pub(super) fn settings(
    fields: &Fields<'_>,
    keys: [&'static str; 7],
    report: &mut Report<'_>,
) -> BfdProfile {
    let [receive, transmit, echo, multiplier, ttl, echo_mode, passive] = keys;
    let mut interval = |key| {
        let millis = integer(fields.get(key)?, key, INTERVAL_MILLIS, report)?;
        Some(Duration::from_millis(u64::from(millis)))
    };
    let receive_interval = interval(receive);
    let transmit_interval = interval(transmit);
    let echo_interval = interval(echo);
    let mut byte = |key, range| integer(fields.get(key)?, key, range, report);
    let detect_multiplier = byte(multiplier, 2..=255);
    let minimum_ttl = byte(ttl, 1..=254);
    let mut mode = |key| {
        fields
            .get(key)
            .and_then(|node| boolean(node, key, report))
            .unwrap_or(false)
    };
    BfdProfile {
        name: String::new(),
        receive_interval,
        transmit_interval,
        echo_interval,
        detect_multiplier,
        minimum_ttl,
        echo_mode: mode(echo_mode),
        passive_mode: mode(passive),
    }
}
