//! The files that are named, and those in folders.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use anyhow::Context;
use ferrolb_core::config::text_of;

/// What is read of a folder.
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

/// A file, and what it holds.
pub(super) struct Read {
    pub(super) name: String,
    pub(super) text: String,
}

/// What an argument stands for.
pub(super) struct Found {
    pub(super) files: Vec<Read>,
    pub(super) is_folder: bool,
}

/// Reads the file, or all YAML files in the folder and those below it.
pub(super) fn read(path: &Path) -> anyhow::Result<Found> {
    let is_folder = path.is_dir();
    let mut paths = Vec::new();
    if is_folder {
        collect(path, &mut paths).with_context(|| format!("cannot read {}", path.display()))?;
    } else {
        paths.push(path.to_owned());
    }
    let files = paths.iter().map(|path| {
        let name = name(path);
        let bytes = bytes(path).with_context(|| format!("cannot read {name}"))?;
        let text = text_of(bytes).with_context(|| format!("cannot read {name}"))?;
        Ok(Read { name, text })
    });
    let files = files.collect::<anyhow::Result<_>>()?;
    Ok(Found { files, is_folder })
}

/// In the order of their names. Folders behind a link are left out, since they may lead back, and so are hidden
/// ones, such as `.git`.
fn collect(folder: &Path, paths: &mut Vec<PathBuf>) -> io::Result<()> {
    let entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    let mut entries: Vec<_> = entries.iter().collect();
    entries.sort_by_key(|entry| entry.file_name());
    for entry in entries {
        let path = entry.path();
        let is_hidden = entry.file_name().to_string_lossy().starts_with('.');
        if entry.file_type()?.is_dir() {
            if !is_hidden {
                collect(&path, paths)?;
            }
            continue;
        }
        let extension = path.extension().and_then(|one| one.to_str());
        if extension.is_some_and(|one| EXTENSIONS.contains(&one)) && path.is_file() {
            paths.push(path);
        }
    }
    Ok(())
}

fn name(file: &Path) -> String {
    if is_standard_input(file) {
        "standard input".to_owned()
    } else {
        file.display().to_string()
    }
}

fn bytes(file: &Path) -> io::Result<Vec<u8>> {
    if is_standard_input(file) {
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes)?;
        Ok(bytes)
    } else {
        fs::read(file)
    }
}

fn is_standard_input(file: &Path) -> bool {
    file.as_os_str() == "-"
}

impl Read {
    /// Whether the text has nothing that a configuration begins with: other programs' files, and templates that are
    /// no YAML yet.
    pub(super) fn is_something_else(&self) -> bool {
        const OURS: [&str; 3] = ["address-pools", "configInline", "apiVersion: metallb.io/"];
        let begins = |line: &str| {
            let line = line.trim_start_matches(['\u{feff}', '{', '"', '\'', ' ']);
            OURS.iter().any(|key| line.starts_with(key))
        };
        !self.text.lines().any(begins)
    }
}
