//! What this speaker says of nodes that it found dead, for the controller: its entry in the `ConfigMap` of
//! votes. [`ferrolb_core::dead::Ballot`] decides what stands there, and when.
//!
//! It exists only with `--dead-nodes=remove`. As long as no node is dead nothing is asked or written.

use std::time::Duration;

use ferrolb_core::Instant;
use ferrolb_core::dead::{Ballot, Entry, Found, Process, VOTES_NAME};
use ferrolb_core::names::SPEAKER_COMPONENT;
use ferrolb_kube::clock::Clock;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{sleep, sleep_until, timeout};
use tracing::{debug, info, warn};

/// What may wait while the API server is slow: deaths and returns of nodes, which are rare.
const QUEUE: usize = 256;
/// A request that takes longer is begun anew: the API server that it went to may be the dead node's.
const PATIENCE: Duration = Duration::from_millis(500);
/// After a failure.
const PAUSE: Duration = Duration::from_millis(200);
/// The longest pause, when an API server has been away for a while.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What was learned of a node.
#[derive(Debug)]
enum News {
    Found(Found),
    Alive(String, Process),
}

/// The way to the writer.
#[derive(Debug, Clone)]
pub struct Votes {
    news: mpsc::Sender<News>,
}

impl Votes {
    /// Starts the writer for the node `me`, in `namespace`.
    #[must_use]
    pub fn spawn(client: Client, namespace: &str, me: String) -> Self {
        let (news, received) = mpsc::channel(QUEUE);
        let api = Api::namespaced(client, namespace);
        tokio::spawn(run(api, me, received));
        Self { news }
    }

    /// This speaker, and one more, found a node dead.
    pub fn found(&self, found: Found) {
        self.send(News::Found(found));
    }

    /// The speaker of a node that was found dead lives, as this process.
    pub fn alive(&self, node: String, process: Process) {
        self.send(News::Alive(node, process));
    }

    fn send(&self, news: News) {
        if let Err(error) = self.news.try_send(news) {
            warn!(%error, "a vote on a dead node is lost");
        }
    }
}

async fn run(api: Api<ConfigMap>, me: String, mut received: mpsc::Receiver<News>) {
    let mut ballot = Ballot::default();
    let clock = Clock::start();
    let mut failures = 0;
    loop {
        while let Ok(news) = received.try_recv() {
            take(&mut ballot, news, clock.now());
        }
        if let Some(entry) = ballot.poll_entry(clock.now()) {
            if write(&api, &me, &entry, failures == 0).await {
                info!(entry = entry.0.as_deref(), "votes on dead nodes written");
                ballot.handle_written(entry);
                failures = 0;
            } else {
                sleep(pause(failures)).await;
                failures = failures.saturating_add(1);
            }
            continue;
        }
        let due = ballot.poll_timeout().map(|at| clock.timer(at));
        let due = async {
            match due {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            news = received.recv() => match news {
                Some(news) => take(&mut ballot, news, clock.now()),
                None => return,
            },
            () = due => {}
        }
    }
}

fn take(ballot: &mut Ballot, news: News, now: Instant) {
    match news {
        News::Found(found) => ballot.handle_found(found, now),
        News::Alive(node, process) => ballot.handle_alive(&node, Some(process), now),
    }
}

fn pause(failures: u32) -> Duration {
    let factor = 2_u32.saturating_pow(failures.min(8));
    PAUSE.saturating_mul(factor).min(LONGEST_PAUSE)
}

/// Whether the entry is what it should be. The first failure of a series is told.
async fn write(api: &Api<ConfigMap>, me: &str, entry: &Entry, tell: bool) -> bool {
    let error = match timeout(PATIENCE, put(api, me, entry)).await {
        Ok(Ok(())) => return true,
        Ok(Err(error)) => error.to_string(),
        Err(late) => late.to_string(),
    };
    if tell {
        warn!(
            error,
            "cannot write ConfigMap {VOTES_NAME}: pods of a dead node stay in rotation; trying again"
        );
    } else {
        debug!(error, "cannot write ConfigMap {VOTES_NAME}");
    }
    false
}

/// A merge patch touches nobody else's entry, and needs no look at the object before. The object is the
/// chart's: it goes with it.
async fn put(api: &Api<ConfigMap>, me: &str, entry: &Entry) -> kube::Result<()> {
    let patch = json!({ "data": { me: entry.0 } });
    let params = PatchParams {
        field_manager: Some(SPEAKER_COMPONENT.to_owned()),
        ..PatchParams::default()
    };
    let patched = api.patch(VOTES_NAME, &params, &Patch::Merge(&patch)).await;
    match patched {
        // There is nothing to take back.
        Err(kube::Error::Api(status)) if status.is_not_found() && entry.0.is_none() => Ok(()),
        patched => patched.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_from_a_fifth_of_a_second_to_five_seconds() {
        let pauses = [0, 1, 2, 4, 5, 30].map(|failures| pause(failures).as_millis());
        assert_eq!(pauses, [200, 400, 800, 3_200, 5_000, 5_000]);
    }
}
