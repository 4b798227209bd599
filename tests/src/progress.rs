//! What a person sees while a lab starts: one line per step with the time it took. On a terminal
//! the line of the step under way is rewritten in place.

use std::cell::Cell;
use std::fmt::Display;
use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

/// Without a terminal a long step says this often that it is still alive.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Where progress goes: to standard error, or nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Each step is shown: for commands.
    Shown,
    /// Only steps that take minutes are shown: for tests.
    Quiet,
}

impl Progress {
    /// Runs a step, and says what it was and how long it took.
    pub fn step<T, E>(
        self,
        what: impl Display,
        work: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        if self == Self::Quiet {
            return work();
        }
        let step = Step::begin(what.to_string());
        let result = work();
        match &result {
            Ok(_) => step.end(),
            Err(_) => step.give_up(),
        }
        result
    }

    /// A line of its own.
    pub fn say(self, text: impl Display) {
        if self == Self::Shown {
            write_stderr(&format!("{text}\n"));
        }
    }
}

/// A step that is under way and shown.
pub struct Step {
    what: String,
    began: Instant,
    terminal: bool,
    next_heartbeat: Cell<Duration>,
}

impl Step {
    /// Shows that it began.
    pub fn begin(what: String) -> Self {
        let terminal = stderr().is_terminal();
        if terminal {
            write_stderr(&format!("  {what} …"));
        }
        Self {
            what,
            began: Instant::now(),
            terminal,
            next_heartbeat: Cell::new(HEARTBEAT),
        }
    }

    /// Shows how far it is. May be called as often as one likes.
    pub fn update(&self, detail: &str) {
        let elapsed = self.began.elapsed();
        let line = format!("  {} … {}, {detail}", self.what, readable(elapsed));
        if self.terminal {
            write_stderr(&format!("\r\x1b[K{line}"));
        } else if elapsed >= self.next_heartbeat.get() {
            self.next_heartbeat.set(elapsed + HEARTBEAT);
            write_stderr(&format!("{line}\n"));
        }
    }

    /// Shows that it is done.
    pub fn end(self) {
        let start = if self.terminal { "\r\x1b[K" } else { "" };
        let took = readable(self.began.elapsed());
        write_stderr(&format!("{start}  {:<44} {took:>8}\n", self.what));
    }

    /// Leaves the line as it is; the error that follows says more.
    pub fn give_up(self) {
        let line = if self.terminal {
            "\n".to_owned()
        } else {
            format!("  {} failed\n", self.what)
        };
        write_stderr(&line);
    }
}

/// `3.2 s`, `4 min 05 s`.
pub fn readable(time: Duration) -> String {
    if time < Duration::from_secs(60) {
        return format!("{:.1} s", time.as_secs_f64());
    }
    format!("{} min {:02} s", time.as_secs() / 60, time.as_secs() % 60)
}

fn write_stderr(text: &str) {
    // Nobody to tell if standard error is closed.
    let _ = stderr().write_all(text.as_bytes());
}
