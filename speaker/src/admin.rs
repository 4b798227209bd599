//! `/metrics`, `/healthz` and `/readyz` over HTTP, and for this node alone `/status` and `/who`:
//! nothing that they do changes anything.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use ferrolb_core::report::SpeakerStatus;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tracing::debug;

use crate::metrics::Metrics;
use crate::peers::patiently;
use crate::who;

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

/// What is served.
#[derive(Debug, Clone)]
pub struct Pages {
    /// `/metrics`
    pub metrics: Arc<Metrics>,
    /// `/readyz`
    pub readiness: Readiness,
    /// `/status`: it names every node and address, so it is for this node alone. A port-forward
    /// comes from there.
    pub status: Statuses,
    /// `/who`, for this node alone as well, asks on these; on any link if there are none.
    pub interfaces: Arc<[String]>,
}

/// Serves for ever: on `host` and on the loopback interface, without `host` on every address.
pub async fn serve(host: Option<IpAddr>, port: u16, pages: Pages) -> anyhow::Result<()> {
    let listener = listen(host, port).await?;
    match host {
        Some(host) if !host.is_loopback() && !host.is_unspecified() => {
            let local = listen(Some(Ipv4Addr::LOCALHOST.into()), port).await?;
            tokio::try_join!(accept(listener, pages.clone()), accept(local, pages)).map(drop)
        }
        _ => accept(listener, pages).await,
    }
}

async fn accept(listener: TcpListener, pages: Pages) -> anyhow::Result<()> {
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, say: at once it would fail again.
                debug!(%error, "connection not accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let pages = pages.clone();
        let is_local = peer.ip().to_canonical().is_loopback();
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let pages = pages.clone();
                async move { Ok::<_, Infallible>(respond(&request, &pages, is_local).await) }
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

async fn respond(
    request: &Request<Incoming>,
    pages: &Pages,
    is_local: bool,
) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return answer(StatusCode::METHOD_NOT_ALLOWED, "read-only\n".to_owned());
    }
    let path = request.uri().path();
    match path {
        "/metrics" => answer(StatusCode::OK, pages.metrics.encode()),
        "/healthz" => answer(StatusCode::OK, "ok\n".to_owned()),
        "/readyz" => match pages.readiness.missing() {
            missing if missing.is_empty() => answer(StatusCode::OK, "ok\n".to_owned()),
            missing => answer(
                StatusCode::SERVICE_UNAVAILABLE,
                format!("waiting for {missing}\n"),
            ),
        },
        "/status" | "/who" if !is_local => answer(
            StatusCode::FORBIDDEN,
            "only from this node itself, or through kubectl port-forward\n".to_owned(),
        ),
        "/status" => match pages.status.ask().await {
            Some(status) => json(serde_json::to_string_pretty(&status)),
            None => answer(StatusCode::SERVICE_UNAVAILABLE, "stopping\n".to_owned()),
        },
        "/who" => who(request.uri().query(), &pages.interfaces).await,
        _ => answer(
            StatusCode::NOT_FOUND,
            "/metrics /healthz /readyz /status /who\n".to_owned(),
        ),
    }
}

fn answer(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    answer_as(status, "text/plain; version=0.0.4; charset=utf-8", text)
}

/// One at a time: whoever may ask may not flood the LAN.
async fn who(query: Option<&str>, interfaces: &[String]) -> Response<Full<Bytes>> {
    static ASKING: Semaphore = Semaphore::const_new(1);
    let address = query.and_then(|query| query.strip_prefix("address="));
    let Some(address) = address.and_then(|address| address.parse().ok()) else {
        let usage = "/who?address=ADDRESS\n".to_owned();
        return answer(StatusCode::BAD_REQUEST, usage);
    };
    let _turn = ASKING.acquire().await;
    match who::ask(address, interfaces).await {
        Ok(status) => json(serde_json::to_string_pretty(&status)),
        Err(error) => answer(StatusCode::SERVICE_UNAVAILABLE, format!("{error:#}\n")),
    }
}

fn json(text: serde_json::Result<String>) -> Response<Full<Bytes>> {
    match text {
        Ok(text) => answer_as(StatusCode::OK, "application/json", text + "\n"),
        Err(error) => answer(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}

fn answer_as(status: StatusCode, kind: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let kind = header::HeaderValue::from_static(kind);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// The way to whoever knows the status.
#[derive(Debug, Clone)]
pub struct Statuses(mpsc::Sender<oneshot::Sender<SpeakerStatus>>);

impl Statuses {
    /// Questions come out of the receiver.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<oneshot::Sender<SpeakerStatus>>) {
        let (ask, questions) = mpsc::channel(16);
        (Self(ask), questions)
    }

    async fn ask(&self) -> Option<SpeakerStatus> {
        let (answer, answered) = oneshot::channel();
        self.0.send(answer).await.ok()?;
        answered.await.ok()
    }
}
