//! What is kept of a lab when its test fails.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::lab::Lab;
use crate::progress::Progress;
use crate::real;

/// What is asked of the API server.
const QUERIES: &[(&str, &[&str])] = &[
    (
        "all.txt",
        &["get", "all,endpointslices,configmaps", "-A", "-o", "wide"],
    ),
    (
        "nodes.txt",
        &["get", "nodes", "-o", "wide", "--show-labels"],
    ),
    (
        "events.txt",
        &[
            "get",
            "events",
            "-A",
            "--sort-by=.metadata.creationTimestamp",
        ],
    ),
    (
        "services.yaml",
        &[
            "get",
            "services",
            "-A",
            "-o",
            "yaml",
            "--show-managed-fields",
        ],
    ),
];

/// What is asked of each host.
const HOST_QUERIES: &[&[&str]] = &[
    &["ip", "address"],
    &["ip", "route"],
    &["ip", "neighbour"],
    &["ss", "-tunap"],
    &["iptables-save"],
    &["nft", "list", "ruleset"],
];

/// Copies logs and state to `target/lab-failures/NAME` and says where.
pub(crate) fn keep(lab: &Lab) {
    match collect(lab) {
        Ok(dir) => Progress::Shown.say(format_args!(
            "logs and state of lab {} are in {}",
            lab.name(),
            dir.display()
        )),
        Err(error) => Progress::Shown.say(format_args!(
            "cannot keep the logs of lab {}: {error:#}",
            lab.name()
        )),
    }
}

/// The name holds the pid of the test, so it is new each time.
fn collect(lab: &Lab) -> Result<PathBuf> {
    let dir = crate::workspace()
        .join("target/lab-failures")
        .join(lab.name());
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    for entry in fs::read_dir(lab.state().dir().join("logs"))?.flatten() {
        fs::copy(entry.path(), dir.join(entry.file_name()))?;
    }
    for (name, log) in real::pod_logs(lab)? {
        fs::copy(log, dir.join(name))?;
    }
    for (file, args) in QUERIES {
        let mut kubectl = lab.kubectl_command()?;
        // The API server may be what is broken.
        kubectl.args(*args).arg("--request-timeout=5s");
        write_output(&dir.join(file), &mut kubectl)?;
    }
    for host in lab.network().hosts() {
        let mut text = Vec::new();
        for query in HOST_QUERIES {
            text.extend(format!("\n# {}\n", query.join(" ")).into_bytes());
            text.extend(all_output(host.command(query[0]).args(&query[1..])));
        }
        fs::write(dir.join(format!("host-{}.txt", host.name)), text)?;
    }
    Ok(dir)
}

fn write_output(path: &Path, command: &mut Command) -> Result<()> {
    fs::write(path, all_output(command)).with_context(|| format!("cannot write {}", path.display()))
}

fn all_output(command: &mut Command) -> Vec<u8> {
    match command.output() {
        Ok(output) => [output.stdout, output.stderr].concat(),
        Err(error) => format!("cannot run it: {error}\n").into_bytes(),
    }
}
