//! One host of the lab: a network namespace with an interface on the LAN.

use std::fmt;
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::process::{ProcessSpec, command_in};

/// A host on the lab's LAN.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Host {
    /// Its name, also that of its bridge port.
    pub name: String,
    /// Its network namespace, as in `/run/netns`.
    pub namespace: String,
    /// Its address on the LAN.
    pub ipv4: Ipv4Addr,
    /// Its address on the LAN.
    pub ipv6: Ipv6Addr,
    /// The hardware address of its `eth0`.
    pub mac: MacAddress,
    /// The pods behind it, if it is a node.
    pub pods: Option<PodNet>,
}

impl Host {
    pub(super) fn on_lan(name: &str, namespace: &str, ipv4: Ipv4Addr) -> Self {
        Self {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            ipv4,
            ipv6: super::lan_address_v6(ipv4),
            mac: MacAddress::for_address(ipv4),
            pods: None,
        }
    }

    pub(super) fn with_pods(self, index: u8) -> Self {
        Self {
            pods: Some(PodNet { index }),
            ..self
        }
    }

    /// A command with this host's network, its arguments yet to be added.
    pub fn command(&self, program: &str) -> Command {
        let mut command = command_in(&self.namespace);
        command.arg(program);
        command
    }

    /// Runs a program with this host's network; what it wrote, and whether it succeeded.
    pub fn run(&self, program: &str, args: &[&str]) -> Result<(String, bool)> {
        let output = self.command(program).args(args).output();
        let output = output.with_context(|| format!("cannot run {program} on {}", self.name))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok((text, output.status.success()))
    }

    /// Drops what speakers say to each other, in both directions. Beside kube-proxy's own tables.
    pub fn block_peers(&self) -> Result<()> {
        self.nft(&["table inet blocked {
            chain in { type filter hook input priority -300; udp dport 7946 drop; }
            chain out { type filter hook output priority -300; udp dport 7946 drop; }
        }"])
    }

    /// Undoes [`Self::block_peers`].
    pub fn unblock_peers(&self) -> Result<()> {
        self.nft(&["delete", "table", "inet", "blocked"])
    }

    fn nft(&self, args: &[&str]) -> Result<()> {
        let (said, is_done) = self.run("nft", args)?;
        ensure!(is_done, "nft {args:?} on {}: {said}", self.name);
        Ok(())
    }

    /// The kernel's neighbour entry of an address: hardware address and state, empty without one.
    pub fn neighbour(&self, link: &str, address: IpAddr) -> Result<(String, String)> {
        let address = address.to_string();
        let args = ["-j", "neigh", "show", &address, "dev", link];
        let (text, _) = self.run("ip", &args)?;
        let entries: Value = serde_json::from_str(&text).unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok((text(&entries[0]["lladdr"]), text(&entries[0]["state"][0])))
    }

    /// A process with this host's network.
    pub fn process(&self, name: impl Into<String>, program: impl Into<PathBuf>) -> ProcessSpec {
        ProcessSpec::new(name, &self.namespace, program)
    }

    /// The network namespace of this node's hollow pods.
    pub fn pods_namespace(&self) -> String {
        format!("{}-pods", self.namespace)
    }

    /// Runs a closure with this host's network, on a thread of its own: sockets that it opens stay
    /// in that network wherever they are used later.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        enter_netns(&self.namespace, work)
    }
}

/// [`Host::enter`] for any namespace.
pub(crate) fn enter_netns<T: Send>(namespace: &str, work: impl FnOnce() -> T + Send) -> Result<T> {
    let path = format!("/run/netns/{namespace}");
    let file = File::open(&path).with_context(|| format!("cannot open {path}"))?;
    let on_thread = || {
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
            .with_context(|| format!("cannot enter network namespace {namespace}"))?;
        Ok(work())
    };
    thread::scope(|scope| match scope.spawn(on_thread).join() {
        Ok(result) => result,
        // A failed assertion in the closure is the caller's.
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

/// The addresses of the pods behind one node.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct PodNet {
    /// The node's number, from 1.
    index: u8,
}

impl PodNet {
    /// `10.244.i.0/24`.
    pub fn cidr_v4(&self) -> String {
        format!("10.244.{}.0/24", self.index)
    }

    /// `fd00:244:i::/64`.
    pub fn cidr_v6(&self) -> String {
        format!("fd00:244:{:x}::/64", self.index)
    }

    /// The pod address that ends in `last`; 1 is the node's own end.
    pub fn ipv4(&self, last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 244, self.index, last)
    }

    /// The pod address that ends in `last`; 1 is the node's own end.
    pub fn ipv6(&self, last: u8) -> Ipv6Addr {
        Ipv6Addr::new(0xfd00, 0x244, self.index.into(), 0, 0, 0, 0, last.into())
    }
}

/// A hardware address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MacAddress(pub [u8; 6]);

impl MacAddress {
    /// Locally administered (bit 1 of the first octet), then the IPv4 address: readable in a
    /// capture, and the same in every run.
    pub(super) fn for_address(ipv4: Ipv4Addr) -> Self {
        let [a, b, c, d] = ipv4.octets();
        Self([0x02, 0, a, b, c, d])
    }

    /// Is it the address of all hosts on the link?
    pub fn is_broadcast(self) -> bool {
        self.0 == [0xff; 6]
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}
