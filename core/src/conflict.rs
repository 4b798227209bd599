//! How a speaker tells the controller that an address cannot serve: one entry of the `ConfigMap`
//! [`CONFLICTS_NAME`](crate::names::CONFLICTS_NAME) per address, in the namespace of both.
//!
//! ```text
//! data:
//!   192.168.64.200: '{"address":"192.168.64.200","mac":"02:00:c0:a8:40:64","node":"n1",
//!                     "service":"shop/web","time":"2026-11-25T18:00:00Z","announced":false}'
//!   192.168.64.255: '{"address":"192.168.64.255","mac":"00:00:00:00:00:00","node":"n1",
//!                     "service":"shop/db","time":"2026-11-25T18:00:00Z","announced":true,
//!                     "subnet":"192.168.64.0/24"}'
//!   192.168.64.1: '{"address":"192.168.64.1","mac":"00:00:00:00:00:00","node":"n1","service":"/",
//!                   "time":"2026-11-25T18:00:00Z","announced":true,"gateway":true}'
//!   fd00_64__200: …
//! ```
//!
//! A gateway is reported before any Service has it, so none is named. All nodes of a subnet have the same one: who
//! finds a fresh report of it, whoever's it is, writes none.

use std::net::{AddrParseError, IpAddr};
use std::time::Duration;

use ipnetwork::{IpNetwork, IpNetworkError};
use jiff::Timestamp;
use pnet_base::{MacAddr, ParseMacAddrErr};
use serde::{Deserialize, Serialize};

use crate::address::canonical;
use crate::names::{ANNOTATION_PREFIXES, LOAD_BALANCER_IP, annotation};
use crate::subnet::no_host;
use crate::view::{AddressRequest, ServiceKey};

/// Entries that there may be. With the longest names an entry has 700 bytes, and a `ConfigMap` may have
/// 1 MiB.
pub const MOST_REPORTS: usize = 1_000;
/// The longest name of a Node; namespaces and Services have shorter ones.
const LONGEST_NAME: usize = 253;

/// How long the controller puts an address aside that another host has. A host that was switched on
/// by mistake is gone by then, and a probe each ten minutes disturbs nobody.
pub const PUT_ASIDE: Duration = Duration::from_mins(10);
/// The same of one that no host can have: only another subnet changes that.
pub const PUT_ASIDE_NO_HOST: Duration = Duration::from_hours(24);
/// The same of a node's gateway: the router stays where it is, and what it had is free again a day after.
pub const PUT_ASIDE_GATEWAY: Duration = Duration::from_hours(24);
/// So many gateways of a node count: one in wrong hands takes no pool away.
pub const MOST_GATEWAYS: usize = 16;
/// After which time a speaker reports again that another host has an address: before the controller
/// forgets it.
pub const REPORT_AGAIN: Duration = Duration::from_mins(8);
/// The same of an address that no host can have.
pub const REPORT_AGAIN_NO_HOST: Duration = Duration::from_hours(12);
/// The same of a gateway: the first node does so that comes to it within [`SPREAD_GATEWAY`].
pub const REPORT_AGAIN_GATEWAY: Duration = Duration::from_hours(12);
/// So long the nodes that have the same gateway are spread over.
pub const SPREAD_GATEWAY: Duration = Duration::from_hours(1);
/// A report is as old as its way to the controller, by two clocks that may differ a little.
const ON_ITS_WAY: Duration = Duration::from_mins(1);

const fn comes_in_time(again: Duration, put_aside: Duration) -> bool {
    again.as_secs() + ON_ITS_WAY.as_secs() < put_aside.as_secs()
}
const _: () = assert!(comes_in_time(REPORT_AGAIN, PUT_ASIDE));
const _: () = assert!(comes_in_time(REPORT_AGAIN_NO_HOST, PUT_ASIDE_NO_HOST));
const _: () = assert!(comes_in_time(
    REPORT_AGAIN_GATEWAY.saturating_add(SPREAD_GATEWAY),
    PUT_ASIDE_GATEWAY
));

/// Why an address cannot serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The host with this hardware address has it.
    Host(MacAddr),
    /// No host of this subnet, a node's, can have it: see [`no_host`].
    Subnet(IpNetwork),
    /// It is the next hop of a default route of the node that reports it.
    Gateway,
}

impl Cause {
    /// How long the address is put aside after a report.
    #[must_use]
    pub const fn put_aside(self) -> Duration {
        match self {
            Self::Host(_) => PUT_ASIDE,
            Self::Subnet(_) => PUT_ASIDE_NO_HOST,
            Self::Gateway => PUT_ASIDE_GATEWAY,
        }
    }
}

/// What a speaker found out about an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is.
    pub cause: Cause,
    /// The speaker's node.
    pub node: String,
}

impl Finding {
    /// Who or what has `address`, as the end of a sentence: `, which …`.
    #[must_use]
    pub fn which(&self, address: IpAddr) -> String {
        let node = &self.node;
        match self.cause {
            Cause::Host(mac) => {
                format!("which the host with MAC {mac} (heard by node {node}) uses")
            }
            Cause::Subnet(subnet) => {
                let what = no_host(address, subnet).map_or_else(String::new, |it| it.to_string());
                format!("which is {what} of {subnet}, the subnet of node {node}, and no host's")
            }
            Cause::Gateway => format!("which is the gateway of node {node}"),
        }
    }
}

/// The command by which a person gives `service` another address in place of one that it did not ask
/// for by name.
#[must_use]
pub fn give_another(service: &ServiceKey, requests: &[AddressRequest]) -> String {
    let ServiceKey { namespace, name } = service;
    let request = requests.first();
    // The other family's request stays. Only addresses of it: people copy the command into a shell.
    let wanted = request.into_iter().flat_map(|one| one.text.split(','));
    let wanted = wanted.filter_map(canonical).take(1);
    let wanted = wanted.map(|one| one.to_string());
    let wanted: Vec<_> = wanted.chain(["ADDRESS".to_owned()]).collect();
    let wanted = wanted.join(",");
    if request.is_some_and(|one| one.source == LOAD_BALANCER_IP) {
        return format!(
            "kubectl patch -n {namespace} service {name} -p \
             '{{\"spec\":{{\"loadBalancerIP\":\"{wanted}\"}}}}'"
        );
    }
    let prefix = request
        .and_then(|one| one.source.split_once('/'))
        .map(|(prefix, _)| format!("{prefix}/"))
        .filter(|prefix| ANNOTATION_PREFIXES.contains(&prefix.as_str()));
    let prefix = prefix.as_deref().unwrap_or(ANNOTATION_PREFIXES[0]);
    let annotation = annotation::LOAD_BALANCER_IPS;
    format!(
        "kubectl annotate -n {namespace} service {name} --overwrite {prefix}{annotation}={wanted}"
    )
}

/// An address that a Service was given cannot serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The address.
    pub address: IpAddr,
    /// Why.
    pub cause: Cause,
    /// The node whose speaker found it out.
    pub node: String,
    /// The Service that the address was given to; `None` of a gateway.
    pub service: Option<ServiceKey>,
    /// When the speaker found it out.
    pub time: Timestamp,
    /// Whether the address was announced already, and is so still. Else it is silent, and a node that
    /// takes it over probes it first.
    pub announced: bool,
}

/// Why an entry is not a report.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// Not the fields of a report.
    #[error("not the JSON of a report: {0}")]
    Json(#[from] serde_json::Error),
    /// `address`
    #[error("address {text:?}: {error}")]
    Address {
        /// What stands there.
        text: String,
        /// What is wrong with it.
        error: AddrParseError,
    },
    /// `mac`
    #[error("mac {text:?}: {error}")]
    Mac {
        /// What stands there.
        text: String,
        /// What is wrong with it.
        error: ParseMacAddrErr,
    },
    /// `subnet`
    #[error("subnet {text:?}: {error}")]
    Subnet {
        /// What stands there.
        text: String,
        /// What is wrong with it.
        error: IpNetworkError,
    },
    /// `node`
    #[error("node has {0} bytes, which no name of a Node has")]
    Node(usize),
    /// `service`
    #[error("service {0:?} is not namespace/name")]
    Service(String),
    /// `time`
    #[error("time {text:?}: {error}")]
    Time {
        /// What stands there.
        text: String,
        /// What is wrong with it.
        error: jiff::Error,
    },
    /// The entry is another address's.
    #[error("it is about {0}, which is not its key")]
    Key(IpAddr),
    /// A host of the subnet can have the address.
    #[error("a host of {subnet} can have {address}")]
    Possible {
        /// The subnet.
        subnet: IpNetwork,
        /// The address.
        address: IpAddr,
    },
}

/// The value of an entry.
#[derive(Serialize, Deserialize)]
struct Fields {
    address: String,
    /// Of zeros beside a subnet.
    mac: String,
    node: String,
    service: String,
    time: String,
    #[serde(default)]
    announced: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subnet: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    gateway: bool,
}

/// The key of an address: a `ConfigMap` allows no colon in it.
#[must_use]
pub fn key(address: IpAddr) -> String {
    address.to_string().replace(':', "_")
}

impl Report {
    /// The value of its entry.
    pub fn encode(&self) -> serde_json::Result<String> {
        let (mac, subnet) = match self.cause {
            Cause::Host(mac) => (mac, None),
            Cause::Subnet(subnet) => (MacAddr::zero(), Some(subnet.to_string())),
            Cause::Gateway => (MacAddr::zero(), None),
        };
        let service = self.service.as_ref();
        serde_json::to_string(&Fields {
            address: self.address.to_string(),
            mac: mac.to_string(),
            node: self.node.clone(),
            // A version before wants a name and a namespace, be they empty.
            service: service.map_or_else(|| "/".to_owned(), ToString::to_string),
            time: self.time.to_string(),
            announced: self.announced,
            subnet,
            gateway: self.cause == Cause::Gateway,
        })
    }

    /// The report in an entry. Fields that are not known are passed over.
    pub fn decode(entry: &str, value: &str) -> Result<Self, Unreadable> {
        let fields: Fields = serde_json::from_str(value)?;
        let text = fields.address;
        let address = text.parse();
        let address = address.map_err(|error| Unreadable::Address { text, error })?;
        if key(address) != entry {
            return Err(Unreadable::Key(address));
        }
        let cause = match fields.subnet {
            _ if fields.gateway => Cause::Gateway,
            Some(text) => no_hosts(address, text)?,
            None => {
                let text = fields.mac;
                let mac = text.parse();
                Cause::Host(mac.map_err(|error| Unreadable::Mac { text, error })?)
            }
        };
        // It goes into Events and metrics.
        if fields.node.len() > LONGEST_NAME {
            return Err(Unreadable::Node(fields.node.len()));
        }
        let (namespace, name) = fields
            .service
            .split_once('/')
            .ok_or_else(|| Unreadable::Service(fields.service.clone()))?;
        let service = ServiceKey::new(namespace, name);
        let service = Some(service).filter(|one| !one.name.is_empty());
        let text = fields.time;
        let time = text.parse();
        let time = time.map_err(|error| Unreadable::Time { text, error })?;
        Ok(Self {
            address,
            cause,
            node: fields.node,
            service,
            time,
            announced: fields.announced,
        })
    }

    /// What it says of the address.
    #[must_use]
    pub fn finding(&self) -> Finding {
        Finding {
            cause: self.cause,
            node: self.node.clone(),
        }
    }
}

/// Believed of the first and the last address of a subnet alone.
fn no_hosts(address: IpAddr, text: String) -> Result<Cause, Unreadable> {
    let subnet = text.parse();
    let subnet = subnet.map_err(|error| Unreadable::Subnet { text, error })?;
    no_host(address, subnet).ok_or(Unreadable::Possible { subnet, address })?;
    Ok(Cause::Subnet(subnet))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(address: &str) -> Report {
        Report {
            address: address.parse().unwrap(),
            cause: Cause::Host(MacAddr(0x02, 0, 0xc0, 0xa8, 0x40, 0x64)),
            node: "n1".to_owned(),
            service: Some(ServiceKey::new("shop", "web")),
            time: "2026-11-25T18:00:00Z".parse().unwrap(),
            announced: false,
        }
    }

    #[test]
    fn a_report_is_written_as_documented_and_read_again() {
        let v4 = report("192.168.64.200");
        let text = v4.encode().unwrap();
        assert_eq!(
            text,
            r#"{"address":"192.168.64.200","mac":"02:00:c0:a8:40:64","node":"n1","service":"shop/web","time":"2026-11-25T18:00:00Z","announced":false}"#
        );
        for (report, entry) in [
            (v4, "192.168.64.200"),
            (report("fd00:64::200"), "fd00_64__200"),
        ] {
            assert_eq!(key(report.address), entry);
            let text = report.encode().unwrap();
            assert_eq!(Report::decode(entry, &text).unwrap(), report);
            let older = text.replace(",\"announced\":false", "");
            assert_eq!(Report::decode(entry, &older).unwrap(), report);
        }
    }

    #[test]
    fn a_report_of_a_subnet_is_written_so_that_the_version_before_reads_it_too() {
        for (address, subnet) in [
            ("192.168.64.255", "192.168.64.0/24"),
            ("fd00:64::", "fd00:64::/64"),
        ] {
            let found = Report {
                cause: Cause::Subnet(subnet.parse().unwrap()),
                announced: true,
                ..report(address)
            };
            let text = found.encode().unwrap();
            let fields = r#""mac":"00:00:00:00:00:00","node":"n1","service":"shop/web","time":"2026-11-25T18:00:00Z","announced":true,"#;
            assert!(text.contains(fields), "{text}");
            assert_eq!(Report::decode(&key(found.address), &text).unwrap(), found);
            // It is a word about the first or the last address, and no way to take any other.
            let another = text.replace(subnet, "192.168.0.0/16");
            let error = Report::decode(&key(found.address), &another).unwrap_err();
            assert!(matches!(error, Unreadable::Possible { .. }), "{error}");
            let nonsense = text.replace(subnet, "192.168.64.0/33");
            let error = Report::decode(&key(found.address), &nonsense).unwrap_err();
            assert!(error.to_string().starts_with("subnet"), "{error}");
        }
    }

    /// One without `gateway` says that a host with an impossible hardware address has it: for ten minutes.
    #[test]
    fn a_report_of_a_gateway_names_no_service_and_the_version_before_reads_it_too() {
        let gateway = Report {
            cause: Cause::Gateway,
            service: None,
            announced: true,
            ..report("fd00:64::1")
        };
        let text = gateway.encode().unwrap();
        assert_eq!(
            text,
            r#"{"address":"fd00:64::1","mac":"00:00:00:00:00:00","node":"n1","service":"/","time":"2026-11-25T18:00:00Z","announced":true,"gateway":true}"#
        );
        let read = Report::decode("fd00_64__1", &text).unwrap();
        assert_eq!(read, gateway);
        let which = read.finding().which(read.address);
        assert_eq!(which, "which is the gateway of node n1");
        let before = text.replace(r#","gateway":true"#, "");
        let before = Report::decode("fd00_64__1", &before).unwrap();
        assert_eq!(before.cause, Cause::Host(MacAddr::zero()));
    }

    #[test]
    fn so_many_reports_as_there_may_be_fit_into_a_config_map() {
        let longest = Report {
            cause: Cause::Subnet(
                "1111:2222:3333:4444:5555:6666:7777:8880/124"
                    .parse()
                    .unwrap(),
            ),
            node: "n".repeat(LONGEST_NAME),
            service: Some(ServiceKey::new("s".repeat(63), "w".repeat(63))),
            time: "2026-11-25T18:00:00.123456789Z".parse().unwrap(),
            ..report("1111:2222:3333:4444:5555:6666:7777:8880")
        };
        let entry = key(longest.address).len() + longest.encode().unwrap().len();
        assert!(entry * MOST_REPORTS < 800 << 10, "{entry} bytes each");
        let longer = Report {
            node: "n".repeat(LONGEST_NAME + 1),
            ..longest
        };
        let error = Report::decode(&key(longer.address), &longer.encode().unwrap()).unwrap_err();
        assert!(error.to_string().starts_with("node has 254"), "{error}");
    }

    #[test]
    fn the_command_for_another_address_follows_how_the_service_asks_for_addresses() {
        let asks = |request: Option<(&str, &str)>| {
            let request = request.map(|(source, text)| AddressRequest {
                source: source.to_owned(),
                text: text.to_owned(),
            });
            give_another(&report("fd00::2").service.unwrap(), request.as_slice())
        };
        let annotate = "kubectl annotate -n shop service web --overwrite ";
        let rows = [
            (None, "metallb.io/loadBalancerIPs=ADDRESS"),
            (
                Some(("metallb.universe.tf/loadBalancerIPs", " fd00::1 ")),
                "metallb.universe.tf/loadBalancerIPs=fd00::1,ADDRESS",
            ),
            // What a tenant wrote goes into no shell.
            (
                Some(("metallb.io/loadBalancerIPs", "fd00::1;reboot,$(reboot)")),
                "metallb.io/loadBalancerIPs=ADDRESS",
            ),
        ];
        for (request, end) in rows {
            assert_eq!(asks(request), format!("{annotate}{end}"));
        }
        assert_eq!(
            asks(Some(("spec.loadBalancerIP", "fd00::1"))),
            r#"kubectl patch -n shop service web -p '{"spec":{"loadBalancerIP":"fd00::1,ADDRESS"}}'"#
        );
    }

    #[test]
    fn what_is_no_report_says_what_is_wrong() {
        let good = report("192.168.64.200").encode().unwrap();
        let rows = [
            ("192.168.64.200", "address", "192.168.64.300"),
            ("02:00:c0:a8:40:64", "mac", "02:00:c0"),
            ("shop/web", "service", "web"),
            ("2026-11-25T18:00:00Z", "time", "yesterday"),
        ];
        for (from, field, to) in rows {
            let text = good.replace(from, to);
            let error = Report::decode("192.168.64.200", &text).unwrap_err();
            let said = error.to_string();
            assert!(said.starts_with(field) && said.contains(to), "{said}");
        }
        let error = Report::decode("192.168.64.201", &good).unwrap_err();
        assert!(error.to_string().contains("not its key"), "{error}");
        let error = Report::decode("192.168.64.200", "{}").unwrap_err();
        assert!(error.to_string().contains("missing field"), "{error}");
    }
}
