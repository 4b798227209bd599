//! The archive: `layer.tar`, the image configuration, and `manifest.json` that names both.
//! The same content gives the same bytes: no times, no owners.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::{Archive, Builder, EntryType, Header};

use super::{Image, ImageFile, hex};

pub(super) const LAYER: &str = "layer.tar";
pub(super) const MANIFEST: &str = "manifest.json";

/// Writes an image's archive to `to`; `cache` has room for its layer.
pub(super) fn write(image: &Image, files: &[ImageFile], to: &File, cache: &Path) -> Result<()> {
    let mut layer = tempfile::tempfile_in(cache).context("cannot create the layer")?;
    let digest = write_layer(image, files, &layer).context("cannot write the layer")?;
    let config = image.config(&format!("sha256:{digest}")).to_string();
    let config_name = format!("{}.json", hex(&Sha256::digest(&config)));
    let manifest = json!([{
        "Config": config_name,
        "RepoTags": [image.reference],
        "Layers": [LAYER],
    }]);
    let length = layer
        .stream_position()
        .context("cannot tell the layer's length")?;
    layer.rewind().context("cannot read the layer")?;
    let mut archive = Builder::new(BufWriter::new(to));
    let mut add = |name: &str, length: u64, data: &mut dyn io::Read| {
        archive.append_data(&mut header(EntryType::Regular, 0o644, length), name, data)
    };
    add(LAYER, length, &mut layer)?;
    add(&config_name, config.len() as u64, &mut config.as_bytes())?;
    let manifest = manifest.to_string();
    add(MANIFEST, manifest.len() as u64, &mut manifest.as_bytes())?;
    archive.into_inner()?.flush()?;
    Ok(())
}

/// The ID of the image in an archive: the digest of its configuration. Nodes show it (`crictl images`), and
/// it is the same wherever the image comes from, while a registry packs layers in its own way.
pub fn id_of(archive: &Path) -> Result<String> {
    let find = || {
        for entry in Archive::new(File::open(archive)?).entries()? {
            let entry = entry?;
            if entry.path()? == Path::new(MANIFEST) {
                let manifest: Value = serde_json::from_reader(entry)?;
                let config = manifest[0]["Config"].as_str();
                let digest = config.and_then(|name| name.strip_suffix(".json"));
                return Ok(format!("sha256:{}", digest.context("it names no image")?));
            }
        }
        bail!("there is no {MANIFEST}")
    };
    find().with_context(|| format!("cannot read the image in {}", archive.display()))
}

/// Writes the layer; its SHA-256.
fn write_layer(image: &Image, files: &[ImageFile], to: &File) -> Result<String> {
    let mut layer = Builder::new(Hashing {
        inner: BufWriter::new(to),
        hasher: Sha256::new(),
    });
    for (folder, mode) in folders(image, files) {
        let mut header = header(EntryType::Directory, mode, 0);
        layer.append_data(&mut header, relative(&folder), io::empty())?;
    }
    for ImageFile { target, source } in files {
        let opened =
            File::open(source).with_context(|| format!("cannot open {}", source.display()))?;
        let length = opened.metadata()?.len();
        let mut header = header(EntryType::Regular, 0o755, length);
        layer.append_data(&mut header, relative(target), opened)?;
    }
    let mut written = layer.into_inner()?;
    written.flush()?;
    Ok(hex(&written.hasher.finalize()))
}

/// All folders that the image needs, outer ones first, with their modes.
fn folders(image: &Image, files: &[ImageFile]) -> Vec<(PathBuf, u32)> {
    let working_dir = Path::new(image.working_dir);
    let above = files
        .iter()
        .flat_map(|file| file.target.ancestors().skip(1));
    let mut folders: BTreeSet<PathBuf> = above
        .chain(working_dir.ancestors())
        .map(Path::to_owned)
        .collect();
    folders.remove(Path::new("/"));
    let mut all: Vec<_> = folders.into_iter().map(|folder| (folder, 0o755)).collect();
    all.push((PathBuf::from("/tmp"), 0o1777));
    all
}

fn relative(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

pub(super) fn header(kind: EntryType, mode: u32, length: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(length);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

/// Passes on what is written, and takes its digest.
struct Hashing<W> {
    inner: W,
    hasher: Sha256,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
