//! The archive: one file to attach to a report.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::Context;
use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use tar::{Builder, Header};

use super::Answer;
use crate::output::causes;

/// Everybody may read what is unpacked.
const MODE: u32 = 0o644;

/// What has been written, and what could not be had.
pub(super) struct Bundle {
    path: PathBuf,
    /// All that is in it lies in a folder of its name.
    folder: String,
    time: Timestamp,
    archive: Builder<GzEncoder<File>>,
    files: Vec<String>,
    pub(super) missing: Vec<String>,
}

impl Bundle {
    /// A new file at `path`, or in the working directory with `time` in its name.
    pub(super) fn create(path: Option<&Path>, time: Timestamp) -> anyhow::Result<Self> {
        let path = match path {
            Some(path) => path.to_owned(),
            None => format!("ferrolb-dump-{}.tar.gz", time.strftime("%Y%m%dT%H%M%SZ")).into(),
        };
        let cannot = || format!("cannot create {}", path.display());
        let name = path.file_name().with_context(cannot)?.to_string_lossy();
        let ends = [".tar.gz", ".tgz"];
        let folder = ends.iter().find_map(|end| name.strip_suffix(end));
        let folder = folder.unwrap_or("ferrolb-dump").to_owned();
        let file = File::create_new(&path).with_context(cannot)?;
        Ok(Self {
            archive: Builder::new(GzEncoder::new(file, Compression::default())),
            path,
            folder,
            time,
            files: Vec::new(),
            missing: Vec::new(),
        })
    }

    /// Keeps a part under this name, or the reason why there is none: a broken cluster is what this is
    /// for. `Err` if it cannot be written.
    pub(super) fn keep(
        &mut self,
        name: &str,
        part: anyhow::Result<impl AsRef<[u8]>>,
    ) -> anyhow::Result<()> {
        match part {
            Ok(bytes) => self.write(name, bytes.as_ref()),
            Err(error) => {
                self.missing.push(format!("{name}: {}", causes(&error)));
                Ok(())
            }
        }
    }

    fn write(&mut self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        let mut header = Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(MODE);
        header.set_mtime(self.time.as_second().unsigned_abs());
        let path = format!("{}/{name}", self.folder);
        self.archive
            .append_data(&mut header, path, bytes)
            .with_context(|| format!("cannot write {}", self.path.display()))?;
        self.files.push(name.to_owned());
        Ok(())
    }

    /// Adds the list of what is missing, if anything is, and closes the archive.
    pub(super) fn finish(mut self) -> anyhow::Result<Answer> {
        if !self.missing.is_empty() {
            self.write("errors.txt", (self.missing.join("\n") + "\n").as_bytes())?;
        }
        let path = self.path;
        let cannot = || format!("cannot write {}", path.display());
        self.archive
            .into_inner()
            .and_then(GzEncoder::finish)
            .and_then(|file| file.sync_all())
            .with_context(cannot)?;
        let bytes = fs::metadata(&path).with_context(cannot)?.len();
        Ok(Answer {
            file: path,
            bytes,
            files: self.files,
            missing: self.missing,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use anyhow::anyhow;
    use flate2::read::GzDecoder;
    use tar::Archive;

    use super::*;

    /// What `tar -xzf` would write, and with which rights.
    fn unpacked(path: &Path) -> Vec<(String, u32, String)> {
        let mut archive = Archive::new(GzDecoder::new(File::open(path).unwrap()));
        let read = |entry: std::io::Result<tar::Entry<'_, _>>| {
            let mut entry = entry.unwrap();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            let path = entry.path().unwrap().display().to_string();
            (path, entry.header().mode().unwrap(), text)
        };
        archive.entries().unwrap().map(read).collect()
    }

    #[test]
    fn what_is_kept_lies_in_one_folder_with_the_reasons_for_what_is_missing() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("case-17.tar.gz");
        let time = "2026-11-26T00:45:07Z".parse().unwrap();
        let mut bundle = Bundle::create(Some(&path), time).unwrap();
        bundle.keep("nodes.yaml", Ok("items: []\n")).unwrap();
        let refused = Err::<String, _>(anyhow!("forbidden").context("cannot list pods"));
        bundle.keep("pods.yaml", refused).unwrap();
        let answer = bundle.finish().unwrap();
        assert_eq!(answer.files, ["nodes.yaml", "errors.txt"]);
        assert_eq!(answer.missing, ["pods.yaml: cannot list pods: forbidden"]);
        assert_eq!(answer.bytes, fs::metadata(&path).unwrap().len());
        let file = |name: &str, text: &str| (format!("case-17/{name}"), MODE, text.to_owned());
        let reasons = "pods.yaml: cannot list pods: forbidden\n";
        let want = [
            file("nodes.yaml", "items: []\n"),
            file("errors.txt", reasons),
        ];
        assert_eq!(unpacked(&path), want);
        let Err(error) = Bundle::create(Some(&path), time) else {
            panic!("another file must not be overwritten");
        };
        let error = format!("{error:#}");
        assert!(error.contains("case-17.tar.gz: "), "{error}");
    }
}
