//! Starting, stopping and watching the lab's processes by name.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use super::{Lab, Ownership};
use crate::process::{ProcessId, ProcessRecord, ProcessSpec, cgroup_folders, end_all, log_tail};
use crate::real;

/// How long a process has to end by itself when a test stops it; etcd and the API server take
/// less than a second.
const GRACE: Duration = Duration::from_secs(10);

/// Lines of a dead process's log in an error.
const TAIL: usize = 20;

impl Lab {
    /// Starts a process in a network of this lab. It ends with the lab.
    pub fn spawn(&self, spec: ProcessSpec) -> Result<()> {
        if self.alive(&spec.name).is_some() {
            bail!("{} runs already", spec.name);
        }
        self.reap(&spec.name)?;
        let _not_ending = self.state.making()?;
        let mut record = ProcessRecord { spec, id: None };
        self.state.write_process(&record)?;
        let spec = record.spec.clone();
        let log = self.state.log(&spec.name);
        let die_with_parent = self.ownership == Ownership::Owned;
        let child = self
            .spawner
            .run(move || spec.spawn(&log, die_with_parent))?;
        record.id = i32::try_from(child.id()).ok().and_then(ProcessId::of);
        self.state.write_process(&record)?;
        let name = record.spec.name;
        self.children().insert(name.clone(), child);
        self.check_alive(&name)
    }

    /// Fails with the end of its log if a process has ended.
    pub fn check_alive(&self, name: &str) -> Result<()> {
        if self.alive(name).is_some() {
            return Ok(());
        }
        let ended = self
            .children()
            .get_mut(name)
            .and_then(|child| child.wait().ok());
        let how = ended.map_or_else(String::new, |status| format!(" ({status})"));
        let tail = log_tail(&self.state.log(name), TAIL);
        bail!("{name} has ended{how}; its log:\n{tail}")
    }

    /// The process of this name, if it runs.
    pub fn alive(&self, name: &str) -> Option<ProcessId> {
        self.state
            .process(name)
            .ok()?
            .id
            .filter(ProcessId::is_alive)
    }

    /// Asks a process to end (SIGTERM), and kills it if it takes longer than 10 s.
    pub fn stop(&self, name: &str) -> Result<()> {
        self.end(name, Signal::TERM)
    }

    /// Kills a process (SIGKILL).
    pub fn kill(&self, name: &str) -> Result<()> {
        self.end(name, Signal::KILL)
    }

    fn end(&self, name: &str, signal: Signal) -> Result<()> {
        let mut record = self.state.process(name)?;
        let id = record
            .id
            .take()
            .with_context(|| format!("{name} is stopped already"))?;
        end_all(&[id], signal, GRACE);
        if id.is_alive() {
            end_all(&[id], Signal::KILL, GRACE);
        }
        self.reap(name)?;
        self.state.write_process(&record)
    }

    /// Takes the exit status of a process that has ended, so that no zombie stays.
    fn reap(&self, name: &str) -> Result<()> {
        let ended = self.children().remove(name);
        let status = ended.map(|mut child| child.wait()).transpose();
        status
            .map(drop)
            .with_context(|| format!("cannot wait for {name}"))
    }

    /// Starts a process again that was stopped, was killed or has ended.
    pub fn start(&self, name: &str) -> Result<()> {
        self.spawn(self.state.process(name)?.spec)
    }

    /// Stops a process as a debugger does (SIGSTOP): it keeps its sockets and answers nothing.
    pub fn pause(&self, name: &str) -> Result<()> {
        self.signal(name, Signal::STOP)
    }

    /// Lets a paused process go on.
    pub fn resume(&self, name: &str) -> Result<()> {
        self.signal(name, Signal::CONT)
    }

    /// Gives a process so many thousandths of a processor, as `limits.cpu` of a pod does: in each
    /// 100 ms it runs for its share, and then not until the next ones begin.
    pub fn limit_cpu(&self, name: &str, millicores: u32) -> Result<()> {
        const PERIOD_US: u32 = 100_000;
        let id = self
            .alive(name)
            .with_context(|| format!("{name} does not run"))?;
        let quota = PERIOD_US / 1_000 * millicores;
        let cgroup = format!("/{}-{name}", self.name());
        let _not_ending = self.state.making()?;
        self.state.note_cgroup(&cgroup)?;
        real::cgroup::create(&cgroup)?;
        // v1 and v2 have it in a file each.
        let files = [
            ("cpu.cfs_quota_us", quota.to_string()),
            ("cpu.max", format!("{quota} {PERIOD_US}")),
        ];
        for folder in cgroup_folders(&cgroup) {
            for (file, limit) in &files {
                let file = folder.join(file);
                if file.exists() {
                    return fs::write(file, limit)
                        .and_then(|()| fs::write(folder.join("cgroup.procs"), id.pid().to_string()))
                        .with_context(|| format!("cannot limit {name} in {}", folder.display()));
                }
            }
        }
        bail!("no cgroup shares out processors: {name} cannot be limited")
    }

    /// Sends a signal to a process that runs.
    pub fn signal(&self, name: &str, signal: Signal) -> Result<()> {
        let id = self
            .alive(name)
            .with_context(|| format!("{name} does not run"))?;
        id.signal(signal);
        Ok(())
    }

    /// What a process has written so far.
    pub fn log(&self, name: &str) -> Result<String> {
        let path = self.state.log(name);
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}
