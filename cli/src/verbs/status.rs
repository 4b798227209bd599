//! `kubectl ferrolb status`.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use ferrolb_core::report::PoolStatus;
use tokio::time::{Instant, sleep};

use crate::ago;
use crate::answers::status::{DaemonStatus, StatusAnswer};
use crate::cluster::Installation;
use crate::daemons::Component;
use crate::output::WideFormat;
use crate::picture::AddressState;
use crate::table;
use crate::terminal::{BAD, GOOD, WARNING, complain, sentence};
use crate::watch;

/// The cluster answers, and something is not as it should be.
const NOT_WELL: u8 = 1;
/// Nothing is known to be wrong, and not all could be read.
const NOT_KNOWN: u8 = 2;
/// Between two looks: nothing tells of all that is waited for.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Show whether FerroLB works: daemons, configuration, addresses.
///
/// It asks every controller and speaker who announces each address and which nodes are dead. (In clusters of more
/// than 100 nodes it asks three speakers, who know of all, and those that these do not hear.)
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
    /// Time after which to give up waiting: 90s, 2m, or a number of seconds.
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = ago::parse, requires = "wait")]
    timeout: Duration,
    #[command(flatten)]
    format: WideFormat,
}

const EXAMPLES: &str = "\
Examples:
  # After an installation or an upgrade
  kubectl ferrolb status --wait --timeout 3m

  # List the problems
  kubectl ferrolb status -o json | jq -r '.problems[]'

  # Watch it live
  kubectl ferrolb top";

impl Status {
    pub(crate) fn run(&self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let answer = self.installation.run(async |cluster| {
            let look = async || Ok(StatusAnswer::of(&cluster.picture().await?));
            if !self.wait {
                return look().await;
            }
            let give_up = Instant::now() + self.timeout;
            loop {
                let (answer, _) = watch::patiently(look, Some(give_up), complain).await?;
                if answer.well || Instant::now() >= give_up {
                    return Ok(answer);
                }
                sleep(LOOK_AGAIN).await;
            }
        })?;
        self.format
            .print(out, &answer, |out, is_wide| text(out, &answer, is_wide))?;
        Ok(if answer.well {
            ExitCode::SUCCESS
        } else if answer.problems.is_empty() {
            ExitCode::from(NOT_KNOWN)
        } else {
            ExitCode::from(NOT_WELL)
        })
    }
}

fn text(out: &mut impl Write, answer: &StatusAnswer, is_wide: bool) -> anyhow::Result<()> {
    for problem in &answer.problems {
        sentence(out, Some(BAD), "problem: ", problem)?;
    }
    for unknown in &answer.unknown {
        sentence(out, Some(WARNING), "unknown: ", unknown)?;
    }
    if !answer.well && !answer.daemons.is_empty() {
        writeln!(out)?;
    }
    if is_wide {
        let head = ["DAEMON", "NAMESPACE", "POD", "NODE", "READY", "IMAGE"];
        let rows: Vec<_> = std::iter::once(head.map(str::to_owned))
            .chain(answer.daemons.iter().map(row))
            .collect();
        table::print_marked(out, &rows, &|cell| (cell == "no").then_some(BAD))?;
        writeln!(out)?;
    }
    summary(out, answer)?;
    for limit in &answer.limits {
        sentence(out, Some(WARNING), "limited: ", limit)?;
    }
    for note in &answer.notes {
        sentence(out, None, "note: ", note)?;
    }
    if answer.well {
        writeln!(out, "{GOOD}all is well{GOOD:#}")?;
    }
    Ok(())
}

fn summary(out: &mut impl Write, answer: &StatusAnswer) -> anyhow::Result<()> {
    let controllers = answer.count(Component::Controller);
    let speakers = answer.count(Component::Speaker);
    if controllers + speakers > 0 {
        let leads = answer.daemons.iter().find(|one| one.leads == Some(true));
        let leads = match leads {
            Some(leader) => format!("{} leads", leader.pod),
            None => "none leads".to_owned(),
        };
        sentence(
            out,
            None,
            "controllers: ",
            &format!("{controllers}, {leads}"),
        )?;
        let live = answer.live();
        sentence(
            out,
            None,
            "speakers: ",
            &format!("{live} of {speakers} live"),
        )?;
    }
    let Some(configuration) = &answer.configuration else {
        return Ok(());
    };
    let state = if configuration.loaded {
        "in force"
    } else {
        "not in force"
    };
    let source = format!("{}, {state}", configuration.origin());
    sentence(out, None, "configuration: ", &source)?;
    let sum = |count: fn(&PoolStatus) -> u64| {
        let counts = answer.pools.iter().map(count);
        counts.fold(0, u64::saturating_add)
    };
    let (used, total) = (sum(|pool| pool.used), sum(|pool| pool.total));
    let silent = answer.addresses.iter().filter(|address| {
        !matches!(
            address.state,
            AddressState::Announced | AddressState::OfNode | AddressState::Twice
        )
    });
    let all = answer.addresses.len();
    let announced = all - silent.count();
    sentence(
        out,
        None,
        "addresses: ",
        &format!(
            "{used} of {total} in use (kubectl ferrolb pools), {announced} of {all} announced"
        ),
    )?;
    let served = answer.services - answer.waiting;
    let services = format!(
        "{served} of {} have an address (kubectl ferrolb services -A)",
        answer.services
    );
    sentence(out, None, "services: ", &services)?;
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
    use ferrolb_core::report::ControllerStatus;

    use super::*;
    use crate::daemons::Daemon;
    use crate::fixtures::{announcing, as_data, controller, printed};
    use crate::output::Output;
    use crate::picture::Picture;
    use crate::picture::tests::picture_of;

    fn daemons() -> Vec<Daemon> {
        [
            Daemon::fixture(Component::Controller, "ferrolb-controller-7d9f-x2x", "n1"),
            Daemon::fixture(Component::Controller, "ferrolb-controller-7d9f-k8p", "n2"),
            Daemon::fixture(Component::Speaker, "ferrolb-speaker-4xk2m", "n1"),
        ]
        .into()
    }

    fn shown(daemons: Vec<Daemon>, controller: anyhow::Result<ControllerStatus>) -> String {
        let answer = StatusAnswer::of(&picture(daemons, controller));
        printed(|out| text(out, &answer, false))
    }

    fn picture(daemons: Vec<Daemon>, controller: anyhow::Result<ControllerStatus>) -> Picture {
        let speakers = match daemons.is_empty() {
            true => Vec::new(),
            false => announcing(&["192.168.64.240", "192.168.64.241"]),
        };
        picture_of(daemons, controller, speakers)
    }

    #[test]
    fn when_all_is_well_it_says_so() {
        let mut status = controller();
        status.services.pop();
        insta::assert_snapshot!(shown(daemons(), Ok(status)));
    }

    #[test]
    fn what_is_not_well_is_said_first_and_with_the_next_step() {
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
    fn every_pod_is_listed_where_that_is_asked_for() {
        let mut status = controller();
        status.services.pop();
        let answer = StatusAnswer::of(&picture(daemons(), Ok(status)));
        insta::assert_snapshot!(printed(|out| text(out, &answer, true)));
    }

    #[test]
    fn programs_get_the_same_as_data() {
        let answer = StatusAnswer::of(&picture(daemons(), Ok(controller())));
        insta::assert_snapshot!(as_data(Output::Yaml, &answer));
    }
}
