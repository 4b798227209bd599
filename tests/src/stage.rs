//! How a story reads on a terminal: chapters, commands as a user types them, what they print.

use std::cell::Cell;
use std::io::{BufRead, BufReader, IsTerminal, Write, stdout};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Columns of running text.
const WIDTH: usize = 78;

/// Where the story is told: standard output.
pub struct Stage {
    write: fn(&str),
    colour: bool,
    chapters: Cell<u32>,
    /// Each command says how long after this it began.
    clock: Cell<Option<Instant>>,
}

impl Stage {
    /// One that a command tells its story on; colours on a terminal only.
    pub fn of_a_command() -> Self {
        let colour = stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        // A reader who has gone away (a closed pipe) does not stop the story, which cleans up.
        let write = |text: &str| drop(stdout().write_all(text.as_bytes()));
        Self {
            write,
            colour,
            chapters: Cell::new(0),
            clock: Cell::new(None),
        }
    }

    /// One that a test tells its story on: shown if the test fails, or with `--nocapture`.
    #[expect(clippy::print_stdout, reason = "only what is printed is captured")]
    pub fn of_a_test() -> Self {
        Self {
            write: |text| print!("{text}"),
            ..Self::of_a_command()
        }
    }

    /// Counts the time of each command from now on.
    pub(crate) fn start_clock(&self) {
        self.clock.set(Some(Instant::now()));
    }

    pub(crate) fn title(&self, text: &str) {
        self.write(&format!(
            "\n{}\n{}\n",
            self.bold(text),
            "=".repeat(text.chars().count())
        ));
    }

    pub(crate) fn chapter(&self, text: &str) {
        let number = self.chapters.get() + 1;
        self.chapters.set(number);
        self.write(&format!(
            "\n{}\n\n",
            self.bold(&format!("{number}. {text}"))
        ));
    }

    /// Running text, wrapped.
    pub(crate) fn tell(&self, text: &str) {
        let mut line = String::new();
        let mut lines = Vec::new();
        for word in text.split_ascii_whitespace() {
            if line.chars().count() + 1 + word.chars().count() > WIDTH {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(line);
        self.write(&format!("{}\n\n", lines.join("\n")));
    }

    /// A command as a user types it, and when that was.
    pub(crate) fn command(&self, program: &str, args: &[&str]) {
        self.write(&self.typed(program, args));
    }

    fn typed(&self, program: &str, args: &[&str]) -> String {
        let typed = self.bold(&format!("$ {program} {}", args.join(" ")));
        match self.clock.get() {
            Some(start) => format!("{typed}    # at {:.1} s\n", start.elapsed().as_secs_f64()),
            None => format!("{typed}\n"),
        }
    }

    /// What a command printed.
    pub(crate) fn output(&self, text: &str) {
        self.write(&format!("{}\n\n", text.trim_end()));
    }

    /// The lines of a file that say something to the machine.
    pub(crate) fn file(&self, path: &Path) -> Result<()> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        self.output(&lines.join("\n"));
        Ok(())
    }

    /// Starts `kubectl … --watch`. What it prints is shown once it has printed `awaited`.
    pub(crate) fn watch(
        &self,
        mut command: Command,
        args: &[&str],
        awaited: &str,
    ) -> Result<Watch<'_>> {
        let mut child = command
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start kubectl")?;
        let lines = child.stdout.take().context("kubectl has no output")?;
        let (sender, receiver) = mpsc::channel();
        // Ends with kubectl: reading then finds the end.
        std::thread::spawn(move || {
            for line in BufReader::new(lines).lines().map_while(Result::ok) {
                if sender.send((Instant::now(), line)).is_err() {
                    break;
                }
            }
        });
        let mut watch = Watch {
            stage: self,
            child,
            lines: receiver,
            shown: self.typed("kubectl", args),
            awaited: awaited.to_owned(),
            seen: Vec::new(),
        };
        // The list that precedes the changes: from here on nothing is missed.
        for _ in 0..2 {
            watch.next_line(Duration::from_secs(30))?;
        }
        Ok(watch)
    }

    fn bold(&self, text: &str) -> String {
        if self.colour {
            format!("\x1b[1m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    fn write(&self, text: &str) {
        (self.write)(text);
    }
}

/// A `kubectl … --watch` under way; killed when it is dropped.
pub(crate) struct Watch<'a> {
    stage: &'a Stage,
    child: Child,
    lines: mpsc::Receiver<(Instant, String)>,
    shown: String,
    awaited: String,
    seen: Vec<String>,
}

impl Watch<'_> {
    /// Shows what the watch printed up to the awaited text, and says when that came.
    pub(crate) fn wait(mut self, patience: Duration) -> Result<Instant> {
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let at = self.next_line(left)?;
            if self
                .seen
                .last()
                .is_some_and(|line| line.contains(&self.awaited))
            {
                self.stage.write(&self.shown);
                self.stage.output(&self.seen.join("\n"));
                return Ok(at);
            }
        }
    }

    fn next_line(&mut self, patience: Duration) -> Result<Instant> {
        let (at, line) = self.lines.recv_timeout(patience).with_context(|| {
            format!(
                "{} has not shown {}; so far:\n{}",
                self.shown.trim_end(),
                self.awaited,
                self.seen.join("\n")
            )
        })?;
        self.seen.push(line);
        Ok(at)
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
