//! The speakers' keys, from the files of a mounted Secret.

use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, io};

use ferrolb_core::names::PEERS_KEY_CREATED;

/// Every key that is there, by its file's name, and when the first one was made. A directory that is
/// not there holds none: the Secret is optional.
pub fn read(dir: &Path) -> io::Result<BTreeMap<String, Vec<u8>>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(error),
    };
    let mut keys = BTreeMap::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // `..data` and the directory that it points to: how a kubelet replaces all files at once.
        if name.starts_with('.') && name != PEERS_KEY_CREATED {
            continue;
        }
        match fs::read(entry.path()) {
            Ok(bytes) => drop(keys.insert(name, bytes)),
            // Replaced in this moment.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_keys_and_what_begins_with_a_dot_is_not_but_for_the_time() {
        let dir = std::env::temp_dir().join(format!("ferrolb-keys-{}", std::process::id()));
        assert_eq!(read(&dir).unwrap(), BTreeMap::new());
        fs::create_dir_all(dir.join("..2026_11_25")).unwrap();
        fs::write(dir.join("key-1"), [1; 32]).unwrap();
        fs::write(dir.join(".hidden"), "x").unwrap();
        fs::write(dir.join(".created"), "2026-11-29T17:47:18Z").unwrap();
        let keys = read(&dir);
        fs::remove_dir_all(&dir).unwrap();
        let expected = [
            ("key-1".to_owned(), vec![1; 32]),
            (".created".to_owned(), b"2026-11-29T17:47:18Z".to_vec()),
        ];
        assert_eq!(keys.unwrap(), expected.into());
    }
}
