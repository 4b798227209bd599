//! Showing something again and again: on a terminal in place, to a pipe one block per change.

use std::io::{self, IsTerminal as _, Write};
use std::process::ExitCode;
use std::time::Duration;

use crossterm::cursor::MoveTo;
use crossterm::queue;
use crossterm::terminal::{Clear, ClearType};
use tokio::time::{Instant, sleep};

use crate::cluster::Cluster;
use crate::picture::Picture;

/// Between two looks, at least. Nothing tells of all that may change.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Whether there is a terminal that can be drawn on.
pub(crate) fn is_live() -> bool {
    io::stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Has `show` print the picture; if `again`, whenever it has changed, until the user ends it.
pub(crate) async fn shown<W: Write>(
    out: &mut W,
    cluster: &Cluster,
    again: bool,
    mut show: impl FnMut(&mut Vec<u8>, &Picture) -> anyhow::Result<ExitCode>,
) -> anyhow::Result<ExitCode> {
    let is_live = is_live();
    let mut before = None;
    loop {
        let begun = Instant::now();
        let picture = cluster.picture().await?;
        let signature = picture.signature();
        let mut block = Vec::new();
        let code = show(&mut block, &picture)?;
        // On a terminal, times go on; to a pipe that would be a block a second.
        if !again || is_live || before.as_ref() != Some(&signature) {
            if again && is_live {
                queue!(io::stdout(), MoveTo(0, 0), Clear(ClearType::FromCursorDown))?;
            } else if before.is_some() {
                writeln!(out)?;
            }
            out.write_all(&block)?;
            out.flush()?;
            before = Some(signature);
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
