//! What a Service asks for.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::Refusal;
use crate::Reason;
use crate::address::{Family, canonical};
use crate::text::LONGEST_VALUE;
use crate::view::{FamilyPolicy, ServiceView};

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
    pub(super) pool: Option<String>,
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

fn addresses(view: &ServiceView, families: &[Family]) -> Result<BTreeMap<Family, IpAddr>, Refusal> {
    let bad = |text: String| Err(Refusal::new(Reason::BadRequestedAddress, text));
    let request = match view.address_requests.as_slice() {
        [] => return Ok(BTreeMap::new()),
        [request] => request,
        [one, other, ..] => {
            return bad(format!(
                "{} and {} are both set: remove one of them",
                one.source, other.source
            ));
        }
    };
    let mut wanted = BTreeMap::new();
    for text in request.text.split(',') {
        let Some(address) = canonical(text) else {
            return bad(format!(
                "{} asks for {:?}, which is no IP address: write addresses separated by commas",
                request.source,
                text.trim()
            ));
        };
        let family = Family::of(address);
        if !families.contains(&family) {
            return bad(format!(
                "{} asks for {address}, but the Service has no {family} cluster IP: ask for {} or \
                 change spec.ipFamilies",
                request.source,
                listed(families)
            ));
        }
        if let Some(other) = wanted
            .insert(family, address)
            .filter(|other| *other != address)
        {
            return bad(format!(
                "{} asks for {other} and {address}: ask for at most one {family} address",
                request.source
            ));
        }
    }
    Ok(wanted)
}

/// `IPv4`, or `IPv4 and IPv6`.
pub(super) fn listed(families: &[Family]) -> String {
    families
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(" and ")
}
