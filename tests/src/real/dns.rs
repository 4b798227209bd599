//! The cluster's DNS: CoreDNS behind the Service that every kubelet tells its pods.

use anyhow::{Context, Result};

use crate::lab::Lab;

const MANIFEST: &str = include_str!("../../manifests/coredns.yaml");

/// Starts DNS and waits until it answers.
pub(super) fn start(lab: &Lab) -> Result<()> {
    lab.apply(MANIFEST)
        .context("cannot create the cluster's DNS")?;
    lab.kubectl(&[
        "--namespace=kube-system",
        "rollout",
        "status",
        "deployment/coredns",
        "--timeout=120s",
    ])
    .context("the cluster's DNS is not ready")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::MANIFEST;
    use crate::control_plane::DNS_SERVICE_IP;
    use crate::image::COREDNS;

    #[test]
    fn the_manifest_names_the_image_and_the_address_that_the_lab_uses() {
        assert!(MANIFEST.contains(&format!("image: {COREDNS}\n")));
        assert!(MANIFEST.contains(&format!("clusterIP: {DNS_SERVICE_IP}\n")));
    }

    #[test]
    fn the_image_has_the_version_that_is_built() {
        let (_, version) = COREDNS.rsplit_once(':').unwrap();
        let go_mod = include_str!("../../tools/coredns/go.mod");
        assert!(go_mod.contains(&format!("github.com/coredns/coredns {version}\n")));
    }
}
