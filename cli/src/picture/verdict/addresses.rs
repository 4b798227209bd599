//! Who announces each address.

use std::collections::BTreeMap;

use ferrolb_core::Reason;

use super::super::{Address, AddressState, Picture};
use super::{Finding, Severity, Verdict, some};

impl Verdict {
    /// Each address of a Service has to be announced by one node, unless it is silent on purpose.
    pub(super) fn of_addresses(&mut self, picture: &Picture) {
        // That there is no speaker is said already.
        if picture.speakers.is_empty() {
            return;
        }
        let of = |state| {
            let addresses = picture.addresses.iter();
            addresses.filter(move |address| address.state == state)
        };
        for address in of(AddressState::Twice) {
            let nodes = some(&address.nodes);
            let what = format!(
                "{} is announced by {nodes}: it is moving right now, or these nodes cannot hear \
                 each other",
                address.address
            );
            self.add(Finding::problem(what, explain(address)).at(address));
        }
        for (severity, state) in [
            (Severity::Problem, AddressState::Silent),
            (Severity::Note, AddressState::Quiet),
        ] {
            let mut silent: BTreeMap<&str, Vec<&Address>> = BTreeMap::new();
            for address in of(state) {
                let reasons = address.reason.as_deref().unwrap_or_default();
                silent.entry(reasons).or_default().push(address);
            }
            for (reasons, addresses) in silent {
                self.add(of_silent(severity, reasons, &addresses));
            }
        }
        let unknown: Vec<_> = of(AddressState::Unknown).collect();
        if let Some(first) = unknown.first() {
            let finding = Finding::unknown(format!(
                "it is not known who announces {}, because not every speaker answered",
                named(&unknown)
            ));
            self.add(finding.next(explain(first)).at(first));
        }
    }
}

fn explain(address: &Address) -> String {
    format!("kubectl ferrolb explain {}", address.address)
}

fn of_silent(severity: Severity, reasons: &str, addresses: &[&Address]) -> Finding {
    let reason = Reason::of(reasons);
    let why = match reason {
        Some(reason) => format!("{reason}: {}", reason.explanation().what),
        None if reasons.is_empty() => "no speaker knows about it".to_owned(),
        None => reasons.to_owned(),
    };
    let what = format!("announced by nobody: {} ({why})", named(addresses));
    let first = addresses[0];
    let since = addresses.iter().filter_map(|address| address.since).min();
    let finding = Finding {
        reason: (!reasons.is_empty()).then(|| reasons.to_owned()),
        ..Finding::new(severity, what)
    };
    finding.since(since).next(explain(first)).at(first)
}

impl Finding {
    /// That address, or several of which it is the first.
    fn at(self, address: &Address) -> Self {
        Self {
            address: Some(address.address.to_string()),
            service: address.services.first().cloned(),
            ..self
        }
    }
}

fn named(addresses: &[&Address]) -> String {
    let names = addresses.iter().map(|one| one.address.to_string());
    some(&names.collect::<Vec<_>>())
}
