//! The notes of a release, cut from the changelog.

use std::collections::BTreeMap;

use anyhow::{Result, bail};

/// Where the images are published.
pub(super) const REGISTRY: &str = "ghcr.io/ferrolb";

const UNRELEASED: &str = "Unreleased";

/// The section of `version`; if there is none and it may be so, what is not released yet.
pub(super) fn of(changelog: &str, version: &str, or_unreleased: bool) -> Result<String> {
    let found = section(changelog, version);
    let found = found.or_else(|| section(changelog, UNRELEASED).filter(|_| or_unreleased));
    match found {
        Some(text) if !text.is_empty() => Ok(text),
        Some(_) => bail!("CHANGELOG.md says nothing of {version}"),
        None => bail!("CHANGELOG.md has no section `## {version}`: rename `## {UNRELEASED}`"),
    }
}

/// What stands under a heading `## NAME`, or `## NAME - 2026-01-31`.
fn section(changelog: &str, name: &str) -> Option<String> {
    let mut lines = changelog.lines();
    lines.find(|line| {
        let heading = line.strip_prefix("## ");
        heading.and_then(|heading| heading.split_whitespace().next()) == Some(name)
    })?;
    let text: Vec<&str> = lines.take_while(|line| !line.starts_with("## ")).collect();
    Some(text.join("\n").trim().to_owned())
}

/// The page that people see.
pub(super) fn page(changes: &str, version: &str, digests: &BTreeMap<&str, String>) -> String {
    // Links of the changelog lead from the root of the source tree.
    let source = format!("{}/blob/v{version}/", env!("CARGO_PKG_REPOSITORY"));
    let changes = changes.replace("](docs/", &format!("]({source}docs/"));
    let mut page = format!(
        "{changes}\n\n### Install\n\n```sh\nhelm install ferrolb oci://{REGISTRY}/charts/ferrolb --version {version} \
         -n metallb-system --create-namespace\n```\n\n### Images\n\n"
    );
    for (name, digest) in digests {
        page.push_str(&format!("- `{REGISTRY}/{name}:{version}@{digest}`\n"));
    }
    page
}
