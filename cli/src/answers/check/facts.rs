//! What is asked of the cluster.

use std::collections::BTreeMap;

use anyhow::Context;
use ferrolb_core::names::{DEFAULT_CONFIG_NAME, DEFAULT_NAMESPACE};
use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};

use super::leftovers::{self, Leftovers};
use crate::cluster::Cluster;
use crate::output::causes;
use crate::picture::Picture;

/// What the rules judge.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// Major and minor version of the API server.
    pub(super) version: (u32, u32),
    /// The namespace that FerroLB runs in, or would.
    pub(super) namespace: String,
    /// Whether there is one; if that cannot be read, too.
    pub(super) namespace_exists: bool,
    /// Its labels, as far as they can be read.
    pub(super) labels: Option<BTreeMap<String, String>>,
    /// `None` if they cannot be read.
    pub(super) daemon_sets: Option<Vec<DaemonSet>>,
    /// kubeadm's configuration of kube-proxy, where there is one.
    pub(super) kube_proxy: Option<String>,
    /// `None` if it cannot be read.
    pub(super) config: Option<Option<ConfigMap>>,
    /// What a MetalLB that is there, or was, means for its objects.
    pub(super) leftovers: Leftovers,
    /// Whether a policy limits what can be changed of `pods/status`; `None` if nobody may write it, or if that
    /// cannot be read.
    pub(super) limits_pod_status: Option<bool>,
    /// What the daemons say; `None` if it cannot be read where they are.
    pub(super) picture: Option<Picture>,
    /// What could not be read, and why.
    pub(super) unread: Vec<String>,
}

/// Asks for all of it. Only the version must be told.
pub(crate) async fn gather(cluster: &Cluster) -> anyhow::Result<Facts> {
    let version = cluster.client.apiserver_version().await;
    let version = version.context("cannot read the version of the API server")?;
    let number = |text: &str| text.trim_end_matches('+').parse().unwrap_or_default();
    let mut unread = Vec::new();
    let mut keep = |what: &str, error: kube::Error| {
        unread.push(format!("{what}: {}", causes(&error.into())));
    };
    let picture = cluster.picture().await;
    let namespace = cluster
        .system_namespace
        .clone()
        .or_else(|| {
            let daemons = &picture.as_ref().ok()?.daemons;
            Some(daemons.first()?.namespace.clone())
        })
        .unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned());
    let client = || cluster.client.clone();
    let all = ListParams::default();
    let listed = Api::<DaemonSet>::all(client()).list(&all).await;
    let listed = listed.map_err(|error| keep("DaemonSets", error));
    let daemon_sets = listed.ok().map(|list| list.items);
    let found = Api::<Namespace>::all(client()).get_opt(&namespace).await;
    let namespace_exists = !matches!(found, Ok(None));
    let labels = match found {
        Ok(found) => found.map(|namespace| namespace.labels().clone()),
        Err(error) => {
            keep("the namespace", error);
            None
        }
    };
    let mut map = async |namespace: &str, name: &str| {
        let api: Api<ConfigMap> = Api::namespaced(client(), namespace);
        let found = api.get_opt(name).await;
        found
            .map_err(|error| keep(&format!("ConfigMap {namespace}/{name}"), error))
            .ok()
    };
    let kube_proxy = map("kube-system", "kube-proxy").await.flatten();
    let kube_proxy = kube_proxy.and_then(|map| map.data?.remove("config.conf"));
    let config = map(&namespace, DEFAULT_CONFIG_NAME).await;
    let leftovers = leftovers::gather(&cluster.client, &mut unread).await;
    let picture = picture.map_err(|error| unread.push(causes(&error))).ok();
    let limits_pod_status = match &picture {
        Some(picture) if marks_pods(picture) => limits_pod_status(client()).await,
        _ => Ok(None),
    };
    let limits_pod_status = limits_pod_status.unwrap_or_else(|error| {
        let what = causes(&error.into());
        unread.push(format!("ValidatingAdmissionPolicies: {what}"));
        None
    });
    Ok(Facts {
        version: (number(&version.major), number(&version.minor)),
        namespace,
        namespace_exists,
        labels,
        daemon_sets,
        kube_proxy,
        config,
        leftovers,
        limits_pod_status,
        picture,
        unread,
    })
}

/// Whether the controller takes pods of dead nodes out of rotation.
pub(super) fn marks_pods(picture: &Picture) -> bool {
    let controller = picture.controller.as_ref();
    controller.is_ok_and(|controller| controller.dead_nodes.is_some())
}

/// Whether a policy that is bound to deny covers `pods/status`.
async fn limits_pod_status(client: Client) -> kube::Result<Option<bool>> {
    let all = ListParams::default();
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(client.clone());
    let policies = match policies.list(&all).await {
        Ok(list) => list.items,
        // Before Kubernetes 1.30 there are none.
        Err(kube::Error::Api(status)) if status.code == 404 => return Ok(Some(false)),
        Err(error) => return Err(error),
    };
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(client);
    let bindings = bindings.list(&all).await?.items;
    Ok(Some(policies.iter().any(|policy| {
        covers_pod_status(policy) && denies(&policy.name_any(), &bindings)
    })))
}

fn covers_pod_status(policy: &ValidatingAdmissionPolicy) -> bool {
    let spec = policy.spec.as_ref();
    let matches = spec.and_then(|spec| spec.match_constraints.as_ref());
    let rules = matches.and_then(|matches| matches.resource_rules.as_ref());
    let mut resources = rules
        .into_iter()
        .flatten()
        .flat_map(|rule| rule.resources.iter().flatten());
    resources.any(|resource| resource == "pods/status")
}

fn denies(policy: &str, bindings: &[ValidatingAdmissionPolicyBinding]) -> bool {
    let mut specs = bindings.iter().filter_map(|binding| binding.spec.as_ref());
    specs.any(|spec| {
        let mut actions = spec.validation_actions.iter().flatten();
        spec.policy_name.as_deref() == Some(policy) && actions.any(|action| action == "Deny")
    })
}
