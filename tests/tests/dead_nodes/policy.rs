//! What the API server lets the daemons write, by the chart's roles and policies.

use anyhow::{Context, Result, ensure};
use ferrolb_tests::Lab;
use ferrolb_tests::command::stdout_of;
use ferrolb_tests::daemon::NAMESPACE;
use ferrolb_tests::hollow::HollowPod;
use ferrolb_tests::lab::NodeKind;
use ferrolb_tests::wait::wait_until;
use ferrolb_tests::walk::PATIENCE;
use http::Request;
use serde_json::{Value, json};

const POD: &str = "/api/v1/namespaces/default/pods/web/status";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const MERGE: &str = "application/merge-patch+json";

/// A patch as another account: what the API server says.
fn patch_as(
    lab: &Lab,
    account: &str,
    node: Option<&str>,
    (path, kind): (&str, &str),
    body: &Value,
) -> Result<(u16, String)> {
    let mut request = Request::patch(path)
        .header("Content-Type", kind)
        .header(
            "Impersonate-User",
            format!("system:serviceaccount:{NAMESPACE}:{account}"),
        )
        .header("Impersonate-Group", "system:authenticated");
    if let Some(node) = node {
        // What the API server reads from a token that is bound to a pod.
        let name = "Impersonate-Extra-authentication.kubernetes.io%2Fnode-name";
        request = request.header(name, node);
    }
    let request = request.body(serde_json::to_vec(body)?)?;
    lab.api(async |client| match client.request_text(request).await {
        Ok(_) => Ok((200, String::new())),
        Err(kube::Error::Api(status)) => Ok((status.code, status.message.clone())),
        Err(error) => Err(error.into()),
    })
}

/// A pod's condition Ready, and whatever else stands beside it in the patch.
fn ready(status: &str, reason: Option<&str>, more: &Value) -> Value {
    let mut patch = json!({ "status": { "conditions": [
        { "type": "Ready", "status": status, "reason": reason, "message": null } ] } });
    for part in ["status", "metadata"] {
        for (key, value) in more[part].as_object().into_iter().flatten() {
            patch[part][key] = value.clone();
        }
    }
    patch
}

#[test]
fn the_controller_may_mark_a_pod_and_take_that_back_and_nothing_else() -> Result<()> {
    let lab = Lab::builder("dead-policy")
        .nodes(1)
        .kind(NodeKind::Hollow)
        .start()?;
    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/ferrolb");
    let mut helm = lab.helm_command()?;
    helm.args(["install", "ferrolb"]).arg(chart);
    helm.args([
        "-n",
        NAMESPACE,
        "--create-namespace",
        "--set",
        "deadNodes.endpoints=remove",
    ]);
    stdout_of(&mut helm, "")?;
    lab.create_hollow_pod(&HollowPod::new("web", "n1"))?;
    let as_controller =
        |body: &Value| patch_as(&lab, "ferrolb-controller", None, (POD, STRATEGIC), body);
    let marks = ready("False", Some("NodeDead"), &Value::Null);
    // A policy is in force some seconds after it was made: until then this is let through.
    let label = json!({ "metadata": { "labels": { "app": "theirs" } } });
    let is_refused = || Ok(as_controller(&label)?.0 == 422);
    wait_until(PATIENCE, is_refused, || Ok(())).context("the policy is not in force")?;
    // Until then it was changed.
    lab.kubectl(&["label", "pod", "web", "app-"])?;

    for (why, patch) in [
        ("ready by itself", ready("True", None, &Value::Null)),
        (
            "another reason",
            ready("False", Some("Because"), &Value::Null),
        ),
        ("unknown", ready("Unknown", Some("NodeDead"), &Value::Null)),
        (
            "podIP",
            ready(
                "False",
                Some("NodeDead"),
                &json!({ "status": { "podIP": "10.9.9.9" } }),
            ),
        ),
        (
            "podIPs",
            ready(
                "False",
                Some("NodeDead"),
                &json!({ "status": { "podIPs": [{ "ip": "10.9.9.9" }] } }),
            ),
        ),
        (
            "hostIP",
            ready(
                "False",
                Some("NodeDead"),
                &json!({ "status": { "hostIP": "10.9.9.9" } }),
            ),
        ),
        (
            "phase",
            ready(
                "False",
                Some("NodeDead"),
                &json!({ "status": { "phase": "Failed" } }),
            ),
        ),
        (
            "message",
            ready(
                "False",
                Some("NodeDead"),
                &json!({ "status": { "message": "x" } }),
            ),
        ),
        (
            "reason",
            ready(
                "False",
                Some("NodeDead"),
                &json!({ "status": { "reason": "x" } }),
            ),
        ),
        (
            "qosClass",
            ready(
                "False",
                Some("NodeDead"),
                &json!({ "status": { "qosClass": "Guaranteed" } }),
            ),
        ),
        (
            "label",
            ready(
                "False",
                Some("NodeDead"),
                &json!({ "metadata": { "labels": { "a": "b" } } }),
            ),
        ),
        (
            "annotation",
            ready(
                "False",
                Some("NodeDead"),
                &json!({ "metadata": { "annotations": { "a": "b" } } }),
            ),
        ),
        (
            "finalizer",
            ready(
                "False",
                Some("NodeDead"),
                &json!({ "metadata": { "finalizers": ["a.b/c"] } }),
            ),
        ),
        (
            "another condition",
            json!({ "status": { "conditions": [{ "type": "ContainersReady", "status": "False" }] } }),
        ),
        (
            "a new condition",
            json!({ "status": { "conditions": [{ "type": "example.org/x", "status": "True" }] } }),
        ),
        (
            "no condition",
            json!({ "status": { "conditions": [{ "type": "Ready", "$patch": "delete" }] } }),
        ),
        (
            "container",
            ready(
                "False",
                Some("NodeDead"),
                &json!({ "status": { "containerStatuses": [
            { "name": "server", "ready": true, "restartCount": 1, "image": "x", "imageID": "x" }] } }),
            ),
        ),
    ] {
        let (code, said) = as_controller(&patch)?;
        // Some of it nobody may change, says the API server before any policy is asked.
        let is_refused = said.contains("ferrolb may") || said.contains("field is immutable");
        ensure!(code == 422 && is_refused, "{why}: {code} {said}");
    }
    let nothing = as_controller(&json!({}))?;
    assert_eq!(nothing.0, 200, "a look: {}", nothing.1);
    let another = json!({ "metadata": { "uid": "another" }, "status": marks["status"] });
    let (code, said) = as_controller(&another)?;
    ensure!(
        code == 409 || (code == 422 && said.contains("metadata.uid")),
        "{code} {said}"
    );

    assert_eq!(as_controller(&marks)?.0, 200);
    let gives_back = ready("True", None, &Value::Null);
    assert_eq!(as_controller(&gives_back)?.0, 200, "what it took");
    // Not ready for another reason: that is the kubelet's.
    let sick = r#"{"status":{"conditions":[{"type":"Ready","status":"False","reason":"ContainersNotReady"}]}}"#;
    lab.kubectl(&["patch", "pod", "web", "--subresource=status", "-p", sick])?;
    assert_eq!(as_controller(&gives_back)?.0, 422, "what it did not take");
    assert_eq!(as_controller(&marks)?.0, 200);
    let broken = r#"{"status":{"conditions":[{"type":"ContainersReady","status":"False"}]}}"#;
    lab.kubectl(&["patch", "pod", "web", "--subresource=status", "-p", broken])?;
    assert_eq!(
        as_controller(&gives_back)?.0,
        422,
        "its containers are not ready"
    );

    let pod = POD.trim_end_matches("/status");
    for path in [pod, "/api/v1/nodes/n1/status", "/api/v1/nodes/n1"] {
        let said = patch_as(&lab, "ferrolb-controller", None, (path, MERGE), &json!({}))?;
        assert_eq!(said.0, 403, "{path}");
    }
    let by_a_speaker = patch_as(
        &lab,
        "ferrolb-speaker",
        Some("n1"),
        (POD, STRATEGIC),
        &marks,
    )?;
    assert_eq!(by_a_speaker.0, 403, "speakers write nothing to pods");
    a_speaker_writes_its_own_vote_and_no_other(&lab)
}

fn a_speaker_writes_its_own_vote_and_no_other(lab: &Lab) -> Result<()> {
    let path = format!("/api/v1/namespaces/{NAMESPACE}/configmaps/ferrolb-votes");
    let of = |node: Option<&str>, data: Value| {
        let patch = json!({ "data": data });
        patch_as(lab, "ferrolb-speaker", node, (&path, MERGE), &patch)
    };
    let forged = || Ok(of(Some("n1"), json!({ "n2": "x" }))?.0 == 422);
    wait_until(PATIENCE, forged, || Ok(())).context("the policy is not in force")?;
    super::write_votes(lab, &json!({ "n2": "theirs" }))?;
    for (why, node, data, code) in [
        ("its own", Some("n1"), json!({ "n1": "mine" }), 200),
        (
            "its own again",
            Some("n1"),
            json!({ "n1": "mine, too" }),
            200,
        ),
        ("another's", Some("n1"), json!({ "n2": "forged" }), 422),
        (
            "its own and another's",
            Some("n1"),
            json!({ "n1": "x", "n3": "forged" }),
            422,
        ),
        (
            "another's is removed",
            Some("n1"),
            json!({ "n2": null }),
            422,
        ),
        (
            "a token that names no node",
            None,
            json!({ "n1": "x" }),
            422,
        ),
        ("its own is removed", Some("n1"), json!({ "n1": null }), 200),
    ] {
        let said = of(node, data)?;
        assert_eq!(said.0, code, "{why}: {}", said.1);
    }
    Ok(())
}
