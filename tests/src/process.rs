//! Processes of a lab: started in a host's network namespace, each with its own log, found again
//! by pid and start time, ended within a bound.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

mod find;
#[cfg(test)]
mod tests;

pub use find::{
    cgroup_folders, cgroup_hierarchies, folders_below, in_cgroups, in_netns, runs_from,
};

/// How a process is started: enough to start it again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProcessSpec {
    /// Its name in the lab (`kube-proxy-n1`): log, `lab logs`, `lab status`.
    pub name: String,
    /// The network namespace that it has.
    pub netns: String,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// What is added to the environment.
    pub env: BTreeMap<String, String>,
}

impl ProcessSpec {
    /// A process called `name` in network namespace `netns`; [`Host::process`] is shorter.
    ///
    /// [`Host::process`]: crate::net::Host::process
    pub fn new(name: impl Into<String>, netns: &str, program: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            netns: netns.to_owned(),
            program: program.into(),
            args: Vec::new(),
            env: BTreeMap::new(),
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<I: IntoIterator<Item = impl Into<String>>>(mut self, args: I) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Adds a variable to the environment.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// Starts it, its output appended to `log`. `die_with_parent`:
    /// the kernel kills it when the thread that called this ends.
    pub(crate) fn spawn(&self, log: &Path, die_with_parent: bool) -> Result<Child> {
        let output = OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("cannot open {}", log.display()))?;
        // A session of its own: Ctrl-C in the terminal is for the lab's owner, who then ends its
        // processes in order. And the kernel gives each session an equal share of the processors
        // (autogroup, sched(7)), as a node gives each service's cgroup one: in a single session a
        // lab under load kept what is outside of it, even kernel threads, from running for seconds.
        let begun_by: &[&str] = match die_with_parent {
            true => &["setpriv", "--pdeathsig", "KILL", "setsid"],
            false => &["setsid"],
        };
        let mut command = command_in(&self.netns);
        command
            .args(begun_by)
            .arg(&self.program)
            .args(&self.args)
            .envs(&self.env)
            .stdin(Stdio::null())
            .stderr(output.try_clone().context("cannot share the log")?)
            .stdout(output);
        command
            .spawn()
            .with_context(|| format!("cannot start {}", self.name))
    }
}

/// A command that runs its further arguments in network namespace `netns`. Not `ip netns exec`:
/// that mounts a fresh /sys, which hides the cgroups from a kubelet.
pub(crate) fn command_in(netns: &str) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/run/netns/{netns}")).arg("--");
    command
}

/// A process as it is written down.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProcessRecord {
    /// How it is started.
    pub spec: ProcessSpec,
    /// None: about to be started, or stopped on purpose.
    pub id: Option<ProcessId>,
}

/// A process for ever: pids are used again, a pid with its start time is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProcessId {
    pid: i32,
    /// In clock ticks since boot (proc(5), field 22 of `stat`).
    started: u64,
}

impl ProcessId {
    /// The process that has this pid now.
    pub fn of(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The command (field 2) may hold spaces and brackets; the rest comes after the last one.
        let mut rest = stat.rsplit_once(')')?.1.split_ascii_whitespace();
        let state = rest.next()?;
        let started = rest.nth(18)?.parse().ok()?;
        // A zombie runs no more; its parent will take note of it or not.
        (!matches!(state, "Z" | "X")).then_some(Self { pid, started })
    }

    /// The pid, valid while [`ProcessId::is_alive`].
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Does it run (or is it stopped, but not dead)?
    pub fn is_alive(&self) -> bool {
        Self::of(self.pid).as_ref() == Some(self)
    }

    /// Sends a signal, if it is alive.
    pub fn signal(&self, signal: Signal) {
        if let Some(fd) = self.open() {
            // Gone meanwhile: what was wanted, or as good.
            let _ = pidfd_send_signal(&fd, signal);
        }
    }

    /// A handle that means this process even if the pid is used again.
    fn open(&self) -> Option<OwnedFd> {
        let fd = pidfd_open(Pid::from_raw(self.pid)?, PidfdFlags::empty()).ok()?;
        self.is_alive().then_some(fd)
    }
}

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let command = fs::read_to_string(format!("/proc/{}/comm", self.pid)).unwrap_or_default();
        write!(f, "{} ({})", self.pid, command.trim_end())
    }
}

/// Sends `signal` to all and waits until all have ended, at most `wait` in total.
pub fn end_all(processes: &[ProcessId], signal: Signal, wait: Duration) {
    let deadline = Instant::now() + wait;
    let handles: Vec<OwnedFd> = processes.iter().filter_map(ProcessId::open).collect();
    for handle in &handles {
        let _ = pidfd_send_signal(handle, signal);
        if signal == Signal::TERM {
            // A stopped process takes no SIGTERM until it goes on.
            let _ = pidfd_send_signal(handle, Signal::CONT);
        }
    }
    for handle in &handles {
        wait_for_end(handle, deadline);
    }
}

/// A pidfd becomes readable when its process ends.
fn wait_for_end(handle: &OwnedFd, deadline: Instant) {
    let left = deadline.saturating_duration_since(Instant::now());
    let timeout = Timespec {
        tv_sec: left.as_secs() as i64,
        tv_nsec: left.subsec_nanos().into(),
    };
    let _ = poll(&mut [PollFd::new(handle, PollFlags::IN)], Some(&timeout));
}

/// The end of a log, for an error message.
pub fn log_tail(log: &Path, lines: usize) -> String {
    /// Enough for any number of lines that a person reads in an error message.
    const READ: u64 = 32 * 1024;
    let read = || -> std::io::Result<String> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(READ)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
