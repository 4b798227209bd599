//! An image for several kinds of machines as one OCI archive: the index, and of each machine the manifest,
//! the configuration and the compressed layer. Registries, containerd, podman and docker 25 take it.
//!
//! The same content gives the same bytes, so that the digest of the index is known before it is published.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use flate2::{Compression, GzBuilder};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::{Archive, Builder, EntryType};

use super::archive::{LAYER, MANIFEST, header};
use super::{Architecture, hex};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const ONE_IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const COMPRESSED_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// Writes an archive that has these packed images, all of one reference, as `to`. Returns the digest of the
/// index, `sha256:…`, by which a cluster pulls it.
pub fn write_index(
    reference: &str,
    images: &[(Architecture, impl AsRef<Path>)],
    to: &Path,
) -> Result<String> {
    let write = || {
        let (_, tag) = reference.rsplit_once(':').context("it has no tag")?;
        let mut blobs = Blobs::new(to)?;
        let manifests = images
            .iter()
            .map(|(architecture, packed)| {
                let mut of = blobs
                    .image(packed.as_ref())
                    .with_context(|| format!("cannot read {}", packed.as_ref().display()))?;
                of["platform"] = json!({ "architecture": architecture.oci(), "os": "linux" });
                Ok(of)
            })
            .collect::<Result<Vec<Value>>>()?;
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
        let mut root = blobs.add(INDEX, index.to_string().as_bytes())?;
        let digest = root["digest"].as_str().unwrap_or_default().to_owned();
        // By the first, tools for archives find it; by the second, containerd knows its whole name.
        root["annotations"] = json!({
            "org.opencontainers.image.ref.name": tag,
            "io.containerd.image.name": reference,
        });
        blobs.finish(&json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [root] }))?;
        anyhow::Ok(digest)
    };
    write().with_context(|| format!("cannot write {reference} as {}", to.display()))
}

/// An archive that grows.
struct Blobs {
    archive: Builder<BufWriter<File>>,
}

impl Blobs {
    fn new(to: &Path) -> Result<Self> {
        let mut archive = Builder::new(BufWriter::new(File::create(to)?));
        for folder in ["blobs", "blobs/sha256"] {
            let mut header = header(EntryType::Directory, 0o755, 0);
            archive.append_data(&mut header, folder, io::empty())?;
        }
        Ok(Self { archive })
    }

    /// Adds content under its digest; its descriptor.
    fn add(&mut self, media_type: &str, content: &[u8]) -> Result<Value> {
        let digest = hex(&Sha256::digest(content));
        self.file(&format!("blobs/sha256/{digest}"), content)?;
        Ok(json!({
            "mediaType": media_type,
            "digest": format!("sha256:{digest}"),
            "size": content.len(),
        }))
    }

    /// Adds what is in an archive of one image; the descriptor of its manifest.
    fn image(&mut self, packed: &Path) -> Result<Value> {
        let (layer, config) = read(packed)?;
        let config = self.add(CONFIG, &config)?;
        // No name and no time: the same layer gives the same bytes.
        let mut compressed = GzBuilder::new().write(Vec::new(), Compression::best());
        compressed.write_all(&layer)?;
        let layer = self.add(COMPRESSED_LAYER, &compressed.finish()?)?;
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": ONE_IMAGE,
            "config": config,
            "layers": [layer],
        });
        self.add(ONE_IMAGE, manifest.to_string().as_bytes())
    }

    fn finish(mut self, index: &Value) -> Result<()> {
        let version = json!({ "imageLayoutVersion": "1.0.0" });
        self.file("oci-layout", version.to_string().as_bytes())?;
        self.file("index.json", index.to_string().as_bytes())?;
        self.archive.into_inner()?.flush()?;
        Ok(())
    }

    fn file(&mut self, name: &str, content: &[u8]) -> Result<()> {
        let mut header = header(EntryType::Regular, 0o644, content.len() as u64);
        self.archive.append_data(&mut header, name, content)?;
        Ok(())
    }
}

/// The layer and the configuration in an archive of one image.
fn read(packed: &Path) -> Result<(Vec<u8>, Vec<u8>)> {
    let (mut layer, mut config) = (None, None);
    for entry in Archive::new(File::open(packed)?).entries()? {
        let mut entry = entry?;
        let name = entry.path()?.to_string_lossy().into_owned();
        let kept = match name.as_str() {
            LAYER => &mut layer,
            MANIFEST => continue,
            _ => &mut config,
        };
        let mut content = Vec::new();
        entry.read_to_end(&mut content)?;
        *kept = Some(content);
    }
    match (layer, config) {
        (Some(layer), Some(config)) => Ok((layer, config)),
        _ => bail!("it is no image"),
    }
}
