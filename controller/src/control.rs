//! The one loop that owns all state: watches in, writes out.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use ferrolb_core::config::objects::Kind;
use ferrolb_core::k8s::{namespace_view, node_view, pod_ranges, service_view};
use ferrolb_core::labels::{LabelNames, NamedLabels};
use ferrolb_core::names::CONFLICTS_NAME;
use ferrolb_core::report::ControllerStatus;
use ferrolb_core::source::Choice;
use ferrolb_core::view::{NamespaceView, ServiceKey, ServiceView};
use ferrolb_kube::admin::Readiness;
use ferrolb_kube::backoff::delay;
use ferrolb_kube::clock::Clock;
use ferrolb_kube::events::Author;
use ferrolb_kube::objects::{Told, watch_objects};
use ferrolb_kube::trimmed::Trimmed;
use ferrolb_kube::watch::Event;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{BoxStream, FuturesUnordered, StreamExt};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node, Service};
use kube::{Api, Client};
use tokio::sync::{mpsc, watch as latest};
use tokio::time::{Instant, sleep, timeout};

use crate::admin::Question;
use crate::args::Args;
use crate::compiled::{self, CompiledView, Written};
use crate::configuration_state::State;
use crate::conflicts::{Conflicts, ReportsView};
use crate::dead::DeadNodes;
use crate::election::Election;
use crate::index::{Index, NodeAddresses, Update, WriteOutcome};
use crate::metrics::Metrics;
use crate::network::{Found, sources, watch_network};
use crate::notice::{Notice, author};
use crate::pool_status::{PoolStatuses, PoolWrite};
use crate::removal::remove;
use crate::rights::Rights;
use crate::source::ConfigMapView;
use crate::waiting::{done, until};
use crate::watch::{List, Seen, watch, watch_by_name, watch_nothing};
use crate::writer::Writer;

mod objects;

use objects::Object;

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
/// The same of a removal of conflict reports; what it did not remove is removed later.
const REMOVAL_TIMEOUT: Duration = Duration::from_secs(5);

/// The controller's state, and what is under way.
pub struct Control {
    index: Index,
    client: Client,
    writer: Writer,
    rights: Rights,
    clock: Clock,
    election: Election,
    /// Whether the last look at the election said that this replica leads.
    leads: bool,
    /// Who writes the Events: the pod's name.
    instance: String,
    metrics: Metrics,
    readiness: Readiness,
    asked: mpsc::Receiver<Question>,
    services: BoxStream<'static, Vec<Seen<ServiceView>>>,
    /// Names of the labels that Services and Namespaces are listed with.
    labels: NamedLabels,
    config: BoxStream<'static, Seen<ConfigMapView>>,
    config_name: String,
    /// The `ConfigMap` has changed; whether it is refused is not known yet.
    config_is_news: bool,
    nodes: BoxStream<'static, Event<(String, Option<NodeAddresses>)>>,
    namespaces: BoxStream<'static, Event<(String, Option<NamespaceView>)>>,
    network: BoxStream<'static, Found>,
    compiled: BoxStream<'static, Seen<CompiledView>>,
    compiled_name: String,
    compiled_write: Option<BoxFuture<'static, Written>>,
    objects: BoxStream<'static, Told<Object>>,
    /// Changes when the kinds of objects have to be looked for.
    look: latest::Sender<u64>,
    object_lists: BTreeMap<Kind, List<Object>>,
    pool_statuses: PoolStatuses,
    pool_writes: FuturesUnordered<BoxFuture<'static, (PoolWrite, bool)>>,
    /// What was said of the objects as a whole, and what is being said.
    state_said: Option<State>,
    state_write: Option<BoxFuture<'static, (State, bool)>>,
    namespace: String,
    reports: BoxStream<'static, Seen<ReportsView>>,
    maps_api: Api<ConfigMap>,
    conflicts: Conflicts,
    writes: FuturesUnordered<BoxFuture<'static, (Update, WriteOutcome, Duration)>>,
    events: FuturesUnordered<BoxFuture<'static, bool>>,
    retries: FuturesUnordered<BoxFuture<'static, ServiceKey>>,
    /// A removal of reports, and the pause after it.
    removal: Option<BoxFuture<'static, ()>>,
    /// Whoever takes pods of dead nodes out of rotation.
    dead_nodes: Option<DeadNodes>,
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
        (readiness, asked): (Readiness, mpsc::Receiver<Question>),
    ) -> Self {
        let instance = instance();
        let mut index = Index::new(args.shared.class(), args.shared.source());
        let election = if rights.elect {
            index.follow();
            Election::by_lease(client.clone(), namespace, &args.lease_name, &instance)
        } else {
            Election::Alone
        };
        let nodes = if rights.watch_nodes {
            index.await_nodes();
            watch_by_name("Nodes", Api::all(client.clone()), node_addresses)
        } else {
            watch_nothing()
        };
        let namespaces = if rights.watch_namespaces {
            index.await_namespaces();
            watch_namespaces(&client, &index.label_names().namespaces)
        } else {
            watch_nothing()
        };
        for source in sources(rights) {
            index.await_source(source);
        }
        let compiled = if rights.compiled {
            let choice = Choice::from(args.config_source);
            let name = &args.shared.compiled;
            index.await_sources(choice, (namespace, name), rights.objects);
            watch_map(&client, namespace, name, CompiledView::of)
        } else {
            watch_nothing()
        };
        let (look, wanted) = latest::channel(0);
        let objects = if rights.compiled && rights.objects && args.reads_objects() {
            watch_objects(client.clone(), namespace, wanted, Object::of)
        } else {
            futures::stream::pending().boxed()
        };
        let reports = if rights.conflicts {
            index.await_conflicts();
            watch_map(&client, namespace, CONFLICTS_NAME, reports_view)
        } else {
            watch_nothing()
        };
        Self {
            services: watch_services(&client, &index.label_names().services),
            labels: index.label_names().clone(),
            index,
            writer: Writer::new(client.clone(), rights.method()),
            rights,
            clock: Clock::start(),
            leads: election.is_leader(),
            election,
            instance,
            metrics,
            readiness,
            asked,
            config: watch_map(&client, namespace, &args.shared.config, ConfigMapView::of),
            config_name: args.shared.config.clone(),
            config_is_news: false,
            nodes,
            namespaces,
            network: watch_network(&client, rights),
            compiled,
            compiled_name: args.shared.compiled.clone(),
            compiled_write: None,
            objects,
            look,
            object_lists: BTreeMap::new(),
            pool_statuses: PoolStatuses::default(),
            pool_writes: FuturesUnordered::new(),
            state_said: None,
            state_write: None,
            namespace: namespace.to_owned(),
            reports,
            maps_api: Api::namespaced(client.clone(), namespace),
            conflicts: Conflicts::default(),
            client,
            writes: FuturesUnordered::new(),
            events: FuturesUnordered::new(),
            retries: FuturesUnordered::new(),
            removal: None,
            dead_nodes: None,
        }
    }

    /// Tells that task who leads, and shows on `/status` what it does.
    pub fn set_dead_nodes(&mut self, dead_nodes: Option<DeadNodes>) {
        self.dead_nodes = dead_nodes;
    }

    /// Runs for ever.
    pub async fn run(&mut self) -> Infallible {
        self.publish();
        loop {
            self.look_at_the_election();
            // Each time: anything may have been the last that was waited for, and who follows may
            // become ready without having anything to decide.
            self.readiness.set_missing(self.blockers());
            self.start_writes();
            let removal_due = self.removal_due();
            self.start_object_writes();
            let has_room = self.pool_writes.len() < EVENTS;
            let of_pools = self.pool_statuses.poll_timeout().filter(|_| has_room);
            let dates = [self.index.poll_timeout(), of_pools];
            let index_due = dates.into_iter().flatten().min();
            let index_due = index_due.map(|at| self.clock.timer(at));
            tokio::select! {
                () = self.election.step() => {}
                Some(batch) = self.services.next() => {
                    for seen in batch {
                        self.take_service(seen);
                    }
                }
                Some(seen) = self.config.next() => self.take_config(seen),
                Some(event) = self.nodes.next() => {
                    self.note_unreadable(&event);
                    self.index.handle_nodes(event);
                }
                Some(event) = self.namespaces.next() => {
                    self.note_unreadable(&event);
                    self.index.handle_namespaces(event);
                }
                Some(found) = self.network.next() => self.take_network(found),
                Some(seen) = self.compiled.next() => self.take_compiled(seen),
                Some(told) = self.objects.next() => self.take_objects(told),
                written = done(&mut self.compiled_write) => {
                    self.compiled_write = None;
                    self.index.handle_compiled_written(written, self.clock.now());
                }
                Some((write, is_written)) = self.pool_writes.next() => {
                    let now = self.clock.now();
                    self.pool_statuses.handle_written(&write, is_written, now);
                }
                (state, is_done) = done(&mut self.state_write) => {
                    self.state_write = None;
                    self.state_said = is_done.then_some(state);
                }
                Some(seen) = self.reports.next() => self.take_reports(seen),
                Some((update, outcome, took)) = self.writes.next() => {
                    self.take_outcome(update, &outcome, took);
                }
                Some(key) = self.retries.next() => self.index.handle_retry(&key),
                Some(written) = self.events.next() => {
                    if !written {
                        self.metrics.events_lost.inc();
                    }
                }
                () = done(&mut self.removal) => self.removal = None,
                () = until(removal_due) => self.remove_reports(),
                () = until(index_due) => {
                    let now = self.clock.now();
                    self.index.set_wall_clock(Timestamp::now(), now);
                    self.index.handle_timeout(now);
                }
                Some(question) = self.asked.recv() => {
                    // Who asked may have gone away.
                    let _ = question.send(Box::new(self.status()));
                }
            }
            if self.index.follow_sources(self.clock.now()) {
                self.publish();
            }
            if std::mem::take(&mut self.config_is_news) && self.index.config_stale() {
                self.metrics.update_errors.inc();
            }
            if self.index.poll_look() {
                self.look.send_modify(|count| *count += 1);
            }
            self.list_anew();
            let decisions = self.index.settle();
            if decisions > 0 {
                self.metrics
                    .decisions
                    .inc_by(u64::try_from(decisions).unwrap_or(u64::MAX));
                self.publish();
            }
        }
    }

    /// Reads Services and Namespaces with other labels, if a configuration names some.
    fn list_anew(&mut self) {
        let Some(names) = self.index.poll_relist() else {
            return;
        };
        tracing::info!(labels = ?names, "listing again, with the labels that selectors use");
        let former = std::mem::replace(&mut self.labels, names);
        if former.services != self.labels.services {
            self.services = watch_services(&self.client, &self.labels.services);
        }
        if self.rights.watch_namespaces && former.namespaces != self.labels.namespaces {
            self.namespaces = watch_namespaces(&self.client, &self.labels.namespaces);
        }
    }

    /// Begins or stops to lead, as the election says.
    fn look_at_the_election(&mut self) {
        let leads = self.election.is_leader();
        if let Some(dead_nodes) = &self.dead_nodes {
            dead_nodes.set_leading(leads);
        }
        if leads == self.leads {
            return;
        }
        self.leads = leads;
        // What was under way was decided under another reign.
        self.writes = FuturesUnordered::new();
        self.retries = FuturesUnordered::new();
        self.compiled_write = None;
        self.pool_writes = FuturesUnordered::new();
        self.pool_statuses.begin_again();
        self.state_write = None;
        self.state_said = None;
        if leads {
            tracing::info!(
                instance = self.instance,
                "became leader: assigning addresses"
            );
            self.index.lead();
            self.services = watch_services(&self.client, &self.labels.services);
        } else {
            tracing::warn!(
                "lost leadership: another replica leads, or the Lease could not be renewed"
            );
            self.index.follow();
        }
        self.publish();
    }

    /// Waits for the writes that are under way; starts no more.
    pub async fn drain(&mut self) {
        let writes = async { while self.writes.next().await.is_some() {} };
        let events = async { while self.events.next().await.is_some() {} };
        if timeout(DRAIN, futures::future::join(writes, events))
            .await
            .is_err()
        {
            tracing::warn!("abandoned writes that were in progress");
        }
        // After the last write, so that nobody else writes before.
        if timeout(DRAIN, self.election.release()).await.is_err() {
            tracing::warn!("the Lease was not released in time");
        }
    }

    fn start_writes(&mut self) {
        // Before the statuses, which depend on it.
        if self.compiled_write.is_none()
            && let Some(write) = self.index.poll_compiled(self.clock.now())
        {
            tracing::info!(
                name = write.name,
                "writing what is in force, for the speakers"
            );
            self.compiled_write = Some(compiled::send(self.maps_api.clone(), write).boxed());
        }
        while self.writes.len() < WRITES {
            let Some(update) = self.index.poll_update() else {
                break;
            };
            let writer = self.writer.clone();
            let write = async move {
                let begin = Instant::now();
                let outcome = writer.write(&update).await;
                (update, outcome, begin.elapsed())
            };
            self.writes.push(write.boxed());
        }
        while self.events.len() < EVENTS {
            let Some(notice) = self.index.poll_notice() else {
                break;
            };
            if self.rights.create_events {
                self.events
                    .push(send(notice, self.client.clone(), author(&self.instance)).boxed());
            }
        }
    }

    fn take_service(&mut self, seen: Seen<ServiceView>) {
        self.metrics.updates.inc();
        let now = self.clock.now();
        self.index.set_wall_clock(Timestamp::now(), now);
        match seen {
            Seen::Applied(view) => self.index.apply(view, now),
            Seen::Deleted(key) => self.index.delete(&key),
            Seen::Listed { views, unreadable } => {
                tracing::debug!(services = views.len(), "services listed");
                self.index.reset(views, &unreadable, now);
                self.publish();
            }
            Seen::Unreadable(_) => self.take_unreadable(),
        }
    }

    fn take_config(&mut self, seen: Seen<ConfigMapView>) {
        self.metrics.updates.inc();
        match seen {
            Seen::Applied(map) => self.index.set_config(Some(&map)),
            Seen::Deleted(key) if *key.name == *self.config_name => self.index.set_config(None),
            Seen::Deleted(_) => {}
            Seen::Listed { views, unreadable } => {
                // A ConfigMap that cannot be decoded exists all the same.
                if unreadable.is_empty() {
                    self.index.set_config(views.first());
                }
            }
            Seen::Unreadable(_) => self.take_unreadable(),
        }
        self.config_is_news = true;
        self.publish();
    }

    fn note_unreadable<T>(&mut self, event: &Event<T>) {
        if event.is_unreadable() {
            self.take_unreadable();
        }
    }

    fn take_network(&mut self, found: Found) {
        if found.is_unreadable() {
            self.take_unreadable();
        } else {
            self.index.handle_network(found);
        }
    }

    fn take_reports(&mut self, seen: Seen<ReportsView>) {
        let reports = match seen {
            Seen::Applied(reports) => Some(reports),
            Seen::Deleted(key) if *key.name != *CONFLICTS_NAME => return,
            Seen::Deleted(_) => None,
            // A ConfigMap that cannot be decoded exists all the same.
            Seen::Listed { unreadable, .. } if !unreadable.is_empty() => return,
            Seen::Listed { views, .. } => views.into_iter().next(),
            Seen::Unreadable(_) => return self.take_unreadable(),
        };
        self.conflicts
            .handle_reports(reports, Timestamp::now(), self.clock.now());
        let findings = self.conflicts.findings();
        self.index.set_conflicts(findings, self.clock.now());
        self.publish();
    }

    fn removal_due(&self) -> Option<Instant> {
        let due = self.conflicts.poll_timeout();
        due.filter(|_| self.leads && self.removal.is_none())
            .map(|due| self.clock.timer(due))
    }

    fn remove_reports(&mut self) {
        if let Some(removal) = self.conflicts.poll_removal(self.clock.now()) {
            tracing::info!(entries = ?removal.keys, "retrying addresses whose conflicts have expired");
            let api = self.maps_api.clone();
            let removed = remove(api, CONFLICTS_NAME, removal, REMOVAL_TIMEOUT);
            self.removal = Some(removed.boxed());
        }
    }

    fn take_outcome(&mut self, update: Update, outcome: &WriteOutcome, took: Duration) {
        self.metrics.count_write(outcome.as_str(), took);
        self.index
            .handle_outcome(&update, outcome, self.clock.now());
        if *outcome == WriteOutcome::Failed {
            let wait = sleep(delay(update.attempt + 1));
            self.retries.push(wait.map(move |()| update.key).boxed());
        }
    }

    fn take_unreadable(&self) {
        self.metrics.unreadable.inc();
        self.metrics.update_errors.inc();
    }

    fn publish(&mut self) {
        self.metrics
            .events_lost
            .inc_by(self.index.take_notices_dropped());
        // Only the leader knows; the other's figures would be counted twice.
        let usage = if self.leads {
            self.index.usage()
        } else {
            Vec::new()
        };
        self.metrics.set_usage(&usage);
        if self.rights.pool_status {
            self.pool_statuses.want(&usage);
        }
        self.metrics.set_pending(&self.index.pending());
        self.metrics
            .set_config(self.index.config_loaded(), self.index.config_stale());
        self.metrics
            .set_left_out(self.index.entries_left_out(), self.index.loops());
        self.metrics.set_leader(self.leads);
        let findings = self.index.findings().filter(|_| self.leads);
        self.metrics.set_conflicts(findings);
    }

    fn blockers(&self) -> Vec<String> {
        let mut blockers = self.index.blockers();
        blockers.extend(self.election.blocker());
        blockers
    }

    fn status(&self) -> ControllerStatus {
        ControllerStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            instance: self.instance.clone(),
            leading: self.leads,
            leader: self.election.leader().map(str::to_owned),
            blockers: self.blockers(),
            limits: self.rights.limits(),
            configuration: self.index.configuration_status(),
            pools: self.index.pool_statuses(),
            services: self.index.service_statuses(),
            dead_nodes: self.dead_nodes.as_ref().map(DeadNodes::status),
        }
    }
}

/// The name of this pod.
#[must_use]
pub fn instance() -> String {
    std::env::var("HOSTNAME").unwrap_or_else(|_| "controller".to_owned())
}

/// Watches Services, with their labels of these names.
fn watch_services(
    client: &Client,
    labels: &LabelNames,
) -> BoxStream<'static, Vec<Seen<ServiceView>>> {
    let labels = Arc::new(labels.clone());
    let view = move |service: &Service| {
        let view = service_view(service)?;
        Some(ServiceView {
            labels: view.labels.only(&labels),
            ..view
        })
    };
    let services = watch(
        "Services",
        Api::all(client.clone()),
        "spec.type=LoadBalancer",
        view,
    );
    services.ready_chunks(BATCH).boxed()
}

/// The same of Namespaces.
fn watch_namespaces(
    client: &Client,
    labels: &LabelNames,
) -> BoxStream<'static, Event<(String, Option<NamespaceView>)>> {
    let labels = Arc::new(labels.clone());
    let view = move |namespace: &Namespace| {
        let view = namespace_view(namespace)?;
        Some(NamespaceView {
            labels: view.labels.only(&labels),
            ..view
        })
    };
    watch_by_name("Namespaces", Api::all(client.clone()), view)
}

/// Watches one `ConfigMap`.
fn watch_map<V: Send + 'static>(
    client: &Client,
    namespace: &str,
    name: &str,
    view: fn(&ConfigMap) -> V,
) -> BoxStream<'static, Seen<V>> {
    let api = Api::namespaced(client.clone(), namespace);
    let fields = format!("metadata.name={name}");
    let name = name.to_owned();
    let view =
        move |map: &ConfigMap| (map.metadata.name.as_ref() == Some(&name)).then(|| view(map));
    watch("ConfigMaps", api, &fields, view).boxed()
}

fn node_addresses(Trimmed(node): &Trimmed<Node>) -> Option<NodeAddresses> {
    let view = node_view(node)?;
    Some(NodeAddresses {
        node: view.name,
        addresses: view.addresses,
        pod_ranges: pod_ranges(node),
    })
}

fn reports_view(map: &ConfigMap) -> ReportsView {
    ReportsView {
        resource_version: map.metadata.resource_version.clone().unwrap_or_default(),
        entries: map.data.clone().unwrap_or_default(),
    }
}

/// Whether the Event was written. It is not tried again: the log says the same.
async fn send(notice: Notice, client: Client, author: Author) -> bool {
    match timeout(EVENT_TIMEOUT, notice.write(&client, &author)).await {
        Ok(Ok(())) => true,
        Ok(Err(error)) => {
            tracing::debug!(%error, reason = %notice.words.reason, "cannot write an Event");
            false
        }
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests;
