//! The machine that a node is: its namespaces and its first process.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::Signal;

use super::cgroup;
use crate::debian;
use crate::lab::Lab;
use crate::net::Host;
use crate::process::{ProcessId, ProcessSpec, end_all};
use crate::state::KILL_WAIT;
use crate::wait::wait_until;

/// Becomes process 1 of the node.
const BOOT: &str = include_str!("boot.sh");

/// Ten mounts take 20 ms.
const BOOT_WITHIN: Duration = Duration::from_secs(30);

/// One node of a lab.
pub(super) struct Machine<'a> {
    pub(super) lab: &'a Lab,
    pub(super) host: &'a Host,
    /// Configuration, at the same path inside.
    pub(super) config: PathBuf,
    /// Its `/run`, `/var/lib` and `/var/log`, as `run`, `lib` and `log`.
    pub(super) data: PathBuf,
}

impl<'a> Machine<'a> {
    pub(super) fn new(lab: &'a Lab, host: &'a Host) -> Result<Self> {
        let config = lab.state().subdir(&format!("nodes/{}", host.name))?;
        let data = lab.state().data_dir()?.join(&host.name);
        Ok(Self {
            lab,
            host,
            config,
            data,
        })
    }

    /// The name of its first process among the lab's.
    pub(super) fn process_name(&self) -> String {
        format!("node-{}", self.host.name)
    }

    /// Starts process 1. What `/run` held before is gone, and so are all cgroups, as after every
    /// start of a machine.
    pub(super) fn boot(&self) -> Result<()> {
        match fs::remove_dir_all(self.data.join("run")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).context("cannot empty the node's /run");
            }
            _ => {}
        }
        for dir in ["run", "lib", "log"] {
            let dir = self.data.join(dir);
            fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        }
        cgroup::create(&cgroup_of(self.host))?;
        self.lab.spawn(
            self.host
                .process(self.process_name(), "unshare")
                .args([
                    "--mount",
                    "--pid",
                    "--uts",
                    "--ipc",
                    "--fork",
                    "--kill-child",
                ])
                .args([
                    "--mount-proc",
                    "--propagation=private",
                    "sh",
                    "-c",
                    BOOT,
                    "boot",
                ])
                .arg(&self.host.name)
                .arg(self.data.to_string_lossy())
                .arg(self.lab.state().dir().to_string_lossy())
                .env("PATH", debian::path()),
        )?;
        let up = self.data.join("run/up");
        wait_until(
            BOOT_WITHIN,
            || Ok(up.exists()),
            || self.lab.check_alive(&self.process_name()),
        )
        .context("the node's namespaces are not ready")
    }

    /// Process 1, as the machine around it knows it.
    pub(super) fn init(&self) -> Result<ProcessId> {
        let name = self.process_name();
        let parent = self
            .lab
            .alive(&name)
            .with_context(|| format!("{name} does not run"))?
            .pid();
        fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"))
            .ok()
            .and_then(|children| ProcessId::of(children.trim().parse().ok()?))
            .with_context(|| format!("{name} has no child"))
    }

    /// The same process, inside the node. It ends when the one that is noted for it ends.
    pub(super) fn inside(&self, spec: ProcessSpec) -> Result<ProcessSpec> {
        let init = self.init()?.pid();
        let program = spec.program.to_string_lossy().into_owned();
        Ok(ProcessSpec {
            program: "nsenter".into(),
            args: Vec::new(),
            ..spec.clone()
        }
        .arg(format!("--target={init}"))
        .args(["--mount", "--pid", "--uts", "--ipc", "--"])
        .args(["setpriv", "--pdeathsig", "KILL"])
        .arg(program)
        .args(spec.args))
    }

    /// Cuts the power: every process inside is killed by the kernel, every mount goes.
    pub(super) fn kill(&self) -> Result<()> {
        end_all(&[self.init()?], Signal::KILL, KILL_WAIT);
        let of_node = format!("-{}", self.host.name);
        for process in self.lab.state().processes() {
            if process.id.is_some() && process.spec.name.ends_with(&of_node) {
                self.lab.kill(&process.spec.name)?;
            }
        }
        Ok(())
    }
}

/// The cgroup of a node, below each hierarchy's root.
pub(super) fn cgroup_of(host: &Host) -> String {
    format!("/{}", host.namespace)
}
