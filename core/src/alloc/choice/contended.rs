//! Addresses that cannot serve: another host has them, or no host can.

use std::net::IpAddr;

use super::{Choice, Granted, Refusal};
use crate::Reason;
use crate::alloc::first_use::{MOST_REPLACED, REPLACED_WITHIN};
use crate::config::Pool;
use crate::conflict::{Cause, Finding, give_another};

impl Choice<'_> {
    /// Other addresses in place of those that cannot serve, if the Service did not ask for just them,
    /// and if there are any. What is in use stays, whatever is heard on the network; what no host can
    /// have was never of use to anybody.
    pub(in crate::alloc) fn without_contended(&self) -> Option<Granted> {
        let keeps = |address: &&IpAddr| !self.is_to_be_replaced(**address);
        let current: Vec<_> = self.current.iter().filter(keeps).copied().collect();
        if current.len() == self.current.len() || !self.first_use.may_replace() {
            return None;
        }
        let choice = Choice {
            current: &current,
            ..*self
        };
        // The other family's address comes from the same pool, and stays.
        let outcome = match current.as_slice() {
            [] => choice.choose(),
            _ => choice.complete_current(),
        };
        let outcome = outcome.ok()?;
        (outcome.addresses.len() >= self.current.len()).then_some(outcome)
    }

    /// Whether the Service got others in place of addresses that cannot serve.
    pub(in crate::alloc) fn has_replaced(&self, outcome: &Granted) -> bool {
        let mut current = self.current.iter();
        current.any(|one| self.is_to_be_replaced(*one) && !outcome.addresses.contains(one))
    }

    fn is_to_be_replaced(&self, address: IpAddr) -> bool {
        let finding = self.surroundings.conflicts.get(&address);
        !self.asks_for(address)
            && finding.is_some_and(|finding| match finding.cause {
                Cause::Host(_) | Cause::Gateway => !self.first_use.is_over(address),
                Cause::Subnet(_) => true,
            })
    }

    pub(super) fn asks_for(&self, address: IpAddr) -> bool {
        let mut asked_for = self.request.addresses.values();
        asked_for.any(|one| *one == address)
    }

    /// Says what is wrong with an address, if nothing else is to be said.
    pub(in crate::alloc) fn with_contention_said(&self, outcome: Granted) -> Granted {
        let mut addresses = outcome.addresses.iter();
        let warning = addresses.find_map(|address| {
            let finding = self.surroundings.conflicts.get(address);
            let found = finding.map(|finding| self.contention(*address, finding));
            found
                .or_else(|| self.claim_of_a_node(*address))
                .or_else(|| self.usual_port_taken(*address))
                .or_else(|| self.claim_of_the_cluster(*address))
                .or_else(|| self.claim_of_a_service(*address))
        });
        Granted {
            warning: outcome.warning.or(warning),
            ..outcome
        }
    }

    fn contention(&self, address: IpAddr, finding: &Finding) -> Refusal {
        let (reason, instead) = match finding.cause {
            Cause::Host(_) => (
                Reason::AddressConflict,
                "take the address from that host, or ",
            ),
            Cause::Subnet(_) => (Reason::NoHostAddress, "take it out of the pool, and "),
            Cause::Gateway => (Reason::GatewayAddress, ""),
        };
        let which = finding.which(address);
        let why = if self.asks_for(address) {
            format!("the Service asks for it: {instead}ask for another one")
        } else if !self.is_to_be_replaced(address) {
            format!(
                "the Service keeps it, because it is in use: {instead}{}",
                self.how_to_give_another()
            )
        } else if self.first_use.may_replace() {
            format!("no other is free: {instead}add addresses to the pool")
        } else {
            format!(
                "{MOST_REPLACED} Services got another address within {} s already: {instead}{}",
                REPLACED_WITHIN.as_secs(),
                self.how_to_give_another()
            )
        };
        Refusal::new(reason, format!("has {address}, {which}; {why}"))
    }

    /// A node's gateway is given to nobody, also by name: its users would lose their way.
    pub(super) fn refuse_gateway(&self, address: IpAddr, pool: &Pool) -> Option<Refusal> {
        let finding = self.surroundings.conflicts.get(&address)?;
        (finding.cause == Cause::Gateway).then(|| {
            let (pool, node) = (&pool.name, &finding.node);
            let text = format!(
                "pool {pool} leaves {address} out, because it is the gateway of node {node}: ask for \
                 another address"
            );
            Refusal::new(Reason::RequestedAddressOutsidePools, text)
        })
    }

    /// Says which gateway `pools` hold back, in brackets; nothing if none.
    pub(super) fn gateway_left_out(&self, pools: &[&Pool]) -> String {
        let conflicts = self.surroundings.conflicts.iter();
        let mut gateways = conflicts.filter(|(address, finding)| {
            finding.cause == Cause::Gateway && pools.iter().any(|pool| pool.contains(**address))
        });
        gateways
            .next()
            .map_or_else(String::new, |(address, finding)| {
                format!(" ({address}, {}, left out)", finding.which(*address))
            })
    }

    /// A node says that an address is its own which the Service was not given as one.
    fn claim_of_a_node(&self, address: IpAddr) -> Option<Refusal> {
        let node = self.surroundings.nodes.get(&address)?;
        let pool = self.config.pool_of(address)?;
        let is_meant = self.asks_for(address) || self.is_all_reserved(pool, address);
        (!is_meant).then(|| {
            let text = format!(
                "has {address}, which Node {node} has among its addresses (status.addresses), so no \
                 speaker announces it; if that is wrong, find out who writes it there, else {}",
                self.how_to_give_another()
            );
            Refusal::new(Reason::NodeAddress, text)
        })
    }

    pub(super) fn how_to_give_another(&self) -> String {
        let command = give_another(&self.view.key, &self.view.address_requests);
        format!("give the Service another one (kubectl ferrolb pools shows free ones): {command}")
    }
}
