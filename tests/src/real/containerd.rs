//! containerd of a node, and the images in it.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::cni;
use super::machine::Machine;
use crate::command::stdout_of;
use crate::debian;
use crate::image::PAUSE;
use crate::wait::wait_until;

/// Its socket, inside the node.
pub(super) const SOCKET: &str = "/run/containerd/containerd.sock";

/// It listens after 0.2 s.
const LISTENS_WITHIN: Duration = Duration::from_secs(60);

/// Where the kubelet's images are.
const NAMESPACE: &str = "k8s.io";

/// Starts containerd and waits until it listens.
pub(super) fn start(machine: &Machine<'_>) -> Result<()> {
    let config = machine.config.join("containerd.toml");
    fs::write(
        &config,
        configuration(
            &cni::plugin_dir()?,
            &cni::write_config(machine)?,
            &registries(machine),
        ),
    )
    .context("cannot write the configuration of containerd")?;
    let name = format!("containerd-{}", machine.host.name);
    let spec = machine
        .host
        .process(&name, debian::program("containerd"))
        .args(["--config", &config.to_string_lossy()])
        // It finds its shim there, and the shim finds runc.
        .env("PATH", debian::path());
    machine.lab.spawn(machine.inside(spec)?)?;
    let socket = socket(machine);
    wait_until(
        LISTENS_WITHIN,
        || Ok(UnixStream::connect(&socket).is_ok()),
        || machine.lab.check_alive(&name),
    )
    .with_context(|| format!("{name} does not listen"))
}

/// Imports a packed image.
pub(super) fn import(machine: &Machine<'_>, image: &Path) -> Result<()> {
    stdout_of(
        Command::new(debian::program("ctr"))
            .arg("--address")
            .arg(socket(machine))
            .args(["--namespace", NAMESPACE, "images", "import"])
            .arg(image),
        "",
    )?;
    Ok(())
}

/// Its socket, on the machine around.
fn socket(machine: &Machine<'_>) -> PathBuf {
    machine.data.join(SOCKET.trim_start_matches('/'))
}

/// Where containerd looks, at each pull, how to speak with a registry.
fn registries(machine: &Machine<'_>) -> PathBuf {
    machine.config.join("registries")
}

/// Makes a node pull from this registry, `host:port`, without TLS.
pub(super) fn pull_without_tls_from(machine: &Machine<'_>, registry: &str) -> Result<()> {
    let folder = registries(machine).join(registry);
    let hosts = format!(
        "server = \"http://{registry}\"\n[host.\"http://{registry}\"]\n  capabilities = [\"pull\", \"resolve\"]\n"
    );
    fs::create_dir_all(&folder)
        .and_then(|()| fs::write(folder.join("hosts.toml"), hosts))
        .with_context(|| format!("cannot write {}/hosts.toml", folder.display()))
}

fn configuration(plugins: &Path, networks: &str, registries: &Path) -> String {
    // Everything else is as containerd has it: root and state are in directories that are the
    // node's own.
    format!(
        r#"version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  # Containers may lack the capability to lower their score (CAP_SYS_RESOURCE).
  restrict_oom_score_adj = true
  # The machine's profiles need not be there.
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{}"
    conf_dir = "{networks}"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{}"
"#,
        plugins.display(),
        registries.display()
    )
}
