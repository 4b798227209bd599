//! Takes each rule of the ownership protocol out, one at a time, and shows which test notices.
//!
//! ```text
//! cargo run -p ferrolb-core --example without_rule           all rules
//! cargo run -p ferrolb-core --example without_rule L9 C3     those whose name contains a word
//! ```
//!
//! `tests/ownership/rules.txt` has a block for each: its name, the file under `src/ownership`, the
//! test that must fail, the lines to take out (`-`, must occur exactly once, indentation aside) and
//! those to put in their place (`+`). So the rules need no switches in the code that ships. The work
//! is done on a copy under `target/without-rule`.
#![expect(clippy::print_stdout, reason = "a report for people to read")]
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a tool beside the crate, not a part of it"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

#[path = "../tests/ownership/rules/mutation.rs"]
mod mutation;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether every rule was missed by its test.
fn run() -> Result<bool> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let core = Path::new(env!("CARGO_MANIFEST_DIR"));
    let copy = copy_workspace(core)?;
    let mut missed = 0;
    for mutation in mutation::read(&fs::read_to_string(core.join("tests/ownership/rules.txt"))?) {
        if !words.is_empty() && !words.iter().any(|word| mutation.rule.contains(word)) {
            continue;
        }
        let file = copy.join("core/src/ownership").join(&mutation.file);
        let original = fs::read_to_string(&file)?;
        let verdict = match mutation.apply(&original) {
            Ok(without) => {
                fs::write(&file, without)?;
                judge(&copy, &mutation.test)?
            }
            Err(error) => error,
        };
        fs::write(&file, original)?;
        println!("| {} | {verdict} |", mutation.rule);
        missed += usize::from(!verdict.starts_with('`'));
    }
    println!("{missed} rules were taken out and not missed");
    Ok(missed == 0)
}

/// A workspace of `core` alone.
fn copy_workspace(core: &Path) -> Result<PathBuf> {
    let root = core.parent().ok_or("core lies in a workspace")?;
    let copy = root.join("target/without-rule");
    let _absent = fs::remove_dir_all(copy.join("core"));
    fs::create_dir_all(&copy)?;
    let manifest = fs::read_to_string(root.join("Cargo.toml"))?;
    let members: Vec<&str> = manifest
        .lines()
        .filter(|line| line.starts_with("members"))
        .collect();
    let [members] = members[..] else {
        return Err("one line lists the workspace's members".into());
    };
    fs::write(
        copy.join("Cargo.toml"),
        manifest.replace(members, r#"members = ["core"]"#),
    )?;
    fs::copy(root.join("Cargo.lock"), copy.join("Cargo.lock"))?;
    copy_folder(core, &copy.join("core"))?;
    Ok(copy)
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// The tests that failed, each in backquotes, or what went wrong instead.
fn judge(copy: &Path, test: &str) -> Result<String> {
    // These lie in the crate, beside what they test; all others are the simulation's.
    let in_crate = ["members::", "gate::", "key_ring::", "order::"];
    let target: &[&str] = if in_crate.iter().any(|module| test.starts_with(module)) {
        &["--lib"]
    } else {
        &["--test", "ownership"]
    };
    let output = Command::new(env!("CARGO"))
        // Compiled for each rule, and run once.
        .args(["--config", "profile.dev.package.ferrolb-core.opt-level=0"])
        .args(["test", "--offline", "--quiet", "-p", "ferrolb-core"])
        .args(target)
        .args(["--", test])
        // Most of the time would go into what nobody looks at.
        .env("CARGO_PROFILE_DEV_DEBUG", "false")
        .env("CARGO_TARGET_DIR", copy.join("target"))
        .env("RUSTFLAGS", "--cap-lints allow")
        .env("RUST_BACKTRACE", "0")
        .current_dir(copy)
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut failed: Vec<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("    "))
        .filter(|name| name.contains("::") && !name.contains(' '))
        .map(|name| format!("`{name}`"))
        .collect();
    failed.dedup();
    if !failed.is_empty() {
        return Ok(failed.join(", "));
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    Ok(
        match errors.lines().find(|line| line.starts_with("error")) {
            Some(error) if text.trim().is_empty() => format!("does not compile: {error}"),
            _ if text.contains("running 1 test") || text.contains(" passed") => "NOT MISSED".into(),
            _ => "no such test".into(),
        },
    )
}
