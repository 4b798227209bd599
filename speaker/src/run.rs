//! Starts the threads, and connects them with the main one.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use ferrolb_kube::admin::{Pages, Readiness, Server};
use ferrolb_kube::client;
use ferrolb_kube::clock::Clock;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch as latest;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tracing::{debug, info, warn};

use crate::admin::{self, OfThisNode};
use crate::args::Args;
use crate::conflicts::Conflicts;
use crate::events::Events;
use crate::keep::Keeper;
use crate::keys;
use crate::kube_proxy;
use crate::l2_status::L2Statuses;
use crate::metrics::Metrics;
use crate::netlink;
use crate::peers::{Peers, Start};
use crate::port::{Kernel, privileges};
use crate::pulse::Pulse;
use crate::speaker::{Sources, Speaker, Ways};
use crate::view::View;
use crate::watch;
use crate::wire::Wire;

/// A kubelet brings a changed Secret within two minutes; to look more often costs nothing.
const LOOK_FOR_KEYS: Duration = Duration::from_secs(10);
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
    let mut stop = Stop::listen()?;
    let clock = Clock::start();
    let pulse = Pulse::default();
    let metrics = Arc::new(Metrics::new());
    let readiness = Readiness::waiting_for("the API server");
    let network = Kernel::default();
    let (wire, heard) = Wire::spawn(
        network.clone(),
        args.announce(),
        clock,
        pulse.clone(),
        Arc::clone(&metrics),
    )?;
    let keeper = args.keep_connections().map(|options| {
        let metrics = metrics.keep();
        Keeper::new(options, metrics, clock.now())
    });
    let (peers, notices) = Peers::spawn(Start {
        network,
        me: me.clone(),
        port: args.peers_port(),
        settings: args.settings(),
        wire: wire.clone(),
        clock,
        pulse,
        metrics: Arc::clone(&metrics),
        keeper,
    })?;
    let (tell_gateways, gateways) = latest::channel(Vec::new());
    let ended_netlink = netlink::spawn(peers.clone(), tell_gateways, args.interfaces.clone())?;
    let client = client::connect(args.shared.kubeconfig.as_deref(), args.patience()).await?;
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
    let (steering, steered) = watch::Steering::channel();
    let view = View::new(
        me.clone(),
        args.shared.class(),
        args.shared.source(),
        args.exclude_label,
    )
    .with_cordon(args.cordon);
    let l2_statuses = match args.service_l2_status {
        true => L2Statuses::spawn(client.clone(), namespace, me.clone(), args.pod.as_deref()),
        false => L2Statuses::default(),
    };
    let ways = Ways {
        peers: peers.clone(),
        wire: wire.clone(),
        events,
        conflicts,
        l2_statuses,
        votes: args.votes(&client, namespace),
        metrics: Arc::clone(&metrics),
        readiness: readiness.clone(),
        steering,
        monitored_at,
    };
    let speaker = Speaker::new(me, clock, view, ways);
    let gauges = Arc::clone(&metrics);
    let (pages, questions) = admin::pages(metrics, readiness, args.interfaces.clone());
    let sources = Sources {
        inputs: watch::all(
            &client,
            namespace,
            (&args.shared.config, &args.shared.compiled),
            steered,
        ),
        notices,
        heard,
        questions,
        gateways,
    };
    let mut look = interval(LOOK_FOR_KEYS);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let ended = tokio::select! {
        ended = speaker.run(sources, stop.wait()) => ended,
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
