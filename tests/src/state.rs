//! What a lab has made, written down before it is made, so that a later start can remove what a
//! killed one left, and only that.
//!
//! ```text
//! /run/ferrolb-lab/NAME/
//!   id           of this lab alone, also in the note of its data directory
//!   owner        locked for as long as the lab's process lives
//!   detached     exists once `lab up` is done: the lab stays without an owner
//!   resources    one line each: "netns NAME", "cgroup PATH"
//!   lab.json     hosts and settings, for commands that come later
//!   processes/   one file each: how it was started, its pid and start time
//!   logs/ pki/ … whatever the parts of the lab keep; goes with the lab
//! ```
//!
//! `/var/lib/ferrolb-lab/NAME/` holds what is large, the nodes' file systems and what etcd keeps.
//!
//! What needs no line, since it is known by where it is: mounts below this directory, processes in
//! the lab's network namespaces and cgroups.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard};

use anyhow::{Context, Result, bail};
use serde::{Serialize, de::DeserializeOwned};

use crate::process::{self, ProcessId, ProcessRecord};

mod data;
mod remove;
#[cfg(test)]
mod tests;

pub(crate) use remove::{KILL_WAIT, remove_cgroup};
pub use remove::{remove_dead_labs, remove_lab};

/// Where all labs of this machine keep their state. `/run`: a reboot forgets it, as it forgets
/// namespaces and processes.
pub(crate) const ROOT: &str = "/run/ferrolb-lab";

/// Where labs keep what is too much for `/run`, which is often memory.
pub(crate) const DATA_ROOT: &str = "/var/lib/ferrolb-lab";

/// The longest lab name: it becomes a part of namespace and cgroup names.
const MAX_NAME: usize = 40;

/// The state directory of one lab.
#[derive(Debug)]
pub struct State {
    name: String,
    dir: PathBuf,
    /// Locked while this process owns the lab. The kernel unlocks it however the process ends.
    owner: Mutex<Option<File>>,
    /// Has its removal begun? Read-locked while something is made for the lab.
    ending: RwLock<bool>,
}

impl State {
    /// Makes the state of a new lab that belongs to this process.
    pub fn create(name: &str) -> Result<Self> {
        check_name(name)?;
        let _labs = lock_all_labs()?;
        let dir = lab_dir(name);
        match fs::create_dir(&dir) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => bail!(
                "a lab named {name} is already up: use it, remove it with `lab down --name {name}`, \
                 or choose another name"
            ),
            other => other.with_context(|| format!("cannot create {}", dir.display()))?,
        }
        let owner = File::create(dir.join("owner")).context("cannot create the owner file")?;
        owner.lock().context("cannot lock the owner file")?;
        for sub in ["logs", "processes"] {
            fs::create_dir(dir.join(sub)).with_context(|| format!("cannot create {sub}"))?;
        }
        fs::write(dir.join("id"), data::fresh_id()?).context("cannot write the lab's id")?;
        let state = Self::at(name, dir);
        *state.owner.lock().unwrap_or_else(PoisonError::into_inner) = Some(owner);
        Ok(state)
    }

    /// The state of a lab that is up, whoever owns it.
    pub fn open(name: &str) -> Result<Self> {
        check_name(name)?;
        let dir = lab_dir(name);
        if !dir.join("lab.json").exists() {
            bail!("no lab named {name} is up: start it with `lab up --name {name}`");
        }
        Ok(Self::at(name, dir))
    }

    fn at(name: &str, dir: PathBuf) -> Self {
        Self {
            name: name.to_owned(),
            dir,
            owner: Mutex::new(None),
            ending: RwLock::new(false),
        }
    }

    /// The lab's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The lab's directory; everything below it goes with the lab.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A directory below [`State::dir`], made if it does not exist.
    pub fn subdir(&self, name: &str) -> Result<PathBuf> {
        let path = self.dir.join(name);
        fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(path)
    }

    /// A directory for what is large. It goes with the lab, too.
    pub fn data_dir(&self) -> Result<PathBuf> {
        let path = data_dir(&self.name);
        let id = self.id().context("the lab has no id")?;
        data::claim(&path, &id, &data::this_boot()?)?;
        Ok(path)
    }

    /// What tells this lab from another one with its name.
    fn id(&self) -> Option<String> {
        fs::read_to_string(self.dir.join("id")).ok()
    }

    /// The log file of process `name`.
    pub fn log(&self, name: &str) -> PathBuf {
        self.dir.join("logs").join(format!("{name}.log"))
    }

    /// Lets the lab outlive this process.
    pub fn detach(&self) -> Result<()> {
        File::create(self.dir.join("detached")).context("cannot mark the lab as detached")?;
        self.owner
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        Ok(())
    }

    /// Does the lab outlive the process that started it?
    pub fn is_detached(&self) -> bool {
        self.dir.join("detached").exists()
    }

    /// Held while a thing is noted and made, so that the lab's removal, on a signal's thread,
    /// either finds it or prevents it.
    pub fn making(&self) -> Result<RwLockReadGuard<'_, bool>> {
        let ending = self.ending.read().unwrap_or_else(PoisonError::into_inner);
        if *ending {
            bail!("lab {} is being removed", self.name);
        }
        Ok(ending)
    }

    /// Removes the lab. Nothing can be made for it any more. Done once, however often it is called.
    pub fn end(&self) -> Result<()> {
        let mut ending = self.ending.write().unwrap_or_else(PoisonError::into_inner);
        *ending = true;
        let _labs = lock_all_labs()?;
        if self.dir.exists() {
            self.remove()
        } else {
            Ok(())
        }
    }

    /// Notes a network namespace that is about to be made.
    pub fn note_netns(&self, name: &str) -> Result<()> {
        self.note("netns", name)
    }

    /// Notes a cgroup that is about to be made, as its path below each hierarchy's mount point
    /// (`/lab-n1`). Processes in it are killed on the way down.
    pub fn note_cgroup(&self, path: &str) -> Result<()> {
        self.note("cgroup", path)
    }

    fn note(&self, kind: &str, name: &str) -> Result<()> {
        // One short write in append mode: a line is there whole or not at all.
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.dir.join("resources"))
            .and_then(|mut file| file.write_all(format!("{kind} {name}\n").as_bytes()))
            .with_context(|| {
                format!(
                    "cannot note {kind} {name} in the state of lab {}",
                    self.name
                )
            })
    }

    fn noted(&self, kind: &str) -> Vec<String> {
        let text = fs::read_to_string(self.dir.join("resources")).unwrap_or_default();
        let of_kind = |line: &str| {
            let (its_kind, name) = line.split_once(' ')?;
            (its_kind == kind).then(|| name.to_owned())
        };
        text.lines().filter_map(of_kind).collect()
    }

    /// Writes a value as JSON file `name`, whole or not at all.
    pub fn write_json<T: Serialize>(&self, name: &str, value: &T) -> Result<()> {
        let path = self.dir.join(name);
        let next = path.with_extension("next");
        let text = serde_json::to_vec_pretty(value).context("cannot serialise")?;
        fs::write(&next, text)
            .and_then(|()| fs::rename(&next, &path))
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// Reads what [`State::write_json`] wrote.
    pub fn read_json<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        let path = self.dir.join(name);
        let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("cannot parse {}", path.display()))
    }

    /// Notes a process: before its start without an id, after it with.
    pub fn write_process(&self, record: &ProcessRecord) -> Result<()> {
        self.write_json(&format!("processes/{}.json", record.spec.name), record)
    }

    /// The process `name`, if it was ever started.
    pub fn process(&self, name: &str) -> Result<ProcessRecord> {
        self.read_json(&format!("processes/{name}.json"))
            .with_context(|| format!("lab {} has no process named {name}", self.name))
    }

    /// All processes that were started by name, in the order of their names.
    pub fn processes(&self) -> Vec<ProcessRecord> {
        let mut names: Vec<String> = fs::read_dir(self.dir.join("processes"))
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| {
                Some(
                    entry
                        .file_name()
                        .to_str()?
                        .strip_suffix(".json")?
                        .to_owned(),
                )
            })
            .collect();
        names.sort();
        names
            .iter()
            .filter_map(|name| self.process(name).ok())
            .collect()
    }

    /// Is nobody there any more who would remove this lab?
    fn is_dead(&self) -> bool {
        if self.is_detached() {
            return false;
        }
        match File::open(self.dir.join("owner")) {
            Ok(owner) => !matches!(owner.try_lock(), Err(TryLockError::WouldBlock)),
            Err(_) => true,
        }
    }

    /// Every process of the lab that is alive: those started by name, and whoever else runs in
    /// its network namespaces or cgroups.
    fn live_processes(&self) -> Vec<ProcessId> {
        let mut found: Vec<ProcessId> = self
            .processes()
            .into_iter()
            .filter_map(|record| record.id)
            .collect();
        found.extend(process::in_netns(&self.noted("netns")));
        found.extend(process::in_cgroups(&self.noted("cgroup")));
        found.retain(ProcessId::is_alive);
        found.sort();
        found.dedup();
        found
    }
}

/// Names of all labs that have a state, dead or alive.
pub fn lab_names() -> Vec<String> {
    names_in(Path::new(ROOT))
}

fn names_in(root: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(root)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

fn lab_dir(name: &str) -> PathBuf {
    Path::new(ROOT).join(name)
}

fn data_dir(name: &str) -> PathBuf {
    Path::new(DATA_ROOT).join(name)
}

/// Held while labs are made or removed, so that two starts do not take each other's half-made lab
/// for a dead one.
fn lock_all_labs() -> Result<File> {
    fs::create_dir_all(ROOT).with_context(|| format!("cannot create {ROOT}"))?;
    let lock = File::create(Path::new(ROOT).join(".lock")).context("cannot open the lock")?;
    lock.lock().context("cannot lock the labs' directory")?;
    Ok(lock)
}

fn check_name(name: &str) -> Result<()> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let starts_well = name.starts_with(|c: char| c.is_ascii_lowercase());
    if !starts_well || !name.chars().all(allowed) || name.len() > MAX_NAME {
        bail!(
            "bad lab name {name:?}: use at most {MAX_NAME} lower case letters, digits and dashes, \
             a letter first"
        );
    }
    Ok(())
}
