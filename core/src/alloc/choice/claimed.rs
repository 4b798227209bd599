//! Addresses that something else in the cluster has too: the API server, a range of the cluster's own, a
//! Service that lists them in `externalIPs`. Nothing is taken away for that; it is said.

use std::net::IpAddr;

use super::{Choice, Refusal};
use crate::Reason;
use crate::address::Family;
use crate::config::Pool;

impl Choice<'_> {
    /// Whether the pool has no addresses of that family but the cluster's own.
    pub(super) fn is_all_reserved(&self, pool: &Pool, address: IpAddr) -> bool {
        self.surroundings
            .only_reserved_in(pool, Family::of(address))
    }

    /// The address is the API server's, or of a range of the cluster's Services or pods. A node's own is
    /// another matter: its ports are protected.
    pub(super) fn claim_of_the_cluster(&self, address: IpAddr) -> Option<Refusal> {
        if self.surroundings.nodes.contains_key(&address) {
            return None;
        }
        let which = self.surroundings.network.which(address)?;
        let all_reserved = self
            .config
            .pool_of(address)
            .is_some_and(|pool| self.is_all_reserved(pool, address));
        let why = if self.asks_for(address) {
            "the Service asks for it: ask for another one".to_owned()
        } else if all_reserved {
            "its pool has no others: add addresses to it that nothing else uses".to_owned()
        } else {
            format!("the Service keeps it: {}", self.how_to_give_another())
        };
        Some(Refusal::new(
            Reason::ClusterAddress,
            format!(
                "has {address}, {which}: on each node this Service takes its ports there; {why}"
            ),
        ))
    }

    /// Another Service lists the address, and does not share it with this one.
    pub(super) fn claim_of_a_service(&self, address: IpAddr) -> Option<Refusal> {
        let external = &self.surroundings.external;
        let mut others = external.others(address, &self.view.key);
        let other = others.find(|one| !self.holdings.addresses(one).contains(&address))?;
        let why = if self.asks_for(address) {
            "this Service asks for it"
        } else {
            "no other was free when this Service got it, or it came later"
        };
        Some(Refusal::new(
            Reason::ExternalIp,
            format!(
                "has {address}, which Service {other} lists in spec.externalIPs, so kube-proxy may send \
                 traffic for it there; {why}: take it out there, or {}",
                self.how_to_give_another()
            ),
        ))
    }

    /// How many addresses of the cluster's own `pools` hold back, in brackets; nothing if none.
    pub(super) fn left_out(&self, pools: &[&Pool]) -> String {
        let (mut nodes, mut all) = (0, 0_u128);
        for pool in pools {
            for family in &self.request.families {
                if !self.surroundings.only_reserved_in(pool, *family) {
                    nodes += self.surroundings.nodes_in(pool, *family);
                    let reserved = self.surroundings.reserved.count_in(pool, *family);
                    all = all.saturating_add(reserved);
                }
            }
        }
        if all == 0 {
            String::new()
        } else if u128::try_from(nodes) == Ok(all) {
            format!(" ({nodes} of nodes themselves left out)")
        } else {
            format!(" ({all} of nodes and of the cluster's own networks left out)")
        }
    }
}
