//! etcd, kube-apiserver, kube-controller-manager and kube-scheduler, on the host `cp`.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use kube::Client;

use crate::lab::Lab;
use crate::net::{CONTROL_PLANE, POD_CIDR_V4, POD_CIDR_V6};
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

/// Names of the processes, as [`Lab::stop`] and [`Lab::start`] take them.
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

/// Starts the control plane and waits until the API server is ready.
pub(crate) fn start(lab: &Lab, node_monitor_grace: Option<&str>) -> Result<()> {
    let pki = Pki::create(lab.state().subdir("pki")?)?;
    let admin = Identity::Certificate(pki.client("kubernetes-admin", Some("system:masters"))?);
    write_kubeconfig(
        &lab.kubeconfig(),
        &pki.ca(),
        lab.host(CONTROL_PLANE)?,
        &admin,
    )?;
    lab.spawn(etcd(lab)?)?;
    lab.spawn(api_server(lab, &pki)?)?;
    wait_ready(lab)?;
    // Not earlier: both give up when they find no API server for 10 s.
    lab.spawn(controller_manager(lab, &pki, node_monitor_grace)?)?;
    lab.spawn(scheduler(lab)?)
}

/// A kubeconfig for a user known by certificate.
pub fn user_kubeconfig(lab: &Lab, user: &str, group: Option<&str>) -> Result<PathBuf> {
    let path = lab
        .state()
        .subdir("kubeconfigs")?
        .join(user.replace(':', "-"));
    if path.exists() {
        // In use: the kube-proxies of all nodes share one.
        return Ok(path);
    }
    let pki = pki(lab)?;
    let identity = Identity::Certificate(pki.client(user, group)?);
    write_kubeconfig(&path, &pki.ca(), lab.host(CONTROL_PLANE)?, &identity)?;
    Ok(path)
}

/// The authority of a lab that is up.
pub fn pki(lab: &Lab) -> Result<Pki> {
    Ok(Pki::open(lab.state().subdir("pki")?))
}

fn process(lab: &Lab, name: &str) -> Result<ProcessSpec> {
    Ok(lab
        .host(CONTROL_PLANE)?
        .process(name, lab.tools().binary(name)?))
}

fn etcd(lab: &Lab) -> Result<ProcessSpec> {
    let data = lab.state().subdir("etcd")?;
    Ok(process(lab, ETCD)?
        .arg(format!("--data-dir={}", data.display()))
        // The data goes with the lab; a power cut does not matter.
        .arg("--unsafe-no-fsync")
        .args([
            "--listen-client-urls=http://127.0.0.1:2379",
            "--advertise-client-urls=http://127.0.0.1:2379",
            "--listen-peer-urls=http://127.0.0.1:2380",
            "--log-level=warn",
        ]))
}

fn api_server(lab: &Lab, pki: &Pki) -> Result<ProcessSpec> {
    let host = lab.host(CONTROL_PLANE)?;
    let names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc"];
    let service: IpAddr = API_SERVICE_IP.parse()?;
    let serving = pki.server("apiserver", host, &names, &[service])?;
    let to_kubelets = pki.client("apiserver-kubelet-client", Some("system:masters"))?;
    Ok(process(lab, API_SERVER)?
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

fn controller_manager(lab: &Lab, pki: &Pki, grace: Option<&str>) -> Result<ProcessSpec> {
    let kubeconfig = user_kubeconfig(lab, "system:kube-controller-manager", None)?;
    Ok(process(lab, CONTROLLER_MANAGER)?
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
        // One of its kind: no need to wait for a lease that a stopped one still holds.
        .args(["--use-service-account-credentials", "--leader-elect=false"])
        .args(grace.map(|grace| format!("--node-monitor-grace-period={grace}"))))
}

fn scheduler(lab: &Lab) -> Result<ProcessSpec> {
    let kubeconfig = user_kubeconfig(lab, "system:kube-scheduler", None)?;
    Ok(process(lab, SCHEDULER)?
        .arg(format!("--kubeconfig={}", kubeconfig.display()))
        .arg(format!(
            "--authentication-kubeconfig={}",
            kubeconfig.display()
        ))
        .arg(format!(
            "--authorization-kubeconfig={}",
            kubeconfig.display()
        ))
        .arg("--leader-elect=false"))
}

/// Waits until the API server says that it is ready; fails at once when it or etcd has ended.
pub(crate) fn wait_ready(lab: &Lab) -> Result<()> {
    let deadline = Instant::now() + READY_WITHIN;
    lab.api(async |client| {
        loop {
            let Err(error) = readyz(&client).await else {
                return Ok(());
            };
            for name in [ETCD, API_SERVER] {
                lab.check_alive(name)?;
            }
            if Instant::now() > deadline {
                let tail = log_tail(&lab.state().log(API_SERVER), 20);
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
    /// Waits until the API server is ready, after a test stopped and started it.
    pub fn wait_until_ready(&self) -> Result<()> {
        wait_ready(self)
    }
}
