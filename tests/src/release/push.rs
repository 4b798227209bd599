//! Images and chart of a release, pushed to a registry. No engine is needed: skopeo copies what is in the
//! archives, digest for digest, and helm pushes its chart.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};

use super::{VERSION, chart_name, names};
use crate::command::stdout_of;
use crate::debian;
use crate::image::hex;
use crate::tools::{Module, Tools};

/// The folder of charts in a registry. The name of a chart is its helm's to add.
pub const CHARTS: &str = "charts";

/// A registry of OCI images. Who may write to it is known by `docker login` or `skopeo login`.
pub struct Registry<'a> {
    /// `host:port/path`; images get names below it.
    pub place: &'a str,
    /// It speaks HTTP without TLS.
    pub plain_http: bool,
    /// A program on a machine that reaches it.
    pub command: &'a dyn Fn(&str) -> Command,
}

impl Registry<'_> {
    /// Pushes what is in a release's folder. Returns a line `pushed PLACE@DIGEST` for each, and how to install
    /// from there.
    pub fn push(&self, folder: &Path) -> Result<String> {
        let mut text = String::new();
        let archives = names(folder)
            .context("`make release-dry-run` makes it")?
            .into_iter()
            .filter_map(|file| {
                let name = file.strip_prefix("image-")?.strip_suffix(".oci.tar")?;
                Some((name.to_owned(), file.clone()))
            });
        let mut count = 0;
        for (name, file) in archives {
            let to = format!("{}/{name}", self.place);
            let digest = self
                .push_image(&folder.join(file), &to)
                .with_context(|| format!("cannot push {to}"))?;
            text.push_str(&format!("pushed {to}@{digest}\n"));
            count += 1;
        }
        ensure!(count > 0, "no image in {}", folder.display());
        let charts = format!("{}/{CHARTS}/ferrolb", self.place);
        let digest = self
            .push_chart(&folder.join(chart_name()))
            .with_context(|| format!("cannot push {charts}"))?;
        let plain = if self.plain_http { " --plain-http" } else { "" };
        text.push_str(&format!(
            "pushed {charts}@{digest}\n\ninstall it with images by digest:\n  \
             helm install ferrolb oci://{charts} --version {VERSION}{plain} \\\n    \
             -n metallb-system --create-namespace --values {} \\\n    \
             --set controller.image.repository={place}/controller \\\n    \
             --set speaker.image.repository={place}/speaker \\\n    \
             --set speaker.keepConnections.image.repository={place}/keeper\n",
            folder.join("values-digests.yaml").display(),
            place = self.place,
        ));
        Ok(text)
    }

    fn skopeo(&self) -> Command {
        (self.command)(&debian::program("skopeo").to_string_lossy())
    }

    fn push_image(&self, archive: &Path, to: &str) -> Result<String> {
        let mut skopeo = self.skopeo();
        // The policy is about whose signatures a source must have; ours is a file that we have made.
        skopeo.args(["--insecure-policy", "copy", "--all", "--preserve-digests"]);
        if self.plain_http {
            skopeo.arg("--dest-tls-verify=false");
        }
        skopeo
            .arg(format!("oci-archive:{}:{VERSION}", archive.display()))
            .arg(format!("docker://{to}:{VERSION}"));
        stdout_of(&mut skopeo, "")?;
        self.digest_of(to)
    }

    fn push_chart(&self, chart: &Path) -> Result<String> {
        let helm = Tools::ensure(&[Module::Kubernetes])?.binary("helm")?;
        let mut helm = (self.command)(&helm.to_string_lossy());
        helm.arg("push")
            .arg(chart)
            .arg(format!("oci://{}/{CHARTS}", self.place));
        if self.plain_http {
            helm.arg("--plain-http");
        }
        stdout_of(&mut helm, "")?;
        self.digest_of(&format!("{}/{CHARTS}/ferrolb", self.place))
    }

    /// The digest of what the registry has now under this version.
    fn digest_of(&self, what: &str) -> Result<String> {
        let mut skopeo = self.skopeo();
        skopeo.args(["inspect", "--raw"]);
        if self.plain_http {
            skopeo.arg("--tls-verify=false");
        }
        let manifest = stdout_of(skopeo.arg(format!("docker://{what}:{VERSION}")), "")?;
        Ok(format!("sha256:{}", hex(&Sha256::digest(manifest))))
    }
}
