//! What an edit of the configuration would do to each Service.

mod applied;
mod changes;
mod decisions;
#[cfg(test)]
mod tests;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use ferrolb_core::config::{Config, text_of};
use ferrolb_core::k8s::namespace_view;
use ferrolb_core::report::ObjectStatus;
use ferrolb_core::source::Choice;
use ferrolb_core::view::ServiceKey;
use serde::Serialize;

use self::applied::{Applied, There, applied};
use self::changes::{Change, Effect, changes};
use self::decisions::{World, decide};
use crate::cluster::{Cluster, Installation};
use crate::configured::is_forbidden;
use crate::election::Election;
use crate::output::{Format, counted};
use crate::picture::Picture;
use crate::terminal::{BAD, GOOD, WARNING, sentence};

/// Show what an edited configuration would do to each Service.
///
/// The file has MetalLB's objects, or a ConfigMap, values of the chart, or the bare configuration, as `validate`
/// reads them. Objects of the file take the place of those of the same names in the cluster; the others stay, as
/// with `kubectl apply`. What would be decided is decided by the daemons' own code, on what the API server says now,
/// also whether the file would be in force at all. It does not know which addresses other hosts on the network
/// have.
///
/// Exit status: 0 if no Service would lose anything, 1 if one would, or if something in the file would not be in
/// force, 2 if the file or the cluster cannot be read.
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
  kubectl ferrolb plan config pools.yaml && kubectl apply -f pools.yaml

  # What a chart renders, or what a repository has
  kubectl kustomize overlays/production | kubectl ferrolb plan config -";

/// A Service would lose something, or nothing would come of it.
const LOSES: u8 = 1;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Answer {
    /// `in_force`; or, if what is in force stays, `refused`, `not_configured`, `ignored` or `waits`.
    outcome: &'static str,
    /// Why what is in force stays.
    problem: Option<String>,
    /// What is to be said of single objects.
    objects: Vec<ObjectStatus>,
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
        let answer = self
            .installation
            .run(async |cluster| look(cluster, &text).await.with_context(|| name.clone()))?;
        self.format
            .print(out, &answer, |out| text_of_answer(out, &answer))?;
        let loses = answer
            .services
            .iter()
            .any(|one| one.effect == Effect::Loses);
        let refused = answer.objects.iter().any(|one| one.refused);
        Ok(if loses || refused || answer.outcome != IN_FORCE {
            ExitCode::from(LOSES)
        } else {
            ExitCode::SUCCESS
        })
    }
}

/// What the text of a file would do.
pub(super) async fn look(cluster: &Cluster, text: &str) -> anyhow::Result<Answer> {
    let picture = cluster.picture().await?;
    let election = cluster.election(&picture.daemons).await?;
    let there = there(cluster, &picture).await?;
    let applied = applied(text, &there, &election)?;
    Ok(match &applied.result {
        Ok(_) => {
            let world = world(cluster, &picture).await;
            Answer::of(&election, &picture, &world, applied)
        }
        Err(_) => Answer::nothing(applied),
    })
}

const IN_FORCE: &str = "in_force";

async fn there(cluster: &Cluster, picture: &Picture) -> anyhow::Result<There> {
    let (namespace, map) = cluster.config_source(&picture.daemons).await;
    let read = cluster.views_of_objects(&namespace).await;
    let may_read = !read.as_ref().is_err_and(is_forbidden);
    let (views, has_kinds) = if may_read { read? } else { Default::default() };
    let mut choices = picture.daemons.iter().map(|one| one.choice);
    Ok(There {
        configured: cluster.configured(&picture.daemons).await?,
        choice: choices.find(|one| *one != Choice::Auto).unwrap_or_default(),
        namespace,
        map,
        views,
        has_kinds,
        may_read,
    })
}

async fn world(cluster: &Cluster, picture: &Picture) -> World {
    let namespaces = cluster.every(|namespace| namespace_view(&namespace)).await;
    let status = picture.controller.as_ref().ok().filter(|one| one.leading);
    let served = status.map(|status| {
        let services = status.services.iter();
        services
            .map(|one| ServiceKey::new(&*one.namespace, &*one.name))
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
    fn nothing(applied: Applied) -> Self {
        let (outcome, problem) = applied.result.err().unwrap_or_default();
        Self {
            outcome,
            problem: Some(problem),
            objects: applied.objects,
            services: Vec::new(),
            unchanged: 0,
            pools: Vec::new(),
            notes: applied.notes,
        }
    }

    fn of(election: &Election, picture: &Picture, world: &World, applied: Applied) -> Self {
        let config: Config = applied.result.unwrap_or_default();
        let decided = decide(election, world, &config);
        let after = election.under(Some(config));
        let services = changes(election, &after, picture, &decided);
        let mut notes: Vec<String> = election.note.map(str::to_owned).into_iter().collect();
        notes.extend(applied.notes);
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
            objects: applied.objects,
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
    for one in &answer.objects {
        let (paint, what) = match (one.refused, one.former_in_force) {
            (true, true) => (
                Some(BAD),
                "would not be in force, its last good version stays",
            ),
            (true, false) => (Some(BAD), "would not be in force"),
            (false, _) => (Some(WARNING), "warning"),
        };
        let object = format!("{} {}/{}: ", one.kind, one.namespace, one.name);
        let said = format!("{what}: {}: {}", one.reason, one.message);
        sentence(out, paint, &object, &said)?;
    }
    if let Some(problem) = &answer.problem {
        let word = format!("{}: ", answer.outcome);
        sentence(out, Some(BAD), &word, problem)?;
        sentence(
            out,
            None,
            "",
            "what is in force would stay in force, and nothing would change: kubectl ferrolb \
             validate FILE shows what is wrong in it",
        )?;
        for note in &answer.notes {
            sentence(out, None, "note: ", note)?;
        }
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
