//! A client that notices a silent API server within seconds: by default, kube's does after 295 s.
//!
//! A node's death takes an API server with it where the control plane runs on nodes. A watch that ended there
//! brings nothing any more, and says nothing: only the kernel's probes find out.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::client::{Body, ClientBuilder, ConfigExt};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tower::{BoxError, ServiceBuilder};

/// How long a client waits for an API server that is silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For a new connection.
    connect: Duration,
    /// After the last sign of life on an idle connection, before the first probe. Linux counts whole seconds
    /// (`TCP_KEEPIDLE`).
    idle: Duration,
    /// Between two probes, in whole seconds too (`TCP_KEEPINTVL`).
    interval: Duration,
    /// Probes without an answer.
    probes: u32,
}

/// Bytes of an answer that a connection keeps. It grows with what comes, and never shrinks: without a limit
/// to 400 KiB for each, after one large list.
const READ_BUFFER: usize = 64 * 1024;

impl Patience {
    /// A dead API server is noticed 5 s + 3 × 2 s after its last sign of life.
    pub const USUAL: Self = Self {
        connect: Duration::from_secs(5),
        idle: Duration::from_secs(5),
        interval: Duration::from_secs(2),
        probes: 3,
    };
    /// After 1 s + 2 × 1 s, at the price of a probe per second on each idle watch: for daemons that take the
    /// pods of dead nodes out of rotation. A connect goes to the dead API server, too, as long as Service
    /// `kubernetes` has its address: it may send its SYN twice (after 1 s, RFC 6298 section 2).
    pub const SHORT: Self = Self {
        connect: Duration::from_millis(1_500),
        idle: Duration::from_secs(1),
        interval: Duration::from_secs(1),
        probes: 2,
    };

    /// For data on the way (RFC 5482): as long as an idle connection has. On an idle one, Linux goes by it
    /// instead of the number of probes.
    fn user_timeout(self) -> Duration {
        self.idle + self.probes * self.interval
    }
}

/// Connects as the pod's ServiceAccount, or as `kubeconfig` says.
///
/// # Errors
/// There is neither, or it cannot be read.
pub async fn connect(kubeconfig: Option<&Path>, patience: Patience) -> anyhow::Result<Client> {
    let config = match kubeconfig {
        Some(path) => {
            let named = || format!("--kubeconfig {}", path.display());
            let file = Kubeconfig::read_from(path).with_context(named)?;
            let options = KubeConfigOptions::default();
            let config = Config::from_custom_kubeconfig(file, &options).await;
            config.with_context(named)?
        }
        None => Config::infer()
            .await
            .context("no API server: run in a pod with a ServiceAccount, or set --kubeconfig")?,
    };
    build(config, patience)
}

fn connector(patience: Patience) -> HttpConnector {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_connect_timeout(Some(patience.connect));
    http.set_keepalive(Some(patience.idle));
    http.set_keepalive_interval(Some(patience.interval));
    http.set_keepalive_retries(Some(patience.probes));
    #[cfg(target_os = "linux")]
    http.set_tcp_user_timeout(Some(patience.user_timeout()));
    http
}

fn build(config: Config, patience: Patience) -> anyhow::Result<Client> {
    let https = config
        .rustls_https_connector_with_connector(connector(patience))
        .context("cannot set up TLS for the API server")?;
    let hyper = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
        .http1_max_buf_size(READ_BUFFER)
        .build::<_, Body>(https);
    // No retry layer: watches have their own back-off, and a write is decided anew.
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(
            config
                .auth_layer()
                .context("credentials for the API server")?,
        )
        .map_err(BoxError::from)
        .service(hyper);
    Ok(ClientBuilder::new(service, config.default_namespace).build())
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use socket2::SockRef;
    use tower::ServiceExt;

    use super::*;

    /// What the kernel has been told for a connection: idle, interval, probes, user timeout.
    async fn told(patience: Patience) -> [u64; 4] {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let at = listener.local_addr().unwrap();
        let uri = format!("http://{at}").parse().unwrap();
        let stream = connector(patience).oneshot(uri).await.unwrap().into_inner();
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().unwrap());
        [
            socket.tcp_keepalive_time().unwrap().as_secs(),
            socket.tcp_keepalive_interval().unwrap().as_secs(),
            socket.tcp_keepalive_retries().unwrap().into(),
            socket.tcp_user_timeout().unwrap().unwrap().as_secs(),
        ]
    }

    #[tokio::test]
    async fn the_kernel_notices_a_silent_api_server_after_11_seconds_and_after_3_if_dead_nodes_matter()
     {
        assert_eq!(told(Patience::USUAL).await, [5, 2, 3, 11]);
        assert_eq!(told(Patience::SHORT).await, [1, 1, 2, 3]);
    }
}
