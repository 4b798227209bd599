//! Showing something again and again: on a terminal in place, to a pipe one block per change.

use std::io::{self, IsTerminal as _, Write};
use std::process::ExitCode;
use std::time::Duration;

use crossterm::cursor::MoveTo;
use crossterm::queue;
use crossterm::terminal::{Clear, ClearType};
use tokio::time::{Instant, sleep};

use crate::cluster::Cluster;
use crate::output::causes;
use crate::picture::Picture;
use crate::terminal::complain;

/// Between two looks, at least. Nothing tells of all that may change.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Whether there is a terminal that can be drawn on.
pub(crate) fn is_live() -> bool {
    io::stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// What is shown of a picture.
pub(crate) struct Shown {
    pub(crate) code: ExitCode,
    /// What stands in the way of a full answer.
    pub(crate) trouble: Option<String>,
}

/// Has `show` print the picture; if `again`, whenever it has changed, until the user ends it.
pub(crate) async fn shown<W: Write>(
    out: &mut W,
    cluster: &Cluster,
    again: bool,
    mut show: impl FnMut(&mut Vec<u8>, &Picture) -> anyhow::Result<Shown>,
) -> anyhow::Result<ExitCode> {
    let is_live = is_live();
    let mut before = None;
    let mut told = Told::default();
    let begun = Instant::now();
    // What cannot be read at all is no reason to wait.
    let mut picture = cluster.picture().await?;
    let mut took = begun.elapsed();
    loop {
        let signature = picture.signature();
        let mut block = Vec::new();
        let Shown { code, trouble } = show(&mut block, &picture)?;
        // On a terminal, times go on; to a pipe that would be a block a second.
        if !again || is_live || before.as_ref() != Some(&signature) {
            if again && is_live {
                queue!(io::stdout(), MoveTo(0, 0), Clear(ClearType::FromCursorDown))?;
                // It was cleared away.
                told = Told::default();
            } else if before.is_some() {
                writeln!(out)?;
            }
            out.write_all(&block)?;
            out.flush()?;
            before = Some(signature);
        }
        if let Some(trouble) = told.news(trouble) {
            complain(&trouble)?;
        }
        if !again {
            return Ok(code);
        }
        sleep(pause(took)).await;
        (picture, took) = patiently(async || cluster.picture().await, None, complain).await?;
    }
}

/// What was said of trouble that is not over yet: once is enough.
#[derive(Debug, Default)]
struct Told(bool);

impl Told {
    fn news<T>(&mut self, trouble: Option<T>) -> Option<T> {
        let was_told = std::mem::replace(&mut self.0, trouble.is_some());
        trouble.filter(|_| !was_told)
    }
}

/// Looks again until there is an answer, at the latest when `give_up` has passed. What stands in the way is told
/// once: an API server that restarts is no reason to end. With the answer comes how long it took.
pub(crate) async fn patiently<T>(
    mut look: impl AsyncFnMut() -> anyhow::Result<T>,
    give_up: Option<Instant>,
    mut tell: impl FnMut(&str) -> io::Result<()>,
) -> anyhow::Result<(T, Duration)> {
    let mut told = Told::default();
    loop {
        let begun = Instant::now();
        let error = match look().await {
            Ok(seen) => return Ok((seen, begun.elapsed())),
            Err(error) => error,
        };
        let left = give_up.map(|at| at.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Err(error);
        }
        if let Some(error) = told.news(Some(error)) {
            tell(&format!("{}; trying again", causes(&error)))?;
        }
        let pause = pause(begun.elapsed());
        sleep(left.map_or(pause, |left| left.min(pause))).await;
    }
}

/// Where a look takes long, fewer are taken: each costs the API server connections.
pub(crate) fn pause(took: Duration) -> Duration {
    LOOK_AGAIN.max(took * 2)
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    /// What came of looks of which the first ones fail, and what was told meanwhile.
    async fn after(
        failures: usize,
        patience: Option<Duration>,
    ) -> (anyhow::Result<usize>, Vec<String>) {
        let (mut looks, mut told) = (0, Vec::new());
        let look = async || {
            looks += 1;
            match looks > failures {
                true => Ok(looks),
                false => Err(anyhow!("no answer to question {looks}")),
            }
        };
        let give_up = patience.map(|patience| Instant::now() + patience);
        let seen = patiently(look, give_up, |why| {
            told.push(why.to_owned());
            Ok(())
        });
        let seen = seen.await.map(|(seen, _)| seen);
        (seen, told)
    }

    #[tokio::test]
    async fn what_is_in_the_way_for_a_while_is_told_once_and_ends_nothing() {
        let (seen, told) = after(2, None).await;
        assert_eq!(seen.unwrap(), 3);
        assert_eq!(told, ["no answer to question 1; trying again"]);
        let (seen, told) = after(0, Some(Duration::ZERO)).await;
        assert_eq!((seen.unwrap(), told.len()), (1, 0));
    }

    #[tokio::test]
    async fn who_gives_up_says_why_and_looks_once_more_at_the_end() {
        let (seen, told) = after(usize::MAX, Some(LOOK_AGAIN * 9 / 10)).await;
        assert_eq!(seen.unwrap_err().to_string(), "no answer to question 2");
        assert_eq!(told.len(), 1);
    }

    #[test]
    fn trouble_that_comes_back_is_told_again() {
        let mut told = Told::default();
        let news = [Some(1), Some(2), None, Some(3)].map(|trouble| told.news(trouble));
        assert_eq!(news, [Some(1), None, None, Some(3)]);
    }
}
