//! Running a program to its end, with an error that says what it said.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};

/// Runs a program with `input` on its standard input.
pub fn output_with_input(program: &str, args: &[&str], input: &str) -> Result<Output> {
    let mut command = Command::new(program);
    command.args(args);
    run(&mut command, input)
}

/// Runs a command with `input`; its standard output, or an error with what it complained of.
pub fn stdout_of(command: &mut Command, input: &str) -> Result<String> {
    let output = run(command, input)?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let said = if stderr.trim().is_empty() {
        stdout.trim()
    } else {
        stderr.trim()
    };
    bail!("{} failed ({}): {said}", line_of(command), output.status)
}

fn run(command: &mut Command, input: &str) -> Result<Output> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {}", line_of(command)))?;
    let stdin = child.stdin.take();
    std::thread::scope(|scope| {
        // On a thread: a program that writes before it has read all must not wait for us.
        scope.spawn(move || {
            // It may end without reading: its exit code then says more than our broken pipe.
            stdin.map(|mut stdin| stdin.write_all(input.as_bytes()))
        });
        child
            .wait_with_output()
            .with_context(|| format!("cannot wait for {}", line_of(command)))
    })
}

/// A command as a person would type it; the way into a namespace left out.
fn line_of(command: &Command) -> String {
    let words: Vec<String> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let start = words
        .iter()
        .position(|word| word == "--")
        .map_or(0, |dashes| dashes + 1);
    match &words[..] {
        [first, ..] if first == "nsenter" => words[start..].join(" "),
        _ => words.join(" "),
    }
}
