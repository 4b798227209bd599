//! What the daemons and the API server say, asked of all of them at once.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::Write as _;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::anyhow;
use ferrolb_core::k8s::{node_view, service_view};
use ferrolb_core::report::{ControllerStatus, SpeakerStatus};
use ferrolb_core::view::{NodeView, ServiceView};
use futures::{StreamExt as _, future, stream};
use k8s_openapi::api::core::v1::Node;
use tokio::time::{sleep, timeout};

use super::events::Happening;
use super::nodes::{is_held_dead, witnesses};
use crate::cluster::Cluster;
use crate::controller::the_leading;
use crate::daemons::{Component, Daemon};
use crate::speaker::Said;
use crate::terminal::stderr;

/// Daemons that are asked at a time: each holds a connection through the API server.
const AT_ONCE: usize = 64;
/// Of more speakers than this only some are asked, since each tells what it knows of all.
const ASK_ALL: usize = 100;
/// That many: one may be wrong, and another may be dead.
const VIEWS: usize = 3;
/// After this long without a further answer those who answered are asked again, and again after twice as
/// long: a death is known everywhere within a tenth of a second.
const ASK_AGAIN: Duration = Duration::from_millis(250);
/// A person who waits longer than this is told for whom.
const TELL_AFTER: Duration = Duration::from_secs(1);
/// As many names of daemons as are told to a person who waits.
const NAMED: usize = 3;

/// What was answered, and what was not.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) daemons: Vec<Daemon>,
    /// The answer of the controller that leads; if none does, that of another one.
    pub(crate) controller: anyhow::Result<ControllerStatus>,
    /// The pods of those that say to lead.
    pub(crate) leaders: Vec<String>,
    pub(crate) speakers: Said,
    pub(crate) services: anyhow::Result<Vec<ServiceView>>,
    pub(crate) nodes: anyhow::Result<Vec<NodeFacts>>,
    pub(crate) events: anyhow::Result<Vec<Happening>>,
}

/// What is read of a Node.
#[derive(Debug, Clone)]
pub(crate) struct NodeFacts {
    pub(crate) view: NodeView,
    /// Condition `Ready`.
    pub(crate) ready: bool,
}

/// What a daemon answered, or why it did not.
enum Told {
    Controller(anyhow::Result<ControllerStatus>),
    Speaker(String, anyhow::Result<SpeakerStatus>),
}

impl Cluster {
    pub(super) async fn hear(&self) -> anyhow::Result<Heard> {
        let daemons = self.daemons().await?;
        let (told, services, nodes, events) = future::join4(
            self.told(&daemons),
            self.every(|service| service_view(&service).filter(|view| view.load_balancer)),
            self.every(|node: Node| node_facts(&node)),
            self.happenings(),
        )
        .await;
        let (controllers, said) = told;
        let leading = controllers.iter().flatten().filter(|one| one.leading);
        Ok(Heard {
            leaders: leading.map(|one| one.instance.clone()).collect(),
            controller: the_leading(controllers),
            speakers: said,
            services,
            nodes,
            events,
            daemons,
        })
    }

    /// What the controllers say, and what each speaker that has to be asked says.
    async fn told(&self, daemons: &[Daemon]) -> (Vec<anyhow::Result<ControllerStatus>>, Said) {
        let mut controllers = Vec::new();
        let mut said = Said::new();
        let mut first = daemons.iter().filter(|one| !one.is_speaker());
        let mut batch: Vec<&Daemon> = first.by_ref().collect();
        let speakers: Vec<_> = daemons
            .iter()
            .filter(|one| one.is_speaker() && one.node.is_some())
            .collect();
        if speakers.len() <= ASK_ALL {
            batch.extend(&speakers);
            self.ask_all(&batch, &mut controllers, &mut said).await;
        } else {
            let mut left = spread(&speakers);
            while said.iter().filter(|(_, told)| told.is_ok()).count() < VIEWS && !left.is_empty() {
                batch.extend(left.drain(..left.len().min(VIEWS)));
                self.ask_all(&batch, &mut controllers, &mut said).await;
                batch.clear();
            }
            let silent = left.into_iter().filter(|one| is_in_doubt(one, &said));
            batch.extend(silent);
            self.ask_all(&batch, &mut controllers, &mut said).await;
        }
        self.ask_again(daemons, &mut said).await;
        said.sort_by(|(a, _), (b, _)| a.cmp(b));
        (controllers, said)
    }

    /// Until all have answered or have had their time; or until those who have not are dead, by the word
    /// of those who have.
    async fn ask_all(
        &self,
        daemons: &[&Daemon],
        controllers: &mut Vec<anyhow::Result<ControllerStatus>>,
        said: &mut Said,
    ) {
        let waiting: RefCell<BTreeSet<usize>> = RefCell::new((0..daemons.len()).collect());
        let asking = async {
            let answers = stream::iter(daemons.iter().enumerate())
                .map(async |(number, daemon)| (number, self.told_by(daemon).await));
            let mut answers = answers.buffer_unordered(AT_ONCE);
            let mut patience = ASK_AGAIN;
            loop {
                match timeout(patience, answers.next()).await {
                    Ok(None) => break,
                    Ok(Some((number, told))) => {
                        waiting.borrow_mut().remove(&number);
                        match told {
                            Told::Controller(status) => controllers.push(status),
                            Told::Speaker(node, status) => said.push((node, status)),
                        }
                    }
                    Err(_) => {
                        // Where most are silent the way is slow, and more questions make it slower.
                        if 2 * waiting.borrow().len() < daemons.len() {
                            self.refresh(daemons.iter().copied(), said).await;
                        }
                        patience *= 2;
                    }
                }
                let waiting = waiting.borrow();
                let nodes = waiting
                    .iter()
                    .filter_map(|number| daemons[*number].node.as_deref());
                if !waiting.is_empty() && are_dead(nodes, said) {
                    break;
                }
            }
        };
        let telling = async {
            sleep(TELL_AFTER).await;
            self.tell_who_is_waited_for(daemons, &waiting.borrow());
            future::pending::<()>().await;
        };
        tokio::select! {
            () = asking => {}
            () = telling => {}
        }
        for number in waiting.into_inner() {
            let daemon = daemons[number];
            let dead = anyhow!("the other speakers hold its node dead");
            match (daemon.component, &daemon.node) {
                (Component::Speaker, Some(node)) => said.push((node.clone(), Err(dead))),
                _ => controllers.push(Err(dead.context(format!("pod {}", daemon.pod)))),
            }
        }
    }

    async fn told_by(&self, daemon: &Daemon) -> Told {
        match (daemon.component, &daemon.node) {
            (Component::Speaker, Some(node)) => {
                Told::Speaker(node.clone(), self.status_of(daemon).await)
            }
            _ => Told::Controller(self.status_of(daemon).await),
        }
    }

    /// Those who answered did so before it was clear that others do not, and may know by now that those
    /// are dead.
    async fn ask_again(&self, daemons: &[Daemon], said: &mut Said) {
        let silent = said.iter().filter(|(_, told)| told.is_err());
        let silent: Vec<_> = silent.map(|(node, _)| node.as_str()).collect();
        if silent.is_empty() || are_dead(silent.into_iter(), said) {
            return;
        }
        self.refresh(daemons.iter(), said).await;
    }

    /// What those who answered say now.
    async fn refresh(&self, daemons: impl Iterator<Item = &Daemon>, said: &mut Said) {
        let answered = |node: &str| {
            let mut said = said.iter();
            said.any(|(one, told)| one == node && told.is_ok())
        };
        let alive = daemons
            .filter(|daemon| daemon.is_speaker() && daemon.node.as_deref().is_some_and(answered));
        let alive: Vec<_> = alive.cloned().collect();
        let fresh = self.speakers(&alive).await;
        for (node, told) in fresh {
            // What was answered once is worth more than that it is not answered again.
            if let (Ok(_), Some(one)) = (&told, said.iter_mut().find(|(one, _)| *one == node)) {
                one.1 = told;
            }
        }
    }

    /// Apart from the answer, and once: who looks again and again knows it.
    fn tell_who_is_waited_for(&self, daemons: &[&Daemon], waiting: &BTreeSet<usize>) {
        if waiting.is_empty() || self.told_of_waiting.swap(true, Ordering::Relaxed) {
            return;
        }
        let names = waiting.iter().map(|number| {
            let daemon = daemons[*number];
            daemon.node.as_deref().unwrap_or(&daemon.pod)
        });
        let names: BTreeSet<_> = names.collect();
        let more = match names.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let first: Vec<_> = names.into_iter().take(NAMED).collect();
        // It is of no use to anybody if it cannot be told.
        let _ = writeln!(stderr(), "waiting for {}{more}", first.join(", "));
    }
}

fn are_dead<'a>(mut nodes: impl Iterator<Item = &'a str>, said: &Said) -> bool {
    let witnesses = witnesses(said);
    nodes.all(|node| is_held_dead(node, &witnesses))
}

/// Whether its own word is needed: others do not hear it, or do not know it.
fn is_in_doubt(speaker: &Daemon, said: &Said) -> bool {
    let Some(node) = speaker.node.as_deref() else {
        return true;
    };
    let views = said.iter().filter_map(|(_, told)| told.as_ref().ok());
    let mut views = views.peekable();
    !speaker.ready || views.peek().is_none() || views.any(|view| !view.hears(node))
}

/// All of them, those first that stand far apart: neighbours in a list may share a rack.
fn spread<'a>(speakers: &[&'a Daemon]) -> Vec<&'a Daemon> {
    let step = speakers.len().div_ceil(VIEWS).max(1);
    let columns = (0..step).flat_map(|start| (start..speakers.len()).step_by(step));
    columns.map(|place| speakers[place]).collect()
}

fn node_facts(node: &Node) -> Option<NodeFacts> {
    let conditions = node.status.as_ref()?.conditions.as_ref();
    let ready = conditions.and_then(|all| all.iter().find(|one| one.type_ == "Ready"));
    Some(NodeFacts {
        view: node_view(node)?,
        ready: ready.is_some_and(|condition| condition.status == "True"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{blocked, said, vouching};

    fn speakers(count: usize) -> Vec<Daemon> {
        let numbers = 0..count;
        numbers
            .map(|number| Daemon::fixture(Component::Speaker, "s", &format!("n{number:03}")))
            .collect()
    }

    #[test]
    fn the_first_that_are_asked_of_many_stand_far_apart_and_none_is_left_out() {
        let all = speakers(200);
        let all: Vec<_> = all.iter().collect();
        let order: Vec<_> = spread(&all)
            .into_iter()
            .map(|one| one.node.clone().unwrap())
            .collect();
        assert_eq!(order[..3], ["n000", "n067", "n134"]);
        assert_eq!(order.iter().collect::<BTreeSet<_>>().len(), 200);
        assert_eq!(spread(&[]).len(), 0);
    }

    #[test]
    fn of_many_speakers_those_are_asked_that_others_do_not_hear() {
        let all = speakers(4);
        let said = vouching(
            "n000",
            &[("n000", "live"), ("n001", "live"), ("n002", "gone")],
        );
        let mut doubtful = all.iter().filter(|one| is_in_doubt(one, &said));
        assert_eq!(doubtful.next().unwrap().node.as_deref(), Some("n002"));
        assert_eq!(doubtful.next().unwrap().node.as_deref(), Some("n003"));
        assert!(doubtful.next().is_none());
        let mut not_ready = all[1].clone();
        not_ready.ready = false;
        assert!(is_in_doubt(&not_ready, &said));
    }

    #[test]
    fn nobody_is_dead_by_the_word_of_nobody() {
        assert!(!are_dead(["n3"].into_iter(), &Said::new()));
        assert!(!are_dead(["n3"].into_iter(), &said(&[("n1", None)])));
        let said = vouching("n1", &[("n1", "live"), ("n2", "live"), ("n3", "gone")]);
        assert!(are_dead(["n3"].into_iter(), &said));
        assert!(!are_dead(["n3", "n2"].into_iter(), &said));
        // Its own word is worth waiting for.
        let mut said = vouching("n1", &[("n1", "live"), ("n2", "live")]);
        said[0].1.as_mut().unwrap().members.push(blocked("n3"));
        assert!(!are_dead(["n3"].into_iter(), &said));
    }
}
