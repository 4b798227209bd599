//! Kubernetes Events. Core v1: `events.k8s.io` is forbidden under the rights of minikube's addon.

use ferrolb_core::names::{SPEAKER_COMPONENT, event};
use ferrolb_core::view::ServiceKey;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::mpsc;
use tracing::{debug, warn};

/// Events that wait for a slow API server; further ones are dropped, and logged as all are.
const QUEUE: usize = 1_024;

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
    let key = note.service;
    // Else as client-go names them: unique without a round trip.
    let name = match number {
        Some(number) => format!("{}.{number:016x}", key.name),
        None => format!("{}.{:x}", key.name, now.as_nanosecond()),
    };
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
    let created = api.create(&PostParams::default(), &event).await;
    let is_there = |error: &kube::Error| match error {
        kube::Error::Api(status) => number.is_some() && status.is_already_exists(),
        _ => false,
    };
    if let Err(error) = created
        && !is_there(&error)
    {
        warn!(service = %key, %error, "cannot write an Event");
    }
}
