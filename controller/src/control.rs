//! The one loop that owns all state: watches in, writes out.

use std::convert::Infallible;
use std::time::Duration;

use ferrolb_core::k8s::service_view;
use ferrolb_core::view::{ServiceKey, ServiceView};
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{BoxStream, FuturesUnordered, StreamExt};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use tokio::time::{sleep, timeout};

use crate::admin::Admin;
use crate::args::Args;
use crate::backoff::delay;
use crate::index::{Index, Outcome, Update};
use crate::metrics::Metrics;
use crate::notice::Notice;
use crate::rights::Rights;
use crate::source::ConfigMapView;
use crate::watch::{Seen, watch};
use crate::writer::Writer;

/// Status writes at once. On two cores 200 of them take 2.9 s one by one, 1.8 s with 8 and 2.3 s
/// with 16.
const WRITES: usize = 8;
/// Events at once: they must not crowd out the statuses.
const EVENTS: usize = 2;
/// What is ready together is decided together, up to this many changes.
const BATCH: usize = 512;
/// On the way out, writes that are under way get this long.
const DRAIN: Duration = Duration::from_secs(2);
/// An Event that takes longer is given up.
const EVENT_TIMEOUT: Duration = Duration::from_secs(5);

/// The controller's state, and what is under way.
pub struct Control {
    index: Index,
    client: Client,
    writer: Writer,
    rights: Rights,
    /// Who writes the Events: the pod's name.
    instance: String,
    metrics: Metrics,
    admin: Admin,
    services: BoxStream<'static, Vec<Seen<ServiceView>>>,
    config: BoxStream<'static, Seen<ConfigMapView>>,
    config_name: String,
    writes: FuturesUnordered<BoxFuture<'static, (Update, Outcome)>>,
    events: FuturesUnordered<BoxFuture<'static, bool>>,
    retries: FuturesUnordered<BoxFuture<'static, ServiceKey>>,
    /// A watch failed and has not shown anything since.
    unreachable: bool,
}

impl Control {
    /// Ready to run; nothing is sent before [`Control::run`].
    #[must_use]
    pub fn new(
        args: &Args,
        namespace: &str,
        client: Client,
        rights: Rights,
        metrics: Metrics,
        admin: Admin,
    ) -> Self {
        let services = Api::all(client.clone());
        let services = watch(services, "spec.type=LoadBalancer", service_view);
        let name = args.config.clone();
        let config = watch(
            Api::namespaced(client.clone(), namespace),
            &format!("metadata.name={name}"),
            move |map: &ConfigMap| {
                (map.metadata.name.as_ref() == Some(&name)).then(|| ConfigMapView::of(map))
            },
        );
        Self {
            index: Index::new(args.class(), format!("{namespace}/{}", args.config)),
            writer: Writer::new(client.clone(), rights.method()),
            client,
            rights,
            instance: std::env::var("HOSTNAME").unwrap_or_else(|_| "controller".to_owned()),
            metrics,
            admin,
            services: services.ready_chunks(BATCH).boxed(),
            config: config.boxed(),
            config_name: args.config.clone(),
            writes: FuturesUnordered::new(),
            events: FuturesUnordered::new(),
            retries: FuturesUnordered::new(),
            unreachable: false,
        }
    }

    /// Runs for ever.
    pub async fn run(&mut self) -> Infallible {
        self.publish();
        loop {
            self.start_writes();
            tokio::select! {
                Some(batch) = self.services.next() => {
                    for seen in batch {
                        self.take_service(seen);
                    }
                }
                Some(seen) = self.config.next() => self.take_config(seen),
                Some((update, outcome)) = self.writes.next() => self.take_outcome(update, &outcome),
                Some(key) = self.retries.next() => self.index.handle_retry(&key),
                Some(written) = self.events.next() => {
                    if !written {
                        self.metrics.events_lost.inc();
                    }
                }
            }
            if self.index.settle() {
                self.publish();
            }
        }
    }

    /// Waits for the writes that are under way; starts no more.
    pub async fn drain(&mut self) {
        let writes = async { while self.writes.next().await.is_some() {} };
        let events = async { while self.events.next().await.is_some() {} };
        if timeout(DRAIN, futures::future::join(writes, events))
            .await
            .is_err()
        {
            tracing::warn!("writes under way were given up");
        }
    }

    fn start_writes(&mut self) {
        while self.writes.len() < WRITES {
            let Some(update) = self.index.poll_update() else {
                break;
            };
            let writer = self.writer.clone();
            let write = async move {
                let outcome = writer.write(&update).await;
                (update, outcome)
            };
            self.writes.push(write.boxed());
        }
        while self.events.len() < EVENTS {
            let Some(notice) = self.index.poll_notice() else {
                break;
            };
            if self.rights.create_events {
                self.events
                    .push(send(notice, self.client.clone(), self.instance.clone()).boxed());
            }
        }
    }

    fn take_service(&mut self, seen: Seen<ServiceView>) {
        self.metrics.updates.inc();
        match seen {
            Seen::Applied(view) => self.index.apply(view),
            Seen::Deleted(key) => self.index.delete(&key),
            Seen::Listed { views, unreadable } => {
                tracing::debug!(services = views.len(), "services listed");
                self.index.reset(views, &unreadable);
                self.publish();
            }
            Seen::Unreadable(service, error) => self.take_unreadable("Service", &service, &error),
            Seen::Failed(error) => return self.take_failure(&error),
        }
        self.take_success();
    }

    fn take_config(&mut self, seen: Seen<ConfigMapView>) {
        self.metrics.updates.inc();
        match seen {
            Seen::Applied(map) => self.index.set_config(Some(&map)),
            Seen::Deleted(key) if key.name == self.config_name => self.index.set_config(None),
            Seen::Deleted(_) => {}
            Seen::Listed { views, unreadable } => {
                // A ConfigMap that cannot be decoded exists all the same.
                if unreadable.is_empty() {
                    self.index.set_config(views.first());
                }
            }
            Seen::Unreadable(map, error) => self.take_unreadable("ConfigMap", &map, &error),
            Seen::Failed(error) => return self.take_failure(&error),
        }
        if self.index.config_stale() {
            self.metrics.update_errors.inc();
        }
        self.publish();
        self.take_success();
    }

    fn take_outcome(&mut self, update: Update, outcome: &Outcome) {
        self.metrics.count_write(outcome.as_str());
        self.index.handle_outcome(&update, outcome);
        if *outcome == Outcome::Failed {
            let wait = sleep(delay(update.attempt + 1));
            self.retries.push(wait.map(move |()| update.key).boxed());
        }
    }

    fn take_unreadable(&self, kind: &str, object: &ServiceKey, error: &str) {
        self.metrics.unreadable.inc();
        self.metrics.update_errors.inc();
        tracing::warn!(kind, %object, error, "object not understood, what was known of it stays");
    }

    fn take_failure(&mut self, error: &kube::runtime::watcher::Error) {
        if std::mem::replace(&mut self.unreachable, true) {
            tracing::debug!(%error, "watch failed again");
        } else {
            tracing::warn!(%error, "watch failed, trying again; addresses stay as they are");
        }
    }

    fn take_success(&mut self) {
        if std::mem::take(&mut self.unreachable) {
            tracing::info!("watching again");
        }
    }

    fn publish(&mut self) {
        self.metrics
            .events_lost
            .inc_by(self.index.take_notices_dropped());
        self.metrics.set_usage(&self.index.usage());
        self.metrics.set_pending(&self.index.pending());
        self.metrics
            .set_config(self.index.config_loaded(), self.index.config_stale());
        self.admin.set_blockers(self.index.blockers());
    }
}

/// Whether the Event was written. It is not tried again: the log says the same.
async fn send(notice: Notice, client: Client, instance: String) -> bool {
    match timeout(EVENT_TIMEOUT, notice.write(&client, &instance)).await {
        Ok(Ok(())) => true,
        Ok(Err(error)) => {
            tracing::debug!(%error, reason = notice.reason, "event not written");
            false
        }
        Err(_) => false,
    }
}
