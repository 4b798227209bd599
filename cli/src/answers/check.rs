//! What is in FerroLB's way.

mod facts;
mod leftovers;
mod rules;

use serde::Serialize;

pub(crate) use self::facts::{Facts, gather};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    Ok,
    /// Worth knowing; FerroLB works.
    Warning,
    /// It could not be read, so nobody can tell.
    Unknown,
    /// FerroLB does not work, or not for all.
    Problem,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    pub(crate) verdict: Verdict,
    /// What is so.
    pub(crate) found: String,
    /// What to do.
    pub(crate) remedy: Option<String>,
}

impl Finding {
    fn ok(found: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Ok,
            found: found.into(),
            remedy: None,
        }
    }

    fn bad(verdict: Verdict, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            verdict,
            found: found.into(),
            remedy: Some(remedy.into()),
        }
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct CheckAnswer {
    pub(crate) findings: Vec<Finding>,
}

impl CheckAnswer {
    /// `pre`: FerroLB is not expected to run yet.
    pub(crate) fn of(facts: &Facts, pre: bool) -> Self {
        let mut findings = rules::of_the_cluster(facts);
        if !pre {
            findings.extend(rules::of_the_daemons(facts));
        }
        Self { findings }
    }

    pub(crate) fn has(&self, verdict: Verdict) -> bool {
        let mut findings = self.findings.iter();
        findings.any(|finding| finding.verdict == verdict)
    }
}
