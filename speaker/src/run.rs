//! Starts the threads, and decides on the main one.

use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};
use std::net::{IpAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use ferrolb_core::Reason;
use ferrolb_core::announce::Event;
use ferrolb_core::labels::LabelNames;
use ferrolb_core::ownership::Cause;
use ferrolb_core::report::{SpeakerStatus, VipStatus};
use ferrolb_core::view::ServiceKey;
use ferrolb_kube::admin::{Pages, Readiness, Server};
use ferrolb_kube::client;
use ferrolb_kube::clock::Clock;
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _};
use k8s_openapi::jiff::Timestamp;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{Receiver, UnboundedReceiver};
use tokio::sync::{oneshot, watch as latest};
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};
use tracing::{debug, info, warn};

use crate::admin::{self, OfThisNode};
use crate::args::Args;
use crate::conflicts::Conflicts;
use crate::events::Events;
use crate::keys;
use crate::kube_proxy;
use crate::metrics::Metrics;
use crate::netlink;
use crate::peers::{Notice, Peers, Start, Wish};
use crate::port::privileges;
use crate::pulse::Pulse;
use crate::unannounced::{Unannounced, Untold, is_told_by};
use crate::view::{Dirty, View};
use crate::watch::{self, Input};
use crate::wire::{Heard, Wire};

/// A kubelet brings a changed Secret within two minutes; to look more often costs nothing.
const LOOK_FOR_KEYS: Duration = Duration::from_secs(10);
/// What nobody needs any more is looked for this often.
const TIDY: Duration = Duration::from_secs(60);
/// The gauges of the state are at most this old: Prometheus looks each 15 to 60 s.
const SHOW: Duration = Duration::from_secs(10);
/// A handover takes at most two seconds.
const LEAVING: Duration = Duration::from_millis(2_500);

/// The whole life of the process.
pub fn run(args: Args) -> anyhow::Result<()> {
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
    let namespace = args.shared.namespace();
    info!(
        node = me,
        namespace,
        config = args.shared.config,
        "speaker {}",
        env!("CARGO_PKG_VERSION")
    );
    let stop = Stop::listen()?;
    let clock = Clock::start();
    let pulse = Pulse::default();
    let metrics = Arc::new(Metrics::new());
    let readiness = Readiness::waiting_for("the API server");
    let (wire, heard) = Wire::spawn(args.announce(), clock, pulse.clone(), Arc::clone(&metrics))?;
    let (peers, notices) = Peers::spawn(Start {
        me: me.clone(),
        port: args.peers_port(),
        settings: args.settings(),
        wire: wire.clone(),
        clock,
        pulse,
        metrics: Arc::clone(&metrics),
    })?;
    let ended_netlink = netlink::spawn(peers.clone(), args.interfaces.clone())?;
    let client = client::connect(args.shared.kubeconfig.as_deref()).await?;
    let events = Events::spawn(client.clone(), me.clone());
    let counters = Arc::clone(&metrics);
    let conflicts = Conflicts::spawn(
        client.clone(),
        namespace,
        me.clone(),
        events.clone(),
        counters,
    );
    let (monitored_at, host) = latest::channel(args.shared.host);
    let (labels, wanted_labels) = latest::channel(Arc::new(LabelNames::new()));
    let speaker = Speaker {
        labels,
        monitored_at,
        clock,
        unannounced: Unannounced::default(),
        view: View::new(
            me.clone(),
            args.shared.class(),
            args.shared.source(),
            args.exclude_label,
        ),
        events,
        conflicts,
        me,
        peers: peers.clone(),
        metrics: Arc::clone(&metrics),
        readiness: readiness.clone(),
        joined: false,
        wishes: BTreeMap::new(),
        told_wishes: false,
        owned: BTreeMap::new(),
        announced: BTreeMap::new(),
        retired: Default::default(),
    };
    let gauges = Arc::clone(&metrics);
    let (pages, questions) = admin::pages(metrics, readiness, args.interfaces.clone());
    let inputs = watch::all(&client, namespace, &args.shared.config, wanted_labels);
    let mut look = interval(LOOK_FOR_KEYS);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let ended = tokio::select! {
        ended = speaker.run(inputs, notices, heard, questions, stop) => ended,
        ended = show(args, pages, host) => ended,
        ended = read_keys(args, &peers, look) => ended,
        ended = kube_proxy::watch(peers.clone(), &gauges) => ended,
        Err(_) = ended_netlink => Err(anyhow::anyhow!("the netlink thread has ended")),
    };
    wire.stop();
    info!("stopped");
    ended
}

/// Serves the pages for ever. A speaker is in its node's network: a kubelet's probe comes from the very
/// address that it goes to.
async fn show(
    args: &Args,
    pages: Pages<OfThisNode>,
    host: latest::Receiver<Option<IpAddr>>,
) -> anyhow::Result<()> {
    let server = Server::bind(args.shared.host, args.shared.port, Vec::new()).await?;
    server.serve_at(pages, host).await;
    anyhow::bail!("the monitoring server has ended")
}

/// Hands out the keys again and again: also time alone changes which one signs.
async fn read_keys(args: &Args, peers: &Peers, mut look: Interval) -> anyhow::Result<()> {
    let mut is_told = false;
    loop {
        look.tick().await;
        match keys::read(&args.peer_keys_dir) {
            Ok(keys) => peers.set_keys(keys),
            Err(error) if is_told => debug!(%error, "cannot read the speakers' keys"),
            Err(error) => {
                is_told = true;
                let dir = args.peer_keys_dir.display();
                warn!(%dir, %error, "cannot read the speakers' keys: keeping the ones it has; without \
                       any, this speaker does not join the others");
            }
        }
    }
}

/// What ends the process from outside.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn listen() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?,
        })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// The main thread's state.
struct Speaker {
    me: String,
    clock: Clock,
    unannounced: Unannounced,
    view: View,
    /// Names of the labels that Nodes are watched with.
    labels: latest::Sender<Arc<LabelNames>>,
    /// The address of the monitoring port, if it has one of its own.
    monitored_at: latest::Sender<Option<IpAddr>>,
    peers: Peers,
    events: Events,
    conflicts: Conflicts,
    metrics: Arc<Metrics>,
    readiness: Readiness,
    joined: bool,
    /// Who may announce each address, or why nobody should.
    wishes: BTreeMap<IpAddr, Result<Wish, Reason>>,
    told_wishes: bool,
    /// What is this node's to announce, and since when.
    owned: BTreeMap<IpAddr, Owned>,
    /// What it does announce, and the Services whose series say so.
    announced: BTreeMap<IpAddr, BTreeSet<ServiceKey>>,
    /// Addresses that no Service has had since the last look, and since the one before.
    retired: [BTreeSet<IpAddr>; 2],
}

/// A Vip that is this node's to announce.
struct Owned {
    cause: Cause,
    /// Another host has it.
    in_conflict: bool,
}

impl Speaker {
    /// Until it is told to stop, and has handed over what must be.
    async fn run(
        mut self,
        mut inputs: BoxStream<'static, Input>,
        mut notices: UnboundedReceiver<Notice>,
        mut heard: UnboundedReceiver<Heard>,
        mut questions: Receiver<oneshot::Sender<SpeakerStatus>>,
        mut stop: Stop,
    ) -> anyhow::Result<()> {
        let mut tidy = interval(TIDY);
        let mut show = interval(SHOW);
        show.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let mut dirty = Dirty::default();
            self.tell_what_is_missing();
            let untold = self.unannounced.poll_timeout().filter(|_| self.joined);
            let untold = untold.map(|at| at.saturating_since(self.clock.now()));
            tokio::select! {
                biased;
                () = stop.wait() => {
                    let why = self.view.leaving();
                    info!(?why, "stopping");
                    self.peers.leave(why);
                    return timeout(LEAVING, self.until_handed_over(&mut notices))
                        .await
                        .unwrap_or(Ok(()));
                }
                notice = notices.recv() => {
                    let notice = notice.context("the peers' thread has ended")?;
                    self.note(notice)?;
                }
                Some(heard) = heard.recv() => {
                    // The wire thread was told by the peers', which told us first.
                    while let Ok(notice) = notices.try_recv() {
                        self.note(notice)?;
                    }
                    self.hear(&heard);
                }
                _ = tidy.tick() => self.forget_retired(),
                _ = show.tick() => self.metrics.gauges().show(&self.status().await),
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
            if self.view.missing().is_none() {
                self.follow(dirty);
            }
        }
    }

    fn see(&mut self, input: Input, dirty: &mut Dirty) {
        if input.is_unreadable() {
            self.metrics.count_unreadable();
        }
        self.view.handle(input, dirty);
        if let Some(names) = self.view.poll_labels() {
            info!(labels = ?names, "listing Nodes again, with the labels that selectors use");
            self.labels.send_replace(Arc::new(names));
        }
    }

    async fn until_handed_over(
        &mut self,
        notices: &mut UnboundedReceiver<Notice>,
    ) -> anyhow::Result<()> {
        while let Some(notice) = notices.recv().await {
            if matches!(notice, Notice::MayExit) {
                break;
            }
            self.note(notice)?;
        }
        Ok(())
    }

    fn note(&mut self, notice: Notice) -> anyhow::Result<()> {
        match notice {
            Notice::Owned(vip, cause) => {
                let in_conflict = false;
                self.owned.insert(vip, Owned { cause, in_conflict });
            }
            Notice::Silent(vip, _) => {
                self.owned.remove(&vip);
                for key in self.announced.remove(&vip).unwrap_or_default() {
                    self.metrics.set_announced(&key, vip, &self.me, false);
                }
            }
            Notice::Joined(joined) => self.joined = joined,
            Notice::At(addresses) => self.follow_host(&addresses),
            Notice::MayExit => {}
            Notice::Failed(error) => return Err(error.context("the peers' thread has failed")),
        }
        Ok(())
    }

    /// The monitoring port moves with the node's address, if that is where it is.
    fn follow_host(&self, own: &[IpAddr]) {
        let host = *self.monitored_at.borrow();
        let next = host.and_then(|host| next_host(host, own, is_here));
        if next.is_some() {
            info!(
                ?host,
                ?next,
                "monitoring moved to another address of this node"
            );
            self.monitored_at.send_replace(next);
        }
    }

    /// The wire thread tells of a Vip.
    fn hear(&mut self, heard: &Heard) {
        let vip = heard.event.vip();
        let has_room = self.view.has_room_for_a_report(vip);
        let services = self.view.services_at(vip);
        self.conflicts.tell(heard, services, has_room);
        if matches!(heard.event, Event::Announced { .. }) {
            self.peers.set_announced(vip);
        }
        let Some(owned) = self.owned.get_mut(&vip) else {
            return;
        };
        match heard.event {
            Event::Announced { .. } => {
                owned.in_conflict = false;
                // A speaker that was back in time has changed nothing that users could see.
                let is_news = owned.cause != Cause::Restart;
                if let Entry::Vacant(silent) = self.announced.entry(vip) {
                    silent.insert(BTreeSet::new());
                    if is_news {
                        self.write_events(vip);
                    }
                    self.follow_services(vip);
                }
            }
            Event::Conflict {
                before_use,
                node: None,
                ..
            } => owned.in_conflict = before_use,
            Event::Conflict { .. } | Event::NoHost { .. } => {}
        }
    }

    /// Who is there, who announces what, and why this node does not.
    async fn status(&self) -> SpeakerStatus {
        let peers = self.peers.status().await.unwrap_or_default();
        let vips = self.wishes.iter().map(|(address, wish)| {
            let services = self.view.services_at(*address);
            let services = services.map(|service| service.key.to_string()).collect();
            let known = wish.as_ref().map(|_| peers.vips.get(address).cloned());
            let vip = known.map_err(|reason| *reason).transpose();
            let vip = vip.unwrap_or(Err(Reason::Joining));
            let vip = vip.map(|vip| self.refine(vip));
            let vip = vip.unwrap_or_else(|reason| VipStatus {
                address: *address,
                links: Vec::new(),
                standby_links: Vec::new(),
                services: Vec::new(),
                owner: None,
                epoch: None,
                announced_here: false,
                reason: Some(reason.as_str().to_owned()),
                drawback: None,
            });
            let drawback = wish.as_ref().ok().and_then(|wish| wish.drawback);
            let drawback = drawback.filter(|_| vip.announced_here);
            VipStatus {
                services,
                drawback: drawback.map(|reason| reason.as_str().to_owned()),
                ..vip
            }
        });
        SpeakerStatus {
            node: self.me.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            waiting_for: self.missing().map(str::to_owned),
            isolated: peers.isolated,
            vips: vips.collect(),
            members: peers.members,
        }
    }

    /// What is this node's to announce may yet be silent.
    fn refine(&self, vip: VipStatus) -> VipStatus {
        if !vip.announced_here || self.announced.contains_key(&vip.address) {
            return vip;
        }
        let owned = self.owned.get(&vip.address);
        let reason = match owned.is_some_and(|owned| owned.in_conflict) {
            true => Reason::AddressConflict,
            false => Reason::Probing,
        };
        VipStatus {
            announced_here: false,
            reason: Some(reason.as_str().to_owned()),
            ..vip
        }
    }

    fn write_events(&self, vip: IpAddr) {
        for service in self.view.services_at(vip) {
            self.events.node_assigned(service);
        }
    }

    /// Events on the Services whose address nobody announces, if this speaker is the one to tell it.
    async fn tell_unannounced(&mut self) {
        let peers = self.peers.status().await.unwrap_or_default();
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
            self.events.send_once(note, number);
        }
    }

    fn missing(&self) -> Option<&'static str> {
        let joining = (!self.joined).then_some("the other speakers");
        self.view.missing().or(joining)
    }

    fn tell_what_is_missing(&self) {
        let missing = self.missing().map(str::to_owned);
        self.readiness.set_missing(missing.into_iter().collect());
        let (loaded, stale) = self.view.config_state();
        self.metrics.set_config(loaded, stale);
    }

    /// Works out anew what changed, and hands it on.
    fn follow(&mut self, dirty: Dirty) {
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
            let wish = is_there.then(|| self.view.wish(address));
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
        if changed {
            let wishes = self.wishes.iter();
            let wishes =
                wishes.filter_map(|(address, wish)| Some((*address, wish.as_ref().ok()?.clone())));
            self.peers.set_wishes(wishes.collect());
            self.told_wishes = true;
        }
        // After the wishes: whoever joins without them gives up what it had.
        if dirty.nodes || dirty.all {
            self.peers.set_nodes(self.view.nodes());
        }
    }

    /// Not at once: frames are counted until the wire thread has fallen silent.
    fn forget_retired(&mut self) {
        let retired = std::mem::take(&mut self.retired[0]);
        for address in std::mem::replace(&mut self.retired[1], retired) {
            if !self.wishes.contains_key(&address) {
                self.metrics.forget(address);
            }
        }
    }

    /// Keeps the series of an address that this node announces in step with its Services.
    fn follow_services(&mut self, address: IpAddr) {
        let Some(told) = self.announced.get_mut(&address) else {
            return;
        };
        let services = self.view.services_at(address);
        let now: BTreeSet<ServiceKey> = services.map(|service| service.key.clone()).collect();
        for key in told.symmetric_difference(&now) {
            self.metrics
                .set_announced(key, address, &self.me, now.contains(key));
        }
        *told = now;
    }
}

/// Where to be monitored instead of at `host`, which is gone; `None` as long as it is not.
fn next_host(host: IpAddr, own: &[IpAddr], is_here: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
    if own.contains(&host) || is_here(host) {
        return None;
    }
    let of_its_family = own.iter().find(|one| one.is_ipv4() == host.is_ipv4());
    of_its_family.or(own.first()).copied()
}

/// Only to an address of this network namespace a socket can be bound.
fn is_here(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

/// Waits for so long, for ever without a time.
async fn wait_for(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_monitoring_port_leaves_an_address_only_once_that_is_gone() {
        let parse = |text: &str| -> Vec<IpAddr> {
            text.split_whitespace()
                .map(|one| one.parse().unwrap())
                .collect()
        };
        // Where it is; this node's own addresses; all of this node; where it goes.
        for (host, own, here, expected) in [
            ("10.0.0.1", "10.0.0.1", "10.0.0.1", ""),
            ("10.0.0.1", "10.0.0.7", "10.0.0.7", "10.0.0.7"),
            (
                "10.0.0.1",
                "fd00::7 10.0.0.7",
                "10.0.0.7 fd00::7",
                "10.0.0.7",
            ),
            ("10.0.0.1", "fd00::7", "fd00::7", "fd00::7"),
            // It is still on a link, or another one was meant.
            ("10.0.0.1", "10.0.0.7", "10.0.0.1 10.0.0.7", ""),
            ("10.9.0.1", "10.0.0.7", "10.9.0.1 10.0.0.7", ""),
            ("127.0.0.1", "10.0.0.7", "127.0.0.1 10.0.0.7", ""),
            ("10.0.0.1", "", "", ""),
        ] {
            let here = parse(here);
            let next = next_host(parse(host)[0], &parse(own), |one| here.contains(&one));
            assert_eq!(next, parse(expected).first().copied(), "{host} {own:?}");
        }
    }
}
