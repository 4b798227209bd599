use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;

use super::spread::may_announce;
use super::*;
use crate::election::ServiceFixture;
use crate::fixtures::printed;

const NODES: [&str; 3] = ["n1", "n2", "n3"];

type Policy = (&'static str, &'static [&'static str]);

/// Names and addresses of so many Services: 192.168.64.240 and those after it.
fn names(count: usize) -> Vec<(String, String)> {
    let numbers = 0..count;
    numbers
        .map(|n| (format!("s{n}"), format!("192.168.64.{}", 240 + n)))
        .collect()
}

fn election(cordoned: &str, names: &[(String, String)], policies: &[Policy]) -> Election {
    let all = names.iter().zip(policies);
    let fixtures: Vec<_> = all
        .map(|((name, address), (policy, pods_on))| ServiceFixture {
            name,
            address,
            policy,
            pods_on,
            asks_for: None,
        })
        .collect();
    Election::fixture(cordoned, &fixtures.iter().collect::<Vec<_>>())
}

/// A speaker that hears `live`, and knows who announces what.
fn observer(live: &[&str], owners: &[(&str, &str)]) -> SpeakerStatus {
    let member = |node: &&str| {
        json!({
            "node": node,
            "address": "192.168.64.11",
            "mac": "02:00:00:00:00:01",
            "standing": "live",
            "incarnation": 0,
            "addresses": 0,
        })
    };
    let vip = |(address, owner): &(&str, &str)| {
        json!({
            "address": address,
            "services": [],
            "owner": owner,
            "epoch": 1,
            "announcedHere": false,
            "reason": "not_owner",
        })
    };
    serde_json::from_value(json!({
        "node": "n1",
        "version": "0.1.0",
        "waitingFor": null,
        "isolated": false,
        "members": live.iter().map(member).collect::<Vec<_>>(),
        "vips": owners.iter().map(vip).collect::<Vec<_>>(),
    }))
    .unwrap()
}

fn said(election: &Election, observer: &SpeakerStatus) -> String {
    let plan = plan(election, observer, &Asked::new());
    printed(|out| text(out, &Answer::of(&plan, None), 10))
}

#[test]
fn a_returned_node_takes_its_share_and_no_more_moves_than_that_needs() {
    let policies = [("Cluster", &["n1"][..]); 7];
    let names = names(policies.len());
    let election = election("", &names, &policies);
    let owners: Vec<(&str, &str)> = names
        .iter()
        .zip(["n1", "n2"].into_iter().cycle())
        .map(|((_, address), node)| (address.as_str(), node))
        .collect();
    insta::assert_snapshot!(said(&election, &observer(&NODES, &owners)));
    // Its speaker is not heard: it is no candidate.
    insta::assert_snapshot!(said(&election, &observer(&NODES[..2], &owners)));
}

#[test]
fn what_shares_an_address_moves_together_and_what_asks_for_a_node_stays() {
    let fixture = |name, address, asks_for| ServiceFixture {
        name,
        address,
        policy: "Cluster",
        pods_on: &["n1"],
        asks_for,
    };
    let all = [
        fixture("bound", "192.168.64.240", Some("n1")),
        fixture("tcp", "192.168.64.241", None),
        fixture("udp", "192.168.64.241", None),
        fixture("web", "192.168.64.242", None),
    ];
    let election = Election::fixture("", &all.each_ref());
    let owners: Vec<(&str, &str)> = all.iter().map(|one| (one.address, "n1")).collect();
    insta::assert_snapshot!(said(&election, &observer(&NODES, &owners)));
}

/// It would have to come back at once: a preferred node takes its addresses back.
#[test]
fn where_a_node_is_preferred_it_keeps_its_addresses_and_those_of_others_are_spread_over_it_alone() {
    let policies = [("Cluster", &["n1"][..]); 4];
    let names = names(policies.len());
    let owners: Vec<(&str, &str)> = names.iter().map(|(_, one)| (one.as_str(), "n1")).collect();
    let observer = observer(&NODES, &owners);
    let to = |preferred: &str| {
        let election = election("", &names, &policies).preferring(preferred);
        let plan = plan(&election, &observer, &Asked::new());
        let steps = plan.steps.into_iter();
        steps.map(|step| step.to).collect::<Vec<_>>()
    };
    assert!(to("n1").is_empty());
    assert_eq!(to("n3"), ["n3", "n3"]);
}

#[test]
fn a_node_that_cannot_announce_is_given_nothing() {
    let policies = [("Cluster", &["n1"][..]); 4];
    let names = names(policies.len());
    let cordoned = election("n3", &names, &policies);
    let owners: Vec<(&str, &str)> = names.iter().map(|(_, one)| (one.as_str(), "n1")).collect();
    let all = observer(&NODES, &owners);
    let to = |plan: &Plan| {
        plan.steps
            .iter()
            .map(|step| step.to.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(to(&plan(&cordoned, &all, &Asked::new())), ["n2", "n2"]);
    // The speaker there says that no link carries it; another one does not answer.
    let election = election("", &names, &policies);
    let mut without_link = observer(&NODES, &owners);
    for vip in &mut without_link.vips {
        vip.reason = Some("no_link".into());
    }
    let asked = [
        ("n2".to_owned(), Some(without_link)),
        ("n3".to_owned(), None),
    ]
    .into();
    assert_eq!(plan(&election, &all, &asked).steps, []);
}

proptest! {
    /// Whatever is where, and wherever it may be: afterwards no address is left that a less loaded node
    /// could take, and no step is one back.
    #[test]
    fn afterwards_no_single_move_evens_out_any_more(
        held in proptest::collection::vec((0_usize..3, proptest::sample::select(vec![
            ("Cluster", &["n1"][..]), ("Local", &["n1"]), ("Local", &["n2", "n3"]), ("Local", &["n1", "n2"]),
        ])), 1..14),
    ) {
        let policies: Vec<_> = held.iter().map(|(_, policy)| *policy).collect();
        let names = names(policies.len());
        let election = election("", &names, &policies);
        let owners: Vec<(&str, &str)> = names
            .iter()
            .zip(&held)
            .map(|((_, address), (node, _))| (address.as_str(), NODES[*node]))
            .collect();
        let observer = observer(&NODES, &owners);
        let plan = plan(&election, &observer, &Asked::new());
        let mut at: BTreeMap<IpAddr, String> = owners
            .iter()
            .map(|(address, node)| (address.parse().unwrap(), (*node).to_owned()))
            .collect();
        for step in &plan.steps {
            for address in &step.group.addresses {
                let before = at.insert(*address, step.to.clone());
                prop_assert_ne!(before.as_ref(), Some(&step.to));
            }
        }
        for (address, owner) in &at {
            for other in NODES {
                if may_announce(&election, *address, other, &Asked::new()) {
                    prop_assert!(plan.after[owner] <= plan.after[other] + 1, "{plan:?}");
                }
            }
        }
    }
}
