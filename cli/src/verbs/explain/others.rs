//! Addresses, nodes, pools and reasons, in text.

use std::io::Write;

use ferrolb_core::cordon::Cordon;

use super::{announced, events_text, findings_text};
use crate::ago;
use crate::answers::explain::{AddressAnswer, NodeAnswer, PoolAnswer, ReasonAnswer};
use crate::answers::pools::Pool;
use crate::output::{counted, counted_addresses};
use crate::picture::{AddressState, NodeState};
use crate::table;
use crate::terminal::{BAD, GOOD, WARNING, sentence};

pub(super) fn reason_text(out: &mut impl Write, answer: &ReasonAnswer) -> anyhow::Result<()> {
    sentence(out, None, &format!("{}: ", answer.reason), answer.what)?;
    sentence(out, None, "  what to do: ", answer.remedy)?;
    Ok(())
}

pub(super) fn address_text(out: &mut impl Write, answer: &AddressAnswer) -> anyhow::Result<()> {
    let address = answer.address;
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
                let since = ago::short(ago::since(since, answer.now));
                writeln!(out, "{}, for {since}", state_word(held.state))?;
            }
        }
    }
    for announcement in &answer.announcements {
        announced::text(out, announcement)?;
    }
    events_text(out, &answer.events)
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

pub(super) fn node_text(out: &mut impl Write, answer: &NodeAnswer) -> anyhow::Result<()> {
    let node = &answer.node;
    let name = &node.name;
    let paint = if node.state == NodeState::Live {
        GOOD
    } else {
        BAD
    };
    let cordoned = match answer.cordon {
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
            let since = ago::column(one.since, answer.now);
            [
                one.address.to_string(),
                table::list(&one.services, ","),
                since,
            ]
        });
        writeln!(out)?;
        table::print(out, &std::iter::once(head).chain(rows).collect::<Vec<_>>())?;
    }
    let said = [
        (Some(BAD), "problem: ", &answer.problems),
        (Some(WARNING), "unknown: ", &answer.unknown),
        (None, "note: ", &answer.notes),
    ];
    if said.iter().any(|(_, _, findings)| !findings.is_empty()) {
        writeln!(out)?;
    }
    for (paint, what, findings) in said {
        for finding in findings {
            sentence(out, paint, what, finding)?;
        }
    }
    events_text(out, &answer.events)?;
    writeln!(
        out,
        "\nif it went down: kubectl ferrolb plan node-down {name}"
    )?;
    Ok(())
}

pub(super) fn pool_text(out: &mut impl Write, answer: &PoolAnswer) -> anyhow::Result<()> {
    match &answer.pool {
        Some(pool) => in_force(out, pool)?,
        None => writeln!(out, "Pool {}: {BAD}not in force{BAD:#}", answer.name)?,
    }
    if !answer.waiting.is_empty() {
        let wait = format!("\n{} for it: ", waits(answer.waiting.len()));
        sentence(out, Some(BAD), &wait, &answer.waiting.join(", "))?;
    }
    findings_text(out, &answer.findings)?;
    events_text(out, &answer.events)
}

fn in_force(out: &mut impl Write, pool: &Pool) -> anyhow::Result<()> {
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

#[cfg(test)]
mod tests {
    use ferrolb_core::Reason;

    use super::*;
    use crate::fixtures::{announcing, controller, object_status, printed, said};
    use crate::picture::tests::{picture_of, speakers_on};
    use crate::picture::{Finding, Happening, Picture, Severity};

    fn picture() -> Picture {
        let speakers = announcing(&["192.168.64.240", "192.168.64.241"]);
        picture_of(speakers_on(&["n1"]), Ok(controller()), speakers)
    }

    fn address_shown(picture: &Picture, address: &str) -> String {
        let answer = AddressAnswer::of(picture, address.parse().unwrap());
        printed(|out| address_text(out, &answer))
    }

    fn node_shown(picture: &Picture, name: &str) -> anyhow::Result<String> {
        let answer = NodeAnswer::of(picture, name)?;
        Ok(printed(|out| node_text(out, &answer)))
    }

    fn pool_shown(picture: &Picture, name: &str) -> anyhow::Result<String> {
        let answer = PoolAnswer::of(picture, name)?;
        Ok(printed(|out| pool_text(out, &answer)))
    }

    fn reason_shown(reason: Reason) -> String {
        printed(|out| reason_text(out, &ReasonAnswer::of(reason)))
    }

    #[test]
    fn an_address_is_explained_by_its_services_its_pool_and_who_announces_it() {
        let silent = said(&[("n1", Some("no_endpoint"))]);
        let silent = picture_of(speakers_on(&["n1"]), Ok(controller()), silent);
        let all = [
            address_shown(&picture(), "192.168.64.240"),
            address_shown(&silent, "192.168.64.241"),
            address_shown(&picture(), "fd00:64::7"),
            address_shown(&picture(), "10.0.0.1"),
        ];
        insta::assert_snapshot!(all.join("---\n"));
    }

    #[test]
    fn of_a_gateway_in_a_pool_it_is_said_that_no_service_gets_it() {
        let mut status = controller();
        status.pools[1].left_out = vec!["fd00:64::1, which is the gateway of node n1".to_owned()];
        let picture = picture_of(speakers_on(&["n1"]), Ok(status), announcing(&[]));
        let shown = |text: &str| address_shown(&picture, text);
        let why = "no Service gets it: fd00:64::1, which is the gateway of node n1";
        assert!(shown("fd00:64::1").contains(why), "{}", shown("fd00:64::1"));
        assert!(!shown("fd00:64::2").contains("no Service gets it"));
    }

    #[test]
    fn a_node_is_explained_by_what_it_announces_and_one_that_is_none_by_those_that_there_are() {
        insta::assert_snapshot!(node_shown(&picture(), "n1").unwrap());
        let error = node_shown(&picture(), "n9").unwrap_err();
        assert_eq!(error.to_string(), "there is no node n9; there are n1");
    }

    #[test]
    fn what_is_said_of_a_node_is_sorted_as_status_sorts_it() {
        let mut picture = picture();
        let of = |severity, node: &str| Finding {
            severity,
            reason: None,
            what: format!("{node} is looked at"),
            node: Some(node.to_owned()),
            address: None,
            service: None,
            since: None,
            next: None,
        };
        picture.verdict.findings = vec![
            of(Severity::Note, "n1"),
            of(Severity::Unknown, "n1"),
            of(Severity::Problem, "n2"),
            of(Severity::Problem, "n1"),
        ];
        let shown = node_shown(&picture, "n1").unwrap();
        let said = "\nproblem: n1 is looked at\nunknown: n1 is looked at\nnote: n1 is looked at\n";
        assert!(shown.contains(said), "{shown}");
        assert!(!shown.contains("n2"), "{shown}");
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
        insta::assert_snapshot!(pool_shown(&picture, "default").unwrap());
        // Never in force, and yet it is explained.
        insta::assert_snapshot!(pool_shown(&picture, "new").unwrap());
        assert!(pool_shown(&picture, "gold").is_err());
    }

    #[test]
    fn a_pool_is_explained_by_who_has_what_and_who_waits() {
        insta::assert_snapshot!(pool_shown(&picture(), "default").unwrap());
        let error = pool_shown(&picture(), "gold").unwrap_err();
        assert_eq!(
            error.to_string(),
            "there is no pool gold; there are default, six"
        );
    }

    #[test]
    fn a_reason_is_explained_without_a_cluster_and_each_has_words() {
        insta::assert_snapshot!(reason_shown(Reason::PoolExhausted));
        for word in Reason::ALL {
            let shown = reason_shown(*word);
            assert!(shown.contains("\n  what to do: "), "{shown}");
        }
    }
}
