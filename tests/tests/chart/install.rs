//! The chart on a real API server, with nodes that run no pods.

use ferrolb_tests::Lab;
use ferrolb_tests::command::stdout_of;
use ferrolb_tests::lab::NodeKind;
use serde_json::json;

use super::super::{CONFIG, Chart, Rendered};

const NAMESPACE: &str = "metallb-system";
/// Of the pods that are judged; a namespace gets its default one a moment late.
const ACCOUNT: &str = "judged";
const RELEASE: [&str; 3] = ["ferrolb", "--namespace", NAMESPACE];

#[test]
fn it_installs_upgrades_and_leaves_without_touching_a_config_map_of_the_users() {
    let lab = Lab::builder("chart")
        .nodes(1)
        .kind(NodeKind::Hollow)
        .start()
        .unwrap();
    let chart = Chart::here().dir().to_string_lossy().into_owned();
    let helm = |verb: &str, values: &str, more: &[&str]| {
        let mut command = lab.helm_command().unwrap();
        stdout_of(command.arg(verb).args(RELEASE).args(more), values)
    };
    let with_chart = |verb: &str, values: &str| {
        helm(
            verb,
            values,
            &[&chart, "--create-namespace", "--values", "-"],
        )
    };
    let config = || {
        lab.kubectl(&[
            "-n",
            NAMESPACE,
            "get",
            "configmap",
            "config",
            "-o",
            "jsonpath={.data.config}",
        ])
    };

    let notes = with_chart("install", "").unwrap();
    assert!(
        notes.contains("Services of type LoadBalancer stay <pending>"),
        "{notes}"
    );

    lab.kubectl(&[
        "-n",
        NAMESPACE,
        "create",
        "configmap",
        "config",
        "--from-literal=config=mine",
    ])
    .unwrap();
    with_chart("upgrade", "controller: {logLevel: debug}").unwrap();
    assert_eq!(config().unwrap(), "mine");

    let refused = with_chart("upgrade", CONFIG).unwrap_err().to_string();
    assert!(
        refused.contains("set existingConfigMap=config"),
        "{refused}"
    );
    assert_eq!(config().unwrap(), "mine");

    with_chart("upgrade", "existingConfigMap: config").unwrap();
    helm("uninstall", "", &["--wait"]).unwrap();
    assert_eq!(config().unwrap(), "mine");
    let ours = [
        "get",
        "all,serviceaccount,role,rolebinding,clusterrole,clusterrolebinding",
    ];
    let left = lab.kubectl(
        &[
            &ours[..],
            &[
                "-A",
                "-l",
                "app.kubernetes.io/instance=ferrolb",
                "-o",
                "name",
            ],
        ]
        .concat(),
    );
    assert_eq!(left.unwrap(), "");

    lab.kubectl(&["-n", NAMESPACE, "delete", "configmap", "config"])
        .unwrap();
    let notes = with_chart("install", CONFIG).unwrap();
    assert!(
        notes.contains("ConfigMap metallb-system/config belongs to this release"),
        "{notes}"
    );
    assert!(config().unwrap().contains("192.168.64.0/28"));
    // Its own ConfigMap is no obstacle to the next upgrade.
    with_chart("upgrade", CONFIG).unwrap();
}

#[test]
fn the_controllers_pod_passes_restricted_and_the_speakers_needs_the_label() {
    let lab = Lab::builder("podsecurity")
        .nodes(1)
        .kind(NodeKind::Hollow)
        .start()
        .unwrap();
    for level in ["restricted", "baseline", "privileged"] {
        lab.kubectl(&["create", "namespace", level]).unwrap();
        lab.kubectl(&["-n", level, "create", "serviceaccount", ACCOUNT])
            .unwrap();
        let label = format!("pod-security.kubernetes.io/enforce={level}");
        lab.kubectl(&["label", "namespace", level, &label]).unwrap();
    }
    let controller = |level: &str| submit(&lab, "Deployment/ferrolb-controller", level);
    let speaker = |level: &str| submit(&lab, "DaemonSet/ferrolb-speaker", level);
    controller("restricted").unwrap();
    speaker("privileged").unwrap();
    let refused = speaker("baseline").unwrap_err().to_string();
    for cause in ["host namespaces (hostNetwork=true)", "NET_RAW", "hostPort"] {
        assert!(refused.contains(cause), "{refused}");
    }
}

/// Shows a pod of a workload to the API server, which judges it and keeps nothing.
fn submit(lab: &Lab, workload: &str, namespace: &str) -> anyhow::Result<String> {
    let mut spec = Rendered::of("")
        .get(workload, &["spec", "template", "spec"])
        .unwrap();
    // Rights are not what is judged here.
    spec["serviceAccountName"] = ACCOUNT.into();
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "pod" }, "spec": spec,
    });
    let mut kubectl = lab.kubectl_command()?;
    kubectl.args(["-n", namespace, "create", "--dry-run=server", "-f", "-"]);
    stdout_of(&mut kubectl, &pod.to_string())
}
