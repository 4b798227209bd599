//! `/metrics`, `/healthz` and `/readyz` over HTTP: read-only.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tracing::debug;

use crate::metrics::Metrics;
use crate::peers::patiently;

/// What the speaker still waits for; ready when that is nothing.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<Mutex<String>>);

impl Readiness {
    /// `missing` in words; empty means ready.
    pub fn set_missing(&self, missing: &str) {
        if let Ok(mut text) = self.0.lock() {
            missing.clone_into(&mut text);
        }
    }

    fn missing(&self) -> String {
        self.0.lock().map(|text| text.clone()).unwrap_or_default()
    }
}

/// Serves for ever. Without `host` on every address.
pub async fn serve(
    host: Option<IpAddr>,
    port: u16,
    metrics: Arc<Metrics>,
    readiness: Readiness,
) -> anyhow::Result<()> {
    let listener = listen(host, port).await?;
    loop {
        let (stream, _) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, say: at once it would fail again.
                debug!(%error, "connection not accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (metrics, readiness) = (Arc::clone(&metrics), readiness.clone());
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let response = respond(&request, &metrics, &readiness);
                async move { Ok::<_, Infallible>(response) }
            });
            // hyper closes a connection that sends no header for 30 s.
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                debug!(%error, "connection ended");
            }
        });
    }
}

async fn listen(host: Option<IpAddr>, port: u16) -> anyhow::Result<TcpListener> {
    let bind = |host| {
        let address = SocketAddr::new(host, port);
        async move {
            patiently(&format!("TCP {address}"), || TcpListener::bind(address))
                .await
                .with_context(|| format!("cannot listen on TCP {address}"))
        }
    };
    match host {
        Some(host) => bind(host).await,
        None => match bind(Ipv6Addr::UNSPECIFIED.into()).await {
            Ok(listener) => Ok(listener),
            // A kernel without IPv6.
            Err(_) => bind(Ipv4Addr::UNSPECIFIED.into()).await,
        },
    }
}

fn respond(
    request: &Request<Incoming>,
    metrics: &Metrics,
    readiness: &Readiness,
) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return answer(StatusCode::METHOD_NOT_ALLOWED, "read-only\n".to_owned());
    }
    match request.uri().path() {
        "/metrics" => answer(StatusCode::OK, metrics.encode()),
        "/healthz" => answer(StatusCode::OK, "ok\n".to_owned()),
        "/readyz" => match readiness.missing() {
            missing if missing.is_empty() => answer(StatusCode::OK, "ok\n".to_owned()),
            missing => answer(
                StatusCode::SERVICE_UNAVAILABLE,
                format!("waiting for {missing}\n"),
            ),
        },
        _ => answer(
            StatusCode::NOT_FOUND,
            "/metrics /healthz /readyz\n".to_owned(),
        ),
    }
}

fn answer(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let plain = header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}
