//! A client that notices a silent API server within seconds: by default, kube's does after 295 s.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::client::{Body, ClientBuilder, ConfigExt};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tower::{BoxError, ServiceBuilder};

// A dead peer is noticed 5 s + 3 × 2 s after its last sign of life: on an idle watch by
// keep-alive, with data on the way by the user timeout, which covers the same time.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(5);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(2);
const KEEPALIVE_PROBES: u32 = 3;
const USER_TIMEOUT: Duration = Duration::from_secs(11);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Connects as the pod's ServiceAccount, or as `kubeconfig` says.
///
/// # Errors
/// There is neither, or it cannot be read.
pub async fn connect(kubeconfig: Option<&Path>) -> anyhow::Result<Client> {
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
    build(config)
}

fn build(config: Config) -> anyhow::Result<Client> {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_connect_timeout(Some(CONNECT_TIMEOUT));
    http.set_keepalive(Some(KEEPALIVE_IDLE));
    http.set_keepalive_interval(Some(KEEPALIVE_INTERVAL));
    http.set_keepalive_retries(Some(KEEPALIVE_PROBES));
    #[cfg(target_os = "linux")]
    http.set_tcp_user_timeout(Some(USER_TIMEOUT));
    let https = config
        .rustls_https_connector_with_connector(http)
        .context("cannot set up TLS for the API server")?;
    let hyper =
        hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build::<_, Body>(https);
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
