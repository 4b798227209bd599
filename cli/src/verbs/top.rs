//! `kubectl ferrolb top`.

mod moves;
mod screen;
#[cfg(test)]
mod tests;
mod view;

use std::io::Write;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use self::moves::Moves;
use self::screen::Screen;
use self::view::{After, View};
use crate::cluster::{Cluster, Installation};
use crate::output::causes;
use crate::picture::Picture;
use crate::terminal::complain;
use crate::watch;

/// Columns of a block that goes to a pipe.
const OF_A_PIPE: usize = 140;

/// Watch nodes, addresses, problems and moves live.
///
/// Keys: q quits, s sorts, p shows problems only, / filters, up and down select an address, e explains it. It needs a
/// terminal of 80 columns; a pipe gets one block per change, until you stop it.
///
/// Exit status: 0 if you end it with q, 2 if the cluster does not answer.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Top {
    #[command(flatten)]
    installation: Installation,
}

const EXAMPLES: &str = "\
Examples:
  # Live, also over ssh
  kubectl ferrolb top

  # A log of every change
  kubectl ferrolb top | tee changes.log";

impl Top {
    pub(crate) fn run(&self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        self.installation.run(async |cluster| {
            // What cannot be read at all is said before the screen is taken.
            let picture = cluster.picture().await?;
            // It would be written across the screen.
            cluster.told_of_waiting.store(true, Ordering::Relaxed);
            if watch::is_live() {
                live(out, cluster, picture).await?;
            } else {
                blocks(out, cluster, picture).await?;
            }
            Ok(ExitCode::SUCCESS)
        })
    }
}

async fn live(out: &mut impl Write, cluster: &Cluster, first: Picture) -> anyhow::Result<()> {
    let mut screen = Screen::take()?;
    let mut view = View::default();
    let mut moves = Moves::default();
    moves.note(&first);
    let mut picture = first;
    let mut trouble = None;
    let mut look = Box::pin(look_after(cluster, Duration::ZERO));
    loop {
        let (columns, rows) = screen.size();
        let lines = view.frame(&picture, &moves, trouble.as_deref(), columns, rows);
        screen.draw(out, &lines)?;
        tokio::select! {
            (seen, took) = &mut look => {
                match seen {
                    Ok(seen) => {
                        moves.note(&seen);
                        picture = seen;
                        trouble = None;
                    }
                    // The last one stays, and is said to be old.
                    Err(error) => trouble = Some(causes(&error)),
                }
                look.set(look_after(cluster, watch::pause(took)));
            }
            key = screen.key() => match key {
                Some(key) if view.handle(key, &picture) == After::Quit => return Ok(()),
                Some(_) => {}
                None => return Ok(()),
            },
        }
    }
}

/// What is seen after a pause, and how long the look took.
async fn look_after(cluster: &Cluster, pause: Duration) -> (anyhow::Result<Picture>, Duration) {
    sleep(pause).await;
    let begun = Instant::now();
    let seen = cluster.picture().await;
    (seen, begun.elapsed())
}

/// One block for each change.
async fn blocks(out: &mut impl Write, cluster: &Cluster, first: Picture) -> anyhow::Result<()> {
    let mut moves = Moves::default();
    let mut before = None;
    let mut picture = first;
    let mut took = Duration::ZERO;
    loop {
        moves.note(&picture);
        let signature = picture.signature();
        if before.as_ref() != Some(&signature) {
            for line in View::default().block(&picture, &moves, OF_A_PIPE) {
                writeln!(out, "{}", line.trim_end())?;
            }
            writeln!(out)?;
            out.flush()?;
            before = Some(signature);
        }
        sleep(watch::pause(took)).await;
        (picture, took) =
            watch::patiently(async || cluster.picture().await, None, complain).await?;
    }
}
