//! `bfd-profiles`.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::BfdProfile;
use super::fields::{Fields, boolean, integer, list, report_duplicate, text};
use super::place::Span;
use super::problem::Report;
use super::tree::Node;

const KEYS: [&str; 8] = [
    "name",
    "receive-interval",
    "transmit-interval",
    "echo-interval",
    "detect-multiplier",
    "minimum-ttl",
    "echo-mode",
    "passive-mode",
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
    let fields = Fields::read(node, "a BFD profile", &KEYS, report)?;
    let help = "write `name: NAME`; peers refer to it by `bfd-profile: NAME`";
    let name_node = fields.require("name", help, report);
    let mut interval = |key| {
        let millis = integer(fields.get(key)?, key, INTERVAL_MILLIS, report)?;
        Some(Duration::from_millis(u64::from(millis)))
    };
    let receive_interval = interval("receive-interval");
    let transmit_interval = interval("transmit-interval");
    let echo_interval = interval("echo-interval");
    let mut byte = |key, range| integer(fields.get(key)?, key, range, report);
    let detect_multiplier = byte("detect-multiplier", 2..=255);
    let minimum_ttl = byte("minimum-ttl", 1..=254);
    let mut mode = |key| {
        fields
            .get(key)
            .and_then(|node| boolean(node, key, report))
            .unwrap_or(false)
    };
    let (echo_mode, passive_mode) = (mode("echo-mode"), mode("passive-mode"));
    let name_node = name_node?;
    let name = text(name_node, "name", report)?;
    if name.is_empty() {
        report.add(&name_node.span, "a BFD profile's name is blank", help);
        return None;
    }
    let profile = BfdProfile {
        name: name.to_owned(),
        receive_interval,
        transmit_interval,
        echo_interval,
        detect_multiplier,
        minimum_ttl,
        echo_mode,
        passive_mode,
    };
    Some((profile, name_node))
}
