//! Watches of what the cluster uses itself, and of what Services list in `externalIPs`: as far as the
//! rights and the API server have it.

use std::net::IpAddr;

use ferrolb_core::address::AddressRange;
use ferrolb_core::k8s::{endpoint_addresses, external_ips, key, service_ranges};
use ferrolb_core::view::ServiceKey;
use futures::stream::{BoxStream, StreamExt, select_all};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::ServiceCIDR;
use kube::{Api, Client};

use crate::rights::Rights;
use crate::watch::{Seen, watch, watch_if_there_are};

/// The `EndpointSlice` in namespace `default` that says where the API server is.
pub const API_SERVER: &str = "kubernetes";

/// What is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Services of other types than `LoadBalancer`, for their `externalIPs`.
    Services,
    /// The API server's endpoints.
    ApiServer,
    /// The ranges of cluster IPs.
    ServiceRanges,
}

/// What a watch saw.
#[derive(Debug)]
pub enum Found {
    /// Of [`Source::Services`]: those that list any.
    Services(Seen<(ServiceKey, Box<[IpAddr]>)>),
    /// Of [`Source::ApiServer`].
    ApiServer(Seen<Vec<IpAddr>>),
    /// Of [`Source::ServiceRanges`]: the object's name, and its ranges.
    ServiceRanges(Seen<(String, Vec<AddressRange>)>),
}

impl Found {
    /// Whether it tells of an object that cannot be decoded.
    #[must_use]
    pub const fn is_unreadable(&self) -> bool {
        matches!(
            self,
            Self::Services(Seen::Unreadable(_))
                | Self::ApiServer(Seen::Unreadable(_))
                | Self::ServiceRanges(Seen::Unreadable(_))
        )
    }
}

/// What there is to watch.
pub fn sources(rights: Rights) -> impl Iterator<Item = Source> {
    let api_server = rights.api_server.then_some(Source::ApiServer);
    let service_ranges = rights.service_ranges.then_some(Source::ServiceRanges);
    [Some(Source::Services), api_server, service_ranges]
        .into_iter()
        .flatten()
}

/// Watches all of it.
#[must_use]
pub fn watch_network(client: &Client, rights: Rights) -> BoxStream<'static, Found> {
    let watches = sources(rights).map(|source| match source {
        Source::Services => {
            let api = Api::<Service>::all(client.clone());
            let services = watch(
                "Services for their externalIPs",
                api,
                "spec.type!=LoadBalancer",
                listed,
            );
            services.map(Found::Services).boxed()
        }
        Source::ApiServer => {
            let api = Api::<EndpointSlice>::namespaced(client.clone(), "default");
            let addresses = |slice: &EndpointSlice| Some(endpoint_addresses(slice));
            let slices = watch_if_there_are(
                "the API server's EndpointSlice",
                api,
                Some("metadata.name=kubernetes"),
                addresses,
            );
            slices.map(Found::ApiServer).boxed()
        }
        Source::ServiceRanges => {
            let api = Api::all(client.clone());
            let ranges = watch_if_there_are("ServiceCIDRs", api, None, ranges_of);
            ranges.map(Found::ServiceRanges).boxed()
        }
    });
    select_all(watches).boxed()
}

/// Most Services list nothing, and are not kept. Servers before 1.31 send those of type `LoadBalancer`,
/// too, whose own watch tells of them.
fn listed(service: &Service) -> Option<(ServiceKey, Box<[IpAddr]>)> {
    let spec = service.spec.as_ref()?;
    let addresses = external_ips(service);
    if addresses.is_empty() || spec.type_.as_deref() == Some("LoadBalancer") {
        return None;
    }
    Some((key(&service.metadata)?, addresses))
}

fn ranges_of(object: &ServiceCIDR) -> Option<(String, Vec<AddressRange>)> {
    Some((object.metadata.name.clone()?, service_ranges(object)))
}
