//! The user's configuration: `MetalLB`'s `ConfigMap` schema (0.9 to 0.12) with our additions.
//!
//! ```text
//! text ─▶ tree (YAML with places) ─▶ pool, peer, bfd, … ─▶ Config
//!              └─ syntax ──────────────────┴─▶ Report ─▶ Problems ─▶ render, event_message
//! ```
//!
//! [`parse`] reads the value of the `ConfigMap`'s key, [`of_data`] finds the key first, and
//! [`check_manifests`] finds `ConfigMap`s and `MetalLB`'s objects in a file of manifests. [`objects`] reads
//! those of the API. Strict, and everything that is wrong
//! is found at once: each part is read as far as it can be, and each that cannot is reported with
//! its place and what to write instead.
//!
//! What `MetalLB` accepted is accepted with the same meaning: host bits in a prefix are masked
//! off, `name: 123` is a text, `yes` is true. Differences by intent: a bare address is a range of
//! one (it was refused), a range from IPv4 to IPv6 is refused (it was an empty pool), and so are a
//! second YAML document (it was ignored) and numbers with a fraction (they were cut off).

use std::collections::BTreeMap;
use std::fmt;

mod address;
mod advertisement;
mod bfd;
mod bgp;
mod duration;
mod entries;
mod fields;
pub mod keys;
mod manifest;
mod model;
pub mod objects;
mod overlap;
mod paths;
mod peer;
mod place;
mod pool;
mod possible;
mod preferred;
mod problem;
mod render;
mod router;
mod selector;
mod syntax;
mod text_file;
mod tree;

pub use advertisement::*;
pub use keys::POOL as POOL_KEYS;
pub use manifest::{
    Applied, Checked, CheckedFile, ManifestFile, NoConfiguration, ObjectName, apply_manifests,
    check_all_manifests, check_file, check_manifests,
};
pub use model::*;
pub use place::Place;
pub use problem::{Problem, Problems};
pub use router::*;
pub use text_file::{NotText, text_of};

use self::fields::Fields;
use self::place::Origin;
use self::pool::Pools;
use self::problem::Report;
use self::tree::Node;
use crate::Reason;
use crate::names::CONFIG_KEY;

/// The API server refuses a larger `ConfigMap`.
const MAX_BYTES: usize = 1024 * 1024;

/// What a `ConfigMap` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Put this in force.
    Valid(Config),
    /// Put this in force: it is what the text says without the addresses that no host can have. They
    /// were accepted once, and a text that was in force has to stay so.
    Partly(Config, Problems),
    /// Nothing is wrong, but nothing is there yet: no pools.
    NotConfigured(NotConfigured),
    /// What is in force stays.
    Refused(Problems),
}

impl Outcome {
    /// Why there is no configuration in it; `None` if there is one.
    #[must_use]
    pub const fn reason(&self) -> Option<Reason> {
        match self {
            Self::Valid(_) => None,
            Self::Partly(..) => Some(Reason::AddressesLeftOut),
            Self::NotConfigured(_) => Some(Reason::NotConfigured),
            Self::Refused(_) => Some(Reason::ConfigRefused),
        }
    }

    /// What to put in force; `None` if what is in force stays.
    #[must_use]
    pub fn in_force(self) -> Option<Config> {
        match self {
            Self::Valid(config) | Self::Partly(config, _) => Some(config),
            Self::NotConfigured(NotConfigured::Empty) => Some(Config::default()),
            Self::NotConfigured(_) | Self::Refused(_) => None,
        }
    }
}

/// What a configuration waits for. Its text says what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotConfigured {
    /// The `ConfigMap` has no key `config`, but these. For `MetalLB` that was a configuration
    /// without pools; a slip in the key's name is no wish to take every address away.
    NoKey(Vec<String>),
    /// The value is blank or names no pools. As with `MetalLB`, that is a valid configuration
    /// without pools: it replaces the one in force.
    Empty,
    /// minikube's template with blank addresses. `MetalLB` refused it: what is in force stays.
    Unfilled,
}

impl fmt::Display for NotConfigured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKey(keys) if keys.is_empty() => {
                write!(
                    f,
                    "no addresses yet: write pools into key `{CONFIG_KEY}` of the ConfigMap"
                )
            }
            Self::NoKey(keys) => write!(
                f,
                "no addresses yet: the ConfigMap has no key `{CONFIG_KEY}`; rename `{}` if it holds \
                 the pools",
                keys.join("`, `")
            ),
            Self::Empty => write!(f, "no addresses yet: write a pool under `address-pools`"),
            Self::Unfilled => write!(f, "no addresses yet: run minikube addons configure metallb"),
        }
    }
}

/// What [`Outcome::Refused`] means for who writes the text.
pub const NONE_IN_FORCE: &str = "none of it would take effect";
/// What [`Outcome::Partly`] means for who writes the text.
pub const REST_IN_FORCE: &str =
    "addresses that no host can have would be left out, the rest would take effect";

/// What is accepted, and probably not meant; `None` if there is nothing, or if nothing is accepted.
pub type Warnings = Option<Problems>;

/// Reads the `data` of the `ConfigMap`.
#[must_use]
pub fn of_data(data: Option<&BTreeMap<String, String>>) -> Outcome {
    of_data_with_warnings(data).0
}

/// The same, and what is probably not meant.
#[must_use]
pub fn of_data_with_warnings(data: Option<&BTreeMap<String, String>>) -> (Outcome, Warnings) {
    let value = data.and_then(|data| data.get(CONFIG_KEY));
    value.map_or_else(
        || {
            let keys = data
                .into_iter()
                .flat_map(|data| data.keys().cloned())
                .collect();
            (Outcome::NotConfigured(NotConfigured::NoKey(keys)), None)
        },
        |text| parse_with_warnings(text),
    )
}

/// Reads the value of the `ConfigMap`'s key. Positions in problems are those in `text`.
#[must_use]
pub fn parse(text: &str) -> Outcome {
    parse_with_warnings(text).0
}

/// The same, and what is probably not meant.
#[must_use]
pub fn parse_with_warnings(text: &str) -> (Outcome, Warnings) {
    parse_within(text, text, &Origin::Whole)
}

/// Reads `text`, which stands in `outer` as `origin` says. Positions are those in `outer`.
fn parse_within(text: &str, outer: &str, origin: &Origin) -> (Outcome, Warnings) {
    let mut report = Report::new(outer, origin);
    let config = read(text, &mut report);
    judged(config, report)
}

fn judged(config: Config, report: Report<'_>) -> (Outcome, Warnings) {
    if report.is_only_unfilled() {
        return (Outcome::NotConfigured(NotConfigured::Unfilled), None);
    }
    let judgement = report.finish();
    match (judgement.problems, judgement.left_out) {
        (Some(problems), _) => (Outcome::Refused(problems), None),
        (None, Some(left_out)) => (Outcome::Partly(config, left_out), judgement.warnings),
        (None, None) if config == Config::default() => {
            (Outcome::NotConfigured(NotConfigured::Empty), None)
        }
        (None, None) => (Outcome::Valid(config), judgement.warnings),
    }
}

fn read(text: &str, report: &mut Report<'_>) -> Config {
    if text.len() > MAX_BYTES {
        let message = format!("larger than {MAX_BYTES} bytes, the most a ConfigMap holds");
        report.add(
            &(0..0_usize),
            message,
            "write addresses as ranges or prefixes",
        );
        return Config::default();
    }
    match tree::load(text) {
        Ok(documents) => {
            let mut documents = documents.iter().filter(|document| !document.is_null());
            let root = documents.next();
            for extra in documents {
                report.add(
                    &extra.headline(),
                    "a second YAML document, which would be ignored",
                    "remove the line `---` above, so that all of it is one document",
                );
            }
            root.map(|root| root_fields(root, report))
                .unwrap_or_default()
        }
        Err(error) => {
            for span in &error.spans {
                report.add(span, error.message.as_str(), error.help.as_str());
            }
            Config::default()
        }
    }
}

fn root_fields(root: &Node, report: &mut Report<'_>) -> Config {
    if root.get("kind").is_some() && root.get("apiVersion").is_some() {
        report.add(
            &root.headline(),
            "a whole manifest instead of a configuration",
            format!("leave only what belongs under key `{CONFIG_KEY}`: `address-pools:` and so on"),
        );
        return Config::default();
    }
    let Some(fields) = Fields::read(root, "the configuration", keys::ROOT, report) else {
        return Config::default();
    };
    let communities = fields.get("bgp-communities");
    let communities = communities
        .map(|node| bgp::communities(node, report))
        .unwrap_or_default();
    let bfd_profiles = fields.get("bfd-profiles");
    let bfd_profiles = bfd_profiles
        .map(|node| bfd::profiles(node, report))
        .unwrap_or_default();
    let peers = fields.get("peers");
    let peers = peers
        .map(|node| peer::peers(node, &bfd_profiles, report))
        .unwrap_or_default();
    let pools = fields.get("address-pools");
    let Pools { pools, layer2, bgp } = pools
        .map(|node| pool::pools(node, &communities, report))
        .unwrap_or_default();
    Config {
        pools,
        layer2,
        bgp,
        peers,
        bfd_profiles,
    }
}

#[cfg(test)]
mod tests;
