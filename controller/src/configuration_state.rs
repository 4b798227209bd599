//! `ConfigurationState` `controller`, as `MetalLB` writes it from 0.15.3 on: whether the objects are valid.
//! Written on change, where the API server has the kind.

use std::time::Duration;

use ferrolb_core::config::objects::Kind;
use ferrolb_core::names::FIELD_MANAGER;
use ferrolb_core::text::shortened;
use ferrolb_kube::objects::Untyped;
use jiff::Timestamp;
use kube::api::{ApiResource, Patch, PatchParams, PostParams};
use kube::core::Request;
use kube::{Api, Client, Error};
use serde_json::{Value, json};
use tokio::time::timeout;

use ferrolb_kube::answer::version_after;

const NAME: &str = "controller";
const TIMEOUT: Duration = Duration::from_secs(5);
/// A condition's message may have 32,768 bytes; nobody reads that much.
const LONGEST: usize = 1_024;

const ASIDE: &str = "the ConfigMap is in force, and not these objects";

/// What is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// What is wrong; empty if nothing is.
    Judged(String),
    /// The `ConfigMap` is in force. What was said of the objects before holds no longer.
    Aside,
}

impl State {
    /// The status that says it.
    fn status(&self, now: Timestamp) -> Value {
        let (result, status, reason, message) = match self {
            Self::Judged(error) if error.is_empty() => ("Valid", "True", "Reconciled", ""),
            Self::Judged(error) => ("Invalid", "False", "ConfigurationError", error.as_str()),
            Self::Aside => ("Unknown", "Unknown", "NotInForce", ASIDE),
        };
        let error = shortened(message, LONGEST);
        // MetalLB's controller has the first one, its speakers the other one; here one program judges both.
        let conditions = ["poolReconcilerValid", "configReconcilerValid"].map(|kind| {
            json!({ "type": kind, "status": status, "reason": reason, "message": error,
                    "lastTransitionTime": format!("{now:.0}") })
        });
        json!({ "result": result, "errorSummary": error, "conditions": conditions })
    }
}

/// Writes it; `false` if that failed, and may go well later.
pub async fn send(client: Client, namespace: String, state: State) -> (State, bool) {
    let is_done = match timeout(TIMEOUT, try_to_send(client, &namespace, &state)).await {
        Ok(Ok(())) => true,
        // No such kind, before 0.15.3: nobody misses it.
        Ok(Err(Error::Api(status))) if status.code == 404 => true,
        Ok(Err(error)) => {
            tracing::debug!(%error, "ConfigurationState not written");
            false
        }
        Err(_) => false,
    };
    (state, is_done)
}

async fn try_to_send(client: Client, namespace: &str, state: &State) -> kube::Result<()> {
    let resource = ApiResource {
        group: Kind::GROUP.to_owned(),
        version: "v1beta1".to_owned(),
        api_version: format!("{}/v1beta1", Kind::GROUP),
        kind: "ConfigurationState".to_owned(),
        plural: "configurationstates".to_owned(),
    };
    let api = Api::<Untyped>::namespaced_with(client.clone(), namespace, &resource);
    let request = Request::new(api.resource_url());
    // Where none was written before, nothing is to be taken back.
    if matches!(state, State::Judged(_)) {
        create(&client, &request, &resource).await?;
    }
    let params = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let patch = Patch::Merge(json!({ "status": state.status(Timestamp::now()) }));
    let patch = request
        .patch_subresource("status", NAME, &params, &patch)
        .map_err(Error::BuildRequest)?;
    version_after(&client, patch).await.map(drop)
}

async fn create(client: &Client, request: &Request, resource: &ApiResource) -> kube::Result<()> {
    let object = json!({
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": { "name": NAME, "labels": { "metallb.io/component-type": "controller" } },
    });
    let params = PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        dry_run: false,
    };
    let body = serde_json::to_vec(&object).map_err(Error::SerdeError)?;
    let create = request.create(&params, body).map_err(Error::BuildRequest)?;
    match version_after(client, create).await {
        Err(Error::Api(status)) if status.code == 409 => Ok(()),
        created => created.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_metallb_says() {
        let now: Timestamp = "2026-01-01T00:00:00.5Z".parse().unwrap();
        let of = |error: &str| State::Judged(error.to_owned()).status(now);
        let valid = of("");
        assert_eq!(valid["result"], "Valid");
        assert_eq!(valid["errorSummary"], "");
        assert_eq!(valid["conditions"][0]["type"], "poolReconcilerValid");
        assert_eq!(valid["conditions"][1]["type"], "configReconcilerValid");
        let aside = State::Aside.status(now);
        assert_eq!(aside["result"], "Unknown");
        assert_eq!(aside["conditions"][0]["status"], "Unknown");
        let invalid = of("IPAddressPool metallb-system/lan: no");
        assert_eq!(invalid["result"], "Invalid");
        for condition in invalid["conditions"].as_array().unwrap() {
            assert_eq!(condition["status"], "False");
            assert_eq!(condition["reason"], "ConfigurationError");
            assert_eq!(condition["message"], "IPAddressPool metallb-system/lan: no");
            assert_eq!(condition["lastTransitionTime"], "2026-01-01T00:00:00Z");
        }
    }
}
