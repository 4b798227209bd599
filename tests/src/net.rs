//! The lab's LAN: one bridge, in a namespace of its own, and a veth to each host. Since every lab
//! has its own bridge, all labs use the same addresses.
//!
//! ```text
//!            bridge br0 in NAME-lan: 192.168.64.0/24, fd00:64::/64, the router .1
//!   ┌───────────┬───────────┬───────────┬──────────────┐
//!  cp .2      n1 .11      n2 .12      n3 .13      client .100      (interface eth0 in NAME-n1 …)
//!              │           │           │
//!        10.244.1.0/24  10.244.2.0/24  …   the pods behind each node, fd00:244:1::/64 …
//! ```

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};

use crate::state::State;
use crate::wait::wait_until;

mod host;
mod rules;
#[cfg(test)]
mod tests;

pub use host::{Host, MacAddress, PodNet};
pub use rules::SLOW;

/// Prefix of all network namespaces that labs make.
pub(crate) const NETNS_PREFIX: &str = "fl-";

/// Bits of the LAN's IPv4 prefix.
const LAN_PREFIX_V4: u8 = 24;
/// Bits of the LAN's IPv6 prefix.
const LAN_PREFIX_V6: u8 = 64;
/// The bridge in the LAN's namespace.
const BRIDGE: &str = "br0";

/// All pods, IPv4.
pub const POD_CIDR_V4: &str = "10.244.0.0/16";
/// All pods, IPv6.
pub const POD_CIDR_V6: &str = "fd00:244::/32";

/// Name of the host that runs the control plane.
pub const CONTROL_PLANE: &str = "cp";
/// Name of the host on the LAN that is no part of the cluster.
pub const CLIENT: &str = "client";

/// How long a port may take to have its carrier again.
const CARRIER: Duration = Duration::from_secs(10);

/// The LAN's router. It forwards nothing, but answers: of two speakers that do not hear each other,
/// the one that hears the router serves.
const ROUTER: Ipv4Addr = lan_address(1);

/// How a bridge port treats frames, in the kernel's numbers (`BR_STATE_*`).
const PORT_DISABLED: &str = "0";
const PORT_FORWARDING: &str = "3";

/// The LAN and all hosts on it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Network {
    /// Namespace of the bridge.
    lan: String,
    hosts: Vec<Host>,
}

impl Network {
    /// The plan of a LAN with the control plane, these nodes and one client. Nothing is made yet.
    pub fn plan(lab: &str, nodes: &[(String, Ipv4Addr)]) -> Self {
        let netns = |host: &str| format!("{NETNS_PREFIX}{lab}-{host}");
        let mut hosts = vec![Host::on_lan(
            CONTROL_PLANE,
            &netns(CONTROL_PLANE),
            lan_address(2),
        )];
        for (index, (name, address)) in (1..).zip(nodes) {
            hosts.push(Host::on_lan(name, &netns(name), *address).with_pods(index));
        }
        hosts.push(Host::on_lan(CLIENT, &netns(CLIENT), lan_address(100)));
        Self {
            lan: netns("lan"),
            hosts,
        }
    }

    /// All hosts: control plane, nodes, client.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// The host of this name.
    pub fn host(&self, name: &str) -> Result<&Host> {
        self.hosts
            .iter()
            .find(|host| host.name == name)
            .ok_or_else(|| {
                let names: Vec<&str> = self.hosts.iter().map(|host| host.name.as_str()).collect();
                anyhow!("no host named {name:?}: this lab has {}", names.join(", "))
            })
    }

    /// The nodes.
    pub fn nodes(&self) -> impl Iterator<Item = &Host> {
        self.hosts.iter().filter(|host| host.pods.is_some())
    }

    /// Makes the bridge and the hosts.
    pub fn create(&self, state: &State) -> Result<()> {
        create_netns(state, &self.lan)?;
        host::enter_netns(&self.lan, || {
            // Its ports carry IPv6 for others; the bridge itself speaks IPv4 alone.
            set_sysctls(&[("ipv6/conf/default/disable_ipv6", "1")])
        })??;
        ip_batch(
            &self.lan,
            &[
                format!(
                    "link add {BRIDGE} address {} type bridge stp_state 0 forward_delay 0",
                    MacAddress::for_address(ROUTER)
                ),
                format!("addr add {ROUTER}/{LAN_PREFIX_V4} dev {BRIDGE}"),
                format!("link set {BRIDGE} up"),
            ],
        )?;
        for host in &self.hosts {
            self.create_host(state, host)
                .with_context(|| format!("cannot make {}", host.name))?;
        }
        Ok(())
    }

    fn create_host(&self, state: &State, host: &Host) -> Result<()> {
        create_netns(state, &host.namespace)?;
        host.enter(|| {
            set_sysctls(&[
                // No waiting for duplicate address detection: addresses are usable at once.
                ("ipv6/conf/all/accept_dad", "0"),
                ("ipv6/conf/default/accept_dad", "0"),
                ("ipv4/conf/all/rp_filter", "0"),
                ("ipv4/conf/default/rp_filter", "0"),
            ])?;
            if host.pods.is_some() {
                set_sysctls(&[("ipv4/ip_forward", "1"), ("ipv6/conf/all/forwarding", "1")])?;
            }
            anyhow::Ok(())
        })??;
        let (port, netns, mac) = (&host.name, &host.namespace, host.mac);
        ip_batch(
            &self.lan,
            &[
                format!("link add {port} type veth peer name eth0 address {mac} netns {netns}"),
                format!("link set {port} master {BRIDGE} up"),
            ],
        )?;
        let mut lines = vec![
            "link set lo up".to_owned(),
            "link set eth0 up".to_owned(),
            format!("addr add {}/{LAN_PREFIX_V4} dev eth0", host.ipv4),
            format!("addr add {}/{LAN_PREFIX_V6} dev eth0 nodad", host.ipv6),
        ];
        // The client is no part of the cluster: it knows the LAN alone.
        if host.name != CLIENT {
            lines.extend(self.pod_routes(host));
            // There must be a route: a connection to a Service is routed before kube-proxy puts an
            // endpoint in its place.
            let v6 = lan_address_v6(ROUTER);
            lines.push(format!("route add default via {ROUTER}"));
            lines.push(format!("route add default via {v6}"));
        }
        ip_batch(netns, &lines)
    }

    fn pod_routes(&self, from: &Host) -> Vec<String> {
        let mut lines = Vec::new();
        for node in self.nodes().filter(|node| node.name != from.name) {
            if let Some(pods) = &node.pods {
                lines.push(format!("route add {} via {}", pods.cidr_v4(), node.ipv4));
                lines.push(format!("route add {} via {}", pods.cidr_v6(), node.ipv6));
            }
        }
        lines
    }

    /// Cuts a host from the LAN. Without `carrier` silently, as a switch does that fails: the host
    /// sees its link up. With `carrier` the host sees its link go down.
    pub fn cut(&self, host: &str, carrier: bool) -> Result<()> {
        let port = &self.host(host)?.name;
        if carrier {
            return ip_batch(&self.lan, &[format!("link set {port} down")]);
        }
        self.set_port_state(port, PORT_DISABLED)
    }

    /// Cuts hosts from the LAN in one moment, silently.
    pub fn cut_together(&self, hosts: &[&str]) -> Result<()> {
        let line = |host: &&str| {
            let port = &self.host(host)?.name;
            Ok(format!(
                "link set dev {port} type bridge_slave state {PORT_DISABLED}"
            ))
        };
        let lines: Vec<_> = hosts.iter().map(line).collect::<Result<_>>()?;
        ip_batch(&self.lan, &lines)
    }

    /// Undoes [`Network::cut`], whichever it was.
    pub fn heal(&self, host: &str) -> Result<()> {
        let port = &self.host(host)?.name;
        ip_batch(&self.lan, &[format!("link set {port} up")])?;
        // Refused until the port has its carrier again, which a busy kernel takes note of later.
        let is_set = || Ok(self.set_port_state(port, PORT_FORWARDING).is_ok());
        wait_until(CARRIER, is_set, || Ok(()))
            .or_else(|_| self.set_port_state(port, PORT_FORWARDING))
    }

    fn set_port_state(&self, port: &str, state: &str) -> Result<()> {
        run(
            "bridge",
            &["-n", &self.lan, "link", "set", "dev", port, "state", state],
            "",
        )
    }
}

/// 192.168.64.`last`.
pub const fn lan_address(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 64, last)
}

/// The LAN's IPv6 address beside an IPv4 one: fd00:64::`last`, the digits as they read.
fn lan_address_v6(ipv4: Ipv4Addr) -> Ipv6Addr {
    let last = u16::from(ipv4.octets()[3]);
    // 100 becomes ::100, not ::64: a person compares them by eye.
    let digits = (last / 100) << 8 | (last / 10 % 10) << 4 | (last % 10);
    Ipv6Addr::new(0xfd00, 0x64, 0, 0, 0, 0, 0, digits)
}

/// Makes a network namespace, noted in the state first.
pub fn create_netns(state: &State, name: &str) -> Result<()> {
    let _not_ending = state.making()?;
    state.note_netns(name)?;
    run("ip", &["netns", "add", name], "")
}

/// Runs lines of `ip` in a namespace; the first one that fails ends it.
pub fn ip_batch(netns: &str, lines: &[String]) -> Result<()> {
    run("ip", &["-n", netns, "-batch", "-"], &lines.join("\n"))
}

/// Writes below `/proc/sys/net` of the namespace that the thread is in.
pub fn set_sysctls(settings: &[(&str, &str)]) -> Result<()> {
    for (name, value) in settings {
        fs::write(format!("/proc/sys/net/{name}"), value)
            .with_context(|| format!("cannot set net/{name} to {value}"))?;
    }
    Ok(())
}

fn run(program: &str, args: &[&str], input: &str) -> Result<()> {
    let output = crate::command::output_with_input(program, args, input)?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        bail!("{program} {} failed: {}", args.join(" "), text.trim());
    }
    Ok(())
}
