//! A cgroup in every hierarchy: one per node, the root of its pods' cgroups.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::process::cgroup_hierarchies;
use crate::state::remove_cgroup;

/// Makes a cgroup in every hierarchy: v1 has one per controller, v2 a single one. It is
/// empty: a kubelet spends 3 s on each container's cgroup that it finds without the container.
pub(crate) fn create(path: &str) -> Result<()> {
    if let Some(error) = remove_cgroup(path).into_iter().next() {
        return Err(error);
    }
    for root in cgroup_hierarchies() {
        pass_on_controllers(&root);
        let folder = root.join(path.trim_start_matches('/'));
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create cgroup {}", folder.display()))?;
        inherit_cpuset(&root, &folder)?;
    }
    Ok(())
}

/// v2: a controller works in a cgroup only if the one above passes it on.
fn pass_on_controllers(root: &Path) {
    let controllers = fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
    for controller in controllers.split_ascii_whitespace() {
        // One at a time, and refusal is no error: a kubelet says itself which one it misses.
        let _ = fs::write(
            root.join("cgroup.subtree_control"),
            format!("+{controller}"),
        );
    }
}

/// v1: a new cpuset is empty, and no process may enter an empty one.
fn inherit_cpuset(root: &Path, folder: &Path) -> Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let v1 = !root.join("cgroup.controllers").exists();
        if v1 && root.join(file).exists() {
            fs::copy(root.join(file), folder.join(file))
                .with_context(|| format!("cannot fill {file} of {}", folder.display()))?;
        }
    }
    Ok(())
}
