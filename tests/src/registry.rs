//! A registry for tests: Debian's `docker-registry`, which nothing starts but a test.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::debian;

/// The program.
pub fn program() -> PathBuf {
    debian::program("docker-registry")
}

/// What to start it with (`docker-registry serve FILE`), so that it listens there without TLS, asks nobody who
/// they are, and keeps everything in `folder`.
pub fn write_config(folder: &Path, listen: &str) -> Result<PathBuf> {
    let path = folder.join("registry.yml");
    let text = format!(
        "version: 0.1\nlog: {{level: warn}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '{listen}'}}\n",
        folder.join("storage").display()
    );
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}
