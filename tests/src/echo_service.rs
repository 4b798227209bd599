//! An echo of datagrams and connections behind an address of its own: for what is counted while something is
//! done to an installation.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;

use crate::image::Image;
use crate::lab::Lab;
use crate::net::Host;
use crate::wait::wait_until;
use crate::walk::PATIENCE;

/// To be applied in the root of the source tree.
pub const MANIFEST: &str = "tests/manifests/echo.yaml";
/// The Service's, for both protocols.
pub const PORT: u16 = 9000;
const IMAGE: &str = "localhost/echo:1";

/// The echo runs on another node than the one that announces its address: it is the address alone whose
/// move is measured.
pub fn move_from(lab: &Lab, owner: &Host) -> Result<()> {
    let mut nodes = lab.nodes().into_iter();
    let other = nodes.find(|node| node.name != owner.name);
    let other = &other.context("there is but one node")?.name;
    let patch = json!({ "spec": { "template": { "spec":
            { "nodeSelector": { "kubernetes.io/hostname": other } } } } });
    lab.kubectl(&["patch", "deployment/echo", "-p", &patch.to_string()])?;
    lab.kubectl(&["rollout", "status", "deployment/echo", "--timeout=120s"])?;
    // Nothing is begun with the one that ends.
    let nodes = "jsonpath={.items[*].spec.nodeName}";
    let nodes = || lab.kubectl(&["get", "pods", "--selector=app=echo", "-o", nodes]);
    wait_until(PATIENCE, || Ok(nodes()? == *other), || Ok(()))
}

/// The image of [`MANIFEST`]: the lab's own server.
pub fn image(program: &Path) -> Result<Image> {
    let program = program.to_str().context("no path in UTF-8")?;
    let serve = [
        program,
        "serve-echo",
        "--pod=echo",
        "--port=3000",
        "0.0.0.0",
    ];
    Ok(Image::new(IMAGE).program(program)?.entrypoint(&serve))
}
