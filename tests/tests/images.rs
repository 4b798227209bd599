//! The images that this project publishes, as `make images` writes them.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use ferrolb_tests::command::stdout_of;
use ferrolb_tests::debian;
use ferrolb_tests::image::{Architecture, sbom};
use ferrolb_tests::walk::published;
use serde_json::Value;

/// What a node has to load and to keep, uncompressed. The speaker has the protocol and the wire beside
/// what the controller has.
fn limit(name: &str) -> u64 {
    match name {
        "speaker" => (17 << 20) / 2,
        "keeper" => 3 << 20,
        _ => 8 << 20,
    }
}

#[test]
fn the_images_of_controller_speaker_and_keeper_fit_into_8_mib_8_and_a_half_and_3() -> Result<()> {
    for architecture in Architecture::ALL {
        for (name, image) in published(architecture)? {
            let packed = image.pack()?;
            let (size, limit) = (fs::metadata(&packed)?.len(), limit(name));
            ensure!(
                size <= limit,
                "image {name} for {architecture:?} has {size} bytes, and {limit} are allowed: see \
                 profile.release in Cargo.toml"
            );
        }
    }
    Ok(())
}

#[test]
fn packing_a_daemon_twice_gives_the_same_digest() -> Result<()> {
    for (name, image) in published(Architecture::HERE)? {
        let (once, again) = (tempfile::tempdir()?, tempfile::tempdir()?);
        let pack = |dir: &tempfile::TempDir| anyhow::Ok(fs::read(image.pack_into(dir.path())?)?);
        ensure!(pack(&once)? == pack(&again)?, "{name} differs");
    }
    Ok(())
}

#[test]
fn the_containerfiles_make_the_same_images() -> Result<()> {
    let room = tempfile::tempdir()?;
    let buildah = |args: &[&str]| {
        let mut command = Command::new(debian::program("buildah"));
        command
            .args(["--storage-driver=vfs", "--root"])
            .arg(room.path().join("root"));
        command.arg("--runroot").arg(room.path().join("run"));
        stdout_of(command.args(args), "")
    };
    let containerfile = workspace("images/Containerfile");
    // Whose signatures an image needs is in /etc, if a container engine is installed. Nothing is pulled here.
    let policy = room.path().join("policy.json");
    fs::write(
        &policy,
        r#"{"default": [{"type": "insecureAcceptAnything"}]}"#,
    )?;
    let policy = format!("--signature-policy={}", policy.display());
    for (name, image) in published(Architecture::HERE)? {
        if name == "walk-app" {
            continue;
        }
        let target = format!("--target={name}");
        let programs = Architecture::HERE.programs();
        let programs = programs.to_string_lossy();
        let bud = [
            "bud",
            "--isolation=chroot",
            &policy,
            "--file",
            &containerfile,
            &target,
        ];
        buildah(&[&bud[..], &["--tag", name, &programs]].concat())?;
        let built = buildah(&["inspect", "--type=image", name])?;
        let built: Value = serde_json::from_str(&built)?;
        let mut built = built["OCIv1"]["config"].clone();
        let labels = built["Labels"].as_object_mut().context("no labels")?;
        labels.retain(|key, _| !key.contains("buildah"));
        let ours = image.run_config();
        for (key, value) in ours.as_object().context("no configuration")? {
            let is_default = *value == "" || *value == "/";
            let same = built[key] == *value || is_default && built[key].is_null();
            ensure!(same, "{name}: {key} is {}, not {value}", built[key]);
        }
    }
    Ok(())
}

#[test]
fn the_programs_for_arm64_start_and_say_what_they_lack() -> Result<()> {
    // What both say without an API server.
    let missing = "failed to infer config";
    for program in ["controller", "speaker"] {
        let mut command = emulated(program)?;
        let said = command
            .args(["--port=0", "--log-format=json", "--namespace=ferrolb"])
            .env("KUBECONFIG", "/nonexistent")
            .env("FERROLB_NODE_NAME", "n1")
            .env("FERROLB_HOST", "127.0.0.1")
            .output()?;
        let log = String::from_utf8(said.stdout)? + &String::from_utf8(said.stderr)?;
        ensure!(
            !said.status.success() && log.contains(missing),
            "{program}: {log}"
        );
    }
    Ok(())
}

/// A program for arm64, run by QEMU where this machine cannot.
fn emulated(program: &str) -> Result<Command> {
    let path = Architecture::Arm64.program(program)?;
    if Architecture::HERE == Architecture::Arm64 {
        return Ok(Command::new(path));
    }
    let mut command = Command::new(debian::program("qemu-aarch64-static"));
    command.arg(path);
    Ok(command)
}

#[test]
fn the_bill_of_materials_of_a_daemon_names_what_is_in_it_and_nothing_that_only_built_it()
-> Result<()> {
    let bill = sbom("ferrolb-speaker", Architecture::HERE)?;
    let components = bill["components"].as_array().context("no components")?;
    let has = |name: &str| components.iter().any(|one| one["name"] == name);
    for linked in ["ferrolb-core", "rustls", "tokio"] {
        ensure!(has(linked), "{linked} is linked into the speaker");
    }
    for absent in ["serde_derive", "cc", "insta", "ferrolb-controller"] {
        ensure!(!has(absent), "{absent} is not in the speaker");
    }
    ensure!(
        sbom("ferrolb-speaker", Architecture::HERE)? == bill,
        "asked twice, it says the same"
    );
    Ok(())
}

#[test]
fn the_image_that_builds_from_source_has_the_toolchain_of_this_project() -> Result<()> {
    let read = |name: &str| fs::read_to_string(workspace(name));
    let toolchain = read("rust-toolchain.toml")?;
    let channel = toolchain
        .lines()
        .find_map(|line| line.strip_prefix("channel = "));
    let channel = channel.context("no channel")?.trim_matches('"');
    let containerfile = read("images/Containerfile.source")?;
    // rustup takes no shorter name for it.
    for line in [
        format!("FROM docker.io/library/rust:{channel}-alpine AS build"),
        format!("ENV RUSTUP_TOOLCHAIN={channel}"),
    ] {
        ensure!(containerfile.lines().any(|one| one == line), "no {line}");
    }
    // From there on it is the other one.
    let (_, images) = containerfile
        .split_once("FROM scratch")
        .context("no image")?;
    let copied = images.replace(
        "--from=build --chmod=0755 /src/target/release/",
        "--chmod=0755 ",
    );
    ensure!(read("images/Containerfile")?.ends_with(&copied), "{copied}");
    Ok(())
}

/// A file of the source tree.
fn workspace(name: &str) -> String {
    format!("{}/../{name}", env!("CARGO_MANIFEST_DIR"))
}
