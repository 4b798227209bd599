//! Who announces the addresses of a Service, and why the other nodes do not, as every speaker says.

use std::io::Write;
use std::net::IpAddr;
use std::time::Duration;

use ferrolb_core::Reason;
use ferrolb_core::report::SpeakerStatus;
use serde::Serialize;

use super::meaning;
use crate::ago;
use crate::daemons::Component;
use crate::output::causes;
use crate::speaker::Said;
use crate::terminal::{BAD, GOOD, WARNING, sentence};

/// An address, and who announces it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Announcement {
    address: IpAddr,
    /// One, but for the moment in which it moves.
    nodes: Vec<String>,
    /// What that node is ranked behind others for: no better one may announce it.
    drawback: Option<String>,
    /// The links that it announces it on.
    links: Vec<String>,
    /// Its links into the same subnet that leave it to those.
    standby_links: Vec<String>,
    /// Open connections from before it moved there; null if none are kept.
    kept: Option<Kept>,
    others: Vec<Others>,
}

/// Open connections that go on through the node that had the address before.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Kept {
    /// That node.
    from: String,
    /// For how much longer, at most.
    seconds_left: u64,
    /// Since their last packet.
    idle_seconds: u64,
    /// So far.
    packets: u64,
}

/// The nodes that do not announce it, for one reason.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Others {
    reason: String,
    what: String,
    remedy: String,
    nodes: Vec<String>,
}

/// As many nodes of a line as can be read; programs get all.
const NAMED: usize = 10;

/// What becomes of each address.
pub(crate) fn of(addresses: &[IpAddr], said: &Said) -> Vec<Announcement> {
    let addresses = addresses.iter();
    addresses
        .map(|address| announcement(*address, said))
        .collect()
}

fn announcement(address: IpAddr, said: &Said) -> Announcement {
    let mut announcement = Announcement {
        address,
        nodes: Vec::new(),
        drawback: None,
        links: Vec::new(),
        standby_links: Vec::new(),
        kept: None,
        others: Vec::new(),
    };
    for (node, said) in said {
        let kept = said.as_ref().ok().and_then(|status| kept(address, status));
        let (reason, what) = match said.as_ref().map(|status| status.vip(address)) {
            Ok(Some(vip)) if vip.announced_here => {
                announcement.nodes.push(node.clone());
                announcement.drawback = vip.drawback.as_deref().map(str::to_owned);
                announcement.links.clone_from(&vip.links);
                announcement.standby_links.clone_from(&vip.standby_links);
                announcement.kept = kept;
                continue;
            }
            Ok(Some(vip)) => (vip.reason.as_deref(), None),
            // It has not seen it yet, or does no more.
            Ok(None) => (Some(Reason::Unwanted.as_str()), None),
            Err(error) => (Some(Reason::SpeakerSilent.as_str()), Some(causes(error))),
        };
        announcement.add(node, reason.unwrap_or(Reason::Joining.as_str()), what);
    }
    announcement
}

fn kept(address: IpAddr, status: &SpeakerStatus) -> Option<Kept> {
    let mut kept = status.keeping.iter().flat_map(|all| &all.addresses);
    let kept = kept.find(|one| one.address == address)?;
    Some(Kept {
        from: kept.from.clone(),
        seconds_left: kept.seconds_left,
        idle_seconds: kept.idle_seconds,
        packets: kept.packets,
    })
}

impl Kept {
    fn text(&self, out: &mut impl Write) -> anyhow::Result<()> {
        let time = |seconds| ago::short(Duration::from_secs(seconds));
        let packets = match self.packets {
            0 => "none of them has sent anything since".to_owned(),
            1 => format!("1 packet so far, {} ago", time(self.idle_seconds)),
            many => format!(
                "{many} packets so far, the last {} ago",
                time(self.idle_seconds)
            ),
        };
        let what = format!(
            "open connections from before the move go on through {} for up to {} more, as long as it runs \
             ({packets})",
            self.from,
            time(self.seconds_left),
        );
        sentence(out, None, "  ", &what)?;
        Ok(())
    }
}

impl Announcement {
    /// `what`: what exactly, if not only what the reason means.
    fn add(&mut self, node: &str, reason: &str, what: Option<String>) {
        let (meant, remedy) = meaning(reason, Component::Speaker);
        let what = what.unwrap_or(meant);
        let mut others = self.others.iter_mut();
        match others.find(|one| one.reason == reason && one.what == what) {
            Some(one) => one.nodes.push(node.to_owned()),
            None => self.others.push(Others {
                reason: reason.to_owned(),
                what,
                remedy,
                nodes: vec![node.to_owned()],
            }),
        }
    }

    /// Whether the address is answered for.
    pub(super) fn is_fine(&self) -> bool {
        let by_a_kernel = |one: &Others| one.reason == Reason::NodeAddress.as_str();
        !self.nodes.is_empty() || self.others.iter().all(by_a_kernel)
    }

    pub(crate) fn text(&self, out: &mut impl Write) -> anyhow::Result<()> {
        let Self { address, nodes, .. } = self;
        let style = if self.is_fine() { GOOD } else { BAD };
        match &nodes[..] {
            [] => writeln!(out, "{address} is announced by {style}nobody{style:#}.")?,
            [node] => writeln!(out, "{address} is announced by {style}{node}{style:#}.")?,
            several => writeln!(
                out,
                "{address} is announced by {WARNING}{}{WARNING:#}: it is moving right now, or \
                 these nodes cannot hear each other.",
                several.join(" and ")
            )?,
        }
        if let Some(drawback) = &self.drawback {
            writeln!(out, "  no better node is available: {drawback}")?;
        }
        if !self.standby_links.is_empty() {
            let reason = Reason::StandbyLink;
            writeln!(
                out,
                "  on {}, not on {}: {reason}: {}",
                named(&self.links),
                named(&self.standby_links),
                reason.explanation().what
            )?;
        }
        if let Some(kept) = &self.kept {
            kept.text(out)?;
        }
        for one in &self.others {
            let by = format!("  not by {}: ", named(&one.nodes));
            sentence(out, None, &by, &format!("{}: {}", one.reason, one.what))?;
            // Where one announces, the others need not.
            if nodes.is_empty() {
                sentence(out, None, "    what to do: ", &one.remedy)?;
            }
        }
        Ok(())
    }
}

fn named(nodes: &[String]) -> String {
    let some = nodes[..nodes.len().min(NAMED)].join(", ");
    match nodes.len().saturating_sub(NAMED) {
        0 => some,
        more => format!("{some} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;
    use crate::fixtures::{ANNOUNCED, passing_on, printed, said};

    fn shown(said: &Said) -> String {
        let all = of(&[ANNOUNCED.parse().unwrap()], said);
        let [one] = &all[..] else {
            panic!("one address")
        };
        printed(|out| one.text(out))
    }

    #[test]
    fn the_node_that_announces_is_named_and_why_the_others_do_not() {
        let mut nodes = said(&[
            ("n1", Some("not_owner")),
            ("n2", None),
            ("n3", Some("no_local_endpoint")),
            ("n4", Some("not_owner")),
            ("n5", Some("brand_new")),
        ]);
        nodes.push(("n6".to_owned(), Err(anyhow!("no answer within 10 s"))));
        insta::assert_snapshot!(shown(&nodes), @r"
        192.168.64.241 is announced by n2.
          not by n1, n4: not_owner: another node announces the address
          not by n3: no_local_endpoint: with externalTrafficPolicy: Local only nodes with a ready pod announce, and this node has none
          not by n5: brand_new: reported by a newer speaker; this plugin does not know the word
          not by n6: speaker_silent: no answer within 10 s
        ");
    }

    #[test]
    fn where_nobody_announces_it_is_said_what_to_do() {
        let nodes = said(&[("n1", Some("no_endpoint")), ("n2", Some("no_endpoint"))]);
        insta::assert_snapshot!(shown(&nodes), @r"
        192.168.64.241 is announced by nobody.
          not by n1, n2: no_endpoint: no pod of the Service is ready anywhere, so nobody announces its address
            what to do: compare spec.selector with the labels of the pods, and check why they are not ready
        ");
        assert!(!announcement(ANNOUNCED.parse().unwrap(), &nodes).is_fine());
    }

    #[test]
    fn an_address_of_a_node_needs_nobody() {
        let nodes = said(&[("n1", Some("node_address")), ("n2", Some("node_address"))]);
        assert!(announcement(ANNOUNCED.parse().unwrap(), &nodes).is_fine());
    }

    #[test]
    fn a_node_that_announces_for_want_of_a_better_one_says_why_it_is_none() {
        let mut nodes = said(&[("n1", None), ("n2", Some("strictly_excluded_node"))]);
        if let Ok(status) = &mut nodes[0].1 {
            status.vips[0].drawback = Some("excluded_node".into());
        }
        insta::assert_snapshot!(shown(&nodes), @r"
        192.168.64.241 is announced by n1.
          no better node is available: excluded_node
          not by n2: strictly_excluded_node: the node has the label node.kubernetes.io/exclude-from-external-load-balancers, and the speakers treat it strictly
        ");
    }

    #[test]
    fn of_two_links_into_one_subnet_the_one_that_announces_is_named() {
        let mut nodes = said(&[("n1", None), ("n2", Some("not_owner"))]);
        if let Ok(status) = &mut nodes[0].1 {
            status.vips[0].links = vec!["eth0".to_owned()];
            status.vips[0].standby_links = vec!["wlan0".to_owned()];
        }
        insta::assert_snapshot!(shown(&nodes), @r"
        192.168.64.241 is announced by n1.
          on eth0, not on wlan0: standby_link: another network interface of the node is in the same subnet and announces the address
          not by n2: not_owner: another node announces the address
        ");
    }

    #[test]
    fn connections_that_go_on_through_the_old_node_are_told_with_their_time() {
        for packets in [0, 1, 1_234] {
            let mut nodes = said(&[("n1", Some("not_owner")), ("n2", None)]);
            nodes[1].1.as_mut().unwrap().keeping = Some(passing_on(&[(ANNOUNCED, "n1", packets)]));
            insta::allow_duplicates! {
                let shown = shown(&nodes);
                let kept = shown.lines().nth(1).unwrap();
                let (what, how_many) = kept.rsplit_once(" (").unwrap();
                insta::assert_snapshot!(what, @"  open connections from before the move go on through n1 for up to 9m more, as long as it runs");
                assert_eq!(how_many, match packets {
                    0 => "none of them has sent anything since)",
                    1 => "1 packet so far, 7s ago)",
                    _ => "1234 packets so far, the last 7s ago)",
                });
            }
        }
        // Of another address nothing is said here.
        let mut nodes = said(&[("n1", Some("not_owner")), ("n2", None)]);
        nodes[1].1.as_mut().unwrap().keeping = Some(passing_on(&[("192.168.64.9", "n1", 1)]));
        assert!(!shown(&nodes).contains("open connections"));
    }

    #[test]
    fn two_that_announce_at_once_are_both_named() {
        let nodes = said(&[("n1", None), ("n2", None)]);
        insta::assert_snapshot!(shown(&nodes), @r"
        192.168.64.241 is announced by n1 and n2: it is moving right now, or these nodes cannot hear each other.
        ");
    }

    #[test]
    fn of_many_nodes_some_are_named() {
        let names: Vec<_> = (1..=14).map(|number| format!("n{number}")).collect();
        let nodes: Vec<_> = names
            .iter()
            .map(|name| (&**name, Some("not_owner")))
            .collect();
        let shown = shown(&said(&nodes));
        assert!(
            shown.contains("not by n1, n2, n3, n4, n5, n6, n7, n8, n9, n10 and 4 more:"),
            "{shown}"
        );
    }
}
