//! `kubectl ferrolb validate`.

mod files;
mod notes;
mod objects;
mod report;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use ferrolb_core::config::objects::Compiled;
use ferrolb_core::config::{
    Checked, CheckedFile, Config, ManifestFile, NONE_IN_FORCE, NotConfigured, Outcome, Pool,
    Problems, REST_IN_FORCE, check_all_manifests,
};

use self::files::Read;
use self::objects::namespaces_of;
use crate::output::{Format, counted};
use crate::table;
use crate::terminal::{WARNING, trusted};

/// Check a configuration without a cluster.
///
/// It finds all mistakes at once, and shows the line and what to write instead. It reads ConfigMap manifests and
/// MetalLB's objects (all in the file, also in a list) or the bare configuration, and needs no access to a cluster.
///
/// Give all files of one cluster, or their folder: objects are judged together, so that an L2Advertisement in one
/// file announces the pool in another, and pools of two files may not overlap. In a folder, files that have nothing
/// to do with FerroLB are passed over.
///
/// Exit status: 0 if all is valid, 1 if there are problems, 2 if a file cannot be read. With --strict it is 1 as well
/// if there are warnings, or no addresses.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Validate {
    /// Manifests or bare configurations, and folders with YAML files; `-` reads standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// For pipelines: warnings are problems, and so is a configuration without addresses.
    #[arg(long)]
    strict: bool,
    /// Files and folders without a configuration are no error: for all YAML files of a repository.
    #[arg(long)]
    if_any: bool,
    #[command(flatten)]
    format: Format,
}

const EXAMPLES: &str = "\
Examples:
  # Before you apply it
  kubectl ferrolb validate metallb-config.yaml

  # Pools in one file and advertisements in another
  kubectl ferrolb validate pools.yaml l2.yaml

  # What is in the cluster now
  kubectl get configmap -n metallb-system config -o yaml | kubectl ferrolb validate -

  # What a chart renders
  helm template ferrolb charts/ferrolb | kubectl ferrolb validate -

  # In a pipeline: all manifests of a cluster
  kubectl ferrolb validate --strict --if-any clusters/home

  # The lines with problems
  kubectl ferrolb validate -o json config.yaml | jq '.configurations[].problems[].line'";

/// The file is readable and has problems.
const PROBLEMS: u8 = 1;
/// MetalLB's metrics saturate there, too (`int64`).
const MANY: u128 = i64::MAX as u128;

impl Validate {
    pub(crate) fn run(&self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let files = self.checked()?;
        let reports = files
            .iter()
            .map(|file| report::of(&file.name, &file.checked, file.objects.as_ref()));
        let reports: Vec<_> = reports.collect();
        match reports.as_slice() {
            // The keys for a single file are older than those for several.
            [report] if self.files.len() == 1 && !self.files[0].is_dir() => {
                self.format
                    .print(out, report, |out| print_all(out, &files))?;
            }
            _ => {
                let all = report::all(&reports);
                self.format.print(out, &all, |out| print_all(out, &files))?;
            }
        }
        let mut checked = files.iter().flat_map(|file| &file.checked);
        let maps = checked.all(|one| is_valid(&one.outcome) && !(self.strict && warns(one)));
        let mut compiled = files.iter().filter_map(|file| file.objects.as_ref());
        let objects = compiled.all(|one| objects::is_valid(one, self.strict));
        Ok(if maps && objects {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(PROBLEMS)
        })
    }
}

impl Validate {
    /// Each with what it says, without those that are passed over.
    fn checked(&self) -> anyhow::Result<Vec<File>> {
        let mut read = Vec::new();
        for path in &self.files {
            let found = files::read(path)?;
            let is_folder = found.is_folder;
            let ours = found.files.into_iter();
            let ours = ours.filter(|one| !(self.if_any || is_folder) || !one.is_something_else());
            let before = read.len();
            read.extend(ours.map(|one| (one, is_folder)));
            if is_folder && before == read.len() && !self.if_any {
                bail!("{}: no file in it has a configuration", path.display());
            }
        }
        let texts = read.iter().map(|(one, _)| one.text.as_str());
        let namespaces = namespaces_of(&texts.collect::<Vec<_>>());
        let files = read.iter().zip(&namespaces);
        let files = files.map(|((one, _), namespace)| ManifestFile {
            name: &one.name,
            text: &one.text,
            namespace,
        });
        let checked = check_all_manifests(&files.collect::<Vec<_>>());
        let mut files = Vec::new();
        for ((Read { name, text }, is_folder), checked) in read.into_iter().zip(checked) {
            match checked {
                Err(_) if self.if_any || is_folder => {}
                checked => {
                    let CheckedFile {
                        configurations: checked,
                        objects,
                    } = checked.with_context(|| name.clone())?;
                    files.push(File {
                        name,
                        text,
                        checked,
                        objects,
                    });
                }
            }
        }
        Ok(files)
    }
}

/// One that was read.
struct File {
    name: String,
    text: String,
    /// Of the ConfigMaps in it, or of all of it.
    checked: Vec<Checked>,
    /// Of MetalLB's objects in it.
    objects: Option<Compiled>,
}

/// What `--strict` takes for a problem: a warning that is printed, or nothing at all.
fn warns(checked: &Checked) -> bool {
    let is_bgp = |config: &Config| {
        let mut pools = config.pools.iter();
        pools.any(|pool| config.protocols_of(&pool.name).is_bgp_alone())
    };
    checked.warnings.is_some()
        || match &checked.outcome {
            Outcome::Valid(config) => is_bgp(config),
            Outcome::NotConfigured(_) => true,
            Outcome::Partly(..) | Outcome::Refused(_) => false,
        }
}

fn print_all<W: Write>(out: &mut W, files: &[File]) -> anyhow::Result<()> {
    let mut is_first = true;
    for File {
        name,
        text,
        checked,
        objects,
    } in files
    {
        for one in checked {
            if !is_first {
                writeln!(out)?;
            }
            is_first = false;
            print(out, name, text, one)?;
        }
        if let Some(objects) = objects {
            if !is_first {
                writeln!(out)?;
            }
            is_first = false;
            objects::print(out, name, text, objects)?;
        }
    }
    Ok(())
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
