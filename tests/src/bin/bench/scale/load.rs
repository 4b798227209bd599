//! Objects as a large cluster has them, and what happens to them.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use anyhow::{Context, Result};
use futures::{AsyncBufReadExt as _, StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{ListParams, Patch, PatchParams, WatchParams};
use kube::core::Request;
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::many::create_all;

/// Changes that are under way at once.
const CHANGES: usize = 16;
/// Nothing has changed for so long: it will not.
const QUIET: Duration = Duration::from_secs(10);
/// What a kubelet lists at most.
const IMAGES: usize = 50;
const SELECTOR: &str = "kubernetes.io/service-name in (web-0)";

pub(super) struct Load {
    client: Client,
}

impl Load {
    pub(super) const fn new(client: Client) -> Self {
        Self { client }
    }

    fn slices_api(&self) -> Api<EndpointSlice> {
        Api::default_namespaced(self.client.clone())
    }

    fn services_api(&self) -> Api<Service> {
        Api::default_namespaced(self.client.clone())
    }

    /// Services of type `LoadBalancer` whose one endpoint nobody but this bench makes.
    pub(super) async fn served(&self, numbers: Range<usize>) -> Result<()> {
        let name = |number| format!("web-{number}");
        let service = |number| {
            json!({
                "metadata": { "name": name(number) },
                "spec": { "type": "LoadBalancer", "allocateLoadBalancerNodePorts": false,
                          "ports": [{ "port": 80 }] },
            })
        };
        let slice = |number| slice(&name(number), &name(number), 1);
        create_all(&self.slices_api(), numbers.clone().map(slice)).await?;
        create_all(&self.services_api(), numbers.map(service)).await
    }

    pub(super) async fn slices(&self, count: usize, endpoints: usize) -> Result<()> {
        let object = |number| slice(&foreign(number), &foreign(number), endpoints);
        create_all(&self.slices_api(), (0..count).map(object)).await
    }

    pub(super) async fn services(&self, count: usize) -> Result<()> {
        let object = |number| {
            json!({
                "metadata": { "name": foreign(number) },
                "spec": { "clusterIP": "None", "ports": [{ "port": 80 }] },
            })
        };
        create_all(&self.services_api(), (0..count).map(object)).await
    }

    pub(super) async fn nodes(&self, count: usize) -> Result<()> {
        let api = Api::<Node>::all(self.client.clone());
        create_all(&api, (0..count).map(node)).await?;
        // The controller manager writes to each of them, some thirty in a second.
        let mut before = BTreeSet::new();
        loop {
            let all = api.list_metadata(&ListParams::default()).await?;
            let versions = all.iter().filter_map(ResourceExt::resource_version);
            let now: BTreeSet<_> = versions.collect();
            if now == before {
                return Ok(());
            }
            before = now;
            sleep(QUIET).await;
        }
    }

    /// Changes one slice after the other, so many in a second; how many in all.
    pub(super) async fn churn(&self, slices: usize, rate: u32, time: Duration) -> Result<u64> {
        let api = self.slices_api();
        let mut beat = interval(Duration::from_secs(1) / rate.max(1));
        beat.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let end = Instant::now() + time;
        let beats = futures::stream::unfold((beat, 0_usize), |(mut beat, number)| async move {
            beat.tick().await;
            (Instant::now() < end).then_some((number, (beat, number + 1)))
        });
        let changes = beats.map(async |number| {
            // Whoever watches gets all of it anew.
            let change = json!({ "metadata": { "annotations": { "change": number.to_string() } } });
            let patch = Patch::Merge(change);
            let name = foreign(number % slices);
            api.patch(&name, &PatchParams::default(), &patch)
                .await
                .with_context(|| format!("cannot change {name}"))?;
            anyhow::Ok(())
        });
        let changes = changes.buffer_unordered(CHANGES);
        changes.try_fold(0, async |count, ()| Ok(count + 1)).await
    }

    /// Holds so many watches of Nodes and of `EndpointSlices` open, and reads what they tell.
    pub(super) async fn hold_watches(&self, count: usize, of_all: bool) -> Result<JoinSet<()>> {
        let mut watches = JoinSet::new();
        let nodes = Api::<Node>::all(self.client.clone());
        let slices = Api::<EndpointSlice>::all(self.client.clone());
        let version = slices.list(&ListParams::default().limit(1)).await?;
        let version = version.metadata.resource_version.unwrap_or_default();
        let selected = if of_all {
            WatchParams::default()
        } else {
            WatchParams::default().labels(SELECTOR)
        };
        let urls = [
            (nodes.resource_url().to_owned(), WatchParams::default()),
            (slices.resource_url().to_owned(), selected),
        ];
        for _ in 0..count {
            for (url, params) in &urls {
                // Longer than anything here takes.
                let params = params.clone().timeout(24 * 60 * 60);
                let request = Request::new(url.clone()).watch(&params, &version)?;
                let mut told = Box::pin(self.client.request_stream(request).await?);
                watches.spawn(async move {
                    while let Ok(bytes) = told.fill_buf().await {
                        let length = bytes.len();
                        if length == 0 {
                            break;
                        }
                        told.consume_unpin(length);
                    }
                });
            }
        }
        Ok(watches)
    }
}

fn foreign(number: usize) -> String {
    format!("foreign-{number}")
}

/// As the controller manager writes one of a Deployment.
fn slice(name: &str, service: &str, endpoints: usize) -> Value {
    let endpoints = (0..endpoints).map(|number| {
        json!({
            "addresses": [format!("10.{}.{}.{}", 64 + number % 16, number / 16 % 256, number % 250 + 1)],
            "conditions": { "ready": true, "serving": true, "terminating": false },
            "nodeName": format!("node-{}", number % 500),
            "targetRef": { "kind": "Pod", "namespace": "default", "name": format!("{service}-7d4b9c6f5d-{number:05}"),
                           "uid": format!("8f14e45f-ceea-467f-9e5b-{number:012x}") },
            "zone": format!("zone-{}", number % 3),
        })
    });
    json!({
        "metadata": { "name": name, "labels": {
            "kubernetes.io/service-name": service,
            // Else the controller manager would delete it.
            "endpointslice.kubernetes.io/managed-by": "bench.ferrolb.io",
        } },
        "addressType": "IPv4",
        "endpoints": endpoints.collect::<Vec<_>>(),
        "ports": [{ "name": "http", "port": 8080, "protocol": "TCP" }],
    })
}

/// As a kubelet writes its own.
fn node(number: usize) -> Value {
    let name = format!("node-{number}");
    let images = (0..IMAGES).map(|image| {
        let repository = format!("registry.example.com/team-{}/application-{image}", image % 7);
        json!({
            "names": [format!("{repository}@sha256:{image:064x}"), format!("{repository}:v1.{image}.0")],
            "sizeBytes": 123_456_789,
        })
    });
    let conditions = ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"].map(|kind| {
        let status = if kind == "Ready" { "True" } else { "False" };
        json!({ "type": kind, "status": status, "reason": "KubeletHasNoDiskPressure",
                "message": "kubelet has no disk pressure",
                "lastHeartbeatTime": "2026-11-01T00:00:00Z", "lastTransitionTime": "2026-11-01T00:00:00Z" })
    });
    json!({
        "metadata": { "name": name, "labels": {
            "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
            "topology.kubernetes.io/zone": format!("zone-{}", number % 3),
        } },
        "status": {
            "addresses": [
                { "type": "InternalIP", "address": format!("10.20.{}.{}", number / 250, number % 250 + 1) },
                { "type": "Hostname", "address": name },
            ],
            "capacity": { "cpu": "64", "memory": "256Gi", "pods": "110", "ephemeral-storage": "1Ti" },
            "conditions": conditions,
            "images": images.collect::<Vec<_>>(),
            "nodeInfo": {
                "machineID": "m", "systemUUID": "u", "bootID": "b", "kernelVersion": "6.12.0",
                "osImage": "Debian GNU/Linux 13 (trixie)", "containerRuntimeVersion": "containerd://2.1.0",
                "kubeletVersion": "v1.34.4", "kubeProxyVersion": "", "operatingSystem": "linux",
                "architecture": "amd64",
            },
        },
    })
}
