//! The result for programs. Its keys are an interface: they stay.

use ferrolb_core::config::objects::{Compiled, Finding};
use ferrolb_core::config::{Checked, Config, Outcome, Pool, Problem, Problems};
use serde::Serialize;

use super::notes::of_object;
use super::{MANY, is_valid, ranges};

#[derive(Serialize)]
pub(super) struct Report<'a> {
    file: &'a str,
    valid: bool,
    configurations: Vec<Configuration<'a>>,
    /// Of MetalLB's objects in it; null if there are none.
    objects: Option<Objects<'a>>,
}

#[derive(Serialize)]
struct Objects<'a> {
    valid: bool,
    pools: Vec<PoolSummary<'a>>,
    findings: Vec<OfObject<'a>>,
}

#[derive(Serialize)]
struct OfObject<'a> {
    kind: String,
    namespace: &'a str,
    name: &'a str,
    /// Whether it would not take effect.
    refused: bool,
    problems: Vec<Found<'a>>,
}

/// Of several files.
#[derive(Serialize)]
pub(super) struct Reports<'a> {
    valid: bool,
    files: &'a [Report<'a>],
}

pub(super) fn all<'a>(reports: &'a [Report<'a>]) -> Reports<'a> {
    Reports {
        valid: reports.iter().all(|one| one.valid),
        files: reports,
    }
}

#[derive(Serialize)]
struct Configuration<'a> {
    /// Of the `ConfigMap`; null for a bare configuration.
    namespace: Option<&'a str>,
    name: Option<&'a str>,
    valid: bool,
    /// `not_configured`, `config_refused`, `addresses_left_out`, or null.
    reason: Option<&'static str>,
    /// What it waits for, if it is not configured.
    message: Option<String>,
    pools: Vec<PoolSummary<'a>>,
    problems: Vec<Found<'a>>,
    /// What is accepted, and probably not meant.
    warnings: Vec<Warning<'a>>,
    /// What FerroLB has to be told to read it.
    notes: Vec<String>,
    /// With those that are not listed.
    #[serde(rename = "problemCount")]
    problem_count: usize,
}

#[derive(Serialize)]
struct PoolSummary<'a> {
    name: &'a str,
    protocol: String,
    #[serde(rename = "autoAssign")]
    auto_assign: bool,
    ranges: Vec<String>,
    /// At most 9223372036854775807.
    addresses: i64,
}

#[derive(Serialize)]
struct Found<'a> {
    reason: &'static str,
    line: Option<usize>,
    column: Option<usize>,
    message: &'a str,
    help: &'a str,
}

#[derive(Serialize)]
struct Warning<'a> {
    line: Option<usize>,
    column: Option<usize>,
    message: &'a str,
    help: &'a str,
}

pub(super) fn of<'a>(
    file: &'a str,
    checked: &'a [Checked],
    objects: Option<&'a Compiled>,
) -> Report<'a> {
    let maps = checked.iter().all(|one| is_valid(&one.outcome));
    Report {
        file,
        valid: maps && objects.is_none_or(|one| super::objects::is_valid(one, false)),
        configurations: checked.iter().map(configuration).collect(),
        objects: objects.map(of_objects),
    }
}

fn of_objects(compiled: &Compiled) -> Objects<'_> {
    let findings = compiled.findings.iter();
    Objects {
        valid: super::objects::is_valid(compiled, false),
        pools: pools_of(&compiled.config),
        findings: findings.map(of_object_in).collect(),
    }
}

fn of_object_in(finding: &Finding) -> OfObject<'_> {
    OfObject {
        kind: finding.object.kind.to_string(),
        namespace: &finding.object.namespace,
        name: &finding.object.name,
        refused: super::objects::is_refused(finding),
        problems: all_of(&finding.problems, Some(finding.reason.as_str())),
    }
}

fn configuration(checked: &Checked) -> Configuration<'_> {
    let object = checked.object.as_ref();
    let reason = checked.outcome.reason().map(ferrolb_core::Reason::as_str);
    let (pools, problems, problem_count, message) = match &checked.outcome {
        Outcome::Valid(config) => (pools_of(config), Vec::new(), 0, None),
        Outcome::NotConfigured(waits_for) => {
            (Vec::new(), Vec::new(), 0, Some(waits_for.to_string()))
        }
        Outcome::Partly(config, problems) => (
            pools_of(config),
            all_of(problems, reason),
            problems.count(),
            None,
        ),
        Outcome::Refused(problems) => {
            (Vec::new(), all_of(problems, reason), problems.count(), None)
        }
    };
    Configuration {
        namespace: object.and_then(|object| object.namespace.as_deref()),
        name: object.map(|object| object.name.as_str()),
        valid: is_valid(&checked.outcome),
        reason,
        message,
        pools,
        problems,
        warnings: checked
            .warnings
            .iter()
            .flat_map(|warnings| warnings.iter())
            .map(warning)
            .collect(),
        notes: object.map(of_object).unwrap_or_default(),
        problem_count,
    }
}

fn pools_of(config: &Config) -> Vec<PoolSummary<'_>> {
    let pools = config.pools.iter();
    pools.map(|one| pool(one, config)).collect()
}

fn pool<'a>(pool: &'a Pool, config: &Config) -> PoolSummary<'a> {
    PoolSummary {
        name: &pool.name,
        protocol: config.protocols_of(&pool.name).to_string(),
        auto_assign: pool.auto_assign,
        ranges: ranges(pool),
        addresses: i64::try_from(pool.capacity().min(MANY)).unwrap_or(i64::MAX),
    }
}

fn warning(problem: &Problem) -> Warning<'_> {
    Warning {
        line: problem.place.line(),
        column: problem.place.column(),
        message: &problem.message,
        help: &problem.help,
    }
}

fn all_of<'a>(problems: &'a Problems, reason: Option<&'static str>) -> Vec<Found<'a>> {
    let problems = problems.iter();
    problems
        .map(|problem| found(problem, reason.unwrap_or_default()))
        .collect()
}

fn found<'a>(problem: &'a Problem, reason: &'static str) -> Found<'a> {
    Found {
        reason,
        line: problem.place.line(),
        column: problem.place.column(),
        message: &problem.message,
        help: &problem.help,
    }
}
