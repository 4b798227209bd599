//! What is made from the code for who reads: `docs/reference`, and what the chart says of its values.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use ferrolb_core::Reason;

use crate::command::stdout_of;
use crate::daemon::program;
use crate::workspace;

mod annotations;
mod config;
mod metrics;
mod objects;
mod source;
mod values;

use source::{documented_constants, documented_structs};

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
        ("config.md", config::config()?),
        ("annotations.md", annotations::annotations()?),
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

/// What the documentation of `name` in the code says, for a cell. It must say something.
fn meaning(name: &str, about: &str) -> Result<String> {
    // The code marks proper names as code, which pages do not.
    let names = ["MetalLB", "ConfigMap", "DaemonSet"];
    let about = names.iter().fold(cell(about), |text, name| {
        text.replace(&format!("`{name}`"), name)
    });
    ensure!(!about.is_empty(), "the code does not say what {name} means");
    Ok(about)
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
         they mean with MetalLB. `ferrolb_dead_…` is there only with `deadNodes.endpoints: remove`, and `ferrolb_kept_…` and \
         `ferrolb_keeper_ready` only with `speaker.keepConnections`.",
    );
    for (crates, known) in metrics::by_crate()? {
        let _ = writeln!(
            text,
            "## {crates}\n\n| metric | what it shows |\n| --- | --- |"
        );
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
         `kubectl port-forward` to its pod. A speaker answers on `/who` and `/survey` as well. Keys stay; new ones may come.",
    );
    for source in status_sources()? {
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

/// Every source of the core that says of itself that its keys stay, and the parts of those sources.
fn status_sources() -> Result<Vec<String>> {
    let all = source::files(&workspace().join("core/src"))?;
    let stays = |text: &str| {
        let about = text.lines().map_while(|line| line.strip_prefix("//!"));
        let about: Vec<_> = about.flat_map(str::split_ascii_whitespace).collect();
        about.join(" ").contains("Keys are an interface")
    };
    let heads = all.iter().filter(|(_, text)| stays(text));
    let heads: Vec<_> = heads.map(|(path, _)| path.with_extension("")).collect();
    let mut sources = all;
    sources.retain(|(path, _)| {
        heads
            .iter()
            .any(|head| path.with_extension("").starts_with(head))
    });
    // What both daemons answer comes first.
    let first = workspace().join("core/src/report");
    sources.sort_by_key(|(path, _)| !path.with_extension("").starts_with(&first));
    ensure!(!sources.is_empty(), "no source of /status");
    Ok(sources.into_iter().map(|(_, text)| text).collect())
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
        "The chart sets them from its [values](values.md); MetalLB's flags work too. Environment variables are named in brackets. The \
         keeper runs beside the speaker where `speaker.keepConnections` is on.",
    );
    for daemon in ["controller", "speaker", "keeper"] {
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
