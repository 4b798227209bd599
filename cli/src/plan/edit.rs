//! What an edit of the configuration would do to each Service.

mod changes;
mod decisions;
#[cfg(test)]
mod tests;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use ferrolb_core::config::{Checked, Config, NotConfigured, Outcome, check_file, text_of};
use ferrolb_core::k8s::namespace_view;
use serde::Serialize;

use self::changes::{Change, Effect, changes};
use self::decisions::{World, decide};
use crate::cluster::{Cluster, Installation};
use crate::election::Election;
use crate::output::{Format, counted};
use crate::picture::Picture;
use crate::terminal::{BAD, GOOD, sentence};

/// Show what an edited configuration would do to each Service.
///
/// The file is a ConfigMap, values of the chart, or the bare configuration, as `validate` reads it. What would be
/// decided is decided by the daemons' own code, on what the API server says now. It does not know which addresses
/// other hosts on the network have.
///
/// Exit status: 0 if no Service would lose anything, 1 if one would, or if the configuration would be refused, 2 if
/// the file or the cluster cannot be read.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Edit {
    /// The file; - reads standard input.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    installation: Installation,
    #[command(flatten)]
    format: Format,
}

const EXAMPLES: &str = "\
Examples:
  # Apply it only if no Service would lose anything
  kubectl ferrolb plan config config.yaml && kubectl apply -f config.yaml";

/// A Service would lose something, or nothing would come of it.
const LOSES: u8 = 1;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Answer {
    /// `in_force`, `refused`, or `not_configured`: what is in force stays.
    outcome: &'static str,
    /// What is wrong with it.
    problem: Option<String>,
    /// Services of which anything would change.
    services: Vec<Change>,
    /// How many would be as they are.
    unchanged: usize,
    pools: Vec<PoolAfter>,
    notes: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PoolAfter {
    name: String,
    total: u64,
    used: u64,
}

impl Edit {
    pub(super) fn run(&self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let name = self.file.display().to_string();
        let bytes = if name == "-" {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut std::io::stdin().lock(), &mut bytes).map(|_| bytes)
        } else {
            std::fs::read(&self.file)
        };
        let bytes = bytes.with_context(|| format!("cannot read {name}"))?;
        let text = text_of(bytes).with_context(|| format!("cannot read {name}"))?;
        let checked = check_file(&text).with_context(|| name.clone())?;
        let answer = self
            .installation
            .run(async |cluster| decided(cluster, &checked).await)?;
        self.format
            .print(out, &answer, |out| text_of_answer(out, &answer))?;
        let loses = answer
            .services
            .iter()
            .any(|one| one.effect == Effect::Loses);
        Ok(if loses || answer.outcome != IN_FORCE {
            ExitCode::from(LOSES)
        } else {
            ExitCode::SUCCESS
        })
    }
}

/// Of a text that is no file.
pub(super) async fn look(cluster: &Cluster, text: &str) -> anyhow::Result<Answer> {
    decided(cluster, &check_file(text)?).await
}

async fn decided(cluster: &Cluster, checked: &[Checked]) -> anyhow::Result<Answer> {
    let picture = cluster.picture().await?;
    let election = cluster.election(&picture.daemons).await?;
    let (namespace, map) = cluster.config_source(&picture.daemons).await;
    let chosen = the_one(checked, &namespace, &map)?;
    Ok(match config_of(&chosen.outcome) {
        Ok(config) => {
            let world = world(cluster, &picture).await;
            Answer::of(&election, &picture, &world, config)
        }
        Err((outcome, problem)) => Answer::nothing(outcome, problem),
    })
}

const IN_FORCE: &str = "in_force";

/// Of several configurations in a file the one that the daemons read.
fn the_one<'a>(checked: &'a [Checked], namespace: &str, name: &str) -> anyhow::Result<&'a Checked> {
    if let [only] = checked {
        return Ok(only);
    }
    let is_it = |one: &&Checked| {
        one.object.as_ref().is_some_and(|object| {
            object.name == name
                && object
                    .namespace
                    .as_deref()
                    .is_none_or(|one| one == namespace)
        })
    };
    match checked.iter().filter(is_it).collect::<Vec<_>>().as_slice() {
        [one] => Ok(one),
        _ => bail!(
            "the file has {} configurations, and the daemons read ConfigMap {namespace}/{name}: leave \
             that one in it",
            checked.len()
        ),
    }
}

/// What it would put in force; or what becomes of it, and why.
fn config_of(outcome: &Outcome) -> Result<Config, (&'static str, String)> {
    match outcome {
        Outcome::Valid(config) | Outcome::Partly(config, _) => Ok(config.clone()),
        Outcome::NotConfigured(NotConfigured::Empty) => Ok(Config::default()),
        Outcome::NotConfigured(why) => Err(("not_configured", why.to_string())),
        Outcome::Refused(problems) => Err(("refused", problems.to_string())),
    }
}

async fn world(cluster: &Cluster, picture: &Picture) -> World {
    let namespaces = cluster.every(|namespace| namespace_view(&namespace)).await;
    let status = picture.controller.as_ref().ok().filter(|one| one.leading);
    let served = status.map(|status| {
        let services = status.services.iter();
        services
            .map(|one| (one.namespace.clone(), one.name.clone()))
            .collect()
    });
    World {
        namespaces: namespaces.ok().map(|all| {
            let all = all.into_iter();
            all.map(|one| (one.name, one.labels)).collect()
        }),
        served,
    }
}

impl Answer {
    fn nothing(outcome: &'static str, problem: String) -> Self {
        Self {
            outcome,
            problem: Some(problem),
            services: Vec::new(),
            unchanged: 0,
            pools: Vec::new(),
            notes: Vec::new(),
        }
    }

    fn of(election: &Election, picture: &Picture, world: &World, config: Config) -> Self {
        let decided = decide(election, world, &config);
        let after = election.under(Some(config));
        let services = changes(election, &after, picture, &decided);
        let mut notes: Vec<String> = election.note.map(str::to_owned).into_iter().collect();
        if world.namespaces.is_none() {
            notes.push(
                "namespaces cannot be read, so pools with namespace-selectors count as pools for \
                 nobody"
                    .to_owned(),
            );
        }
        let small = |count: u128| u64::try_from(count).unwrap_or(u64::MAX);
        Self {
            outcome: IN_FORCE,
            problem: None,
            unchanged: decided.after.len().saturating_sub(services.len()),
            services,
            pools: decided
                .usage
                .iter()
                .map(|usage| PoolAfter {
                    name: usage.pool.clone(),
                    total: small(usage.total),
                    used: small(usage.in_use),
                })
                .collect(),
            notes,
        }
    }
}

fn text_of_answer(out: &mut impl Write, answer: &Answer) -> anyhow::Result<()> {
    if let Some(problem) = &answer.problem {
        let word = format!("{}: ", answer.outcome);
        sentence(out, Some(BAD), &word, problem)?;
        sentence(
            out,
            None,
            "",
            "what is in force would stay in force, and nothing would change: kubectl ferrolb \
             validate FILE shows the lines",
        )?;
        return Ok(());
    }
    if answer.services.is_empty() {
        writeln!(out, "nothing would change for any Service")?;
    }
    for one in &answer.services {
        let paint = match one.effect {
            Effect::Loses => Some(BAD),
            Effect::Gains => Some(GOOD),
            Effect::Changes => None,
        };
        let what = format!("{}/{}: {}", one.namespace, one.name, one.what.join("; "));
        sentence(out, paint, &format!("{}: ", one.effect.word()), &what)?;
    }
    writeln!(out, "unchanged: {}", counted(answer.unchanged, "Service"))?;
    for pool in &answer.pools {
        let PoolAfter { name, total, used } = pool;
        writeln!(out, "pool {name}: {used} of {total} in use")?;
    }
    for note in &answer.notes {
        sentence(out, None, "note: ", note)?;
    }
    Ok(())
}
