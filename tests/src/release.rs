//! A release as a folder of files: all that a tag publishes, but for what needs the internet.
//!
//! ```text
//! ferrolb-VERSION.tgz            the chart; index.yaml is for `helm repo add`
//! ferrolb.yaml                   the chart as one manifest, images by digest
//! crds.yaml                      the kinds of MetalLB's objects
//! values-digests.yaml            values of the chart that do the same
//! image-NAME.oci.tar             an image for every kind of machine
//! kubectl-ferrolb-OS-ARCH.*      the plugin; krew.yaml installs it
//! sbom-NAME-ARCH.cdx.json        what a program is made of
//! RELEASE_NOTES.md, SHA256SUMS
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::command::stdout_of;
use crate::image::{Architecture, digest_of, hex, sbom, write_index};
use crate::tools::{Module, Tools};
use crate::{manifests, walk, workspace};

mod notes;
mod push;
#[cfg(test)]
mod tests;

pub use push::{CHARTS, Registry};

/// Images, chart and plugin share it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

const SUMS: &str = "SHA256SUMS";

/// Where `make plugin` leaves its archives.
const PLUGIN: &str = "target/plugin";

/// The plugin's manifest there and here; here it must not look like that of the daemons.
const KREW: [&str; 2] = ["ferrolb.yaml", "krew.yaml"];

/// The folder of this version's release, in the source tree.
pub fn folder() -> PathBuf {
    workspace().join(format!("target/release-{VERSION}"))
}

/// Makes a release in `folder`, which is emptied before. `tag`: the tag that it is made for; without one,
/// what is not released yet may be in it. Returns what it made, and what it left out, as a text.
pub fn make(folder: &Path, tag: Option<&str>) -> Result<String> {
    if let Some(tag) = tag {
        ensure!(
            tag == format!("v{VERSION}"),
            "tag {tag} is not v{VERSION}, the version in Cargo.toml"
        );
    }
    let changelog = read(&workspace().join("CHANGELOG.md"))?;
    let changes = notes::of(&changelog, VERSION, tag.is_none())?;
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot empty {}", folder.display()));
        }
        _ => {}
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let digests = images(folder)?;
    let values = values(&digests);
    write(folder, manifests::MANIFEST, &manifests::manifest(&values)?)?;
    write(folder, manifests::CRDS, &manifests::definitions()?)?;
    write(folder, "values-digests.yaml", &values)?;
    chart(folder)?;
    bills(folder)?;
    let left_out = plugin(folder)?;
    write(
        folder,
        "RELEASE_NOTES.md",
        &notes::page(&changes, VERSION, &digests),
    )?;
    let listing = sums(folder)?;
    let mut text = format!("{listing}\nimages, by the digests of their indexes:\n");
    for (name, digest) in &digests {
        text.push_str(&format!("  {}/{name}@{digest}\n", notes::REGISTRY));
    }
    if !left_out.is_empty() {
        text.push_str(&format!(
            "\nleft out, because `make plugin` has not built it: {}\n",
            left_out.join(", ")
        ));
    }
    text.push_str(
        "\nSignatures and attestations of provenance need the internet: \
         .github/workflows/release.yml makes them.\n",
    );
    Ok(text)
}

/// The images for all machines; the digest of each.
fn images(folder: &Path) -> Result<BTreeMap<&'static str, String>> {
    let mut packed: BTreeMap<_, (String, Vec<_>)> = BTreeMap::new();
    for architecture in Architecture::ALL {
        for (name, image) in walk::published(architecture)? {
            let reference = image.reference().to_owned();
            let (_, all) = packed.entry(name).or_insert((reference, Vec::new()));
            all.push((architecture, image.pack()?));
        }
    }
    packed
        .into_iter()
        .map(|(name, (reference, images))| {
            let to = folder.join(format!("image-{name}.oci.tar"));
            Ok((name, write_index(&reference, &images, &to)?))
        })
        .collect()
}

/// Values of the chart by which nodes pull just these images.
fn values(digests: &BTreeMap<&str, String>) -> String {
    let mut text =
        "# The images of this release by digest: helm install --values values-digests.yaml\n"
            .to_owned();
    for name in ["controller", "speaker"] {
        if let Some(digest) = digests.get(name) {
            text.push_str(&format!("{name}:\n  image:\n    tag: {VERSION}@{digest}\n"));
        }
    }
    // After the speaker's: it is a part of those values.
    if let Some(digest) = digests.get("keeper") {
        text.push_str(&format!(
            "  keepConnections:\n    image:\n      tag: {VERSION}@{digest}\n"
        ));
    }
    text
}

fn chart(folder: &Path) -> Result<()> {
    let helm = Tools::ensure(&[Module::Kubernetes])?.binary("helm")?;
    let mut package = Command::new(&helm);
    package
        .current_dir(workspace())
        .args(["package", "charts/ferrolb", "--destination"])
        .arg(folder);
    stdout_of(&mut package, "")?;
    let packed = folder.join(chart_name());
    ensure!(
        packed.is_file(),
        "charts/ferrolb/Chart.yaml has another version than Cargo.toml, which has {VERSION}"
    );
    // For `helm repo add` of the page with these files.
    let page = format!(
        "{}/releases/download/v{VERSION}",
        env!("CARGO_PKG_REPOSITORY")
    );
    let mut index = Command::new(helm);
    index.args(["repo", "index", "--url", &page]).arg(folder);
    stdout_of(&mut index, "").map(drop)
}

fn chart_name() -> String {
    format!("ferrolb-{VERSION}.tgz")
}

/// What each program that is published for Linux is made of.
fn bills(folder: &Path) -> Result<()> {
    for architecture in Architecture::ALL {
        for (name, package) in [
            ("controller", "ferrolb-controller"),
            ("speaker", "ferrolb-speaker"),
            ("keeper", "ferrolb-keeper"),
            ("walk-app", "walk-app"),
            ("kubectl-ferrolb", "kubectl-ferrolb"),
        ] {
            let bill = serde_json::to_string_pretty(&sbom(package, architecture)?)? + "\n";
            let name = format!("sbom-{name}-{}.cdx.json", architecture.oci());
            write(folder, &name, &bill)?;
        }
    }
    Ok(())
}

/// Copies the archives of the plugin with krew's manifest; what that names and nobody has built.
fn plugin(folder: &Path) -> Result<Vec<String>> {
    let built = workspace().join(PLUGIN);
    let template = read(&workspace().join("cli/krew.yaml"))?;
    let mut left_out = Vec::new();
    for archive in archives_in(&template) {
        if built.join(&archive).is_file() {
            copy(&built.join(&archive), &folder.join(&archive))?;
        } else {
            left_out.push(archive);
        }
    }
    let [theirs, ours] = KREW.map(Path::new);
    if built.join(theirs).is_file() {
        copy(&built.join(theirs), &folder.join(ours))?;
    } else {
        left_out.push(ours.display().to_string());
    }
    Ok(left_out)
}

/// The names of the plugin's archives in a manifest of krew.
fn archives_in(krew: &str) -> Vec<String> {
    let words = krew.split(|c: char| c == '/' || c == '"' || c.is_whitespace());
    words
        .filter(|word| word.starts_with("kubectl-ferrolb-") && word.contains('.'))
        .map(str::to_owned)
        .collect()
}

/// Writes the digests of all files as `sha256sum --check` reads them; a table of the same with sizes.
fn sums(folder: &Path) -> Result<String> {
    let (mut sums, mut table) = (
        String::new(),
        format!("{:<38}{:>9}  SHA-256\n", "FILE", "BYTES"),
    );
    for name in names(folder)? {
        let path = folder.join(&name);
        let digest = hex(digest_of(&path)?.as_ref());
        sums.push_str(&format!("{digest}  {name}\n"));
        table.push_str(&format!(
            "{name:<38}{:>9}  {digest}\n",
            fs::metadata(&path)?.len()
        ));
    }
    write(folder, SUMS, &sums)?;
    Ok(table)
}

fn names(folder: &Path) -> Result<Vec<String>> {
    let read = || {
        let mut names = Vec::new();
        for entry in fs::read_dir(folder)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        anyhow::Ok(names)
    };
    read().with_context(|| format!("cannot read {}", folder.display()))
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn write(folder: &Path, name: &str, text: &str) -> Result<()> {
    let path = folder.join(name);
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    match fs::copy(from, to) {
        Ok(_) => Ok(()),
        Err(error) => bail!(
            "cannot copy {} to {}: {error}",
            from.display(),
            to.display()
        ),
    }
}
