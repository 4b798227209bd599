//! What becomes of the addresses of nodes that go down at once, without a word.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::IpAddr;
use std::process::ExitCode;

use anyhow::ensure;
use ferrolb_core::Reason;
use ferrolb_core::report::SpeakerStatus;
use ferrolb_core::view::ServiceView;
use serde::Serialize;

use super::policy;
use crate::cluster::{Cluster, Installation};
use crate::daemons::Component;
use crate::election::{Election, returns_of_its_own_accord};
use crate::output::{Format, counted_addresses};
use crate::picture::{NodeState, Picture};
use crate::table;
use crate::terminal::{BAD, Paint, sentence};

/// Show which nodes would take the addresses of nodes that go down, and what would be lost.
///
/// Exit status: 0 if other nodes take every address, 1 if an address would be announced by nobody, or would lead to
/// no pod, 2 if the cluster does not answer.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct NodeDown {
    /// The nodes that go down, all at once.
    #[arg(required = true, value_name = "NODE")]
    nodes: Vec<String>,
    #[command(flatten)]
    installation: Installation,
    #[command(flatten)]
    format: Format,
}

const EXAMPLES: &str = "\
Examples:
  # What happens if the power of a rack fails
  kubectl ferrolb plan node-down n1 n2";

/// Not every address is served.
const NOT_ALL: u8 = 1;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Answer {
    nodes: Vec<String>,
    addresses: Vec<Takeover>,
    /// What else is worth knowing.
    notes: Vec<String>,
}

/// What becomes of an address that one of the nodes announces.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Takeover {
    address: IpAddr,
    services: Vec<String>,
    /// `externalTrafficPolicy` of each of them.
    policies: Vec<&'static str>,
    from: String,
    /// The node that takes it.
    to: Option<String>,
    /// Why none does.
    reason: Option<String>,
    /// No pod is left elsewhere: nobody answers until one is ready there.
    gap: bool,
}

impl NodeDown {
    pub(super) fn run(&self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let answer = self
            .installation
            .run(async |cluster| look(cluster, &self.nodes).await)?;
        self.format.print(out, &answer, |out| text(out, &answer))?;
        let is_fine = |one: &Takeover| one.to.is_some() && !one.gap;
        Ok(if answer.addresses.iter().all(is_fine) {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(NOT_ALL)
        })
    }
}

pub(super) async fn look(cluster: &Cluster, nodes: &[String]) -> anyhow::Result<Answer> {
    let picture = cluster.picture().await?;
    let election = cluster.election(&picture.daemons).await?;
    answer(&election, &picture, nodes)
}

fn answer(election: &Election, picture: &Picture, nodes: &[String]) -> anyhow::Result<Answer> {
    let gone: BTreeSet<&str> = nodes.iter().map(String::as_str).collect();
    for node in &gone {
        if !election.nodes.contains_key(*node) {
            return Err(election.unknown_node(node));
        }
    }
    ensure!(
        gone.len() < election.nodes.len(),
        "these are all nodes there are: nothing would be left"
    );
    let after = election.without_nodes(&gone);
    let mut pods_gone = after.clone();
    for node in &gone {
        pods_gone = pods_gone.without_pods_on(node);
    }
    let live = picture.nodes.iter();
    let live = live.filter(|node| node.state == NodeState::Live);
    let live: BTreeSet<&str> = live
        .map(|node| node.name.as_str())
        .filter(|name| !gone.contains(name))
        .collect();
    let mut answer = Answer {
        nodes: gone.iter().map(|node| (*node).to_owned()).collect(),
        addresses: Vec::new(),
        notes: election.note.map(str::to_owned).into_iter().collect(),
    };
    for held in &picture.addresses {
        let address = held.address;
        let own = election.nodes.values();
        let mut own = own.filter(|node| node.addresses.contains(&address));
        if let Some(node) = own.find(|node| gone.contains(node.name.as_str())) {
            answer.notes.push(format!(
                "{address} ({}) is {}'s own address: it never moves, and is gone while the node is",
                held.services.join(", "),
                node.name
            ));
            continue;
        }
        let Some(from) = held.nodes.iter().find(|node| gone.contains(node.as_str())) else {
            continue;
        };
        let services: Vec<&ServiceView> = election.services_at(address).collect();
        let taken = successor(&after, address, picture, &live);
        answer.addresses.push(Takeover {
            address,
            services: held.services.clone(),
            policies: services
                .iter()
                .map(|one| policy(one.traffic_policy))
                .collect(),
            from: from.clone(),
            gap: taken.is_ok() && pods_gone.standings(address, None).is_err(),
            reason: taken
                .as_ref()
                .err()
                .map(|reason| reason.as_str().to_owned()),
            to: taken.ok(),
        });
    }
    for node in &answer.nodes {
        let comes_back = |one: &&Takeover| {
            let to = one.to.as_deref();
            one.from == *node && to.is_some_and(|to| election.prefers(one.address, node, to))
        };
        let coming_back = answer.addresses.iter().filter(comes_back);
        let coming_back: Vec<_> = coming_back.map(|one| one.address).collect();
        answer
            .notes
            .extend(returns_of_its_own_accord(&coming_back, node));
    }
    answer
        .notes
        .extend(notes(election, picture, &gone, live.len()));
    Ok(answer)
}

impl Answer {
    /// What is lost, and for which address.
    pub(super) fn costs(&self) -> impl Iterator<Item = (IpAddr, String)> {
        let nodes = self.nodes.join(", ");
        self.addresses.iter().filter_map(move |one| {
            let what = if let Some(word) = &one.reason {
                let what = Reason::of(word).map(|reason| reason.explanation().what);
                let what = what.unwrap_or("no other node may announce it");
                format!("{word}: {what}")
            } else if one.gap {
                format!("all its pods are on {nodes}; nobody answers until one is ready elsewhere")
            } else {
                return None;
            };
            Some((one.address, what))
        })
    }
}

/// The first that may of those that live, as the speakers choose it.
fn successor(
    after: &Election,
    address: IpAddr,
    picture: &Picture,
    live: &BTreeSet<&str>,
) -> Result<String, Reason> {
    let standings = after.standings(address, None)?;
    let may = |node: &str, drawback: Option<Reason>| {
        let mut speakers = picture.speakers.iter();
        let said = speakers.find(|(one, _)| one == node);
        // Of one that was not asked, or does not answer, its links are not known.
        let said = said.and_then(|(_, told)| told.as_ref().ok());
        said.is_none_or(|said| {
            said.may_announce(address, drawback) || leaves_it_to_one_unheard(said, address)
        })
    };
    let candidates = standings.candidates(address).into_iter();
    let able: Vec<_> = candidates
        .filter(|(node, tier)| live.contains(node) && may(node, tier.drawback()))
        .map(|(node, _)| node)
        .collect();
    // Whoever is heard takes it at once, and then it is not free for one that waits for silence.
    let is_unheard = |node: &&&str| {
        let mut of_it = picture.node(node).into_iter().flat_map(|one| &one.reasons);
        of_it.any(|reason| reason == Reason::PeerBlocked.as_str())
    };
    match able.iter().find(|node| !is_unheard(node)).or(able.first()) {
        Some(node) => Ok((*node).to_owned()),
        None => Err(standings.why_nobody().unwrap_or(Reason::SpeakerSilent)),
    }
}

/// B3: it claims an address that is announced no more.
fn leaves_it_to_one_unheard(said: &SpeakerStatus, address: IpAddr) -> bool {
    let reason = said.vip(address).and_then(|vip| vip.reason.as_deref());
    reason == Some(Reason::PeerAnnounces.as_str())
}

fn notes(
    election: &Election,
    picture: &Picture,
    gone: &BTreeSet<&str>,
    left: usize,
) -> Vec<String> {
    let mut notes = Vec::new();
    let speakers = picture.daemons.iter().filter(|one| one.is_speaker());
    let speakers = speakers.count();
    if left == 0 {
        notes.push("no speaker would be left: nobody takes anything".to_owned());
    } else if left * 2 <= speakers {
        let alone = if left == 1 {
            ", if a router answers it: one that hears nobody at all takes nothing"
        } else {
            ""
        };
        notes.push(format!(
            "{left} of {speakers} speakers would be left. They cannot tell whether the others are \
             down or only cut off, and take the addresses all the same{alone}"
        ));
    }
    let controllers = picture.daemons.iter();
    let controllers = controllers.filter(|one| one.component == Component::Controller);
    let nodes: Vec<_> = controllers.filter_map(|one| one.node.as_deref()).collect();
    if !nodes.is_empty() && nodes.iter().all(|node| gone.contains(node)) {
        notes.push(
            "no controller would be left until its pod starts elsewhere: Services keep their \
             addresses, and new ones wait"
                .to_owned(),
        );
    }
    let has_pod_there = election.slices.iter().any(|slice| {
        let mut endpoints = slice.endpoints.iter();
        let is_there = |node: &str| gone.contains(node);
        election
            .service(&slice.service)
            .is_some_and(|one| one.load_balancer)
            && endpoints.any(|one| one.node.as_deref().is_some_and(is_there))
    });
    if has_pod_there {
        notes.push(
            "connections to pods on these nodes are lost, and until Kubernetes calls the nodes not \
             ready, most of a minute, kube-proxy sends new ones there, too"
                .to_owned(),
        );
    }
    notes
}

fn mark(cell: &str) -> Option<Paint> {
    (cell == "nobody").then_some(BAD)
}

fn text(out: &mut impl Write, answer: &Answer) -> anyhow::Result<()> {
    let nodes = answer.nodes.join(", ");
    if answer.addresses.is_empty() {
        writeln!(out, "{nodes}: no address is announced there, so none moves")?;
    } else {
        let head = ["ADDRESS", "SERVICES", "POLICY", "FROM", "TAKEN BY"].map(str::to_owned);
        let rows = answer.addresses.iter().map(|one| {
            let to = one.to.clone().unwrap_or_else(|| "nobody".to_owned());
            let services = table::list(&one.services, ",");
            let policies: BTreeSet<_> = one.policies.iter().copied().collect();
            let policies: Vec<_> = policies.into_iter().collect();
            let address = one.address.to_string();
            [address, services, policies.join(","), one.from.clone(), to]
        });
        let rows: Vec<_> = std::iter::once(head).chain(rows).collect();
        table::print_marked(out, &rows, &mark)?;
        let moves = answer
            .addresses
            .iter()
            .filter(|one| one.to.is_some())
            .count();
        let silent = answer.addresses.len() - moves;
        writeln!(
            out,
            "\n{} taken by other nodes, {silent} announced by nobody",
            counted_addresses(moves)
        )?;
    }
    for (address, what) in answer.costs() {
        sentence(out, Some(BAD), &format!("{address}: "), &what)?;
    }
    for note in &answer.notes {
        sentence(out, None, "note: ", note)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemons::Daemon;
    use crate::election::ServiceFixture;
    use crate::fixtures::{WEB, announcing, blocked, controller, heard, printed, said_of};
    use crate::picture::tests::{heard_of, now, picture_of, speakers_on};

    const MAIL: ServiceFixture<'static> = ServiceFixture {
        name: "mail",
        address: "192.168.64.241",
        policy: "Local",
        pods_on: &["n1"],
        asks_for: None,
    };

    /// n1 announces both.
    fn picture(services: &[&ServiceFixture<'_>]) -> Picture {
        let addresses: Vec<_> = services.iter().map(|one| one.address).collect();
        let mut status = controller();
        status.services.truncate(services.len());
        for (status, service) in status.services.iter_mut().zip(services) {
            status.name = service.name.to_owned();
            status.addresses = vec![service.address.to_owned()];
        }
        let mut speakers = announcing(&addresses);
        for node in ["n2", "n3"] {
            speakers.extend(said_of("10.0.0.1", &[(node, Some("not_owner"))]));
        }
        picture_of(speakers_on(&["n1", "n2", "n3"]), Ok(status), speakers)
    }

    fn planned(services: &[&ServiceFixture<'_>], nodes: &[&str]) -> Answer {
        let election = Election::fixture("", services);
        let nodes: Vec<_> = nodes.iter().map(|node| (*node).to_owned()).collect();
        answer(&election, &picture(services), &nodes).unwrap()
    }

    fn shown(services: &[&ServiceFixture<'_>], nodes: &[&str]) -> String {
        let answer = planned(services, nodes);
        printed(|out| text(out, &answer))
    }

    #[test]
    fn it_is_said_who_takes_each_address_and_which_one_falls_silent() {
        insta::assert_snapshot!(shown(&[&WEB, &MAIL], &["n1"]));
    }

    #[test]
    fn of_two_nodes_that_go_down_the_third_takes_all_and_that_it_is_alone_is_said() {
        insta::assert_snapshot!(shown(&[&WEB], &["n1", "n2"]));
    }

    #[test]
    fn addresses_that_a_preferred_node_takes_back_are_named() {
        let election = Election::fixture("", &[&WEB]).preferring("n1");
        let nodes = ["n1".to_owned(), "n2".to_owned()];
        let down = answer(&election, &picture(&[&WEB]), &nodes).unwrap();
        let said = "192.168.64.240 returns to n1 once that has been well for 30 s, because it is \
                    preferred (preferred-nodes)";
        assert_eq!(down.notes[0], said);
        // Another one is preferred, so it stays there.
        let election = Election::fixture("", &[&WEB]).preferring("n3");
        let down = answer(&election, &picture(&[&WEB]), &nodes).unwrap();
        assert!(!down.notes.iter().any(|note| note.contains("returns to")));
    }

    #[test]
    fn a_node_without_addresses_moves_none() {
        insta::assert_snapshot!(shown(&[&WEB], &["n3"]));
    }

    #[test]
    fn the_successor_is_the_speakers_own_choice_and_one_that_is_dead_or_may_not_is_none() {
        let election = Election::fixture("", &[&WEB]);
        let address: IpAddr = WEB.address.parse().unwrap();
        let standings = election.standings(address, None).unwrap();
        let mut order = standings
            .candidates(address)
            .into_iter()
            .map(|(node, _)| node);
        let best = order.find(|node| *node != "n1").unwrap();
        let other = if best == "n2" { "n3" } else { "n2" };
        assert_eq!(
            planned(&[&WEB], &["n1"]).addresses[0].to.as_deref(),
            Some(best)
        );

        let mut heard = heard_of(
            speakers_on(&["n1", "n2", "n3"]),
            Ok(controller()),
            announcing(&[WEB.address]),
        );
        // It says of itself that it has no link for it.
        heard
            .speakers
            .extend(said_of(WEB.address, &[(best, Some("no_link"))]));
        heard
            .speakers
            .extend(said_of(WEB.address, &[(other, Some("not_owner"))]));
        let picture = Picture::of(heard, now());
        let answer = answer(&election, &picture, &["n1".to_owned()]).unwrap();
        assert_eq!(answer.addresses[0].to.as_deref(), Some(other));
    }

    #[test]
    fn one_that_cannot_be_heard_takes_an_address_if_nobody_else_may() {
        let election = Election::fixture("", &[&WEB]);
        let successor = |unheard: &[&str], others: &str| {
            let nodes = ["n1", "n2", "n3"];
            let mut said = announcing(&[WEB.address]);
            for node in ["n2", "n3"] {
                let reason = match unheard.contains(&node) {
                    true => "peer_announces",
                    false => others,
                };
                said.extend(said_of(WEB.address, &[(node, Some(reason))]));
            }
            for (by, told) in &mut said {
                let is_unheard = |one: &str| unheard.contains(&one) || unheard.contains(&&**by);
                let members = nodes.iter().filter(|one| **one != &**by);
                let members = members.map(|one| match is_unheard(one) {
                    true => blocked(one),
                    false => heard(one),
                });
                told.as_mut().unwrap().members = members.collect();
            }
            let mut status = controller();
            status.services.truncate(1);
            let picture = picture_of(speakers_on(&nodes), Ok(status), said);
            let answer = answer(&election, &picture, &["n1".to_owned()]).unwrap();
            answer.addresses[0].to.clone()
        };
        // Whichever of the two is ranked first.
        assert_eq!(successor(&["n2"], "not_owner").as_deref(), Some("n3"));
        assert_eq!(successor(&["n3"], "not_owner").as_deref(), Some("n2"));
        assert_eq!(successor(&["n2"], "no_link").as_deref(), Some("n2"));
        assert_eq!(successor(&["n3"], "no_link").as_deref(), Some("n3"));
        assert!(successor(&["n2", "n3"], "not_owner").is_some());
    }

    #[test]
    fn nodes_that_there_are_not_and_all_that_there_are_make_no_plan() {
        let election = Election::fixture("", &[&WEB]);
        let refused = |nodes: &[&str]| {
            let nodes: Vec<_> = nodes.iter().map(|node| (*node).to_owned()).collect();
            let error = answer(&election, &picture(&[&WEB]), &nodes).unwrap_err();
            error.to_string()
        };
        assert_eq!(
            refused(&["n9"]),
            "there is no node n9; there are n1, n2, n3"
        );
        assert!(refused(&["n1", "n2", "n3"]).starts_with("these are all nodes"));
    }

    #[test]
    fn that_no_controller_is_left_is_said() {
        let controllers_on = |node: &str| {
            let mut picture = picture(&[&WEB]);
            picture.daemons[0] = Daemon::fixture(Component::Controller, "c", node);
            let election = Election::fixture("", &[&WEB]);
            let answer = answer(&election, &picture, &["n1".to_owned()]).unwrap();
            let mut notes = answer.notes.iter();
            notes.any(|note| note.starts_with("no controller would be left"))
        };
        assert!(controllers_on("n1"));
        assert!(!controllers_on("n2"));
    }
}
