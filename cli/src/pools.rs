//! `kubectl ferrolb pools`.

use std::io::Write;
use std::process::ExitCode;

use ferrolb_core::report::{ControllerStatus, PoolStatus};
use serde::Serialize;

use crate::cluster::Installation;
use crate::output::Format;
use crate::table;

/// List the address pools, and how full they are.
///
/// Exit status: 0, or 2 if no controller answers.
#[derive(Debug, clap::Args)]
pub(crate) struct Pools {
    #[command(flatten)]
    installation: Installation,
    #[command(flatten)]
    format: Format,
}

#[derive(Serialize)]
struct Answer<'a> {
    pools: &'a [PoolStatus],
}

impl Pools {
    pub(crate) fn run(&self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let status = self
            .installation
            .run(async |cluster| cluster.leader().await)?;
        self.print(out, &status)?;
        Ok(ExitCode::SUCCESS)
    }

    fn print(&self, out: &mut impl Write, status: &ControllerStatus) -> anyhow::Result<()> {
        let answer = Answer {
            pools: &status.pools,
        };
        self.format.print(out, &answer, |out| text(out, status))
    }
}

fn text(out: &mut impl Write, status: &ControllerStatus) -> anyhow::Result<()> {
    if status.pools.is_empty() {
        let source = &status.configuration.source;
        writeln!(out, "no address pools from ConfigMap {source} are in force")?;
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
            .chain(status.pools.iter().map(row))
            .collect();
        table::print(out, &rows)?;
    }
    if let Some(problem) = &status.configuration.problem {
        writeln!(out, "\n{}: {}", problem.reason, problem.message)?;
    }
    Ok(())
}

fn row(pool: &PoolStatus) -> [String; 8] {
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
    use crate::fixtures::{controller, printed};

    #[test]
    fn pools_are_shown_with_what_is_left_of_them() {
        insta::assert_snapshot!(printed(|out| text(out, &controller())));
    }

    #[test]
    fn without_pools_it_is_said_where_they_belong() {
        let mut status = controller();
        status.pools.clear();
        insta::assert_snapshot!(printed(|out| text(out, &status)));
    }
}
