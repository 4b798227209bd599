//! The Grafana dashboard. That its queries find something is tried on a lab, by the test `dashboard`.

use std::process::Command;

use ferrolb_tests::command::stdout_of;
use ferrolb_tests::tools::{Module, Tools};
use serde_json::Value;

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
