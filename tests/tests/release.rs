//! A release, made, pushed to a real registry, and installed from there.
//!
//! The last test needs root.

use std::cell::RefCell;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use ferrolb_tests::command::stdout_of;
use ferrolb_tests::image::{Architecture, write_index};
use ferrolb_tests::lab::Lab;
use ferrolb_tests::release::{self, CHARTS, Registry, VERSION};
use ferrolb_tests::tools::{Module, Tools};
use ferrolb_tests::wait::wait_until;
use ferrolb_tests::{manifests, registry, walk};
use serde_json::Value;
use tempfile::TempDir;

const NAMES: [&str; 4] = ["controller", "speaker", "keeper", "walk-app"];

/// It listens after 0.1 s.
const LISTENS_WITHIN: Duration = Duration::from_secs(30);

#[test]
fn a_release_has_every_file_under_its_digest_and_says_what_was_left_out() -> Result<()> {
    let (folder, said) = made()?;
    let mut check = Command::new("sha256sum");
    check.args(["--strict", "--check", "SHA256SUMS"]);
    let checked = stdout_of(check.current_dir(folder.path()), "")?;
    for entry in fs::read_dir(folder.path())? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name != "SHA256SUMS" {
            ensure!(checked.contains(&format!("{name}: OK\n")), "{name}");
            ensure!(said.contains(&name), "{name} is not listed:\n{said}");
        }
    }
    for archive in ["linux-arm64.tar.gz", "windows-amd64.zip"] {
        let archive = format!("kubectl-ferrolb-{archive}");
        let there = folder.path().join(&archive).exists();
        let (_, left_out) = said.split_once("images, by").context("no digests")?;
        ensure!(there != left_out.contains(&archive), "{archive}:\n{said}");
    }
    let index: Value = serde_yaml::from_str(&read(&folder, "index.yaml")?)?;
    let chart = &index["entries"]["ferrolb"][0];
    ensure!(chart["version"] == VERSION, "{index}");
    let url = format!("/releases/download/v{VERSION}/ferrolb-{VERSION}.tgz");
    let urls = chart["urls"].to_string();
    ensure!(urls.contains(&url), "{urls}");
    let manifest = read(&folder, "ferrolb.yaml")?;
    let notes = read(&folder, "RELEASE_NOTES.md")?;
    for name in NAMES {
        let pinned = format!("ghcr.io/ferrolb/{name}:{VERSION}@{}", digest(&said, name)?);
        ensure!(notes.contains(&pinned), "{notes}");
        ensure!(
            ["walk-app", "keeper"].contains(&name) || manifest.contains(&pinned),
            "{manifest}"
        );
    }
    Ok(())
}

#[test]
fn a_tag_of_another_version_makes_no_release() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let refused = release::make(&folder.path().join("release"), Some("v99.0.0"));
    let refused = refused.err().context("it made one")?.to_string();
    ensure!(refused.contains("tag v99.0.0 is not"), "{refused}");
    ensure!(
        fs::read_dir(folder.path())?.next().is_none(),
        "it left something"
    );
    Ok(())
}

#[test]
fn the_same_programs_give_the_same_archive_for_all_machines() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut all = Vec::new();
    for architecture in Architecture::ALL {
        let [(_, page), ..] = walk::published(architecture)?;
        all.push((architecture, page.pack()?));
    }
    let written = ["once", "again"].map(|name| {
        let to = folder.path().join(name);
        let digest = write_index("ghcr.io/ferrolb/walk-app:1", &all, &to)?;
        anyhow::Ok((digest, fs::read(to)?))
    });
    let [once, again] = written;
    ensure!(once? == again?);
    Ok(())
}

#[test]
fn a_registry_gets_each_image_for_all_machines_under_the_digest_that_was_said_and_the_chart()
-> Result<()> {
    let (folder, said) = made()?;
    let server = Server::start()?;
    let place = server.place.clone();
    let to = format!("{place}/some/path");
    let pushing = Registry {
        place: &to,
        plain_http: true,
        command: &|program| Command::new(program),
    };
    pushing.push(folder.path())?;
    // As after a run that broke off.
    let pushed = pushing.push(folder.path())?;
    for name in NAMES {
        let api = format!("http://{place}/v2/some/path/{name}");
        let index = get(&format!("{api}/manifests/{}", digest(&said, name)?))?;
        ensure!(
            index == get(&format!("{api}/manifests/{VERSION}"))?,
            "{name}: the tag is another"
        );
        let line = format!("pushed {to}/{name}@{}\n", digest(&said, name)?);
        ensure!(pushed.contains(&line), "{pushed}");
        let index: Value = serde_json::from_str(&index)?;
        let manifests = index["manifests"].as_array().context("no index")?;
        let machines: Vec<_> = manifests
            .iter()
            .filter_map(|one| one["platform"]["architecture"].as_str())
            .collect();
        ensure!(machines == ["amd64", "arm64"], "{name}: {machines:?}");
        for one in manifests {
            let by_digest = one["digest"].as_str().context("no digest")?;
            let one: Value = serde_json::from_str(&get(&format!("{api}/manifests/{by_digest}"))?)?;
            for blob in [&one["config"], &one["layers"][0]] {
                let blob = blob["digest"].as_str().context("no digest")?;
                let head = stdout_of(
                    Command::new("curl").args(["-sfI", &format!("{api}/blobs/{blob}")]),
                    "",
                );
                head.with_context(|| format!("{name}: blob {blob}"))?;
            }
        }
    }
    let pulled = tempfile::tempdir()?;
    let helm = Tools::ensure(&[Module::Kubernetes])?.binary("helm")?;
    let mut helm = Command::new(helm);
    helm.args(["pull", &format!("oci://{to}/{CHARTS}/ferrolb")])
        .args(["--version", VERSION, "--plain-http", "--destination"]);
    stdout_of(helm.arg(pulled.path()), "")?;
    let chart = format!("ferrolb-{VERSION}.tgz");
    ensure!(fs::read(pulled.path().join(&chart))? == fs::read(folder.path().join(&chart))?);

    drop(server);
    let refused = pushing.push(folder.path()).err();
    let refused = format!("{:#}", refused.context("nobody listens")?);
    ensure!(refused.contains(&format!("cannot push {to}/")), "{refused}");
    Ok(())
}

#[test]
fn a_cluster_is_installed_from_a_registry_and_pulls_the_images_by_digest() -> Result<()> {
    let (folder, said) = made()?;
    Lab::builder("registry").nodes(2).run(|lab| {
        let client = lab.client()?;
        let place = format!("{}:5000", client.ipv4);
        let config = registry::write_config(&lab.state().subdir("registry")?, &place)?;
        lab.spawn(
            client
                .process("registry", registry::program())
                .args(["serve", &config.to_string_lossy()]),
        )?;
        wait_until(
            LISTENS_WITHIN,
            || {
                Ok(client
                    .command("curl")
                    .args(["-sf", &format!("http://{place}/v2/")])
                    .output()?
                    .status
                    .success())
            },
            || lab.check_alive("registry"),
        )?;
        let pushing = Registry {
            place: &place,
            plain_http: true,
            command: &|program| client.command(program),
        };
        pushing.push(folder.path())?;
        lab.pull_without_tls_from(&place)?;
        lab.helm(&[
            "install",
            "ferrolb",
            &format!("oci://{place}/{CHARTS}/ferrolb"),
            "--version",
            VERSION,
            "--plain-http",
            "--namespace=metallb-system",
            "--create-namespace",
            "--wait",
            "--timeout=120s",
            "--values",
            &folder.path().join("values-digests.yaml").to_string_lossy(),
            "--set",
            &format!("controller.image.repository={place}/controller"),
            "--set",
            &format!("speaker.image.repository={place}/speaker"),
        ])?;
        walk::wait_installed(lab)?;
        pods_run_the_images(lab, &place, &said)?;

        // The same objects without helm.
        lab.helm(&[
            "uninstall",
            "ferrolb",
            "--namespace=metallb-system",
            "--wait",
            "--cascade=foreground",
        ])?;
        let overlay = overlay(&place, &said)?;
        lab.kubectl(&["apply", "-k", &overlay.path().to_string_lossy()])?;
        walk::wait_installed(lab)?;
        pods_run_the_images(lab, &place, &said)
    })
}

fn pods_run_the_images(lab: &Lab, place: &str, said: &str) -> Result<()> {
    for component in ["controller", "speaker"] {
        let ids = lab.kubectl(&[
            "get",
            "pods",
            "--namespace=metallb-system",
            "--selector",
            &format!("app.kubernetes.io/component={component}"),
            "--output=jsonpath={.items[*].status.containerStatuses[*].imageID}",
        ])?;
        let wanted = format!("{place}/{component}@{}", digest(said, component)?);
        let ids: Vec<&str> = ids.split_whitespace().collect();
        ensure!(
            ids == [&wanted, &wanted],
            "{component}: {ids:?}, not {wanted}"
        );
    }
    Ok(())
}

/// A kustomization on top of `deploy/`, as docs/install.md shows it, with images of this registry.
fn overlay(place: &str, said: &str) -> Result<TempDir> {
    let folder = tempfile::tempdir()?;
    manifests::write(&folder.path().join("base"))?;
    let mut text = "resources: [base]\nimages:\n".to_owned();
    for component in ["controller", "speaker"] {
        text.push_str(&format!(
            "- name: ghcr.io/ferrolb/{component}\n  newName: {place}/{component}\n  digest: {}\n",
            digest(said, component)?
        ));
    }
    fs::write(folder.path().join(manifests::KUSTOMIZATION), text)?;
    Ok(folder)
}

/// A release of what is built, and what was said of it.
fn made() -> Result<(TempDir, String)> {
    let folder = tempfile::tempdir()?;
    let said = release::make(folder.path(), None)?;
    Ok((folder, said))
}

/// The digest of an image's index, as a release says it.
fn digest<'a>(said: &'a str, name: &str) -> Result<&'a str> {
    let place = format!("ghcr.io/ferrolb/{name}@");
    let found = said
        .lines()
        .find_map(|line| line.trim().strip_prefix(&place));
    found.with_context(|| format!("no digest of {name}:\n{said}"))
}

fn read(folder: &TempDir, name: &str) -> Result<String> {
    fs::read_to_string(folder.path().join(name)).with_context(|| name.to_owned())
}

fn get(url: &str) -> Result<String> {
    let accepted = "Accept: application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json";
    stdout_of(Command::new("curl").args(["-sf", "-H", accepted, url]), "")
}

/// A registry on the loopback interface. It ends with this value.
struct Server {
    process: Child,
    place: String,
    _folder: TempDir,
}

impl Server {
    /// Where nobody listens. Before it does, somebody else may: then it is tried elsewhere.
    fn start() -> Result<Self> {
        let start = || {
            let free = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
            Self::start_at(&free.to_string())
        };
        start().or_else(|_| start()).or_else(|_| start())
    }

    fn start_at(place: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let config = registry::write_config(folder.path(), place)?;
        let log = fs::File::create(folder.path().join("log"))?;
        let mut command = Command::new(registry::program());
        command
            .arg("serve")
            .arg(&config)
            .stdout(log.try_clone()?)
            .stderr(log);
        let mut server = Self {
            process: command
                .spawn()
                .context("cannot start docker-registry: `make setup` brings it")?,
            place: place.to_owned(),
            _folder: folder,
        };
        let process = RefCell::new(&mut server.process);
        wait_until(
            LISTENS_WITHIN,
            || Ok(get(&format!("http://{place}/v2/")).is_ok()),
            || match process.borrow_mut().try_wait()? {
                None => Ok(()),
                Some(status) => bail!("the registry ended ({status}): {}", log_of(&config)),
            },
        )?;
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has nothing to lose.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn log_of(config: &Path) -> String {
    fs::read_to_string(config.with_file_name("log")).unwrap_or_default()
}
