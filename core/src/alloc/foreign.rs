//! Statuses that another load balancer wrote: left alone, until their Services are taken over.

use super::holdings::Usage;
use super::{Allocator, CONTESTED_FOR, Decided, Left, Refusal};
use crate::Reason;
use crate::adopt::{self, Adoption};
use crate::names::ADOPTED_MANAGERS;
use crate::view::{ServiceKey, ServiceView};
use crate::write_loop::{LEFT_FOR, MOST_WRITES};

impl Allocator {
    /// What stands in the way of taking over the Service's status, should another load balancer have
    /// written it.
    pub fn set_adoption(&mut self, key: &ServiceKey, adoption: Adoption) {
        if adoption == Adoption::NotAsked {
            self.adoptions.remove(key);
        } else {
            self.adoptions.insert(key.clone(), adoption);
        }
    }

    /// Takes the Service over, if that is due. It keeps what lies in a pool. An address that others
    /// announce may serve traffic still: the status stays as it is until another one can be given.
    pub(super) fn adopt(&mut self, view: &ServiceView) -> Result<(), Refusal> {
        let key = &view.key;
        let is_theirs = match self.left.get(key) {
            Some(Left::Foreign) => true,
            Some(Left::Contested(_) | Left::Looping) => false,
            None => self.holdings.addresses(key).is_empty(),
        };
        let is_due = self.adoptions.get(key) == Some(&Adoption::Due);
        let Some(manager) = view.foreign_manager().filter(|_| is_theirs && is_due) else {
            return Ok(());
        };
        let why_not = |refusal: Refusal| {
            let left = adopt::left_alone(key, manager, &Adoption::Due);
            Refusal::new(refusal.reason, format!("{left}: {refusal}"))
        };
        let config = self.config.as_ref().map_err(|why| why_not(why.clone()))?;
        let shown = view.assigned.iter();
        let in_pools = shown.filter(|address| config.pool_of(**address).is_some());
        let in_pools: Vec<_> = in_pools.copied().collect();
        let usage = Usage::of(view);
        let kept = self.own(&in_pools, view, &usage);
        let addresses = match self.decide(view, &usage, &kept) {
            Ok(Decided { outcome, replaces }) => {
                if replaces {
                    self.first_use.count_replaced();
                }
                outcome.addresses
            }
            Err(_) if !kept.is_empty() => kept,
            Err(refusal) => return Err(why_not(refusal)),
        };
        self.left.remove(key);
        self.hold(view, addresses, usage);
        Ok(())
    }

    /// Remembers that the Service is being deleted. Those who wait for its address are told.
    pub(super) fn note_deletion(&mut self, view: &ServiceView) {
        let known = self.deleting.get(&view.key);
        if known != view.deleting.as_ref() {
            match &view.deleting {
                Some(finalizers) => self.deleting.insert(view.key.clone(), finalizers.clone()),
                None => self.deleting.remove(&view.key),
            };
            self.freed = true;
        }
    }
}

pub(super) fn foreign(key: &ServiceKey, manager: &str, adoption: &Adoption) -> Refusal {
    let text = adopt::left_alone(key, manager, adoption);
    Refusal::new(Reason::ForeignStatus, text)
}

pub(super) fn looping() -> Refusal {
    Refusal::new(
        Reason::WriteLoop,
        format!(
            "its status was written more than {MOST_WRITES} times within a minute, and it was not right \
             afterwards or had to change again each time: it is left as it is for {} minutes, or until the \
             Service or the configuration changes; find what changes it, such as an admission webhook on \
             services/status, or Nodes whose addresses come and go",
            LEFT_FOR.as_secs() / 60
        ),
    )
}

pub(super) fn contested(key: &ServiceKey, rival: Option<&str>) -> Refusal {
    let minutes = CONTESTED_FOR.as_secs() / 60;
    let (does, stop) = match rival {
        // What is left of those is taken over without being asked.
        Some(manager) if ADOPTED_MANAGERS.contains(&manager) => {
            (format!("{manager} rewrites"), adopt::switch_off(manager))
        }
        Some(manager) => (
            format!("{} rewrites", adopt::short(manager)),
            format!(
                "{}, then {}",
                adopt::switch_off(manager),
                adopt::command(key)
            ),
        ),
        None => (
            "a program without a name empties".to_owned(),
            "find it and switch it off".to_owned(),
        ),
    };
    Refusal::new(
        Reason::StatusContested,
        format!(
            "{does} this Service's status each time, so it is left as it is for {minutes} minutes: \
             let one load balancer serve the Service: {stop}; or create it anew with a \
             spec.loadBalancerClass"
        ),
    )
}

#[cfg(test)]
mod tests;
