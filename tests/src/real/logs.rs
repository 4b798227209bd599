//! What containers wrote.

use std::path::PathBuf;

use anyhow::Result;

use super::machine::Machine;
use crate::lab::Lab;
use crate::process::folders_below;

/// The log files of all containers, dead ones too, each with a name that says whose it is. Hollow
/// nodes have none.
pub(crate) fn pod_logs(lab: &Lab) -> Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for node in lab.nodes() {
        let pods = Machine::new(lab, node)?.data.join("log/pods");
        // NAMESPACE_POD_UID/CONTAINER/RESTARTS.log
        for folder in folders_below(&pods) {
            let files = std::fs::read_dir(&folder).into_iter().flatten().flatten();
            for path in files
                .map(|entry| entry.path())
                .filter(|path| path.is_file())
            {
                let inner = path
                    .strip_prefix(&pods)?
                    .to_string_lossy()
                    .replace('/', "-");
                found.push((format!("pod-{}-{inner}", node.name), path));
            }
        }
    }
    Ok(found)
}
