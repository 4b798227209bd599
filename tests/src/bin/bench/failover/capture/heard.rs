//! What is written to the API meanwhile: votes, readiness, endpoints, Events.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use ferrolb_tests::Lab;
use ferrolb_tests::daemon::NAMESPACE;
use ferrolb_tests::net::CONTROL_PLANE;
use futures::StreamExt;
use kube::api::{ApiResource, DynamicObject, ListParams, WatchEvent, WatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client};
use serde_json::Value;

/// How long after its end is ordered it ends.
const TICK: Duration = Duration::from_millis(20);

/// When, and what.
pub(super) type Line = (SystemTime, String);

#[derive(Default)]
struct Shared {
    ends: AtomicBool,
    lines: Mutex<Vec<Line>>,
}

pub(super) struct Heard {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

impl Heard {
    /// Every watch has begun when this returns.
    pub(super) fn start(lab: &Lab) -> Result<Self> {
        let shared = Arc::<Shared>::default();
        let (host, kubeconfig) = (lab.host(CONTROL_PLANE)?.clone(), lab.kubeconfig());
        let of_thread = Arc::clone(&shared);
        let (ready, is_ready) = mpsc::channel();
        let thread = thread::spawn(move || {
            let listen = || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()?;
                let config = Kubeconfig::read_from(&kubeconfig)?;
                runtime.block_on(listen(config, &of_thread, &ready))
            };
            let ended = host.enter(listen).and_then(|ended| ended);
            // Whoever waits hears of it; later nobody does.
            let _ = ready.send(ended);
        });
        is_ready.recv().context("the watches ended")??;
        Ok(Self { shared, thread })
    }

    pub(super) fn stop(self) -> Vec<Line> {
        self.shared.ends.store(true, Ordering::Relaxed);
        let _ = self.thread.join();
        let mut lines = self
            .shared
            .lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut lines)
    }
}

/// What is told of an object.
type Told = fn(&Value) -> Option<String>;

async fn listen(
    config: Kubeconfig,
    shared: &Shared,
    ready: &mpsc::Sender<Result<()>>,
) -> Result<()> {
    let config =
        kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?;
    let client = Client::try_from(config)?;
    let its = |label: &str| ListParams::default().labels(label);
    let kinds: [(&str, &str, &str, &str, ListParams, Told); 5] = [
        (
            "",
            "ConfigMap",
            "configmaps",
            NAMESPACE,
            named("ferrolb-votes"),
            votes,
        ),
        ("", "Pod", "pods", "default", its("app=web"), readiness),
        (
            "discovery.k8s.io",
            "EndpointSlice",
            "endpointslices",
            "default",
            its("kubernetes.io/service-name=web"),
            endpoints,
        ),
        ("", "Service", "services", "default", named("web"), order),
        (
            "",
            "Event",
            "events",
            "default",
            ListParams::default(),
            event,
        ),
    ];
    let mut streams = Vec::new();
    for (group, kind, plural, namespace, which, told) in kinds {
        let resource = ApiResource {
            group: group.to_owned(),
            version: "v1".to_owned(),
            api_version: format!("{group}/v1").trim_start_matches('/').to_owned(),
            kind: kind.to_owned(),
            plural: plural.to_owned(),
        };
        let api = Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &resource);
        let listed = api.list(&which).await?.metadata.resource_version;
        let params = WatchParams {
            field_selector: which.field_selector,
            label_selector: which.label_selector,
            ..WatchParams::default()
        };
        let events = api.watch(&params, &listed.unwrap_or_default()).await?;
        let lines = events.filter_map(move |event| async move {
            let (WatchEvent::Added(object) | WatchEvent::Modified(object)) = event.ok()? else {
                return None;
            };
            let at = SystemTime::now();
            told(&serde_json::to_value(object).ok()?).map(|text| (at, text))
        });
        streams.push(lines.boxed());
    }
    let _ = ready.send(Ok(()));
    let mut lines = futures::stream::select_all(streams);
    while !shared.ends.load(Ordering::Relaxed) {
        if let Ok(Some(line)) = tokio::time::timeout(TICK, lines.next()).await {
            let mut all = shared.lines.lock().unwrap_or_else(PoisonError::into_inner);
            // What is told of an object does not change with each of its versions.
            if !all.iter().rev().any(|(_, text)| *text == line.1) {
                all.push(line);
            }
        }
    }
    Ok(())
}

fn named(name: &str) -> ListParams {
    ListParams::default().fields(&format!("metadata.name={name}"))
}

fn votes(object: &Value) -> Option<String> {
    let entries = object["data"].as_object()?.iter();
    let entries: Vec<_> = entries
        .map(|(node, entry)| format!("{node}: {}", entry.as_str().unwrap_or_default()))
        .collect();
    Some(format!(
        "ConfigMap ferrolb-votes has {}",
        entries.join("; ")
    ))
}

fn readiness(object: &Value) -> Option<String> {
    let conditions = object["status"]["conditions"].as_array()?;
    let ready = conditions.iter().find(|one| one["type"] == "Ready")?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (status, reason) = (text(&ready["status"]), text(&ready["reason"]));
    let because = match &*reason {
        "" => String::new(),
        reason => format!(", reason {reason}: {}", text(&ready["message"])),
    };
    let node = text(&object["spec"]["nodeName"]);
    Some(format!("the pod on {node} has Ready={status}{because}"))
}

fn endpoints(object: &Value) -> Option<String> {
    let endpoints = object["endpoints"].as_array()?.iter();
    let ready = endpoints.filter(|one| one["conditions"]["ready"] == true);
    let mut nodes: Vec<_> = ready.filter_map(|one| one["nodeName"].as_str()).collect();
    nodes.sort_unstable();
    Some(format!(
        "the EndpointSlice of web has ready endpoints on {}",
        nodes.join(", ")
    ))
}

fn order(object: &Value) -> Option<String> {
    let node = object["metadata"]["annotations"]["ferrolb.io/move-to"].as_str()?;
    Some(format!(
        "Service web is annotated ferrolb.io/move-to={node}"
    ))
}

fn event(object: &Value) -> Option<String> {
    let component = object["source"]["component"].as_str();
    let component = component.or(object["reportingComponent"].as_str())?;
    let said = component.contains("ferrolb") || component.contains("metallb");
    let text = |key: &str| object[key].as_str().unwrap_or_default();
    said.then(|| format!("Event {}: {}", text("reason"), text("message")))
}
