//! Debian's keepalived (VRRP), which moves addresses between hosts and knows nothing of Kubernetes: its addresses
//! stand in its file, and kube-proxy is told of them as external addresses.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use ferrolb_tests::Lab;
use ferrolb_tests::debian;

use super::figures::Figure;
use super::peer::{IDLE, NODES, Peer, VIP, idle_address};

const PROGRAM: &str = "keepalived";

pub(crate) struct Keepalived {
    version: String,
    is_fast: bool,
}

impl Keepalived {
    pub(crate) fn new(is_fast: bool) -> Result<Self> {
        let said = Command::new(debian::program(PROGRAM))
            .arg("--version")
            .output();
        let said = said.context("keepalived is not here: `make setup` brings it")?;
        let said = String::from_utf8_lossy(&said.stderr).into_owned();
        // Keepalived v2.2.7 (01/16,2022)
        let version = said.split_whitespace().nth(1);
        let version = version.with_context(|| format!("no version: {said}"))?;
        Ok(Self {
            version: version.trim_start_matches('v').to_owned(),
            is_fast,
        })
    }

    fn file(&self, priority: usize) -> String {
        let (global, instance) = match self.is_fast {
            true => ("vrrp_version 3", "advert_int 0.1\n  nopreempt"),
            false => ("", "advert_int 1"),
        };
        let others: Vec<_> = (0..IDLE)
            .map(|number| idle_address(number).to_string())
            .collect();
        let others = others.join("\n    ");
        format!(
            "global_defs {{\n  {global}\n}}\n\
             vrrp_instance lan {{\n  state BACKUP\n  interface eth0\n  virtual_router_id 51\n  \
             priority {priority}\n  {instance}\n  virtual_ipaddress {{\n    {VIP}\n  }}\n  \
             virtual_ipaddress_excluded {{\n    {others}\n  }}\n}}\n"
        )
    }
}

impl Peer for Keepalived {
    fn name(&self) -> &'static str {
        "keepalived"
    }

    fn version(&self) -> Result<String> {
        Ok(self.version.clone())
    }

    fn settings(&self) -> &'static str {
        match self.is_fast {
            true => "advert_int 0.1",
            false => "defaults",
        }
    }

    fn start(&self, lab: &Lab) -> Result<()> {
        let folder = lab.state().subdir("keepalived")?;
        for (number, node) in NODES.into_iter().enumerate() {
            let file = folder.join(node);
            fs::write(&file, self.file(100 - number)).context("cannot write its file")?;
            let path = |kind: &str| format!("{}.{kind}", file.display());
            let process = lab
                .host(node)?
                .process(self.daemon(node), debian::program(PROGRAM))
                .args(["--dont-fork", "--log-console", "--vrrp"])
                .arg(format!("--use-file={}", file.display()))
                .arg(format!("--pid={}", path("pid")))
                .arg(format!("--vrrp_pid={}", path("vrrp")));
            lab.spawn(process)?;
        }
        Ok(())
    }

    fn daemon(&self, node: &str) -> String {
        format!("keepalived-{node}")
    }

    fn knows_services(&self) -> Figure<()> {
        Figure::None("its addresses stand in a file".to_owned())
    }

    fn programs(&self) -> Result<(PathBuf, Option<PathBuf>)> {
        Ok((debian::file("/usr/sbin/keepalived"), None))
    }
}
