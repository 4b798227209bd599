//! The Kubernetes programs, built from the pinned Go modules in `tests/tools` and cached by the
//! content of what they are built from.

use std::fs::{self, File, TryLockError};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use clap::ValueEnum as _;
use sha2::{Digest, Sha256};

use crate::kubernetes::Version;
use crate::process;
use crate::progress::Step;

#[cfg(test)]
mod tests;

/// One Go module with `tool` lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Module {
    /// etcd, the control plane, kubelet, kube-proxy, kubectl, helm.
    Kubernetes,
    /// The control plane, kubelet, kube-proxy and kubectl of another version.
    Components(Version),
    /// The cluster's DNS server.
    CoreDns,
    /// `MetalLB`'s two daemons, of the last release that a `ConfigMap` configures.
    MetalLb,
    /// The same of a release that objects configure.
    MetalLbObjects,
    /// kube-vip, beside which FerroLB is measured.
    KubeVip,
    /// What checks a dashboard against Grafana's schema.
    Grafana,
}

/// The Go module of `MetalLB`.
pub const METALLB: &str = "go.universe.tf/metallb";
/// The Go module of kube-vip.
pub const KUBE_VIP: &str = "github.com/kube-vip/kube-vip";

impl Module {
    /// Every one, once.
    pub fn all() -> Vec<Self> {
        let others = Version::value_variants()
            .iter()
            .filter(|one| **one != Version::V1_34);
        [
            Self::Kubernetes,
            Self::CoreDns,
            Self::MetalLb,
            Self::MetalLbObjects,
            Self::KubeVip,
            Self::Grafana,
        ]
        .into_iter()
        .chain(others.copied().map(Self::Components))
        .collect()
    }

    /// Its folder in `tests/tools`, with which its name in the cache begins.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kubernetes | Self::Components(Version::V1_34) => "kubernetes",
            Self::Components(Version::V1_31) => "kubernetes-1.31",
            Self::Components(Version::V1_33) => "kubernetes-1.33",
            Self::Components(Version::V1_35) => "kubernetes-1.35",
            Self::CoreDns => "coredns",
            Self::MetalLb => "metallb",
            Self::MetalLbObjects => "metallb-objects",
            Self::KubeVip => "kube-vip",
            Self::Grafana => "grafana",
        }
    }

    fn source(self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tools")
            .join(self.name())
    }

    /// What a person should expect, measured on two cores.
    fn first_build(self) -> &'static str {
        match self {
            Self::Kubernetes | Self::Components(_) => "about 10 minutes",
            Self::CoreDns => "about 1 minute",
            Self::MetalLb => "about 1 minute",
            Self::MetalLbObjects => "about 3 minutes",
            Self::KubeVip => "about 5 minutes",
            Self::Grafana => "about 20 seconds",
        }
    }

    /// Flags of the linker. Without a version, components of Kubernetes report v0.0.0 and some
    /// refuse to start.
    fn ldflags(self, go_mod: &str) -> Result<String> {
        if !matches!(self, Self::Kubernetes | Self::Components(_)) {
            return Ok("-s -w".to_owned());
        }
        let version = required_version(go_mod, "k8s.io/kubernetes")?;
        let mut parts = version.trim_start_matches('v').split('.');
        let (Some(major), Some(minor)) = (parts.next(), parts.next()) else {
            bail!("k8s.io/kubernetes has version {version:?} in go.mod, expected vX.Y.Z");
        };
        let mut flags = "-s -w".to_owned();
        for package in [
            "k8s.io/component-base/version",
            "k8s.io/client-go/pkg/version",
        ] {
            for (name, value) in [
                ("gitVersion", version),
                ("gitMajor", major),
                ("gitMinor", minor),
            ] {
                flags.push_str(&format!(" -X {package}.{name}={value}"));
            }
        }
        Ok(flags)
    }
}

impl Module {
    /// Where the source of a Go module that this one requires is, once its tools are built, and its version.
    pub fn source_of(self, required: &str) -> Result<(PathBuf, String)> {
        let mut go = Command::new("go");
        go.args(["list", "-m", "-f", "{{.Dir}} {{.Version}}", required])
            .current_dir(self.source())
            .env("GOWORK", "off");
        let said = insist(|| crate::command::stdout_of(&mut go, ""), || {})?;
        let found = said.trim().rsplit_once(' ');
        let (folder, version) = found.with_context(|| format!("go says {said:?} of {required}"))?;
        Ok((folder.into(), version.to_owned()))
    }
}

/// Where the source of `MetalLB` of that version is, whose definitions a test reads: its Go module, fetched if it is
/// not there. Its hash stands in `tests/tools/metallb-definitions`.
pub fn metallb_source(version: &str) -> Result<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/metallb-definitions");
    let mut go = Command::new("go");
    go.args(["mod", "download", "-json", METALLB])
        .current_dir(folder.join(version))
        .env("GOWORK", "off")
        .env("GOFLAGS", "-mod=readonly");
    let said = insist(|| crate::command::stdout_of(&mut go, ""), || {})?;
    let said: serde_json::Value = serde_json::from_str(&said).context("go says no JSON")?;
    let folder = said["Dir"].as_str();
    folder
        .map(PathBuf::from)
        .with_context(|| format!("go says {said} of MetalLB {version}"))
}

/// Up to three times: of hundreds of modules one cannot be fetched now and then, and Go keeps those that it has.
/// `again` is called before a further try.
fn insist<T>(mut work: impl FnMut() -> Result<T>, again: impl Fn()) -> Result<T> {
    for _ in 0..2 {
        if let Ok(done) = work() {
            return Ok(done);
        }
        again();
        #[expect(
            clippy::disallowed_methods,
            reason = "nobody tells when a server is well again"
        )]
        std::thread::sleep(Duration::from_secs(1));
    }
    work()
}

/// The version of `module` that a go.mod requires.
fn required_version<'a>(go_mod: &'a str, module: &str) -> Result<&'a str> {
    go_mod
        .lines()
        .filter_map(|line| line.trim().trim_start_matches("require ").split_once(' '))
        .find(|(name, _)| *name == module)
        .and_then(|(_, rest)| rest.split_ascii_whitespace().next())
        .with_context(|| format!("go.mod does not require {module}"))
}

/// Built programs.
#[derive(Clone, Debug)]
pub struct Tools {
    dirs: Vec<PathBuf>,
}

impl Tools {
    /// The programs of these modules, built if they are not in the cache.
    pub fn ensure(modules: &[Module]) -> Result<Self> {
        let cache = cache_dir()?;
        let dirs = modules
            .iter()
            .map(|module| {
                ensure_module(*module, &cache)
                    .with_context(|| format!("cannot build the {} tools", module.name()))
            })
            .collect::<Result<_>>()?;
        Ok(Self { dirs })
    }

    /// The path of a program, such as `kubectl`.
    pub fn binary(&self, name: &str) -> Result<PathBuf> {
        self.dirs
            .iter()
            .map(|dir| dir.join(name))
            .find(|path| path.exists())
            .with_context(|| format!("no tool is called {name}"))
    }
}

/// `$XDG_CACHE_HOME/ferrolb/lab` or `~/.cache/ferrolb/lab`.
pub(crate) fn cache_dir() -> Result<PathBuf> {
    let set = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let cache = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    let dir = cache
        .context("neither XDG_CACHE_HOME nor HOME is set")?
        .join("ferrolb/lab");
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    Ok(dir)
}

fn ensure_module(module: Module, cache: &Path) -> Result<PathBuf> {
    let source = module.source();
    let go_mod = fs::read_to_string(source.join("go.mod"))
        .with_context(|| format!("cannot read {}/go.mod", source.display()))?;
    let go_sum = fs::read(source.join("go.sum")).context("cannot read go.sum")?;
    let ldflags = module.ldflags(&go_mod)?;
    let go_version = go_version(&source)?;
    let mut content: Vec<&[u8]> = vec![
        go_mod.as_bytes(),
        &go_sum,
        go_version.as_bytes(),
        ldflags.as_bytes(),
    ];
    // A module may have a program of our own beside those that it takes from others.
    let program = fs::read(source.join("main.go")).ok();
    content.extend(program.as_deref());
    let key = format!("{}-{}", module.name(), hash(&content));
    let whole = cache.join(&key);
    let done = whole.join("bin");
    if done.is_dir() {
        // It is in use, and stays. Who may not say so may not remove it either.
        let _ = File::open(whole).and_then(|folder| folder.set_modified(SystemTime::now()));
        return Ok(done);
    }
    let step = Step::begin(format!(
        "building {}, {}",
        module.name(),
        module.first_build()
    ));
    let _lock = lock(&cache.join(format!("{key}.lock")), &step)?;
    if !done.is_dir() {
        // Built aside and renamed: an interrupted build leaves nothing that looks whole.
        let aside = cache.join(format!("{key}.building"));
        let _ = fs::remove_dir_all(&aside);
        let bin = aside.join("bin");
        fs::create_dir_all(&bin).with_context(|| format!("cannot create {}", bin.display()))?;
        insist(
            || build(&source, &ldflags, &bin, &step),
            || step.update("trying again"),
        )?;
        let server = bin.join("server");
        if server.exists() {
            // etcd's module names its program so.
            fs::rename(server, bin.join("etcd")).context("cannot rename etcd")?;
        }
        fs::rename(&aside, whole).context("cannot move the built tools in place")?;
        remove_outdated(module, cache, SystemTime::now());
    }
    step.end();
    Ok(done)
}

/// Removes what was built of other versions of this module, and was not asked for in the last 14 days. What cannot
/// be removed stays: nothing depends on it.
fn remove_outdated(module: Module, cache: &Path, now: SystemTime) {
    const KEPT: Duration = Duration::from_secs(14 * 24 * 60 * 60);
    for entry in fs::read_dir(cache).into_iter().flatten().flatten() {
        let (name, folder) = (entry.file_name(), entry.path());
        if !name.to_str().is_some_and(|name| is_built_of(module, name)) {
            continue;
        }
        let asked_for = entry.metadata().and_then(|about| about.modified());
        let age = asked_for.map(|at| now.duration_since(at).unwrap_or_default());
        if age.is_ok_and(|age| age > KEPT) && !process::runs_from(&folder) {
            // Renamed first: an interrupted removal leaves nothing that looks whole.
            let aside = folder.with_added_extension("building");
            let _ = fs::remove_dir_all(&aside);
            let _ = fs::rename(&folder, &aside)
                .and_then(|()| fs::remove_dir_all(&aside))
                .and_then(|()| fs::remove_file(folder.with_added_extension("lock")));
        }
    }
}

/// Whether a folder of this name has tools of this module, of any version.
fn is_built_of(module: Module, name: &str) -> bool {
    let rest = name.strip_prefix(module.name());
    let hash = rest.and_then(|rest| rest.strip_prefix('-'));
    hash.is_some_and(|hash| {
        hash.len() == 16 && hash.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
    })
}

fn go_version(source: &Path) -> Result<String> {
    let mut command = Command::new("go");
    command.args(["env", "GOVERSION"]).current_dir(source);
    if command.output().is_err() {
        bail!(
            "the lab needs Go to build Kubernetes: install it (apt-get install golang-go, or from go.dev/dl)"
        );
    }
    // A newer Go that go.mod wants is fetched here.
    let said = insist(|| crate::command::stdout_of(&mut command, ""), || {})?;
    Ok(said.trim().to_owned())
}

fn hash(parts: &[&[u8]]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part.len().to_le_bytes());
        hasher.update(part);
    }
    hasher
        .finalize()
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn lock(path: &Path, step: &Step) -> Result<File> {
    let file = File::create(path).with_context(|| format!("cannot open {}", path.display()))?;
    if let Err(TryLockError::WouldBlock) = file.try_lock() {
        step.update("waiting for another build");
    }
    file.lock()
        .with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(file)
}

fn build(source: &Path, ldflags: &str, bin: &Path, step: &Step) -> Result<()> {
    let mut child = Command::new("go")
        // -v: a line on standard error for each package that is compiled.
        .args(["build", "-v", "-trimpath", "-ldflags", ldflags, "-o"])
        .arg(bin)
        .arg("tool")
        .current_dir(source)
        .env("CGO_ENABLED", "0")
        .env("GOWORK", "off")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run go build")?;
    let said = follow(&mut child, step);
    let status = child.wait().context("cannot wait for go build")?;
    if !status.success() {
        bail!(
            "go build in {} failed ({status}):\n{}",
            source.display(),
            said.join("\n")
        );
    }
    Ok(())
}

/// Shows how far a build is until it closes its standard error; returns what was said that is not
/// about progress.
fn follow(build: &mut Child, step: &Step) -> Vec<String> {
    /// How often the elapsed time moves on.
    const TICK: Duration = Duration::from_secs(1);
    let (lines, heard) = mpsc::channel();
    let stderr = build.stderr.take();
    let reader = std::thread::spawn(move || {
        for line in stderr
            .into_iter()
            .flat_map(|stderr| BufReader::new(stderr).lines())
            .flatten()
        {
            if lines.send(line).is_err() {
                return;
            }
        }
    });
    let (mut modules, mut packages, mut said) = (0_u32, 0_u32, Vec::new());
    loop {
        match heard.recv_timeout(TICK) {
            Ok(line) if line.starts_with("go: downloading ") => modules += 1,
            Ok(line) if is_package(&line) => packages += 1,
            Ok(line) => said.push(line),
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        }
        step.update(&format!(
            "{modules} modules fetched, {packages} packages compiled"
        ));
    }
    // It has nothing more to send.
    let _ = reader.join();
    said
}

/// `go build -v` writes import paths, one a line; a complaint has spaces.
fn is_package(line: &str) -> bool {
    !line.is_empty() && !line.starts_with('#') && !line.contains(char::is_whitespace)
}
