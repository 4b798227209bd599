//! `/metrics`, `/healthz` and `/readyz`: read-only, plain HTTP.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep};

/// A predecessor that is being replaced gives the port up within its grace period.
const PORT_WAIT: Duration = Duration::from_secs(10);
const PORT_RETRY: Duration = Duration::from_millis(200);
/// A client that does not send its request within this time is cut off.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// What the server shows. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Admin {
    registry: Arc<Registry>,
    blockers: Arc<Mutex<Vec<String>>>,
}

impl Admin {
    /// Shows the metrics of `registry`; not ready until [`Admin::set_blockers`] says so.
    #[must_use]
    pub fn new(registry: Registry) -> Self {
        let starting = vec!["start: the API server did not answer yet".to_owned()];
        Self {
            registry: Arc::new(registry),
            blockers: Arc::new(Mutex::new(starting)),
        }
    }

    /// What stands in the way of being ready; nothing means ready.
    pub fn set_blockers(&self, blockers: Vec<String>) {
        *self.blockers.lock().unwrap_or_else(PoisonError::into_inner) = blockers;
    }

    /// Binds `port` on `host`, or on all addresses.
    ///
    /// # Errors
    /// The port is still in use after ten seconds, or cannot be bound at all.
    pub async fn bind(host: Option<IpAddr>, port: u16) -> anyhow::Result<TcpListener> {
        let give_up = Instant::now() + PORT_WAIT;
        loop {
            match listen(host, port).await {
                Ok(listener) => return Ok(listener),
                Err(error)
                    if error.kind() == std::io::ErrorKind::AddrInUse
                        && Instant::now() < give_up =>
                {
                    tracing::warn!(port, "port in use, trying again");
                    // Nothing tells when a port becomes free.
                    sleep(PORT_RETRY).await;
                }
                Err(error) => {
                    return Err(error).with_context(|| {
                        format!("cannot listen on port {port}: free it or choose another --port")
                    });
                }
            }
        }
    }

    /// Serves until the process ends.
    ///
    /// # Errors
    /// The listening socket failed.
    pub async fn serve(self, listener: TcpListener) -> anyhow::Result<Infallible> {
        loop {
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) if is_of_one_connection(&error) => continue,
                Err(error) => return Err(error).context("cannot accept connections"),
            };
            tokio::spawn(self.clone().serve_connection(stream));
        }
    }

    async fn serve_connection(self, stream: TcpStream) {
        let service = service_fn(move |request| {
            let response = self.answer(&request);
            async move { Ok::<_, Infallible>(response) }
        });
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service)
            .await;
        if let Err(error) = served {
            tracing::debug!(%error, "monitoring connection broke");
        }
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return respond(StatusCode::METHOD_NOT_ALLOWED, "this port is read-only\n");
        }
        match request.uri().path() {
            "/metrics" => self.metrics(),
            "/healthz" => respond(StatusCode::OK, "ok\n"),
            "/readyz" => self.readiness(),
            _ => respond(
                StatusCode::NOT_FOUND,
                "there are /metrics, /healthz and /readyz\n",
            ),
        }
    }

    fn metrics(&self) -> Response<Full<Bytes>> {
        let mut text = String::new();
        if let Err(error) = encode(&mut text, &self.registry) {
            return respond(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n"));
        }
        let mut response = respond(StatusCode::OK, text);
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            header::HeaderValue::from_static(
                "application/openmetrics-text; version=1.0.0; charset=utf-8",
            ),
        );
        response
    }

    fn readiness(&self) -> Response<Full<Bytes>> {
        let blockers = self.blockers.lock().unwrap_or_else(PoisonError::into_inner);
        if blockers.is_empty() {
            return respond(StatusCode::OK, "ok\n");
        }
        respond(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("waiting for\n{}\n", blockers.join("\n")),
        )
    }
}

async fn listen(host: Option<IpAddr>, port: u16) -> std::io::Result<TcpListener> {
    let Some(host) = host else {
        let six = TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))).await;
        return match six {
            // A node without IPv6.
            Err(error) if error.kind() != std::io::ErrorKind::AddrInUse => {
                TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))).await
            }
            bound => bound,
        };
    };
    TcpListener::bind(SocketAddr::from((host, port))).await
}

/// Whether the error belongs to the connection that was about to be accepted.
fn is_of_one_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

fn respond(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
}
