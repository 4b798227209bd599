//! What `/proc` says of a process.

use std::fmt::Display;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use ferrolb_tests::Lab;

/// Ticks per second in `/proc`: 100 wherever we build for, whatever the kernel's own clock is.
pub(crate) const USER_HZ: f64 = 100.0;

/// The id of a process of the lab.
pub(crate) fn pid_of(lab: &Lab, name: &str) -> Result<i32> {
    let process = lab.alive(name);
    let process = process.with_context(|| format!("{name} has ended"))?;
    Ok(process.pid())
}

/// One of its files.
pub(crate) fn file_of(pid: impl Display, name: &str) -> Result<String> {
    let path = format!("/proc/{pid}/{name}");
    fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
}

/// Resident memory, and what it was at most, in MiB: `VmRSS` and `VmHWM`.
pub(crate) fn memory_of(pid: impl Display) -> Result<[f64; 2]> {
    let status = file_of(pid, "status")?;
    let mib = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB"));
        let kib: f64 = kib.with_context(|| format!("no {key}"))?.trim().parse()?;
        anyhow::Ok(kib / 1_024.0)
    };
    Ok([mib("VmRSS:")?, mib("VmHWM:")?])
}

/// Processor time in ticks, as `ps` counts.
pub(crate) fn ticks_of(pid: i32) -> Result<u64> {
    let stat = file_of(pid, "stat")?;
    // proc(5): the fields after the command, which may hold spaces; utime and stime are the 14th and 15th of all.
    let (_, fields) = stat.rsplit_once(')').context("no stat")?;
    let ticks = fields.split_ascii_whitespace().skip(11).take(2);
    Ok(ticks.map(str::parse::<u64>).sum::<Result<_, _>>()?)
}

/// How long its threads have run, as the scheduler counts.
pub(crate) fn on_cpu(pid: i32) -> Result<Duration> {
    let mut time = Duration::ZERO;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let schedstat = fs::read_to_string(task?.path().join("schedstat"))?;
        let nanos = schedstat.split(' ').next().unwrap_or_default().parse()?;
        time += Duration::from_nanos(nanos);
    }
    Ok(time)
}
