//! Processes that belong to a lab by where they run.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::ProcessId;

/// All processes in these named network namespaces, this one excepted.
pub fn in_netns(names: &[String]) -> Vec<ProcessId> {
    let identity = |path: PathBuf| fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()));
    let ours: BTreeSet<(u64, u64)> = names
        .iter()
        .filter_map(|name| identity(Path::new("/run/netns").join(name)))
        .collect();
    let is_ours = |pid: i32| {
        identity(PathBuf::from(format!("/proc/{pid}/ns/net")))
            .is_some_and(|its| ours.contains(&its))
    };
    all_pids()
        .filter(|pid| is_ours(*pid))
        .filter_map(ProcessId::of)
        .collect()
}

fn all_pids() -> impl Iterator<Item = i32> {
    let me = i32::try_from(std::process::id()).unwrap_or_default();
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(move |pid| *pid != me)
}

/// Whether a program in this folder runs.
pub fn runs_from(folder: &Path) -> bool {
    let mut programs = all_pids().map(|pid| fs::read_link(format!("/proc/{pid}/exe")));
    programs.any(|program| program.is_ok_and(|program| program.starts_with(folder)))
}

/// All processes in these cgroups and in those below them.
pub fn in_cgroups(paths: &[String]) -> Vec<ProcessId> {
    let mut found = Vec::new();
    for folder in paths.iter().flat_map(|path| cgroup_folders(path)) {
        for inner in folders_below(&folder) {
            let pids = fs::read_to_string(inner.join("cgroup.procs")).unwrap_or_default();
            found.extend(
                pids.lines()
                    .filter_map(|pid| ProcessId::of(pid.parse().ok()?)),
            );
        }
    }
    found
}

/// Where cgroups are mounted: v1 has a hierarchy per controller, v2 a single one.
pub fn cgroup_hierarchies() -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let hierarchy = |line: &str| {
        let mut fields = line.split(' ');
        let (_, mount_point, kind) = (fields.next()?, fields.next()?, fields.next()?);
        kind.starts_with("cgroup")
            .then(|| PathBuf::from(mount_point))
    };
    mounts.lines().filter_map(hierarchy).collect()
}

/// Where cgroup `path` is in each mounted hierarchy.
pub fn cgroup_folders(path: &str) -> Vec<PathBuf> {
    let relative = path.trim_start_matches('/');
    // An empty path would be the machine's own root.
    cgroup_hierarchies()
        .into_iter()
        .filter(|_| !relative.is_empty())
        .map(|root| root.join(relative))
        .filter(|folder| folder.is_dir())
        .collect()
}

/// A folder and all below it, outer ones first.
pub fn folders_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![folder.to_owned()];
    let mut next = 0;
    while next < found.len() {
        let inner = fs::read_dir(&found[next]).into_iter().flatten().flatten();
        let folders: Vec<PathBuf> = inner
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .map(|entry| entry.path())
            .collect();
        found.extend(folders);
        next += 1;
    }
    found
}
