//! Addresses, nodes, pools and reasons.

use std::io::Write;
use std::net::IpAddr;

use anyhow::{Context as _, bail};
use ferrolb_core::Reason;
use ferrolb_core::config::objects::Kind;
use ferrolb_core::cordon::Cordon;
use ferrolb_core::report::{Explained, ObjectStatus};
use serde::Serialize;

use super::announced::{self, Announcement};
use super::{EventLine, Finding, event_line, events_text, finding, findings_text};
use crate::ago;
use crate::answers::pools::{Pool, PoolsAnswer};
use crate::cluster::Cluster;
use crate::election::cordon;
use crate::output::{Format, counted, counted_addresses};
use crate::picture::{Address, AddressState, Node, NodeState, Picture};
use crate::table;
use crate::terminal::{BAD, GOOD, sentence};

/// As many Events as fit on a screen.
const EVENTS: usize = 10;

/// Something that is no Service.
pub(super) enum Other {
    Node(Box<Picture>, String),
    Pool(Box<Picture>, String),
    Reason(Reason),
}

/// What else is called `word`.
pub(super) async fn of_that_name(cluster: &Cluster, word: &str) -> Option<Other> {
    if let Some(reason) = Reason::of(word) {
        return Some(Other::Reason(reason));
    }
    let picture = Box::new(cluster.picture().await.ok()?);
    if picture.node(word).is_some() {
        return Some(Other::Node(picture, word.to_owned()));
    }
    let is_pool = picture.pool(word).is_some() || of_object(&picture, word).next().is_some();
    is_pool.then(|| Other::Pool(picture, word.to_owned()))
}

pub(super) fn any(out: &mut impl Write, format: Format, other: &Other) -> anyhow::Result<()> {
    match other {
        Other::Node(picture, name) => node(out, format, picture, name),
        Other::Pool(picture, name) => pool(out, format, picture, name),
        Other::Reason(word) => reason(out, format, *word),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReasonAnswer {
    reason: &'static str,
    what: &'static str,
    remedy: &'static str,
}

pub(super) fn reason(out: &mut impl Write, format: Format, word: Reason) -> anyhow::Result<()> {
    let known = word.explanation();
    let answer = ReasonAnswer {
        reason: word.as_str(),
        what: known.what,
        remedy: known.remedy,
    };
    format.print(out, &answer, |out| {
        sentence(out, None, &format!("{word}: "), known.what)?;
        sentence(out, None, "  what to do: ", known.remedy)?;
        Ok(())
    })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AddressAnswer {
    /// Null if no Service has it.
    held: Option<Address>,
    /// The pool whose ranges have it.
    pool: Option<String>,
    /// Why the pool gives it to no Service.
    left_out: Option<String>,
    announcements: Vec<Announcement>,
    events: Vec<EventLine>,
}

pub(super) fn address(
    out: &mut impl Write,
    format: Format,
    picture: &Picture,
    address: IpAddr,
) -> anyhow::Result<()> {
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
    let answer = AddressAnswer {
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
    };
    format.print(out, &answer, |out| {
        let pool = match &answer.pool {
            Some(pool) => format!("of pool {pool}"),
            None => "of no pool".to_owned(),
        };
        match &answer.held {
            None => {
                writeln!(out, "{address}, {pool}: no Service has it")?;
                if let Some(why) = &answer.left_out {
                    sentence(
                        out,
                        None,
                        "  ",
                        &format!("no Service gets it: {address}, {why}"),
                    )?;
                }
                sentence(
                    out,
                    None,
                    "  does anybody answer for it? ",
                    &format!("kubectl ferrolb who {address} --node NODE"),
                )?;
            }
            Some(held) => {
                let services = held.services.join(", ");
                sentence(out, None, &format!("{address}, {pool}: "), &services)?;
                if let Some(since) = held.since {
                    let since = ago::short(ago::since(since, picture.now));
                    writeln!(out, "{}, for {since}", state_word(held.state))?;
                }
            }
        }
        for announcement in &answer.announcements {
            announcement.text(out)?;
        }
        events_text(out, &answer.events)
    })
}

const fn state_word(state: AddressState) -> &'static str {
    match state {
        AddressState::Twice => "announced twice",
        AddressState::Silent => "announced by nobody",
        AddressState::Unknown => "unknown",
        AddressState::Quiet => "announced by nobody, as it should be",
        AddressState::OfNode => "a node's own",
        AddressState::Announced => "announced",
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

fn events_of(
    picture: &Picture,
    is_meant: impl Fn(&crate::picture::Happening) -> bool,
) -> Vec<EventLine> {
    let events: Vec<_> = picture.events.iter().filter(|one| is_meant(one)).collect();
    let newest = events.len().saturating_sub(EVENTS);
    events[newest..]
        .iter()
        .map(|event| event_line(event))
        .collect()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NodeAnswer {
    node: Node,
    /// What it announces.
    announces: Vec<Address>,
    /// What is said of it, each in a sentence.
    findings: Vec<String>,
    events: Vec<EventLine>,
}

pub(super) fn node(
    out: &mut impl Write,
    format: Format,
    picture: &Picture,
    name: &str,
) -> anyhow::Result<()> {
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
    let about = picture.verdict.findings.iter();
    let about = about.filter(|finding| finding.node.as_deref() == Some(name));
    let answer = NodeAnswer {
        node: node.clone(),
        announces: announces.cloned().collect(),
        findings: about.map(|one| one.sentence(picture.now)).collect(),
        events: events_of(picture, |event| event.node.as_deref() == Some(name)),
    };
    format.print(out, &answer, |out| {
        let paint = if node.state == NodeState::Live {
            GOOD
        } else {
            BAD
        };
        let cordoned = match cordon(&picture.daemons) {
            _ if !node.cordoned => "",
            Cordon::Move => ", cordoned",
            Cordon::Stay => ", cordoned (its addresses stay: speaker.cordon is stay)",
        };
        writeln!(
            out,
            "Node {name}: {paint}{}{paint:#}{cordoned}, announces {}",
            node.state.word(),
            counted_addresses(node.addresses),
        )?;
        if !answer.announces.is_empty() {
            let head = ["ADDRESS", "SERVICES", "SINCE"].map(str::to_owned);
            let rows = answer.announces.iter().map(|one| {
                let since = ago::column(one.since, picture.now);
                [
                    one.address.to_string(),
                    table::list(&one.services, ","),
                    since,
                ]
            });
            writeln!(out)?;
            table::print(out, &std::iter::once(head).chain(rows).collect::<Vec<_>>())?;
        }
        if !answer.findings.is_empty() {
            writeln!(out)?;
        }
        for finding in &answer.findings {
            sentence(out, Some(BAD), "problem: ", finding)?;
        }
        events_text(out, &answer.events)?;
        writeln!(
            out,
            "\nif it went down: kubectl ferrolb plan node-down {name}"
        )?;
        Ok(())
    })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PoolAnswer {
    /// Null if it is not in force.
    pool: Option<Pool>,
    /// Services that ask for it, or got nothing from it: `namespace/name`.
    waiting: Vec<String>,
    /// What is to be said of the `IPAddressPool`.
    findings: Vec<Finding>,
    /// About the `IPAddressPool`, oldest first.
    events: Vec<EventLine>,
}

/// What is to be said of the `IPAddressPool` of that name.
fn of_object<'p>(picture: &'p Picture, name: &'p str) -> impl Iterator<Item = &'p ObjectStatus> {
    let configuration = picture.controller.iter().map(|it| &it.configuration);
    let objects = configuration.flat_map(|it| &it.objects);
    objects.filter(move |one| one.kind == Kind::IpAddressPool.as_str() && one.name == name)
}

pub(super) fn pool(
    out: &mut impl Write,
    format: Format,
    picture: &Picture,
    name: &str,
) -> anyhow::Result<()> {
    let pools = PoolsAnswer::of(picture).pools;
    let names: Vec<_> = pools.iter().map(|pool| pool.status.name.clone()).collect();
    let mut pools = pools.into_iter();
    let pool = pools.find(|pool| pool.status.name == name);
    let findings: Vec<_> = of_object(picture, name)
        .map(|one| {
            finding(&Explained {
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
    let answer = PoolAnswer {
        waiting: waiting.map(crate::picture::Service::key).collect(),
        events: events_of(picture, |event| {
            event.kind == Kind::IpAddressPool.as_str() && event.name == name
        }),
        findings,
        pool,
    };
    format.print(out, &answer, |out| {
        match &answer.pool {
            Some(pool) => pool_text(out, pool)?,
            None => writeln!(out, "Pool {name}: {BAD}not in force{BAD:#}")?,
        }
        if !answer.waiting.is_empty() {
            let wait = format!("\n{} for it: ", waits(answer.waiting.len()));
            sentence(out, Some(BAD), &wait, &answer.waiting.join(", "))?;
        }
        findings_text(out, &answer.findings)?;
        events_text(out, &answer.events)
    })
}

fn pool_text(out: &mut impl Write, pool: &Pool) -> anyhow::Result<()> {
    let status = &pool.status;
    writeln!(
        out,
        "Pool {} ({}): {} of {} in use, {} free",
        status.name, status.protocol, status.used, status.total, status.free
    )?;
    sentence(out, None, "  ranges: ", &status.ranges.join(", "))?;
    if !status.first_free.is_empty() {
        sentence(out, None, "  next: ", &status.first_free.join(", "))?;
    }
    if !status.auto_assign {
        sentence(
            out,
            None,
            "  ",
            "gives addresses only to Services that ask for it (auto-assign: false)",
        )?;
    }
    if !pool.holders.is_empty() {
        let head = ["ADDRESS", "SERVICES", "NODE"].map(str::to_owned);
        let rows = pool.holders.iter().map(|holder| {
            let nodes = match holder.nodes.as_slice() {
                [] => "-".to_owned(),
                some => some.join(","),
            };
            [
                holder.address.clone(),
                table::list(&holder.services, ","),
                nodes,
            ]
        });
        writeln!(out)?;
        table::print(out, &std::iter::once(head).chain(rows).collect::<Vec<_>>())?;
    }
    Ok(())
}

fn waits(count: usize) -> String {
    let verb = if count == 1 { "waits" } else { "wait" };
    format!("{} {verb}", counted(count, "Service"))
}

/// Whether a refusal names the pool, and not one whose name only begins like it.
fn names_pool(message: &str, quoted: &str) -> bool {
    message.match_indices(quoted).any(|(place, _)| {
        let behind = message[place + quoted.len()..].chars().next();
        behind.is_none_or(|next| !(next.is_ascii_alphanumeric() || matches!(next, '-' | '_')))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{announcing, controller, object_status, printed, said};
    use crate::output::Output;
    use crate::picture::Happening;
    use crate::picture::tests::{picture_of, speakers_on};

    const TEXT: Format = Format {
        output: Output::Text,
    };

    fn picture() -> Picture {
        let speakers = announcing(&["192.168.64.240", "192.168.64.241"]);
        picture_of(speakers_on(&["n1"]), Ok(controller()), speakers)
    }

    #[test]
    fn an_address_is_explained_by_its_services_its_pool_and_who_announces_it() {
        let silent = said(&[("n1", Some("no_endpoint"))]);
        let silent = picture_of(speakers_on(&["n1"]), Ok(controller()), silent);
        let shown = |picture: &Picture, text: &str| {
            printed(|out| address(out, TEXT, picture, text.parse().unwrap()))
        };
        let all = [
            shown(&picture(), "192.168.64.240"),
            shown(&silent, "192.168.64.241"),
            shown(&picture(), "fd00:64::7"),
            shown(&picture(), "10.0.0.1"),
        ];
        insta::assert_snapshot!(all.join("---\n"));
    }

    #[test]
    fn of_a_gateway_in_a_pool_it_is_said_that_no_service_gets_it() {
        let mut status = controller();
        status.pools[1].left_out = vec!["fd00:64::1, which is the gateway of node n1".to_owned()];
        let picture = picture_of(speakers_on(&["n1"]), Ok(status), announcing(&[]));
        let shown = |text: &str| printed(|out| address(out, TEXT, &picture, text.parse().unwrap()));
        let why = "no Service gets it: fd00:64::1, which is the gateway of node n1";
        assert!(shown("fd00:64::1").contains(why), "{}", shown("fd00:64::1"));
        assert!(!shown("fd00:64::2").contains("no Service gets it"));
    }

    #[test]
    fn a_node_is_explained_by_what_it_announces_and_one_that_is_none_by_those_that_there_are() {
        insta::assert_snapshot!(printed(|out| node(out, TEXT, &picture(), "n1")));
        let error = node(&mut Vec::new(), TEXT, &picture(), "n9").unwrap_err();
        assert_eq!(error.to_string(), "there is no node n9; there are n1");
    }

    #[test]
    fn a_pool_that_is_an_object_is_explained_by_its_last_error_and_its_events() {
        let mut picture = picture();
        let status = picture.controller.as_mut().unwrap();
        status.configuration.from = Some("objects".to_owned());
        status.configuration.objects = vec![
            object_status("default", "config_refused", true, true),
            object_status("new", "pool_overlaps", true, false),
        ];
        let event = |kind: &str, name: &str| Happening {
            time: Some(picture.now),
            first: None,
            kind: kind.to_owned(),
            namespace: "metallb-system".to_owned(),
            name: name.to_owned(),
            r#type: "Warning".to_owned(),
            reason: "ConfigRefused".to_owned(),
            message: "spec.addresses[0]: why".to_owned(),
            node: None,
            version: 1,
        };
        picture.events = vec![
            event("IPAddressPool", "default"),
            event("IPAddressPool", "new"),
            event("L2Advertisement", "default"),
        ];
        insta::assert_snapshot!(printed(|out| pool(out, TEXT, &picture, "default")));
        // Never in force, and yet it is explained.
        insta::assert_snapshot!(printed(|out| pool(out, TEXT, &picture, "new")));
        assert!(pool(&mut Vec::new(), TEXT, &picture, "gold").is_err());
    }

    #[test]
    fn a_pool_is_explained_by_who_has_what_and_who_waits() {
        insta::assert_snapshot!(printed(|out| pool(out, TEXT, &picture(), "default")));
        let error = pool(&mut Vec::new(), TEXT, &picture(), "gold").unwrap_err();
        assert_eq!(
            error.to_string(),
            "there is no pool gold; there are default, six"
        );
        assert!(names_pool("no address is left in pool a: add", "pool a"));
        assert!(!names_pool("no address is left in pool a-b: add", "pool a"));
    }

    #[test]
    fn a_reason_is_explained_without_a_cluster_and_each_has_words() {
        insta::assert_snapshot!(printed(|out| reason(out, TEXT, Reason::PoolExhausted)));
        for word in Reason::ALL {
            let shown = printed(|out| reason(out, TEXT, *word));
            assert!(shown.contains("\n  what to do: "), "{shown}");
        }
    }
}
