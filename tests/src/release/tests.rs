use std::collections::BTreeMap;

use super::{archives_in, notes};

const CHANGELOG: &str = "# Changelog\n\n## Unreleased\n\n- new\n\n## 0.2.0 - 2026-10-01\n\n### Added\n\n- two\n\n## 0.2\n\n- short\n";

#[test]
fn notes_are_the_section_of_the_version_and_of_no_longer_or_shorter_one() {
    assert_eq!(
        notes::of(CHANGELOG, "0.2.0", false).ok().as_deref(),
        Some("### Added\n\n- two")
    );
    assert_eq!(
        notes::of(CHANGELOG, "0.2", false).ok().as_deref(),
        Some("- short")
    );
}

#[test]
fn what_is_not_released_yet_is_taken_for_a_trial_and_refused_for_a_tag() {
    assert_eq!(
        notes::of(CHANGELOG, "0.3.0", true).ok().as_deref(),
        Some("- new")
    );
    let refused = notes::of(CHANGELOG, "0.3.0", false);
    assert!(refused.is_err_and(|error| error.to_string().contains("no section `## 0.3.0`")));
    let empty = notes::of("## 1.0.0\n\n## 0.9.0\n", "1.0.0", false);
    assert!(empty.is_err_and(|error| error.to_string().contains("says nothing")));
}

#[test]
fn links_of_the_changelog_lead_to_the_pages_of_the_tag() {
    let page = notes::page("see [here](docs/a.md#b)", "0.3.0", &BTreeMap::new());
    let link = "[here](https://github.com/ferrolb/ferrolb/blob/v0.3.0/docs/a.md#b)";
    assert!(page.contains(link), "{page}");
}

#[test]
fn the_archives_of_every_system_are_found_in_the_manifest_of_krew() {
    assert_eq!(
        archives_in(include_str!("../../../cli/krew.yaml")),
        [
            "kubectl-ferrolb-linux-amd64.tar.gz",
            "kubectl-ferrolb-linux-arm64.tar.gz",
            "kubectl-ferrolb-darwin-amd64.tar.gz",
            "kubectl-ferrolb-darwin-arm64.tar.gz",
            "kubectl-ferrolb-windows-amd64.zip",
        ]
    );
}
