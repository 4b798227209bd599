//! Faults that a switch or a cable can have beside a cut: packet rules on the bridge's ports.

use anyhow::Result;

use super::{Network, host, run};

/// The class of packets that wait in a slow queue, see [`Network::add_slow_queue`].
pub const SLOW: &str = "1:2";

impl Network {
    /// Puts these chains of nftables' family `netdev` into the LAN, in place of earlier ones; none
    /// ends the faults. ARP passes there too, and the ports bear the hosts' names: `ingress` is what
    /// a host sends, `egress` what it gets.
    pub fn set_rules(&self, chains: &str) -> Result<()> {
        // One transaction; the first line is for the first time, when there is nothing to delete.
        let rules = format!(
            "table netdev faults\ndelete table netdev faults\ntable netdev faults {{\n{chains}\n}}\n"
        );
        host::enter_netns(&self.lan, || run("nft", &["-f", "-"], &rules))?
    }

    /// What goes to this host with priority [`SLOW`] leaves at so many bits per second and is
    /// overtaken by everything else.
    pub fn add_slow_queue(&self, host: &str, rate: u32) -> Result<()> {
        let port = &self.host(host)?.name;
        let lines = [
            format!("qdisc add dev {port} root handle 1: htb default 1"),
            format!("class add dev {port} parent 1: classid 1:1 htb rate 10gbit quantum 60000"),
            // A burst below one packet: each one but the first waits for those before it.
            format!(
                "class add dev {port} parent 1: classid {SLOW} htb rate {rate} burst 100 quantum 2000"
            ),
            // What would wait longer than this many packets is lost.
            format!("qdisc add dev {port} parent {SLOW} pfifo limit 10"),
        ];
        run("tc", &["-n", &self.lan, "-batch", "-"], &lines.join("\n"))
    }

    /// Takes the slow queue away.
    pub fn remove_slow_queue(&self, host: &str) -> Result<()> {
        let port = &self.host(host)?.name;
        run(
            "tc",
            &["-n", &self.lan, "qdisc", "del", "dev", port, "root"],
            "",
        )
    }
}
