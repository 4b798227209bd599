//! Dead nodes, from votes to writes.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::view::ServiceKey;
use crate::{Instant, Reason};

mod ballots;
mod limits;
mod properties;
mod stories;
mod wire;

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

/// The wall clock, so many seconds after some time.
fn clock(seconds: i64) -> Timestamp {
    let begin: Timestamp = "2026-11-30T00:00:00Z".parse().unwrap();
    begin + SignedDuration::from_secs(seconds)
}

const LIFE: Process = Process {
    boot: 7,
    incarnation: 1,
};

fn vote(node: &str, process: Process, opinion: Opinion) -> Vote {
    Vote {
        node: node.to_owned(),
        process,
        since: clock(0),
        with: "n9".to_owned(),
        opinion,
    }
}

/// Nodes n1 to `count`, all ready.
fn nodes(count: u8) -> BTreeMap<String, NodeFacts> {
    let of = |host: u8| NodeFacts {
        uid: format!("uid-{host}"),
        addresses: vec![[192, 168, 64, 10 + host].into()],
        ready: true,
    };
    (1..=count)
        .map(|host| (format!("n{host}"), of(host)))
        .collect()
}

fn service(name: &str) -> ServiceKey {
    ServiceKey::new("shop", name)
}

fn pod(name: &str) -> Pod {
    Pod {
        namespace: "shop".into(),
        name: name.into(),
        uid: format!("uid-{name}").into(),
    }
}

/// A slice of a Service: its pods, each `pod@node`, with `!` if it is not ready.
fn slice(of: &str, pods: &str) -> SliceFacts {
    let endpoints = pods.split_whitespace().map(|text| {
        let (name, node) = text.trim_end_matches('!').split_once('@').unwrap();
        Endpoint {
            pod: pod(name),
            node: node.into(),
            ready: !text.ends_with('!'),
        }
    });
    SliceFacts {
        key: service(of),
        service: service(of),
        endpoints: endpoints.collect(),
    }
}

/// A controller that knows everything.
struct World {
    dead: DeadNodes,
    votes: BTreeMap<String, Option<String>>,
    version: u32,
}

impl World {
    fn new(count: u8, slices: Vec<SliceFacts>) -> Self {
        let mut dead = DeadNodes::default();
        dead.set_leading(true);
        dead.set_nodes(nodes(count), at(0));
        dead.serving().list_slices(slices);
        dead.handle_slices(at(0));
        dead.handle_services(at(0));
        dead.handle_namespaces(at(0));
        dead.handle_votes(None, clock(0), at(0));
        Self {
            dead,
            votes: BTreeMap::new(),
            version: 0,
        }
    }

    /// A speaker writes its entry.
    fn says(&mut self, voter: &str, votes: &[Vote], now: Instant) {
        let entry = encode(votes.iter()).unwrap();
        self.votes.insert(voter.to_owned(), Some(entry));
        self.tell(now);
    }

    fn tell(&mut self, now: Instant) {
        self.version += 1;
        let view = VotesView {
            resource_version: self.version.to_string(),
            entries: self.votes.clone(),
        };
        let wall = clock(0) + SignedDuration::from_micros(now.as_micros().try_into().unwrap());
        self.dead.handle_votes(Some(view), wall, now);
    }

    fn all_say(&mut self, voters: &[&str], node: &str, opinion: Opinion, now: Instant) {
        for voter in voters {
            self.says(voter, &[vote(node, LIFE, opinion)], now);
        }
    }

    /// Looks and writes as long as there is something to do; all writes succeed.
    fn run(&mut self, looked: Looked, now: Instant) -> Vec<String> {
        self.run_with(looked, |_| Outcome::Done, now)
    }

    fn run_with(
        &mut self,
        looked: Looked,
        outcome: impl Fn(&Write) -> Outcome,
        now: Instant,
    ) -> Vec<String> {
        let mut done = Vec::new();
        while let Some(look) = self.dead.poll_look(now) {
            self.dead.handle_look(&look, looked, now);
        }
        while let Some(write) = self.dead.poll_write(now) {
            let sign = match &write.action {
                Action::Mark(_) => '-',
                Action::Restore => '+',
            };
            done.push(format!("{sign}{}", write.pod.name));
            self.dead.handle_written(&write, outcome(&write), now);
        }
        done
    }

    fn events(&mut self) -> Vec<String> {
        let notices = std::iter::from_fn(|| self.dead.poll_notice());
        notices
            .map(|notice| format!("{} {}: {}", notice.node, notice.event, notice.message))
            .collect()
    }
}
