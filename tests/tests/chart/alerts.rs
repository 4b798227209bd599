//! The alerts, as Prometheus judges them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use ferrolb_tests::command::stdout_of;
use ferrolb_tests::debian;
use serde_yaml::Value;

use super::rendered::Rendered;

/// Every alert that the chart has.
const ALL: &str = "{prometheus: {prometheusRule: {enabled: true}}, deadNodes: {endpoints: remove}}";

const TESTS: &str = include_str!("alerts.yaml");

/// What the rules say of pools that nobody wants to hear of.
const EXCLUDED: &str = include_str!("alerts-of-excluded-pools.yaml");

#[test]
fn pools_that_are_excluded_have_no_alerts_and_their_waiting_services_have_one() {
    let rules = "prometheus: {prometheusRule: {enabled: true, excludePools: [a.b], \
                 addressPoolUsage: {excludePools: [c]}}}";
    judge(&rules_of(rules), EXCLUDED);
}

#[test]
fn each_alert_fires_when_it_should_and_not_before() {
    let spec = rules_of(ALL);
    let rules = spec["groups"][0]["rules"].as_sequence().unwrap();
    for rule in rules {
        let name = rule["alert"].as_str().unwrap();
        assert!(TESTS.contains(&format!("alertname: {name}")), "{name}");
    }
    judge(&spec, TESTS);
}

#[test]
fn where_the_chart_starts_no_speaker_none_is_missed() {
    let off = ALL.replacen('{', "{speaker: {enabled: false}, ", 1);
    let alone = r#"
rule_files: [rules.yaml]
tests:
  - interval: 30s
    input_series:
      - series: ferrolb_leader{namespace="metallb-system", pod="controller-1"}
        values: 1x20
    alert_rule_test:
      - {eval_time: 9m, alertname: FerroLBSpeakerDown, exp_alerts: []}
"#;
    judge(&rules_of(&off), alone);
}

#[test]
fn each_alert_links_to_a_runbook_that_begins_with_a_command() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/runbooks.md");
    let page = fs::read_to_string(page).unwrap();
    let sections: BTreeMap<_, _> = page
        .split("\n## ")
        .skip(1)
        .filter_map(|section| section.split_once('\n'))
        .map(|(heading, text)| (heading.to_lowercase(), text.trim_start()))
        .collect();
    let spec = rules_of(&ALL.replace("true", "true, runbookUrl: 'https://here'"));
    let mut linked = BTreeSet::new();
    for rule in spec["groups"][0]["rules"].as_sequence().unwrap() {
        let url = rule["annotations"]["runbook_url"].as_str().unwrap();
        let heading = url.strip_prefix("https://here#").unwrap();
        let text = sections.get(heading);
        let text = text.unwrap_or_else(|| panic!("docs/runbooks.md has no section {heading}"));
        assert!(
            text.starts_with("```sh\n"),
            "{heading} begins with {text:.20}"
        );
        linked.insert(heading.to_owned());
    }
    let all: BTreeSet<_> = sections.into_keys().collect();
    assert_eq!(linked, all, "linked by alerts; sections of the page");
}

fn rules_of(values: &str) -> Value {
    let rendered = Rendered::of(values);
    rendered.get("PrometheusRule/ferrolb", &["spec"]).unwrap()
}

fn judge(rules: &Value, tests: &str) {
    promtool(
        tests,
        &[("rules.yaml", &serde_yaml::to_string(rules).unwrap())],
    );
}

/// Runs the tests of a file that may name others.
pub(super) fn promtool(tests: &str, others: &[(&str, &str)]) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [&[("tests.yaml", tests)], others].concat() {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let mut promtool = Command::new(debian::program("promtool"));
    promtool.current_dir(folder.path());
    let said = stdout_of(promtool.args(["test", "rules", "tests.yaml"]), "");
    said.expect("make setup brings promtool");
}
