//! The shared libraries that a program loads, as this machine's loader finds them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::command::stdout_of;
use crate::debian;

/// Paths of the libraries and of the loader itself, as the program asks for them.
pub(super) fn of(program: &Path) -> Result<Vec<PathBuf>> {
    if !program.exists() {
        bail!(
            "{} does not exist: `make setup` brings it",
            program.display()
        );
    }
    let mut ldd = Command::new("ldd");
    ldd.arg(program).env("LD_LIBRARY_PATH", debian::libraries());
    Ok(parse(&stdout_of(&mut ldd, "")?))
}

/// `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)`, and the loader without an arrow. The one
/// line without a path is the kernel's own library.
pub(super) fn parse(ldd: &str) -> Vec<PathBuf> {
    let path = |line: &str| {
        let (rest, _load_address) = line.trim().rsplit_once(" (0x")?;
        let path = rest.rsplit_once("=> ").map_or(rest, |(_, path)| path);
        path.starts_with('/').then(|| PathBuf::from(path))
    };
    ldd.lines().filter_map(path).collect()
}
