//! What is asked of the cluster.

use std::collections::BTreeMap;

use anyhow::Context;
use ferrolb_core::names::DEFAULT_CONFIG_NAME;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node};
use kube::api::ListParams;
use kube::{Api, ResourceExt};

use crate::cluster::Cluster;
use crate::daemons::{Daemon, USUAL_NAMESPACE};
use crate::output::causes;

/// What the rules judge.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// Major and minor version of the API server.
    pub(super) version: (u32, u32),
    /// The namespace that FerroLB runs in, or would.
    pub(super) namespace: String,
    /// Whether there is one; if that cannot be read, too.
    pub(super) namespace_exists: bool,
    /// Its labels, as far as they can be read.
    pub(super) labels: Option<BTreeMap<String, String>>,
    pub(super) daemon_sets: Vec<DaemonSet>,
    /// kubeadm's configuration of kube-proxy, where there is one.
    pub(super) kube_proxy: Option<String>,
    pub(super) config: Option<ConfigMap>,
    pub(super) nodes: Vec<Node>,
    pub(super) daemons: Vec<Daemon>,
    /// What could not be read, and why.
    pub(super) unread: Vec<String>,
}

/// Asks for all of it. Only the version must be told.
pub(super) async fn gather(cluster: &Cluster) -> anyhow::Result<Facts> {
    let version = cluster.client.apiserver_version().await;
    let version = version.context("the API server does not answer")?;
    let number = |text: &str| text.trim_end_matches('+').parse().unwrap_or_default();
    let mut unread = Vec::new();
    let mut read = |what: &str, error: String| unread.push(format!("{what}: {error}"));

    let daemons = match cluster.daemons().await {
        Ok(daemons) => daemons,
        Err(error) => {
            read("pods", causes(&error));
            Vec::new()
        }
    };
    let namespace = cluster
        .system_namespace
        .clone()
        .or_else(|| Some(daemons.first()?.namespace.clone()))
        .unwrap_or_else(|| USUAL_NAMESPACE.to_owned());
    let client = || cluster.client.clone();
    let all = ListParams::default();
    let daemon_sets = match Api::<DaemonSet>::all(client()).list(&all).await {
        Ok(list) => list.items,
        Err(error) => {
            read("DaemonSets", error.to_string());
            Vec::new()
        }
    };
    let nodes = match Api::<Node>::all(client()).list(&all).await {
        Ok(list) => list.items,
        Err(error) => {
            read("nodes", error.to_string());
            Vec::new()
        }
    };
    let found = Api::<Namespace>::all(client()).get_opt(&namespace).await;
    let namespace_exists = !matches!(found, Ok(None));
    let labels = match found {
        Ok(found) => found.map(|namespace| namespace.labels().clone()),
        Err(error) => {
            read("the namespace", error.to_string());
            None
        }
    };
    let mut map = async |namespace: &str, name: &str| {
        let api: Api<ConfigMap> = Api::namespaced(client(), namespace);
        match api.get_opt(name).await {
            Ok(found) => found,
            Err(error) => {
                read(&format!("ConfigMap {namespace}/{name}"), error.to_string());
                None
            }
        }
    };
    let kube_proxy = map("kube-system", "kube-proxy").await;
    let kube_proxy = kube_proxy.and_then(|map| map.data?.remove("config.conf"));
    let config = map(&namespace, DEFAULT_CONFIG_NAME).await;
    Ok(Facts {
        version: (number(&version.major), number(&version.minor)),
        namespace,
        namespace_exists,
        labels,
        daemon_sets,
        kube_proxy,
        config,
        nodes,
        daemons,
        unread,
    })
}
