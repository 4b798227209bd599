//! What a process has used, and what an API server has carried out for the daemons.

use anyhow::{Context, Result};

use crate::process::{USER_HZ, file_of, memory_of, ticks_of};

/// What a process had used up by then.
pub(super) struct Usage {
    pub(super) resident_mib: f64,
    ticks: u64,
    /// Bytes that came in by its network namespace's link: for a speaker, from the API server and from the
    /// other speakers.
    received: u64,
}

impl Usage {
    pub(super) fn read(pid: i32) -> Result<Self> {
        let dev = file_of(pid, "net/dev")?;
        let link = dev
            .lines()
            .find_map(|line| line.trim().strip_prefix("eth0:"));
        let received = link.and_then(|rest| rest.split_ascii_whitespace().next());
        let [resident_mib, _] = memory_of(pid)?;
        Ok(Self {
            resident_mib,
            ticks: ticks_of(pid)?,
            received: received.context("no eth0")?.parse()?,
        })
    }

    /// % of a core.
    pub(super) fn cpu_since(&self, before: &Self, seconds: f64) -> f64 {
        self.ticks.saturating_sub(before.ticks) as f64 / USER_HZ / seconds * 100.0
    }

    /// KiB/s
    pub(super) fn received_since(&self, before: &Self, seconds: f64) -> f64 {
        self.received.saturating_sub(before.received) as f64 / 1_024.0 / seconds
    }
}

/// How many requests of service accounts outside kube-system an API server has begun to carry out: a watch
/// counts once, when it begins. In this lab only our daemons have such accounts.
pub(super) fn dispatched(metrics: &str) -> f64 {
    let lines = metrics.lines().filter(|line| {
        line.starts_with("apiserver_flowcontrol_dispatched_requests_total{")
            && line.contains("flow_schema=\"service-accounts\"")
    });
    let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    values.sum()
}
