//! From a MetalLB that serves to FerroLB, as docs/migrate-from-metallb.md says it: on nodes with kubelets,
//! with MetalLB's own programs.

use std::fs;

use anyhow::{Context, Result, ensure};
use ferrolb_tests::command::stdout_of;
use ferrolb_tests::image::{self, Image};
use ferrolb_tests::lab::Lab;
use ferrolb_tests::tools::{Module, Tools};
use ferrolb_tests::walk::{self, INSTALL, SPREAD, in_workspace, page_from_the_lan, places};

const MANIFEST: &str = include_str!("addon/metallb.yaml");
const MEMBERLIST: &str = include_str!("switch/memberlist.yaml");
const MEMBERLIST_ENV: &str = "env:
            - name: METALLB_ML_BIND_ADDR
              valueFrom:
                fieldRef:
                  fieldPath: status.podIP
            - name: METALLB_ML_LABELS
              value: app=metallb,component=speaker
";
const CONFIG: &str = "address-pools:
- name: default
  protocol: layer2
  addresses:
  - 192.168.64.240-192.168.64.250
";
/// What MetalLB 0.13 and later are configured by.
const OBJECTS: &str = "../cli/src/migrate/fixtures/objects.yaml";

#[test]
fn a_switch_from_a_metallb_that_runs_keeps_every_address_on_its_node() -> Result<()> {
    Lab::builder("switch").nodes(3).run(|lab| {
        lab.load_images(&metallb()?)?;
        lab.load_images(&walk::images()?)?;
        lab.apply(&of_metallb())?;
        let config = format!("--from-literal=config={CONFIG}");
        lab.kubectl(&[
            "-n",
            "metallb-system",
            "create",
            "configmap",
            "config",
            &config,
        ])?;
        for workload in ["deployment/controller", "daemonset/speaker"] {
            walk::wait_rolled_out(lab, workload)?;
        }
        let before = walk::spread(lab)?;

        let migrated = migrate(lab, &[])?;
        let refused = helm_install(lab).unwrap_err().to_string();
        ensure!(refused.contains("MetalLB (DaemonSet"), "{refused}");
        let theirs = ["delete", "daemonset/speaker", "deployment/controller"];
        let theirs = [&["-n", "metallb-system"], &theirs[..]].concat();
        lab.kubectl(&[&theirs[..], &["--wait", "--cascade=foreground"]].concat())?;
        helm_install(lab)?;
        walk::wait_installed(lab)?;
        lab.apply(&migrated)?;
        assert_eq!(
            places(lab, &SPREAD)?,
            before,
            "every address stays where it is"
        );
        page_from_the_lan(lab, before["test-lb"].0, 30_000)?;

        objects_are_read_in_a_cluster_as_they_are_in_a_file(lab)
    })
}

/// MetalLB's images, made of its own programs.
fn metallb() -> Result<Vec<Image>> {
    let tools = Tools::ensure(&[Module::MetalLb])?;
    let image = |component| {
        let binary = tools.binary(component)?;
        Ok(image::metallb(component, "v0.12.1", &binary))
    };
    ["controller", "speaker"].into_iter().map(image).collect()
}

/// The manifest of the addon with them, and with speakers that look for each other.
fn of_metallb() -> String {
    let mut manifest = MANIFEST.replacen("env:\n", MEMBERLIST_ENV, 1);
    for component in ["controller", "speaker"] {
        manifest = manifest.replace(
            &format!("ghcr.io/ferrolb/{component}:0.1.0"),
            &format!("quay.io/metallb/{component}:v0.12.1"),
        );
    }
    format!("{manifest}\n---\n{MEMBERLIST}")
}

fn helm_install(lab: &Lab) -> Result<String> {
    let mut helm = lab.helm_command()?;
    stdout_of(in_workspace(&mut helm).args(INSTALL), "")
}

fn migrate(lab: &Lab, files: &[&str]) -> Result<String> {
    let done = lab.plugin(&[&["migrate"], files].concat())?;
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    ensure!(done.status.success(), "{said}");
    String::from_utf8(done.stdout).context("no text")
}

fn objects_are_read_in_a_cluster_as_they_are_in_a_file(lab: &Lab) -> Result<()> {
    // The chart has their definitions.
    lab.wait_for_kinds()?;
    let file = format!("{}/{OBJECTS}", env!("CARGO_MANIFEST_DIR"));
    // Of an object that is yet to be created nobody knows a version.
    let objects = fs::read_to_string(&file)?;
    let objects: Vec<_> = objects
        .lines()
        .filter(|line| !line.contains("resourceVersion"))
        .collect();
    lab.apply(&objects.join("\n"))?;
    // The API server lists them in another order.
    let sorted = |text: String| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(migrate(lab, &[])?), sorted(migrate(lab, &[&file])?));
    Ok(())
}
