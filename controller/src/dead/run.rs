//! The task: watches in, looks and writes out.

use std::time::Duration;

use ferrolb_core::dead::{self, DeadNodesStatus, Look, Looked, Notice, Outcome, VOTES_NAME, Write};
use ferrolb_kube::clock::Clock;
use ferrolb_kube::events::{NODE, Object};
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{FuturesUnordered, StreamExt};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use tokio::sync::watch;
use tokio::time::timeout;

use super::watches::{Known, Watches, names};
use super::{Start, look, writer};
use crate::notice::{self, author};
use crate::removal::remove;
use crate::waiting::{done, until};

/// Writes at once: of 60 pods they take 0.27 s, one at a time 0.9 s.
const WRITES: usize = 8;
/// Removing votes takes no longer, or is given up until the next time.
const REMOVAL_PATIENCE: Duration = Duration::from_secs(2);
/// An Event that takes longer is given up.
const EVENT_TIMEOUT: Duration = Duration::from_secs(5);
/// Where Events about Nodes are: they have no namespace of their own.
const EVENTS_OF_NODES: &str = "default";

struct Task {
    start: Start,
    clock: Clock,
    dead: dead::DeadNodes,
    tell: watch::Sender<DeadNodesStatus>,
    looks: FuturesUnordered<BoxFuture<'static, (Look, Looked)>>,
    writes: FuturesUnordered<BoxFuture<'static, (Write, Outcome)>>,
    events: FuturesUnordered<BoxFuture<'static, ()>>,
    removal: Option<BoxFuture<'static, ()>>,
}

/// Runs until the controller ends.
pub(super) async fn run(
    start: Start,
    mut leading: watch::Receiver<bool>,
    tell: watch::Sender<DeadNodesStatus>,
) {
    let mut watches = Watches::begin(&start.client, &start.namespace);
    let mut task = Task {
        start,
        clock: Clock::start(),
        dead: dead::DeadNodes::default(),
        tell,
        looks: FuturesUnordered::new(),
        writes: FuturesUnordered::new(),
        events: FuturesUnordered::new(),
        removal: None,
    };
    task.dead.set_own_address(task.start.node_ip);
    task.dead.set_leading(*leading.borrow_and_update());
    loop {
        task.carry_out();
        let due = task.dead.poll_timeout().map(|at| task.clock.timer(at));
        let removal = task.dead.removal_due().filter(|_| task.removal.is_none());
        let removal = removal.map(|at| task.clock.timer(at));
        tokio::select! {
            changed = leading.changed() => {
                // The controller has ended.
                if changed.is_err() {
                    return;
                }
                task.dead.set_leading(*leading.borrow_and_update());
            }
            Some(seen) = watches.votes.next() => task.take_votes(seen),
            Some(seen) = watches.nodes.next() => task.take_node(Known::of(seen)),
            Some(batch) = watches.slices.next() => {
                for seen in batch {
                    task.take_slice(Known::of(seen));
                }
                task.dead.handle_slices(task.clock.now());
            }
            Some(seen) = watches.services.next() => task.take_service(Known::of(seen)),
            Some(seen) = watches.namespaces.next() => task.take_namespace(Known::of(seen)),
            Some((look, looked)) = task.looks.next() => {
                tracing::info!(node = look.node, ?looked, "looked at a node that speakers found dead");
                task.dead.handle_look(&look, looked, task.clock.now());
            }
            Some((write, outcome)) = task.writes.next() => {
                task.dead.handle_written(&write, outcome, task.clock.now());
            }
            Some(()) = task.events.next() => {}
            () = done(&mut task.removal) => task.removal = None,
            () = until(due) => task.dead.handle_timeout(task.clock.now()),
            () = until(removal) => task.remove(),
        }
    }
}

impl Task {
    fn take_votes(&mut self, seen: crate::watch::Seen<dead::VotesView>) {
        let votes = match Known::of(seen) {
            Some(Known::One(votes)) => Some(votes),
            Some(Known::Gone(key)) if *key.name == *VOTES_NAME => None,
            Some(Known::All(votes)) => votes.into_iter().next(),
            Some(Known::Gone(_)) | None => return,
        };
        let now = self.clock.now();
        for problem in self.dead.handle_votes(votes, Timestamp::now(), now) {
            tracing::warn!("cannot read votes, they do not count: {problem}");
        }
    }

    fn take_node(&mut self, known: Option<Known<(String, dead::NodeFacts)>>) {
        let now = self.clock.now();
        match known {
            Some(Known::All(nodes)) => self.dead.set_nodes(nodes.into_iter().collect(), now),
            Some(Known::One((name, facts))) => self.dead.set_node(name, Some(facts), now),
            Some(Known::Gone(key)) => self.dead.set_node(key.name.to_string(), None, now),
            None => {}
        }
    }

    fn take_slice(&mut self, known: Option<Known<dead::SliceFacts>>) {
        let serving = self.dead.serving();
        match known {
            Some(Known::All(slices)) => serving.list_slices(slices),
            Some(Known::One(slice)) => serving.set_slice(slice),
            Some(Known::Gone(key)) => serving.remove_slice(&key),
            None => {}
        }
    }

    fn take_service(&mut self, known: Option<Known<dead::ServiceFacts>>) {
        let serving = self.dead.serving();
        match known {
            Some(Known::All(services)) => serving.list_services(services),
            Some(Known::One(service)) => serving.set_service(service),
            Some(Known::Gone(key)) => serving.remove_service(&key),
            None => return,
        }
        self.dead.handle_services(self.clock.now());
    }

    fn take_namespace(&mut self, known: Option<Known<String>>) {
        let serving = self.dead.serving();
        match known {
            Some(Known::All(all)) => serving.set_ignored_namespaces(names(all)),
            Some(Known::One(name)) => serving.set_ignored_namespace(name, true),
            Some(Known::Gone(key)) => serving.set_ignored_namespace(key.name.to_string(), false),
            None => return,
        }
        self.dead.handle_namespaces(self.clock.now());
    }

    /// Begins what has been decided, and says what was done.
    fn carry_out(&mut self) {
        let now = self.clock.now();
        while let Some(work) = self.dead.poll_look(now) {
            let looked = async move {
                let looked = look::look(&work).await;
                (work, looked)
            };
            self.looks.push(looked.boxed());
        }
        while self.writes.len() < WRITES {
            let Some(write) = self.dead.poll_write(now) else {
                break;
            };
            let client = self.start.client.clone();
            let written = async move {
                let outcome = writer::write(&client, &write).await;
                (write, outcome)
            };
            self.writes.push(written.boxed());
        }
        while let Some(notice) = self.dead.poll_notice() {
            self.say(notice);
        }
        let metrics = &self.start.metrics;
        for ((result, reason), by) in self.dead.take_counts() {
            metrics.count(result, reason, by);
        }
        metrics.set_nodes(self.dead.marked());
        let status = self.dead.status();
        self.tell.send_if_modified(|before| {
            let changed = *before != status;
            *before = status;
            changed
        });
    }

    fn say(&mut self, notice: Notice) {
        let Notice {
            node,
            uid,
            event,
            warning,
            message,
            marked_since,
        } = notice;
        if warning {
            tracing::warn!(node, %event, "{message}");
        } else {
            tracing::info!(node, %event, "{message}");
        }
        if let Some(since) = marked_since {
            let took = Timestamp::now().duration_since(since);
            self.start.metrics.took(took.try_into().unwrap_or_default());
        }
        if !self.start.events {
            return;
        }
        let object = Object {
            api_version: "v1",
            kind: NODE,
            namespace: EVENTS_OF_NODES.to_owned(),
            name: node,
            uid,
            resource_version: None,
        };
        let words = if warning {
            notice::Notice::warning(object, event, message)
        } else {
            notice::Notice::normal(object, event, message)
        };
        let (client, author) = (self.start.client.clone(), author(&self.start.instance));
        let written = async move {
            match timeout(EVENT_TIMEOUT, words.write(&client, &author)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, %event, "cannot write an Event"),
                Err(late) => tracing::debug!(%late, %event, "cannot write an Event"),
            }
        };
        self.events.push(written.boxed());
    }

    fn remove(&mut self) {
        let Some(removal) = self.dead.poll_removal(self.clock.now()) else {
            return;
        };
        tracing::info!(entries = ?removal.keys, "removing votes that are out of date");
        let client = self.start.client.clone();
        let api = Api::<ConfigMap>::namespaced(client, &self.start.namespace);
        let removed = remove(api, VOTES_NAME, removal, REMOVAL_PATIENCE);
        self.removal = Some(removed.boxed());
    }
}
