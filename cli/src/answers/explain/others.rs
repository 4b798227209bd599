//! Addresses, nodes, pools and reasons.

use std::net::IpAddr;

use anyhow::{Context as _, bail};
use ferrolb_core::Reason;
use ferrolb_core::config::objects::Kind;
use ferrolb_core::cordon::Cordon;
use ferrolb_core::report::{Explained, ObjectStatus};
use jiff::Timestamp;
use serde::Serialize;

use super::announced::{self, Announcement};
use super::{EventLine, Finding};
use crate::answers::pools::{Pool, PoolsAnswer};
use crate::election::cordon;
use crate::picture::{Address, Finding as Said, Happening, Node, Picture, Service, Severity};

/// As many Events as fit on a screen.
const EVENTS: usize = 10;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ReasonAnswer {
    pub(crate) reason: &'static str,
    pub(crate) what: &'static str,
    pub(crate) remedy: &'static str,
}

impl ReasonAnswer {
    pub(crate) fn of(word: Reason) -> Self {
        let known = word.explanation();
        Self {
            reason: word.as_str(),
            what: known.what,
            remedy: known.remedy,
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AddressAnswer {
    /// Programs know what they asked for.
    #[serde(skip)]
    pub(crate) address: IpAddr,
    /// People are told how long ago, programs since when.
    #[serde(skip)]
    pub(crate) now: Timestamp,
    /// Null if no Service has it.
    pub(crate) held: Option<Address>,
    /// The pool whose ranges have it.
    pub(crate) pool: Option<String>,
    /// Why the pool gives it to no Service.
    pub(crate) left_out: Option<String>,
    pub(crate) announcements: Vec<Announcement>,
    pub(crate) events: Vec<EventLine>,
}

impl AddressAnswer {
    pub(crate) fn of(picture: &Picture, address: IpAddr) -> Self {
        let held = picture.address(address).cloned();
        let in_pool = picture.pools().iter().find(|pool| {
            let mut ranges = pool.ranges.iter();
            ranges.any(|range| is_in(range, address))
        });
        let announcements = match &held {
            Some(_) => announced::of(&[address], &picture.speakers),
            None => Vec::new(),
        };
        let services = held.as_ref().map_or(&[][..], |held| &held.services);
        Self {
            address,
            now: picture.now,
            pool: in_pool.map(|pool| pool.name.clone()),
            left_out: in_pool.and_then(|pool| {
                let (address, mut left_out) = (format!("{address}, "), pool.left_out.iter());
                left_out.find_map(|one| one.strip_prefix(&address).map(str::to_owned))
            }),
            announcements,
            events: events_of(picture, |event| {
                services.iter().any(|service| event.is_about(service))
            }),
            held,
        }
    }
}

/// Whether `FIRST-LAST` has the address.
fn is_in(range: &str, address: IpAddr) -> bool {
    let Some((first, last)) = range.split_once('-') else {
        return range.parse() == Ok(address);
    };
    let (Ok(first), Ok(last)) = (first.parse::<IpAddr>(), last.parse::<IpAddr>()) else {
        return false;
    };
    first.is_ipv4() == address.is_ipv4() && (first..=last).contains(&address)
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NodeAnswer {
    /// For people alone, as in [`AddressAnswer`].
    #[serde(skip)]
    pub(crate) now: Timestamp,
    /// What a cordon does; for people alone.
    #[serde(skip)]
    pub(crate) cordon: Cordon,
    pub(crate) node: Node,
    /// What it announces.
    pub(crate) announces: Vec<Address>,
    /// What is said of it, each in a sentence, as `status` sorts it.
    pub(crate) problems: Vec<String>,
    pub(crate) unknown: Vec<String>,
    pub(crate) notes: Vec<String>,
    pub(crate) events: Vec<EventLine>,
}

impl NodeAnswer {
    pub(crate) fn of(picture: &Picture, name: &str) -> anyhow::Result<Self> {
        let node = picture.node(name).with_context(|| {
            let names: Vec<_> = picture
                .nodes
                .iter()
                .map(|node| node.name.as_str())
                .collect();
            format!("there is no node {name}; there are {}", names.join(", "))
        })?;
        let announces = picture.addresses.iter();
        let announces = announces.filter(|address| address.nodes.iter().any(|one| one == name));
        let said = |severity| {
            let of_it = |finding: &&Said| finding.node.as_deref() == Some(name);
            let about = picture.verdict.of(severity).filter(of_it);
            about.map(|one| one.sentence(picture.now)).collect()
        };
        Ok(Self {
            now: picture.now,
            cordon: cordon(&picture.daemons),
            node: node.clone(),
            announces: announces.cloned().collect(),
            problems: said(Severity::Problem),
            unknown: said(Severity::Unknown),
            notes: said(Severity::Note),
            events: events_of(picture, |event| event.node.as_deref() == Some(name)),
        })
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PoolAnswer {
    /// For people alone, as in [`AddressAnswer`].
    #[serde(skip)]
    pub(crate) name: String,
    /// Null if it is not in force.
    pub(crate) pool: Option<Pool>,
    /// Services that ask for it, or got nothing from it: `namespace/name`.
    pub(crate) waiting: Vec<String>,
    /// What is to be said of the `IPAddressPool`.
    pub(crate) findings: Vec<Finding>,
    /// About the `IPAddressPool`, oldest first.
    pub(crate) events: Vec<EventLine>,
}

impl PoolAnswer {
    pub(crate) fn of(picture: &Picture, name: &str) -> anyhow::Result<Self> {
        let pools = PoolsAnswer::of(picture).pools;
        let names: Vec<_> = pools.iter().map(|pool| pool.status.name.clone()).collect();
        let mut pools = pools.into_iter();
        let pool = pools.find(|pool| pool.status.name == name);
        let findings: Vec<_> = of_object(picture, name)
            .map(|one| {
                Finding::of(&Explained {
                    reason: one.reason.as_str().into(),
                    message: one.message.clone(),
                })
            })
            .collect();
        if pool.is_none() && findings.is_empty() {
            match names.as_slice() {
                [] => bail!("there is no pool {name}: none is in force"),
                some => bail!("there is no pool {name}; there are {}", some.join(", ")),
            }
        }
        let quoted = format!("pool {name}");
        let waiting = picture.services.iter().filter(|service| {
            let problem = service.status.problem.as_ref();
            service.status.addresses.is_empty()
                && problem.is_some_and(|problem| names_pool(&problem.message, &quoted))
        });
        Ok(Self {
            name: name.to_owned(),
            waiting: waiting.map(Service::key).collect(),
            events: events_of(picture, |event| {
                event.kind == Kind::IpAddressPool.as_str() && event.name == name
            }),
            findings,
            pool,
        })
    }
}

/// What is to be said of the `IPAddressPool` of that name.
fn of_object<'p>(picture: &'p Picture, name: &'p str) -> impl Iterator<Item = &'p ObjectStatus> {
    let configuration = picture.controller.iter().map(|it| &it.configuration);
    let objects = configuration.flat_map(|it| &it.objects);
    objects.filter(move |one| one.kind == Kind::IpAddressPool.as_str() && one.name == name)
}

/// Whether a refusal names the pool, and not one whose name only begins like it.
fn names_pool(message: &str, quoted: &str) -> bool {
    message.match_indices(quoted).any(|(place, _)| {
        let behind = message[place + quoted.len()..].chars().next();
        behind.is_none_or(|next| !(next.is_ascii_alphanumeric() || matches!(next, '-' | '_')))
    })
}

fn events_of(picture: &Picture, is_meant: impl Fn(&Happening) -> bool) -> Vec<EventLine> {
    let events: Vec<_> = picture.events.iter().filter(|one| is_meant(one)).collect();
    let newest = events.len().saturating_sub(EVENTS);
    events[newest..]
        .iter()
        .map(|event| EventLine::of(event))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_a_pool_and_not_one_that_only_begins_like_it() {
        assert!(names_pool("no address is left in pool a: add", "pool a"));
        assert!(!names_pool("no address is left in pool a-b: add", "pool a"));
    }
}
