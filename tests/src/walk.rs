//! What the demo and the tests of the reference walk do alike.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::command::stdout_of;
use crate::image::{self, Architecture, Image};
use crate::lab::Lab;
use crate::net::MacAddress;
use crate::observe::{Page, http_get, stations};
use crate::wait::wait_until;
use crate::{daemon, workspace};

/// Long enough for a machine with two busy cores; nothing waits that long when all is well.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// `helm install`, as the README says it, and wait until all is ready.
pub const INSTALL: [&str; 9] = [
    "install",
    "ferrolb",
    "charts/ferrolb",
    "-n",
    "metallb-system",
    "--create-namespace",
    "--wait",
    "--timeout",
    "120s",
];

/// The DaemonSet of the chart.
pub const SPEAKERS: &str = "daemonset/ferrolb-speaker";

/// The Deployments of the walk.
pub const DEPLOYMENTS: [&str; 2] = ["deployment/redis", "deployment/test"];

/// The images that are made from this source tree, with the names of their programs, which `program`
/// finds.
fn images_of(program: impl Fn(&str) -> Result<PathBuf>) -> Result<[(&'static str, Image); 4]> {
    let [page, controller, speaker, keeper] = ["walk-app", "controller", "speaker", "keeper"];
    Ok([
        (page, image::walk_app(&program(page)?)),
        (controller, image::controller(&program(controller)?)),
        (speaker, image::speaker(&program(speaker)?)),
        (keeper, image::keeper(&program(keeper)?)),
    ])
}

/// Those for this machine.
pub fn own_images() -> Result<[(&'static str, Image); 4]> {
    images_of(daemon::program)
}

/// Those that are published for machines of one kind.
pub fn published(architecture: Architecture) -> Result<[(&'static str, Image); 4]> {
    let images = images_of(|name| architecture.program(name))?;
    Ok(images.map(|(name, image)| (name, image.architecture(architecture))))
}

/// The images that the walk's manifests and the chart name, under just these names.
pub fn images() -> Result<Vec<Image>> {
    let own = own_images()?.map(|(_, image)| image);
    Ok([image::redis()?].into_iter().chain(own).collect())
}

/// Loads the images and installs the chart, without a configuration.
pub fn install(lab: &Lab) -> Result<()> {
    lab.load_images(&images()?)?;
    let mut helm = lab.helm_command()?;
    stdout_of(in_workspace(&mut helm).args(INSTALL), "")?;
    wait_installed(lab)
}

/// Waits until each pod of FerroLB is ready. `helm --wait` is content when all speakers but one are: so many may be
/// missing in an update.
pub fn wait_installed(lab: &Lab) -> Result<()> {
    wait_rolled_out(lab, "deployment/ferrolb-controller")?;
    wait_rolled_out(lab, SPEAKERS)
}

/// Waits until each pod of a workload of FerroLB is there, of its newest form, and ready.
pub fn wait_rolled_out(lab: &Lab, workload: &str) -> Result<()> {
    let status = ["rollout", "status", workload, "--timeout=120s"];
    lab.kubectl(&[&["-n", "metallb-system"], &status[..]].concat())
        .map(drop)
}

/// Applies the application and its Services, and waits until it is ready.
pub fn deploy(lab: &Lab) -> Result<()> {
    apply(
        lab,
        &["redis.yaml", "test.yaml", "test-np.yaml", "test-lb.yaml"],
    )?;
    wait_deployed(lab)
}

/// Waits until the application is ready.
pub fn wait_deployed(lab: &Lab) -> Result<()> {
    for name in DEPLOYMENTS {
        lab.kubectl(&["rollout", "status", name, "--timeout=120s"])?;
    }
    Ok(())
}

/// `kubectl apply` of files of `examples/reference-walk`, byte for byte.
pub fn apply(lab: &Lab, files: &[&str]) -> Result<String> {
    let mut kubectl = lab.kubectl_command()?;
    stdout_of(in_workspace(&mut kubectl).args(apply_args(files)), "")
}

/// The arguments of [`apply`], as a user types them in the root of the source tree.
pub fn apply_args(files: &[&str]) -> Vec<String> {
    let mut args = vec!["apply".to_owned()];
    for file in files {
        args.extend(["-f".to_owned(), format!("examples/reference-walk/{file}")]);
    }
    args
}

/// The path of a file of `examples`.
pub fn example(file: &str) -> String {
    workspace()
        .join("examples")
        .join(file)
        .to_string_lossy()
        .into_owned()
}

/// The command, to be run in the root of the source tree.
pub fn in_workspace(command: &mut Command) -> &mut Command {
    command.current_dir(workspace())
}

/// The address that a Service of namespace `default` gets.
pub fn external_ip(lab: &Lab, service: &str) -> Result<Ipv4Addr> {
    let object = format!("service/{service}");
    let path = "{.status.loadBalancer.ingress[0].ip}";
    let timeout = format!("--timeout={}s", PATIENCE.as_secs());
    lab.kubectl(&["wait", &format!("--for=jsonpath={path}"), &object, &timeout])?;
    let ip = lab.kubectl(&["get", &object, "-o", &format!("jsonpath={path}")])?;
    ip.trim()
        .parse()
        .with_context(|| format!("{service} has no address: {ip:?}"))
}

/// The Services of [`spread`].
pub const SPREAD: [&str; 5] = ["test-lb", "one", "two", "three", "four"];

/// Deploys the walk's application, with four Services more; where each of the five is. Several nodes announce.
pub fn spread(lab: &Lab) -> Result<BTreeMap<&'static str, (Ipv4Addr, MacAddress)>> {
    deploy(lab)?;
    for service in &SPREAD[1..] {
        let name = format!("--name={service}");
        let port = ["--type=LoadBalancer", "--port=80", "--target-port=3000"];
        let expose = ["expose", "deployment/test", &name];
        lab.kubectl(&[&expose[..], &port].concat())?;
    }
    let places = settled_places(lab)?;
    let owners: BTreeSet<_> = places.values().map(|(_, mac)| mac).collect();
    ensure!(owners.len() > 1, "addresses are spread: {places:?}");
    Ok(places)
}

/// The places of [`SPREAD`] as two looks in a row find them: whoever announces may still be finding the others.
fn settled_places(lab: &Lab) -> Result<BTreeMap<&'static str, (Ipv4Addr, MacAddress)>> {
    let deadline = Instant::now() + PATIENCE;
    let mut before = None;
    loop {
        let now = places(lab, &SPREAD);
        match now {
            Ok(now) if before.as_ref() == Some(&now) => return Ok(now),
            now if Instant::now() > deadline => return now,
            now => before = now.ok(),
        }
    }
}

/// The address of each of these Services of namespace `default`, and the one station that answers for it.
pub fn places<'a>(
    lab: &Lab,
    services: &[&'a str],
) -> Result<BTreeMap<&'a str, (Ipv4Addr, MacAddress)>> {
    let place = |service: &&'a str| {
        let address = external_ip(lab, service)?;
        let macs = answering_macs(lab, address)?;
        let [mac] = macs[..] else {
            bail!("{macs:?} answer for {address}");
        };
        Ok((*service, (address, mac)))
    };
    services.iter().map(place).collect()
}

/// The walk's page, as the client on the LAN sees it. kube-proxy programs a new address up to a second
/// after it stands in the status, and an endpoint of redis as late.
pub fn page_from_the_lan(lab: &Lab, address: Ipv4Addr, port: u16) -> Result<Page> {
    let to = SocketAddr::new(IpAddr::V4(address), port);
    lab.client()?.enter(|| {
        let answers = || {
            let page = http_get(to, "/readyz", Duration::from_millis(300));
            Ok(page.is_ok_and(|page| page.status == 200))
        };
        wait_until(PATIENCE, answers, || Ok(())).with_context(|| format!("no page from {to}"))?;
        Ok(http_get(to, "/", Duration::from_secs(10))?)
    })?
}

/// The stations that answer for an address, as the client hears them.
pub fn answering_macs(lab: &Lab, address: Ipv4Addr) -> Result<Vec<MacAddress>> {
    let ask = || {
        let patience = Duration::from_millis(500);
        stations("eth0", address, patience, Instant::now() + PATIENCE)
    };
    Ok(lab.client()?.enter(ask)??)
}
