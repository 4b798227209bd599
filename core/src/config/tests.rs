mod events;
mod files;
mod golden;
mod keys;
mod manifests;
mod meaning;
mod nulls;
mod objects;
mod ours;
mod possible;
mod properties;
mod rows;
mod slips;
mod yaml;

use super::*;

const EVERYTHING: &str = include_str!("fixtures/everything.yaml");
const UNCONFIGURED: &str = include_str!("fixtures/minikube-unconfigured.yaml");

fn valid(text: &str) -> Config {
    match parse(text) {
        Outcome::Valid(config) => config,
        other => panic!("must be valid: {other:?}\n{text}"),
    }
}

fn refused(text: &str) -> Problems {
    match parse(text) {
        Outcome::Refused(problems) => problems,
        other => panic!("must be refused: {other:?}\n{text}"),
    }
}

/// Of each problem, if it has one.
fn lines(problems: &Problems) -> Vec<Option<usize>> {
    problems.iter().map(|one| one.place.line()).collect()
}

/// Without colours.
fn rendered(problems: &Problems, source: &str, text: &str) -> String {
    anstream::adapter::strip_str(&problems.render(source, text)).to_string()
}

/// A configuration with one layer2 pool that has these addresses.
fn with_addresses(entries: &[&str]) -> String {
    let lines: String = entries
        .iter()
        .map(|entry| format!("  - {entry}\n"))
        .collect();
    format!("address-pools:\n- name: default\n  protocol: layer2\n  addresses:\n{lines}")
}
