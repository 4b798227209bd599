//! A registry for tests: Debian's `docker-registry`, which `make setup` unpacks into the cache. It is
//! installed nowhere, and nothing starts it but a test.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::tools::cache_dir;

/// The program.
pub fn program() -> Result<PathBuf> {
    let path = cache_dir()?.join("debian/docker-registry");
    ensure!(
        path.is_file(),
        "no {}: `make setup` brings it",
        path.display()
    );
    Ok(path)
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
