//! Every metric that any crate registers, wherever its source is.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context as _, Result, ensure};

use super::source::{files, literals};
use super::{capital, workspace};

/// Names with their sentences.
type Metrics = BTreeMap<String, String>;

/// The metrics of each crate that has any. What a crate registers that both daemons use has a part of its own.
pub(super) fn by_crate() -> Result<BTreeMap<String, Metrics>> {
    let mut found = BTreeMap::new();
    let folders = fs::read_dir(workspace()).context("the source tree")?;
    for folder in folders {
        let folder = folder?.path();
        let (is_crate, sources) = (folder.join("Cargo.toml").is_file(), folder.join("src"));
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        if !is_crate || !sources.is_dir() || name == "tests" {
            continue;
        }
        let mut metrics = Metrics::new();
        for (path, source) in files(&sources)? {
            let of_file = registrations(&source).with_context(|| path.display().to_string())?;
            metrics.extend(of_file);
        }
        if !metrics.is_empty() {
            found.insert(capital(&name), metrics);
        }
    }
    Ok(found)
}

/// What one source registers: a name, a sentence and what is counted, one after the other. The library's counters are
/// shown with `_total` behind their names.
fn registrations(source: &str) -> Result<Metrics> {
    let mut found = Metrics::new();
    if !source.contains("prometheus_client") {
        return Ok(found);
    }
    let counters = counters(source);
    let literals = literals(source);
    let mut literals = literals.iter().peekable();
    while let Some((name, _, end)) = literals.next() {
        if !is_name(name) {
            continue;
        }
        let is_next = |start: usize| source.get(*end..start).is_some_and(|it| it.trim() == ",");
        let help = literals.peek().filter(|(_, start, _)| is_next(*start));
        let (help, _, end) = help.with_context(|| format!("no sentence follows {name}"))?;
        let field = source.get(*end..).and_then(argument);
        let field = field.with_context(|| format!("what does {name} count?"))?;
        let total = if counters.contains(&field) {
            "_total"
        } else {
            ""
        };
        let former = found.insert(format!("{name}{total}"), help.clone());
        ensure!(former.is_none(), "{name} is registered twice");
    }
    Ok(found)
}

/// A literal that is the name of a metric and nothing else.
fn is_name(text: &str) -> bool {
    let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let begins = ["ferrolb_", "metallb_"]
        .iter()
        .any(|it| text.starts_with(it));
    begins && text.chars().all(letters)
}

/// The last name of the argument that begins with a comma here: `nodes` of `, metrics.nodes.clone(),`.
fn argument(rest: &str) -> Option<&str> {
    let argument = rest.strip_prefix(',')?.split([',', ')']).next()?.trim();
    let path = argument.trim_start_matches('&').trim_end_matches(".clone(");
    let (_, field) = path.rsplit_once('.')?;
    Some(field)
}

/// Fields whose type is the library's counter, alone or in a family.
fn counters(source: &str) -> Vec<&str> {
    let fields = source.lines().filter_map(|line| {
        let line = line.trim().trim_start_matches("pub ");
        let (field, kind) = line.strip_suffix(',')?.split_once(": ")?;
        let is_librarys = match source.contains("counter::Counter as Total") {
            true => kind == "Total" || kind.ends_with(", Total>"),
            false => kind == "Counter" || kind.ends_with(", Counter>"),
        };
        is_librarys.then_some(field)
    });
    fields.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(source: &str) -> Result<Vec<(String, String)>> {
        let source = format!("use prometheus_client::registry::Registry;\n{source}");
        Ok(registrations(&source)?.into_iter().collect())
    }

    #[test]
    fn metrics_are_found_as_they_are_shown() {
        let source = "updates: Counter,\nseen: Family<Label, Counter>,\nfull: Gauge,\n\
                      register(\"metallb_updates\", \"What \\\n   came\", self.updates.clone());\n\
                      register(\n\"ferrolb_full\",\n\"How full\",\nmetrics.full.clone(),\n);\n\
                      for (name, help, counter) in [(\n\"ferrolb_seen\",\n\"Seen\",\n&self.seen,\n)] {}";
        let expected = [
            ("ferrolb_full", "How full"),
            ("ferrolb_seen_total", "Seen"),
            ("metallb_updates_total", "What came"),
        ];
        let expected = expected.map(|(name, help)| (name.to_owned(), help.to_owned()));
        assert_eq!(found(source).unwrap(), expected);
    }

    #[test]
    fn a_metric_that_is_registered_in_another_way_is_no_metric_less() {
        for source in [
            "const NAME: &str = \"ferrolb_full\";",
            "register(\"ferrolb_full\", help, self.full.clone());",
            "register(\"ferrolb_full\", \"How full\", full);",
        ] {
            assert!(found(source).is_err(), "{source}");
        }
    }
}
