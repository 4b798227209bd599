//! Who announces the addresses of a Service, and why the other nodes do not, as every speaker says.

use std::net::IpAddr;

use ferrolb_core::Reason;
use ferrolb_core::report::SpeakerStatus;
use serde::Serialize;

use super::meaning;
use crate::daemons::Component;
use crate::output::causes;
use crate::speaker::Said;

/// An address, and who announces it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Announcement {
    pub(crate) address: IpAddr,
    /// One, but for the moment in which it moves.
    pub(crate) nodes: Vec<String>,
    /// What that node is ranked behind others for: no better one may announce it.
    pub(crate) drawback: Option<String>,
    /// The links that it announces it on.
    pub(crate) links: Vec<String>,
    /// Its links into the same subnet that leave it to those.
    pub(crate) standby_links: Vec<String>,
    /// Open connections from before it moved there; null if none are kept.
    pub(crate) kept: Option<Kept>,
    pub(crate) others: Vec<Others>,
}

/// Open connections that go on through the node that had the address before.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Kept {
    /// That node.
    pub(crate) from: String,
    /// For how much longer, at most.
    pub(crate) seconds_left: u64,
    /// Since their last packet.
    pub(crate) idle_seconds: u64,
    /// So far.
    pub(crate) packets: u64,
}

/// The nodes that do not announce it, for one reason.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Others {
    pub(crate) reason: String,
    pub(crate) what: String,
    pub(crate) remedy: String,
    pub(crate) nodes: Vec<String>,
}

/// What becomes of each address.
pub(crate) fn of(addresses: &[IpAddr], said: &Said) -> Vec<Announcement> {
    let addresses = addresses.iter();
    addresses
        .map(|address| announcement(*address, said))
        .collect()
}

fn announcement(address: IpAddr, said: &Said) -> Announcement {
    let mut announcement = Announcement {
        address,
        nodes: Vec::new(),
        drawback: None,
        links: Vec::new(),
        standby_links: Vec::new(),
        kept: None,
        others: Vec::new(),
    };
    for (node, said) in said {
        let kept = said.as_ref().ok().and_then(|status| kept(address, status));
        let (reason, what) = match said.as_ref().map(|status| status.vip(address)) {
            Ok(Some(vip)) if vip.announced_here => {
                announcement.nodes.push(node.clone());
                announcement.drawback = vip.drawback.as_deref().map(str::to_owned);
                announcement.links.clone_from(&vip.links);
                announcement.standby_links.clone_from(&vip.standby_links);
                announcement.kept = kept;
                continue;
            }
            Ok(Some(vip)) => (vip.reason.as_deref(), None),
            // It has not seen it yet, or does no more.
            Ok(None) => (Some(Reason::Unwanted.as_str()), None),
            Err(error) => (Some(Reason::SpeakerSilent.as_str()), Some(causes(error))),
        };
        announcement.add(node, reason.unwrap_or(Reason::Joining.as_str()), what);
    }
    announcement
}

fn kept(address: IpAddr, status: &SpeakerStatus) -> Option<Kept> {
    let mut kept = status.keeping.iter().flat_map(|all| &all.addresses);
    let kept = kept.find(|one| one.address == address)?;
    Some(Kept {
        from: kept.from.clone(),
        seconds_left: kept.seconds_left,
        idle_seconds: kept.idle_seconds,
        packets: kept.packets,
    })
}

impl Announcement {
    /// `what`: what exactly, if not only what the reason means.
    fn add(&mut self, node: &str, reason: &str, what: Option<String>) {
        let (meant, remedy) = meaning(reason, Component::Speaker);
        let what = what.unwrap_or(meant);
        let mut others = self.others.iter_mut();
        match others.find(|one| one.reason == reason && one.what == what) {
            Some(one) => one.nodes.push(node.to_owned()),
            None => self.others.push(Others {
                reason: reason.to_owned(),
                what,
                remedy,
                nodes: vec![node.to_owned()],
            }),
        }
    }

    /// Whether the address is answered for.
    pub(crate) fn is_fine(&self) -> bool {
        let by_a_kernel = |one: &Others| one.reason == Reason::NodeAddress.as_str();
        !self.nodes.is_empty() || self.others.iter().all(by_a_kernel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{ANNOUNCED, said};

    #[test]
    fn an_address_of_a_node_needs_nobody() {
        let nodes = said(&[("n1", Some("node_address")), ("n2", Some("node_address"))]);
        assert!(announcement(ANNOUNCED.parse().unwrap(), &nodes).is_fine());
    }
}
