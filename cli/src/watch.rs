//! Showing something again and again: on a terminal in place, to a pipe one block per change.

use std::io::{IsTerminal as _, Write};
use std::process::ExitCode;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::cluster::Cluster;
use crate::picture::Picture;
use crate::terminal::trusted;

/// Between two looks, at least. Nothing tells of all that may change.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// To the upper left corner, and everything away that is there.
const CLEAR: &str = "\u{1b}[H\u{1b}[J";

/// Has `show` print the picture; if `again`, whenever that prints something else, until the user ends it.
pub(crate) async fn shown<W: Write>(
    out: &mut W,
    cluster: &Cluster,
    again: bool,
    mut show: impl FnMut(&mut Vec<u8>, &Picture) -> anyhow::Result<ExitCode>,
) -> anyhow::Result<ExitCode> {
    let is_terminal = std::io::stdout().is_terminal();
    let mut before = Vec::new();
    loop {
        let begun = Instant::now();
        let picture = cluster.picture().await?;
        let mut block = Vec::new();
        let code = show(&mut block, &picture)?;
        if block != before {
            if again && is_terminal {
                write!(out, "{}", trusted(CLEAR))?;
            } else if !before.is_empty() {
                writeln!(out)?;
            }
            out.write_all(&block)?;
            out.flush()?;
            before = block;
        }
        if !again {
            return Ok(code);
        }
        sleep(pause(begun.elapsed())).await;
    }
}

/// Where a look takes long, fewer are taken: each costs the API server connections.
pub(crate) fn pause(took: Duration) -> Duration {
    LOOK_AGAIN.max(took * 2)
}
