//! The compiled object: what is in force, as the leading controller writes it into one `ConfigMap`. Speakers
//! read it, and so does a controller that starts.
//!
//! | key | |
//! | --- | --- |
//! | `mark` | the `ConfigMap`'s own `metadata.uid` |
//! | `source` | `configmap` or `objects`: where it comes from |
//! | `schema` | the version of what follows; another one is not read |
//! | `hash` | of `config`, so that an edit by hand does nothing |
//! | `config` | the configuration in JSON, without passwords; without BGP if it would not fit with it |
//! | `ignored`, `orphaned` | what the controller has to remember: see [`Memory`] |
//!
//! **The mark.** Speakers may create `ConfigMap`s in this namespace, each with whatever it likes in it, labels
//! and managed fields included, and all of them are one account: a speaker in wrong hands could be the first
//! to create this one. What nobody can say of a `ConfigMap` that is yet to be made is its uid: the API server
//! gives it at random when it creates the object. So one that holds its own uid was changed after it had been
//! created, and that right the controller has alone. Without that mark it is as if it were not there.
//! `mark` and `source` mean the same in every schema.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Deserialize as _;
use sha2::{Digest as _, Sha256};

use crate::Reason;
use crate::alloc::Refusal;
use crate::config::Config;
use crate::source::{Memory, Source};

/// To be raised when a reader of before would misunderstand: a key that is left out means what it meant
/// before there was such a key.
const SCHEMA: &str = "1";
/// The API server takes a `ConfigMap` of 1 MiB, with its metadata.
pub const MOST_BYTES: usize = 900 * 1024;

const MARK: &str = "mark";
const SOURCE: &str = "source";
const SCHEMA_KEY: &str = "schema";
const HASH: &str = "hash";
const CONFIG: &str = "config";
const IGNORED: &str = "ignored";
const ORPHANED: &str = "orphaned";
/// What is removed if it is there and does not apply.
const OPTIONAL: [&str; 2] = [IGNORED, ORPHANED];

/// What the compiled object says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiled {
    /// Where the configuration comes from, and what has to be remembered of the other source.
    pub memory: Memory,
    /// What is in force. BGP passwords are empty.
    pub config: Config,
}

/// Why a compiled object is not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unread {
    /// The controller has not written it: it is as the chart creates it, or somebody else made it.
    Unmarked,
    /// It is the controller's, and of another version of `FerroLB`, or was edited by hand.
    Unusable {
        /// Where it comes from, if that can be read: the other source does not count.
        source: Option<Source>,
        /// For people.
        why: String,
    },
}

impl Unread {
    /// What to say of it, if there is something to say.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Unmarked => None,
            Self::Unusable { why, .. } => {
                let text = format!("the compiled configuration is ignored: {why}");
                Some(Refusal::new(Reason::CompiledIgnored, text))
            }
        }
    }
}

/// The `data` to write into the `ConfigMap` with this uid; what is null is removed.
///
/// # Errors
/// It is larger than [`MOST_BYTES`] ([`Reason::ConfigTooLarge`]).
pub fn write(compiled: &Compiled, uid: &str) -> Result<BTreeMap<String, Option<String>>, Refusal> {
    let config = text_of(&compiled.config)?;
    let Memory {
        source,
        ignored,
        orphaned,
    } = &compiled.memory;
    let mut data: BTreeMap<String, Option<String>> = BTreeMap::new();
    let mut set = |key: &str, value: Option<String>| data.insert(key.to_owned(), value);
    for key in OPTIONAL {
        set(key, None);
    }
    set(MARK, Some(uid.to_owned()));
    set(SOURCE, Some(source.as_str().to_owned()));
    set(SCHEMA_KEY, Some(SCHEMA.to_owned()));
    set(HASH, Some(hash_of(&config)));
    set(CONFIG, Some(config));
    if let Some(ignored) = ignored {
        set(IGNORED, Some(ignored.clone()));
    }
    if *orphaned {
        set(ORPHANED, Some("true".to_owned()));
    }
    Ok(data)
}

/// Whether a compiled object of `config` is small enough.
///
/// # Errors
/// It is not ([`Reason::ConfigTooLarge`]).
pub fn check_size(config: &Config) -> Result<(), Refusal> {
    text_of(config).map(drop)
}

/// Whether `data` says already what `wanted` would change it to.
#[must_use]
pub fn says(data: &BTreeMap<String, String>, wanted: &BTreeMap<String, Option<String>>) -> bool {
    wanted
        .iter()
        .all(|(key, value)| data.get(key) == value.as_ref())
}

/// Reads the `data` of the `ConfigMap` with this uid.
///
/// # Errors
/// Why it cannot be read, or must not be.
pub fn read(data: &BTreeMap<String, String>, uid: &str) -> Result<Compiled, Unread> {
    let get = |key: &str| data.get(key).map(String::as_str);
    if uid.is_empty() || get(MARK) != Some(uid) {
        return Err(Unread::Unmarked);
    }
    let source = get(SOURCE).and_then(Source::of);
    let unusable = |why: String| Unread::Unusable { source, why };
    let Some(source) = source else {
        return Err(unusable("it names no source".to_owned()));
    };
    match get(SCHEMA_KEY) {
        Some(SCHEMA) => {}
        Some(schema) => {
            return Err(unusable(format!(
                "its schema is {}, and this version reads {SCHEMA}: run one version of FerroLB",
                crate::text::shortened(schema, 32)
            )));
        }
        None => return Err(unusable("it names no schema".to_owned())),
    }
    let config = get(CONFIG).unwrap_or_default();
    if get(HASH) != Some(hash_of(config).as_str()) {
        return Err(unusable(
            "it was edited by hand; the controller writes it anew".to_owned(),
        ));
    }
    let config = config_of(config).map_err(|error| unusable(error.to_string()))?;
    let memory = Memory {
        source,
        ignored: get(IGNORED).map(str::to_owned),
        orphaned: get(ORPHANED) == Some("true"),
    };
    Ok(Compiled { memory, config })
}

fn config_of(text: &str) -> serde_json::Result<Config> {
    let mut json = serde_json::Deserializer::from_str(text);
    let config = Config::deserialize(&mut json)?;
    json.end()?;
    Ok(config)
}

fn text_of(config: &Config) -> Result<String, Refusal> {
    let too_large = |why: String| Refusal::new(Reason::ConfigTooLarge, why);
    let text_of = |config: &Config| {
        serde_json::to_string(config).map_err(|error| too_large(error.to_string()))
    };
    let whole = text_of(config)?;
    if whole.len() <= MOST_BYTES {
        return Ok(whole);
    }
    // What is announced to routers holds up nothing else.
    let text = text_of(&Config {
        pools: config.pools.clone(),
        layer2: config.layer2.clone(),
        ..Config::new()
    })?;
    if text.len() > MOST_BYTES {
        return Err(too_large(format!(
            "the configuration has {} bytes when it is compiled for the speakers, and at most {MOST_BYTES} \
             fit into a ConfigMap: write ranges instead of single addresses, or remove what is not used",
            text.len()
        )));
    }
    Ok(text)
}

/// 128 bits are plenty against slips; nobody is kept out by them.
fn hash_of(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest
        .iter()
        .take(16)
        .fold(String::new(), |mut hash, byte| {
            // Writing into a String cannot fail.
            let _ = write!(hash, "{byte:02x}");
            hash
        })
}

#[cfg(test)]
mod tests;
