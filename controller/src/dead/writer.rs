//! Writes to `pods/status`.
//!
//! There is no right to read pods. A patch answers with the pod, also one that changes nothing: so a
//! restore looks first, and is fenced by the version that it saw.

use ferrolb_core::dead::{Action, Outcome, POD_REASON, Write};
use ferrolb_core::names::FIELD_MANAGER;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodCondition};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::time::timeout;

fn params() -> PatchParams {
    PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    }
}

/// Carries out a write.
pub(super) async fn write(client: &Client, write: &Write) -> Outcome {
    let pod = format!("{}/{}", write.pod.namespace, write.pod.name);
    let api = Api::<Pod>::namespaced(client.clone(), &write.pod.namespace);
    let written = async {
        match &write.action {
            Action::Mark(message) => mark(&api, write, message).await.map(|()| Outcome::Done),
            Action::Restore => restore(&api, write).await,
        }
    };
    match timeout(write.patience, written).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(error)) => {
            let outcome = of_error(&error);
            match outcome {
                Outcome::NotOurs => tracing::debug!(pod, %error, "the pod is gone, or another one"),
                _ => tracing::warn!(pod, %error, "cannot write the pod's readiness"),
            }
            outcome
        }
        Err(_) => {
            tracing::warn!(pod, "writing the pod's readiness timed out");
            Outcome::Failed
        }
    }
}

fn of_error(error: &kube::Error) -> Outcome {
    let kube::Error::Api(status) = error else {
        return Outcome::Failed;
    };
    match status.code {
        404 | 409 => Outcome::NotOurs,
        // Another pod of that name: the uid in a patch cannot be changed.
        422 if status.message.contains("metadata.uid") => Outcome::NotOurs,
        403 | 422 => Outcome::Refused,
        _ => Outcome::Failed,
    }
}

async fn mark(api: &Api<Pod>, write: &Write, message: &str) -> kube::Result<()> {
    let patch = json!({
        "metadata": { "uid": write.pod.uid },
        "status": { "conditions": [{
            "type": "Ready", "status": "False", "reason": POD_REASON, "message": message,
            "lastTransitionTime": now(),
        }] },
    });
    let name = &write.pod.name;
    api.patch_status(name, &params(), &Patch::Strategic(&patch))
        .await
        .map(drop)
}

/// RFC 3339 in whole seconds, as `metav1.Time` has it.
fn now() -> String {
    let now = Timestamp::now();
    let whole = Timestamp::from_second(now.as_second()).unwrap_or(now);
    whole.to_string()
}

async fn restore(api: &Api<Pod>, write: &Write) -> kube::Result<Outcome> {
    let name = &write.pod.name;
    let look = Patch::Strategic(json!({}));
    let pod = api.patch_status(name, &params(), &look).await?;
    if pod.metadata.uid.as_deref() != Some(&*write.pod.uid) || !is_to_be_restored(&pod) {
        return Ok(Outcome::NotOurs);
    }
    let patch = json!({
        "metadata": { "uid": write.pod.uid, "resourceVersion": pod.metadata.resource_version },
        "status": { "conditions": [{
            "type": "Ready", "status": "True", "reason": null, "message": null,
            "lastTransitionTime": now(),
        }] },
    });
    api.patch_status(name, &params(), &Patch::Strategic(&patch))
        .await
        .map(|_| Outcome::Done)
}

/// It is not ready by a mark alone: its containers are, and whatever else its readiness depends on.
fn is_to_be_restored(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_deref());
    let conditions = conditions.unwrap_or_default();
    let condition = |kind: &str| conditions.iter().find(|one| one.type_ == kind);
    let is_true = |kind: &str| condition(kind).is_some_and(|one| one.status == "True");
    let is_marked = |ready: &PodCondition| {
        ready.status == "False" && ready.reason.as_deref() == Some(POD_REASON)
    };
    let spec = pod.spec.as_ref();
    let gates = spec.and_then(|spec| spec.readiness_gates.as_deref());
    let mut gates = gates.unwrap_or_default().iter();
    pod.metadata.deletion_timestamp.is_none()
        && condition("Ready").is_some_and(is_marked)
        && is_true("ContainersReady")
        && gates.all(|gate| is_true(&gate.condition_type))
}

#[cfg(test)]
mod tests {
    use serde_json::from_value;

    use super::*;

    #[test]
    fn only_a_pod_that_is_not_ready_by_a_mark_alone_is_given_back() {
        let pod = |ready: &str, reason: &str, containers: &str, gate: &str| -> Pod {
            from_value(json!({
                "metadata": { "name": "web" },
                "spec": { "containers": [], "readinessGates": [{ "conditionType": "example.org/up" }] },
                "status": { "conditions": [
                    { "type": "Ready", "status": ready, "reason": reason },
                    { "type": "ContainersReady", "status": containers },
                    { "type": "example.org/up", "status": gate },
                ] },
            }))
            .unwrap()
        };
        assert!(is_to_be_restored(&pod("False", POD_REASON, "True", "True")));
        for other in [
            pod("True", POD_REASON, "True", "True"),
            pod("False", "ContainersNotReady", "True", "True"),
            pod("False", POD_REASON, "False", "True"),
            pod("False", POD_REASON, "True", "False"),
            Pod::default(),
        ] {
            assert!(!is_to_be_restored(&other), "{other:?}");
        }
        let mut going = pod("False", POD_REASON, "True", "True");
        going.metadata.deletion_timestamp =
            Some(from_value(json!("2026-11-30T00:00:00Z")).unwrap());
        assert!(!is_to_be_restored(&going));
    }

    #[test]
    fn what_the_api_server_says_is_told_apart() {
        let said = |code: u16, message: &str| {
            let status = json!({ "code": code, "message": message, "reason": "" });
            of_error(&kube::Error::Api(from_value(status).unwrap()))
        };
        assert_eq!(said(404, ""), Outcome::NotOurs);
        assert_eq!(said(409, ""), Outcome::NotOurs);
        let uid = "Pod \"web\" is invalid: metadata.uid: Invalid value: \"1\": field is immutable";
        assert_eq!(said(422, uid), Outcome::NotOurs);
        assert_eq!(said(422, "ferrolb may change no labels"), Outcome::Refused);
        assert_eq!(said(403, ""), Outcome::Refused);
        assert_eq!(said(500, ""), Outcome::Failed);
    }
}
