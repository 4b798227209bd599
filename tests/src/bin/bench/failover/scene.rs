//! The cluster that is measured: n1 has the pod of `web` and never owns its address; n2 and n3 have
//! one each of `local`, and n4 never owns its.

use std::fmt::Debug;
use std::net::Ipv4Addr;
use std::time::Instant;

use anyhow::{Context, Result, bail};
pub(crate) use ferrolb_tests::cluster::PORT;
use ferrolb_tests::cluster::{Cluster, SOON};
use ferrolb_tests::daemon::NAMESPACE;
use ferrolb_tests::hollow::HollowPod;
use ferrolb_tests::net::lan_address;
use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, WatchEvent, WatchParams};
use kube::{Api, Client};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The address of `web`.
pub(crate) const VIP: Ipv4Addr = lan_address(200);
/// The address of `local`.
pub(crate) const LOCAL: Ipv4Addr = lan_address(201);
pub(crate) const NODES: [&str; 4] = ["n1", "n2", "n3", "n4"];
/// A node with this label may not announce [`VIP`].
pub(crate) const UNFIT: &str = "bench/unfit";
/// How long a pod takes to end: longer than a round.
const TERMINATION_SECONDS: u32 = 600;

pub(crate) struct Scene {
    pub(crate) cluster: Cluster,
    /// The pod of `web`.
    web: HollowPod,
}

impl Scene {
    pub(crate) fn start() -> Result<Self> {
        let cluster = Cluster::start("bench", NODES.len() as u8, "192.168.64.200/31")?;
        let web = cluster.create_pod("web", "n1")?;
        for node in ["n2", "n3"] {
            cluster.lab.create_hollow_pod(&local_pod(node))?;
        }
        cluster.lab.apply(&format!(
            r#"{{ "apiVersion": "v1", "kind": "ConfigMap",
                 "metadata": {{ "name": "config", "namespace": "{NAMESPACE}" }},
                 "data": {{ "config": "address-pools: [
                   {{name: web, protocol: layer2, addresses: [{VIP}/32], node-selectors: [{{match-expressions: [
                     {{key: kubernetes.io/hostname, operator: NotIn, values: [n1]}},
                     {{key: {UNFIT}, operator: DoesNotExist}}]}}]}},
                   {{name: local, protocol: layer2, addresses: [{LOCAL}/32]}}]" }} }}"#
        ).replace('\n', ""))?;
        cluster.create_service("Cluster", VIP)?;
        cluster.lab.apply(&format!(
            r#"{{ "apiVersion": "v1", "kind": "Service", "metadata": {{ "name": "local" }},
                 "spec": {{ "type": "LoadBalancer", "externalTrafficPolicy": "Local",
                           "loadBalancerIP": "{LOCAL}", "selector": {{ "app": "local" }},
                           "ports": [
                   {{ "name": "tcp", "protocol": "TCP", "port": {PORT}, "targetPort": 3000 }},
                   {{ "name": "udp", "protocol": "UDP", "port": {PORT}, "targetPort": 3000 }} ] }} }}"#
        ))?;
        cluster.page(VIP)?;
        cluster.page(LOCAL)?;
        Ok(Self { cluster, web })
    }

    /// Ends what the server still holds of connections that a round before has broken: it never
    /// heard of their end, and each has a thread.
    pub(crate) fn forget_connections(&self) -> Result<()> {
        let server = self.web.process_name();
        self.cluster.lab.stop(&server)?;
        self.cluster.lab.start(&server)?;
        self.cluster.page(VIP).map(drop)
    }

    /// Patches an object. When others could know: the API server's word that it is done, or a
    /// watch's event, whichever came first.
    pub(crate) fn change<K>(
        &self,
        api: impl FnOnce(Client) -> Api<K> + Send,
        name: &str,
        patch: &Value,
    ) -> Result<Instant>
    where
        K: Clone + Debug + DeserializeOwned + Send + 'static,
    {
        self.cluster.lab.api(async |client| {
            let api = api(client);
            let only = ListParams::default().fields(&format!("metadata.name={name}"));
            let seen = next_event(&api, &only).await?;
            let (params, patch) = (PatchParams::default(), Patch::Merge(patch));
            let written = async {
                api.patch(name, &params, &patch).await?;
                Ok(Instant::now())
            };
            let (written, seen) = futures::try_join!(written, seen)?;
            Ok(written.min(seen))
        })
    }

    /// Deletes the pod of `local` on a node; it goes on serving. When others could know: the event
    /// of its EndpointSlice, which the controller manager changes.
    pub(crate) fn end_local_pod(&self, node: &str) -> Result<Instant> {
        self.cluster.lab.api(async |client| {
            let slices: Api<EndpointSlice> = Api::default_namespaced(client.clone());
            let its = ListParams::default().labels("kubernetes.io/service-name=local");
            let seen = next_event(&slices, &its).await?;
            let pods: Api<Pod> = Api::default_namespaced(client);
            let slowly = DeleteParams::default().grace_period(TERMINATION_SECONDS);
            pods.delete(&local_pod(node).name, &slowly).await?;
            seen.await
        })
    }

    /// The pod has ended, and a new one is ready.
    pub(crate) fn replace_local_pod(&self, node: &str) -> Result<()> {
        let pod = local_pod(node);
        self.cluster.lab.delete_hollow_pod(&pod)?;
        self.cluster.lab.create_hollow_pod(&pod).map(drop)
    }
}

fn local_pod(node: &str) -> HollowPod {
    HollowPod::new(&format!("local-{node}"), node).label("app", "local")
}

/// When the next change of one of these objects is seen by a watch that begins now.
async fn next_event<K>(
    api: &Api<K>,
    which: &ListParams,
) -> Result<impl Future<Output = Result<Instant>>>
where
    K: Clone + Debug + DeserializeOwned + Send + 'static,
{
    let listed = api.list(which).await?.metadata.resource_version;
    let params = WatchParams {
        field_selector: which.field_selector.clone(),
        label_selector: which.label_selector.clone(),
        ..WatchParams::default()
    };
    let mut events = api
        .watch(&params, &listed.unwrap_or_default())
        .await?
        .boxed();
    Ok(async move {
        let event = tokio::time::timeout(SOON, events.next()).await;
        let event = event.context("no event")?.context("the watch ended")??;
        let at = Instant::now();
        match event {
            WatchEvent::Modified(_) => Ok(at),
            other => bail!("not a change: {other:?}"),
        }
    })
}
