//! Who announces each address.

use std::collections::{BTreeMap, BTreeSet};

use ferrolb_core::Reason;
use ferrolb_core::report::{ServiceStatus, VipStatus};

use super::{Verdict, some};
use crate::speaker::Said;

/// Why an address is silent on purpose: there is nothing that it could lead to, or it is not ours.
const WANTED_SILENCE: [Reason; 3] = [
    Reason::NoEndpoint,
    Reason::BgpNotAnnounced,
    Reason::AddressOutsidePools,
];

impl Verdict {
    /// Each address of a Service has to be announced by one node.
    pub(super) fn of_addresses(
        &mut self,
        services: &[ServiceStatus],
        speakers: &Said,
        dead: &BTreeSet<&str>,
    ) {
        if speakers.is_empty() {
            return;
        }
        let all_told = speakers
            .iter()
            .all(|(node, said)| said.is_ok() || dead.contains(node.as_str()));
        let held = services.iter().flat_map(|service| &service.addresses);
        let addresses: BTreeSet<_> = held.collect();
        let mut silent: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut not_known = 0;
        for address in addresses {
            let Ok(ip) = address.parse() else { continue };
            let said: Vec<_> = speakers
                .iter()
                .filter_map(|(node, said)| Some((node, said.as_ref().ok()?.vip(ip)?)))
                .collect();
            let announces = said.iter().filter(|(_, vip)| vip.announced_here);
            let nodes: Vec<_> = announces.map(|(node, _)| (*node).clone()).collect();
            match nodes.len() {
                1 => {}
                0 if kernel_answers(&said) => {}
                // One of those that were not asked may have it.
                0 if !all_told => not_known += 1,
                0 => {
                    let reasons: BTreeSet<_> = said
                        .iter()
                        .filter_map(|(_, vip)| vip.reason.as_deref())
                        .collect();
                    let reasons: Vec<_> = reasons.into_iter().collect();
                    silent
                        .entry(reasons.join(", "))
                        .or_default()
                        .push(address.clone());
                }
                _ => self.problems.push(format!(
                    "{address} is announced by {}: it is moving right now, or these nodes cannot \
                     hear each other",
                    some(&nodes)
                )),
            }
        }
        for (reasons, addresses) in silent {
            self.of_silent(&reasons, &addresses);
        }
        if not_known > 0 {
            self.unknown.push(format!(
                "it is unknown who announces {not_known} addresses, because not every speaker \
                 answered"
            ));
        }
    }

    fn of_silent(&mut self, reasons: &str, addresses: &[String]) {
        let what = some(addresses);
        let by_nobody = format!("announced by nobody: {what}");
        let reason = Reason::of(reasons);
        if let Some(reason) = reason.filter(|reason| WANTED_SILENCE.contains(reason)) {
            let what = reason.explanation().what;
            self.notes.push(format!("{by_nobody} ({reason}: {what})"));
        } else {
            let why = match reason {
                Some(reason) => format!("{reason}: {}", reason.explanation().what),
                None if reasons.is_empty() => "no speaker knows about them".to_owned(),
                None => reasons.to_owned(),
            };
            self.problems.push(format!(
                "{by_nobody} ({why}): kubectl ferrolb explain svc/NAME says why"
            ));
        }
    }
}

/// Whether it is a node's own address: nobody has to announce it.
fn kernel_answers(said: &[(&String, &VipStatus)]) -> bool {
    let mut reasons = said.iter().filter_map(|(_, vip)| vip.reason.as_deref());
    reasons.any(|reason| reason == Reason::NodeAddress.as_str())
}
