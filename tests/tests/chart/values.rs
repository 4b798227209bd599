//! Each value, changed, is seen where it should act.

use std::collections::BTreeMap;

use serde_yaml::Value;

use super::super::{Chart, Rendered};

/// A value of the chart, set to something else, and where that must be found.
pub(super) struct Change {
    /// The value's path, with dots.
    pub(super) value: String,
    /// In YAML.
    to: &'static str,
    /// What else must be set for it to act, in YAML.
    with: &'static str,
    object: String,
    path: Vec<String>,
    /// In YAML; nothing if the object must be gone.
    expected: Option<&'static str>,
}

const EXHAUSTED_BUT_A: &str = r#"
    >-
      max by (pool) (metallb_allocator_addresses_in_use_total{namespace="metallb-system", pool!~"a"})
      >= max by (pool) (metallb_allocator_addresses_total{namespace="metallb-system", pool!~"a"})
      and on () max(ferrolb_pending_services{namespace="metallb-system", reason="pool_exhausted"}) > 0
"#;
const USAGE_BUT_A: &str = r#"
    >-
      100 * max by (pool) (metallb_allocator_addresses_in_use_total{namespace="metallb-system", pool!~"a"})
      / (max by (pool) (metallb_allocator_addresses_total{namespace="metallb-system", pool!~"a"}) >= 4) > 75 <= 85
"#;
const POD: [&str; 3] = ["spec", "template", "spec"];
const METADATA: [&str; 3] = ["spec", "template", "metadata"];

#[test]
fn each_value_acts_on_the_object_that_it_names() {
    let mut before = BTreeMap::new();
    for change in changes() {
        let before = before
            .entry(change.with)
            .or_insert_with(|| Rendered::of(change.with));
        let after = Rendered::of(&serde_yaml::to_string(&change.values()).unwrap());
        change.assert_seen_in(&after);
        assert_ne!(
            change.find_in(before),
            change.expected(),
            "{} must make a difference in {} at {:?}",
            change.value,
            change.object,
            change.path
        );
    }
}

/// Values that cannot be changed together with the others: they rename, remove or change what the others
/// act on.
const ALONE: [&str; 12] = [
    "configInline",
    "nameOverride",
    "fullnameOverride",
    "controller.image.tag",
    "speaker.image.tag",
    "controller.serviceAccount.create",
    "controller.serviceAccount.name",
    "speaker.serviceAccount.create",
    "speaker.serviceAccount.name",
    // These are in one expression.
    "prometheus.prometheusRule.excludePools",
    "prometheus.prometheusRule.addressPoolExhausted.excludePools",
    "prometheus.prometheusRule.addressPoolUsage.excludePools",
];

/// The changes that go together and remove nothing, and the values that make all of them.
pub(super) fn together() -> (Vec<Change>, Value) {
    let changes: Vec<_> = changes()
        .into_iter()
        .filter(|change| !ALONE.contains(&&*change.value) && change.expected.is_some())
        .collect();
    let values = changes.iter().map(Change::values);
    let values = values.fold(Value::Null, merge);
    (changes, values)
}

impl Change {
    fn values(&self) -> Value {
        let parse = |text: &str| serde_yaml::from_str(text).unwrap();
        merge(parse(self.with), parse(&nested(&self.value, self.to)))
    }

    fn find_in(&self, rendered: &Rendered) -> Option<Value> {
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        rendered.get(&self.object, &path)
    }

    fn expected(&self) -> Option<Value> {
        self.expected
            .map(|text| serde_yaml::from_str(text).unwrap())
    }

    pub(super) fn assert_seen_in(&self, rendered: &Rendered) {
        let Self {
            value,
            object,
            path,
            ..
        } = self;
        assert_eq!(
            self.find_in(rendered),
            self.expected(),
            "{value} in {object} at {path:?}"
        );
    }
}

/// Maps grow together; of all else the later one counts.
pub(super) fn merge(earlier: Value, later: Value) -> Value {
    match (earlier, later) {
        (Value::Mapping(mut all), Value::Mapping(later)) => {
            for (key, value) in later {
                let before = all.remove(&key).unwrap_or(Value::Null);
                all.insert(key, merge(before, value));
            }
            Value::Mapping(all)
        }
        (earlier, Value::Null) => earlier,
        (_, later) => later,
    }
}

#[test]
fn no_value_is_left_out_of_the_test_above() {
    let text = std::fs::read_to_string(Chart::here().dir().join("values.yaml")).unwrap();
    let mut leaves = Vec::new();
    collect_leaves(&serde_yaml::from_str(&text).unwrap(), "", &mut leaves);
    assert!(leaves.len() > 30, "{leaves:?}");
    let changed: Vec<String> = changes().into_iter().map(|change| change.value).collect();
    for leaf in leaves {
        let covers = |value: &String| leaf == *value || leaf.starts_with(&format!("{value}."));
        // Tested where there is a MetalLB, and where there are policies; and one that the schema fixes.
        if [
            "allowCoexistence",
            "validate",
            "controller.securityContext.runAsNonRoot",
        ]
        .contains(&&*leaf)
        {
            continue;
        }
        assert!(changed.iter().any(covers), "{leaf} is changed by no test");
    }
}

fn changes() -> Vec<Change> {
    let mut changes = of_dead_nodes();
    changes.extend([
        change(
            "nameOverride",
            "edge",
            "Deployment/ferrolb-edge-controller",
            &["kind"],
            "Deployment",
        ),
        change(
            "fullnameOverride",
            "lb",
            "DaemonSet/lb-speaker",
            &["kind"],
            "DaemonSet",
        ),
        change(
            "configInline",
            "{peers: []}",
            "ConfigMap/config",
            &["data", "config"],
            "\"peers: []\\n\"",
        ),
        change(
            "configSource",
            "objects",
            "Deployment/ferrolb-controller",
            &[
                "spec",
                "template",
                "spec",
                "containers",
                "name=controller",
                "args",
                "--config-source",
            ],
            "objects",
        ),
        change(
            "controller.replicas",
            "3",
            "Deployment/ferrolb-controller",
            &["spec", "replicas"],
            "3",
        ),
        Change {
            expected: None,
            ..change(
                "rbac.create",
                "false",
                "ClusterRole/metallb-system:ferrolb-speaker",
                &["kind"],
                "",
            )
        },
    ]);
    for (component, workload) in [
        ("controller", "Deployment/ferrolb-controller"),
        ("speaker", "DaemonSet/ferrolb-speaker"),
    ] {
        changes.extend(for_both(component, workload));
    }
    let master = "key=node-role.kubernetes.io/master";
    changes.extend(monitoring());
    changes.extend(of_one_component());
    changes.push(Change {
        expected: None,
        ..change(
            "speaker.tolerateMaster",
            "false",
            "DaemonSet/ferrolb-speaker",
            &[&POD[..], &["tolerations", master]].concat(),
            "",
        )
    });
    for (value, argument, to, expected) in [
        ("failureDetection", "--failure-detection", "calm", "calm"),
        ("failback", "--failback", "true", "''"),
        ("announceRate", "--announce-rate", "500", "'500'"),
        ("announceRefreshSeconds", "--announce-refresh", "0", "'0'"),
        ("peersPort", "--peers-port", "7947", "'7947'"),
        ("excludeLabel", "--exclude-label", "strict", "strict"),
        ("interfaces", "--interfaces", "[eth1, eth2]", "'eth1,eth2'"),
        ("cordon", "--cordon", "stay", "stay"),
        (
            "serviceL2Status",
            "--pod",
            "true",
            "$(FERROLB_POD_NAME)/$(FERROLB_POD_UID)",
        ),
        (
            "keepConnections",
            "--keeper",
            "{enabled: true}",
            "/run/ferrolb/keeper.sock",
        ),
        (
            "keepConnections",
            "--keep-connections-seconds",
            "{enabled: true, maxSeconds: 60}",
            "'60'",
        ),
    ] {
        changes.push(change(
            &format!("speaker.{value}"),
            to,
            "DaemonSet/ferrolb-speaker",
            &[&POD[..], &["containers", "name=speaker", "args", argument]].concat(),
            expected,
        ));
    }
    for (to, path, expected) in [
        (
            "{enabled: true, image: {repository: a/b, tag: v9}}",
            &["image"][..],
            "'a/b:v9'",
        ),
        (
            "{enabled: true, image: {pullPolicy: Always}}",
            &["imagePullPolicy"],
            "Always",
        ),
        (
            "{enabled: true, resources: {limits: {memory: 1Gi}}}",
            &["resources", "limits", "memory"],
            "1Gi",
        ),
    ] {
        changes.push(change(
            "speaker.keepConnections",
            to,
            "DaemonSet/ferrolb-speaker",
            &[&POD[..], &["containers", "name=keeper"], path].concat(),
            expected,
        ));
    }
    changes
}

/// What acts on objects of the Prometheus operator and of Grafana.
/// What acts only where pods of dead nodes leave rotation.
fn of_dead_nodes() -> Vec<Change> {
    const WITH: &str =
        "{deadNodes: {endpoints: remove}, prometheus: {prometheusRule: {enabled: true}}}";
    let argument = |component: &'static str, name| {
        let of_component: &str = match component {
            "controller" => "name=controller",
            _ => "name=speaker",
        };
        [&POD[..], &["containers", of_component, "args", name]].concat()
    };
    let with = |change: Change| Change {
        with: WITH,
        ..change
    };
    let alert = |rest: &[&'static str]| {
        let rule = [
            "spec",
            "groups",
            "name=ferrolb",
            "rules",
            "alert=FerroLBNodeDead",
        ];
        [&rule[..], rest].concat()
    };
    vec![
        change(
            "deadNodes.endpoints",
            "remove",
            "Deployment/ferrolb-controller",
            &argument("controller", "--dead-nodes"),
            "remove",
        ),
        with(change(
            "deadNodes.after",
            "200ms",
            "DaemonSet/ferrolb-speaker",
            &argument("speaker", "--dead-nodes-after"),
            "200ms",
        )),
        with(switched_off(change(
            "deadNodes.withoutPolicy",
            "true",
            "ValidatingAdmissionPolicy/pods.metallb-system.ferrolb",
            &["kind"],
            "",
        ))),
        with(change(
            "prometheus.prometheusRule.nodeDead.labels",
            "{severity: page}",
            "PrometheusRule/ferrolb",
            &alert(&["labels", "severity"]),
            "page",
        )),
        with(switched_off(change(
            "prometheus.prometheusRule.nodeDead.enabled",
            "false",
            "PrometheusRule/ferrolb",
            &alert(&[]),
            "",
        ))),
    ]
}

fn monitoring() -> Vec<Change> {
    let rule = |value: &str, to, path: &[&str], expected| Change {
        with: "prometheus: {prometheusRule: {enabled: true}}",
        ..change(
            &format!("prometheus.prometheusRule.{value}"),
            to,
            "PrometheusRule/ferrolb",
            path,
            expected,
        )
    };
    let dashboard = |value: &str, to, path: &[&str], expected| Change {
        with: "grafana: {dashboard: {enabled: true}}",
        ..change(
            &format!("grafana.dashboard.{value}"),
            to,
            "ConfigMap/ferrolb-dashboard",
            path,
            expected,
        )
    };
    let without = |change: Change| Change { with: "", ..change };
    let mut changes = vec![
        Change {
            with: "prometheus: {namespace: monitoring}",
            ..change(
                "prometheus.serviceAccount",
                "prometheus",
                "RoleBinding/ferrolb-prometheus",
                &["subjects", "name=prometheus", "namespace"],
                "monitoring",
            )
        },
        Change {
            with: "prometheus: {serviceAccount: prometheus, namespace: elsewhere}",
            ..change(
                "prometheus.namespace",
                "monitoring",
                "RoleBinding/ferrolb-prometheus",
                &["subjects", "name=prometheus", "namespace"],
                "monitoring",
            )
        },
        without(rule("enabled", "true", &["kind"], "PrometheusRule")),
        rule(
            "additionalLabels",
            "{release: p}",
            &["metadata", "labels", "release"],
            "p",
        ),
        rule(
            "annotations",
            "{a: b}",
            &["metadata", "annotations", "a"],
            "b",
        ),
        rule(
            "runbookUrl",
            "https://wiki/ferrolb",
            &[
                "spec",
                "groups",
                "name=ferrolb",
                "rules",
                "alert=MetalLBStaleConfig",
                "annotations",
                "runbook_url",
            ],
            "https://wiki/ferrolb#metallbstaleconfig",
        ),
        rule(
            "extraAlerts",
            "[{alert: Mine, expr: vector(1)}]",
            &[
                "spec",
                "groups",
                "name=ferrolb",
                "rules",
                "alert=Mine",
                "expr",
            ],
            "vector(1)",
        ),
        rule(
            "addressPoolUsage.thresholds",
            "[{percent: 50, labels: {severity: page}}]",
            &[
                "spec",
                "groups",
                "name=ferrolb",
                "rules",
                "alert=MetalLBAddressPoolUsage50Percent",
                "labels",
                "severity",
            ],
            "page",
        ),
        without(dashboard("enabled", "true", &["kind"], "ConfigMap")),
        dashboard("labels", "{a: b}", &["metadata", "labels", "a"], "b"),
        dashboard(
            "annotations",
            "{a: b}",
            &["metadata", "annotations", "a"],
            "b",
        ),
    ];
    for (value, alert) in [
        ("staleConfig", "alert=MetalLBStaleConfig"),
        ("configNotLoaded", "alert=MetalLBConfigNotLoaded"),
        ("addressPoolExhausted", "alert=MetalLBAddressPoolExhausted"),
        ("servicePending", "alert=FerroLBServicePending"),
        ("statusNotWritten", "alert=FerroLBStatusNotWritten"),
        ("announcedTwice", "alert=FerroLBAnnouncedTwice"),
        ("addressSilent", "alert=FerroLBAddressSilent"),
        ("addressConflict", "alert=FerroLBAddressConflict"),
        ("speakerDown", "alert=FerroLBSpeakerDown"),
        ("noLeader", "alert=FerroLBNoLeader"),
        ("tooManyMoves", "alert=FerroLBTooManyMoves"),
        ("peersBlocked", "alert=FerroLBPeersBlocked"),
        ("nodeImpaired", "alert=FerroLBNodeImpaired"),
        ("kubeProxyUnhealthy", "alert=FerroLBKubeProxyUnhealthy"),
        ("connectionsNotKept", "alert=FerroLBConnectionsNotKept"),
        ("heartbeatsSlow", "alert=FerroLBHeartbeatsSlow"),
        ("eventsLost", "alert=FerroLBEventsLost"),
    ] {
        let path = |rest: &[&'static str]| {
            [&["spec", "groups", "name=ferrolb", "rules", alert], rest].concat()
        };
        changes.push(rule(
            &format!("{value}.labels"),
            "{severity: page}",
            &path(&["labels", "severity"]),
            "page",
        ));
        changes.push(switched_off(rule(
            &format!("{value}.enabled"),
            "false",
            &path(&[]),
            "",
        )));
    }
    let usage = [
        "spec",
        "groups",
        "name=ferrolb",
        "rules",
        "alert=MetalLBAddressPoolUsage75Percent",
    ];
    for value in ["excludePools", "addressPoolExhausted.excludePools"] {
        changes.push(rule(
            value,
            "[a]",
            &[
                "spec",
                "groups",
                "name=ferrolb",
                "rules",
                "alert=MetalLBAddressPoolExhausted",
                "expr",
            ],
            EXHAUSTED_BUT_A,
        ));
    }
    changes.push(rule(
        "addressPoolUsage.excludePools",
        "[a]",
        &[&usage[..], &["expr"]].concat(),
        USAGE_BUT_A,
    ));
    changes.push(switched_off(rule(
        "addressPoolUsage.enabled",
        "false",
        &usage,
        "",
    )));
    changes.extend(monitor(
        "podMonitor",
        "prometheus: {podMonitor: {enabled: true}}",
        "PodMonitor/ferrolb-speaker",
        "podMetricsEndpoints",
    ));
    changes.extend(monitor(
        "serviceMonitor",
        "prometheus: {serviceMonitor: {enabled: true}}",
        "ServiceMonitor/ferrolb-speaker",
        "endpoints",
    ));
    changes.push(change(
        "prometheus.serviceMonitor.enabled",
        "true",
        "Service/ferrolb-speaker",
        &["spec", "clusterIP"],
        "None",
    ));
    changes
}

/// The values of one kind of monitor, which `with` switches on.
fn monitor(value: &str, with: &'static str, object: &str, endpoints: &'static str) -> Vec<Change> {
    let at = |path: &[&'static str]| [&["spec", endpoints, "port=monitoring"], path].concat();
    let one = |name: &str, to, path: &[&str], expected| Change {
        with,
        ..change(
            &format!("prometheus.{value}.{name}"),
            to,
            object,
            path,
            expected,
        )
    };
    let kind = match value {
        "podMonitor" => "PodMonitor",
        _ => "ServiceMonitor",
    };
    vec![
        Change {
            with: "",
            ..one("enabled", "true", &["kind"], kind)
        },
        one(
            "additionalLabels",
            "{release: p}",
            &["metadata", "labels", "release"],
            "p",
        ),
        one(
            "annotations",
            "{a: b}",
            &["metadata", "annotations", "a"],
            "b",
        ),
        one("jobLabel", "job", &["spec", "jobLabel"], "job"),
        one("interval", "30s", &at(&["interval"]), "30s"),
        one(
            "metricRelabelings",
            "[{action: keep}]",
            &at(&["metricRelabelings"]),
            "[{action: keep}]",
        ),
        one(
            "relabelings",
            "[{action: drop}]",
            &at(&["relabelings"]),
            "[{action: drop}]",
        ),
    ]
}

/// What only one of the two has.
fn of_one_component() -> Vec<Change> {
    let mut changes = vec![
        change(
            "networkPolicy.enabled",
            "true",
            "NetworkPolicy/ferrolb-controller",
            &["kind"],
            "NetworkPolicy",
        ),
        switched_off(change(
            "controller.enabled",
            "false",
            "Deployment/ferrolb-controller",
            &["kind"],
            "",
        )),
        switched_off(change(
            "speaker.enabled",
            "false",
            "DaemonSet/ferrolb-speaker",
            &["kind"],
            "",
        )),
        change(
            "speaker.updateStrategy",
            "{type: OnDelete}",
            "DaemonSet/ferrolb-speaker",
            &["spec", "updateStrategy", "type"],
            "OnDelete",
        ),
    ];
    changes.push(change(
        "controller.strategy",
        "{type: RollingUpdate, rollingUpdate: {maxSurge: 2}}",
        "Deployment/ferrolb-controller",
        &["spec", "strategy", "rollingUpdate", "maxSurge"],
        "2",
    ));
    for (value, to) in [("periodSeconds", "3"), ("failureThreshold", "4")] {
        changes.push(Change {
            with: "speaker: {startupProbe: {enabled: true}}",
            ..change(
                &format!("speaker.startupProbe.{value}"),
                to,
                "DaemonSet/ferrolb-speaker",
                &[
                    &POD[..],
                    &["containers", "name=speaker", "startupProbe", value],
                ]
                .concat(),
                to,
            )
        });
    }
    changes.push(change(
        "speaker.startupProbe.enabled",
        "true",
        "DaemonSet/ferrolb-speaker",
        &[
            &POD[..],
            &[
                "containers",
                "name=speaker",
                "startupProbe",
                "httpGet",
                "path",
            ],
        ]
        .concat(),
        "/healthz",
    ));
    for (value, to) in [("runAsUser", "1001"), ("runAsGroup", "1002")] {
        changes.push(change(
            &format!("controller.securityContext.{value}"),
            to,
            "Deployment/ferrolb-controller",
            &[&POD[..], &["securityContext", value]].concat(),
            to,
        ));
    }
    changes
}

fn switched_off(change: Change) -> Change {
    Change {
        expected: None,
        ..change
    }
}

/// What acts on a component's pods.
fn for_both(component: &str, workload: &str) -> Vec<Change> {
    let own = |value: &str, to, path: &[&str], expected| {
        change(
            &format!("{component}.{value}"),
            to,
            workload,
            path,
            expected,
        )
    };
    let shared =
        |value: &str, to, path: &[&str], expected| change(value, to, workload, path, expected);
    let pod = |rest: &[&'static str]| [&POD[..], rest].concat();
    let name = format!("name={component}");
    let container = |rest: &[&'static str]| -> Vec<String> {
        let steps = [&POD[..], &["containers", &name], rest].concat();
        steps.into_iter().map(str::to_owned).collect()
    };
    let in_container = |value: &str, to, rest: &[&'static str], expected| Change {
        path: container(rest),
        ..shared(value, to, &[], expected)
    };
    let own_in_container = |value: &str, to, rest: &[&'static str], expected| {
        in_container(&format!("{component}.{value}"), to, rest, expected)
    };
    let (image, image_tag) = match component {
        "controller" => ("a/b:0.1.0", "ghcr.io/ferrolb/controller:v9"),
        _ => ("a/b:0.1.0", "ghcr.io/ferrolb/speaker:v9"),
    };
    let account = match component {
        "controller" => "ServiceAccount/ferrolb-controller",
        _ => "ServiceAccount/ferrolb-speaker",
    };
    let annotations = |rest: &[&'static str]| [&METADATA[..], &["annotations"], rest].concat();
    vec![
        shared(
            "imagePullSecrets",
            "[{name: s}]",
            &pod(&["imagePullSecrets"]),
            "[{name: s}]",
        ),
        shared(
            "prometheus.scrapeAnnotations",
            "true",
            &annotations(&["prometheus.io/scrape"]),
            "'true'",
        ),
        in_container("existingConfigMap", "mine", &["args", "--config"], "mine"),
        in_container(
            "loadBalancerClass",
            "acme/lb",
            &["args", "--lb-class"],
            "acme/lb",
        ),
        in_container(
            "prometheus.metricsPort",
            "9999",
            &["args", "--port"],
            "'9999'",
        ),
        in_container(
            "prometheus.metricsPort",
            "9999",
            &["ports", "name=monitoring", "containerPort"],
            "9999",
        ),
        own_in_container("logLevel", "debug", &["args", "--log-level"], "debug"),
        own_in_container("logFormat", "text", &["args", "--log-format"], "text"),
        own_in_container("image.repository", "a/b", &["image"], image),
        own_in_container("image.tag", "v9", &["image"], image_tag),
        own_in_container("image.pullPolicy", "Always", &["imagePullPolicy"], "Always"),
        own_in_container(
            "resources",
            "{limits: {memory: 1Gi}}",
            &["resources", "limits", "memory"],
            "1Gi",
        ),
        own(
            "serviceAccount.name",
            "me",
            &pod(&["serviceAccountName"]),
            "me",
        ),
        own(
            "serviceAccount.create",
            "false",
            &pod(&["serviceAccountName"]),
            "default",
        ),
        Change {
            object: account.to_owned(),
            ..own(
                "serviceAccount.annotations",
                "{a: b}",
                &["metadata", "annotations", "a"],
                "b",
            )
        },
        own(
            "nodeSelector",
            "{disk: ssd}",
            &pod(&["nodeSelector", "disk"]),
            "ssd",
        ),
        own(
            "tolerations",
            "[{key: k, operator: Exists}]",
            &pod(&["tolerations", "key=k"]),
            "{key: k, operator: Exists}",
        ),
        own(
            "affinity",
            "{podAffinity: {}}",
            &pod(&["affinity"]),
            "{podAffinity: {}}",
        ),
        own(
            "priorityClassName",
            "high",
            &pod(&["priorityClassName"]),
            "high",
        ),
        own("podAnnotations", "{a: b}", &annotations(&["a"]), "b"),
        own(
            "labels",
            "{team: 7}",
            &[&METADATA[..], &["labels", "team"]].concat(),
            "'7'",
        ),
        own(
            "runtimeClassName",
            "kata",
            &pod(&["runtimeClassName"]),
            "kata",
        ),
        own(
            "extraContainers",
            "[{name: more, image: 'a/b:1'}]",
            &pod(&["containers", "name=more", "image"]),
            "'a/b:1'",
        ),
        own(
            "revisionHistoryLimit",
            "3",
            &["spec", "revisionHistoryLimit"],
            "3",
        ),
        switched_off(own_in_container(
            "livenessProbe.enabled",
            "false",
            &["livenessProbe"],
            "",
        )),
        switched_off(own_in_container(
            "readinessProbe.enabled",
            "false",
            &["readinessProbe"],
            "",
        )),
        own_in_container(
            "livenessProbe.periodSeconds",
            "7",
            &["livenessProbe", "periodSeconds"],
            "7",
        ),
        own_in_container(
            "readinessProbe.periodSeconds",
            "7",
            &["readinessProbe", "periodSeconds"],
            "7",
        ),
    ]
}

fn change(
    value: &str,
    to: &'static str,
    object: &str,
    path: &[&str],
    expected: &'static str,
) -> Change {
    Change {
        value: value.to_owned(),
        to,
        with: "",
        object: object.to_owned(),
        path: path.iter().map(|step| (*step).to_owned()).collect(),
        expected: Some(expected),
    }
}

/// `a.b` and `c` make `{a: {b: c}}`.
pub(super) fn nested(path: &str, value: &str) -> String {
    path.rsplit('.')
        .fold(value.to_owned(), |inner, key| format!("{{{key}: {inner}}}"))
}

fn collect_leaves(value: &Value, path: &str, leaves: &mut Vec<String>) {
    match value {
        Value::Mapping(map) if !map.is_empty() => {
            for (key, value) in map {
                let key = key.as_str().unwrap();
                let path = if path.is_empty() {
                    key.to_owned()
                } else {
                    format!("{path}.{key}")
                };
                collect_leaves(value, &path, leaves);
            }
        }
        _ => leaves.push(path.to_owned()),
    }
}
