//! The faults, and how they are brought about.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;
use ferrolb_tests::cluster::Cluster;
use ferrolb_tests::daemon::Daemon;
use ferrolb_tests::net::SLOW;

use super::NODES;
use crate::figures::pause;

/// Of what is not TCP, which only the API server's clients speak here.
const TO_A_NODE: &str = "ip protocol tcp accept\nip6 nexthdr tcp accept\nnumgen random mod 100 <";
/// Bits per second: a frame of 130 bytes holds up the next one for 22 ms.
const SLOW_RATE: u32 = 48_000;
/// How long a path is dead in one direction.
const ONE_WAY: Duration = Duration::from_secs(10);
const BLACKOUT: Duration = Duration::from_millis(300);
const STOPPED: Duration = Duration::from_secs(1);
/// Between two faults of a kind, so that each is felt alone.
const BETWEEN: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fault {
    /// 5 % of ARP, NDP, UDP and ICMP is lost on its way to each node
    Loss,
    /// 20 % of the same comes twice
    Duplicates,
    /// 20 % of the same waits in a slow queue and is overtaken
    Reordering,
    /// Nothing gets from one node to one other for 10 s, each pair and direction in turn
    OneWay,
    /// Nobody hears anybody for 300 ms
    Blackout,
    /// Twice as many busy threads as processors
    Load,
    /// Each speaker has 100m of a processor
    CpuLimit,
    /// Each speaker in turn is stopped for 1 s, while its kernel answers
    Stopped,
}

impl Fault {
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Loss => "5 % loss on ARP, NDP, UDP, ICMP",
            Self::Duplicates => "20 % duplicates of the same",
            Self::Reordering => "20 % of the same in a slow queue, overtaken",
            Self::OneWay => "one way between two nodes dead for 10 s, each in turn",
            Self::Blackout => "the whole segment dark for 300 ms",
            Self::Load => "load of twice the processors",
            Self::CpuLimit => "CPU limit of 100m",
            Self::Stopped => "a process stopped for 1 s",
        }
    }

    /// It comes again and again, and does not last all the time.
    pub(crate) const fn is_repeated(self) -> bool {
        matches!(self, Self::OneWay | Self::Blackout | Self::Stopped)
    }
}

/// A fault that is there.
pub(crate) struct Injection<'a> {
    cluster: &'a Cluster,
    fault: Fault,
    busy: Busy,
}

impl<'a> Injection<'a> {
    pub(crate) fn begin(cluster: &'a Cluster, fault: Fault) -> Result<Self> {
        let mut busy = Busy::default();
        let network = cluster.lab.network();
        match fault {
            Fault::Loss => network.set_rules(&to_nodes(|_| format!("{TO_A_NODE} 5 drop")))?,
            Fault::Duplicates => {
                network.set_rules(&to_nodes(|node| format!("{TO_A_NODE} 20 dup to {node}")))?;
            }
            Fault::Reordering => {
                for node in NODES {
                    network.add_slow_queue(node, SLOW_RATE)?;
                }
                let slowed = |_: &str| format!("{TO_A_NODE} 20 meta priority set {SLOW}");
                network.set_rules(&to_nodes(slowed))?;
            }
            Fault::Load => busy = Busy::start()?,
            Fault::CpuLimit => {
                for node in NODES {
                    let speaker = Daemon::speaker(node).process_name();
                    cluster.lab.limit_cpu(&speaker, 100)?;
                }
            }
            Fault::OneWay | Fault::Blackout | Fault::Stopped => {}
        }
        Ok(Self {
            cluster,
            fault,
            busy,
        })
    }

    /// The fault once more, and some time until the next one.
    pub(crate) fn step(&mut self, number: usize) -> Result<()> {
        let network = self.cluster.lab.network();
        match self.fault {
            Fault::OneWay => {
                let (from, to) = pair(number);
                let mac = self.cluster.lab.host(from)?.mac;
                let dead = |node: &str| match node == to {
                    true => format!("ether saddr {mac} drop"),
                    false => "accept".to_owned(),
                };
                network.set_rules(&to_nodes(dead))?;
                pause(ONE_WAY);
                network.set_rules("")?;
            }
            Fault::Blackout => {
                let ports: Vec<_> = network.hosts().iter().map(|host| &host.name[..]).collect();
                network.set_rules(&format!(
                    "chain dark {{ type filter hook ingress devices = {{ {} }} priority 0;\ndrop\n}}",
                    ports.join(", ")
                ))?;
                pause(BLACKOUT);
                network.set_rules("")?;
            }
            Fault::Stopped => {
                let speaker = Daemon::speaker(NODES[number % NODES.len()]).process_name();
                self.cluster.lab.pause(&speaker)?;
                pause(STOPPED);
                self.cluster.lab.resume(&speaker)?;
            }
            Fault::Loss | Fault::Duplicates | Fault::Reordering | Fault::Load | Fault::CpuLimit => {
            }
        }
        pause(BETWEEN);
        Ok(())
    }

    pub(crate) fn end(self) -> Result<()> {
        self.busy.stop();
        let network = self.cluster.lab.network();
        if self.fault == Fault::Reordering {
            for node in NODES {
                network.remove_slow_queue(node)?;
            }
        }
        network.set_rules("")
    }
}

/// A chain for what goes to each node.
fn to_nodes(rule: impl Fn(&str) -> String) -> String {
    let chain = |node: &str| {
        format!(
            "chain to_{node} {{ type filter hook egress device {node} priority 0;\n{}\n}}\n",
            rule(node)
        )
    };
    NODES.into_iter().map(chain).collect()
}

/// Each ordered pair of nodes in turn.
fn pair(number: usize) -> (&'static str, &'static str) {
    let (count, others) = (NODES.len(), NODES.len() - 1);
    let from = number / others % count;
    let to = (from + 1 + number % others) % count;
    (NODES[from], NODES[to])
}

/// Threads that want all processors.
#[derive(Default)]
struct Busy {
    threads: Vec<JoinHandle<()>>,
    is_over: Arc<AtomicBool>,
}

impl Busy {
    fn start() -> Result<Self> {
        let mut busy = Self::default();
        for _ in 0..2 * thread::available_parallelism()?.get() {
            let is_over = Arc::clone(&busy.is_over);
            busy.threads.push(thread::spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            }));
        }
        Ok(busy)
    }

    fn stop(self) {
        self.is_over.store(true, Ordering::Relaxed);
        for thread in self.threads {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_node_is_cut_off_from_each_other_one_in_turn() {
        let pairs: BTreeSet<_> = (0..12).map(pair).collect();
        assert_eq!(pairs.len(), 12);
        assert!(pairs.iter().all(|(from, to)| from != to));
        assert_eq!(pair(12), pair(0));
    }
}
