//! What a Service asks for.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::Refusal;
use crate::Reason;
use crate::address::host::why_no_host;
use crate::address::{Family, canonical};
use crate::text::LONGEST_VALUE;
use crate::view::{AddressRequest, FamilyPolicy, ServiceView};

/// What a Service asks for, free of contradictions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    /// The families of its cluster addresses, primary first. Never empty.
    pub(super) families: Vec<Family>,
    /// `RequireDualStack`: one family alone is no answer.
    pub(super) all_families: bool,
    /// Addresses asked for by name; keys are among `families`.
    pub(super) addresses: BTreeMap<Family, IpAddr>,
    /// The pool asked for by name.
    pub(super) pool: Option<Box<str>>,
}

impl Request {
    /// Reads the Service's request.
    ///
    /// # Errors
    /// The request contradicts itself, or names what is no address.
    pub(super) fn of(view: &ServiceView) -> Result<Self, Refusal> {
        if let Some(long) = view.too_long.first() {
            return Err(Refusal::new(
                Reason::ValueTooLong,
                format!(
                    "{} has {} bytes, and at most {LONGEST_VALUE} are read: shorten it, or remove it",
                    long.source, long.bytes
                ),
            ));
        }
        let families = families(view);
        if families.is_empty() {
            return Err(Refusal::new(
                Reason::NoClusterIp,
                "the Service has no cluster IP, so its address family is unknown: give it one \
                 (clusterIP: None is not possible with type LoadBalancer)",
            ));
        }
        Ok(Self {
            addresses: addresses(view, &families)?,
            all_families: view.family_policy == FamilyPolicy::RequireDualStack,
            pool: view.requested_pool.clone(),
            families,
        })
    }
}

/// The families of the Service's cluster addresses, primary first.
pub(super) fn families(view: &ServiceView) -> Vec<Family> {
    let mut seen = BTreeSet::new();
    let families = view.cluster_ips.iter().map(|address| Family::of(*address));
    families.filter(|family| seen.insert(*family)).collect()
}

type Wanted = BTreeMap<Family, IpAddr>;

/// What is asked for. Field and annotation may both be set if they ask for the same: charts that
/// are written for several load balancers set both.
fn addresses(view: &ServiceView, families: &[Family]) -> Result<Wanted, Refusal> {
    let mut read = Vec::new();
    for request in &view.address_requests {
        read.push((request, wanted(request, families)?));
    }
    read.retain(|(_, addresses)| !addresses.is_empty());
    let mut read = read.into_iter();
    let Some((first, addresses)) = read.next() else {
        return Ok(Wanted::new());
    };
    for (other, others) in read {
        if others != addresses {
            return Err(bad(format!(
                "{} asks for {} and {} for {}: remove one of them, or let both ask for the same",
                first.source,
                said(&addresses),
                other.source,
                said(&others)
            )));
        }
    }
    Ok(addresses)
}

fn bad(text: String) -> Refusal {
    Refusal::new(Reason::BadRequestedAddress, text)
}

/// The addresses in one request. Nothing between two commas, or after the last one, asks for nothing.
fn wanted(request: &AddressRequest, families: &[Family]) -> Result<Wanted, Refusal> {
    let source = &request.source;
    let texts = request.text.split(',').map(str::trim);
    let mut wanted = Wanted::new();
    for text in texts.filter(|text| !text.is_empty()) {
        let Some(address) = canonical(text) else {
            return Err(bad(format!(
                "{source} asks for {text:?}, which is not an IP address: write addresses separated by \
                 commas"
            )));
        };
        if let Some(what) = why_no_host(address) {
            return Err(bad(format!(
                "{source} asks for {address}, which no host can have ({what}): ask for another one"
            )));
        }
        let family = Family::of(address);
        if !families.contains(&family) {
            return Err(bad(format!(
                "{source} asks for {address}, but the Service has no {family} cluster IP: ask for \
                 {} or change spec.ipFamilies",
                listed(families)
            )));
        }
        if let Some(other) = wanted
            .insert(family, address)
            .filter(|other| *other != address)
        {
            return Err(bad(format!(
                "{source} asks for {other} and {address}: ask for at most one {family} address"
            )));
        }
    }
    Ok(wanted)
}

fn said(addresses: &Wanted) -> String {
    let addresses: Vec<_> = addresses.values().map(ToString::to_string).collect();
    addresses.join(" and ")
}

/// `IPv4`, or `IPv4 and IPv6`.
pub(super) fn listed(families: &[Family]) -> String {
    families
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(" and ")
}

#[cfg(test)]
mod tests;
