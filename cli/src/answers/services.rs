//! The Services, with who announces them.

use std::net::IpAddr;

use serde::Serialize;

use crate::picture::{AddressState, Picture, Service};

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ServicesAnswer {
    pub(crate) services: Vec<Service>,
}

/// Which of them are asked for; each that is set narrows it down.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    pub(crate) namespace: Option<String>,
    pub(crate) name: Option<String>,
    /// Announced by this node.
    pub(crate) node: Option<String>,
    pub(crate) pool: Option<String>,
    pub(crate) address: Option<IpAddr>,
    /// Those alone with which something is not as it should be.
    pub(crate) problems: bool,
}

impl ServicesAnswer {
    pub(crate) fn of(picture: &Picture, wanted: &Wanted) -> Self {
        let services = picture.services.iter();
        let services = services.filter(|service| wanted.has(service, picture));
        Self {
            services: services.cloned().collect(),
        }
    }
}

impl Wanted {
    fn has(&self, service: &Service, picture: &Picture) -> bool {
        let status = &service.status;
        let is = |wanted: &Option<String>, there: Option<&String>| {
            wanted.is_none() || wanted.as_ref() == there
        };
        let is_announced_there = self.node.as_ref().is_none_or(|node| {
            let nodes = service.nodes.as_ref();
            nodes.is_some_and(|nodes| nodes.contains(node))
        });
        let has_address = self.address.is_none_or(|address| {
            let mut addresses = status.addresses.iter();
            addresses.any(|text| text.parse() == Ok(address))
        });
        is(&self.namespace, Some(&status.namespace))
            && is(&self.name, Some(&status.name))
            && is(&self.pool, status.pool.as_ref())
            && is_announced_there
            && has_address
            && (!self.problems || service.is_in_trouble(picture))
    }
}

impl Service {
    /// What is wrong with it, in a word.
    pub(crate) fn trouble(&self, picture: &Picture) -> Option<String> {
        if let Some(problem) = &self.status.problem {
            return Some(problem.reason.to_string());
        }
        let addresses = self.addresses_in(picture);
        let worst = addresses.min_by_key(|address| address.state)?;
        match worst.state {
            AddressState::Twice => Some("announced twice".to_owned()),
            AddressState::Silent | AddressState::Quiet => {
                let reason = worst.reason.as_deref();
                Some(reason.unwrap_or("not announced").to_owned())
            }
            AddressState::Unknown => Some("unknown".to_owned()),
            AddressState::Announced | AddressState::OfNode => None,
        }
    }

    /// Wanted silence is no trouble.
    fn is_in_trouble(&self, picture: &Picture) -> bool {
        let is_bad = |state| {
            matches!(
                state,
                AddressState::Twice | AddressState::Silent | AddressState::Unknown
            )
        };
        self.status.problem.is_some()
            || self.status.addresses.is_empty()
            || self.addresses_in(picture).any(|one| is_bad(one.state))
    }

    fn addresses_in<'a>(
        &'a self,
        picture: &'a Picture,
    ) -> impl Iterator<Item = &'a crate::picture::Address> {
        let addresses = self.status.addresses.iter();
        addresses.filter_map(|text| picture.address(text.parse().ok()?))
    }
}
