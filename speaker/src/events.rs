//! Kubernetes Events. Core v1: `events.k8s.io` is forbidden under the rights of minikube's addon.

use ferrolb_core::names::{SPEAKER_COMPONENT, event};
use ferrolb_core::view::ServiceKey;
use ferrolb_kube::events::fingerprint;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::mpsc;
use tracing::{debug, warn};

/// Events that wait for a slow API server; further ones are dropped, and logged as all are.
const QUEUE: usize = 1_024;

/// Events of one node about one Service that differ only in what they say of other hosts.
const VARIANTS: u64 = 8;

/// "This node announces the Service's address."
#[derive(Debug)]
pub struct NodeAssigned {
    /// The Service.
    pub service: ServiceKey,
    /// Its `metadata.uid`.
    pub uid: String,
}

/// An Event to write.
#[derive(Debug)]
pub struct Note {
    /// The Service that it is about.
    pub service: ServiceKey,
    /// Its `metadata.uid`.
    pub uid: String,
    /// `Normal` or `Warning`.
    pub severity: &'static str,
    /// One of [`event`].
    pub reason: &'static str,
    /// What a user has to know.
    pub message: String,
}

/// An Event in the queue.
#[derive(Debug)]
struct Queued {
    note: Note,
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
        let host = me.clone();
        tokio::spawn(async move {
            while let Some(queued) = received.recv().await {
                write(&client, &host, queued).await;
            }
        });
        Self { me, queue }
    }

    /// Queues one.
    pub fn node_assigned(&self, assigned: NodeAssigned) {
        self.send(Note {
            service: assigned.service,
            uid: assigned.uid,
            severity: "Normal",
            reason: event::NODE_ASSIGNED,
            message: format!(
                "announcing from node \"{}\" with protocol \"layer2\"",
                self.me
            ),
        });
    }

    /// Queues any.
    pub fn send(&self, note: Note) {
        self.queue(Queued { note, number: None });
    }

    /// Queues one that is written only if none of that number, which stands for its words, is there.
    pub fn send_once(&self, note: Note, number: u64) {
        let number = Some(number);
        self.queue(Queued { note, number });
    }

    fn queue(&self, queued: Queued) {
        if let Err(error) = self.queue.try_send(queued) {
            debug!(%error, "Event dropped");
        }
    }
}

async fn write(client: &Client, me: &str, queued: Queued) {
    let now = Timestamp::now();
    let Queued { note, number } = queued;
    let name = match number {
        Some(number) => format!("{}.{number:016x}", note.service.name),
        None => name(&note, me, now),
    };
    let key = note.service;
    let event = Event {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: Some(key.namespace.clone()),
            ..ObjectMeta::default()
        },
        involved_object: ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Service".to_owned()),
            namespace: Some(key.namespace.clone()),
            name: Some(key.name.clone()),
            uid: Some(note.uid),
            ..ObjectReference::default()
        },
        type_: Some(note.severity.to_owned()),
        reason: Some(note.reason.to_owned()),
        message: Some(note.message),
        source: Some(EventSource {
            component: Some(SPEAKER_COMPONENT.to_owned()),
            host: Some(me.to_owned()),
        }),
        first_timestamp: Some(Time(now)),
        last_timestamp: Some(Time(now)),
        count: Some(1),
        reporting_component: Some(SPEAKER_COMPONENT.to_owned()),
        reporting_instance: Some(me.to_owned()),
        ..Event::default()
    };
    let api = Api::<Event>::namespaced(client.clone(), &key.namespace);
    match api.create(&PostParams::default(), &event).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.is_already_exists() => {
            debug!(service = %key, "an Event says so already");
        }
        Err(error) => warn!(service = %key, %error, "cannot write an Event"),
    }
}

/// Each time that a node begins to announce is an Event of its own. What is said of other hosts has a
/// name that follows from the words, as in the controller: whoever is on the LAN can make us say it
/// again and again, in as many words as there are hardware addresses. So there are at most
/// [`VARIANTS`] of them, until the API server forgets them after an hour.
fn name(note: &Note, me: &str, now: Timestamp) -> String {
    let service = &note.service.name;
    if note.reason == event::NODE_ASSIGNED {
        // As client-go names them: unique without a round trip.
        return format!("{service}.{:x}", now.as_nanosecond());
    }
    let about = fingerprint(&[&note.uid, note.reason, me]);
    let variant = fingerprint(&[&note.message]) % VARIANTS;
    format!("{service}.{about:016x}{variant:x}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn note(reason: &'static str, message: &str) -> Note {
        Note {
            service: ServiceKey {
                namespace: "shop".into(),
                name: "web".into(),
            },
            uid: "1-2-3".to_owned(),
            severity: "Warning",
            reason,
            message: message.to_owned(),
        }
    }

    #[test]
    fn what_is_said_of_another_host_is_one_event_and_of_a_thousand_hosts_a_few() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let of = |mac: u32, second| {
            let message = format!("another host, {mac:x}, has 192.168.64.200");
            name(&note(event::ADDRESS_CONFLICT, &message), "n1", at(second))
        };
        assert_eq!(of(1, 1), of(1, 9_999));
        let all: BTreeSet<_> = (0..1_000).map(|mac| of(mac, i64::from(mac))).collect();
        assert_eq!(all.len(), usize::try_from(VARIANTS).unwrap());
        let other = note(
            event::PEER_KERNEL_ANSWERS,
            "another host, 1, has 192.168.64.200",
        );
        assert_ne!(name(&other, "n1", at(1)), of(1, 1));
        assert_ne!(name(&other, "n1", at(1)), name(&other, "n2", at(1)));
    }

    #[test]
    fn that_a_node_announces_is_an_event_each_time() {
        let name = |second| {
            let now = Timestamp::from_second(second).unwrap();
            name(&note(event::NODE_ASSIGNED, "announcing"), "n1", now)
        };
        assert_ne!(name(1), name(2));
    }
}
