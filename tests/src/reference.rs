//! What is made from the code for who reads: `docs/reference`, and what the chart says of its values.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use ferrolb_core::Reason;

use crate::command::stdout_of;
use crate::daemon::program;
use crate::workspace;

mod objects;
mod source;
mod values;

use source::{documented_constants, documented_structs, registrations};

/// The folder in the source tree that `make reference` writes.
pub const FOLDER: &str = "docs/reference";

/// What the folder has, by file name.
pub fn all() -> Result<Vec<(&'static str, String)>> {
    Ok(vec![
        ("reasons.md", reasons()),
        ("events.md", events()?),
        ("metrics.md", metrics()?),
        ("values.md", values::reference()?),
        ("status.md", status()?),
        ("plugin.md", plugin()?),
        ("flags.md", flags()?),
        ("objects.md", objects::objects()?),
    ])
}

/// The files of the chart that say what its values mean, by path in the source tree.
pub fn of_the_chart() -> Result<Vec<(&'static str, String)>> {
    Ok(vec![
        (values::README, values::readme()?),
        (values::SCHEMA, values::schema()?),
    ])
}

/// Writes all of it into a source tree.
pub fn write(tree: &Path) -> Result<()> {
    let folder = tree.join(FOLDER);
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let pages = all()?
        .into_iter()
        .map(|(name, text)| (folder.join(name), text));
    let of_the_chart = of_the_chart()?
        .into_iter()
        .map(|(path, text)| (tree.join(path), text));
    for (path, text) in pages.chain(of_the_chart) {
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(workspace().join(path)).with_context(|| format!("cannot read {path}"))
}

/// A page's beginning.
fn page(title: &str, about: &str) -> String {
    format!(
        "<!-- Made from the code by `make reference`: do not edit. -->\n# {title}\n\n{about}\n\n"
    )
}

/// A cell of a table.
fn cell(text: &str) -> String {
    let text = text.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
    text.replace('|', "\\|")
}

/// As a sentence begins.
fn capital(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_uppercase().to_string());
    first.unwrap_or_default() + chars.as_str()
}

fn reasons() -> String {
    let mut text = page(
        "Reasons",
        "Everything that FerroLB refuses, declines or drops has a Reason: one word, the same in Events, logs, metrics, \
         `/status` and the plugin.\n`kubectl ferrolb explain REASON` prints a line of this table.",
    );
    text += "| Reason | what it means | what to do |\n| --- | --- | --- |\n";
    for reason in Reason::ALL {
        let known = reason.explanation();
        let (what, remedy) = (cell(known.what), cell(known.remedy));
        let _ = writeln!(
            text,
            "| `{reason}` | {} | {} |",
            capital(&what),
            capital(&remedy)
        );
    }
    text
}

fn events() -> Result<String> {
    let mut text = page(
        "Events",
        "What FerroLB writes about an object, as `kubectl describe` shows it. The text of each says what happened, on what, and what to \
         do.",
    );
    text += "| reason of the Event | type, on what, and what it means |\n| --- | --- |\n";
    let names = read("core/src/names.rs")?;
    let (_, events) = names
        .split_once("pub mod event {")
        .context("pub mod event")?;
    let (events, _) = events.split_once("\n}").context("its end")?;
    for (value, about) in documented_constants(events) {
        let _ = writeln!(text, "| `{value}` | {} |", cell(&about));
    }
    Ok(text)
}

fn metrics() -> Result<String> {
    let mut text = page(
        "Metrics",
        "What `/metrics` of each daemon shows, at TCP port 7472 (`prometheus.metricsPort`). Names that begin with `metallb_` mean what \
         they mean with MetalLB.",
    );
    for (daemon, files) in [
        ("Controller", &["controller/src/metrics.rs"][..]),
        (
            "Speaker",
            &[
                "speaker/src/metrics.rs",
                "speaker/src/gauges.rs",
                "speaker/src/keep/metrics.rs",
            ],
        ),
    ] {
        let _ = writeln!(
            text,
            "## {daemon}\n\n| metric | what it shows |\n| --- | --- |"
        );
        let mut known = BTreeMap::new();
        for file in files {
            known.extend(registrations(&read(file)?));
        }
        for (name, help) in known {
            let _ = writeln!(text, "| `{name}` | {} |", capital(&cell(&help)));
        }
        text.push('\n');
    }
    Ok(text.trim_end().to_owned() + "\n")
}

fn status() -> Result<String> {
    let mut text = page(
        "/status",
        "What each daemon answers on `/status`, to its own node alone: `curl -s localhost:7472/status` there, or a \
         `kubectl port-forward` to its pod. Keys stay; new ones may come.",
    );
    let mut files = vec![workspace().join("core/src/report.rs")];
    if let Ok(more) = fs::read_dir(workspace().join("core/src/report")) {
        files.extend(more.flatten().map(|entry| entry.path()));
    }
    files.sort();
    files.push(workspace().join("core/src/keep/shown.rs"));
    for file in files.iter().filter(|file| !file.ends_with("tests.rs")) {
        let source = fs::read_to_string(file).with_context(|| file.display().to_string())?;
        for (name, about, fields) in documented_structs(&source) {
            let _ = writeln!(
                text,
                "## {name}\n\n{about}\n\n| key | meaning |\n| --- | --- |"
            );
            for (field, about) in fields {
                let _ = writeln!(text, "| `{}` | {} |", camel_case(&field), cell(&about));
            }
            text.push('\n');
        }
    }
    Ok(text.trim_end().to_owned() + "\n")
}

fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |all, word| all + &capital(word))
}

fn plugin() -> Result<String> {
    let mut text = page(
        "kubectl ferrolb",
        "Every command of the plugin, as `--help` prints it.",
    );
    let plugin = program("kubectl-ferrolb")?;
    let help = |verb: &[&str]| stdout_of(Command::new(&plugin).args(verb).arg("--help"), "");
    let all = help(&[])?;
    let _ = writeln!(text, "```text\n{}\n```", trimmed(&all));
    let (_, commands) = all.split_once("Commands:\n").context("its commands")?;
    let (commands, _) = commands.split_once("\n\n").context("their end")?;
    let verbs = commands
        .lines()
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    for verb in verbs.filter(|verb| !verb.is_empty() && *verb != "help") {
        let _ = writeln!(
            text,
            "\n## {verb}\n\n```text\n{}\n```",
            trimmed(&help(&[verb])?)
        );
    }
    Ok(text)
}

fn flags() -> Result<String> {
    let mut text = page(
        "Flags of the daemons",
        "The chart sets them from its [values](values.md); MetalLB's flags work too. Environment variables are named in brackets.",
    );
    for daemon in ["controller", "speaker"] {
        let said = stdout_of(Command::new(program(daemon)?).arg("--help"), "")?;
        let _ = writeln!(text, "## {daemon}\n\n```text\n{}\n```\n", trimmed(&said));
    }
    Ok(text.trim_end().to_owned() + "\n")
}

/// Without blanks at the ends of lines.
fn trimmed(text: &str) -> String {
    let lines: Vec<_> = text.trim().lines().map(str::trim_end).collect();
    lines.join("\n")
}
