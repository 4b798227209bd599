//! The daemons' monitoring port: `/metrics`, `/healthz` and `/readyz` for whoever reaches it, and for
//! this host alone what a daemon adds (`/status`, `/who`). Read-only, plain HTTP/1.
//!
//! Whoever reaches a node reaches this port, so all of it is bounded, whatever the other end does:
//!
//! ```text
//! connections     64 of strangers, at most 8 of one source, and 256 of the node itself (kubelet's probes);
//!                 32 of each kind that have begun to speak. One more takes the place of the oldest idle
//!                 one of whoever has most: slots.rs
//! a connection    one request, its head within 5 s and 8 KiB; over after 15 s, with a reset: connection.rs
//! in the kernel   16 KiB to receive, 32 to send: what a client does not read is not buffered beyond
//! /metrics        one text for all readers, made at most once a second: rendering.rs
//! /status, /who   three at a time: pages.rs
//! ```
//!
//! That is at most 64 × (16 KiB read + 16 KiB to write + about 8 KiB of state) and 256 × 2 KiB of those
//! that are silent, 3 MiB; and about as much in the kernel, where all of them send and read nothing.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{oneshot, watch};
use tracing::{debug, warn};

use crate::port::patiently;

mod connection;
mod node;
mod pages;
mod rendering;
mod slots;

pub use node::probes_come_from;
pub use pages::{Answer, LocalPages, Pages, Readiness};
pub use rendering::Rendering;
use slots::{Slots, Source};

/// Connections that the kernel completes while this process does something else. Far more than are
/// kept, since a burst of them must not make it drop a probe's: that would be sent again only after a
/// second. The kernel cuts it down to `net.core.somaxconn`.
const BACKLOG: u32 = 4_096;
/// Bytes that the kernel buffers for a connection, each way. It doubles them, for its own structures.
const RECEIVE_BUFFER: u32 = 8 * 1024;
const SEND_BUFFER: u32 = 16 * 1024;
/// Connections that are given up without a look at the others: fewer than there are places, so that
/// whoever has asked is answered. Most of a flood's are gone before they have cost anything.
const AT_ONCE: usize = 32;
/// Without file descriptors or memory `accept` fails at once, again and again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// A new address of the node is there within moments.
const LISTEN_AGAIN: Duration = Duration::from_millis(500);

/// Who may have a connection; dropping the sender takes it away.
type Kept = Slots<oneshot::Sender<()>>;

/// The sockets that a daemon is monitored on.
#[derive(Debug)]
pub struct Server {
    listeners: Vec<TcpListener>,
    /// The address that the first one is at, if it is another one than the loopback's.
    host: Option<IpAddr>,
    port: u16,
    /// Addresses of the node, beside those that this process has itself.
    node: Vec<IpAddr>,
    slots: Arc<Mutex<Kept>>,
}

impl Server {
    /// Listens on `host` and on the loopback interface, without `host` on every address. A `host` that no
    /// interface has (the node got another address since) is waited for while it serves. Who comes
    /// from one of `node`'s addresses counts as this node itself, as whoever has an address of this
    /// host does: a kubelet's probes come from there.
    ///
    /// # Errors
    /// The port is still in use after ten seconds, or cannot be bound at all.
    pub async fn bind(host: Option<IpAddr>, port: u16, node: Vec<IpAddr>) -> anyhow::Result<Self> {
        let mut listeners = Vec::new();
        let mut moves = None;
        match host {
            None => listeners.push(match listen(Ipv6Addr::UNSPECIFIED.into(), port).await {
                Ok(listener) => listener,
                // A kernel without IPv6.
                Err(_) => listen(Ipv4Addr::UNSPECIFIED.into(), port).await?,
            }),
            Some(host) if host.is_loopback() || host.is_unspecified() => {
                listeners.push(listen(host, port).await?);
            }
            Some(host) => {
                match listen(host, port).await {
                    Ok(listener) => listeners.push(listener),
                    Err(error) if is_not_available(&error) => {
                        warn!(%host, "no interface has the monitoring address yet");
                    }
                    Err(error) => return Err(error),
                }
                moves = Some(host);
                listeners.push(listen(Ipv4Addr::LOCALHOST.into(), port).await?);
            }
        }
        Ok(Self {
            listeners,
            host: moves,
            port,
            node: node.iter().map(IpAddr::to_canonical).collect(),
            slots: Arc::default(),
        })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The kernel's.
    pub fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        self.listeners.iter().map(TcpListener::local_addr).collect()
    }

    /// Serves for ever.
    pub async fn serve<P: LocalPages>(self, pages: Pages<P>) {
        let (_host_stays, at) = watch::channel(None);
        self.serve_at(pages, at).await;
    }

    /// The same; but if its `host` is neither a loopback address nor all, at the one that `at` has.
    pub async fn serve_at<P: LocalPages>(
        self,
        pages: Pages<P>,
        at: watch::Receiver<Option<IpAddr>>,
    ) {
        let pages = Arc::new(pages);
        let mut accepting = tokio::task::JoinSet::new();
        let mut moving = self.host.map(|host| (host, None));
        for listener in self.listeners {
            let there = listener.local_addr().map(|address| address.ip()).ok();
            match &mut moving {
                Some((host, listening)) if there == Some(*host) => *listening = Some(listener),
                _ => drop(
                    accepting.spawn(accept(listener, Host::new(&self.node, &self.slots, &pages))),
                ),
            }
        }
        if let Some((host, listening)) = moving {
            let make = move || Host::new(&self.node, &self.slots, &pages);
            accepting.spawn(accept_at(host, self.port, listening, at, make));
        }
        accepting.join_all().await;
    }
}

/// Accepts at `host`, or wherever `at` says since.
async fn accept_at<P: LocalPages>(
    mut host: IpAddr,
    port: u16,
    mut listening: Option<TcpListener>,
    mut at: watch::Receiver<Option<IpAddr>>,
    make: impl Fn() -> Host<P>,
) {
    loop {
        let current = host;
        let serving = async {
            let mut is_told = false;
            let listener = loop {
                if let Some(listener) = listening.take() {
                    break listener;
                }
                match listen_at(SocketAddr::new(current, port)) {
                    Ok(listener) => break listener,
                    Err(error) if is_told => {
                        debug!(%current, %error, "still cannot listen on the monitoring address")
                    }
                    Err(error) => {
                        warn!(%current, %error, "cannot listen on the monitoring address, trying again")
                    }
                }
                is_told = true;
                tokio::time::sleep(LISTEN_AGAIN).await;
            };
            accept(listener, make()).await;
        };
        tokio::select! {
            () = serving => return,
            Ok(now) = at.wait_for(|now| now.is_some_and(|now| now != current)) => {
                host = now.unwrap_or(current);
            }
        }
    }
}

fn is_not_available(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == ErrorKind::AddrNotAvailable)
}

/// Whoever takes the connections in.
struct Host<P> {
    node: Vec<IpAddr>,
    slots: Arc<Mutex<Kept>>,
    pages: Arc<Pages<P>>,
}

async fn accept<P: LocalPages>(listener: TcpListener, host: Host<P>) {
    let mut is_told = false;
    let mut given_up = 0;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                is_told = false;
                given_up += usize::from(host.take_in(stream, peer.ip()));
                if given_up >= AT_ONCE {
                    // Those that were given up go before others come, and whoever has asked already
                    // gets an answer.
                    given_up = 0;
                    tokio::task::yield_now().await;
                }
            }
            Err(error) if is_of_one_connection(&error) => debug!(%error, "connection not accepted"),
            Err(error) => {
                if !std::mem::replace(&mut is_told, true) {
                    warn!(%error, "cannot accept connections to the monitoring port, trying again");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

impl<P: LocalPages> Host<P> {
    fn new(node: &[IpAddr], slots: &Arc<Mutex<Kept>>, pages: &Arc<Pages<P>>) -> Self {
        Self {
            node: node.to_vec(),
            slots: Arc::clone(slots),
            pages: Arc::clone(pages),
        }
    }

    /// Whether another connection had to go for it.
    fn take_in(&self, stream: TcpStream, peer: IpAddr) -> bool {
        // Closed again already, or it will be reset however it ends: nothing of it stays behind.
        let (Ok(here), Ok(())) = (stream.local_addr(), stream.set_zero_linger()) else {
            return false;
        };
        let source = Source::of(peer, here.ip(), &self.node);
        let (given_up, evicted) = oneshot::channel();
        let (id, displaced) = lock(&self.slots).admit(source, given_up);
        let slot = Slot {
            id,
            slots: Arc::clone(&self.slots),
        };
        let pages = Arc::clone(&self.pages);
        let is_local = peer.to_canonical().is_loopback();
        tokio::spawn(async move {
            tokio::select! {
                () = connection::serve(stream, is_local, &pages, &slot) => {}
                // The sender is never used, only dropped.
                _ = evicted => debug!(%peer, "monitoring connection closed to make room for another"),
            }
        });
        displaced.is_some()
    }
}

/// A place among the connections, until it is dropped.
#[derive(Debug)]
struct Slot {
    id: u64,
    slots: Arc<Mutex<Kept>>,
}

impl Slot {
    /// Something has come: from now on there are buffers for it.
    fn speaks(&self) {
        drop(lock(&self.slots).speaks(self.id));
    }

    /// A whole request has come.
    fn asked(&self) {
        lock(&self.slots).asked(self.id);
    }

    /// The answer is with the kernel.
    fn answered(&self) {
        lock(&self.slots).answered(self.id);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        lock(&self.slots).leave(self.id);
    }
}

/// A panic elsewhere is no reason to serve nobody.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn listen(host: IpAddr, port: u16) -> anyhow::Result<TcpListener> {
    let address = SocketAddr::new(host, port);
    let bind = || std::future::ready(listen_at(address));
    patiently(&format!("TCP {address}"), bind)
        .await
        .with_context(|| {
            format!("cannot listen on TCP {address}: free it or choose another --port")
        })
}

fn listen_at(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // A predecessor's last connections may still be in the kernel.
    socket.set_reuseaddr(true)?;
    // Connections inherit both.
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Whether the error belongs to the connection that was about to be accepted; accept(2) tells those of
/// the network, too.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::NetworkDown
            | ErrorKind::Interrupted
    )
}
