//! The main thread's loop: what the API server says comes in, who may announce what goes out; and what
//! the other threads tell becomes Events, metrics and `/status`.

use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};
use std::future::Future;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use ferrolb_core::Reason;
use ferrolb_core::announce::Event;
use ferrolb_core::conflict::MOST_REPORTS;
use ferrolb_core::keep::End;
use ferrolb_core::names::CONFLICTS_NAME;
use ferrolb_core::ownership::{Cause, Lists};
use ferrolb_core::report::{SpeakerStatus, VipStatus};
use ferrolb_core::view::ServiceKey;
use ferrolb_kube::admin::Readiness;
use ferrolb_kube::clock::Clock;
use ferrolb_kube::store::packed;
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _};
use k8s_openapi::jiff::Timestamp;
use tokio::sync::mpsc::{Receiver, UnboundedReceiver};
use tokio::sync::{oneshot, watch as latest};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::{debug, info, warn};

use crate::conflicts::Conflicts;
use crate::events::Events;
use crate::gateways::Gateways;
use crate::host::{is_here, next_host};
use crate::l2_status::L2Statuses;
use crate::metrics::Metrics;
use crate::peers::{FromPeers, Peers, Wish};
use crate::status;
use crate::unannounced::{Unannounced, Untold, is_told_by};
use crate::view::{Dirty, View};
use crate::votes::Votes;
use crate::watch::{Input, Steering};
use crate::wire::{Heard, Wire};

/// What nobody needs any more is looked for this often.
const TIDY: Duration = Duration::from_secs(60);
/// So many more addresses are worth giving back what trees have free.
const PACK: usize = 500;
/// The gauges of the state are at most this old: Prometheus looks each 15 to 60 s.
const SHOW: Duration = Duration::from_secs(10);
/// A handover takes at most two seconds.
const LEAVING: Duration = Duration::from_millis(2_500);

static NO_LINKS: BTreeSet<String> = BTreeSet::new();

/// Where the main thread's decisions go.
pub(crate) struct Ways {
    pub(crate) peers: Peers,
    pub(crate) wire: Wire,
    pub(crate) events: Events,
    pub(crate) conflicts: Conflicts,
    pub(crate) l2_statuses: L2Statuses,
    /// Of what is said of dead nodes, if anybody wants to know.
    pub(crate) votes: Option<Votes>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) readiness: Readiness,
    /// What is watched.
    pub(crate) steering: Steering,
    /// The address of the monitoring port, if it has one of its own.
    pub(crate) monitored_at: latest::Sender<Option<IpAddr>>,
}

/// What the main thread decides from.
pub(crate) struct Sources {
    pub(crate) inputs: BoxStream<'static, Input>,
    pub(crate) notices: UnboundedReceiver<FromPeers>,
    pub(crate) heard: UnboundedReceiver<Heard>,
    pub(crate) questions: Receiver<oneshot::Sender<SpeakerStatus>>,
    /// This node's default gateways.
    pub(crate) gateways: latest::Receiver<Vec<IpAddr>>,
}

/// The main thread's state.
pub(crate) struct Speaker {
    me: String,
    clock: Clock,
    view: View,
    ways: Ways,
    unannounced: Unannounced,
    gateways: Gateways,
    joined: bool,
    /// Who may announce each address, or why nobody should.
    wishes: BTreeMap<IpAddr, Result<Arc<Wish>, Reason>>,
    /// The candidates that these have.
    lists: Lists,
    told_wishes: bool,
    /// What this node announces, by the wire thread's word, and the Services whose series say so.
    announced: BTreeMap<IpAddr, Vec<ServiceKey>>,
    /// How many addresses there were when trees were packed.
    packed_at: usize,
    /// Addresses that no Service has had since the last look, and since the one before.
    retired: [BTreeSet<IpAddr>; 2],
}

impl Speaker {
    /// On the node `me`; knows nothing yet but what `view` has.
    pub(crate) fn new(me: String, clock: Clock, view: View, ways: Ways) -> Self {
        Self {
            gateways: Gateways::new(me.clone()),
            me,
            clock,
            view,
            ways,
            unannounced: Unannounced::default(),
            joined: false,
            wishes: BTreeMap::new(),
            lists: Lists::default(),
            told_wishes: false,
            announced: BTreeMap::new(),
            packed_at: 0,
            retired: Default::default(),
        }
    }

    /// Until it is told to `stop`, and has handed over what must be.
    pub(crate) async fn run(
        mut self,
        sources: Sources,
        stop: impl Future<Output = ()>,
    ) -> anyhow::Result<()> {
        let Sources {
            mut inputs,
            mut notices,
            mut heard,
            mut questions,
            mut gateways,
        } = sources;
        let mut stop = pin!(stop);
        let mut tidy = interval(TIDY);
        let mut show = interval(SHOW);
        show.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let mut dirty = Dirty::default();
            self.tell_what_is_missing();
            let untold = self.unannounced.poll_timeout().filter(|_| self.joined);
            let untold = untold.map(|at| at.saturating_since(self.clock.now()));
            let steered = self.view.poll_timeout();
            let steered = steered.map(|at| at.saturating_since(self.clock.now()));
            let unreported = self.gateways.poll_timeout();
            let unreported = unreported.map(|at| at.saturating_since(self.clock.now()));
            tokio::select! {
                biased;
                () = &mut stop => {
                    let why = self.view.leaving();
                    info!(?why, "stopping");
                    self.ways.peers.leave(why);
                    return timeout(LEAVING, self.until_handed_over(&mut notices, &mut heard))
                        .await
                        .unwrap_or(Ok(()));
                }
                notice = notices.recv() => {
                    let notice = notice.context("the peers' thread has ended")?;
                    self.note(notice)?;
                }
                Some(heard) = heard.recv() => self.hear(&heard),
                _ = tidy.tick() => {
                    self.forget_retired();
                    self.pack_if_grown();
                    dirty.reports = true;
                }
                Ok(()) = gateways.changed() => {
                    self.gateways.set(&gateways.borrow_and_update());
                    dirty.reports = true;
                }
                () = wait_for(unreported) => self.report_gateways(),
                () = wait_for(steered) => {}
                _ = show.tick() => self.show_gauges().await,
                () = wait_for(untold) => self.tell_unannounced().await,
                Some(question) = questions.recv() => drop(question.send(self.status().await)),
                input = inputs.next() => {
                    let input = input.context("the watches have ended")?;
                    self.see(input, &mut dirty);
                    // What is there already is decided in one go.
                    while let Some(Some(input)) = inputs.next().now_or_never() {
                        self.see(input, &mut dirty);
                    }
                }
            }
            while let Some(order) = self.view.poll_order(&mut dirty, self.clock.now()) {
                self.ways.steering.order(order);
            }
            if self.view.missing().is_none() {
                self.follow(dirty);
            }
        }
    }

    fn see(&mut self, input: Input, dirty: &mut Dirty) {
        if input.is_unreadable() {
            self.ways.metrics.count_unreadable();
        }
        self.view.handle(input, dirty);
        if let Some(names) = self.view.poll_labels() {
            info!(labels = ?names, "listing again, with the labels that selectors use");
            self.ways.steering.set_labels(names);
        }
    }

    async fn until_handed_over(
        &mut self,
        notices: &mut UnboundedReceiver<FromPeers>,
        heard: &mut UnboundedReceiver<Heard>,
    ) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                notice = notices.recv() => match notice {
                    None | Some(FromPeers::MayExit) => return Ok(()),
                    Some(notice) => self.note(notice)?,
                },
                Some(heard) = heard.recv() => self.hear(&heard),
            }
        }
    }

    fn note(&mut self, notice: FromPeers) -> anyhow::Result<()> {
        match notice {
            FromPeers::Kept(vip, from, time) => self.tell_kept(vip, &from, time),
            FromPeers::KeptNoMore(vip, from, end) => self.tell_kept_no_more(vip, &from, end),
            FromPeers::Joined(joined) => self.joined = joined,
            FromPeers::At(addresses) => self.follow_host(&addresses),
            FromPeers::FoundDead(found) => {
                if let Some(votes) = &self.ways.votes {
                    votes.found(found);
                }
            }
            FromPeers::Alive(node, process) => {
                if let Some(votes) = &self.ways.votes {
                    votes.alive(node, process);
                }
            }
            FromPeers::MayExit => {}
            FromPeers::Failed(error) => return Err(error.context("the peers' thread has failed")),
        }
        Ok(())
    }

    /// The monitoring port moves with the node's address, if that is where it is.
    fn follow_host(&self, own: &[IpAddr]) {
        let host = *self.ways.monitored_at.borrow();
        let next = host.and_then(|host| next_host(host, own, is_here));
        if next.is_some() {
            info!(
                ?host,
                ?next,
                "monitoring moved to another address of this node"
            );
            self.ways.monitored_at.send_replace(next);
        }
    }

    /// The wire thread tells of a Vip. It alone says what is announced, so that nothing which another
    /// thread says earlier or later is taken for it.
    fn hear(&mut self, heard: &Heard) {
        let vip = heard.event.vip();
        let has_room = self.view.has_room_for_a_report(vip);
        let services = self.view.services_at(vip);
        self.ways.conflicts.tell(heard, services, has_room);
        match heard.event {
            Event::Announced { cause, .. } => {
                self.ways.peers.set_announced(vip);
                // A speaker that was back in time has changed nothing that users could see.
                let is_news = cause != Cause::Restart;
                if let Entry::Vacant(silent) = self.announced.entry(vip) {
                    silent.insert(Vec::new());
                    if is_news {
                        self.write_events(vip);
                    }
                    self.follow_services(vip);
                }
            }
            Event::Silent { .. } => {
                self.ways.l2_statuses.set(vip, &BTreeSet::new(), &NO_LINKS);
                for key in self.announced.remove(&vip).unwrap_or_default() {
                    let metrics = &self.ways.metrics;
                    metrics.set_announced(&key, vip, &self.me, false);
                }
            }
            Event::Conflict { .. } | Event::NoHost { .. } => {}
        }
    }

    /// Who is there, who announces what, and why this node does not.
    async fn status(&self) -> SpeakerStatus {
        let (status, vips) = self.look().await;
        SpeakerStatus {
            vips: vips.collect(),
            ..status
        }
    }

    async fn show_gauges(&self) {
        let (status, vips) = self.look().await;
        self.ways.metrics.gauges().show(&status, vips);
    }

    /// The status without its addresses, and these one by one: of thousands, all lines together take more
    /// memory than what is known of them.
    async fn look(&self) -> (SpeakerStatus, impl Iterator<Item = VipStatus>) {
        let mut peers = self.ways.peers.status().await.unwrap_or_default();
        // After the peers' thread, which gives it its orders: so it knows of all that is this node's.
        let progress = self.ways.wire.progress().await;
        let mut seen = std::mem::take(&mut peers.vips);
        let vips = self.wishes.iter().map(move |(address, wish)| {
            let services = self.view.services_at(*address);
            let services = services.map(|service| service.key.to_string()).collect();
            status::of_vip(
                *address,
                services,
                wish.as_deref().map_err(|reason| *reason),
                seen.remove(address),
                progress.get(address).copied(),
            )
        });
        let status = SpeakerStatus {
            node: self.me.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            waiting_for: self.missing().map(str::to_owned),
            isolated: peers.isolated,
            keeping: peers.keeping,
            vips: Vec::new(),
            members: peers.members,
        };
        (status, vips)
    }

    fn write_events(&self, vip: IpAddr) {
        for service in self.view.services_at(vip) {
            self.ways.events.node_assigned(service);
        }
    }

    /// Open connections through the address did not end when it moved here.
    fn tell_kept(&self, vip: IpAddr, from: &str, time: Duration) {
        for service in self.view.services_at(vip) {
            self.ways.events.connections_kept(service, vip, from, time);
        }
    }

    /// It has come to its end: one Event for each that said that it began.
    fn tell_kept_no_more(&self, vip: IpAddr, from: &str, end: End) {
        for service in self.view.services_at(vip) {
            let events = &self.ways.events;
            events.connections_no_longer_kept(service, vip, from, end);
        }
    }

    /// Events on the Services whose address nobody announces, if this speaker is the one to tell it.
    async fn tell_unannounced(&mut self) {
        let peers = self.ways.peers.status().await.unwrap_or_default();
        while let Some(untold) = self.unannounced.poll_untold(self.clock.now()) {
            self.tell(
                &untold,
                is_told_by(&self.me, untold.address, &peers.members),
            );
        }
    }

    fn tell(&self, untold: &Untold, mine: bool) {
        let Untold {
            address, reason, ..
        } = untold;
        if !mine {
            return;
        }
        warn!(%address, %reason, "no node announces the address");
        for service in self.view.services_at(*address) {
            let (note, number) = untold.note(service, Timestamp::now());
            self.ways.events.send_once(note, number);
        }
    }

    /// Tells the controller of this node's gateways, so that it gives none to a Service.
    fn report_gateways(&mut self) {
        for address in self.gateways.poll(self.clock.now()) {
            if !self.view.has_room_for_a_report(address) {
                warn!(%address, "gateway not reported to the controller: ConfigMap {CONFLICTS_NAME} \
                       already has {MOST_REPORTS} entries");
                continue;
            }
            info!(%address, "this node's gateway is in a pool: reporting it, so that no Service gets it");
            let report = self.gateways.report(address, Timestamp::now());
            self.ways.conflicts.write(&report);
        }
    }

    fn missing(&self) -> Option<&'static str> {
        let joining = (!self.joined).then_some("the other speakers");
        self.view.missing().or(joining)
    }

    fn tell_what_is_missing(&self) {
        let missing = self.missing().map(str::to_owned);
        self.ways
            .readiness
            .set_missing(missing.into_iter().collect());
        let (loaded, stale) = self.view.config_state();
        self.ways.metrics.set_config(loaded, stale);
    }

    /// Works out anew what changed, and hands it on.
    fn follow(&mut self, dirty: Dirty) {
        if dirty.all || dirty.reports {
            let (view, time, now) = (&self.view, Timestamp::now(), self.clock.now());
            let in_a_pool = |address| view.is_in_a_pool(address);
            self.gateways
                .look(in_a_pool, |address| view.report_of(address), time, now);
        }
        let addresses: BTreeSet<IpAddr> = if dirty.all {
            let known = self.wishes.keys().copied();
            self.view.addresses().chain(known).collect()
        } else {
            dirty.addresses
        };
        let mut changed = !self.told_wishes;
        for address in addresses {
            let nobody = self.view.why_nobody(address);
            let now = self.clock.now();
            self.unannounced
                .set(address, nobody, !self.told_wishes, now);
            let is_there = self.view.services_at(address).next().is_some();
            let before = self
                .wishes
                .get(&address)
                .and_then(|wish| wish.as_ref().ok());
            let before = before.map(|wish| &wish.candidates);
            let mut wish = is_there.then(|| self.view.wish(address, before));
            if let Some(Ok(wish)) = &mut wish {
                self.lists.share(&mut wish.candidates);
            }
            let wish = wish.map(|wish| wish.map(Arc::new));
            if self.wishes.get(&address) != wish.as_ref() {
                changed = true;
                debug!(%address, ?wish, "candidates for the address");
                match wish {
                    Some(wish) => self.wishes.insert(address, wish),
                    None => {
                        self.retired[0].insert(address);
                        self.wishes.remove(&address)
                    }
                };
            }
            self.follow_services(address);
        }
        if dirty.all {
            packed(&mut self.wishes);
        }
        if changed {
            let wishes = self.wishes.iter();
            let wishes = wishes
                .filter_map(|(address, wish)| Some((*address, Arc::clone(wish.as_ref().ok()?))));
            self.ways.peers.set_wishes(wishes.collect());
            self.told_wishes = true;
            self.lists.forget_unused();
        }
        // After the wishes: whoever joins without them gives up what it had.
        if dirty.nodes || dirty.all {
            self.ways.peers.set_nodes(self.view.nodes());
        }
    }

    /// Not at once: frames are counted until the wire thread has fallen silent.
    fn forget_retired(&mut self) {
        let retired = std::mem::take(&mut self.retired[0]);
        for address in std::mem::replace(&mut self.retired[1], retired) {
            if !self.wishes.contains_key(&address) {
                self.ways.metrics.forget(address);
            }
        }
    }

    fn pack_if_grown(&mut self) {
        let count = self.wishes.len();
        self.packed_at = self.packed_at.min(count);
        if count > self.packed_at + PACK {
            self.packed_at = count;
            self.view.pack();
            packed(&mut self.wishes);
        }
    }

    /// Keeps the series of an address that this node announces in step with its Services.
    fn follow_services(&mut self, address: IpAddr) {
        let Some(told) = self.announced.get_mut(&address) else {
            return;
        };
        let services = self.view.services_at(address);
        let now: BTreeSet<ServiceKey> = services.map(|service| service.key.clone()).collect();
        let before = std::mem::take(told).into_iter().collect();
        for key in now.symmetric_difference(&before) {
            self.ways
                .metrics
                .set_announced(key, address, &self.me, now.contains(key));
        }
        let wish = self
            .wishes
            .get(&address)
            .and_then(|wish| wish.as_ref().ok());
        let links = wish.map(|wish| &wish.interfaces);
        let links = links.unwrap_or(&NO_LINKS);
        self.ways.l2_statuses.set(address, &now, links);
        *told = now.into_iter().collect();
    }
}

/// Waits for so long, for ever without a time.
async fn wait_for(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
