//! etcd, kube-apiserver, kube-controller-manager and kube-scheduler: on the host `cp`, or on every node.
//!
//! On nodes it is as kubeadm sets up stacked control planes: an etcd of as many members as there are nodes,
//! each API server with the member beside it, one controller manager and one scheduler leading. Whatever runs
//! on a node outside of pods talks to the API server of that node (kubelet, kube-proxy, controller manager,
//! scheduler), pods talk to Service `kubernetes`, and hosts that are no nodes to the first node.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use kube::Client;
use serde::{Deserialize, Serialize};

use crate::lab::Lab;
use crate::net::{CONTROL_PLANE, Host, POD_CIDR_V4, POD_CIDR_V6};
use crate::pki::{Identity, Pki, write_kubeconfig};
use crate::process::{ProcessSpec, log_tail};

/// The port of the API server.
pub const API_PORT: u16 = 6443;

/// Addresses of Services. Dual-stack, IPv4 first.
pub const SERVICE_CIDRS: &str = "10.96.0.0/16,fd00:10:96::/112";
/// Services `kubernetes` and (by convention) `kube-dns`.
pub const API_SERVICE_IP: &str = "10.96.0.1";
/// Address of the cluster's DNS Service.
pub const DNS_SERVICE_IP: &str = "10.96.0.10";

/// Where the control plane runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Placement {
    /// On the host `cp`, which is no node.
    #[default]
    Apart,
    /// All of it on every node.
    OnNodes,
}

/// Names of the processes, as [`Lab::stop`] and [`Lab::start`] take them; on nodes, see [`on_node`].
pub const ETCD: &str = "etcd";
/// See [`ETCD`].
pub const API_SERVER: &str = "kube-apiserver";
/// See [`ETCD`].
pub const CONTROLLER_MANAGER: &str = "kube-controller-manager";
/// See [`ETCD`].
pub const SCHEDULER: &str = "kube-scheduler";

/// Ready in 5 s on an idle machine with two cores; a busy one gets its time.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// Between two looks at /readyz: far below what a start takes.
const READY_POLL: Duration = Duration::from_millis(50);

/// The name of a process of the control plane that runs on this node.
pub fn on_node(process: &str, node: &str) -> String {
    format!("{process}-{node}")
}

/// Starts the control plane and waits until the API servers are ready.
pub(crate) fn start(lab: &Lab, node_monitor_grace: Option<&str>) -> Result<()> {
    let pki = Pki::create(lab.state().subdir("pki")?)?;
    let admin = Identity::Certificate(pki.client("kubernetes-admin", Some("system:masters"))?);
    let server = api_server_of(lab, lab.host(CONTROL_PLANE)?)?;
    write_kubeconfig(&lab.kubeconfig(), &pki.ca(), server, &admin)?;
    let members = members(lab)?;
    for host in &members {
        lab.spawn(etcd(lab, host, &members)?)?;
    }
    for host in &members {
        lab.spawn(api_server(lab, &pki, host)?)?;
    }
    for host in &members {
        wait_ready_on(lab, host)?;
    }
    // Not earlier: both give up when they find no API server for 10 s.
    for host in &members {
        lab.spawn(controller_manager(lab, &pki, host, node_monitor_grace)?)?;
        lab.spawn(scheduler(lab, host)?)?;
    }
    Ok(())
}

/// The hosts that a control plane runs on.
fn members(lab: &Lab) -> Result<Vec<&Host>> {
    Ok(match lab.plan().control_plane {
        Placement::Apart => vec![lab.host(CONTROL_PLANE)?],
        Placement::OnNodes => lab.nodes(),
    })
}

/// Where the API server is that a host talks to.
pub(crate) fn api_server_of<'a>(lab: &'a Lab, host: &'a Host) -> Result<&'a Host> {
    let members = members(lab)?;
    let own = members.iter().find(|member| member.name == host.name);
    let first = members.first().context("a lab has a node")?;
    Ok(own.unwrap_or(first))
}

/// A kubeconfig for a user known by certificate, on a host that is no node.
pub fn user_kubeconfig(lab: &Lab, user: &str, group: Option<&str>) -> Result<PathBuf> {
    kubeconfig_on(lab, lab.host(CONTROL_PLANE)?, user, group)
}

/// A kubeconfig for a user known by certificate, on this host.
pub(crate) fn kubeconfig_on(
    lab: &Lab,
    host: &Host,
    user: &str,
    group: Option<&str>,
) -> Result<PathBuf> {
    let file = user.replace(':', "-");
    let file = match lab.plan().control_plane {
        Placement::Apart => file,
        Placement::OnNodes => format!("{file}-{}", host.name),
    };
    let path = lab.state().subdir("kubeconfigs")?.join(file);
    if path.exists() {
        // In use: the kube-proxies of all nodes share one.
        return Ok(path);
    }
    let pki = pki(lab)?;
    let identity = Identity::Certificate(pki.client(user, group)?);
    write_kubeconfig(&path, &pki.ca(), api_server_of(lab, host)?, &identity)?;
    Ok(path)
}

/// The authority of a lab that is up.
pub fn pki(lab: &Lab) -> Result<Pki> {
    Ok(Pki::open(lab.state().subdir("pki")?))
}

fn process_name(name: &str, host: &Host) -> String {
    match host.pods {
        Some(_) => on_node(name, &host.name),
        None => name.to_owned(),
    }
}

fn process(lab: &Lab, name: &str, host: &Host) -> Result<ProcessSpec> {
    Ok(host.process(process_name(name, host), lab.tools().binary(name)?))
}

fn etcd(lab: &Lab, host: &Host, members: &[&Host]) -> Result<ProcessSpec> {
    let data = lab.state().data_dir()?.join(process_name(ETCD, host));
    let spec = process(lab, ETCD, host)?
        .arg(format!("--data-dir={}", data.display()))
        // The data goes with the lab; a power cut does not matter.
        .arg("--unsafe-no-fsync")
        .args([
            "--listen-client-urls=http://127.0.0.1:2379",
            "--advertise-client-urls=http://127.0.0.1:2379",
            "--log-level=warn",
        ]);
    if members.len() == 1 {
        return Ok(spec.arg("--listen-peer-urls=http://127.0.0.1:2380"));
    }
    let peer = |member: &Host| format!("http://{}:2380", member.ipv4);
    let all: Vec<_> = members
        .iter()
        .map(|member| format!("{}={}", member.name, peer(member)))
        .collect();
    Ok(spec.args([
        format!("--name={}", host.name),
        format!("--listen-peer-urls={}", peer(host)),
        format!("--initial-advertise-peer-urls={}", peer(host)),
        format!("--initial-cluster={}", all.join(",")),
    ]))
}

fn api_server(lab: &Lab, pki: &Pki, host: &Host) -> Result<ProcessSpec> {
    let names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc"];
    let service: IpAddr = API_SERVICE_IP.parse()?;
    let serving = pki.server(&process_name("apiserver", host), host, &names, &[service])?;
    let to_kubelets = pki.client("apiserver-kubelet-client", Some("system:masters"))?;
    Ok(process(lab, API_SERVER, host)?
        .arg(format!("--advertise-address={}", host.ipv4))
        .arg(format!("--secure-port={API_PORT}"))
        .arg(format!("--service-cluster-ip-range={SERVICE_CIDRS}"))
        .arg(format!("--client-ca-file={}", pki.ca().display()))
        .arg(format!("--tls-cert-file={}", serving.cert.display()))
        .arg(format!("--tls-private-key-file={}", serving.key.display()))
        .arg(format!(
            "--kubelet-client-certificate={}",
            to_kubelets.cert.display()
        ))
        .arg(format!(
            "--kubelet-client-key={}",
            to_kubelets.key.display()
        ))
        .arg(format!(
            "--service-account-key-file={}",
            pki.accounts_public_key().display()
        ))
        .arg(format!(
            "--service-account-signing-key-file={}",
            pki.accounts_key().display()
        ))
        .args([
            "--etcd-servers=http://127.0.0.1:2379",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            "--allow-privileged=true",
            "--kubelet-preferred-address-types=InternalIP",
            // As it is on one that kubeadm or minikube set up; tests stop it and want it to end.
            "--shutdown-delay-duration=0s",
        ]))
}

/// One of its kind has no need to wait for a lease that a stopped one still holds.
fn leader_election(lab: &Lab) -> String {
    let elects = lab.plan().control_plane == Placement::OnNodes;
    format!("--leader-elect={elects}")
}

fn controller_manager(
    lab: &Lab,
    pki: &Pki,
    host: &Host,
    grace: Option<&str>,
) -> Result<ProcessSpec> {
    let kubeconfig = kubeconfig_on(lab, host, "system:kube-controller-manager", None)?;
    Ok(process(lab, CONTROLLER_MANAGER, host)?
        .arg(format!("--kubeconfig={}", kubeconfig.display()))
        .arg(format!(
            "--authentication-kubeconfig={}",
            kubeconfig.display()
        ))
        .arg(format!(
            "--authorization-kubeconfig={}",
            kubeconfig.display()
        ))
        .arg(format!("--root-ca-file={}", pki.ca().display()))
        .arg(format!(
            "--service-account-private-key-file={}",
            pki.accounts_key().display()
        ))
        .arg(format!("--cluster-cidr={POD_CIDR_V4},{POD_CIDR_V6}"))
        .arg(format!("--service-cluster-ip-range={SERVICE_CIDRS}"))
        .arg("--use-service-account-credentials")
        .arg(leader_election(lab))
        .args(grace.map(|grace| format!("--node-monitor-grace-period={grace}"))))
}

fn scheduler(lab: &Lab, host: &Host) -> Result<ProcessSpec> {
    let kubeconfig = kubeconfig_on(lab, host, "system:kube-scheduler", None)?;
    Ok(process(lab, SCHEDULER, host)?
        .arg(format!("--kubeconfig={}", kubeconfig.display()))
        .arg(format!(
            "--authentication-kubeconfig={}",
            kubeconfig.display()
        ))
        .arg(format!(
            "--authorization-kubeconfig={}",
            kubeconfig.display()
        ))
        .arg(leader_election(lab)))
}

/// Waits until the API server of a host says that it is ready; fails at once when it or etcd has ended.
fn wait_ready_on(lab: &Lab, host: &Host) -> Result<()> {
    let deadline = Instant::now() + READY_WITHIN;
    let admin = kubeconfig_on(lab, host, "kubernetes-admin", Some("system:masters"))?;
    lab.api_from(&host.name, &admin, async |client| {
        loop {
            let Err(error) = readyz(&client).await else {
                return Ok(());
            };
            for name in [ETCD, API_SERVER] {
                lab.check_alive(&process_name(name, host))?;
            }
            if Instant::now() > deadline {
                let tail = log_tail(&lab.state().log(&process_name(API_SERVER, host)), 20);
                bail!(
                    "the API server is not ready after {READY_WITHIN:?} ({error}); its log:\n{tail}"
                );
            }
            tokio::time::sleep(READY_POLL).await;
        }
    })
}

async fn readyz(client: &Client) -> Result<()> {
    let request = http::Request::get("/readyz").body(Vec::new())?;
    client.request_text(request).await?;
    Ok(())
}

impl Lab {
    /// Waits until the API servers are ready, after a test stopped and started one.
    pub fn wait_until_ready(&self) -> Result<()> {
        members(self)?
            .into_iter()
            .try_for_each(|host| wait_ready_on(self, host))
    }
}
