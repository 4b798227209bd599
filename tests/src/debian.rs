//! Programs of Debian packages that are not installed: `make setup` unpacks them into the cache, with the
//! libraries that this machine lacks. Where that was not done, those of this machine are used.
//!
//! ```text
//! debian/programs/NAME     what to start: a link, or a script that names the libraries
//! debian/{usr,lib,etc}     what the packages have
//! ```

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::tools::cache_dir;

/// What was unpacked.
struct Unpacked {
    root: PathBuf,
}

impl Unpacked {
    fn here() -> Option<Self> {
        let root = cache_dir().ok()?.join("debian");
        root.is_dir().then_some(Self { root })
    }

    fn programs(&self) -> PathBuf {
        self.root.join("programs")
    }

    fn program(&self, name: &str) -> Option<PathBuf> {
        Some(self.programs().join(name)).filter(|path| path.is_file())
    }

    fn file(&self, path: &str) -> Option<PathBuf> {
        let path = self.root.join(path.trim_start_matches('/'));
        path.exists().then_some(path)
    }

    /// As `LD_LIBRARY_PATH` has them.
    fn libraries(&self) -> OsString {
        let folders = ["usr/lib", "lib"].map(|folder| self.root.join(folder));
        let folders = folders.iter().flat_map(fs::read_dir).flatten().flatten();
        // One for each kind of machine: x86_64-linux-gnu, arm-linux-gnueabihf.
        let of_machine = folders
            .filter(|folder| folder.file_name().to_string_lossy().contains("-linux-gnu"))
            .map(|folder| folder.path());
        env::join_paths(of_machine).unwrap_or_default()
    }
}

/// What to start for a program: the unpacked one, else its name, which the `PATH` finds.
pub fn program(name: &str) -> PathBuf {
    let unpacked = Unpacked::here().and_then(|unpacked| unpacked.program(name));
    unpacked.unwrap_or_else(|| name.into())
}

/// A file of a package, such as `/usr/bin/redis-server`: the unpacked one, else this machine's.
pub fn file(path: &str) -> PathBuf {
    let unpacked = Unpacked::here().and_then(|unpacked| unpacked.file(path));
    unpacked.unwrap_or_else(|| path.into())
}

/// Where a file is in its package, the reverse of [`file`].
pub(crate) fn path_in_package(file: &Path) -> PathBuf {
    let unpacked = Unpacked::here();
    let below = unpacked.and_then(|unpacked| Some(file.strip_prefix(unpacked.root).ok()?.into()));
    below.map_or_else(|| file.into(), |below: PathBuf| Path::new("/").join(below))
}

/// `PATH` of a process that starts such programs by name.
pub fn path() -> String {
    let path = env::var("PATH").unwrap_or_default();
    match Unpacked::here() {
        Some(unpacked) => format!("{}:{path}", unpacked.programs().display()),
        None => path,
    }
}

/// `LD_LIBRARY_PATH` of who starts an unpacked program itself, or asks what it loads.
pub(crate) fn libraries() -> OsString {
    Unpacked::here()
        .map(|unpacked| unpacked.libraries())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tree as `tests/setup` leaves it, with these files.
    fn unpacked(files: &[&str]) -> (tempfile::TempDir, Unpacked) {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let root = folder.path().to_owned();
        (folder, Unpacked { root })
    }

    #[test]
    fn a_program_is_the_unpacked_one_and_nothing_else_of_its_name() {
        let (folder, unpacked) = unpacked(&["programs/runc", "usr/bin/runc", "usr/bin/ctr"]);
        let runc = folder.path().join("programs/runc");
        assert_eq!(unpacked.program("runc"), Some(runc));
        assert_eq!(unpacked.program("ctr"), None);
        assert_eq!(unpacked.program(""), None, "a folder is no program");
        assert_eq!(program("no-such-program"), Path::new("no-such-program"));
    }

    #[test]
    fn a_file_is_known_by_its_path_in_the_package() {
        let (folder, unpacked) = unpacked(&["usr/lib/cni/bridge"]);
        let plugins = folder.path().join("usr/lib/cni");
        assert_eq!(unpacked.file("/usr/lib/cni"), Some(plugins));
        assert_eq!(unpacked.file("/usr/bin/redis-server"), None);
        let of_this_machine = Path::new("/lib/libc.so.6");
        assert_eq!(path_in_package(of_this_machine), of_this_machine);
    }

    #[test]
    fn libraries_are_where_debian_has_them_for_a_kind_of_machine() {
        let (folder, unpacked) = unpacked(&[
            "usr/lib/x86_64-linux-gnu/liblzf.so.1",
            "usr/lib/cni/bridge",
            "lib/aarch64-linux-gnu/libdevmapper.so.1.02.1",
        ]);
        let folders = ["usr/lib/x86_64-linux-gnu", "lib/aarch64-linux-gnu"];
        let expected = env::join_paths(folders.map(|path| folder.path().join(path))).unwrap();
        assert_eq!(unpacked.libraries(), expected);
    }
}
