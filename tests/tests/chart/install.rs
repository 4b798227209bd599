//! The chart on a real API server, with nodes that run no pods.

use ferrolb_tests::Lab;
use ferrolb_tests::command::stdout_of;
use ferrolb_tests::lab::NodeKind;
use ferrolb_tests::wait::wait_until;
use ferrolb_tests::walk::PATIENCE;
use serde_json::{Value, json};

use super::super::{CONFIG, Chart, Rendered};
use super::{rights, values};

/// MetalLB as minikube's addon has it.
const METALLB: &str = include_str!("../addon/metallb.yaml");
/// As much of the Prometheus operator as it takes to store its objects.
const OPERATOR: &str = include_str!("operator-crds.yaml");

pub(super) const NAMESPACE: &str = "metallb-system";
/// Of the pods that are judged; a namespace gets its default one a moment late.
const ACCOUNT: &str = "judged";
/// What gives the controller one more right, and policies with it.
const DEAD_NODES: &str = "{existingConfigMap: config, deadNodes: {endpoints: remove}}";
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
    rights::are_as_reviewed(&lab);
    with_chart("upgrade", DEAD_NODES).unwrap();
    rights::with_dead_nodes_are_as_reviewed(&lab);

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

    with_chart("upgrade", DEAD_NODES).unwrap();
    helm("uninstall", "", &["--wait"]).unwrap();
    assert_eq!(config().unwrap(), "mine");
    let ours = [
        "get",
        "services,daemonsets,deployments,replicasets,jobs,poddisruptionbudgets,serviceaccount,role,\
         rolebinding,clusterrole,clusterrolebinding,configmaps,validatingadmissionpolicies,\
         validatingadmissionpolicybindings",
    ];
    let labelled = ["-A", "-l", "app.kubernetes.io/instance=ferrolb"];
    let ours = [&ours[..], &labelled, &["-o", "name"]].concat();
    let pods = [&["get", "pods"][..], &labelled, &["-o", "json"]].concat();
    // Pods are collected behind their owners, and helm waits for the owners alone. No kubelet ends those
    // that the scheduler has given to the node by then.
    let nothing_left = || {
        let pods: Value = serde_json::from_str(&lab.kubectl(&pods)?)?;
        let pods = pods["items"].as_array().into_iter().flatten();
        let all_end = pods
            .map(|pod| &pod["metadata"]["deletionTimestamp"])
            .all(Value::is_string);
        Ok(all_end && lab.kubectl(&ours)?.is_empty())
    };
    wait_until(PATIENCE, nothing_left, || Ok(())).unwrap();

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

    each_value_is_seen_in_the_live_objects(&lab, &with_chart);
    a_metallb_without_a_class_is_refused(&lab, &with_chart);
    a_second_ferrolb_for_the_same_services_is_refused(&lab, &chart);
}

type Helm<'a> = dyn Fn(&str, &str) -> anyhow::Result<String> + 'a;

fn each_value_is_seen_in_the_live_objects(lab: &Lab, with_chart: &Helm<'_>) {
    lab.apply(OPERATOR).unwrap();
    lab.wait_for_kinds().unwrap();
    let (changes, values) = values::together();
    let values = serde_yaml::to_string(&values).unwrap();
    with_chart("upgrade", &values).unwrap();
    let kinds = "deployments,daemonsets,serviceaccounts,configmaps,networkpolicies,rolebindings,\
                 services,podmonitors,servicemonitors,prometheusrules";
    let live = lab.kubectl(&["-n", NAMESPACE, "get", kinds, "-o", "yaml"]);
    let live = Rendered::parse(&live.unwrap());
    for change in &changes {
        change.assert_seen_in(&live);
    }
    assert!(
        changes.len() > 50,
        "only {} values were seen",
        changes.len()
    );
}

fn a_metallb_without_a_class_is_refused(lab: &Lab, with_chart: &Helm<'_>) {
    lab.apply(
        &METALLB
            .replace("namespace: metallb-system", "namespace: theirs")
            .replace("name: metallb-system\n", "name: theirs\n"),
    )
    .unwrap();
    // Without any value helm would take those of the last upgrade again.
    const ALONE: &str = "allowCoexistence: false";
    let refused = with_chart("upgrade", ALONE).unwrap_err().to_string();
    assert!(refused.contains("DaemonSet theirs/speaker"), "{refused}");
    with_chart("upgrade", "loadBalancerClass: acme/lb").unwrap();
    with_chart("upgrade", "allowCoexistence: true").unwrap();
    let of_a_class = r#"[{"op":"add","path":"/spec/template/spec/containers/0/args/-","value":"--lb-class=acme/lb"}]"#;
    lab.kubectl(&[
        "-n",
        "theirs",
        "patch",
        "daemonset/speaker",
        "--type=json",
        "-p",
        of_a_class,
    ])
    .unwrap();
    with_chart("upgrade", ALONE).unwrap();
    lab.kubectl(&["delete", "namespace", "theirs"]).unwrap();
}

fn a_second_ferrolb_for_the_same_services_is_refused(lab: &Lab, chart: &str) {
    let second = |values: &str| {
        let mut helm = lab.helm_command().unwrap();
        helm.args(["install", "second", chart, "--namespace", "elsewhere"]);
        stdout_of(helm.args(["--create-namespace", "--values", "-"]), values)
    };
    let refused = second("").unwrap_err().to_string();
    let first = format!("another FerroLB (DaemonSet {NAMESPACE}/ferrolb-speaker)");
    assert!(refused.contains(&first), "{refused}");
    second("loadBalancerClass: acme/lb").unwrap();
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
