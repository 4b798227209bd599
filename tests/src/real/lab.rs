//! What one can do to a lab with real nodes.

use std::path::PathBuf;
use std::thread;

use anyhow::{Context, Result};
use k8s_openapi::jiff::Timestamp;

use super::machine::Machine;
use super::{boot, containerd, wait_ready};
use crate::image::Image;
use crate::lab::Lab;

impl Lab {
    /// Packs images and imports them into every node, under the names that manifests use.
    pub fn load_images(&self, images: &[Image]) -> Result<()> {
        let packed = images
            .iter()
            .map(Image::pack)
            .collect::<Result<Vec<PathBuf>>>()?;
        let machines = self
            .nodes()
            .into_iter()
            .map(|node| Machine::new(self, node))
            .collect::<Result<Vec<_>>>()?;
        thread::scope(|scope| {
            let loads: Vec<_> = machines
                .iter()
                .map(|machine| scope.spawn(|| import(machine, &packed)))
                .collect();
            loads.into_iter().try_for_each(|load| {
                load.join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
        })
    }

    /// Makes every node pull from this registry, `host:port`, without TLS.
    pub fn pull_without_tls_from(&self, registry: &str) -> Result<()> {
        self.nodes().into_iter().try_for_each(|node| {
            containerd::pull_without_tls_from(&Machine::new(self, node)?, registry)
        })
    }

    /// Cuts a node's power: the LAN hears nothing more of it, and all that runs on it is gone.
    pub fn kill_node(&self, name: &str) -> Result<()> {
        self.cut(name, false)?;
        Machine::new(self, self.host(name)?)?.kill()
    }

    /// Starts a node again after [`Lab::kill_node`], and waits until it is Ready.
    pub fn start_node(&self, name: &str) -> Result<()> {
        let node = self.host(name)?;
        let began = Timestamp::now();
        self.heal(name)?;
        boot(self, node).with_context(|| format!("cannot start node {name}"))?;
        wait_ready(self, node, began)
    }
}

fn import(machine: &Machine<'_>, images: &[PathBuf]) -> Result<()> {
    images.iter().try_for_each(|image| {
        containerd::import(machine, image).with_context(|| {
            format!(
                "cannot import {} into {}",
                image.display(),
                machine.host.name
            )
        })
    })
}
