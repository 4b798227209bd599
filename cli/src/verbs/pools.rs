//! `kubectl ferrolb pools`.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use ferrolb_core::config::objects::Kind;
use ferrolb_core::report::ControllerStatus;

use crate::answers::pools::{Holder, Pool, PoolsAnswer};
use crate::cluster::Installation;
use crate::controller::not_leading;
use crate::output::WideFormat;
use crate::table;
use crate::terminal::{BAD, WARNING, sentence};

/// List the address pools, and how full they are.
///
/// Exit status: 0, or 2 if no controller answers.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Pools {
    #[command(flatten)]
    installation: Installation,
    #[command(flatten)]
    format: WideFormat,
}

const EXAMPLES: &str = "\
Examples:
  # Which Service has which address
  kubectl ferrolb pools -o wide

  # How many addresses are left
  kubectl ferrolb pools -o json | jq '[.pools[].free] | add'";

impl Pools {
    pub(crate) fn run(&self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let picture = self
            .installation
            .run(async |cluster| cluster.picture().await)?;
        let why = not_leading(&picture.controller);
        ensure!(why.is_none(), why.unwrap_or_default());
        let status = picture.controller.as_ref().ok().context("no answer")?;
        let answer = PoolsAnswer::of(&picture);
        self.format.print(out, &answer, |out, is_wide| {
            text(out, &answer, status, is_wide)
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

fn text(
    out: &mut impl Write,
    answer: &PoolsAnswer,
    status: &ControllerStatus,
    is_wide: bool,
) -> anyhow::Result<()> {
    if answer.pools.is_empty() {
        let origin = status.configuration.origin();
        writeln!(out, "no address pools from {origin} are in force")?;
    } else {
        let head = [
            "POOL",
            "PROTOCOL",
            "AUTO-ASSIGN",
            "TOTAL",
            "USED",
            "FREE",
            "FIRST FREE",
            "RANGES",
        ];
        let rows: Vec<_> = std::iter::once(head.map(str::to_owned))
            .chain(answer.pools.iter().map(row))
            .collect();
        table::print(out, &rows)?;
    }
    for pool in &answer.pools {
        for one in &pool.status.left_out {
            let what = format!("{one} and is given to no Service");
            sentence(out, None, &format!("pool {}: ", pool.status.name), &what)?;
        }
    }
    if is_wide {
        holders(out, answer)?;
    }
    if let Some(problem) = &status.configuration.problem {
        writeln!(out)?;
        let reason = format!("{}: ", problem.reason);
        sentence(out, Some(BAD), &reason, &problem.message)?;
    }
    let objects = status.configuration.objects.iter();
    let mut pools = objects
        .filter(|one| one.kind == Kind::IpAddressPool.as_str())
        .peekable();
    if pools.peek().is_some() {
        writeln!(out)?;
    }
    for one in pools {
        let (paint, what) = match (one.refused, one.former_in_force) {
            (true, true) => (BAD, "not in force, its last good version stays: "),
            (true, false) => (BAD, "not in force: "),
            (false, _) => (WARNING, ""),
        };
        let pool = format!("IPAddressPool {}: ", one.name);
        let said = format!("{what}{}: {}", one.reason, one.message);
        sentence(out, Some(paint), &pool, &said)?;
    }
    Ok(())
}

/// Who has what.
fn holders(out: &mut impl Write, answer: &PoolsAnswer) -> anyhow::Result<()> {
    let head = ["POOL", "ADDRESS", "SERVICES", "NODE"].map(str::to_owned);
    let held = answer.pools.iter().flat_map(|pool| {
        let name = &pool.status.name;
        pool.holders.iter().map(move |holder| (name, holder))
    });
    let rows = held.map(
        |(
            pool,
            Holder {
                address,
                services,
                nodes,
            },
        )| {
            let nodes = match nodes.as_slice() {
                [] => "-".to_owned(),
                some => some.join(","),
            };
            [
                pool.clone(),
                address.clone(),
                table::list(services, ","),
                nodes,
            ]
        },
    );
    let rows: Vec<_> = std::iter::once(head).chain(rows).collect();
    if rows.len() > 1 {
        writeln!(out)?;
        table::print(out, &rows)?;
    }
    Ok(())
}

fn row(pool: &Pool) -> [String; 8] {
    let pool = &pool.status;
    let count = |count: u64| match count {
        many if many >= i64::MAX.unsigned_abs() => format!(">{}", i64::MAX),
        count => count.to_string(),
    };
    let first_free = match pool.first_free.as_slice() {
        [] => "-".to_owned(),
        some => some.join(","),
    };
    [
        pool.name.clone(),
        pool.protocol.clone(),
        pool.auto_assign.to_string(),
        count(pool.total),
        count(pool.used),
        count(pool.free),
        first_free,
        table::list(&pool.ranges, ","),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{announcing, controller, object_status, printed};
    use crate::picture::tests::{picture_of, speakers_on};

    fn shown(status: ControllerStatus, is_wide: bool) -> String {
        let speakers = announcing(&["192.168.64.240"]);
        let picture = picture_of(speakers_on(&["n1"]), Ok(status.clone()), speakers);
        let answer = PoolsAnswer::of(&picture);
        printed(|out| text(out, &answer, &status, is_wide))
    }

    #[test]
    fn pools_are_shown_with_what_is_left_of_them() {
        insta::assert_snapshot!(shown(controller(), false));
    }

    #[test]
    fn who_has_which_address_is_shown_where_that_is_asked_for() {
        insta::assert_snapshot!(shown(controller(), true));
    }

    #[test]
    fn the_gateways_that_a_pool_leaves_out_are_named() {
        let mut status = controller();
        let gateway = "192.168.64.241, which is the gateway of node n1";
        status.pools[0].left_out = vec![gateway.to_owned()];
        let shown = shown(status, false);
        let line = "pool default: 192.168.64.241, which is the gateway of node n1 and is given to no Service";
        assert!(shown.lines().any(|one| one == line), "{shown}");
    }

    #[test]
    fn without_pools_it_is_said_where_they_belong() {
        let mut status = controller();
        status.pools.clear();
        insta::assert_snapshot!(shown(status, true));
    }

    #[test]
    fn pools_that_are_objects_are_shown_with_their_last_error() {
        let mut status = controller();
        status.configuration.from = Some("objects".to_owned());
        status.configuration.objects = vec![
            object_status("default", "config_refused", true, true),
            object_status("new", "pool_overlaps", true, false),
            object_status("six", "not_advertised", false, false),
        ];
        insta::assert_snapshot!(shown(status.clone(), false));
        status.pools.clear();
        status.configuration.objects.clear();
        assert_eq!(
            shown(status, false),
            "no address pools from MetalLB's objects in namespace metallb-system are in force\n"
        );
    }
}
