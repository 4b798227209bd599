//! The speaker's side of `keepConnections`: what it asks of the keeper, another container of its pod. It
//! lives in the peers' thread, and only if the option is given.

mod link;
mod metrics;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use ferrolb_core::Instant;
use ferrolb_core::announce::{Link as NetworkLink, LinkId};
use ferrolb_core::keep::words::{Answer, Question, VERSION};
use ferrolb_core::keep::{Ended, Entry, Giver, Keep, Kept, LONGEST, Order, Station, station_for};
use ferrolb_core::ownership::{KernelAnswer, NodeId, Standing};
use ferrolb_core::wire::MacAddr;
use tracing::{debug, info, warn};

pub use metrics::KeepMetrics;

use link::Link;

/// Whoever takes an address over waits so long for the keeper, and then announces without it: a beat's time.
const PATIENCE: Duration = Duration::from_millis(50);
/// Between two tries to reach the keeper.
const RETRY: Duration = Duration::from_secs(1);
/// Between two looks at how much it has passed on.
const COUNT: Duration = Duration::from_secs(5);
/// What a keeper did before this speaker started goes on only for addresses that this node has by then.
const RECLAIM: Duration = Duration::from_secs(5);
/// Between two questions for hardware addresses that nobody tells: those on a second LAN.
const ASK: Duration = Duration::from_secs(30);
/// Questions at once.
const ASKED: usize = 16;

/// What the option says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The keeper's socket.
    pub socket: PathBuf,
    /// For how long connections are kept, at most.
    pub longest: Duration,
}

/// What the other members are like, as `core::ownership` knows it.
pub trait Table {
    /// Who had the address that this node has now.
    fn giver_of(&self, vip: IpAddr) -> Option<NodeId>;
    /// How a member stands.
    fn standing_of(&self, node: NodeId) -> Option<Standing>;
    /// Its addresses, each with the hardware address of the first one's link.
    fn addresses_of(&self, node: NodeId) -> Vec<(IpAddr, MacAddr)>;
    /// The others.
    fn others(&self) -> Vec<NodeId>;
    /// Whether this node has the address.
    fn has(&self, vip: IpAddr) -> bool;
    /// Whether this node knows by now what it has.
    fn is_joined(&self) -> bool;
}

/// The way to the keeper, and what it is to do.
#[derive(Debug)]
pub struct Keeper {
    keep: Keep,
    longest: Duration,
    socket: PathBuf,
    link: Option<Link>,
    /// It can pass packets on.
    is_able: bool,
    next_try: Instant,
    next_count: Instant,
    next_question: Instant,
    /// Of the last request, and of the last one that was answered.
    asked: u32,
    answered: u32,
    /// What was said last of why nothing can be kept.
    told: Option<String>,
    /// What a keeper still did when this speaker connected, until then.
    found: Vec<Entry>,
    found_until: Instant,
    /// Hardware addresses that kernels have answered with.
    heard: BTreeMap<IpAddr, MacAddr>,
    stations: BTreeMap<IpAddr, (NodeId, MacAddr)>,
    to_ask: Vec<IpAddr>,
    /// Nobody has taken these yet.
    ended: Vec<Ended>,
    metrics: KeepMetrics,
}

impl Keeper {
    /// Connects when it first has its turn.
    #[must_use]
    pub fn new(options: Options, metrics: KeepMetrics, now: Instant) -> Self {
        Self {
            keep: Keep::new(options.longest),
            longest: options.longest.min(LONGEST),
            socket: options.socket,
            link: None,
            is_able: false,
            next_try: now,
            next_count: now,
            next_question: now,
            asked: 0,
            answered: 0,
            told: None,
            found: Vec::new(),
            found_until: now,
            heard: BTreeMap::new(),
            stations: BTreeMap::new(),
            to_ask: Vec::new(),
            ended: Vec::new(),
            metrics,
        }
    }

    /// A kernel answered at this address.
    pub fn hear(&mut self, from: IpAddr, answer: KernelAnswer) {
        if let KernelAnswer::Neighbour(mac) = answer
            && self.to_ask.contains(&from)
        {
            self.heard.insert(from, mac);
        }
        self.keep.handle_kernel_answer(from, answer);
    }

    /// This node takes these over and is about to announce them. Returns when the keeper has begun, or
    /// after a beat's time; with those whose connections are kept, and by whom.
    pub fn take(
        &mut self,
        vips: &[IpAddr],
        table: &impl Table,
        links: &BTreeMap<LinkId, NetworkLink>,
        now: Instant,
    ) -> Vec<(IpAddr, NodeId)> {
        if !self.is_able {
            return Vec::new();
        }
        self.follow(table, links);
        let mut taken = Vec::new();
        for &vip in vips {
            let Some(node) = table.giver_of(vip) else {
                debug!(%vip, "no node is known to have announced the address just before: nothing is kept");
                continue;
            };
            let stations = self.stations.iter().filter(|(_, (of, _))| *of == node);
            let stations = stations.map(|(&address, &(_, mac))| Station { address, mac });
            let Some(at) = station_for(vip, stations, links) else {
                debug!(%vip, "the old owner has no address on this node's links: connections are reset");
                continue;
            };
            if self.keep.handle_taken(vip, Giver { node, at }, now) {
                taken.push((vip, node));
            } else {
                debug!(%vip, via = %at.address, "nothing can be kept through this station");
            }
        }
        // Whoever has died since ends here, before anything is asked.
        self.keep
            .handle_standings(|node| table.standing_of(node), now);
        self.send_orders();
        self.wait(now);
        taken.retain(|(vip, _)| {
            let is_kept = self.keep.keeps(*vip);
            if !is_kept {
                debug!(%vip, "the keeper does not keep the address's connections");
            }
            is_kept
        });
        taken
    }

    /// This node no longer announces the address.
    pub fn give(&mut self, vip: IpAddr) {
        self.keep.handle_given(vip);
    }

    /// Everything else that is due. Gives addresses whose kernels have to be asked for a sign of life.
    pub fn turn(
        &mut self,
        table: &impl Table,
        links: &BTreeMap<LinkId, NetworkLink>,
        now: Instant,
    ) -> Vec<IpAddr> {
        self.connect(now);
        self.follow(table, links);
        self.receive(now);
        self.take_found(table, now);
        self.keep
            .handle_standings(|node| table.standing_of(node), now);
        self.keep.handle_timeout(now);
        if now >= self.next_count && self.is_able {
            self.next_count = now + COUNT;
            if self.keep.kept(now).next().is_some() {
                self.say(&Question::Count);
            }
        }
        self.send_orders();
        let metrics = &self.metrics;
        metrics.set(self.is_able, self.keep.kept(now).count());
        let mut asked: Vec<IpAddr> = std::iter::from_fn(|| self.keep.poll_probe()).collect();
        if now >= self.next_question && self.is_able {
            self.next_question = now + ASK;
            let unknown = self
                .to_ask
                .iter()
                .filter(|one| !self.heard.contains_key(one));
            asked.extend(unknown.take(ASKED));
        }
        asked
    }

    /// Whether packets can be passed on now.
    #[must_use]
    pub const fn is_ready(&self) -> bool {
        self.is_able
    }

    /// Why not.
    #[must_use]
    pub fn problem(&self) -> Option<&str> {
        self.told.as_deref()
    }

    /// For how long connections are kept, at most.
    #[must_use]
    pub const fn longest(&self) -> Duration {
        self.longest
    }

    /// When [`Self::turn`] is due next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.keep.poll_timeout()
    }

    /// What has to be waited for.
    pub fn file(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        self.link.as_ref().map(std::os::fd::AsFd::as_fd)
    }

    /// What is kept now.
    pub fn kept(&self, now: Instant) -> impl Iterator<Item = Kept> {
        let is_able = self.is_able;
        self.keep.kept(now).filter(move |_| is_able)
    }

    /// The addresses for which it has ended since the last call.
    pub fn take_ended(&mut self) -> Vec<Ended> {
        std::mem::take(&mut self.ended)
    }

    /// The other nodes, with all that is known of their hardware addresses.
    fn follow(&mut self, table: &impl Table, links: &BTreeMap<LinkId, NetworkLink>) {
        let link_of = |address: IpAddr| {
            let mut on = links
                .iter()
                .filter(|(_, link)| link.prefixes.iter().any(|prefix| prefix.contains(address)));
            on.next().map(|(id, _)| *id)
        };
        let mut stations = BTreeMap::new();
        self.to_ask.clear();
        for node in table.others() {
            let addresses = table.addresses_of(node);
            let first = addresses.first().and_then(|(address, _)| link_of(*address));
            for (address, mac) in addresses {
                let link = link_of(address);
                if link.is_none() {
                    continue;
                }
                // It tells the hardware address of one link alone.
                let mac = if link == first && !mac.is_zero() {
                    mac
                } else {
                    self.to_ask.push(address);
                    self.heard
                        .get(&address)
                        .copied()
                        .unwrap_or_else(MacAddr::zero)
                };
                if !mac.is_zero() {
                    stations.insert(address, (node, mac));
                }
            }
        }
        let to_ask = &self.to_ask;
        self.heard.retain(|address, _| to_ask.contains(address));
        if stations != self.stations {
            let told = stations.iter();
            let told = told.map(|(&address, &(_, mac))| Station { address, mac });
            self.keep.set_stations(told.collect());
            self.stations = stations;
        }
    }

    fn connect(&mut self, now: Instant) {
        if self.link.is_some() || now < self.next_try {
            return;
        }
        self.next_try = now + RETRY;
        match Link::connect(&self.socket) {
            Ok(link) => self.link = Some(link),
            Err(error) => self.unable(format!("the keeper cannot be reached: {error}")),
        }
    }

    /// Said once, until something else is the matter.
    fn unable(&mut self, why: String) {
        self.is_able = false;
        if self.told.as_ref() != Some(&why) {
            warn!("connections are not kept, addresses move as without keepConnections: {why}");
            self.told = Some(why);
        }
    }

    fn receive(&mut self, now: Instant) {
        while let Some(link) = &mut self.link {
            match link.receive() {
                Ok(Some(answer)) => self.handle(answer, now),
                Ok(None) => return,
                Err(error) => self.hang_up(&error),
            }
        }
    }

    fn hang_up(&mut self, error: &anyhow::Error) {
        self.link = None;
        self.unable(format!("the keeper's connection has ended: {error:#}"));
    }

    fn handle(&mut self, answer: Answer, now: Instant) {
        match answer {
            Answer::Welcome {
                version,
                way,
                found,
                ..
            } => match way {
                _ if version != VERSION => {
                    self.link = None;
                    self.unable(format!(
                        "the keeper is of another release (its words are {version}, ours {VERSION})"
                    ));
                }
                Err(unable) => self.unable(unable.explanation().to_owned()),
                Ok(way) => {
                    info!(
                        way = way.as_str(),
                        "connections are kept when addresses move"
                    );
                    (self.is_able, self.told) = (true, None);
                    (self.asked, self.answered) = (0, 0);
                    let known = |entry: &Entry| self.keep.keeps(entry.vip);
                    self.found = found.into_iter().filter(|entry| !known(entry)).collect();
                    self.found_until = now + RECLAIM;
                    self.keep.handle_new_keeper(now);
                }
            },
            Answer::Done { number, refused } => {
                self.answered = number;
                for vip in refused {
                    debug!(%vip, "the keeper refuses");
                    self.keep.handle_refused(vip);
                }
            }
            Answer::Passed(counts) => {
                for (vip, packets) in counts {
                    self.keep.handle_passed(vip, packets, now);
                }
                for kept in self.keep.kept(now) {
                    self.metrics.passed(kept.vip, kept.packets);
                }
            }
        }
    }

    /// Goes on with what a keeper did for the speaker before this one, for addresses that this node has.
    fn take_found(&mut self, table: &impl Table, now: Instant) {
        if self.found.is_empty() || !table.is_joined() {
            return;
        }
        let is_over = now >= self.found_until;
        for entry in std::mem::take(&mut self.found) {
            let station = self.stations.get(&entry.via);
            let giver = station.map(|&(node, mac)| Giver {
                node,
                at: Station {
                    address: entry.via,
                    mac,
                },
            });
            if table.has(entry.vip) {
                self.keep.handle_found(entry, giver, now);
            } else if is_over {
                self.keep.handle_found(entry, None, now);
            } else {
                self.found.push(entry);
            }
        }
    }

    fn send_orders(&mut self) {
        while let Some(ended) = self.keep.poll_ended() {
            let Ended { vip, end, .. } = ended;
            info!(%vip, end = end.as_str(), "connections through the address are no longer passed on");
            self.metrics.ended(vip, end);
            self.ended.push(ended);
        }
        let mut entries = Vec::new();
        let mut dropped = Vec::new();
        while let Some(order) = self.keep.poll_order() {
            if !self.is_able {
                // A keeper that comes is told everything.
                continue;
            }
            match order {
                Order::Stations(stations) => self.say(&Question::Stations(stations)),
                Order::Keep(entry) => {
                    dropped.retain(|vip| *vip != entry.vip);
                    entries.push(entry);
                }
                Order::Drop(vip) => {
                    entries.retain(|entry: &Entry| entry.vip != vip);
                    dropped.push(vip);
                }
            }
        }
        if !dropped.is_empty() {
            self.say(&Question::Drop(dropped));
        }
        if !entries.is_empty() {
            self.asked = self.asked.wrapping_add(1);
            let number = self.asked;
            self.say(&Question::Keep { number, entries });
        }
    }

    fn say(&mut self, question: &Question) {
        if let Some(link) = &mut self.link
            && let Err(error) = link.send(question, PATIENCE)
        {
            self.hang_up(&error);
        }
    }

    /// Until the last request is answered. A keeper that let one wait is not waited for again before it has
    /// caught up.
    fn wait(&mut self, now: Instant) {
        let is_behind = self.asked.wrapping_sub(self.answered) > 1;
        let deadline = std::time::Instant::now() + PATIENCE;
        while !is_behind && self.answered != self.asked {
            let Some(link) = &mut self.link else { return };
            let left = deadline.saturating_duration_since(std::time::Instant::now());
            if left.is_zero() {
                warn!("the keeper is slow: addresses are announced before it has begun");
                return;
            }
            match link.receive_within(left) {
                Ok(Some(answer)) => self.handle(answer, now),
                Ok(None) => {}
                Err(error) => self.hang_up(&error),
            }
        }
    }
}

impl Drop for Keeper {
    /// Whatever ends the speaker: another node decides from now on, or the next speaker here does.
    fn drop(&mut self) {
        self.metrics.set(false, 0);
    }
}
