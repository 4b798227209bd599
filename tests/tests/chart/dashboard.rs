//! The Grafana dashboard. That its queries find something is tried on a lab, by the test `dashboard`.

use std::fmt::Write as _;
use std::process::Command;

use ferrolb_tests::command::stdout_of;
use ferrolb_tests::tools::{Module, Tools};
use serde_json::{Value, json};

use super::alerts;

const DASHBOARD: &str = include_str!("../../../charts/ferrolb/dashboards/ferrolb.json");

#[test]
fn grafana_knows_every_field_of_the_dashboard() {
    let tools = Tools::ensure(&[Module::Grafana]).unwrap();
    let mut check = Command::new(tools.binary("grafana").unwrap());
    let said = stdout_of(&mut check, DASHBOARD).unwrap();
    assert!(said.ends_with(" panels\n"), "{said}");
    let wrong = DASHBOARD.replacen("\"gridPos\"", "\"gridPosition\"", 1);
    let mut check = Command::new(tools.binary("grafana").unwrap());
    let error = stdout_of(&mut check, &wrong).unwrap_err().to_string();
    assert!(error.contains("unexpected field 'gridPosition'"), "{error}");
}

#[test]
fn every_panel_says_what_it_shows_in_which_unit_and_has_a_place_of_its_own() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut places: Vec<[u64; 4]> = Vec::new();
    for panel in panels {
        let title = panel["title"].as_str().unwrap();
        let place = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap());
        let [x, y, w, h] = place;
        assert!(x + w <= 24, "{title} is too wide");
        let overlaps =
            |[ox, oy, ow, oh]: &[u64; 4]| x < ox + ow && *ox < x + w && y < oy + oh && *oy < y + h;
        assert!(
            !places.iter().any(overlaps),
            "{title} overlaps another panel"
        );
        places.push(place);
        if panel["type"] == "row" {
            continue;
        }
        let description = panel["description"].as_str().unwrap_or_default();
        assert!(description.ends_with('.'), "{title}: {description:?}");
        assert!(
            panel["fieldConfig"]["defaults"]["unit"].is_string(),
            "{title}"
        );
    }
    assert!(places.len() > 20);
}

/// The panels of one number or word each.
fn stats(dashboard: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let stats = panels.filter(|panel| panel["type"] == "stat");
    stats.map(|panel| (panel["title"].as_str().unwrap(), panel))
}

#[test]
fn what_is_not_known_is_called_so_in_red_and_never_a_number() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    for (title, panel) in stats(&dashboard) {
        let shown = &panel["fieldConfig"]["defaults"];
        let word = shown["noValue"].as_str().unwrap();
        assert!(["no data", "unknown"].contains(&word), "{title}: {word}");
        // Grafana gives what has no value the colour of the first step.
        let first = &shown["thresholds"]["steps"][0];
        assert_eq!(*first, json!({"color": "red", "value": null}), "{title}");
    }
}

/// A daemon's series, which do not change.
const CONTROLLERS: [&str; 6] = [
    r#"ferrolb_leader{namespace="metallb-system", pod="controller-1"} 1"#,
    r#"ferrolb_leader{namespace="metallb-system", pod="controller-2"} 0"#,
    r#"metallb_allocator_addresses_in_use_total{namespace="metallb-system", pod="controller-1", pool="a"} 3"#,
    r#"metallb_allocator_addresses_in_use_total{namespace="metallb-system", pod="controller-2", pool="a"} 0"#,
    r#"metallb_k8s_client_config_loaded_bool{namespace="metallb-system", pod="controller-1"} 1"#,
    r#"metallb_k8s_client_config_stale_bool{namespace="metallb-system", pod="controller-1"} 0"#,
];
const SPEAKERS: [&str; 4] = [
    r#"ferrolb_peers_alive{namespace="metallb-system", pod="speaker-1", instance="n1"} 2"#,
    r#"ferrolb_peers_alive{namespace="metallb-system", pod="speaker-2", instance="n2"} 2"#,
    r#"metallb_speaker_announced{namespace="metallb-system", pod="speaker-1", ip="10.0.0.1", node="n1"} 1"#,
    r#"metallb_speaker_announced{namespace="metallb-system", pod="speaker-2", ip="10.0.0.2", node="n2"} 1"#,
];
const TROUBLE: [&str; 6] = [
    r#"ferrolb_pending_services{namespace="metallb-system", pod="controller-1", reason="unknown_pool"} 4"#,
    r#"ferrolb_addresses_in_conflict{namespace="metallb-system", pod="controller-1", ip="10.0.0.9"} 1"#,
    r#"ferrolb_address_silent{namespace="metallb-system", pod="speaker-1", ip="10.0.0.3", wanted="false"} 1"#,
    r#"ferrolb_address_silent{namespace="metallb-system", pod="speaker-1", ip="10.0.0.4", wanted="true"} 1"#,
    r#"ferrolb_member_down{namespace="metallb-system", pod="speaker-1", instance="n1", node="n3"} 1"#,
    r#"ferrolb_member_down{namespace="metallb-system", pod="speaker-2", instance="n2", node="n3"} 1"#,
];
/// Another installation is another matter.
const OTHERS: [&str; 2] = [
    r#"ferrolb_leader{namespace="other", pod="controller-1"} 1"#,
    r#"ferrolb_peers_alive{namespace="other", pod="speaker-1", instance="n1"} 1"#,
];

#[test]
fn the_numbers_on_top_are_known_only_as_long_as_the_daemons_that_know_them_are_there() {
    let (controllers, speakers, trouble) = (&CONTROLLERS[..], &SPEAKERS[..], &TROUBLE[..]);
    // Addresses announced and assigned, and then one number for each panel; -: no data.
    let mut tests = String::new();
    for (series, expected) in [
        ([controllers, speakers, &[]], "2 3 0 0 0 1 0 1 0"),
        ([controllers, speakers, trouble], "2 3 4 1 1 1 1 1 0"),
        ([controllers, &[], &[]], "- - 0 - - 1 0 1 0"),
        ([&[], speakers, &[]], "2 - - 0 0 - - - -"),
        ([&[], &[], &[]], "- - - - - - - - -"),
    ] {
        let series = [&series.concat()[..], &OTHERS].concat();
        tests += &test_of(&series, &expected.split(' ').collect::<Vec<_>>());
    }
    alerts::promtool(&format!("rule_files: []\ntests:\n{tests}"), &[]);
}

/// What promtool has to find, in the order of the panels and their queries.
fn test_of(series: &[&str], expected: &[&str]) -> String {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let targets = stats(&dashboard).flat_map(|(_, panel)| panel["targets"].as_array().unwrap());
    let queries: Vec<_> = targets
        .map(|target| target["expr"].as_str().unwrap())
        .map(|query| query.replace("$namespace", "metallb-system"))
        .collect();
    assert_eq!(queries.len(), expected.len());
    let mut test = String::from("- interval: 30s\n  input_series:\n");
    for line in series {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let values = format!("{value}x4");
        let one = json!({"series": series, "values": values});
        writeln!(test, "  - {one}").unwrap();
    }
    test += "  promql_expr_test:\n";
    for (query, value) in queries.iter().zip(expected) {
        let value = value.parse::<u32>().ok();
        let samples: Vec<_> = value
            .map(|value| json!({"labels": "{}", "value": value}))
            .into_iter()
            .collect();
        let one = json!({"expr": query, "eval_time": "1m", "exp_samples": samples});
        writeln!(test, "  - {one}").unwrap();
    }
    test
}
