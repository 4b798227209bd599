//! Addresses that the cluster has, or that Services list: what allocation keeps clear of.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::ServiceCIDR;

use super::{ADDRESSES, distinct};
use crate::address::host::can_be_a_hosts;
use crate::address::{AddressRange, canonical};
use crate::alloc::MOST_OF_A_SERVICE;

/// One of each family; the API server takes no more.
const RANGES: usize = 2;

/// `spec.externalIPs` of a Service, the first of them.
#[must_use]
pub fn external_ips(service: &Service) -> Box<[IpAddr]> {
    let spec = service.spec.as_ref();
    let texts = spec.and_then(|spec| spec.external_ips.as_deref());
    let addresses = texts.unwrap_or_default().iter();
    let addresses = addresses.filter_map(|text| canonical(text));
    let addresses = addresses.filter(|address| can_be_a_hosts(*address));
    distinct(addresses.take(MOST_OF_A_SERVICE)).into()
}

/// The addresses of the endpoints, the first of them.
#[must_use]
pub fn endpoint_addresses(slice: &EndpointSlice) -> Vec<IpAddr> {
    let texts = slice.endpoints.iter().flat_map(|one| &one.addresses);
    distinct(texts.filter_map(|text| canonical(text)).take(ADDRESSES))
}

/// `spec.podCIDRs` of a Node.
#[must_use]
pub fn pod_ranges(node: &Node) -> Vec<AddressRange> {
    let spec = node.spec.as_ref();
    let many = spec.and_then(|spec| spec.pod_cidrs.as_deref());
    let texts = many.unwrap_or_default().iter();
    // An API server without dual stack fills only the older field.
    let texts = texts.chain(spec.and_then(|spec| spec.pod_cidr.as_ref()));
    distinct(texts.filter_map(|text| AddressRange::of_prefix(text)))
        .into_iter()
        .take(RANGES)
        .collect()
}

/// `spec.cidrs` of a `ServiceCIDR`.
#[must_use]
pub fn service_ranges(object: &ServiceCIDR) -> Vec<AddressRange> {
    let spec = object.spec.as_ref();
    let texts = spec.and_then(|spec| spec.cidrs.as_deref());
    let texts = texts.unwrap_or_default().iter();
    let ranges = texts.filter_map(|text| AddressRange::of_prefix(text));
    ranges.take(RANGES).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;

    fn ranges(texts: &[AddressRange]) -> Vec<String> {
        texts.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn of_external_ips_the_first_sixteen_that_a_host_can_have_are_kept() {
        let many: Vec<_> = (0..100).map(|number| format!("10.0.0.{number}")).collect();
        let of = |list: Value| {
            let service = json!({ "spec": { "externalIPs": list } });
            external_ips(&from_value(service).unwrap())
        };
        assert_eq!(of(json!(many)).len(), MOST_OF_A_SERVICE);
        let some = of(json!([
            "127.0.0.1",
            "10.0.0.9",
            "nonsense",
            "::ffff:10.0.0.9",
            "fd00::1"
        ]));
        let some: Vec<_> = some.iter().map(ToString::to_string).collect();
        assert_eq!(some, ["10.0.0.9", "fd00::1"]);
        assert_eq!(of(Value::Null).len(), 0);
    }

    #[test]
    fn ranges_are_read_from_nodes_and_service_cidrs() {
        let node = json!({ "spec": { "podCIDR": "10.244.1.0/24", "podCIDRs": ["10.244.1.0/24", "fd10::/64"] } });
        assert_eq!(
            ranges(&pod_ranges(&from_value(node).unwrap())),
            [
                "10.244.1.0-10.244.1.255",
                "fd10::-fd10::ffff:ffff:ffff:ffff"
            ]
        );
        let older = json!({ "spec": { "podCIDR": "10.244.1.0/24" } });
        assert_eq!(pod_ranges(&from_value(older).unwrap()).len(), 1);
        let cidr = json!({ "spec": { "cidrs": ["10.96.0.0/12", "nonsense"] } });
        assert_eq!(
            ranges(&service_ranges(&from_value(cidr).unwrap())),
            ["10.96.0.0-10.111.255.255"]
        );
    }

    #[test]
    fn endpoints_addresses_are_read_without_duplicates() {
        let slice = json!({
            "addressType": "IPv4",
            "endpoints": [{ "addresses": ["10.0.0.1"] }, { "addresses": ["10.0.0.1", "10.0.0.2"] }],
        });
        let addresses = endpoint_addresses(&from_value(slice).unwrap());
        assert_eq!(addresses.len(), 2);
    }
}
