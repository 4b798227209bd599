//! A Service with a pod on each node, and what a client on the LAN suffers when one of the nodes dies: for the
//! tests of dead nodes and for the bench, on nodes with kubelets.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::command::stdout_of;
use crate::lab::Lab;
use crate::observe::{ConnectReport, TcpConnects};
use crate::wait::wait_until;
use crate::walk::{self, INSTALL, PATIENCE, external_ip, in_workspace};

/// A redis on each node, behind one Service of type `LoadBalancer`.
const WEB: &str = "
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: redis
          image: redis:7
          imagePullPolicy: IfNotPresent
          args: [--save, '']
          ports: [{containerPort: 6379}]
          readinessProbe: {tcpSocket: {port: 6379}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: LoadBalancer
  selector: {app: web}
  ports: [{port: 6379}]
";
const CONFIG: &str = "configInline: {address-pools: [{name: lan, protocol: layer2, addresses: [192.168.64.240/29]}]}";
/// The chart's value that takes pods of dead nodes out of rotation.
pub const REMOVE: &str = "deadNodes: {endpoints: remove}";
const PORT: u16 = 6379;
/// A kubelet overwrites what others wrote within 10 s of its return, which may take it half a minute.
const HEALED: Duration = Duration::from_secs(90);

/// Installs the chart with these values, and the Service; where it is reached.
pub fn install(lab: &Lab, values: &str) -> Result<SocketAddr> {
    lab.load_images(&walk::images()?)?;
    let mut helm = lab.helm_command()?;
    stdout_of(
        in_workspace(&mut helm)
            .args(INSTALL)
            .args(["--values", "-"]),
        &format!("{CONFIG}\n{values}"),
    )?;
    walk::wait_installed(lab)?;
    lab.apply(WEB)?;
    lab.kubectl(&["rollout", "status", "daemonset/web", "--timeout=90s"])?;
    Ok(SocketAddr::new(IpAddr::V4(external_ip(lab, "web")?), PORT))
}

/// A node that neither announces the address nor has the leading controller.
pub fn victim(lab: &Lab, target: SocketAddr) -> Result<String> {
    let IpAddr::V4(address) = target.ip() else {
        bail!("{target} is not of IPv4");
    };
    let macs = walk::answering_macs(lab, address)?;
    let ours = |args: &[&str]| lab.kubectl(&[&["-n", "metallb-system", "get"], args].concat());
    let leader = ours(&[
        "lease/ferrolb-controller",
        "-o",
        "jsonpath={.spec.holderIdentity}",
    ])?;
    let each = "jsonpath={range .items[*]}{.metadata.name} {.spec.nodeName}{'\\n'}{end}";
    let pods = ours(&["pods", "-o", each])?;
    let leads = pods.lines().find_map(|line| {
        let (pod, node) = line.split_once(' ')?;
        leader.starts_with(pod).then_some(node)
    });
    let nodes = lab.nodes();
    let mut others = nodes
        .iter()
        .filter(|node| !macs.contains(&node.mac) && Some(node.name.as_str()) != leads);
    let node = others.next().map(|node| node.name.clone());
    node.context("every node has a part")
}

/// Each pod's node, and its condition Ready: `n1=True/`, `n2=False/NodeDead`.
pub fn readiness(lab: &Lab) -> Result<String> {
    let ready = ".status.conditions[?(@.type=='Ready')]";
    let path = format!(
        "jsonpath={{range .items[*]}}{{.spec.nodeName}}={{{ready}.status}}/{{{ready}.reason}} {{end}}"
    );
    lab.kubectl(&["get", "pods", "-l", "app=web", "-o", &path])
}

/// Until all pods are ready.
pub fn wait_until_all_ready(lab: &Lab) -> Result<()> {
    let nodes = lab.nodes().len();
    let all = || Ok(readiness(lab)?.matches("=True/").count() == nodes);
    wait_until(HEALED, all, || Ok(())).with_context(|| format!("{:?}", readiness(lab)))
}

/// A new connection each 20 ms while `node` is silent for so long: what became of them, and when it fell
/// silent.
pub fn connections_while_cut(
    lab: &Lab,
    target: SocketAddr,
    node: &str,
    time: Duration,
) -> Result<(ConnectReport, Instant)> {
    forget_connections(lab)?;
    let connects = lab.client()?.enter(|| TcpConnects::start(target))?;
    pause(Duration::from_secs(1))?;
    let cut = Instant::now();
    lab.cut(node, false)?;
    pause(time)?;
    Ok((connects.stop(), cut))
}

/// A node remembers where it sent a connection (conntrack, 120 s for one that got no answer): whoever comes
/// again from the same port would meet the dead pod of the round before.
fn forget_connections(lab: &Lab) -> Result<()> {
    for node in lab.nodes() {
        // It says "0 flow entries have been deleted" with an exit status of 1.
        node.run("conntrack", &["-D", "-p", "tcp"])?;
    }
    Ok(())
}

/// Waits for so long.
pub fn pause(time: Duration) -> Result<()> {
    let begun = Instant::now();
    wait_until(
        2 * time + PATIENCE,
        || Ok(begun.elapsed() > time),
        || Ok(()),
    )
}
