//! An installation from its beginning to its end, on nodes with kubelets and containers: what users
//! do to it, and what must not be lost meanwhile.

mod install {
    pub(super) mod rebalance;
    pub(super) mod two_classes;
}

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use ferrolb_tests::command::stdout_of;
use ferrolb_tests::daemon::NAMESPACE;
use ferrolb_tests::lab::Lab;
use ferrolb_tests::lifetime::Lifetime;
use ferrolb_tests::net::Host;
use ferrolb_tests::stage::Stage;
use ferrolb_tests::wait::wait_until;
use ferrolb_tests::walk::{self, PATIENCE, answering_macs, external_ip};

use install::rebalance::Spread;
use install::two_classes;

/// There is no such pool: somebody who waits is worth a metric, too.
const WAITS: &str = include_str!("install/waits.yaml");

/// Of the range in `config-range.yaml`, one that MetalLB gave before we came.
const METALLBS: Ipv4Addr = Ipv4Addr::new(192, 168, 64, 247);

#[test]
fn an_installation_loses_nothing_from_its_first_day_to_its_last() -> Result<()> {
    Lab::builder("install").nodes(3).run(|lab| {
        let stage = Stage::of_a_test();
        let life = Lifetime::new(lab, &stage, Path::new(env!("CARGO_BIN_EXE_lab")))?;
        a_service_that_metallb_left(lab)?;
        assert_eq!(lab.plugin(&["check", "--pre"])?.status.code(), Some(0));
        assert_eq!(
            lab.plugin(&["check"])?.status.code(),
            Some(1),
            "nothing runs yet"
        );
        life.install()?;
        life.deploy()?;
        life.configure()?;
        assert_eq!(external_ip(lab, "left-by-metallb")?, METALLBS);
        life.fetch()?;
        let address = external_ip(lab, "test-lb")?;

        let well = lab.plugin(&["status", "--wait"])?;
        assert_eq!(well.status.code(), Some(0), "{well:?}");
        let checked = lab.plugin(&["check"])?;
        assert_eq!(checked.status.code(), Some(0), "{checked:?}");
        lab.apply(WAITS)?;
        let refused = || {
            let services = lab.plugin(&["services", "--problems"])?;
            Ok(String::from_utf8_lossy(&services.stdout).contains("unknown_pool"))
        };
        wait_until(PATIENCE, refused, || Ok(())).context("the controller has not judged it")?;
        let checked = lab.plugin(&["check"])?;
        let said = String::from_utf8_lossy(&checked.stdout);
        assert_eq!(checked.status.code(), Some(1), "somebody waits: {said}");
        assert_eq!(said.matches("PROBLEM").count(), 1, "{said}");
        assert!(said.contains("unknown_pool: default/waits"), "{said}");
        // A client that has heard the announcement may not ask, and questions are counted, too.
        assert_eq!(answering_macs(lab, address)?.len(), 1);
        life.upgrade()?;
        the_charts_test_hears_who_answers_and_that_nobody_does(lab, address)?;
        every_speaker_can_tell_who_answers(lab, address)?;
        let spread = Spread::create(lab)?;
        let returned = life.lose_a_node()?;
        spread.goes_to_a_returned_node_only_when_asked(&returned)?;
        life.drain()?;
        life.drain_and_keep()?;
        a_dump_has_everything_but_the_speakers_key(lab)?;

        let kept = life.uninstall()?;
        life.install_again(&kept)?;

        cleanup_takes_our_addresses_and_no_others(&life, lab)?;
        two_classes::serve_apart_and_leave_nothing(&life, lab)
    })
}

/// A status as MetalLB's controller writes it, for a Service that nobody serves at the moment.
fn a_service_that_metallb_left(lab: &Lab) -> Result<()> {
    lab.kubectl(&[
        "create",
        "service",
        "loadbalancer",
        "left-by-metallb",
        "--tcp=80",
    ])?;
    let status =
        format!(r#"{{"status":{{"loadBalancer":{{"ingress":[{{"ip":"{METALLBS}"}}]}}}}}}"#);
    lab.kubectl(&[
        "patch",
        "service/left-by-metallb",
        "--subresource=status",
        "--field-manager=controller",
        "--type=merge",
        "-p",
        &status,
    ])?;
    Ok(())
}

fn the_charts_test_hears_who_answers_and_that_nobody_does(
    lab: &Lab,
    address: Ipv4Addr,
) -> Result<()> {
    let test = ["test", "ferrolb", "-n", NAMESPACE, "--timeout=120s"];
    lab.helm(&test)?;
    // A node that nobody has.
    let elsewhere = r#"{"spec":{"template":{"spec":{"nodeSelector":{"nowhere":"1"}}}}}"#;
    let nowhere = r#"{"spec":{"template":{"spec":{"nodeSelector":{"nowhere":null}}}}}"#;
    let select = |patch: &str| {
        let patch = ["patch", "daemonset/ferrolb-speaker", "-p", patch];
        lab.kubectl(&[&["-n", NAMESPACE], &patch[..]].concat())
    };
    select(elsewhere)?;
    let speakers = "--selector=app.kubernetes.io/component=speaker";
    let gone = ["wait", "--for=delete", "pods", speakers, "--timeout=120s"];
    lab.kubectl(&[&["-n", NAMESPACE], &gone[..]].concat())?;
    ensure!(lab.helm(&test).is_err(), "nobody announces anything");
    let asked = "--selector=app.kubernetes.io/component=test";
    let logs = ["-n", NAMESPACE, "logs", asked, "--tail=-1"];
    let nobody = format!("nobody answers for {address}");
    // One pod that fails is enough for helm; another one may only be starting, and has no log yet.
    let said = || Ok(lab.kubectl(&logs).is_ok_and(|said| said.contains(&nobody)));
    wait_until(PATIENCE, said, || Ok(())).with_context(|| format!("{:?}", lab.kubectl(&logs)))?;
    select(nowhere)?;
    walk::wait_installed(lab)?;
    // A speaker is ready before it announces.
    for service in ["test-lb", "echo"] {
        answering_macs(lab, external_ip(lab, service)?)?;
    }
    lab.helm(&test).map(drop)
}

fn every_speaker_can_tell_who_answers(lab: &Lab, address: Ipv4Addr) -> Result<()> {
    let owner = owner_of(lab, address)?;
    for node in lab.nodes() {
        let who = [
            "who",
            &address.to_string(),
            "--node",
            &node.name,
            "-o",
            "json",
        ];
        let said = lab.plugin(&who)?;
        ensure!(said.status.success(), "{said:?}");
        let said: serde_json::Value = serde_json::from_slice(&said.stdout)?;
        let named = match node.name == owner.name {
            true => &said["announcedByAsker"],
            false => &said["stations"][0]["node"],
        };
        ensure!(named == owner.name.as_str(), "{}: {said}", node.name);
    }
    Ok(())
}

fn owner_of(lab: &Lab, address: Ipv4Addr) -> Result<&Host> {
    let macs = answering_macs(lab, address)?;
    let mut nodes = lab.nodes().into_iter();
    let owner = nodes.find(|node| macs.contains(&node.mac));
    owner.context("nobody announces the address")
}

fn a_dump_has_everything_but_the_speakers_key(lab: &Lab) -> Result<()> {
    walk::wait_installed(lab)?;
    let home = tempfile::tempdir()?;
    let archive = home.path().join("dump.tar.gz");
    let dumped = lab.plugin(&["dump", &archive.to_string_lossy()])?;
    assert_eq!(dumped.status.code(), Some(0), "{dumped:?}");
    let mut tar = Command::new("tar");
    stdout_of(tar.arg("-xzf").arg(&archive).current_dir(&home), "")?;
    let folder = home.path().join("dump");
    let text = |path: &Path| std::fs::read_to_string(path).context("no text");
    let files = std::fs::read_dir(&folder)?;
    let files: Vec<_> = files
        .map(|file| file.map(|file| file.path()))
        .collect::<Result<_, _>>()?;
    let ends = |end: &str| {
        let named = files
            .iter()
            .filter(|path| path.to_string_lossy().ends_with(end));
        named.count()
    };
    // Two controllers and three speakers.
    for kind in [".log", ".status.json", ".metrics.txt"] {
        ensure!(ends(kind) >= 5, "{kind}: {files:?}");
    }
    ensure!(text(&folder.join("services.yaml"))?.contains("test-lb"));
    ensure!(text(&folder.join("config.yaml"))?.contains("address-pools"));
    let secret = ["get", "secret/ferrolb-peers", "-o", "jsonpath={.data.*}"];
    let secret = lab.kubectl(&[&["-n", NAMESPACE], &secret[..]].concat())?;
    ensure!(!secret.is_empty());
    for path in &files {
        let text = text(path)?;
        let leaked = secret.split_whitespace().any(|key| text.contains(key));
        ensure!(!leaked, "{} has the speakers' key", path.display());
    }
    Ok(())
}

fn cleanup_takes_our_addresses_and_no_others(life: &Lifetime<'_>, lab: &Lab) -> Result<()> {
    let refused = lab.plugin(&["cleanup", "--yes"])?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(said.contains("uninstall it first"), "{said}");
    let shown = life.clean_up()?;
    ensure!(
        shown.contains("test-lb") && !shown.contains("left-by-metallb"),
        "{shown}"
    );
    let status = |service| {
        lab.kubectl(&[
            "get",
            "service",
            service,
            "-o",
            "jsonpath={.status.loadBalancer}",
        ])
    };
    assert_eq!(status("test-lb")?, "{}");
    assert!(status("left-by-metallb")?.contains("192.168.64.247"));
    assert_eq!(
        lab.plugin(&["cleanup"])?.status.code(),
        Some(0),
        "nothing is left to do"
    );
    Ok(())
}
