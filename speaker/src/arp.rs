//! The ARP thread: packet sockets on one side, the announcer on the other. Nothing else runs on it,
//! so that a large list page of the API delays no answer.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use ferrolb_core::address::Family;
use ferrolb_core::announce::{Announcer, ClusterNodes, Link, LinkId, Outcome, Settings, Wanted};
use ferrolb_core::{Instant, Reason};
use tracing::{info, trace, warn};

use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::port::{MAX_FRAME, PacketSocket, Waker, wait};

/// Frames that are read from one link before the others have their turn.
const TURN: usize = 64;
/// After which time a link that could not be opened is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// What other threads tell this one.
enum Command {
    Wanted(BTreeMap<IpAddr, Wanted>),
    Links(BTreeMap<LinkId, Link>),
    ClusterNodes(ClusterNodes),
    AnnounceAgain,
    /// Be silent and end; the sender waits until the other end is dropped.
    Stop(mpsc::Sender<()>),
}

/// The way to the ARP thread.
#[derive(Debug, Clone)]
pub struct Arp {
    commands: mpsc::Sender<Command>,
    waker: Arc<Waker>,
}

impl Arp {
    /// Starts the thread.
    pub fn spawn(settings: Settings, clock: Clock, metrics: Arc<Metrics>) -> anyhow::Result<Self> {
        let (waker, woken) = Waker::new().context("cannot make a socket pair")?;
        let (commands, received) = mpsc::channel();
        let driver = Driver {
            announcer: Announcer::new(settings),
            links: BTreeMap::new(),
            sockets: BTreeMap::new(),
            retry_at: None,
            without_link: BTreeSet::new(),
            clock,
            metrics,
            woken,
        };
        thread::Builder::new()
            .name("arp".to_owned())
            .spawn(move || driver.run(&received))
            .context("cannot start the ARP thread")?;
        Ok(Self {
            commands,
            waker: Arc::new(waker),
        })
    }

    /// The Vips to announce from now on.
    pub fn set_wanted(&self, wanted: BTreeMap<IpAddr, Wanted>) {
        self.send(Command::Wanted(wanted));
    }

    /// The links of this node.
    pub fn set_links(&self, links: BTreeMap<LinkId, Link>) {
        self.send(Command::Links(links));
    }

    /// The stations that are never answered.
    pub fn set_cluster_nodes(&self, nodes: ClusterNodes) {
        self.send(Command::ClusterNodes(nodes));
    }

    /// One more round for every Vip.
    pub fn announce_again(&self) {
        self.send(Command::AnnounceAgain);
    }

    /// Returns when the thread has fallen silent.
    pub fn stop(&self) {
        let (silent, wait_for_silence) = mpsc::channel();
        self.send(Command::Stop(silent));
        let _ = wait_for_silence.recv_timeout(Duration::from_millis(500));
    }

    fn send(&self, command: Command) {
        // The thread ends only when it was told to: then nobody cares for its commands.
        let _ = self.commands.send(command);
        self.waker.wake();
    }
}

/// The thread's state, all of it.
struct Driver {
    announcer: Announcer,
    links: BTreeMap<LinkId, Link>,
    sockets: BTreeMap<LinkId, PacketSocket>,
    retry_at: Option<Instant>,
    /// Wanted Vips that no link carries, as last told.
    without_link: BTreeSet<IpAddr>,
    clock: Clock,
    metrics: Arc<Metrics>,
    woken: UnixDatagram,
}

impl Driver {
    fn run(mut self, commands: &mpsc::Receiver<Command>) {
        loop {
            for command in commands.try_iter() {
                if let Command::Stop(_silent) = command {
                    return;
                }
                self.obey(command);
            }
            let now = self.clock.now();
            if self.retry_at.is_some_and(|at| at <= now) {
                self.open_sockets(now);
            }
            self.announcer.handle_timeout(now);
            self.transmit();
            let readable = self.wait();
            for link in readable {
                self.receive(link);
            }
            self.transmit();
        }
    }

    fn obey(&mut self, command: Command) {
        let now = self.clock.now();
        match command {
            Command::Wanted(wanted) => self.announcer.set_wanted(wanted, now),
            Command::Links(links) => {
                // A socket's filter holds the link's hardware address.
                let same = |id: &LinkId| {
                    self.links.get(id).map(|link| link.mac) == links.get(id).map(|link| link.mac)
                };
                self.sockets.retain(|id, _| same(id));
                self.links.clone_from(&links);
                self.open_sockets(now);
                self.announcer.set_links(links, now);
            }
            Command::ClusterNodes(nodes) => self.announcer.set_cluster_nodes(nodes, now),
            Command::AnnounceAgain => self.announcer.announce_again(now),
            Command::Stop(_) => {}
        }
        self.tell_without_link();
    }

    /// A Vip that this node owns and cannot announce answers nobody: that must not be silent.
    fn tell_without_link(&mut self) {
        let without: BTreeSet<_> = self.announcer.carried_by_no_link().collect();
        for vip in without.difference(&self.without_link) {
            warn!(%vip, reason = %Reason::NoLink, "no link with carrier may announce the address");
        }
        self.without_link = without;
    }

    /// Opens the sockets that are missing. A link that fails stops no other one.
    fn open_sockets(&mut self, now: Instant) {
        self.retry_at = None;
        for (id, link) in &self.links {
            if self.sockets.contains_key(id) {
                continue;
            }
            match PacketSocket::open(*id, link.mac) {
                Ok(socket) => {
                    info!(link = link.name, mac = %link.mac, "link opened");
                    self.sockets.insert(*id, socket);
                }
                Err(error) => {
                    warn!(link = link.name, %error, "cannot open a packet socket on the link");
                    self.retry_at = Some(now + RETRY);
                }
            }
        }
    }

    /// Waits for a frame, a command or a deadline; the links with frames.
    fn wait(&self) -> Vec<LinkId> {
        let deadlines = [
            self.announcer.poll_timeout().map(|(at, _)| at),
            self.retry_at,
        ];
        let now = self.clock.now();
        let timeout = deadlines
            .into_iter()
            .flatten()
            .min()
            .map(|at| at.saturating_since(now));
        let files: Vec<_> = std::iter::once(self.woken.as_fd())
            .chain(self.sockets.values().map(AsFd::as_fd))
            .collect();
        let ready = match wait(&files, timeout) {
            Ok(ready) => ready,
            Err(error) => {
                // ENOMEM at most: there is nothing better than to try again.
                warn!(%error, "cannot wait for frames");
                vec![false; files.len()]
            }
        };
        if ready.first() == Some(&true) {
            let mut byte = [0];
            while self.woken.recv(&mut byte).is_ok() {}
        }
        let links = self.sockets.keys().zip(ready.iter().skip(1));
        links
            .filter(|(_, ready)| **ready)
            .map(|(id, _)| *id)
            .collect()
    }

    fn receive(&mut self, id: LinkId) {
        let Some(socket) = self.sockets.get(&id) else {
            return;
        };
        let name = self.links.get(&id).map_or("", |link| link.name.as_str());
        let mut buffer = [0; MAX_FRAME];
        for _ in 0..TURN {
            let length = match socket.receive(&mut buffer) {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    // ENETDOWN: the link's next event tells what has become of it.
                    trace!(link = name, %error, "cannot receive");
                    return;
                }
            };
            let frame = &buffer[..length];
            let outcome = self.announcer.handle_frame(id, frame, self.clock.now());
            trace!(link = name, ?frame, ?outcome, "frame received");
            self.metrics.frame_received(name, Family::V4, outcome);
            if matches!(outcome, Outcome::Answered(_)) {
                // Sent at once: who asks is waiting.
                while let Some(transmit) = self.announcer.poll_transmit() {
                    send(&self.sockets, &self.links, &self.metrics, &transmit);
                }
            }
        }
    }

    fn transmit(&mut self) {
        while let Some(transmit) = self.announcer.poll_transmit() {
            send(&self.sockets, &self.links, &self.metrics, &transmit);
        }
    }
}

fn send(
    sockets: &BTreeMap<LinkId, PacketSocket>,
    links: &BTreeMap<LinkId, Link>,
    metrics: &Metrics,
    transmit: &ferrolb_core::announce::Transmit,
) {
    let name = links
        .get(&transmit.link)
        .map_or("", |link| link.name.as_str());
    let Some(socket) = sockets.get(&transmit.link) else {
        metrics.frame_sent(name, transmit.kind, transmit.vip, false);
        return;
    };
    let sent = socket.send(transmit.frame.as_bytes());
    if let Err(error) = &sent {
        // Also counted; a full queue of the link or a link that just went down.
        trace!(link = name, vip = %transmit.vip, %error, "cannot send");
    }
    trace!(link = name, vip = %transmit.vip, kind = ?transmit.kind, frame = ?transmit.frame, "frame sent");
    metrics.frame_sent(name, transmit.kind, transmit.vip, sent.is_ok());
}
