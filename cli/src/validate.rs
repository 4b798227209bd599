//! `kubectl ferrolb validate`.

mod notes;
mod report;

use std::fs;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use ferrolb_core::config::{
    Checked, Config, NONE_IN_FORCE, NotConfigured, Outcome, Pool, Problems, REST_IN_FORCE,
    check_file, text_of,
};

use crate::output::{Format, counted};
use crate::table;
use crate::terminal::{WARNING, trusted};

/// Check a configuration without a cluster.
///
/// It finds all mistakes at once, and shows the line and what to write instead. It reads ConfigMap manifests
/// (all in the file, also in a list) or the bare configuration, and needs no access to a cluster.
///
/// Exit status: 0 if all is valid, 1 if there are problems, 2 if the file cannot be read.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Validate {
    /// Manifest or bare configuration; `-` reads standard input.
    file: PathBuf,
    #[command(flatten)]
    format: Format,
}

const EXAMPLES: &str = "\
Examples:
  # Before you apply it
  kubectl ferrolb validate metallb-config.yaml

  # What is in the cluster now
  kubectl get configmap -n metallb-system config -o yaml | kubectl ferrolb validate -

  # What a chart renders
  helm template ferrolb charts/ferrolb | kubectl ferrolb validate -

  # In a pipeline: the lines with problems
  kubectl ferrolb validate -o json config.yaml | jq '.configurations[].problems[].line'";

/// The file is readable and has problems.
const PROBLEMS: u8 = 1;
/// MetalLB's metrics saturate there, too (`int64`).
const MANY: u128 = i64::MAX as u128;

impl Validate {
    pub(crate) fn run(&self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let name = self.name();
        let bytes = self.read().with_context(|| format!("cannot read {name}"))?;
        let text = text_of(bytes).with_context(|| format!("cannot read {name}"))?;
        let checked = check_file(&text).with_context(|| name.clone())?;
        let report = report::of(&name, &checked);
        self.format.print(out, &report, |out| {
            for (index, one) in checked.iter().enumerate() {
                if index > 0 {
                    writeln!(out)?;
                }
                print(out, &name, &text, one)?;
            }
            Ok(())
        })?;
        let all_valid = checked.iter().all(|one| is_valid(&one.outcome));
        Ok(if all_valid {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(PROBLEMS)
        })
    }

    fn is_stdin(&self) -> bool {
        self.file.as_os_str() == "-"
    }

    fn name(&self) -> String {
        if self.is_stdin() {
            "standard input".to_owned()
        } else {
            self.file.display().to_string()
        }
    }

    fn read(&self) -> io::Result<Vec<u8>> {
        if self.is_stdin() {
            let mut bytes = Vec::new();
            io::stdin().lock().read_to_end(&mut bytes)?;
            Ok(bytes)
        } else {
            fs::read(&self.file)
        }
    }
}

/// An empty configuration is a valid one; a template that nobody filled in is not.
fn is_valid(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Valid(_) => true,
        Outcome::NotConfigured(waits_for) => *waits_for == NotConfigured::Empty,
        // What is in force stays so; what is still to be applied is to be corrected first.
        Outcome::Partly(..) | Outcome::Refused(_) => false,
    }
}

fn print(out: &mut impl Write, name: &str, text: &str, checked: &Checked) -> io::Result<()> {
    let title = match &checked.object {
        Some(object) => format!("{name}: ConfigMap {object}"),
        None => name.to_owned(),
    };
    match &checked.outcome {
        Outcome::Valid(config) => {
            writeln!(out, "{title}: valid\n")?;
            print_pools(out, config)?;
            notes::print(out, name, checked)
        }
        Outcome::NotConfigured(waits_for) => writeln!(out, "{title}: {waits_for}"),
        Outcome::Partly(config, problems) => {
            print_problems(out, name, text, checked, problems)?;
            let count = counted(problems.count(), "problem");
            writeln!(out, "{title}: {count}, {REST_IN_FORCE}\n")?;
            print_pools(out, config)?;
            notes::print(out, name, checked)
        }
        Outcome::Refused(problems) => {
            print_problems(out, name, text, checked, problems)?;
            let count = counted(problems.count(), "problem");
            writeln!(out, "{title}: {count}, {NONE_IN_FORCE}")
        }
    }
}

fn print_problems(
    out: &mut impl Write,
    name: &str,
    text: &str,
    checked: &Checked,
    problems: &Problems,
) -> io::Result<()> {
    let (source, text) = match &checked.value {
        Some(value) => (format!("{name}, value of key `config`"), value.as_str()),
        None => (name.to_owned(), text),
    };
    writeln!(out, "{}\n", trusted(&problems.render(&source, text)))
}

fn print_pools(out: &mut impl Write, config: &Config) -> io::Result<()> {
    let head = ["POOL", "PROTOCOL", "AUTO-ASSIGN", "ADDRESSES", "RANGES"].map(str::to_owned);
    let rows: Vec<_> = std::iter::once(head)
        .chain(config.pools.iter().map(|pool| row(pool, config)))
        .collect();
    table::print(out, &rows)?;
    let bgp = |pool: &&Pool| config.protocols_of(&pool.name).is_bgp_alone();
    for pool in config.pools.iter().filter(bgp) {
        writeln!(
            out,
            "\n{WARNING}warning:{WARNING:#} pool {} has protocol bgp: Services get its addresses, \
             but nothing announces them yet",
            pool.name
        )?;
    }
    Ok(())
}

fn row(pool: &Pool, config: &Config) -> [String; 5] {
    let size = pool.capacity();
    [
        pool.name.clone(),
        config.protocols_of(&pool.name).to_string(),
        pool.auto_assign.to_string(),
        if size > MANY {
            format!(">{MANY}")
        } else {
            size.to_string()
        },
        table::list(&ranges(pool), ", "),
    ]
}

fn ranges(pool: &Pool) -> Vec<String> {
    pool.ranges.iter().map(ToString::to_string).collect()
}
