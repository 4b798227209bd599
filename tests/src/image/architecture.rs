//! The kinds of machines that images are for.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use crate::workspace;

/// What a node's processor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// x86-64
    Amd64,
    /// `AArch64`
    Arm64,
}

impl Architecture {
    /// All that we publish images for.
    pub const ALL: [Self; 2] = [Self::Amd64, Self::Arm64];

    /// This machine's.
    pub const HERE: Self = if cfg!(target_arch = "aarch64") {
        Self::Arm64
    } else {
        Self::Amd64
    };

    /// In the words of the OCI image specification (those of Go).
    pub const fn oci(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// The target of the static programs.
    pub const fn target(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-unknown-linux-musl",
            Self::Arm64 => "aarch64-unknown-linux-musl",
        }
    }

    /// Where the Makefile builds the programs.
    pub fn programs(self) -> PathBuf {
        workspace().join(format!("target/{}/release", self.target()))
    }

    /// A program that must have been built.
    pub fn program(self, name: &str) -> Result<PathBuf> {
        existing(&self.programs(), name)
    }
}

/// The program of this name in a folder.
pub(crate) fn existing(folder: &Path, name: &str) -> Result<PathBuf> {
    let path = folder.join(name);
    ensure!(
        path.is_file(),
        "no {}: `make build` and `make build-arm64` make them; or set FERROLB_BIN_DIR",
        path.display()
    );
    Ok(path)
}
