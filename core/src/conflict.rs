//! How a speaker tells the controller that another host has an address: one entry of the `ConfigMap`
//! [`CONFLICTS_NAME`](crate::names::CONFLICTS_NAME) per address, in the namespace of both.
//!
//! ```text
//! data:
//!   192.168.64.200: '{"address":"192.168.64.200","mac":"02:00:c0:a8:40:64","node":"n1",
//!                     "service":"shop/web","time":"2026-11-25T18:00:00Z","announced":false}'
//!   fd00_64__200: …
//! ```

use std::net::{AddrParseError, IpAddr};

use jiff::Timestamp;
use pnet_base::{MacAddr, ParseMacAddrErr};
use serde::{Deserialize, Serialize};

use crate::view::ServiceKey;

/// Another host has an address that a Service was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The address.
    pub address: IpAddr,
    /// The host's hardware address.
    pub mac: MacAddr,
    /// The node whose speaker heard it.
    pub node: String,
    /// The Service that the address was given to.
    pub service: ServiceKey,
    /// When the speaker heard it.
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
}

/// The value of an entry.
#[derive(Serialize, Deserialize)]
struct Fields {
    address: String,
    mac: String,
    node: String,
    service: String,
    time: String,
    #[serde(default)]
    announced: bool,
}

/// The key of an address: a `ConfigMap` allows no colon in it.
#[must_use]
pub fn key(address: IpAddr) -> String {
    address.to_string().replace(':', "_")
}

impl Report {
    /// The value of its entry.
    pub fn encode(&self) -> serde_json::Result<String> {
        serde_json::to_string(&Fields {
            address: self.address.to_string(),
            mac: self.mac.to_string(),
            node: self.node.clone(),
            service: self.service.to_string(),
            time: self.time.to_string(),
            announced: self.announced,
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
        let text = fields.mac;
        let mac = text.parse();
        let mac = mac.map_err(|error| Unreadable::Mac { text, error })?;
        let (namespace, name) = fields
            .service
            .split_once('/')
            .ok_or_else(|| Unreadable::Service(fields.service.clone()))?;
        let service = ServiceKey {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        let text = fields.time;
        let time = text.parse();
        let time = time.map_err(|error| Unreadable::Time { text, error })?;
        Ok(Self {
            address,
            mac,
            node: fields.node,
            service,
            time,
            announced: fields.announced,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(address: &str) -> Report {
        Report {
            address: address.parse().unwrap(),
            mac: MacAddr(0x02, 0, 0xc0, 0xa8, 0x40, 0x64),
            node: "n1".to_owned(),
            service: ServiceKey {
                namespace: "shop".to_owned(),
                name: "web".to_owned(),
            },
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
