//! The peers' thread: beats to and from the other speakers, and the links' events. It parses no
//! API objects, so that none of them delays a beat.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use ferrolb_core::liveness::{Liveness, Settings};
use ferrolb_core::wire::MacAddr;
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{debug, info, warn};

use crate::arp::Arp;
use crate::clock::Clock;
use crate::links;
use crate::metrics::Metrics;

/// The port that speakers meet on; the same as `MetalLB`'s, which cannot run beside us anyway.
pub const PORT: u16 = 7946;
/// How long to try again for a port that is taken, e.g. by the predecessor of this process.
pub const PORT_PATIENCE: Duration = Duration::from_secs(10);
const PORT_RETRY: Duration = Duration::from_millis(200);

/// What is known of the speakers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Peers {
    /// Nodes whose speaker answers, this one included; `None` while it still listens.
    pub alive: Option<BTreeSet<String>>,
    /// Hardware addresses of the other nodes, with their names.
    pub macs: BTreeMap<MacAddr, String>,
}

enum Command {
    Nodes(BTreeMap<String, Vec<IpAddr>>),
    Macs(Vec<MacAddr>),
    /// Say goodbye, confirm, end.
    Leave(oneshot::Sender<()>),
}

/// The way to the peers' thread.
#[derive(Debug)]
pub struct PeersThread {
    commands: mpsc::UnboundedSender<Command>,
    /// Changes of what is known.
    pub peers: watch::Receiver<Peers>,
    /// Why the thread ended, if it did.
    pub failed: oneshot::Receiver<anyhow::Error>,
}

impl PeersThread {
    /// Starts the thread for the node `me`. Links go straight to the ARP thread.
    pub fn spawn(
        me: &str,
        boot: u64,
        arp: Arp,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> anyhow::Result<Self> {
        let (commands, received) = mpsc::unbounded_channel();
        let (publish, peers) = watch::channel(Peers::default());
        let (fail, failed) = oneshot::channel();
        let liveness = Liveness::new(me.to_owned(), boot, Settings::default(), clock.now());
        let me = me.to_owned();
        let beats = Beats {
            me,
            liveness,
            socket: None,
            clock,
            metrics,
            publish,
        };
        let links_to_beats = commands.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the peers' runtime")?;
        let run = async move {
            let link_events = links::watch(|links| {
                let macs = links.values().map(|link| link.mac).collect();
                let _ = links_to_beats.send(Command::Macs(macs));
                let names: Vec<_> = links.values().map(|link| &link.name).collect();
                info!(?names, "links");
                arp.set_links(links);
            });
            tokio::select! {
                ended = beats.run(received) => ended,
                ended = link_events => ended,
            }
        };
        thread::Builder::new()
            .name("peers".to_owned())
            .spawn(move || {
                if let Err(error) = runtime.block_on(run) {
                    let _ = fail.send(error);
                }
            })
            .context("cannot start the peers' thread")?;
        Ok(Self {
            commands,
            peers,
            failed,
        })
    }

    /// Every Node of the cluster with its addresses.
    pub fn set_nodes(&self, nodes: BTreeMap<String, Vec<IpAddr>>) {
        let _ = self.commands.send(Command::Nodes(nodes));
    }

    /// Tells the others that this speaker stops.
    pub async fn leave(&self) {
        let (said, wait) = oneshot::channel();
        let _ = self.commands.send(Command::Leave(said));
        let _ = tokio::time::timeout(Duration::from_millis(200), wait).await;
    }
}

struct Beats {
    me: String,
    liveness: Liveness,
    socket: Option<UdpSocket>,
    clock: Clock,
    metrics: Arc<Metrics>,
    publish: watch::Sender<Peers>,
}

impl Beats {
    async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) -> anyhow::Result<()> {
        loop {
            let (deadline, _) = self.liveness.poll_timeout();
            let deadline = self.clock.to_std(deadline).into();
            tokio::select! {
                () = readable(self.socket.as_ref()) => {}
                () = tokio::time::sleep_until(deadline) => {}
                command = commands.recv() => match command {
                    Some(Command::Nodes(nodes)) => self.set_nodes(nodes).await?,
                    Some(Command::Macs(macs)) => self.liveness.set_macs(macs),
                    Some(Command::Leave(said)) => {
                        self.liveness.leave();
                        self.transmit();
                        let _ = said.send(());
                        return Ok(());
                    }
                    None => return Ok(()),
                },
            }
            self.receive();
            self.liveness.handle_timeout(self.clock.now());
            self.transmit();
            self.tell();
        }
    }

    async fn set_nodes(&mut self, nodes: BTreeMap<String, Vec<IpAddr>>) -> anyhow::Result<()> {
        let own = nodes
            .get(&self.me)
            .and_then(|addresses| addresses.first())
            .copied();
        let bound = self
            .socket
            .as_ref()
            .and_then(|socket| socket.local_addr().ok());
        let rebind = match (own, bound) {
            (_, None) => true,
            (Some(own), Some(bound)) => !bound.ip().is_unspecified() && own != bound.ip(),
            (None, Some(_)) => false,
        };
        if rebind {
            self.socket = None;
            self.socket = Some(bind(own).await?);
        }
        self.liveness.set_nodes(nodes, self.clock.now());
        Ok(())
    }

    /// Takes everything that waits in the socket, before any timer is looked at.
    fn receive(&mut self) {
        let Some(socket) = &self.socket else { return };
        let mut buffer = [0; 2_048];
        loop {
            match socket.try_recv_from(&mut buffer) {
                Ok((length, source)) => {
                    let source = source.ip().to_canonical();
                    let datagram = &buffer[..length];
                    let outcome = self
                        .liveness
                        .handle_datagram(source, datagram, self.clock.now());
                    self.metrics.datagram(outcome);
                    if let Err(reason) = outcome {
                        debug!(%source, %reason, "datagram dropped");
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // An earlier datagram met a closed port: that speaker does not run.
                Err(error) => debug!(%error, "datagram not delivered"),
            }
        }
    }

    fn transmit(&mut self) {
        while let Some((to, datagram)) = self.liveness.poll_transmit() {
            let Some(socket) = &self.socket else { continue };
            let mapped = match (socket.local_addr(), to) {
                (Ok(SocketAddr::V6(_)), IpAddr::V4(to)) => IpAddr::V6(to.to_ipv6_mapped()),
                _ => to,
            };
            if let Err(error) = socket.try_send_to(&datagram, SocketAddr::new(mapped, PORT)) {
                debug!(%to, %error, "beat not sent");
            }
        }
    }

    fn tell(&self) {
        let peers = Peers {
            alive: self.liveness.alive(),
            macs: self.liveness.macs(),
        };
        self.publish.send_if_modified(|told| {
            let changed = *told != peers;
            if changed {
                self.metrics
                    .set_peers_alive(peers.alive.as_ref().map_or(0, BTreeSet::len));
                if told.alive != peers.alive {
                    info!(alive = ?peers.alive, "speakers that answer");
                }
                *told = peers;
            }
            changed
        });
    }
}

async fn readable(socket: Option<&UdpSocket>) {
    match socket {
        Some(socket) => {
            // An error is met again, and reported, by the read that follows.
            let _ = socket.readable().await;
        }
        None => std::future::pending().await,
    }
}

/// Binds to this node's own address, so that beats leave with it: the others take them from no other
/// one. Where no interface has it (behind address translation) the kernel chooses.
async fn bind(own: Option<IpAddr>) -> anyhow::Result<UdpSocket> {
    if let Some(own) = own {
        match bind_patiently(SocketAddr::new(own, PORT)).await {
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
                warn!(address = %own, "no interface has this node's own address; beats may leave \
                       with another one, which the other speakers do not take");
            }
            bound => return bound.with_context(|| format!("cannot listen on UDP {own}:{PORT}")),
        }
    }
    let any = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), PORT);
    match bind_patiently(any).await {
        // A kernel without IPv6.
        Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => {
            bind_patiently(SocketAddr::from(([0; 4], PORT))).await
        }
        bound => bound,
    }
    .with_context(|| format!("cannot listen on UDP port {PORT}"))
}

async fn bind_patiently(address: SocketAddr) -> io::Result<UdpSocket> {
    patiently(&format!("UDP {address}"), || UdpSocket::bind(address)).await
}

/// Repeats `bind` as long as somebody else has the port, at most [`PORT_PATIENCE`].
pub async fn patiently<T, F: Future<Output = io::Result<T>>>(
    what: &str,
    bind: impl Fn() -> F,
) -> io::Result<T> {
    let end = tokio::time::Instant::now() + PORT_PATIENCE;
    let mut told = false;
    loop {
        match bind().await {
            Err(error)
                if error.kind() == io::ErrorKind::AddrInUse
                    && tokio::time::Instant::now() < end =>
            {
                if !told {
                    warn!(
                        port = what,
                        "the port is taken, trying again for {PORT_PATIENCE:?}"
                    );
                    told = true;
                }
                tokio::time::sleep(PORT_RETRY).await;
            }
            bound => return bound,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_is_had_as_soon_as_its_holder_lets_it_go() {
        let holder = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = holder.local_addr().unwrap();
        let waiting = tokio::spawn(bind_patiently(address));
        tokio::time::sleep(2 * PORT_RETRY).await;
        assert!(!waiting.is_finished());
        drop(holder);
        assert_eq!(
            waiting.await.unwrap().unwrap().local_addr().unwrap(),
            address
        );
    }

    #[tokio::test]
    async fn any_other_error_is_told_at_once() {
        // TEST-NET-1 (RFC 5737): no interface has it.
        let error = bind_patiently("192.0.2.1:7946".parse().unwrap())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable);
    }
}
