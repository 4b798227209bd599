//! The images that this project publishes, as `make images` writes them.

use std::fs;

use anyhow::{Context, Result, ensure};
use ferrolb_tests::image::sbom;
use ferrolb_tests::walk::own_images;

/// What a node has to load and to keep, uncompressed.
const LIMIT: u64 = 8 << 20;

#[test]
fn the_image_of_each_daemon_fits_into_8_mib() -> Result<()> {
    for (name, image) in own_images()? {
        let packed = image.pack()?;
        let size = fs::metadata(&packed)?.len();
        ensure!(
            size <= LIMIT,
            "image {name} has {size} bytes, and {LIMIT} are allowed: see profile.release in Cargo.toml \
             (a build for debugging is larger)"
        );
    }
    Ok(())
}

#[test]
fn packing_a_daemon_twice_gives_the_same_digest() -> Result<()> {
    for (name, image) in own_images()? {
        let (once, again) = (tempfile::tempdir()?, tempfile::tempdir()?);
        let pack = |dir: &tempfile::TempDir| anyhow::Ok(fs::read(image.pack_into(dir.path())?)?);
        ensure!(pack(&once)? == pack(&again)?, "{name} differs");
    }
    Ok(())
}

#[test]
fn the_bill_of_materials_of_a_daemon_names_what_is_in_it_and_nothing_that_only_built_it()
-> Result<()> {
    let bill = sbom("ferrolb-speaker")?;
    let components = bill["components"].as_array().context("no components")?;
    let has = |name: &str| components.iter().any(|one| one["name"] == name);
    for linked in ["ferrolb-core", "rustls", "tokio"] {
        ensure!(has(linked), "{linked} is linked into the speaker");
    }
    for absent in ["serde_derive", "cc", "insta", "ferrolb-controller"] {
        ensure!(!has(absent), "{absent} is not in the speaker");
    }
    ensure!(
        sbom("ferrolb-speaker")? == bill,
        "asked twice, it says the same"
    );
    Ok(())
}
