//! The wire thread: packet sockets on one side, the announcer on the other. Nothing else runs
//! on it, so that a large list page of the API delays no answer.

use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};
use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, mpsc};
use std::task::Poll as Turn;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use ferrolb_core::address::Family;
use ferrolb_core::announce::{
    Announcer, Assignment, ClusterNodes, Event, Link, LinkId, Progress, Settings, Transmit,
};
use ferrolb_core::wire::ndp;
use ferrolb_core::{Instant, Reason};
use ferrolb_kube::clock::Clock;
use tokio::sync::{mpsc as events, oneshot};
use tracing::{debug, info, trace, warn};

use crate::mailbox::{self, Tells, mailbox};
use crate::metrics::Metrics;
use crate::port::{Frames, Groups, MAX_FRAME, Network, Poll, Waker, prefer_soon_to_long};
use crate::pulse::Pulse;

/// Frames that are read from one link before the others have their turn.
const TURN: usize = 64;
/// After which time a socket that could not be opened or a group that could not be joined is tried
/// again.
const RETRY: Duration = Duration::from_secs(1);
/// Between two looks whether the peers' thread has caught up after a stop.
const CATCH_UP: Duration = Duration::from_millis(1);

/// What this thread tells: what is announced, and of other hosts.
#[derive(Debug)]
pub struct Heard {
    /// What it is.
    pub event: Event,
    /// The name of the link that it was heard on; empty if it is about all.
    pub link: Arc<str>,
}

/// What other threads tell this one.
enum Command {
    Wanted(Wanted),
    Links(BTreeMap<LinkId, Link>),
    ClusterNodes(ClusterNodes),
    AnnounceAgain,
    Progress(oneshot::Sender<BTreeMap<IpAddr, Progress>>),
    /// Be silent and end; the sender waits until the other end is dropped.
    Stop(mpsc::Sender<()>),
}

/// The Vips to announce.
struct Wanted {
    all: BTreeMap<IpAddr, Assignment>,
    /// Those that meanwhile were not to be announced: another node may have had them, and they are announced
    /// as new ones.
    afresh: BTreeSet<IpAddr>,
}

impl Wanted {
    /// Takes the place of an earlier one that was not followed.
    fn after(mut self, earlier: Self) -> Self {
        let is_new = |vip: &&IpAddr| !earlier.all.contains_key(*vip);
        let new: Vec<_> = self.all.keys().filter(is_new).copied().collect();
        self.afresh.extend(earlier.afresh);
        self.afresh.extend(new);
        self.afresh.retain(|vip| self.all.contains_key(vip));
        self
    }
}

impl Tells for Command {
    fn supersedes(&self, earlier: &Self) -> bool {
        matches!(
            (self, earlier),
            (Self::Wanted(_), Self::Wanted(_))
                | (Self::Links(_), Self::Links(_))
                | (Self::ClusterNodes(_), Self::ClusterNodes(_))
                | (Self::AnnounceAgain, Self::AnnounceAgain)
        )
    }

    fn after(self, earlier: Self) -> Self {
        match (self, earlier) {
            (Self::Wanted(now), Self::Wanted(before)) => Self::Wanted(now.after(before)),
            (now, _) => now,
        }
    }
}

/// The way to the wire thread.
#[derive(Debug, Clone)]
pub struct Wire {
    commands: mailbox::Sender<Command>,
}

impl Wire {
    /// Starts the thread. What it tells comes out of the receiver: for each Vip in the order in which it
    /// happened, and no more than one conflict of a Vip on a link in ten seconds, whatever the LAN sends.
    pub fn spawn(
        network: impl Network,
        settings: Settings,
        clock: Clock,
        pulse: Pulse,
        metrics: Arc<Metrics>,
    ) -> anyhow::Result<(Self, events::UnboundedReceiver<Heard>)> {
        let (waker, woken) = Waker::new().context("cannot make a socket pair")?;
        let (commands, received) = mailbox(waker);
        // The main thread takes each as it comes; frames of others cause at most one for each Vip and link in
        // the pace of the announcer.
        let (events, heard) = events::unbounded_channel();
        let driver = Driver {
            network,
            announcer: Announcer::new(settings),
            links: BTreeMap::new(),
            sockets: BTreeMap::new(),
            groups: Groups::default(),
            joining: false,
            groups_joined: true,
            retry_at: None,
            poll: Poll::default(),
            without_link: BTreeSet::new(),
            without_subnet: BTreeSet::new(),
            events,
            clock,
            pulse,
            metrics,
            woken,
        };
        thread::Builder::new()
            .name("wire".to_owned())
            .spawn(move || driver.run(&received))
            .context("cannot start the wire thread")?;
        Ok((Self { commands }, heard))
    }

    /// The Vips to announce from now on.
    pub fn set_wanted(&self, wanted: BTreeMap<IpAddr, Assignment>) {
        let wanted = Wanted {
            all: wanted,
            afresh: BTreeSet::new(),
        };
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

    /// What has become of each Vip that this node is to announce; of none if the thread has ended. What
    /// was ordered before is part of it.
    pub async fn progress(&self) -> BTreeMap<IpAddr, Progress> {
        let (answer, answered) = oneshot::channel();
        self.send(Command::Progress(answer));
        answered.await.unwrap_or_default()
    }

    /// Returns when the thread has fallen silent.
    pub fn stop(&self) {
        let (silent, wait_for_silence) = mpsc::channel();
        self.send(Command::Stop(silent));
        let _ = wait_for_silence.recv_timeout(Duration::from_millis(500));
    }

    fn send(&self, command: Command) {
        // The thread ends only when it was told to: then nobody cares for its commands.
        self.commands.send(command);
    }
}

/// One socket of each link and family.
type Sockets<N> = BTreeMap<(LinkId, Family), <N as Network>::Frames>;

/// The thread's state, all of it.
struct Driver<N: Network> {
    network: N,
    announcer: Announcer,
    links: BTreeMap<LinkId, Link>,
    /// Each is opened when a Vip first needs it: the filter of IPv6's looks at every packet.
    sockets: Sockets<N>,
    groups: Groups,
    /// Whether there may be groups to join yet.
    joining: bool,
    /// Whether all groups could be joined when it was last tried.
    groups_joined: bool,
    retry_at: Option<Instant>,
    poll: Poll,
    /// Assignment Vips that no link carries, as last told.
    without_link: BTreeSet<IpAddr>,
    /// Assignment Vips on no link's subnet, as last told.
    without_subnet: BTreeSet<IpAddr>,
    events: events::UnboundedSender<Heard>,
    clock: Clock,
    pulse: Pulse,
    metrics: Arc<Metrics>,
    woken: UnixDatagram,
}

impl<N: Network> Driver<N> {
    fn run(mut self, commands: &mailbox::Receiver<Command>) {
        if let Err(error) = prefer_soon_to_long() {
            debug!(%error, "cannot request short scheduler slices");
        }
        let mut readable = Vec::new();
        while let Some(commands) = commands.take() {
            let mut changed = false;
            for command in commands {
                match command {
                    Command::Stop(_silent) => return,
                    Command::Progress(answer) => {
                        let progress = self.announcer.progress().collect();
                        drop(answer.send(progress));
                    }
                    command => {
                        self.obey(command);
                        changed = true;
                    }
                }
            }
            let now = self.clock.now();
            if changed || self.retry_at.is_some_and(|at| at <= now) {
                self.listen(now);
                self.tell_what_is_odd();
            }
            let has_stopped = self.pulse.has_stopped(now);
            if !has_stopped {
                self.announcer.handle_timeout(now);
                self.transmit();
            }
            self.tell_events();
            if self.joining {
                self.join(now);
            }
            let pause = has_stopped.then_some(CATCH_UP);
            let pause = pause.or(self.joining.then_some(Duration::ZERO));
            self.wait(&mut readable, pause);
            for (link, family) in readable.drain(..) {
                self.receive(link, family);
            }
        }
    }

    fn obey(&mut self, command: Command) {
        let now = self.clock.now();
        match command {
            Command::Wanted(Wanted { all, afresh }) => {
                if !afresh.is_empty() {
                    let mut others = all.clone();
                    others.retain(|vip, _| !afresh.contains(vip));
                    self.announcer.set_wanted(others, now);
                }
                self.announcer.set_wanted(all, now);
            }
            Command::Links(links) => {
                // A socket's filter holds the link's hardware address.
                let mac = |links: &BTreeMap<LinkId, Link>, id| links.get(&id).map(|link| link.mac);
                let same = |id| mac(&self.links, id) == mac(&links, id);
                self.sockets.retain(|(id, _), _| same(*id));
                self.groups.forget(|id| !same(id));
                self.links.clone_from(&links);
                self.announcer.set_links(links, now);
            }
            Command::ClusterNodes(nodes) => self.announcer.set_cluster_nodes(nodes, now),
            Command::AnnounceAgain => self.announcer.announce_again(now),
            Command::Progress(_) | Command::Stop(_) => {}
        }
    }

    /// Makes sockets, filters and groups what the announcer has to hear. What fails on one link stops
    /// no other one, and is tried again.
    fn listen(&mut self, now: Instant) {
        self.retry_at = None;
        let mut groups = BTreeSet::new();
        for (id, link) in &self.links {
            let heard: Vec<_> = self.announcer.heard_on(*id).collect();
            groups.extend(heard.iter().filter_map(|vip| match vip {
                IpAddr::V4(_) => None,
                IpAddr::V6(vip) => Some((ndp::solicited_node(*vip), *id)),
            }));
            for family in [Family::V4, Family::V6] {
                let heard = heard.iter().copied();
                let mut heard = heard.filter(|vip| Family::of(*vip) == family).peekable();
                if heard.peek().is_none() && !self.sockets.contains_key(&(*id, family)) {
                    continue;
                }
                let sockets = &mut self.sockets;
                if let Err(error) = hear(&self.network, sockets, *id, link, family, heard) {
                    warn!(link = &*link.name, ?family, %error, "cannot listen on the link");
                    self.sockets.remove(&(*id, family));
                    self.retry_at = Some(now + RETRY);
                }
            }
        }
        self.groups.set(&groups);
        self.joining = true;
    }

    /// Joins some of the groups that are missing.
    fn join(&mut self, now: Instant) {
        let Turn::Ready(joined) = self.groups.join() else {
            return;
        };
        self.joining = false;
        if let Err(error) = &joined {
            if self.groups_joined {
                warn!(%error, "cannot join an address's multicast group: a switch with MLD snooping may \
                       not forward its neighbour solicitations");
            }
            self.retry_at = Some(now + RETRY);
        }
        self.groups_joined = joined.is_ok();
    }

    /// A Vip that this node owns and cannot announce answers nobody, and one on no subnet of ours
    /// most likely nobody either: that must not be silent.
    fn tell_what_is_odd(&mut self) {
        let without: BTreeSet<_> = self.announcer.carried_by_no_link().collect();
        for vip in without.difference(&self.without_link) {
            warn!(%vip, reason = %Reason::NoLink, "no link that may announce the address has carrier");
        }
        self.without_link = without;
        let without: BTreeSet<_> = self.announcer.on_no_subnet().collect();
        for vip in without.difference(&self.without_subnet) {
            warn!(%vip, reason = %Reason::NoLinkOnSubnet, "no link of this node is on the address's \
                   subnet: it is announced on every link, and only hosts that treat it as on-link \
                   can reach it");
        }
        self.without_subnet = without;
    }

    fn tell_events(&mut self) {
        while let Some(event) = self.announcer.poll_event() {
            let link = event.link().and_then(|link| self.links.get(&link));
            let link = link.map(|link| Arc::clone(&link.name)).unwrap_or_default();
            // Nobody listens any more only when the process ends.
            let _ = self.events.send(Heard { event, link });
        }
    }

    /// Waits for a frame, a command or a deadline; adds the sockets with frames to `readable`.
    /// With `instead`, for so long, whatever the deadlines are.
    fn wait(&mut self, readable: &mut Vec<(LinkId, Family)>, instead: Option<Duration>) {
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
        let timeout = instead.or(timeout);
        let files = std::iter::once(self.woken.as_fd());
        let files = files.chain(self.sockets.values().map(AsFd::as_fd));
        match self.poll.wait(files, timeout) {
            Ok(mut ready) => {
                if ready.next() == Some(true) {
                    let mut byte = [0];
                    while self.woken.recv(&mut byte).is_ok() {}
                }
                let sockets = self.sockets.keys().zip(ready);
                readable.extend(sockets.filter(|(_, ready)| *ready).map(|(key, _)| *key));
            }
            // ENOMEM at most: there is nothing better than to try again.
            Err(error) => warn!(%error, "cannot wait for frames"),
        }
    }

    fn receive(&mut self, id: LinkId, family: Family) {
        let Some(socket) = self.sockets.get(&(id, family)) else {
            return;
        };
        let Some(name) = self.links.get(&id).map(|link| &link.name) else {
            return;
        };
        let mut buffer = [0; MAX_FRAME];
        for _ in 0..TURN {
            let length = match socket.receive(&mut buffer) {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    // ENETDOWN: the link's next event tells what has become of it.
                    trace!(link = &**name, %error, "cannot receive");
                    return;
                }
            };
            if self.pulse.has_stopped(self.clock.now()) {
                // L12: it may have been asked long ago, and another node's since.
                continue;
            }
            let frame = &buffer[..length];
            let outcome = self.announcer.handle_frame(id, frame, self.clock.now());
            // Sent at once: who asks is waiting.
            while let Some(transmit) = self.announcer.poll_transmit() {
                send::<N>(&self.sockets, &self.links, &self.metrics, &transmit);
            }
            trace!(link = &**name, ?frame, ?outcome, "frame received");
            self.metrics.frame_received(name, family, outcome);
        }
    }

    fn transmit(&mut self) {
        while let Some(transmit) = self.announcer.poll_transmit() {
            send::<N>(&self.sockets, &self.links, &self.metrics, &transmit);
        }
    }
}

/// Has the socket of a link hear what concerns these Vips.
fn hear<N: Network>(
    network: &N,
    sockets: &mut Sockets<N>,
    id: LinkId,
    link: &Link,
    family: Family,
    vips: impl Iterator<Item = IpAddr>,
) -> io::Result<()> {
    let socket = match sockets.entry((id, family)) {
        Entry::Occupied(open) => open.into_mut(),
        Entry::Vacant(closed) => {
            let socket = network.frames(id, link.mac, family)?;
            info!(link = &*link.name, mac = %link.mac, ?family, "link opened");
            closed.insert(socket)
        }
    };
    socket.listen(vips)
}

fn send<N: Network>(
    sockets: &Sockets<N>,
    links: &BTreeMap<LinkId, Link>,
    metrics: &Metrics,
    transmit: &Transmit,
) {
    let Transmit {
        link,
        vip,
        kind,
        frame,
    } = transmit;
    let Some(name) = links.get(link).map(|link| &link.name) else {
        return;
    };
    let Some(socket) = sockets.get(&(*link, Family::of(*vip))) else {
        metrics.frame_sent(name, *kind, *vip, false);
        return;
    };
    let sent = socket.send(frame.as_bytes());
    if let Err(error) = &sent {
        // Also counted; a full queue of the link or a link that just went down.
        trace!(link = &**name, %vip, %error, "cannot send");
    }
    trace!(link = &**name, %vip, ?kind, ?frame, "frame sent");
    metrics.frame_sent(name, *kind, *vip, sent.is_ok());
}

#[cfg(test)]
mod tests;
