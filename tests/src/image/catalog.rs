//! The images of the lab, under the names that manifests and charts use, so that those are the
//! same on a cluster that pulls.

use std::path::Path;

use anyhow::Result;

use super::Image;

/// Holds a pod's namespaces.
pub const PAUSE: &str = "localhost/pause:1";
/// Debian's redis under the name of the public image.
pub const REDIS: &str = "docker.io/library/redis:7";
/// The cluster's DNS server.
pub const COREDNS: &str = "registry.k8s.io/coredns/coredns:v1.15.0";

/// Waits, and reaps what it inherits. Debian's `catatonit` is a static program.
pub fn pause() -> Image {
    Image::new(PAUSE)
        .file(Path::new("/usr/bin/catatonit"), "/catatonit")
        .entrypoint(&["/catatonit", "-P"])
        .user("65535:65535")
}

/// As the public image: no password, and open to the pod network.
pub fn redis() -> Result<Image> {
    Ok(Image::new(REDIS)
        .program("/usr/bin/redis-server")?
        .program("/usr/bin/redis-cli")?
        .entrypoint(&["/usr/bin/redis-server", "--protected-mode", "no"])
        .working_dir("/data"))
}

/// The DNS server that `tools` built.
pub fn coredns(binary: &Path) -> Image {
    Image::new(COREDNS)
        .file(binary, "/coredns")
        .entrypoint(&["/coredns"])
}

/// The page of the reference walk.
pub fn walk_app(binary: &Path) -> Image {
    Image::new("ghcr.io/ferrolb/walk-app:0.1.0")
        .file(binary, "/walk-app")
        .entrypoint(&["/walk-app"])
        .user("65532:65532")
}

/// The controller of this version.
pub fn controller(binary: &Path) -> Image {
    Image::new(concat!(
        "ghcr.io/ferrolb/controller:",
        env!("CARGO_PKG_VERSION")
    ))
    .file(binary, "/controller")
    .entrypoint(&["/controller"])
    .user("65532:65532")
}

/// The speaker of this version. It opens raw sockets: only uid 0 gets the capability.
pub fn speaker(binary: &Path) -> Image {
    Image::new(concat!(
        "ghcr.io/ferrolb/speaker:",
        env!("CARGO_PKG_VERSION")
    ))
    .file(binary, "/speaker")
    .entrypoint(&["/speaker"])
}
