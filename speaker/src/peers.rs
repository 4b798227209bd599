//! The peers' thread: it finds out with the other speakers who announces what, and tells the wire
//! thread at once. It parses no API objects, so that none of them delays a heartbeat.

mod deaths;
mod driver;
mod flood;
mod follow;
mod kept;
mod probe;
mod socket;
mod status;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod twin;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use ferrolb_core::Reason;
use ferrolb_core::announce;
use ferrolb_core::dead;
use ferrolb_core::keep::End;
use ferrolb_core::ownership::{Candidates, Leaving, Settings};
use ferrolb_core::vip::Standing;
use ferrolb_kube::clock::Clock;
use tokio::sync::{mpsc as channel, oneshot};

pub use status::{OnLinks, Seen, Status};

use crate::keep::Keeper;
use crate::links::Interfaces;
use crate::mailbox::{self, Tells, mailbox};
use crate::metrics::Metrics;
use crate::port::{Network, Waker};
use crate::pulse::Pulse;
use crate::wire::Wire;

/// What the cluster says of one Vip that somebody should announce.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// Whether this node may, as far as the API tells; the first reason if not.
    pub may: Result<(), Reason>,
    /// Why any other node should rather do so.
    pub drawback: Option<Reason>,
    /// The nodes that may.
    pub candidates: Candidates,
    /// Names of the links that it may be announced on; empty means any.
    pub interfaces: BTreeSet<String>,
    /// Whether another host had it when a speaker looked last.
    pub in_conflict: bool,
}

/// Of each Vip that somebody should announce. The main thread and this one have the same wishes.
pub type Wishes = BTreeMap<IpAddr, Arc<Wish>>;

impl Wish {
    /// Whether this node may, as far as the API tells.
    pub(crate) const fn standing(&self) -> Standing {
        Standing {
            may: self.may,
            drawback: self.drawback,
        }
    }

    /// The links that it may be announced on, if this node does.
    fn on_links(&self) -> announce::Assignment {
        announce::Assignment {
            interfaces: self.interfaces.clone(),
            in_conflict: self.in_conflict,
            ..announce::Assignment::default()
        }
    }
}

/// What the peers' thread tells. What it has announced, the wire thread tells: one source for each.
#[derive(Debug)]
pub enum FromPeers {
    /// Open connections through an address that this node has taken over are passed on to that node, for so
    /// long at most.
    Kept(IpAddr, String, Duration),
    /// They are no longer, and why.
    KeptNoMore(IpAddr, String, End),
    /// Whether this speaker knows the others, and may announce.
    Joined(bool),
    /// The addresses at which this node is reached, by speakers and by whoever monitors them; none
    /// where it has lost them.
    At(Vec<IpAddr>),
    /// This speaker and one more found a node dead.
    FoundDead(dead::Found),
    /// Such a node is heard again, as this process.
    Alive(String, dead::Process),
    /// Everything is handed over.
    MayExit,
    /// The thread cannot go on.
    Failed(anyhow::Error),
}

enum Command {
    Nodes(BTreeMap<String, Vec<IpAddr>>),
    Wishes(Wishes),
    Interfaces(Interfaces),
    Gateways(Vec<IpAddr>),
    Keys(BTreeMap<String, Vec<u8>>),
    Doubtful(bool),
    Announced(IpAddr),
    Leave(Leaving),
    Status(oneshot::Sender<Status>),
}

impl Tells for Command {
    fn supersedes(&self, earlier: &Self) -> bool {
        match (self, earlier) {
            (Self::Nodes(_), Self::Nodes(_))
            | (Self::Wishes(_), Self::Wishes(_))
            | (Self::Interfaces(_), Self::Interfaces(_))
            | (Self::Gateways(_), Self::Gateways(_))
            | (Self::Keys(_), Self::Keys(_))
            | (Self::Doubtful(_), Self::Doubtful(_)) => true,
            // One for each address, in the pace of the wire thread.
            (Self::Announced(vip), Self::Announced(earlier)) => vip == earlier,
            // A few: a process leaves once, and one question is asked at a time.
            _ => false,
        }
    }
}

/// The way to the peers' thread.
#[derive(Debug, Clone)]
pub struct Peers {
    commands: mailbox::Sender<Command>,
}

/// What the peers' thread needs to begin.
#[derive(Debug)]
pub struct Start<N> {
    /// Where sockets come from.
    pub network: N,
    /// The name of this node.
    pub me: String,
    /// The UDP port of all speakers.
    pub port: u16,
    /// How eagerly a death is found.
    pub settings: Settings,
    /// Where announcements go.
    pub wire: Wire,
    /// The time.
    pub clock: Clock,
    /// That this thread has caught up.
    pub pulse: Pulse,
    /// What it counts.
    pub metrics: Arc<Metrics>,
    /// Whoever keeps connections of addresses that move, if that is asked for.
    pub keeper: Option<Keeper>,
}

impl Peers {
    /// Starts the thread; what it tells comes out of the receiver.
    pub fn spawn<N: Network>(
        start: Start<N>,
    ) -> anyhow::Result<(Self, channel::UnboundedReceiver<FromPeers>)> {
        let (waker, woken) = Waker::new().context("cannot make a socket pair")?;
        let (commands, received) = mailbox(waker);
        // The main thread takes each as it comes; what is told is bounded by what changes.
        let (tell, told) = channel::unbounded_channel();
        thread::Builder::new()
            .name("peers".to_owned())
            .spawn(move || run(start, &received, tell, woken))
            .context("cannot start the peers' thread")?;
        Ok((Self { commands }, told))
    }

    /// Every Node of the cluster with its addresses.
    pub fn set_nodes(&self, nodes: BTreeMap<String, Vec<IpAddr>>) {
        self.send(Command::Nodes(nodes));
    }

    /// All Vips that somebody should announce.
    pub fn set_wishes(&self, wishes: Wishes) {
        self.send(Command::Wishes(wishes));
    }

    /// The links and addresses of this node.
    pub fn set_interfaces(&self, interfaces: Interfaces) {
        self.send(Command::Interfaces(interfaces));
    }

    /// The default gateways of this node.
    pub fn set_gateways(&self, gateways: Vec<IpAddr>) {
        self.send(Command::Gateways(gateways));
    }

    /// The keys that are mounted now.
    pub fn set_keys(&self, keys: BTreeMap<String, Vec<u8>>) {
        self.send(Command::Keys(keys));
    }

    /// Whether this node's forwarding is in doubt.
    pub fn set_doubtful(&self, doubtful: bool) {
        self.send(Command::Doubtful(doubtful));
    }

    /// No other host has this Vip, and it is announced.
    pub fn set_announced(&self, vip: IpAddr) {
        self.send(Command::Announced(vip));
    }

    /// Tells the others that this speaker stops; [`FromPeers::MayExit`] follows.
    pub fn leave(&self, why: Leaving) {
        self.send(Command::Leave(why));
    }

    /// Who is there and who announces what; `None` if the thread has ended.
    pub async fn status(&self) -> Option<Status> {
        let (answer, answered) = oneshot::channel();
        self.send(Command::Status(answer));
        answered.await.ok()
    }

    fn send(&self, command: Command) {
        // A thread that has ended has told why.
        self.commands.send(command);
    }
}

fn run<N: Network>(
    start: Start<N>,
    commands: &mailbox::Receiver<Command>,
    tell: channel::UnboundedSender<FromPeers>,
    woken: UnixDatagram,
) {
    let mut driver = driver::Driver::new(start, boot_id(), tell.clone(), woken);
    if let Err(error) = driver.run(commands) {
        let _ = tell.send(FromPeers::Failed(error));
    }
}

/// Greater than that of any process before this one on the node.
fn boot_id() -> u64 {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since_epoch.as_micros()).unwrap_or_default()
}
