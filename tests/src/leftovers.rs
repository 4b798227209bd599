//! What of a lab can be seen on the machine, looked for without its state: nothing, once it ended.

use std::fs;
use std::path::Path;

use crate::net::NETNS_PREFIX;
use crate::process::cgroup_hierarchies;
use crate::state::{DATA_ROOT, ROOT};

/// Everything that bears the name of this lab, in words.
pub fn leftovers(lab: &str) -> Vec<String> {
    let prefix = format!("{NETNS_PREFIX}{lab}-");
    let directories = [ROOT, DATA_ROOT].map(|root| Path::new(root).join(lab));
    let mut found = Vec::new();
    for directory in &directories {
        if directory.exists() {
            found.push(format!("directory {}", directory.display()));
        }
    }
    let named = |dir: &Path| {
        entries(dir)
            .filter(|name| name.starts_with(&prefix))
            .collect()
    };
    let namespaces: Vec<String> = named(Path::new("/run/netns"));
    found.extend(
        namespaces
            .iter()
            .map(|name| format!("network namespace {name}")),
    );
    for root in cgroup_hierarchies() {
        let cgroups: Vec<String> = named(&root);
        found.extend(
            cgroups
                .iter()
                .map(|name| format!("cgroup {}/{name}", root.display())),
        );
    }
    let below = directories.map(|directory| format!("{}/", directory.display()));
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let of_lab = |line: &&str| below.iter().any(|path| line.contains(path));
    found.extend(
        mounts
            .lines()
            .filter(of_lab)
            .map(|line| format!("mount {line}")),
    );
    found.extend(entries(Path::new("/proc")).filter_map(|pid| process(&pid, &below, &prefix)));
    found
}

/// A process of the lab is told a path of it, or runs in one of its cgroups.
fn process(pid: &str, below: &[String], prefix: &str) -> Option<String> {
    let _: u32 = pid.parse().ok()?;
    let read = |file: &str| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let line = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
    let told = below.iter().any(|path| line.contains(path));
    let inside = String::from_utf8_lossy(&read("cgroup")).contains(&format!("/{prefix}"));
    (told || inside).then(|| format!("process {pid}: {line}"))
}

fn entries(dir: &Path) -> impl Iterator<Item = String> {
    fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
}
