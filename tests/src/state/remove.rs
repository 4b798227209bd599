//! Taking a lab down from its state alone, by whatever process. Errors are collected, not obeyed:
//! one stuck mount must not keep the rest.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::Signal;

use super::{DATA_ROOT, State, data, data_dir, lab_dir, lab_names, lock_all_labs};
use crate::process::{self, ProcessId};
use crate::wait::wait_until;

/// After SIGKILL only the kernel's own work is left, which takes a busy machine a while.
pub(crate) const KILL_WAIT: Duration = Duration::from_secs(60);

/// A process that has ended is in its cgroup for a moment yet.
const LEAVE_WAIT: Duration = Duration::from_secs(10);

/// Removes what dead labs left: those whose owner is gone without having cleaned up. Returns their
/// names, each with how that went.
pub fn remove_dead_labs() -> Result<Vec<(String, Result<()>)>> {
    let _labs = lock_all_labs()?;
    let mut removed = Vec::new();
    for name in lab_names() {
        let state = State::at(&name, lab_dir(&name));
        if state.is_dead() {
            removed.push((name, state.remove()));
        }
    }
    // A reboot forgets a lab's state, but not its data.
    data::sweep(Path::new(DATA_ROOT), &data::this_boot()?, |name| {
        lab_dir(name).exists()
    })?;
    Ok(removed)
}

/// Removes the lab `name` with everything in it, whoever owns it.
pub fn remove_lab(name: &str) -> Result<()> {
    super::check_name(name)?;
    let _labs = lock_all_labs()?;
    let dir = lab_dir(name);
    if !dir.is_dir() {
        bail!("no lab named {name} is up");
    }
    State::at(name, dir).remove()
}

impl State {
    /// Ends the lab's processes, then unmounts and deletes all that is its own.
    pub(super) fn remove(&self) -> Result<()> {
        let mut errors = Vec::new();
        errors.extend(self.end_processes().err());
        errors.extend(self.unmount().err());
        errors.extend(
            self.noted("cgroup")
                .iter()
                .flat_map(|path| remove_cgroup(path)),
        );
        errors.extend(
            self.noted("netns")
                .iter()
                .filter_map(|name| delete_netns(name).err()),
        );
        if errors.is_empty() {
            let data = data_dir(&self.name);
            if data::is_of(&data, self.id().as_deref()) {
                remove_dir(&data)?;
            }
            return remove_dir(&self.dir);
        }
        let list: Vec<String> = errors.iter().map(|error| format!("{error:#}")).collect();
        // The state stays: the next `lab down` tries again.
        bail!(
            "lab {} is not wholly removed: {}",
            self.name,
            list.join("; ")
        )
    }

    /// With SIGKILL: nothing in a lab is worth a graceful end. Twice over, since a supervisor among
    /// them may have started another process meanwhile.
    fn end_processes(&self) -> Result<()> {
        for _ in 0..2 {
            process::end_all(&self.live_processes(), Signal::KILL, KILL_WAIT);
        }
        match self.live_processes().as_slice() {
            [] => Ok(()),
            left => bail!("processes do not end: {}", join(left)),
        }
    }

    /// Mounts below the state directory, innermost first.
    fn unmount(&self) -> Result<()> {
        let mut stuck = Vec::new();
        for mount in mounts_below(&self.dir).iter().rev() {
            // Lazy: a process in the kernel's hands may hold a file for a moment yet.
            if !run("umount", &["--lazy", &mount.to_string_lossy()]) {
                stuck.push(mount.display().to_string());
            }
        }
        if !stuck.is_empty() {
            bail!("cannot unmount {}", stuck.join(", "));
        }
        Ok(())
    }
}

fn join(ids: &[ProcessId]) -> String {
    ids.iter()
        .map(ProcessId::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

/// In the order in which they were mounted.
fn mounts_below(dir: &Path) -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    // Field 5 is the mount point (proc(5)); our paths have no characters that it would escape.
    let mount_point = |line: &str| line.split(' ').nth(4).map(PathBuf::from);
    table
        .lines()
        .filter_map(mount_point)
        .filter(|path| path.starts_with(dir))
        .collect()
}

/// Deletes the folder of this cgroup and those below it in every hierarchy.
pub(crate) fn remove_cgroup(path: &str) -> Vec<anyhow::Error> {
    let deadline = Instant::now() + LEAVE_WAIT;
    let mut errors = Vec::new();
    for folder in process::cgroup_folders(path) {
        for inner in process::folders_below(&folder).iter().rev() {
            let is_removed = || match fs::remove_dir(inner) {
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => Ok(false),
                other => Ok(other.map(|()| true)?),
            };
            let left = deadline.saturating_duration_since(Instant::now());
            let removed = wait_until(left, is_removed, || Ok(()))
                .with_context(|| format!("cannot remove cgroup {}", inner.display()));
            errors.extend(removed.err());
        }
    }
    errors
}

fn remove_dir(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(anyhow!("cannot remove {}: {error}", path.display()))
        }
        _ => Ok(()),
    }
}

fn delete_netns(name: &str) -> Result<()> {
    // Noted, but the lab was killed before it was made.
    if !Path::new("/run/netns").join(name).exists() || run("ip", &["netns", "delete", name]) {
        return Ok(());
    }
    bail!("cannot delete network namespace {name}")
}

fn run(program: &str, args: &[&str]) -> bool {
    Command::new(program)
        .args(args)
        .output()
        .is_ok_and(|output| output.status.success())
}
