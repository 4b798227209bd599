//! What a lab needs of the machine, checked before anything is made.

use std::process::Command;

use anyhow::{Result, bail};

use crate::debian;

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
