//! Container images, written without a container engine: one layer of files, packed as the archive
//! that `docker save` writes, which containerd, docker and podman all read.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

mod architecture;
mod archive;
mod catalog;
mod layout;
mod libraries;
mod sbom;
#[cfg(test)]
mod tests;

pub use architecture::Architecture;
pub(crate) use architecture::existing;
pub use archive::id_of;
pub use layout::write_index;
pub use sbom::sbom;

pub use catalog::{
    COREDNS, PAUSE, REDIS, controller, coredns, keeper, metallb, pause, redis, speaker, walk_app,
};

use crate::debian;
use crate::tools::cache_dir;

/// Each build of the daemons makes another archive of each image. Whoever packs one removes those of the same
/// image that nobody has asked for this long.
const UNUSED: Duration = Duration::from_secs(3_600);

/// An image yet to be packed.
#[derive(Clone, Debug)]
pub struct Image {
    reference: String,
    architecture: Architecture,
    entrypoint: Vec<String>,
    user: &'static str,
    working_dir: &'static str,
    labels: BTreeMap<&'static str, String>,
    ports: &'static [&'static str],
    files: Vec<ImageFile>,
}

/// A file of an image: all are programs or their libraries, so all are 0755.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct ImageFile {
    /// Absolute, in the image.
    target: PathBuf,
    source: PathBuf,
}

impl Image {
    /// An image `FROM scratch` known by this reference, which starts its programs as root.
    pub fn new(reference: &str) -> Self {
        Self {
            reference: reference.to_owned(),
            architecture: Architecture::HERE,
            entrypoint: Vec::new(),
            user: "",
            working_dir: "/",
            labels: BTreeMap::new(),
            ports: &[],
            files: Vec::new(),
        }
    }

    /// Adds a file that needs no other: a static program.
    #[must_use]
    pub fn file(mut self, source: &Path, target: &str) -> Self {
        self.files.push(ImageFile {
            target: target.into(),
            source: source.to_owned(),
        });
        self
    }

    /// Adds a program of a Debian package where the package has it, with the shared libraries that it loads.
    pub fn program(mut self, path: &str) -> Result<Self> {
        let program = debian::file(path);
        let libraries = libraries::of(&program)?;
        self.files.extend(
            libraries
                .into_iter()
                .chain([program])
                .map(|file| ImageFile {
                    target: debian::path_in_package(&file),
                    source: file,
                }),
        );
        Ok(self)
    }

    /// For machines that this one is not of.
    #[must_use]
    pub fn architecture(self, architecture: Architecture) -> Self {
        Self {
            architecture,
            ..self
        }
    }

    /// What a container runs; its `args` come behind.
    #[must_use]
    pub fn entrypoint(mut self, words: &[&str]) -> Self {
        self.entrypoint = words.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// Who runs it, as `uid:gid`.
    #[must_use]
    pub fn user(self, user: &'static str) -> Self {
        Self { user, ..self }
    }

    /// Where it runs.
    #[must_use]
    pub fn working_dir(self, working_dir: &'static str) -> Self {
        Self {
            working_dir,
            ..self
        }
    }

    /// Says something about it, under a key of the OCI image specification's annotations.
    #[must_use]
    pub fn label(mut self, key: &'static str, value: &str) -> Self {
        self.labels.insert(key, value.to_owned());
        self
    }

    /// Ports that it listens on, as `7472/tcp`: for people.
    #[must_use]
    pub fn ports(self, ports: &'static [&'static str]) -> Self {
        Self { ports, ..self }
    }

    /// The name that manifests use.
    pub fn reference(&self) -> &str {
        &self.reference
    }

    /// The packed image, from the cache if one with the same content is there.
    pub fn pack(&self) -> Result<PathBuf> {
        let pack = || {
            let cache = cache_dir()?.join("images");
            fs::create_dir_all(&cache)
                .with_context(|| format!("cannot create {}", cache.display()))?;
            self.pack_into(&cache)
        };
        pack().with_context(|| format!("cannot pack image {}", self.reference))
    }

    /// The packed image in this folder, which has room for it.
    pub fn pack_into(&self, cache: &Path) -> Result<PathBuf> {
        let mut files = self.files.clone();
        files.sort();
        // Two programs load the same libc.
        files.dedup_by(|a, b| a.target == b.target);
        let name: String = self
            .reference
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .collect();
        let packed = cache.join(format!("{name}-{}.tar", self.content(&files)?));
        if let Ok(there) = File::open(&packed) {
            there
                .set_modified(SystemTime::now())
                .with_context(|| format!("cannot touch {}", packed.display()))?;
        } else {
            // Written aside and renamed: an interrupted one leaves nothing that looks whole.
            let aside = NamedTempFile::new_in(cache).context("cannot create the archive")?;
            archive::write(self, &files, aside.as_file(), cache)?;
            aside
                .persist(&packed)
                .context("cannot move the archive in place")?;
            remove_unused(cache, &name)?;
        }
        Ok(packed)
    }

    /// A digest of all that makes this image.
    fn content(&self, files: &[ImageFile]) -> Result<String> {
        let mut hasher = Sha256::new();
        hasher.update(self.reference.as_bytes());
        hasher.update(self.config("").to_string());
        for file in files {
            hasher.update(file.target.as_os_str().as_encoded_bytes());
            hasher.update(digest_of(&file.source)?);
        }
        Ok(hex(&hasher.finalize()[..8]))
    }

    /// How a container of it is run, as the OCI image specification says it.
    pub fn run_config(&self) -> Value {
        let ports = self.ports.iter().map(|port| (*port, json!({})));
        let ports: BTreeMap<_, _> = ports.collect();
        let mut config = json!({
            "Entrypoint": self.entrypoint,
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "Labels": self.labels,
            "User": self.user,
            "WorkingDir": self.working_dir,
        });
        // As buildah does it: none has no key.
        if !ports.is_empty() {
            config["ExposedPorts"] = json!(ports);
        }
        config
    }

    /// The image configuration of the OCI image specification.
    fn config(&self, layer_digest: &str) -> Value {
        json!({
            "architecture": self.architecture.oci(),
            "os": "linux",
            "config": self.run_config(),
            "rootfs": { "type": "layers", "diff_ids": [layer_digest] },
        })
    }
}

/// Removes archives of this image, `NAME-DIGEST.tar`, that have not been used for [`UNUSED`].
fn remove_unused(cache: &Path, name: &str) -> Result<()> {
    let is_of_it = |file: &str| {
        let rest = file
            .strip_prefix(name)
            .and_then(|rest| rest.strip_prefix('-'));
        let digest = rest.and_then(|rest| rest.strip_suffix(".tar"));
        digest.is_some_and(|digest| {
            digest.len() == 16 && digest.bytes().all(|byte| byte.is_ascii_hexdigit())
        })
    };
    let entries =
        fs::read_dir(cache).with_context(|| format!("cannot read {}", cache.display()))?;
    for entry in entries.flatten() {
        if !entry.file_name().to_str().is_some_and(is_of_it) {
            continue;
        }
        let used = entry.metadata().and_then(|file| file.modified());
        let is_unused = used.is_ok_and(|used| used.elapsed().is_ok_and(|time| time > UNUSED));
        if is_unused {
            // Another process may have been first.
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(())
}

/// The SHA-256 of a file.
pub fn digest_of(path: &Path) -> Result<impl AsRef<[u8]>> {
    let mut file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        let read = file
            .read(&mut buffer)
            .with_context(|| format!("cannot read {}", path.display()))?;
        if read == 0 {
            return Ok(hasher.finalize());
        }
        hasher.update(&buffer[..read]);
    }
}

/// Bytes as digests are written.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
