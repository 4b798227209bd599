//! The alerts, as Prometheus judges them.

use std::fs;
use std::process::Command;

use ferrolb_tests::command::stdout_of;

use super::rendered::Rendered;

const TESTS: &str = include_str!("alerts.yaml");

#[test]
fn each_alert_fires_when_it_should_and_not_before() {
    let rendered = Rendered::of("prometheus: {prometheusRule: {enabled: true}}");
    let spec = rendered.get("PrometheusRule/ferrolb", &["spec"]).unwrap();
    let rules = spec["groups"][0]["rules"].as_sequence().unwrap();
    for rule in rules {
        let name = rule["alert"].as_str().unwrap();
        assert!(TESTS.contains(&format!("alertname: {name}")), "{name}");
    }
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("rules.yaml", &serde_yaml::to_string(&spec).unwrap());
    write("alerts.yaml", TESTS);
    let mut promtool = Command::new("promtool");
    promtool.current_dir(folder.path());
    let said = stdout_of(promtool.args(["test", "rules", "alerts.yaml"]), "");
    said.expect("make setup installs promtool");
}
