//! `kubectl ferrolb status`.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use ferrolb_core::report::{ConfigurationStatus, ControllerStatus, PoolStatus};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::cluster::{Cluster, Installation};
use crate::daemons::Component;
use crate::output::Format;
use crate::picture::Picture;
use crate::table;
use crate::terminal::{BAD, GOOD, WARNING};
use crate::verdict::{self, Verdict};

/// The cluster answers, and something is not as it should be.
const NOT_WELL: u8 = 1;
/// Nothing is known to be wrong, and not all could be read.
const NOT_KNOWN: u8 = 2;
/// Between two looks: nothing tells of all that is waited for.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Show whether FerroLB works: daemons, configuration, addresses.
///
/// It asks every controller and speaker who announces each address and which nodes are dead.
///
/// Exit status: 0 if all is well, 1 if there are problems (it lists them), 2 if the cluster or some of the
/// daemons cannot be read, so that it is unknown.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Status {
    #[command(flatten)]
    installation: Installation,
    /// Wait until all is well.
    #[arg(long)]
    wait: bool,
    /// Seconds after which to give up waiting.
    #[arg(long, value_name = "SECONDS", default_value_t = 120, requires = "wait")]
    timeout: u64,
    #[command(flatten)]
    format: Format,
}

const EXAMPLES: &str = "\
Examples:
  # After an installation or an upgrade
  kubectl ferrolb status --wait

  # List the problems
  kubectl ferrolb status -o json | jq -r '.problems[]'";

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    well: bool,
    /// What is not as it should be, each in a sentence.
    problems: Vec<String>,
    /// What could not be read, so that it is not known whether it is as it should be.
    unknown: Vec<String>,
    /// What is as it should be, and may surprise.
    notes: Vec<String>,
    daemons: Vec<DaemonStatus>,
    configuration: Option<ConfigurationStatus>,
    pools: Vec<PoolStatus>,
    services: usize,
    /// Services without an address.
    waiting: usize,
    /// What its rights do not allow the controller, and what that switches off.
    limits: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct DaemonStatus {
    component: &'static str,
    namespace: String,
    pod: String,
    node: Option<String>,
    ready: bool,
    /// Of controllers: whether it is the one that gives addresses.
    leads: Option<bool>,
    image: String,
}

impl Status {
    pub(crate) fn run(&self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let answer = self.installation.run(async |cluster| {
            let give_up = Instant::now() + Duration::from_secs(self.timeout);
            loop {
                let answer = look(cluster).await?;
                if answer.well || !self.wait || Instant::now() >= give_up {
                    return Ok(answer);
                }
                sleep(LOOK_AGAIN).await;
            }
        })?;
        self.format.print(out, &answer, |out| text(out, &answer))?;
        Ok(if answer.well {
            ExitCode::SUCCESS
        } else if answer.problems.is_empty() {
            ExitCode::from(NOT_KNOWN)
        } else {
            ExitCode::from(NOT_WELL)
        })
    }
}

async fn look(cluster: &Cluster) -> anyhow::Result<Answer> {
    Ok(answer(cluster.picture().await?))
}

fn answer(picture: Picture) -> Answer {
    let Verdict {
        problems,
        unknown,
        notes,
    } = verdict::of(&picture);
    let controller = picture.controller.ok();
    let waiting = |status: &ControllerStatus| {
        let services = status.services.iter();
        services
            .filter(|service| service.addresses.is_empty())
            .count()
    };
    let leader = controller.as_ref().filter(|status| status.leading);
    let leader = leader.map(|status| status.instance.clone());
    Answer {
        well: problems.is_empty() && unknown.is_empty(),
        problems,
        unknown,
        notes,
        daemons: picture
            .daemons
            .iter()
            .map(|daemon| DaemonStatus {
                component: daemon.component.name(),
                namespace: daemon.namespace.clone(),
                pod: daemon.pod.clone(),
                node: daemon.node.clone(),
                ready: daemon.ready,
                leads: (daemon.component == Component::Controller)
                    .then(|| leader.as_ref() == Some(&daemon.pod)),
                image: daemon.image.clone(),
            })
            .collect(),
        waiting: controller.as_ref().map_or(0, waiting),
        services: controller
            .as_ref()
            .map_or(0, |status| status.services.len()),
        configuration: controller
            .as_ref()
            .map(|status| status.configuration.clone()),
        limits: controller
            .as_ref()
            .map(|status| status.limits.clone())
            .unwrap_or_default(),
        pools: controller.map(|status| status.pools).unwrap_or_default(),
    }
}

fn text(out: &mut impl Write, answer: &Answer) -> anyhow::Result<()> {
    if !answer.daemons.is_empty() {
        let head = ["DAEMON", "NAMESPACE", "POD", "NODE", "READY", "IMAGE"];
        let rows: Vec<_> = std::iter::once(head.map(str::to_owned))
            .chain(answer.daemons.iter().map(row))
            .collect();
        table::print(out, &rows)?;
        writeln!(out)?;
    }
    if let Some(configuration) = &answer.configuration {
        let state = if configuration.loaded {
            "in force"
        } else {
            "not in force"
        };
        writeln!(
            out,
            "configuration: ConfigMap {}, {state}",
            configuration.source
        )?;
        let sum = |count: fn(&PoolStatus) -> u64| {
            answer.pools.iter().map(count).fold(0, u64::saturating_add)
        };
        writeln!(
            out,
            "addresses: {} of {} in use (kubectl ferrolb pools)",
            sum(|pool| pool.used),
            sum(|pool| pool.total),
        )?;
        let served = answer.services - answer.waiting;
        writeln!(
            out,
            "services: {served} of {} have an address",
            answer.services
        )?;
    }
    for limit in &answer.limits {
        writeln!(out, "{WARNING}limited:{WARNING:#} {limit}")?;
    }
    for note in &answer.notes {
        writeln!(out, "note: {note}")?;
    }
    for unknown in &answer.unknown {
        writeln!(out, "{WARNING}unknown:{WARNING:#} {unknown}")?;
    }
    for problem in &answer.problems {
        writeln!(out, "{BAD}problem:{BAD:#} {problem}")?;
    }
    if answer.well {
        writeln!(out, "{GOOD}all is well{GOOD:#}")?;
    }
    Ok(())
}

fn row(daemon: &DaemonStatus) -> [String; 6] {
    let leads = if daemon.leads == Some(true) {
        " (leads)"
    } else {
        ""
    };
    [
        format!("{}{leads}", daemon.component),
        daemon.namespace.clone(),
        daemon.pod.clone(),
        daemon.node.clone().unwrap_or_else(|| "-".to_owned()),
        if daemon.ready { "yes" } else { "no" }.to_owned(),
        daemon.image.clone(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemons::Daemon;
    use crate::fixtures::{announcing, as_data, controller, printed};
    use crate::output::Output;

    fn daemons() -> Vec<Daemon> {
        [
            Daemon::fixture(Component::Controller, "ferrolb-controller-7d9f-x2x", "n1"),
            Daemon::fixture(Component::Controller, "ferrolb-controller-7d9f-k8p", "n2"),
            Daemon::fixture(Component::Speaker, "ferrolb-speaker-4xk2m", "n1"),
        ]
        .into()
    }

    fn shown(daemons: Vec<Daemon>, controller: anyhow::Result<ControllerStatus>) -> String {
        let answer = answer(picture(daemons, controller));
        printed(|out| text(out, &answer))
    }

    fn picture(daemons: Vec<Daemon>, controller: anyhow::Result<ControllerStatus>) -> Picture {
        let speakers = match daemons.is_empty() {
            true => Vec::new(),
            false => announcing(&["192.168.64.240", "192.168.64.241"]),
        };
        Picture {
            daemons,
            controller,
            speakers,
        }
    }

    #[test]
    fn when_all_is_well_it_says_so() {
        let mut status = controller();
        status.services.pop();
        insta::assert_snapshot!(shown(daemons(), Ok(status)));
    }

    #[test]
    fn what_is_not_well_is_said_with_the_next_step() {
        let mut daemons = daemons();
        daemons[2].ready = false;
        let mut status = controller();
        status.limits = vec!["no right to watch nodes".to_owned()];
        insta::assert_snapshot!(shown(daemons, Ok(status)));
    }

    #[test]
    fn nothing_installed_is_said_as_such() {
        let missing = anyhow::anyhow!("no controller of FerroLB was found");
        insta::assert_snapshot!(shown(Vec::new(), Err(missing)));
    }

    #[test]
    fn what_cannot_be_read_is_not_called_well() {
        let silent = anyhow::anyhow!("no answer within 2 s");
        insta::assert_snapshot!(shown(daemons(), Err(silent)));
    }

    #[test]
    fn programs_get_the_same_as_data() {
        let answer = answer(picture(daemons(), Ok(controller())));
        insta::assert_snapshot!(as_data(Output::Yaml, &answer));
    }
}
