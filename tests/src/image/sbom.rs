//! What a program of ours is made of, as a CycloneDX bill of materials: the crates that cargo links
//! into it, with versions, licences and the checksums of `Cargo.lock`. No time and no serial number:
//! the same source gives the same bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::Architecture;
use crate::command::stdout_of;
use crate::workspace;

/// The bill of a package's program, for the machines that the image is for.
pub fn sbom(package: &str, architecture: Architecture) -> Result<Value> {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(workspace()).args([
        "tree",
        "--locked",
        "--package",
        package,
        // Macros and build scripts run at build time; nothing of them is in the program.
        "--edges=normal,no-proc-macro",
        "--target",
        architecture.target(),
        "--prefix=none",
        "--format={p}|{l}",
    ]);
    let tree = stdout_of(&mut cargo, "")?;
    let lock = workspace().join("Cargo.lock");
    let lock =
        fs::read_to_string(&lock).with_context(|| format!("cannot read {}", lock.display()))?;
    bill(package, &tree, &checksums(&lock))
}

fn bill(
    package: &str,
    tree: &str,
    checksums: &BTreeMap<(String, String), String>,
) -> Result<Value> {
    let crates: BTreeSet<_> = tree.lines().filter_map(crate_of).collect();
    let own = crates
        .iter()
        .find(|(name, ..)| *name == package)
        .with_context(|| format!("cargo tree does not know {package}"))?;
    let components: Vec<_> = crates
        .iter()
        .filter(|one| *one != own)
        .map(|one| component("library", one, checksums))
        .collect();
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": { "component": component("application", own, checksums) },
        "components": components,
    }))
}

/// Name, version and licence.
type Crate<'a> = (&'a str, &'a str, &'a str);

/// `serde v1.0.229|MIT OR Apache-2.0`, with the path of a crate of ours behind its version and `(*)`
/// at the end of one that was listed already.
fn crate_of(line: &str) -> Option<Crate<'_>> {
    let (package, licence) = line.split_once('|')?;
    let mut words = package.split_whitespace();
    let name = words.next()?;
    let version = words.next()?.strip_prefix('v')?;
    Some((name, version, licence.trim_end_matches("(*)").trim()))
}

fn component(
    kind: &str,
    (name, version, licence): &Crate<'_>,
    checksums: &BTreeMap<(String, String), String>,
) -> Value {
    let mut component = json!({
        "type": kind,
        "name": name,
        "version": version,
        "purl": format!("pkg:cargo/{name}@{version}"),
        // Older crates write the alternative as a slash, which is no SPDX expression.
        "licenses": [{ "expression": licence.replace('/', " OR ") }],
    });
    if let Some(checksum) = checksums.get(&((*name).to_owned(), (*version).to_owned())) {
        component["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
    }
    component
}

/// The checksums of a `Cargo.lock`, by name and version.
fn checksums(lock: &str) -> BTreeMap<(String, String), String> {
    let value = |block: &str, key: &str| {
        let line = block.lines().find_map(|line| line.strip_prefix(key))?;
        Some(line.trim_start_matches(" = ").trim_matches('"').to_owned())
    };
    let package = |block: &str| {
        let key = (value(block, "name")?, value(block, "version")?);
        Some((key, value(block, "checksum")?))
    };
    lock.split("[[package]]").filter_map(package).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bill_names_each_crate_once_with_its_licence_and_checksum() {
        let tree = "ferrolb-speaker v0.1.0 (/src/speaker)|Apache-2.0\n\
                    serde v1.0.229|MIT OR Apache-2.0\n\
                    old v0.1.2|MIT/Apache-2.0\n\
                    serde v1.0.229|MIT OR Apache-2.0 (*)\n";
        let lock = "version = 4\n\n[[package]]\nname = \"serde\"\nversion = \"1.0.229\"\n\
                    source = \"registry\"\nchecksum = \"abc\"\n";
        let bill = bill("ferrolb-speaker", tree, &checksums(lock)).unwrap();
        assert_eq!(bill["metadata"]["component"]["name"], "ferrolb-speaker");
        let components = bill["components"].as_array().unwrap();
        let names: Vec<_> = components.iter().map(|one| &one["name"]).collect();
        assert_eq!(names, ["old", "serde"]);
        assert_eq!(
            components[0]["licenses"][0]["expression"],
            "MIT OR Apache-2.0"
        );
        assert_eq!(components[1]["hashes"][0]["content"], "abc");
        assert_eq!(components[1]["purl"], "pkg:cargo/serde@1.0.229");
    }
}
