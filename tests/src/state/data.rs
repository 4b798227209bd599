//! The directories of what is large, which outlive a reboot, and may belong to a lab that this process
//! cannot see: `/run` is another one in a container or in another mount namespace, `/var` perhaps not.
//! Each directory has a note that tells whose it is.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::names_in;

/// The note in a directory: a line with the boot that its lab ran in, and one with the lab's id.
const NOTE: &str = "lab";

/// What the kernel calls this boot; the same in every container.
pub(super) fn this_boot() -> Result<String> {
    read_line("/proc/sys/kernel/random/boot_id")
}

/// An id that no other lab has.
pub(super) fn fresh_id() -> Result<String> {
    read_line("/proc/sys/kernel/random/uuid")
}

fn read_line(path: &str) -> Result<String> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    Ok(text.trim().to_owned())
}

/// Makes the directory for the lab `id`, if it is not there already.
pub(super) fn claim(dir: &Path, id: &str, boot: &str) -> Result<()> {
    let cannot = || format!("cannot create {}", dir.display());
    if !dir.exists() {
        // With its note from the first moment on: nobody sees a directory of nobody's.
        let next = dir.with_file_name(format!(".{id}"));
        fs::create_dir_all(&next)
            .and_then(|()| fs::write(next.join(NOTE), format!("{boot}\n{id}\n")))
            .with_context(cannot)?;
        match fs::rename(&next, dir) {
            Ok(()) => return Ok(()),
            // Another lab was quicker.
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => {
                fs::remove_dir_all(&next).with_context(cannot)?;
            }
            Err(error) => return Err(error).with_context(cannot),
        }
    }
    if !is_of(dir, Some(id)) {
        bail!(
            "{} belongs to a lab of the same name that was started elsewhere: choose another name, \
             or remove the directory if that lab is gone",
            dir.display()
        );
    }
    Ok(())
}

/// Whether the directory is that lab's. One without a note is of a lab without an id.
pub(super) fn is_of(dir: &Path, id: Option<&str>) -> bool {
    let text = note(dir).unwrap_or_default();
    text.lines().nth(1) == id
}

/// Removes the directories below `root` that labs left at a boot before this one. None of this boot:
/// its lab may be alive, although it has no state here. None without a note, for the same reason.
pub(super) fn sweep(root: &Path, boot: &str, has_state: impl Fn(&str) -> bool) -> Result<()> {
    for name in names_in(root) {
        let dir = root.join(&name);
        let of_another =
            note(&dir).is_ok_and(|text| text.lines().next().is_some_and(|b| b != boot));
        if of_another && !has_state(&name) {
            fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
        }
    }
    Ok(())
}

fn note(dir: &Path) -> io::Result<String> {
    fs::read_to_string(dir.join(NOTE))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOBODY: fn(&str) -> bool = |_| false;

    #[test]
    fn the_data_of_a_lab_without_a_state_here_stay_until_the_next_boot() {
        let root = tempfile::tempdir().unwrap();
        let dir = |name| root.path().join(name);
        claim(&dir("elsewhere"), "a", "boot 1").unwrap();
        claim(&dir("here"), "b", "boot 1").unwrap();
        fs::create_dir(dir("unknown")).unwrap();
        let left = |boot: &str| {
            sweep(root.path(), boot, |name| name == "here").unwrap();
            names_in(root.path())
        };
        assert_eq!(left("boot 1"), ["elsewhere", "here", "unknown"]);
        assert_eq!(left("boot 2"), ["here", "unknown"]);
        sweep(root.path(), "boot 2", NOBODY).unwrap();
        assert_eq!(names_in(root.path()), ["unknown"]);
    }

    #[test]
    fn a_lab_takes_over_no_data_of_another_one_with_its_name() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("demo");
        claim(&dir, "a", "boot 1").unwrap();
        claim(&dir, "a", "boot 1").unwrap();
        let refused = claim(&dir, "b", "boot 1").unwrap_err().to_string();
        assert!(refused.contains("was started elsewhere"), "{refused}");
        assert!(is_of(&dir, Some("a")) && !is_of(&dir, Some("b")) && !is_of(&dir, None));
        assert_eq!(names_in(root.path()), ["demo"], "nothing half-made is left");
    }

    #[test]
    fn data_without_a_note_are_of_a_lab_that_has_no_id() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("old");
        fs::create_dir(&dir).unwrap();
        assert!(is_of(&dir, None));
        claim(&dir, "a", "boot 1").unwrap_err();
    }

    #[test]
    fn the_kernel_tells_one_boot_and_many_ids() {
        assert_eq!(this_boot().unwrap(), this_boot().unwrap());
        assert_ne!(fresh_id().unwrap(), fresh_id().unwrap());
    }
}
