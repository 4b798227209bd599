//! The images of the lab, under the names that manifests and charts use, so that those are the
//! same on a cluster that pulls.

use std::path::Path;

use anyhow::Result;

use super::Image;
use crate::debian;

/// What an image says that names nobody.
const ROOT: &str = "";
/// As the chart runs what needs no privilege.
const NOBODY: &str = "65534:65534";

/// Holds a pod's namespaces.
pub const PAUSE: &str = "localhost/pause:1";
/// Debian's redis under the name of the public image.
pub const REDIS: &str = "docker.io/library/redis:7";
/// The cluster's DNS server.
pub const COREDNS: &str = "registry.k8s.io/coredns/coredns:v1.15.0";

/// Waits, and reaps what it inherits. Debian's `catatonit` is a static program.
pub fn pause() -> Image {
    Image::new(PAUSE)
        .file(&debian::file("/usr/bin/catatonit"), "/catatonit")
        .entrypoint(&["/catatonit", "-P"])
        .user(NOBODY)
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

/// A daemon of MetalLB, which `tools` built, under the name that its own manifests use.
pub fn metallb(component: &str, version: &str, binary: &Path) -> Image {
    let path = format!("/{component}");
    Image::new(&format!("quay.io/metallb/{component}:{version}"))
        .file(binary, &path)
        .entrypoint(&[&path])
}

/// The page of the reference walk.
pub fn walk_app(binary: &Path) -> Image {
    ours("walk-app", binary, ROOT)
}

/// The controller of this version.
pub fn controller(binary: &Path) -> Image {
    ours("controller", binary, NOBODY).ports(&["7472/tcp"])
}

/// The speaker of this version. It opens raw sockets: only uid 0 gets the capability.
pub fn speaker(binary: &Path) -> Image {
    ours("speaker", binary, ROOT).ports(&["7472/tcp", "7946/udp"])
}

/// The keeper of this version. It changes what the kernel does with packets: only uid 0 gets the capability.
pub fn keeper(binary: &Path) -> Image {
    ours("keeper", binary, ROOT)
}

/// An image that this project publishes, as its Containerfile says: one static program.
fn ours(name: &str, binary: &Path, user: &'static str) -> Image {
    let path = format!("/{name}");
    let version = env!("CARGO_PKG_VERSION");
    let repository = env!("CARGO_PKG_REPOSITORY");
    Image::new(&format!("ghcr.io/ferrolb/{name}:{version}"))
        .label("org.opencontainers.image.title", &format!("FerroLB {name}"))
        .label("org.opencontainers.image.version", version)
        .label("org.opencontainers.image.licenses", "Apache-2.0")
        .label("org.opencontainers.image.source", repository)
        .label("org.opencontainers.image.url", repository)
        .file(binary, &path)
        .entrypoint(&[&path])
        .user(user)
}
