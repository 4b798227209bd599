//! What a run has found, as it is kept in `peers.json`.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use ferrolb_tests::command::stdout_of;
use serde::{Deserialize, Serialize};

use super::fault::Fault;

/// A figure, or a word of why there is none.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Figure<T> {
    Of(T),
    None(String),
}

impl<T> Figure<T> {
    /// The same of a figure made of this one.
    pub(crate) fn map<U>(&self, make: impl FnOnce(&T) -> U) -> Figure<U> {
        match self {
            Self::Of(figure) => Figure::Of(make(figure)),
            Self::None(why) => Figure::None(why.clone()),
        }
    }
}

/// A part that could not be measured has a word of why; the others go on.
impl<T> From<Result<T>> for Figure<T> {
    fn from(result: Result<T>) -> Self {
        match result {
            Ok(figure) => Self::Of(figure),
            Err(error) => Self::None(format!("failed: {error:#}")),
        }
    }
}

/// All that one command has measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) command: String,
    /// UTC.
    pub(crate) date: String,
    pub(crate) commit: String,
    pub(crate) machine: String,
    /// What else the machine did when it began: processes that run or want to, of the last minute.
    pub(crate) load: Option<f64>,
    pub(crate) kubernetes: String,
    pub(crate) rounds: usize,
    /// How long it was looked at while it had nothing to do.
    pub(crate) idle_seconds: u64,
    pub(crate) contenders: Vec<Contender>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Contender {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) settings: String,
    /// What was done to empty a node.
    pub(crate) drain: String,
    pub(crate) faults: Vec<(Fault, Figure<Vec<Round>>)>,
    pub(crate) services: Figure<Services>,
    pub(crate) at_once: Figure<AtOnce>,
    pub(crate) arp: Figure<Arp>,
    pub(crate) cost: Figure<Cost>,
    pub(crate) api: Figure<Api>,
}

impl Contender {
    /// Its name as a heading of a row.
    pub(crate) fn title(&self) -> String {
        let Self { name, version, .. } = self;
        match &self.settings[..] {
            "defaults" => format!("{name} {version}"),
            settings => format!("{name} {version}, {settings}"),
        }
    }
}

/// One fault.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Round {
    /// The longest time in which no datagram came back.
    pub(crate) silence_ms: f64,
    /// Whether it was over when we stopped to wait.
    pub(crate) is_over: bool,
    /// Of all connections.
    pub(crate) broken: usize,
    /// How often another node than before announced the address.
    pub(crate) moves: usize,
}

/// Services one after another.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Services {
    /// From its creation to the first ARP from its address.
    pub(crate) announced_ms: Vec<f64>,
}

/// Services all at once.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct AtOnce {
    pub(crate) services: usize,
    pub(crate) announced: usize,
    /// From the first creation to the first ARP from the address that came last.
    pub(crate) last_ms: f64,
    pub(crate) created_ms: f64,
}

/// Answers a second, 64 questions open.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Arp {
    pub(crate) address: f64,
    /// For the address of the same node, in turns with it.
    pub(crate) kernel: f64,
}

/// While nothing happens. Memory is `VmRSS` in MiB, CPU thousandths of a core, programs bytes.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Cost {
    pub(crate) node_memory: f64,
    pub(crate) node_cpu: f64,
    pub(crate) controller_memory: Option<f64>,
    pub(crate) controller_cpu: Option<f64>,
    pub(crate) node_program: u64,
    pub(crate) controller_program: Option<u64>,
}

/// Of all its daemons together, each hour.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Api {
    pub(crate) writes: f64,
    pub(crate) bytes_received: f64,
}

/// Processors, memory and kernel, in a line.
pub(crate) fn machine() -> Result<String> {
    let cpu = fs::read_to_string("/proc/cpuinfo")?;
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.map(|rest| rest.trim_start_matches([' ', '\t', ':']));
    let memory = fs::read_to_string("/proc/meminfo")?;
    let total = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = total.and_then(|rest| rest.trim().strip_suffix(" kB"));
    let kib: f64 = kib.context("no MemTotal")?.trim().parse()?;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    Ok(format!(
        "{} cores ({}), {:.0} GiB of memory, Linux {}",
        std::thread::available_parallelism()?,
        model.unwrap_or(std::env::consts::ARCH),
        kib / 1_048_576.0,
        kernel.trim()
    ))
}

/// Processes that run or want to, on average over the last minute.
pub(crate) fn load() -> Option<f64> {
    let text = fs::read_to_string("/proc/loadavg").ok()?;
    text.split(' ').next()?.parse().ok()
}

/// What is checked out, and whether anything was changed since.
pub(crate) fn commit(root: &Path) -> Result<String> {
    let git = |args: &[&str]| {
        let mut git = Command::new("git");
        git.arg("-C").arg(root).args(args);
        anyhow::Ok(stdout_of(&mut git, "")?.trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short=10", "HEAD"])?;
    // What a run writes itself is no change of what is measured.
    let changed = git(&["status", "--porcelain", "--", ".", ":!docs"])?;
    Ok(match changed.is_empty() {
        true => commit,
        false => format!("{commit} with changes"),
    })
}
