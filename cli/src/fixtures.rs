//! What the tests of several verbs show.

use ferrolb_core::report::{
    ConfigurationStatus, ControllerStatus, Explained, PoolStatus, ServiceStatus, SpeakerStatus,
};
use serde::Serialize;
use serde_json::json;

use crate::output::{Format, Output};

/// A controller with two pools and three Services; one waits.
pub(crate) fn controller() -> ControllerStatus {
    let pool = |name: &str, range: &str, total, used, first: Option<&str>| PoolStatus {
        name: name.to_owned(),
        protocol: "layer2".to_owned(),
        auto_assign: true,
        ranges: vec![range.to_owned()],
        total,
        used,
        free: total - used,
        first_free: first.map(str::to_owned).into_iter().collect(),
    };
    let service = |name: &str, address: Option<&str>, pool: Option<&str>| ServiceStatus {
        namespace: "shop".to_owned(),
        name: name.to_owned(),
        addresses: address.map(str::to_owned).into_iter().collect(),
        pool: pool.map(str::to_owned),
        problem: None,
    };
    ControllerStatus {
        version: "0.1.0".to_owned(),
        instance: "ferrolb-controller-7d9f-x2x".to_owned(),
        leading: true,
        leader: Some("ferrolb-controller-7d9f-x2x".to_owned()),
        blockers: Vec::new(),
        limits: Vec::new(),
        configuration: ConfigurationStatus {
            source: "metallb-system/config".to_owned(),
            loaded: true,
            problem: None,
        },
        pools: vec![
            pool("default", "192.168.64.240-192.168.64.241", 2, 2, None),
            pool("six", "fd00:64::-fd00:64::ff", 256, 0, Some("fd00:64::")),
        ],
        services: vec![
            service("api", Some("192.168.64.240"), Some("default")),
            service("web", Some("192.168.64.241"), Some("default")),
            ServiceStatus {
                problem: Some(exhausted()),
                ..service("worker", None, None)
            },
        ],
    }
}

pub(crate) fn exhausted() -> Explained {
    Explained {
        reason: "pool_exhausted".to_owned(),
        message: "no IPv4 address is left in pool default: add addresses to it, or delete a \
                  Service that it serves"
            .to_owned(),
    }
}

/// An address that [`said`] is about.
pub(crate) const ANNOUNCED: &str = "192.168.64.241";

/// What the speakers of nodes say of [`ANNOUNCED`]: `None` if they announce it, else why not.
pub(crate) fn said(nodes: &[(&str, Option<&str>)]) -> Vec<(String, anyhow::Result<SpeakerStatus>)> {
    let mut said = Vec::new();
    for (node, reason) in nodes {
        let status = json!({
            "node": node,
            "version": "0.1.0",
            "isolated": false,
            "members": [],
            "vips": [{
                "address": ANNOUNCED,
                "services": ["shop/web"],
                "announcedHere": reason.is_none(),
                "reason": reason,
            }],
        });
        let status = serde_json::from_value(status).map_err(Into::into);
        said.push(((*node).to_owned(), status));
    }
    said
}

/// What programs are told.
pub(crate) fn as_data(output: Output, answer: &impl Serialize) -> String {
    printed(|out| Format { output }.print(out, answer, |_| Ok(())))
}

/// What `print` prints, without colours.
pub(crate) fn printed(print: impl FnOnce(&mut Vec<u8>) -> anyhow::Result<()>) -> String {
    let mut out = Vec::new();
    print(&mut out).unwrap();
    anstream::adapter::strip_str(std::str::from_utf8(&out).unwrap()).to_string()
}
