//! Whatever is voted, in whatever order: what must never happen.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const NODES: u8 = 6;

#[derive(Debug, Clone)]
enum Step {
    /// Voter, whom, opinion, incarnation.
    Vote(u8, u8, u8, u32),
    /// The entry of a voter goes.
    Retract(u8),
    /// A Node is ready, or not.
    Ready(u8, bool),
    /// A kubelet overwrites whatever was marked.
    Heal(u8),
    /// What a look sees, and whether writes succeed.
    Run(bool, bool),
    Lead(bool),
    /// Milliseconds pass.
    Wait(u16),
}

fn step() -> impl Strategy<Value = Step> {
    let node = 1..=NODES;
    prop_oneof![
        6 => (node.clone(), 1..=3_u8, 0..2_u8, 0..2_u32)
            .prop_map(|(voter, whom, opinion, inc)| Step::Vote(voter, whom, opinion, inc)),
        1 => node.clone().prop_map(Step::Retract),
        1 => (node.clone(), any::<bool>()).prop_map(|(node, ready)| Step::Ready(node, ready)),
        1 => node.prop_map(Step::Heal),
        6 => (any::<bool>(), any::<bool>()).prop_map(|(silent, works)| Step::Run(silent, works)),
        1 => any::<bool>().prop_map(Step::Lead),
        2 => any::<u16>().prop_map(Step::Wait),
    ]
}

/// Services a to d, each with pods on some nodes.
fn pods() -> impl Strategy<Value = Vec<BTreeSet<u8>>> {
    vec(proptest::collection::btree_set(1..=NODES, 0..4), 4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn nobody_is_marked_without_a_quorum_and_no_service_loses_its_last_living_endpoint(
        services in pods(),
        steps in vec(step(), 1..60),
    ) {
        let mut unready: BTreeSet<String> = BTreeSet::new();
        let slices = |unready: &BTreeSet<String>| -> Vec<SliceFacts> {
            let named = services.iter().zip(["a", "b", "c", "d"]);
            named.map(|(on, name)| {
                let pods = on.iter().map(|node| {
                    let pod = format!("{name}{node}");
                    let sign = if unready.contains(&pod) { "!" } else { "" };
                    format!("{pod}@n{node}{sign}")
                });
                slice(name, &pods.collect::<Vec<_>>().join(" "))
            }).collect()
        };
        let mut world = World::new(NODES, slices(&unready));
        let mut facts = nodes(NODES);
        let mut said: BTreeMap<String, BTreeMap<String, Vote>> = BTreeMap::new();
        let mut marked: BTreeMap<String, usize> = BTreeMap::new();
        let mut now = at(0);
        for step in steps {
            match step {
                Step::Vote(voter, whom, opinion, incarnation) if voter != whom => {
                    let opinion = [Opinion::Dead, Opinion::Heard][usize::from(opinion)];
                    let whom = format!("n{whom}");
                    let vote = vote(&whom, Process { incarnation, ..LIFE }, opinion);
                    let votes = said.entry(format!("n{voter}")).or_default();
                    votes.insert(whom, vote);
                    let all: Vec<_> = votes.values().cloned().collect();
                    world.says(&format!("n{voter}"), &all, now);
                }
                Step::Vote(..) => {}
                Step::Retract(voter) => {
                    said.remove(&format!("n{voter}"));
                    world.votes.remove(&format!("n{voter}"));
                    world.tell(now);
                }
                Step::Ready(node, ready) => {
                    let name = format!("n{node}");
                    let node = facts.get_mut(&name).unwrap();
                    node.ready = ready;
                    world.dead.set_node(name, Some(node.clone()), now);
                }
                Step::Heal(node) => {
                    unready.retain(|pod| !pod.ends_with(&node.to_string()));
                    world.dead.serving().list_slices(slices(&unready));
                    world.dead.handle_slices(now);
                }
                Step::Lead(leads) => world.dead.set_leading(leads),
                Step::Wait(millis) => {
                    now = now + Duration::from_millis(millis.into());
                    world.dead.handle_timeout(now);
                }
                Step::Run(silent, works) => {
                    while let Some(look) = world.dead.poll_look(now) {
                        let looked = if silent { Looked::Silent } else { Looked::Answers };
                        world.dead.handle_look(&look, looked, now);
                    }
                    while let Some(write) = world.dead.poll_write(now) {
                        let name = write.pod.name.to_string();
                        if matches!(write.action, Action::Mark(_)) {
                            let by = |votes: &&BTreeMap<String, Vote>| {
                                let vote = votes.get(&write.node);
                                vote.is_some_and(|vote| vote.opinion == Opinion::Dead)
                            };
                            let voters = said.iter().filter(|(voter, votes)| {
                                facts[*voter].ready && by(votes)
                            });
                            prop_assert!(voters.count() >= QUORUM, "{write:?} {said:?}");
                            *marked.entry(format!("{name} {}", write.process.incarnation)).or_default() += 1;
                            if works {
                                unready.insert(name);
                            }
                        } else if works {
                            unready.remove(&name);
                        }
                        let outcome = if works { Outcome::Done } else { Outcome::Failed };
                        world.dead.handle_written(&write, outcome, now);
                    }
                    for (on, name) in services.iter().zip(["a", "b", "c", "d"]) {
                        let lost = on.iter().any(|node| unready.contains(&format!("{name}{node}")));
                        let left = on.iter().any(|node| !unready.contains(&format!("{name}{node}")));
                        prop_assert!(!lost || left, "{name} has no endpoint: {unready:?}");
                    }
                    world.dead.serving().list_slices(slices(&unready));
                    world.dead.handle_slices(now);
                }
            }
            let out = world.dead.marked();
            prop_assert!(out <= usize::from(NODES) / 2, "{out} nodes are out of rotation");
        }
        for (pod, times) in marked {
            prop_assert!(times <= 2, "{pod} was marked {times} times: one try more after a fault");
        }
    }
}
