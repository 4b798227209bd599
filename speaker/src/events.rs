//! What the speaker says in Events.

use std::net::IpAddr;
use std::time::Duration;

use ferrolb_core::keep::End;
use ferrolb_core::names::{SPEAKER_COMPONENT, event};
use ferrolb_core::view::ServiceView;
use ferrolb_kube::events::{Author, Before, Object, Severity, Words, fingerprint};
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use tokio::sync::mpsc;
use tracing::{debug, warn};

/// Events that wait for a slow API server; further ones are dropped, and logged as all are.
const QUEUE: usize = 1_024;

/// What each move of an address is told by, each time anew.
const OF_MOVES: [event::EventReason; 3] = [
    event::NODE_ASSIGNED,
    event::CONNECTIONS_KEPT,
    event::CONNECTIONS_NO_LONGER_KEPT,
];

/// Events of one node about one Service that differ only in what they say of other hosts.
const VARIANTS: u64 = 8;

/// An Event in the queue.
#[derive(Debug)]
struct Queued {
    words: Words,
    /// Of one that several processes may tell: a number that stands for its words.
    number: Option<u64>,
}

/// Writes Events one after the other, off the way of everything else.
#[derive(Debug, Clone)]
pub struct Events {
    me: String,
    queue: mpsc::Sender<Queued>,
}

impl Events {
    /// Starts the writer for the node `me`.
    #[must_use]
    pub fn spawn(client: Client, me: String) -> Self {
        let (queue, mut received) = mpsc::channel(QUEUE);
        let author = Author {
            component: SPEAKER_COMPONENT,
            instance: me.clone(),
            host: Some(me.clone()),
        };
        tokio::spawn(async move {
            while let Some(queued) = received.recv().await {
                write(&client, &author, queued).await;
            }
        });
        Self { me, queue }
    }

    /// Queues "this node announces the Service's address".
    pub fn node_assigned(&self, service: &ServiceView) {
        self.send(Words {
            object: Object::service(service),
            severity: Severity::Normal,
            reason: event::NODE_ASSIGNED,
            message: format!(
                "announcing from node \"{}\" with protocol \"layer2\"",
                self.me
            ),
        });
    }

    /// Queues "open connections are kept".
    pub fn connections_kept(&self, service: &ServiceView, vip: IpAddr, from: &str, time: Duration) {
        self.send(Words {
            object: Object::service(service),
            severity: Severity::Normal,
            reason: event::CONNECTIONS_KEPT,
            message: format!(
                "{vip} moved here; its open connections go on through node \"{from}\" for up to {} seconds, as \
                 long as that node runs",
                time.as_secs()
            ),
        });
    }

    /// Queues "open connections are no longer kept", and why.
    pub fn connections_no_longer_kept(
        &self,
        service: &ServiceView,
        vip: IpAddr,
        from: &str,
        end: End,
    ) {
        self.send(Words {
            object: Object::service(service),
            severity: Severity::Normal,
            reason: event::CONNECTIONS_NO_LONGER_KEPT,
            message: format!(
                "open connections through {vip} no longer go on through node \"{from}\": {}",
                end.explanation()
            ),
        });
    }

    /// Queues any.
    pub fn send(&self, words: Words) {
        self.queue(Queued {
            words,
            number: None,
        });
    }

    /// Queues one that is written only if none of that number, which stands for its words, is there.
    pub fn send_once(&self, words: Words, number: u64) {
        let number = Some(number);
        self.queue(Queued { words, number });
    }

    fn queue(&self, queued: Queued) {
        if let Err(error) = self.queue.try_send(queued) {
            debug!(%error, "Event dropped");
        }
    }
}

/// No right to change an Event is needed: one that is there says the same.
async fn write(client: &Client, author: &Author, Queued { words, number }: Queued) {
    let suffix = match number {
        Some(number) => format!("{number:016x}"),
        None => suffix(&words, &author.instance, Timestamp::now()),
    };
    if let Err(error) = words.write(client, author, &suffix, Before::Keep).await {
        let object = &words.object;
        let service = format!("{}/{}", object.namespace, object.name);
        warn!(service, %error, "cannot write an Event");
    }
}

/// Each time that a node begins to announce is an Event of its own. What is said of other hosts has a
/// name that follows from the words, as in the controller: whoever is on the LAN can make us say it
/// again and again, in as many words as there are hardware addresses. So there are at most
/// [`VARIANTS`] of them, until the API server forgets them after an hour.
fn suffix(words: &Words, me: &str, now: Timestamp) -> String {
    if OF_MOVES.contains(&words.reason) {
        // As client-go names them: unique without a round trip.
        return format!("{:x}", now.as_nanosecond());
    }
    let about = fingerprint(&[&words.object.uid, words.reason.as_str(), me]);
    let variant = fingerprint(&[&words.message]) % VARIANTS;
    format!("{about:016x}{variant:x}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn words(reason: event::EventReason, message: &str) -> Words {
        Words {
            object: Object {
                api_version: "v1",
                kind: "Service",
                namespace: "shop".to_owned(),
                name: "web".to_owned(),
                uid: "1-2-3".to_owned(),
                resource_version: None,
            },
            severity: Severity::Warning,
            reason,
            message: message.to_owned(),
        }
    }

    #[test]
    fn what_is_said_of_another_host_is_one_event_and_of_a_thousand_hosts_a_few() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let of = |mac: u32, second| {
            let message = format!("another host, {mac:x}, has 192.168.64.200");
            suffix(&words(event::ADDRESS_CONFLICT, &message), "n1", at(second))
        };
        assert_eq!(of(1, 1), of(1, 9_999));
        let all: BTreeSet<_> = (0..1_000).map(|mac| of(mac, i64::from(mac))).collect();
        assert_eq!(all.len(), usize::try_from(VARIANTS).unwrap());
        let other = words(
            event::PEER_KERNEL_ANSWERS,
            "another host, 1, has 192.168.64.200",
        );
        assert_ne!(suffix(&other, "n1", at(1)), of(1, 1));
        assert_ne!(suffix(&other, "n1", at(1)), suffix(&other, "n2", at(1)));
    }

    #[test]
    fn that_a_node_announces_and_keeps_connections_is_an_event_each_time() {
        for reason in OF_MOVES {
            let at = |second| {
                let now = Timestamp::from_second(second).unwrap();
                suffix(&words(reason, "the same"), "n1", now)
            };
            assert_ne!(at(1), at(2), "{reason}");
        }
    }
}
