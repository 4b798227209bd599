//! Who may announce an address: the speakers' own rules, on what the API server says now.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use anyhow::anyhow;
use ferrolb_core::Reason;
use ferrolb_core::address::Family;
use ferrolb_core::advertise::Advertised;
use ferrolb_core::config::Config;
use ferrolb_core::cordon::Cordon;
use ferrolb_core::elect::{Backend, ExcludeLabel, Standings, standings};
use ferrolb_core::k8s::{endpoint_slice_view, node_view, service_view};
use ferrolb_core::ownership::FAST;
use ferrolb_core::view::{EndpointSliceView, NodeView, ServiceKey, ServiceView};

use crate::cluster::Cluster;
use crate::daemons::Daemon;

/// What an election reads.
#[derive(Debug, Clone)]
pub(crate) struct Election {
    pub(crate) services: Vec<ServiceView>,
    pub(crate) slices: Vec<EndpointSliceView>,
    pub(crate) nodes: BTreeMap<String, NodeView>,
    /// `None`: none is in force, or the last good one is not known here.
    pub(crate) config: Option<Config>,
    /// How the speakers take that label.
    pub(crate) exclude_label: ExcludeLabel,
    /// What a mere cordon does: with `stay` the speakers, and so `nodes`, do not see it.
    pub(crate) cordon: Cordon,
    /// What makes it uncertain.
    pub(crate) note: Option<&'static str>,
}

/// As the speakers were told it. During a rollout they may differ for a moment.
pub(crate) fn cordon(daemons: &[Daemon]) -> Cordon {
    let mut told = daemons.iter().map(|daemon| daemon.cordon);
    let other = told.find(|cordon| *cordon != Cordon::default());
    other.unwrap_or_default()
}

impl Cluster {
    pub(crate) async fn election(&self, daemons: &[Daemon]) -> anyhow::Result<Election> {
        let nodes = self.every(|node| node_view(&node)).await?.into_iter();
        let cordon = cordon(daemons);
        let seen = |node: NodeView| NodeView {
            unschedulable: node.unschedulable && cordon == Cordon::Move,
            ..node
        };
        let configured = self.configured(daemons).await?;
        Ok(Election {
            services: self.every(|service| service_view(&service)).await?,
            slices: self.every(|slice| endpoint_slice_view(&slice)).await?,
            nodes: nodes.map(|node| (node.name.clone(), seen(node))).collect(),
            cordon,
            exclude_label: daemons
                .iter()
                .map(|daemon| daemon.exclude_label)
                .find(|label| *label != ExcludeLabel::default())
                .unwrap_or_default(),
            note: configured.note,
            config: configured.config,
        })
    }
}

impl Election {
    pub(crate) fn service(&self, key: &ServiceKey) -> Option<&ServiceView> {
        self.services.iter().find(|service| service.key == *key)
    }

    /// What is said to whoever names a node that there is not.
    pub(crate) fn unknown_node(&self, node: &str) -> anyhow::Error {
        let names: Vec<_> = self.nodes.keys().map(String::as_str).collect();
        anyhow!("there is no node {node}; there are {}", names.join(", "))
    }

    /// As it is once `node` is cordoned.
    pub(crate) fn cordoned(&self, node: &str) -> Self {
        let mut cordoned = self.clone();
        if self.cordon == Cordon::Stay {
            return cordoned;
        }
        if let Some(node) = cordoned.nodes.get_mut(node) {
            node.unschedulable = true;
        }
        cordoned
    }

    /// As it is while `node` takes part as any other one.
    pub(crate) fn uncordoned(&self, node: &str) -> Self {
        let mut uncordoned = self.clone();
        if let Some(node) = uncordoned.nodes.get_mut(node) {
            (node.unschedulable, node.leaving) = (false, false);
        }
        uncordoned
    }

    /// Whether `node` takes `address` back from `other` for its weights alone, once it has been well for a
    /// while.
    pub(crate) fn prefers(&self, address: IpAddr, node: &str, other: &str) -> bool {
        let Ok(standings) = self.standings(address, None) else {
            return false;
        };
        match (standings.of(node), standings.of(other)) {
            (Ok(tier), Ok(others)) => {
                tier.number() <= others.number() && tier.unpreferred() < others.unpreferred()
            }
            _ => false,
        }
    }

    /// As it is once the pods on `node` are evicted, and none has come elsewhere.
    pub(crate) fn without_pods_on(&self, node: &str) -> Self {
        let mut without = self.clone();
        for slice in &mut without.slices {
            let endpoints = &mut slice.endpoints;
            endpoints.retain(|one| one.node.as_deref() != Some(node));
        }
        without
    }

    /// As it is once the nodes are gone.
    pub(crate) fn without_nodes(&self, gone: &BTreeSet<&str>) -> Self {
        let mut without = self.clone();
        without
            .nodes
            .retain(|name, _| !gone.contains(name.as_str()));
        without
    }

    /// As it is under another configuration.
    pub(crate) fn under(&self, config: Option<Config>) -> Self {
        Self {
            config,
            ..self.clone()
        }
    }

    /// The Services that have the address.
    pub(crate) fn services_at(&self, address: IpAddr) -> impl Iterator<Item = &ServiceView> {
        let services = self.services.iter();
        services.filter(move |one| one.load_balancer && one.assigned.contains(&address))
    }

    /// How each node stands for `address`, if its Services ask for the node `move_to`, or else for
    /// whichever they name.
    pub(crate) fn standings(
        &self,
        address: IpAddr,
        move_to: Option<&str>,
    ) -> Result<Standings<'_>, Reason> {
        let services: Vec<_> = self.services_at(address).collect();
        let advertised = Advertised::of(address, &services, self.config.as_ref());
        let announced = advertised.layer2_services()?.iter();
        let backends: Vec<_> = announced
            .map(|service| self.backend(service, address, move_to))
            .collect();
        let layer2 = advertised.layer2();
        standings(address, &backends, layer2, &self.nodes, self.exclude_label)
    }

    fn backend<'a>(
        &'a self,
        service: &'a ServiceView,
        address: IpAddr,
        move_to: Option<&'a str>,
    ) -> Backend<'a> {
        let slices = self.slices.iter();
        let slices = slices.filter(|slice| slice.service == service.key);
        let backend = Backend::of(service, slices, Family::of(address));
        Backend {
            move_to: move_to.or(backend.move_to),
            ..backend
        }
    }
}

/// What is said of addresses that `node` takes back for its weights, if there are any.
pub(crate) fn returns_of_its_own_accord(addresses: &[IpAddr], node: &str) -> Option<String> {
    let all: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    let returns = match addresses.len() {
        0 => return None,
        1 => "returns",
        _ => "return, one after another,",
    };
    Some(format!(
        "{} {returns} to {node} once that has been well for {} s, because it is preferred \
         (preferred-nodes)",
        all.join(", "),
        FAST.take_back.as_secs()
    ))
}

#[cfg(test)]
impl Election {
    /// With a weight of `node`.
    pub(crate) fn preferring(mut self, node: &str) -> Self {
        use ferrolb_core::config::{LabelSelector, PreferredNodes};

        let label = ("rack".to_owned(), "a".to_owned());
        let labels = [label.clone()].into_iter().collect();
        self.nodes.get_mut(node).unwrap().labels = labels;
        let preferred = PreferredNodes {
            weight: 50,
            selector: LabelSelector {
                match_labels: [label].into(),
                ..LabelSelector::default()
            },
        };
        self.config.as_mut().unwrap().layer2[0].preferred_nodes = vec![preferred];
        self
    }

    /// `n1`, `n2` and `n3`, of which `cordoned` is, 192.168.64.11 and so on; a pool of .240 to .250, and
    /// the Services.
    pub(crate) fn fixture(cordoned: &str, services: &[&ServiceFixture<'_>]) -> Self {
        use ferrolb_core::config::{self, Outcome};
        use serde_json::{from_value, json};

        let node = |number: u8| {
            let name = format!("n{number}");
            let node = from_value(json!({
                "metadata": { "name": name },
                "spec": { "unschedulable": name == cordoned },
                "status": { "addresses": [
                    { "type": "InternalIP", "address": format!("192.168.64.1{number}") },
                ] },
            }));
            (name, node_view(&node.unwrap()).unwrap())
        };
        let data = "address-pools:\n- name: default\n  protocol: layer2\n  addresses: \
             [192.168.64.240/28]\n";
        let data = [("config".to_owned(), data.to_owned())].into();
        let Outcome::Valid(config) = config::of_data(Some(&data)) else {
            panic!("the configuration is valid");
        };
        let view = |one: &&ServiceFixture<'_>| {
            let service = from_value(json!({
                "metadata": {
                    "namespace": "shop",
                    "name": one.name,
                    "annotations": one.asks_for.map(|node| json!({ "ferrolb.io/move-to": node })),
                },
                "spec": {
                    "type": "LoadBalancer", "clusterIPs": ["10.96.0.10"],
                    "externalTrafficPolicy": one.policy,
                },
                "status": { "loadBalancer": { "ingress": [{ "ip": one.address }] } },
            }));
            service_view(&service.unwrap()).unwrap()
        };
        let slice = |one: &&ServiceFixture<'_>| {
            let endpoints = one
                .pods_on
                .iter()
                .map(|node| json!({ "addresses": [], "nodeName": node }));
            let slice = from_value(json!({
                "metadata": {
                    "namespace": "shop",
                    "name": one.name,
                    "labels": { "kubernetes.io/service-name": one.name },
                },
                "addressType": "IPv4",
                "endpoints": endpoints.collect::<Vec<_>>(),
            }));
            endpoint_slice_view(&slice.unwrap()).unwrap()
        };
        Self {
            services: services.iter().map(view).collect(),
            slices: services.iter().map(slice).collect(),
            nodes: (1..=3).map(node).collect(),
            config: Some(config),
            exclude_label: ExcludeLabel::default(),
            cordon: Cordon::default(),
            note: None,
        }
    }
}

/// A Service of namespace `shop`.
#[cfg(test)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct ServiceFixture<'a> {
    pub(crate) name: &'a str,
    pub(crate) address: &'a str,
    pub(crate) policy: &'a str,
    /// Nodes with a ready pod.
    pub(crate) pods_on: &'a [&'a str],
    pub(crate) asks_for: Option<&'a str>,
}
