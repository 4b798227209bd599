//! A LAN in network namespaces: two nodes that forward as kube-proxy does, a third one with a backend, a
//! client beside them and one behind a router. The namespaces end with the processes that hold them.
//!
//! ```text
//!        br0 in "lan": 192.168.77.0/24, fd77::/64
//!    ┌─────────┬─────────┬──────────┬──────────┐
//!   a .11     b .12     c .13    client .14  router .1 ── remote 172.31.77.2
//!    │         │      backend
//!   pa .2     pb .2     (pods, 10.99.1.0/24 and 10.99.2.0/24)
//! ```

use std::collections::BTreeMap;
use std::fs::File;
use std::net::IpAddr;
use std::os::fd::AsFd as _;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Backend on the third node; on A, reached from anywhere; on A and on B, as a Service of policy Local.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    Far,
    OnA,
    Local,
}

impl Service {
    pub(crate) const ALL: [Self; 3] = [Self::Far, Self::OnA, Self::Local];

    pub(crate) fn vip(self, six: bool) -> IpAddr {
        let last = 200 + self as u16;
        let text = match six {
            false => format!("192.168.77.{last}"),
            true => format!("fd77::{last}"),
        };
        text.parse().unwrap()
    }
}

pub(crate) const PORT: u16 = 9_000;

/// Whoever holds a namespace ends by itself after this.
const LIFETIME: &str = "180";

pub(crate) struct Lan {
    holders: BTreeMap<&'static str, Child>,
}

impl Drop for Lan {
    fn drop(&mut self) {
        for holder in self.holders.values_mut() {
            let _ = holder.kill();
            let _ = holder.wait();
        }
    }
}

impl Lan {
    pub(crate) fn build() -> Self {
        let names = [
            "lan", "a", "b", "c", "pa", "pb", "client", "router", "remote",
        ];
        let holders = names.map(|name| (name, hold()));
        let lan = Self {
            holders: holders.into(),
        };
        for name in names {
            lan.ip(name, "link set lo up");
        }
        lan.ip("lan", "link add br0 type bridge forward_delay 0");
        lan.ip("lan", "link set br0 up");
        for (name, last) in [
            ("a", 11),
            ("b", 12),
            ("c", 13),
            ("client", 14),
            ("router", 1),
        ] {
            lan.cable("lan", &format!("p-{name}"), name, "eth0");
            lan.ip("lan", &format!("link set p-{name} master br0"));
            lan.address(
                name,
                "eth0",
                &format!("192.168.77.{last}/24"),
                &format!("fd77::{last}/64"),
            );
        }
        for node in ["a", "b", "c", "router"] {
            lan.set(node, "net/ipv4/ip_forward", "1");
            lan.set(node, "net/ipv6/conf/all/forwarding", "1");
            lan.set(node, "net/ipv4/conf/all/rp_filter", "1");
            lan.set(node, "net/ipv4/conf/eth0/rp_filter", "1");
        }
        for (node, pod, n, other) in [("a", "pa", 1, 2), ("b", "pb", 2, 1)] {
            lan.cable(node, "pod0", pod, "eth0");
            lan.address(
                node,
                "pod0",
                &format!("10.99.{n}.1/24"),
                &format!("fd99:{n}::1/64"),
            );
            lan.address(
                pod,
                "eth0",
                &format!("10.99.{n}.2/24"),
                &format!("fd99:{n}::2/64"),
            );
            lan.ip(pod, &format!("route add default via 10.99.{n}.1"));
            lan.ip(pod, &format!("-6 route add default via fd99:{n}::1"));
            lan.ip(
                node,
                &format!("route add 10.99.{other}.0/24 via 192.168.77.1{other}"),
            );
            lan.ip(
                node,
                &format!("-6 route add fd99:{other}::/64 via fd77::1{other}"),
            );
        }
        for node in ["a", "b", "c", "client"] {
            lan.ip(node, "route add default via 192.168.77.1");
            lan.ip(node, "-6 route add default via fd77::1");
        }
        lan.cable("router", "eth1", "remote", "eth0");
        lan.address("router", "eth1", "172.31.77.1/24", "fd31::1/64");
        lan.address("remote", "eth0", "172.31.77.2/24", "fd31::2/64");
        lan.ip("remote", "route add default via 172.31.77.1");
        lan.ip("remote", "-6 route add default via fd31::1");
        for (node, own) in [("a", 1), ("b", 2)] {
            lan.nft(node, &kube_proxy(own));
        }
        lan
    }

    /// The Vips are at this node from now on, for whoever is on the LAN.
    pub(crate) fn give_to(&self, node: &str) {
        let mac = self.mac(node);
        for host in ["client", "router"] {
            for vip in Service::ALL
                .into_iter()
                .flat_map(|service| [service.vip(false), service.vip(true)])
            {
                self.ip(
                    host,
                    &format!("neigh replace {vip} lladdr {mac} dev eth0 nud permanent"),
                );
            }
        }
    }

    /// The router passes on what belongs to a connection that began outside, counts the rest, and drops it.
    pub(crate) fn make_router_stateful(&self) {
        let rules = "table inet firewall {
           counter dropped { packets 0 bytes 0 }
           chain forward { type filter hook forward priority filter; policy drop;
             ct state established,related accept
             iifname \"eth1\" tcp flags & (syn|ack) == syn ct state new accept
             counter name dropped
           }
         }";
        self.nft("router", rules);
    }

    /// The sum of the named counters of a host: SYNs that came to a node, what the router dropped.
    pub(crate) fn counted_on(&self, host: &str) -> u64 {
        let shown = self.run(host, &["nft", "list", "counters"]);
        let mut words = shown.split_whitespace();
        let mut sum = 0;
        while words.any(|word| word == "packets") {
            sum += words.next().unwrap().parse::<u64>().unwrap();
        }
        sum
    }

    /// The node's port on the LAN is dead.
    pub(crate) fn cut(&self, node: &str) {
        self.ip("lan", &format!("link set p-{node} down"));
    }

    pub(crate) fn mac(&self, node: &str) -> String {
        let shown = self.run(node, &["ip", "-br", "link", "show", "eth0"]);
        shown.split_whitespace().nth(2).unwrap().to_owned()
    }

    /// A thread whose sockets are in this namespace.
    pub(crate) fn within<T: Send + 'static>(
        &self,
        host: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> thread::JoinHandle<T> {
        let namespace = File::open(self.namespace(host)).unwrap();
        thread::spawn(move || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            work()
        })
    }

    /// A program in this namespace.
    pub(crate) fn command(&self, host: &str, program: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net={}", self.namespace(host)))
            .arg("--")
            .args(program);
        command
    }

    pub(crate) fn ip(&self, host: &str, arguments: &str) {
        let arguments: Vec<&str> = arguments.split_whitespace().collect();
        self.run(host, &[&["ip"], &arguments[..]].concat());
    }

    pub(crate) fn nft(&self, host: &str, rules: &str) {
        self.run(host, &["nft", rules]);
    }

    pub(crate) fn set(&self, host: &str, key: &str, value: &str) {
        self.run(
            host,
            &["sh", "-c", &format!("echo {value} > /proc/sys/{key}")],
        );
    }

    pub(crate) fn run(&self, host: &str, program: &[&str]) -> String {
        let output = self.command(host, program).output().unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{program:?} on {host}: {complaint}"
        );
        String::from_utf8(output.stdout).unwrap()
    }

    fn namespace(&self, host: &str) -> String {
        format!("/proc/{}/ns/net", self.holders[host].id())
    }

    fn cable(&self, host: &str, port: &str, other: &str, other_port: &str) {
        let pid = self.holders[other].id();
        self.ip(
            host,
            &format!("link add {port} type veth peer name {other_port} netns {pid}"),
        );
        self.ip(host, &format!("link set {port} up"));
        self.ip(other, &format!("link set {other_port} up"));
    }

    fn address(&self, host: &str, link: &str, v4: &str, v6: &str) {
        self.ip(host, &format!("addr add {v4} dev {link}"));
        self.ip(host, &format!("-6 addr add {v6} dev {link} nodad"));
    }
}

/// A process in a network namespace of its own, once it is there.
fn hold() -> Child {
    let own = std::fs::read_link("/proc/self/ns/net").unwrap();
    let holder = Command::new("unshare")
        .args(["--net", "sleep", LIFETIME])
        .stdin(Stdio::null())
        .spawn()
        .expect("unshare(1); these tests need root");
    let deadline = Instant::now() + Duration::from_secs(10);
    let namespace = format!("/proc/{}/ns/net", holder.id());
    while std::fs::read_link(&namespace).is_ok_and(|it| it == own) {
        assert!(
            Instant::now() < deadline,
            "no network namespace: these tests need root"
        );
        thread::sleep(Duration::from_millis(2));
    }
    holder
}

/// What kube-proxy's rules do with these Services on a node, and what counts SYNs to them.
fn kube_proxy(own: u8) -> String {
    let far = ("192.168.77.13", "fd77::13");
    let local = (format!("10.99.{own}.2"), format!("fd99:{own}::2"));
    format!(
        "table ip kp {{
           chain pre {{ type nat hook prerouting priority dstnat;
             ip daddr 192.168.77.200 tcp dport {PORT} meta mark set 0x4000 dnat to {}:{PORT}
             ip daddr 192.168.77.201 tcp dport {PORT} meta mark set 0x4000 dnat to 10.99.1.2:{PORT}
             ip daddr 192.168.77.202 tcp dport {PORT} dnat to {}:{PORT}
           }}
           chain post {{ type nat hook postrouting priority srcnat; meta mark 0x4000 masquerade; }}
           chain forw {{ type filter hook forward priority filter; ct state invalid drop; }}
           counter syns {{ packets 0 bytes 0 }}
           chain count {{ type filter hook prerouting priority raw;
             ip daddr 192.168.77.200-192.168.77.202 tcp flags & (syn|ack) == syn counter name syns;
           }}
         }}
         table ip6 kp {{
           chain pre {{ type nat hook prerouting priority dstnat;
             ip6 daddr fd77::200 tcp dport {PORT} meta mark set 0x4000 dnat to [{}]:{PORT}
             ip6 daddr fd77::201 tcp dport {PORT} meta mark set 0x4000 dnat to [fd99:1::2]:{PORT}
             ip6 daddr fd77::202 tcp dport {PORT} dnat to [{}]:{PORT}
           }}
           chain post {{ type nat hook postrouting priority srcnat; meta mark 0x4000 masquerade; }}
           chain forw {{ type filter hook forward priority filter; ct state invalid drop; }}
           counter syns {{ packets 0 bytes 0 }}
           chain count {{ type filter hook prerouting priority raw;
             ip6 daddr fd77::200-fd77::202 tcp flags & (syn|ack) == syn counter name syns;
           }}
         }}",
        far.0, local.0, far.1, local.1
    )
}
