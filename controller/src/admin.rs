//! `/metrics`, `/healthz`, `/readyz` and `/status`: read-only, plain HTTP. `/status` names every
//! Service, so it is answered to this host alone: a port-forward comes from there.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use ferrolb_core::report::ControllerStatus;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};

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
    questions: mpsc::Sender<Question>,
}

/// Somebody wants to know the status. It is made when it is asked for: for 10,000 Services it takes
/// megabytes.
pub type Question = oneshot::Sender<Box<ControllerStatus>>;

/// Questions that wait for an answer.
const QUESTIONS: usize = 4;
/// The answer comes from a loop that never waits long.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

impl Admin {
    /// Shows the metrics of `registry`; not ready until [`Admin::set_blockers`] says so. Who holds
    /// the other end answers for `/status`.
    #[must_use]
    pub fn new(registry: Registry) -> (Self, mpsc::Receiver<Question>) {
        let starting = vec!["start: the API server did not answer yet".to_owned()];
        let (questions, asked) = mpsc::channel(QUESTIONS);
        let admin = Self {
            registry: Arc::new(registry),
            blockers: Arc::new(Mutex::new(starting)),
            questions,
        };
        (admin, asked)
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
        let local = is_local(&stream);
        let service = service_fn(move |request| {
            let admin = self.clone();
            async move { Ok::<_, Infallible>(admin.answer(&request, local).await) }
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

    async fn answer(&self, request: &Request<Incoming>, local: bool) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return respond(StatusCode::METHOD_NOT_ALLOWED, "this port is read-only\n");
        }
        match request.uri().path() {
            "/metrics" => self.metrics(),
            "/healthz" => respond(StatusCode::OK, "ok\n"),
            "/readyz" => self.readiness(),
            "/status" if local => self.status().await,
            "/status" => respond(
                StatusCode::FORBIDDEN,
                "/status is for this host alone: kubectl port-forward, or kubectl ferrolb status\n",
            ),
            _ => respond(
                StatusCode::NOT_FOUND,
                "there are /metrics, /healthz, /readyz and /status\n",
            ),
        }
    }

    async fn status(&self) -> Response<Full<Bytes>> {
        let (question, answer) = oneshot::channel();
        let asked = async {
            self.questions.send(question).await.ok()?;
            answer.await.ok()
        };
        let Ok(Some(status)) = timeout(ANSWER_TIMEOUT, asked).await else {
            return respond(
                StatusCode::SERVICE_UNAVAILABLE,
                "not started yet, or busy\n",
            );
        };
        match serde_json::to_vec(&status) {
            Ok(json) => with_type(respond(StatusCode::OK, json), "application/json"),
            Err(error) => respond(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        }
    }

    fn metrics(&self) -> Response<Full<Bytes>> {
        let mut text = String::new();
        if let Err(error) = encode(&mut text, &self.registry) {
            return respond(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n"));
        }
        with_type(
            respond(StatusCode::OK, text),
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        )
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

/// Whether the connection comes from this very host.
fn is_local(stream: &TcpStream) -> bool {
    let (Ok(peer), Ok(here)) = (stream.peer_addr(), stream.local_addr()) else {
        return false;
    };
    let (peer, here) = (peer.ip().to_canonical(), here.ip().to_canonical());
    peer.is_loopback() || peer == here
}

fn with_type(mut response: Response<Full<Bytes>>, kind: &'static str) -> Response<Full<Bytes>> {
    let kind = header::HeaderValue::from_static(kind);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
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
