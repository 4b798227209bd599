//! An installation from its beginning to its end, on nodes with kubelets and containers: what users
//! do to it, and what must not be lost meanwhile.

#![expect(clippy::print_stdout, reason = "what an upgrade cost is worth reading")]

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ferrolb_tests::command::stdout_of;
use ferrolb_tests::image::Image;
use ferrolb_tests::lab::Lab;
use ferrolb_tests::net::Host;
use ferrolb_tests::observe::{FrameObserver, TcpHold, UdpProbe};
use ferrolb_tests::wait::wait_until;
use ferrolb_tests::walk::{
    self, PATIENCE, answering_macs, external_ip, in_workspace, page_from_the_lan,
};

/// An echo of datagrams and connections, behind an address of its own.
const ECHO: &str = include_str!("install/echo.yaml");
const ECHO_IMAGE: &str = "localhost/echo:1";
const ECHO_PORT: u16 = 9000;

const NAMESPACE: &str = "metallb-system";
const RELEASE: [&str; 5] = ["ferrolb", "charts/ferrolb", "-n", NAMESPACE, "--wait"];

/// Of the range in `config-range.yaml`, one that MetalLB gave before we came.
const METALLBS: Ipv4Addr = Ipv4Addr::new(192, 168, 64, 247);

#[test]
fn an_installation_loses_nothing_from_its_first_day_to_its_last() -> Result<()> {
    Lab::builder("install").nodes(3).run(|lab| {
        a_service_that_metallb_left(lab)?;
        assert_eq!(lab.plugin(&["check", "--pre"])?.status.code(), Some(0));
        assert_eq!(
            lab.plugin(&["check"])?.status.code(),
            Some(1),
            "nothing runs yet"
        );
        walk::install(lab)?;
        walk::deploy(lab)?;
        lab.load_images(&[echo_image()?])?;
        lab.apply(ECHO)?;
        walk::apply(lab, &["config-range.yaml"])?;
        assert_eq!(external_ip(lab, "left-by-metallb")?, METALLBS);
        let address = external_ip(lab, "test-lb")?;
        page_from_the_lan(lab, address, 30_000)?;

        let checked = lab.plugin(&["check"])?;
        assert_eq!(checked.status.code(), Some(0), "{checked:?}");
        each_metric_of_alerts_and_dashboard_is_there(lab)?;
        an_upgrade_keeps_the_address_served(lab)?;
        the_charts_test_hears_who_answers_and_that_nobody_does(lab, address)?;
        every_speaker_can_tell_who_answers(lab, address)?;
        a_node_that_dies_is_replaced_and_comes_back(lab, address)?;
        a_drained_node_gives_its_work_away(lab, address)?;
        a_dump_has_everything_but_the_speakers_key(lab)?;

        uninstall(lab)?;
        nothing_is_left_but(lab, &MADE_BY_DAEMONS)?;
        assert_eq!(external_ip(lab, "test-lb")?, address, "statuses stay");
        helm(lab, "install", &[])?;
        page_from_the_lan(lab, address, 30_000)?;
        assert_eq!(external_ip(lab, "test-lb")?, address);

        cleanup_takes_our_addresses_and_no_others(lab)
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

fn each_metric_of_alerts_and_dashboard_is_there(lab: &Lab) -> Result<()> {
    let mut template = lab.helm_command()?;
    in_workspace(&mut template)
        .args(["template", "--kube-version=1.34.4"])
        .args(&RELEASE[..4])
        .args(["--set", "prometheus.prometheusRule.enabled=true"])
        .args(["--set", "grafana.dashboard.enabled=true"]);
    let named = metrics_in(&stdout_of(&mut template, "")?);
    ensure!(named.len() >= 8, "only {named:?} are named");
    let pods = lab.kubectl(&[
        "-n",
        NAMESPACE,
        "get",
        "pods",
        "-o",
        "jsonpath={.items[*].metadata.name}",
    ])?;
    let shown = || {
        let mut shown = BTreeSet::new();
        for pod in pods.split_whitespace() {
            let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/{pod}:7472/proxy/metrics");
            shown.extend(metrics_in(&lab.kubectl(&["get", "--raw", &path])?));
        }
        anyhow::Ok(shown)
    };
    let all_there = || Ok(named.is_subset(&shown()?));
    wait_until(Duration::from_secs(30), all_there, || Ok(()))
        .with_context(|| format!("of {named:?} there are only {:?}", shown()))
}

/// The names of metrics in a text: of expressions, or of what a daemon shows.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = words.filter(|word| word.starts_with("metallb_") || word.starts_with("ferrolb_"));
    ours.map(str::to_owned).collect()
}

/// Every speaker is replaced, one after the other, and no address moves. A datagram may be lost: a
/// neighbour's entry can end while nobody answers for it.
fn an_upgrade_keeps_the_address_served(lab: &Lab) -> Result<()> {
    lab.kubectl(&["rollout", "status", "deployment/echo", "--timeout=120s"])?;
    let address = external_ip(lab, "echo")?;
    let target = SocketAddr::from((address, ECHO_PORT));
    let client = lab.client()?;
    let deadline = Instant::now() + PATIENCE;
    let held = loop {
        match client.enter(|| TcpHold::open(target, 100))? {
            Ok(held) => break held,
            Err(error) => ensure!(Instant::now() < deadline, "no echo from {target}: {error}"),
        }
    };
    let probe = client.enter(|| UdpProbe::start(target))??;
    let frames = client.enter(|| FrameObserver::start("eth0"))??;
    let owner = answering_macs(lab, address)?;
    let began = Instant::now();
    helm(lab, "upgrade", &["--set", "speaker.logLevel=debug"])?;
    wait_for_speakers(lab)?;
    let (udp, tcp) = (probe.stop(), held.stop());
    let strangers = frames
        .seen()
        .into_iter()
        .filter(|frame| frame.is_gratuitous_for(address) && !owner.contains(&frame.source))
        .count();
    println!(
        "upgrade in {:.1} s: {} of {} datagrams lost, longest gap {:?}; {tcp}; {strangers} \
         announcements of other nodes",
        began.elapsed().as_secs_f64(),
        udp.lost(),
        udp.sent(),
        udp.longest_gap(),
    );
    ensure!(
        strangers == 0 && tcp.broken.is_empty(),
        "the address has moved:\n{}",
        frames.transcript()
    );
    assert_eq!(answering_macs(lab, address)?.len(), 1, "one node answers");
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
    let said = ["logs", asked, "--tail=-1"];
    let said = lab.kubectl(&[&["-n", NAMESPACE], &said[..]].concat())?;
    let nobody = format!("nobody answers for {address}");
    ensure!(said.contains(&nobody), "{said}");
    select(nowhere)?;
    wait_for_speakers(lab)?;
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

fn wait_for_speakers(lab: &Lab) -> Result<()> {
    let speakers = ["rollout", "status", "daemonset/ferrolb-speaker"];
    let speakers = [&["-n", NAMESPACE], &speakers[..], &["--timeout=120s"]].concat();
    lab.kubectl(&speakers).map(drop)
}

/// Its kubelet, its containers and its port are gone at once; then it boots.
fn a_node_that_dies_is_replaced_and_comes_back(lab: &Lab, address: Ipv4Addr) -> Result<()> {
    let dead = owner_of(lab, address)?;
    let frames = lab.client()?.enter(|| FrameObserver::start("eth0"))??;
    let died = Instant::now();
    lab.kill_node(&dead.name)?;
    let by_another = || {
        let seen = frames.seen().into_iter();
        let mut others = seen.filter(|frame| {
            frame.at > died && frame.is_gratuitous_for(address) && frame.source != dead.mac
        });
        others.next()
    };
    wait_until(PATIENCE, || Ok(by_another().is_some()), || Ok(()))
        .with_context(|| format!("nobody follows {}", dead.name))?;
    let announced = by_another().context("seen just now")?;
    println!(
        "{} died: announced elsewhere {:?} after the order to kill it",
        dead.name,
        announced.at - died
    );
    lab.start_node(&dead.name)?;
    wait_for_speakers(lab)?;
    walk::wait_deployed(lab)?;
    page_from_the_lan(lab, address, 30_000)?;
    let now = answering_macs(lab, address)?;
    ensure!(
        now == [announced.source],
        "a node that comes back takes nothing back: {now:?}"
    );
    Ok(())
}

fn owner_of(lab: &Lab, address: Ipv4Addr) -> Result<&Host> {
    let macs = answering_macs(lab, address)?;
    let mut nodes = lab.nodes().into_iter();
    let owner = nodes.find(|node| macs.contains(&node.mac));
    owner.context("nobody announces the address")
}

fn a_dump_has_everything_but_the_speakers_key(lab: &Lab) -> Result<()> {
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

fn a_drained_node_gives_its_work_away(lab: &Lab, address: Ipv4Addr) -> Result<()> {
    let owner = &owner_of(lab, address)?.name;
    let planned = lab.plugin(&["plan", "drain", owner, "-o", "json"])?;
    let planned: serde_json::Value =
        serde_json::from_slice(&planned.stdout).with_context(|| format!("no plan: {planned:?}"))?;
    let handovers = planned["addresses"].as_array().context("no addresses")?;
    let handover = handovers
        .iter()
        .find(|one| one["address"] == address.to_string());
    let successor = lab
        .nodes()
        .into_iter()
        .find(|node| handover.is_some_and(|one| one["to"] == *node.name))
        .with_context(|| format!("no successor: {planned}"))?;
    lab.kubectl(&["cordon", owner])?;
    let as_planned = || Ok(answering_macs(lab, address)? == [successor.mac]);
    wait_until(PATIENCE, as_planned, || Ok(()))
        .with_context(|| format!("{} does not take {address}", successor.name))?;
    lab.kubectl(&[
        "drain",
        owner,
        "--ignore-daemonsets",
        "--delete-emptydir-data",
        "--timeout=120s",
    ])?;
    walk::wait_deployed(lab)?;
    page_from_the_lan(lab, address, 30_000)?;
    lab.kubectl(&["uncordon", owner])?;
    page_from_the_lan(lab, address, 30_000)?;
    Ok(())
}

fn uninstall(lab: &Lab) -> Result<()> {
    lab.helm(&["uninstall", "ferrolb", "-n", NAMESPACE, "--wait"])
        .map(drop)
}

/// What helm knows nothing of, and a new installation goes on with.
const MADE_BY_DAEMONS: [&str; 3] = [
    "configmap/ferrolb-conflicts",
    "lease.coordination.k8s.io/ferrolb-controller",
    "secret/ferrolb-peers",
];

fn nothing_is_left_but(lab: &Lab, made: &[&str]) -> Result<()> {
    let namespaced = "all,configmaps,secrets,serviceaccounts,roles,rolebindings,leases,networkpolicies,\
                      poddisruptionbudgets";
    let left = || {
        let all = ["-n", NAMESPACE, "get", namespaced, "-o", "name"];
        let namespaced = lab.kubectl(&all)?;
        let global = lab.kubectl(&["get", "clusterroles,clusterrolebindings", "-o", "name"])?;
        let of_kubernetes = ["configmap/kube-root-ca.crt", "serviceaccount/default"];
        // The user's own.
        let kept = "configmap/config";
        let ours: Vec<String> = namespaced
            .lines()
            .filter(|name| !of_kubernetes.contains(name) && *name != kept)
            .filter(|name| !made.contains(name))
            .chain(global.lines().filter(|name| name.contains("ferrolb")))
            .map(str::to_owned)
            .collect();
        anyhow::Ok(ours)
    };
    wait_until(PATIENCE, || Ok(left()?.is_empty()), || Ok(()))
        .with_context(|| format!("left: {:?}", left()))
}

fn cleanup_takes_our_addresses_and_no_others(lab: &Lab) -> Result<()> {
    let refused = cleanup(lab, &["--yes"])?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(said.contains("uninstall it first"), "{said}");
    uninstall(lab)?;
    nothing_is_left_but(lab, &MADE_BY_DAEMONS)?;
    let shown = cleanup(lab, &[])?;
    assert_eq!(shown.status.code(), Some(1), "there is something to do");
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    ensure!(
        shown.contains("test-lb") && !shown.contains("left-by-metallb"),
        "{shown}"
    );
    let done = cleanup(lab, &["--yes"])?;
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    let status = |service| {
        lab.kubectl(&[
            "get",
            "service",
            service,
            "-o",
            "jsonpath={.status.loadBalancer}",
        ])
    };
    nothing_is_left_but(lab, &[])?;
    assert_eq!(status("test-lb")?, "{}");
    assert!(status("left-by-metallb")?.contains("192.168.64.247"));
    assert_eq!(
        cleanup(lab, &[])?.status.code(),
        Some(0),
        "nothing is left to do"
    );
    Ok(())
}

fn cleanup(lab: &Lab, args: &[&str]) -> Result<Output> {
    lab.plugin(&[&["cleanup"], args].concat())
}

fn helm(lab: &Lab, verb: &str, args: &[&str]) -> Result<String> {
    let mut helm = lab.helm_command()?;
    let helm = in_workspace(&mut helm).arg(verb).args(RELEASE);
    stdout_of(helm.args(["--timeout", "120s"]).args(args), "")
}

/// The image of [`ECHO`]: the lab's own server.
fn echo_image() -> Result<Image> {
    let program = env!("CARGO_BIN_EXE_lab");
    let serve = [
        program,
        "serve-echo",
        "--pod=echo",
        "--port=3000",
        "0.0.0.0",
    ];
    Ok(Image::new(ECHO_IMAGE).program(program)?.entrypoint(&serve))
}
