//! How the demo reads on a terminal: chapters, commands as a user types them, what they print.

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
pub(super) struct Stage {
    colour: bool,
    chapters: Cell<u32>,
}

impl Stage {
    /// Colours on a terminal only.
    pub(super) fn new() -> Self {
        let colour = stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self {
            colour,
            chapters: Cell::new(0),
        }
    }

    pub(super) fn title(&self, text: &str) {
        self.write(&format!(
            "\n{}\n{}\n",
            self.bold(text),
            "=".repeat(text.chars().count())
        ));
    }

    pub(super) fn chapter(&self, text: &str) {
        let number = self.chapters.get() + 1;
        self.chapters.set(number);
        self.write(&format!(
            "\n{}\n\n",
            self.bold(&format!("{number}. {text}"))
        ));
    }

    /// Running text, wrapped.
    pub(super) fn tell(&self, text: &str) {
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

    /// A command as a user types it.
    pub(super) fn command(&self, program: &str, args: &[&str]) {
        self.write(&format!(
            "{}\n",
            self.bold(&format!("$ {program} {}", args.join(" ")))
        ));
    }

    /// What a command printed.
    pub(super) fn output(&self, text: &str) {
        self.write(&format!("{}\n\n", text.trim_end()));
    }

    /// The lines of a file that say something to the machine.
    pub(super) fn file(&self, path: &Path) -> Result<()> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        self.output(&lines.join("\n"));
        Ok(())
    }

    /// Starts `kubectl … --watch`. What it prints is shown once it has printed `awaited`.
    pub(super) fn watch(
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
            shown: format!("$ kubectl {}", args.join(" ")),
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
        // A reader who has gone away (a closed pipe) does not stop the walk, which cleans up.
        let _ = stdout().write_all(text.as_bytes());
    }
}

/// A `kubectl … --watch` under way; killed when it is dropped.
pub(super) struct Watch<'a> {
    stage: &'a Stage,
    child: Child,
    lines: mpsc::Receiver<(Instant, String)>,
    shown: String,
    awaited: String,
    seen: Vec<String>,
}

impl Watch<'_> {
    /// Shows what the watch printed up to the awaited text, and says when that came.
    pub(super) fn wait(mut self, patience: Duration) -> Result<Instant> {
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let at = self.next_line(left)?;
            if self
                .seen
                .last()
                .is_some_and(|line| line.contains(&self.awaited))
            {
                self.stage
                    .write(&format!("{}\n", self.stage.bold(&self.shown)));
                self.stage.output(&self.seen.join("\n"));
                return Ok(at);
            }
        }
    }

    fn next_line(&mut self, patience: Duration) -> Result<Instant> {
        let (at, line) = self.lines.recv_timeout(patience).with_context(|| {
            format!(
                "{} has not shown {}; so far:\n{}",
                self.shown,
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
