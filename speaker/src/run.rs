//! Starts the threads, and decides on the main one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use ferrolb_core::announce::{ClusterNodes, Settings, Wanted};
use ferrolb_core::elect::Decision;
use ferrolb_core::view::ServiceKey;
use futures::{FutureExt as _, StreamExt as _};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::UnboundedReceiver;
use tracing::{debug, info};

use crate::admin::{self, Readiness};
use crate::args::Args;
use crate::arp::{Arp, Heard};
use crate::client;
use crate::clock::Clock;
use crate::conflicts::Conflicts;
use crate::events::{Events, NodeAssigned};
use crate::log;
use crate::metrics::Metrics;
use crate::peers::{Peers, PeersThread};
use crate::port::privileges;
use crate::view::{Dirty, Plan, View};
use crate::watch;

/// A peer that is back needs one beat to see us and to fall silent about what is ours.
const AFTER_RETURN: Duration = Duration::from_millis(50);

/// The whole life of the process.
pub fn run(args: Args) -> anyhow::Result<()> {
    log::start(&args.log_level, args.log_format)?;
    let args = args.complete(|name| std::env::var(name).ok())?;
    privileges::keep_net_raw_only()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(serve(&args))
}

async fn serve(args: &Args) -> anyhow::Result<()> {
    let me = args.node_name.clone().unwrap_or_default();
    let namespace = args.namespace();
    info!(
        node = me,
        namespace,
        config = args.config,
        "speaker {}",
        env!("CARGO_PKG_VERSION")
    );
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;

    let clock = Clock::start();
    let metrics = Arc::new(Metrics::new());
    let readiness = Readiness::default();
    let (arp, heard) = Arp::spawn(Settings::default(), clock, Arc::clone(&metrics))?;
    let mut peers = PeersThread::spawn(&me, boot_id(), arp.clone(), clock, Arc::clone(&metrics))?;
    let client = client::connect(args.kubeconfig.as_deref()).await?;
    let events = Events::spawn(client.clone(), me.clone());
    let speaker = Speaker {
        view: View::new(me.clone(), args.lb_class.clone()),
        events: events.clone(),
        conflicts: Conflicts::spawn(
            client.clone(),
            &namespace,
            me.clone(),
            events,
            Arc::clone(&metrics),
        ),
        me,
        arp: arp.clone(),
        metrics: Arc::clone(&metrics),
        readiness: readiness.clone(),
        peers: Peers::default(),
        plans: BTreeMap::new(),
        wanted: BTreeMap::new(),
    };
    let inputs = watch::all(&client, &namespace, &args.config);
    let ended = tokio::select! {
        ended = speaker.run(inputs, &mut peers, heard) => ended,
        ended = admin::serve(args.host, args.port, metrics, readiness) => ended,
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    };
    // Silent first: whoever takes over must not be contradicted.
    arp.stop();
    peers.leave().await;
    info!("stopped");
    ended
}

/// Differs at each start.
fn boot_id() -> u64 {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since_epoch.as_micros()).unwrap_or_default()
}

/// The main thread's state.
struct Speaker {
    me: String,
    view: View,
    arp: Arp,
    events: Events,
    conflicts: Conflicts,
    metrics: Arc<Metrics>,
    readiness: Readiness,
    peers: Peers,
    plans: BTreeMap<ServiceKey, Plan>,
    /// What the ARP thread was told last.
    wanted: BTreeMap<IpAddr, Wanted>,
}

impl Speaker {
    async fn run(
        mut self,
        mut inputs: futures::stream::BoxStream<'static, watch::Input>,
        thread: &mut PeersThread,
        mut heard: UnboundedReceiver<Heard>,
    ) -> anyhow::Result<()> {
        loop {
            let mut dirty = Dirty::default();
            self.tell_what_is_missing();
            tokio::select! {
                // Who answers comes first: a failover must not wait for a long list.
                biased;
                changed = thread.peers.changed() => {
                    if changed.is_ok() {
                        let peers = thread.peers.borrow_and_update().clone();
                        self.peers_changed(peers, &mut dirty);
                    }
                }
                failed = &mut thread.failed => {
                    return Err(failed.map_or_else(
                        |_| anyhow::anyhow!("the peers' thread has ended"),
                        |error| error.context("the peers' thread has failed"),
                    ));
                }
                Some(heard) = heard.recv() => self.tell_of(&heard),
                input = inputs.next() => {
                    let input = input.context("the watches have ended")?;
                    self.view.handle(input, &mut dirty);
                    // What is there already is decided in one go.
                    while let Some(Some(input)) = inputs.next().now_or_never() {
                        self.view.handle(input, &mut dirty);
                    }
                }
            }
            if dirty.nodes {
                thread.set_nodes(self.view.nodes());
                self.tell_cluster_nodes();
            }
            if self.view.missing().is_none() {
                self.decide(dirty);
            }
        }
    }

    fn peers_changed(&mut self, peers: Peers, dirty: &mut Dirty) {
        let returned = match (&self.peers.alive, &peers.alive) {
            (Some(before), Some(now)) => now.difference(before).next().is_some(),
            _ => false,
        };
        dirty.all |= self.peers.alive != peers.alive;
        self.peers = peers;
        self.tell_cluster_nodes();
        if returned {
            // It may have announced what is ours while it could not hear us.
            let arp = self.arp.clone();
            tokio::spawn(async move {
                tokio::time::sleep(AFTER_RETURN).await;
                arp.announce_again();
            });
        }
    }

    fn tell_of(&self, heard: &Heard) {
        let vip = Conflicts::vip(heard);
        let with_it = self
            .plans
            .iter()
            .filter(|(_, plan)| plan.contains_key(&vip));
        let services = with_it.filter_map(|(key, _)| self.view.service(key));
        self.conflicts.tell(heard, services);
    }

    fn tell_cluster_nodes(&self) {
        let nodes = self.view.nodes();
        let others = nodes.iter().filter(|(name, _)| **name != self.me);
        self.arp.set_cluster_nodes(ClusterNodes {
            macs: self.peers.macs.clone(),
            addresses: others
                .flat_map(|(_, addresses)| addresses.iter().copied())
                .collect(),
        });
    }

    fn tell_what_is_missing(&self) {
        let listening = || self.peers.alive.is_none().then_some("the other speakers");
        let missing = self.view.missing().or_else(listening);
        self.readiness.set_missing(missing.unwrap_or_default());
        let (loaded, stale) = self.view.config_state();
        self.metrics.set_config(loaded, stale);
    }

    fn decide(&mut self, dirty: Dirty) {
        let keys: BTreeSet<ServiceKey> = if dirty.all {
            self.view
                .service_keys()
                .chain(self.plans.keys())
                .cloned()
                .collect()
        } else {
            dirty.services
        };
        for key in keys {
            let plan = self.view.plan(&key, self.peers.alive.as_ref());
            let before = self.plans.remove(&key).unwrap_or_default();
            self.tell_changes(&key, &before, &plan);
            if !plan.is_empty() {
                self.plans.insert(key, plan);
            }
        }
        let announced = self.plans.values().flatten();
        let announced = announced.filter(|(_, planned)| planned.decision == Decision::Announce);
        let wanted = announced.map(|(address, planned)| (*address, planned.wanted.clone()));
        let wanted: BTreeMap<_, _> = wanted.collect();
        if wanted != self.wanted {
            self.arp.set_wanted(wanted.clone());
            self.wanted = wanted;
        }
    }

    fn tell_changes(&self, key: &ServiceKey, before: &Plan, after: &Plan) {
        let announces = |plan: &Plan, address: &IpAddr| {
            plan.get(address)
                .is_some_and(|planned| planned.decision == Decision::Announce)
        };
        for address in before.keys().chain(after.keys()).collect::<BTreeSet<_>>() {
            match (announces(before, address), announces(after, address)) {
                (false, true) => {
                    info!(service = %key, %address, "announcing");
                    self.metrics.set_announced(key, *address, &self.me, true);
                    let uid = self.view.service(key).map(|view| view.uid.clone());
                    let uid = uid.unwrap_or_default();
                    self.events.node_assigned(NodeAssigned {
                        service: key.clone(),
                        uid,
                    });
                }
                (true, false) => {
                    let reason = after.get(address).map(|planned| planned.decision);
                    info!(service = %key, %address, ?reason, "silent");
                    self.metrics.set_announced(key, *address, &self.me, false);
                }
                _ if before.get(address) != after.get(address) => {
                    let decision = after.get(address).map(|planned| planned.decision);
                    debug!(service = %key, %address, ?decision, "decided");
                }
                _ => {}
            }
        }
    }
}
