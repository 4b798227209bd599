//! The daemons: where their pods are, and what they answer.
//!
//! `/status` is answered to the daemon's own host alone, so it is asked through a port-forward:
//! whoever may forward ports into the namespace may read it.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::str::FromStr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use ferrolb_core::cordon::Cordon;
use ferrolb_core::elect::ExcludeLabel;
use ferrolb_core::names::DEFAULT_NAMESPACE;
use ferrolb_core::source::{Choice, Source};
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod};
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::cluster::Cluster;
use crate::terminal::{WARNING, stderr};

/// Our chart's label, then that of MetalLB's manifests, which minikube uses with our images.
const LABELS: [(&str, &str); 2] = [
    (
        "app.kubernetes.io/name=ferrolb",
        "app.kubernetes.io/component",
    ),
    ("app=metallb", "component"),
];
/// The port that the chart and MetalLB's manifests call `monitoring`.
const PORT_NAME: &str = "monitoring";
const USUAL_PORT: u16 = 7472;
/// The path on which both daemons say how they are.
pub(crate) const STATUS: &str = "/status";
/// A daemon that lives says how it is within milliseconds: who looks at an outage must not wait for
/// one that is dead.
const STATUS_WITHIN: Duration = Duration::from_secs(2);
/// Other answers take their time: a question on the wire, all the metrics.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// One of the two daemons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Component {
    Controller,
    Speaker,
}

impl Component {
    /// As labels and containers say it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Controller => "controller",
            Self::Speaker => "speaker",
        }
    }
}

/// A daemon's pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Daemon {
    pub(crate) component: Component,
    pub(crate) namespace: String,
    pub(crate) pod: String,
    /// `spec.nodeName`; `None` until it is scheduled.
    pub(crate) node: Option<String>,
    /// Condition `Ready`.
    pub(crate) ready: bool,
    /// Since when that is as it is.
    pub(crate) ready_since: Option<Timestamp>,
    /// `status.startTime`
    pub(crate) started: Option<Timestamp>,
    pub(crate) image: String,
    /// A speaker's `--exclude-label`.
    pub(crate) exclude_label: ExcludeLabel,
    /// A speaker's `--cordon`.
    pub(crate) cordon: Cordon,
    /// Its `--compiled`: the ConfigMap with what is in force.
    pub(crate) compiled: Option<String>,
    /// A controller's `--config-source`.
    pub(crate) choice: Choice,
    port: u16,
}

impl Cluster {
    /// The daemons of both components, controllers first.
    pub(crate) async fn daemons(&self) -> anyhow::Result<Vec<Daemon>> {
        let pods = match &self.system_namespace {
            Some(namespace) => self.pods_of(namespace).await?,
            None => self.pods_anywhere().await?,
        };
        let mut daemons: Vec<_> = pods.iter().filter_map(daemon).collect();
        daemons.sort_by(|a, b| (a.component, &a.pod).cmp(&(b.component, &b.pod)));
        Ok(daemons)
    }

    /// Pods in a namespace that the user named: whatever the chart's names were changed to.
    async fn pods_of(&self, namespace: &str) -> anyhow::Result<Vec<Pod>> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let pods = api.list(&ListParams::default()).await;
        Ok(pods
            .with_context(|| format!("cannot list the pods of namespace {namespace}"))?
            .items)
    }

    async fn pods_anywhere(&self) -> anyhow::Result<Vec<Pod>> {
        let api: Api<Pod> = Api::all(self.client.clone());
        for (label, _) in LABELS {
            let mut pods = match api.list(&ListParams::default().labels(label)).await {
                // Not everybody may look into all namespaces.
                Err(kube::Error::Api(status)) if status.is_forbidden() => {
                    return self.pods_of(DEFAULT_NAMESPACE).await;
                }
                pods => pods.context("cannot list the pods of FerroLB")?.items,
            };
            pods.retain(|pod| daemon(pod).is_some());
            let namespaces: BTreeSet<_> = pods.iter().filter_map(ResourceExt::namespace).collect();
            if namespaces.len() > 1 {
                let namespace = self.the_true_one(namespaces).await?;
                pods.retain(|pod| pod.namespace().as_ref() == Some(&namespace));
            }
            if !pods.is_empty() {
                return Ok(pods);
            }
        }
        Ok(Vec::new())
    }

    /// Whoever may create a pod may give it our labels, and would be asked in place of a daemon. Only
    /// the administrator binds cluster roles, so the bindings tell which namespace is meant.
    async fn the_true_one(&self, labelled: BTreeSet<String>) -> anyhow::Result<String> {
        let api: Api<ClusterRoleBinding> = Api::all(self.client.clone());
        let bindings = api.list(&ListParams::default()).await;
        let bindings = bindings.map(|list| list.items).unwrap_or_default();
        let (namespace, others) = the_true_one(labelled, &bindings)?;
        if !self.told_of_others.swap(true, Ordering::Relaxed) {
            writeln!(
                stderr(),
                "{WARNING}warning:{WARNING:#} ignoring pods with FerroLB's labels in {}: FerroLB \
                 runs in namespace {namespace} (use --system-namespace to choose another)",
                counted_names(&others)
            )?;
        }
        Ok(namespace)
    }

    /// How `daemon` says that it is.
    pub(crate) async fn status_of<T: DeserializeOwned>(
        &self,
        daemon: &Daemon,
    ) -> anyhow::Result<T> {
        let body = self.read_within(STATUS_WITHIN, daemon, STATUS).await?;
        parsed(&body, daemon, STATUS)
    }

    /// What `daemon` answers on `path`.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        daemon: &Daemon,
        path: &str,
    ) -> anyhow::Result<T> {
        parsed(&self.read(daemon, path).await?, daemon, path)
    }

    /// The same, as it comes.
    pub(crate) async fn read(&self, daemon: &Daemon, path: &str) -> anyhow::Result<Bytes> {
        self.read_within(ANSWER_WITHIN, daemon, path).await
    }

    async fn read_within(
        &self,
        patience: Duration,
        daemon: &Daemon,
        path: &str,
    ) -> anyhow::Result<Bytes> {
        timeout(patience, self.fetch(daemon, path))
            .await
            .unwrap_or_else(|_| bail!("no answer within {} s", patience.as_secs()))
            .with_context(|| does_not_tell(daemon, path))
    }

    async fn fetch(&self, daemon: &Daemon, path: &str) -> anyhow::Result<Bytes> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &daemon.namespace);
        let mut forward = api
            .portforward(&daemon.pod, &[daemon.port])
            .await
            .context("cannot forward a port (this needs the right to create pods/portforward)")?;
        let stream = forward.take_stream(daemon.port).context("no stream")?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let request = Request::get(path)
            .header(header::HOST, "localhost")
            .body(Empty::<Bytes>::new())?;
        let answered = async {
            let response = sender.send_request(request).await?;
            let status = response.status();
            anyhow::Ok((status, response.into_body().collect().await?.to_bytes()))
        };
        let answered = answered.await;
        connection.abort();
        forward.abort();
        let (status, body) = answered.context("the connection broke")?;
        if status != StatusCode::OK {
            bail!("{status}: {}", String::from_utf8_lossy(&body).trim());
        }
        Ok(body)
    }
}

fn parsed<T: DeserializeOwned>(body: &[u8], daemon: &Daemon, path: &str) -> anyhow::Result<T> {
    serde_json::from_slice(body)
        .context("its answer is from another version: use the plugin of that version")
        .with_context(|| does_not_tell(daemon, path))
}

fn does_not_tell(daemon: &Daemon, path: &str) -> String {
    let Daemon { namespace, pod, .. } = daemon;
    format!("pod {namespace}/{pod} did not answer GET {path}")
}

/// The one namespace of `labelled` that FerroLB runs in, and the others.
fn the_true_one(
    mut labelled: BTreeSet<String>,
    bindings: &[ClusterRoleBinding],
) -> anyhow::Result<(String, BTreeSet<String>)> {
    let ours = bindings.iter().filter(|binding| {
        let label = binding.labels().get("app.kubernetes.io/name");
        label.is_some_and(|name| name == "ferrolb")
            || binding.name_any().starts_with("metallb-system:")
    });
    let bound: BTreeSet<_> = ours
        .flat_map(|binding| binding.subjects.iter().flatten())
        .filter_map(|subject| subject.namespace.clone())
        .filter(|namespace| labelled.contains(namespace))
        .collect();
    let mut bound = bound.into_iter();
    let namespace = match (bound.next(), bound.next()) {
        (Some(one), None) => one,
        (None, _) if labelled.contains(DEFAULT_NAMESPACE) => DEFAULT_NAMESPACE.to_owned(),
        _ => bail!(
            "pods with FerroLB's labels run in {}: use --system-namespace to choose",
            counted_names(&labelled)
        ),
    };
    labelled.remove(&namespace);
    Ok((namespace, labelled))
}

/// `namespace a`, `namespaces a, b and 7 more`
fn counted_names(namespaces: &BTreeSet<String>) -> String {
    const NAMED: usize = 5;
    let first: Vec<_> = namespaces.iter().take(NAMED).map(String::as_str).collect();
    let noun = if namespaces.len() == 1 {
        "namespace"
    } else {
        "namespaces"
    };
    let more = match namespaces.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{noun} {}{more}", first.join(", "))
}

/// The daemon that a pod runs, if it is one of ours.
fn daemon(pod: &Pod) -> Option<Daemon> {
    let spec = pod.spec.as_ref()?;
    let labels = pod.labels();
    let component = LABELS.iter().find_map(|(_, key)| labels.get(*key))?;
    let component = [Component::Controller, Component::Speaker]
        .into_iter()
        .find(|one| one.name() == component)?;
    // MetalLB's pods have the same labels; what they answer is not ours, and said where it is asked.
    let container = spec
        .containers
        .iter()
        .find(|container| container.name == component.name())
        .or_else(|| spec.containers.first())?;
    let conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    let ready = conditions.and_then(|all| all.iter().find(|one| one.type_ == "Ready"));
    let started = pod.status.as_ref().and_then(|one| one.start_time.as_ref());
    Some(Daemon {
        component,
        namespace: pod.namespace()?,
        pod: pod.name_any(),
        node: spec.node_name.clone(),
        ready: ready.is_some_and(|condition| condition.status == "True"),
        ready_since: ready.and_then(|one| Some(one.last_transition_time.as_ref()?.0)),
        started: started.map(|time| time.0),
        image: container.image.clone().unwrap_or_default(),
        exclude_label: setting(container, "--exclude-label="),
        cordon: setting(container, "--cordon="),
        compiled: option(container, "--compiled=").map(str::to_owned),
        choice: option(container, "--config-source=")
            .and_then(Source::of)
            .map_or(Choice::Auto, Choice::Only),
        port: port(container),
    })
}

/// The value of an argument, of which this is what stands before it.
fn option<'c>(container: &'c Container, name: &str) -> Option<&'c str> {
    let mut args = container.args.iter().flatten();
    args.find_map(|arg| arg.strip_prefix(name))
}

/// As the container's arguments say it, or else its default.
fn setting<T: FromStr + Default>(container: &Container, name: &str) -> T {
    let given = option(container, name);
    given.and_then(|word| word.parse().ok()).unwrap_or_default()
}

fn port(container: &Container) -> u16 {
    let mut ports = container.ports.iter().flatten();
    let named = ports.find(|port| port.name.as_deref() == Some(PORT_NAME));
    named
        .and_then(|port| u16::try_from(port.container_port).ok())
        .unwrap_or(USUAL_PORT)
}

#[cfg(test)]
impl Daemon {
    pub(crate) fn fixture(component: Component, pod: &str, node: &str) -> Self {
        Self {
            component,
            namespace: "metallb-system".to_owned(),
            pod: pod.to_owned(),
            node: Some(node.to_owned()),
            ready: true,
            ready_since: None,
            started: None,
            image: format!("ghcr.io/ferrolb/{}:0.1.0", component.name()),
            exclude_label: ExcludeLabel::default(),
            cordon: Cordon::default(),
            compiled: None,
            choice: Choice::Auto,
            port: USUAL_PORT,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(labels: &[(&str, &str)], ports: serde_json::Value) -> Pod {
        let labels: std::collections::BTreeMap<_, _> = labels.iter().copied().collect();
        serde_json::from_value(serde_json::json!({
            "metadata": { "name": "p", "namespace": "lb", "labels": labels },
            "spec": { "nodeName": "n1", "containers": [
                { "name": "sidecar" },
                { "name": "speaker", "image": "ghcr.io/ferrolb/speaker:0.1.0", "ports": ports,
                  "args": ["--port=7472", "--exclude-label=strict", "--cordon=stay",
                           "--compiled=lb-config", "--config-source=objects"] },
            ] },
            "status": { "conditions": [{ "type": "Ready", "status": "True" }] },
        }))
        .unwrap()
    }

    #[test]
    fn pods_of_our_chart_and_of_metallbs_manifests_are_found_with_their_port() {
        let chart = pod(
            &[("app.kubernetes.io/component", "speaker")],
            serde_json::json!([{ "name": "monitoring", "containerPort": 9000 }]),
        );
        let found = daemon(&chart).unwrap();
        assert_eq!((found.component, found.port), (Component::Speaker, 9000));
        assert_eq!((found.node.as_deref(), found.ready), (Some("n1"), true));
        assert_eq!(found.image, "ghcr.io/ferrolb/speaker:0.1.0");
        assert_eq!(found.exclude_label, ExcludeLabel::Strict);
        assert_eq!(found.cordon, Cordon::Stay);
        assert_eq!(found.compiled.as_deref(), Some("lb-config"));
        assert_eq!(found.choice, Choice::Only(Source::Objects));
        let addon = pod(
            &[("app", "metallb"), ("component", "speaker")],
            serde_json::json!([]),
        );
        assert_eq!(daemon(&addon).unwrap().port, USUAL_PORT);
    }

    fn binding(name: &str, labels: serde_json::Value, namespace: &str) -> ClusterRoleBinding {
        serde_json::from_value(serde_json::json!({
            "metadata": { "name": name, "labels": labels },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name },
            "subjects": [{ "kind": "ServiceAccount", "name": "x", "namespace": namespace }],
        }))
        .unwrap()
    }

    fn chosen(labelled: &[&str], bindings: &[ClusterRoleBinding]) -> anyhow::Result<String> {
        let labelled = labelled.iter().map(|name| (*name).to_owned()).collect();
        the_true_one(labelled, bindings).map(|(namespace, _)| namespace)
    }

    #[test]
    fn of_several_namespaces_with_our_labels_the_one_whose_account_is_bound_is_asked() {
        let ours = serde_json::json!({ "app.kubernetes.io/name": "ferrolb" });
        let chart = binding("lb-controller", ours.clone(), "lb");
        let other = binding("view", serde_json::json!({}), "tenant");
        let both = [chart.clone(), other.clone()];
        assert_eq!(chosen(&["lb", "tenant"], &both).unwrap(), "lb");
        let manifest = binding(
            "metallb-system:speaker",
            serde_json::json!({}),
            "metallb-system",
        );
        let both = [manifest, other.clone()];
        assert_eq!(
            chosen(&["a", "metallb-system"], &both).unwrap(),
            "metallb-system"
        );
        // Bindings cannot be read.
        assert_eq!(
            chosen(&["a", "metallb-system"], &[]).unwrap(),
            "metallb-system"
        );
        let error = chosen(&["lb", "tenant"], &[other]).unwrap_err().to_string();
        assert!(error.contains("namespaces lb, tenant"), "{error}");
        // Two releases, each with a class of its own.
        let second = binding("lb2-controller", ours, "lb2");
        assert!(chosen(&["lb", "lb2", "tenant"], &[chart, second]).is_err());
    }

    #[test]
    fn other_pods_of_the_namespace_are_not_taken_for_daemons() {
        for labels in [&[][..], &[("component", "etcd")], &[("app", "controller")]] {
            assert_eq!(daemon(&pod(labels, serde_json::json!([]))), None);
        }
    }
}
