//! Services that do not get what they ask for.

use std::collections::BTreeMap;

use ferrolb_core::Reason;

use super::super::{Picture, Service, events};
use super::{Finding, Verdict, some};

impl Verdict {
    pub(super) fn of_services(&mut self, picture: &Picture) {
        if !picture.controller.as_ref().is_ok_and(|one| one.leading) {
            // Who would decide is named already.
            return;
        }
        let undecided = picture.services.iter().filter(|service| {
            service.status.addresses.is_empty() && service.status.problem.is_none()
        });
        let undecided: Vec<_> = undecided.collect();
        if let Some(first) = undecided.first() {
            let since = undecided.iter().filter_map(|one| one.created).min();
            let what = format!(
                "without an address, and not yet decided: {}",
                named(&undecided)
            );
            let finding = Finding::problem(what, explain(first));
            self.add(finding.about(first).since(since));
        }
        let mut refused: BTreeMap<&str, Vec<&Service>> = BTreeMap::new();
        for service in &picture.services {
            if let Some(problem) = &service.status.problem {
                refused.entry(&problem.reason).or_default().push(service);
            }
        }
        for (reason, services) in refused {
            let waiting = services.iter();
            let waiting = waiting.filter(|service| service.status.addresses.is_empty());
            let what = format!(
                "{reason}: {}{}",
                named(&services),
                match waiting.count() {
                    0 => String::new(),
                    all if all == services.len() => " without an address".to_owned(),
                    part => format!(", {part} of them without an address"),
                }
            );
            let since = services.iter().filter_map(|service| {
                let told = events::refused_since(&service.key(), &picture.events);
                told.or_else(|| {
                    service
                        .created
                        .filter(|_| service.status.addresses.is_empty())
                })
            });
            // Another load balancer serves it.
            let finding = if reason == Reason::ForeignStatus.as_str() {
                Finding::note(what).next(explain(services[0]))
            } else {
                Finding::problem(what, explain(services[0]))
            };
            let finding = finding.reason(reason).about(services[0]);
            self.add(finding.since(since.min()));
        }
    }
}

impl Finding {
    /// That Service, or several of which it is the first.
    fn about(self, service: &Service) -> Self {
        Self {
            service: Some(service.key()),
            ..self
        }
    }
}

fn explain(service: &Service) -> String {
    let (namespace, name) = (&service.status.namespace, &service.status.name);
    format!("kubectl ferrolb explain -n {namespace} svc/{name}")
}

fn named(services: &[&Service]) -> String {
    let names: Vec<_> = services.iter().map(|service| service.key()).collect();
    some(&names)
}
