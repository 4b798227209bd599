//! What the picture means: what is wrong, what is worth knowing, and what is not known.
//! Silence is no proof of health: what could not be read is never called well.

mod addresses;
mod daemons;
mod nodes;
mod rotation;
mod services;
#[cfg(test)]
mod tests;

use ferrolb_core::Reason;
use jiff::Timestamp;
use serde::Serialize;

use super::Picture;
use crate::ago;
use crate::daemons::Daemon;
use crate::output::causes;

/// As many names of a sentence as can be read.
const NAMED: usize = 5;

/// What tells which nodes there are.
pub(super) const NODES: &str = "Nodes";

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// It is not as it should be.
    Problem,
    /// It could not be read, so that nothing can be said of it.
    Unknown,
    /// It is as it should be, and may surprise.
    Note,
}

/// One thing to say: what, where, since when, and what to do next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Finding {
    pub(crate) severity: Severity,
    /// The word of the daemons for it, if they have one.
    pub(crate) reason: Option<String>,
    pub(crate) what: String,
    pub(crate) node: Option<String>,
    pub(crate) address: Option<String>,
    /// `namespace/name`
    pub(crate) service: Option<String>,
    #[serde(serialize_with = "ago::serialize")]
    pub(crate) since: Option<Timestamp>,
    /// A command, or what to look at.
    pub(crate) next: Option<String>,
}

/// All there is to say, in the order in which it was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) findings: Vec<Finding>,
}

impl Finding {
    fn new(severity: Severity, what: impl Into<String>) -> Self {
        Self {
            severity,
            reason: None,
            what: what.into(),
            node: None,
            address: None,
            service: None,
            since: None,
            next: None,
        }
    }

    /// Whoever is told what is wrong is told what to do next.
    fn problem(what: impl Into<String>, next: impl Into<String>) -> Self {
        Self::new(Severity::Problem, what).next(next)
    }

    fn unknown(what: impl Into<String>) -> Self {
        Self::new(Severity::Unknown, what)
    }

    fn note(what: impl Into<String>) -> Self {
        Self::new(Severity::Note, what)
    }

    fn reason(mut self, reason: &str) -> Self {
        self.reason = Some(reason.to_owned());
        self
    }

    fn on(mut self, node: &str) -> Self {
        self.node = Some(node.to_owned());
        self
    }

    fn since(mut self, since: Option<Timestamp>) -> Self {
        self.since = since;
        self
    }

    fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }

    /// In one line.
    pub(crate) fn sentence(&self, now: Timestamp) -> String {
        let mut sentence = self.what.clone();
        if let Some(since) = self.since {
            sentence.push_str(", for ");
            sentence.push_str(&ago::short(ago::since(since, now)));
        }
        if let Some(next) = &self.next {
            sentence.push_str(": ");
            sentence.push_str(next);
        }
        sentence
    }
}

impl Verdict {
    pub(crate) fn is_well(&self) -> bool {
        self.findings
            .iter()
            .all(|finding| finding.severity == Severity::Note)
    }

    pub(crate) fn of(&self, severity: Severity) -> impl Iterator<Item = &Finding> {
        let findings = self.findings.iter();
        findings.filter(move |finding| finding.severity == severity)
    }

    fn add(&mut self, finding: Finding) {
        self.findings.push(finding);
    }
}

/// Judges the picture; `unread`: what else could not be read, and why.
pub(super) fn of(picture: &Picture, unread: &[(&str, anyhow::Error)]) -> Verdict {
    let mut verdict = Verdict::default();
    verdict.of_nodes(picture);
    verdict.of_rotation(picture);
    verdict.of_speakers(picture);
    verdict.of_controllers(picture);
    verdict.of_pods(picture);
    verdict.of_versions(picture);
    verdict.of_services(picture);
    verdict.of_addresses(picture);
    for (what, error) in unread {
        let error = causes(error);
        verdict.add(match *what {
            NODES => Finding::unknown(format!(
                "{what} could not be read, so it is not known whether one is without a speaker: \
                 {error}"
            ))
            .next("kubectl auth can-i list nodes"),
            // What the daemons say is enough for a verdict; this only adds to it.
            _ => Finding::note(format!(
                "{what} could not be read, so some columns are empty: {error}"
            )),
        });
    }
    // Stable: the worst first, else as found.
    verdict.findings.sort_by_key(|finding| finding.severity);
    verdict
}

/// `reason: what it means`, with what to do, of a node.
fn of_node(node: &str, reason: &str) -> Finding {
    let finding = match Reason::of(reason).map(Reason::explanation) {
        Some(known) => Finding::problem(format!("{node}: {reason}: {}", known.what), known.remedy),
        // Of a later version.
        None => Finding::problem(
            format!("{node}: {reason}"),
            format!("kubectl ferrolb explain node/{node}"),
        ),
    };
    finding.reason(reason).on(node)
}

/// A command of kubectl for a daemon's pod; if it is not known which one it is, what lists those of the component.
fn of_pod(verb: &str, pod: Option<&Daemon>, component: &str) -> String {
    match pod {
        Some(Daemon { namespace, pod, .. }) => format!("kubectl {verb} -n {namespace} {pod}"),
        None => {
            format!("kubectl get pods -A -o wide -l app.kubernetes.io/component={component}")
        }
    }
}

/// Since when it is not ready, if it is not.
fn unready_since(daemon: &Daemon) -> Option<Timestamp> {
    daemon.ready_since.filter(|_| !daemon.ready)
}

/// `a, b and 3 more`
pub(super) fn some(names: &[String]) -> String {
    let some = names[..names.len().min(NAMED)].join(", ");
    match names.len().saturating_sub(NAMED) {
        0 => some,
        more => format!("{some} and {more} more"),
    }
}
