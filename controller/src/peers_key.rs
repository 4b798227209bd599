//! The speakers' key: made once, if nobody has made it before.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ferrolb_core::names::{FIELD_MANAGER, PEERS_KEY, PEERS_KEY_CREATED};
use jiff::{Timestamp, Unit};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::{Api, Client};

/// As many as the digest that signs with it has.
const BYTES: usize = 32;

/// Creates the Secret `name` unless it exists; whether it was created.
///
/// # Errors
/// There are no random numbers, or the API server refuses.
pub async fn ensure(client: &Client, namespace: &str, name: &str) -> anyhow::Result<bool> {
    let secret = Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        string_data: Some(contents(Timestamp::now())?),
        ..Secret::default()
    };
    let params = PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        dry_run: false,
    };
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    // Not read before: that needs the right to see it, and creating decides of itself who was first.
    match api.create(&params, &secret).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(false),
        Err(error) => {
            Err(error).with_context(|| format!("cannot create Secret {namespace}/{name}"))
        }
    }
}

/// A key, and when it was made: until every speaker must have it, some sign nothing.
fn contents(now: Timestamp) -> anyhow::Result<BTreeMap<String, String>> {
    let now = now
        .round(Unit::Second)
        .context("the time is out of range")?;
    Ok(BTreeMap::from([
        (PEERS_KEY.to_owned(), random_key()?),
        (PEERS_KEY_CREATED.to_owned(), now.to_string()),
    ]))
}

fn random_key() -> anyhow::Result<String> {
    let mut key = [0; BYTES];
    File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut key))
        .context("cannot read /dev/urandom")?;
    Ok(STANDARD.encode(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the speakers read it.
    #[test]
    fn the_secret_says_when_its_key_was_made() {
        let now: Timestamp = "2026-11-29T17:47:18.25Z".parse().unwrap();
        let contents = contents(now).unwrap();
        let names: Vec<&str> = contents.keys().map(String::as_str).collect();
        assert_eq!(names, [".created", "key-1"]);
        assert_eq!(contents[".created"], "2026-11-29T17:47:18Z");
    }

    #[test]
    fn a_key_is_32_random_bytes_as_text() {
        let (one, other) = (random_key().unwrap(), random_key().unwrap());
        assert_ne!(one, other);
        assert_eq!(STANDARD.decode(&one).unwrap().len(), BYTES);
    }
}
