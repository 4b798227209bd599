//! What a lab needs of the machine, checked before anything is made.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::statvfs;

use crate::control_plane::Placement;
use crate::debian;
use crate::lab::NodeKind;
use crate::state::DATA_ROOT;

const MB: u64 = 1_000_000;

/// What a member of etcd writes: two files of 64 MiB that are to become its log, before anything is in them.
const ETCD: u64 = 150 * MB;

/// A program and the package of Debian and Ubuntu that has it.
pub type Program = (&'static str, &'static str);

/// What every lab runs.
const PROGRAMS: &[Program] = &[
    ("ip", "iproute2"),
    ("bridge", "iproute2"),
    ("nsenter", "util-linux"),
    ("setpriv", "util-linux"),
    ("unshare", "util-linux"),
    ("umount", "mount"),
    ("iptables", "iptables"),
    ("ip6tables", "iptables"),
    ("conntrack", "conntrack"),
];

/// Tried in a namespace that vanishes with the shell: each line is a thing that a lab does.
const KERNEL_FEATURES: &[(&str, &str)] = &[
    ("bridges (CONFIG_BRIDGE)", "ip link add br0 type bridge"),
    (
        "veth pairs (CONFIG_VETH)",
        "ip link add veth0 type veth peer name veth1",
    ),
    ("IPv6 (CONFIG_IPV6)", "test -d /proc/sys/net/ipv6"),
    (
        "address translation (CONFIG_NF_NAT)",
        "iptables -w -t nat -L -n",
    ),
    (
        "connection tracking in iptables (CONFIG_NETFILTER_XT_MATCH_CONNTRACK)",
        "iptables -w -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT",
    ),
];

/// Fails with one line that says what to do if the machine cannot run a lab. `more`: programs
/// beyond those that every lab runs.
pub fn check(more: &[Program]) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("the lab makes network namespaces: run it as root (sudo)");
    }
    let programs: Vec<Program> = PROGRAMS.iter().chain(more).copied().collect();
    let missing: Vec<Program> = programs
        .into_iter()
        .filter(|(name, _)| !exists(name))
        .collect();
    if !missing.is_empty() {
        let names: Vec<&str> = missing.iter().map(|(name, _)| *name).collect();
        let mut packages: Vec<&str> = missing.iter().map(|(_, package)| *package).collect();
        packages.dedup();
        bail!(
            "the lab needs {} (of {}): `make setup` brings what it can",
            names.join(", "),
            packages.join(", ")
        );
    }
    check_kernel()
}

/// Fails if the disk has no room for what the lab writes.
pub(crate) fn check_room(kind: NodeKind, nodes: u8, control_plane: Placement) -> Result<()> {
    let data = existing(Path::new(DATA_ROOT));
    let disk =
        statvfs(data).with_context(|| format!("cannot ask for the room in {}", data.display()))?;
    ensure_room(
        room_of(kind, nodes.into(), control_plane),
        disk.f_bavail * disk.f_frsize,
    )
}

fn ensure_room(needed: u64, free: u64) -> Result<()> {
    ensure!(
        free >= needed,
        "the lab writes {} MB into {DATA_ROOT}, and {} MB are free there: make room \
         (`make clean-lab` and `cargo clean` remove what was built)",
        needed / MB,
        free / MB
    );
    Ok(())
}

/// Bytes that a lab writes.
const fn room_of(kind: NodeKind, nodes: u64, control_plane: Placement) -> u64 {
    // Images, as they are and unpacked.
    let node = match kind {
        NodeKind::Real => 200 * MB,
        NodeKind::Hollow => 0,
    };
    let members = match control_plane {
        Placement::Apart => 1,
        Placement::OnNodes => nodes,
    };
    nodes * node + members * ETCD
}

/// The path, or the nearest folder above it that is there.
fn existing(path: &Path) -> &Path {
    path.ancestors().find(|path| path.exists()).unwrap_or(path)
}

fn exists(program: &str) -> bool {
    // Without /usr/sbin in PATH a user's shell would miss half of them; so would we.
    let path = std::env::var_os("PATH").unwrap_or_default();
    debian::program(program).is_file()
        || std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

fn check_kernel() -> Result<()> {
    let tests: Vec<String> = KERNEL_FEATURES
        .iter()
        .map(|(name, command)| format!("{command} >/dev/null 2>&1 || echo '{name}'"))
        .collect();
    let output = Command::new("unshare")
        .args(["--net", "sh", "-c", &tests.join("\n")])
        .output()?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        bail!(
            "cannot make a network namespace (CONFIG_NET_NS, CAP_SYS_ADMIN): {}",
            text.trim()
        );
    }
    let missing = String::from_utf8_lossy(&output.stdout);
    if !missing.trim().is_empty() {
        let list: Vec<&str> = missing.lines().collect();
        bail!(
            "the kernel lacks {}: load the modules or use another kernel",
            list.join(", ")
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lab_that_has_no_room_says_where_and_how_much() {
        assert!(ensure_room(600 * MB, 600 * MB).is_ok());
        let error = ensure_room(600 * MB, 599 * MB).unwrap_err().to_string();
        assert!(
            error.starts_with(
                "the lab writes 600 MB into /var/lib/ferrolb-lab, and 599 MB are free there"
            ),
            "{error}"
        );
    }

    #[test]
    fn each_member_of_etcd_needs_room_and_each_real_node() {
        use NodeKind::{Hollow, Real};
        for (kind, control_plane, needed) in [
            (Hollow, Placement::Apart, ETCD),
            (Hollow, Placement::OnNodes, 3 * ETCD),
            (Real, Placement::Apart, 600 * MB + ETCD),
            (Real, Placement::OnNodes, 600 * MB + 3 * ETCD),
        ] {
            assert_eq!(room_of(kind, 3, control_plane), needed, "{control_plane:?}");
        }
    }

    #[test]
    fn the_disk_of_a_folder_that_is_not_there_yet_is_that_of_the_folder_above() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(existing(&folder.path().join("lab/n1")), folder.path());
    }
}
