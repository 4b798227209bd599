//! Connections and answers. Whatever the other end does, all of it is bounded.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited, StreamBody};
use hyper::body::{Body, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use super::door::{Ask, Door, Refused};
use super::feed::Feed;
use super::page::{ICON, PAGE, POLICY, SCRIPT, STYLE};
use crate::cluster::Cluster;
use crate::output::causes;
use crate::plan::{self, Told};

/// Connections at a time; further ones wait. A browser has six, a page that looks holds one.
const CONNECTIONS: usize = 32;
/// For the head of a request, also of the next one on the same connection.
const HEAD_WITHIN: Duration = Duration::from_secs(5);
/// Bytes of a head; hyper takes no less than 8 KiB.
const HEAD: usize = 64 * 1024;
/// For a configuration that is pasted.
const BODY_WITHIN: Duration = Duration::from_secs(10);
/// Bytes of it, as many as an object of Kubernetes may have at most.
pub(super) const LARGEST: usize = 1024 * 1024;
/// Without file descriptors `accept` fails at once, again and again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// What would happen, decided by the code of `plan`.
pub(super) trait Plans {
    async fn node_down(&self, nodes: &[String]) -> anyhow::Result<Told>;
    async fn drain(&self, node: &str) -> anyhow::Result<Told>;
    async fn config(&self, text: Vec<u8>) -> anyhow::Result<Told>;
}

impl Plans for Cluster {
    async fn node_down(&self, nodes: &[String]) -> anyhow::Result<Told> {
        plan::node_down(self, nodes).await
    }

    async fn drain(&self, node: &str) -> anyhow::Result<Told> {
        plan::drain(self, node).await
    }

    async fn config(&self, text: Vec<u8>) -> anyhow::Result<Told> {
        plan::config(self, text).await
    }
}

/// Serves until it is dropped.
pub(super) async fn serve(listener: &TcpListener, door: &Door, feed: &Feed, plans: &impl Plans) {
    let mut connections = FuturesUnordered::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS => match accepted {
                Ok((stream, _)) => connections.push(connection(stream, door, feed, plans)),
                Err(_) => sleep(ACCEPT_PAUSE).await,
            },
            Some(()) = connections.next() => {}
        }
    }
}

async fn connection(stream: TcpStream, door: &Door, feed: &Feed, plans: &impl Plans) {
    let service = service_fn(async |request: Request<Incoming>| {
        Ok::<_, Infallible>(answer(request, door, feed, plans).await)
    });
    // Without it a small event waits for the acknowledgement of the one before.
    let _ = stream.set_nodelay(true);
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(HEAD)
        .serve_connection(TokioIo::new(stream), service);
    // One that breaks is nobody's loss: the browser comes again.
    let _ = served.await;
}

async fn answer(
    request: Request<Incoming>,
    door: &Door,
    feed: &Feed,
    plans: &impl Plans,
) -> Answer {
    let (parts, body) = request.into_parts();
    let ask = match door.admit(&parts) {
        Ok(ask) => ask,
        Err(refused) => return refusal(refused),
    };
    match ask {
        Ask::Page => whole(StatusCode::OK, "text/html; charset=utf-8", PAGE),
        Ask::Style => whole(StatusCode::OK, "text/css; charset=utf-8", STYLE),
        Ask::Script => whole(StatusCode::OK, "text/javascript; charset=utf-8", SCRIPT),
        Ask::Icon => whole(StatusCode::OK, "image/svg+xml", ICON),
        Ask::Feed => {
            let events = feed.viewer().map(|event| Ok(Frame::data(event)));
            let body = StreamBody::new(events).boxed_unsync();
            with_headers(StatusCode::OK, "text/event-stream", body)
        }
        Ask::NodeDown(nodes) => told(plans.node_down(&nodes).await),
        Ask::Drain(node) => told(plans.drain(&node).await),
        Ask::Config => match pasted(body).await {
            Ok(text) => told(plans.config(text).await),
            Err(refused) => refusal(refused),
        },
    }
}

/// The body, if it is no larger than it may be.
async fn pasted(body: Incoming) -> Result<Vec<u8>, Refused> {
    const TOO_LARGE: Refused = Refused(
        StatusCode::PAYLOAD_TOO_LARGE,
        "a configuration has at most 1 MiB\n",
    );
    // It is not read in vain.
    if body.size_hint().lower() > LARGEST as u64 {
        return Err(TOO_LARGE);
    }
    match timeout(BODY_WITHIN, Limited::new(body, LARGEST).collect()).await {
        Ok(Ok(whole)) => Ok(whole.to_bytes().into()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(TOO_LARGE),
        _ => Err(Refused(
            StatusCode::BAD_REQUEST,
            "the configuration did not come whole\n",
        )),
    }
}

fn told(told: anyhow::Result<Told>) -> Answer {
    match told {
        Ok(told) => json_of(StatusCode::OK, &told),
        Err(error) => {
            let error = json!({ "error": causes(&error) });
            json_of(StatusCode::UNPROCESSABLE_ENTITY, &error)
        }
    }
}

fn json_of(status: StatusCode, data: &impl Serialize) -> Answer {
    match serde_json::to_vec(data) {
        Ok(data) => whole(status, "application/json", data),
        Err(_) => whole(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", ""),
    }
}

fn refusal(Refused(status, why): Refused) -> Answer {
    whole(status, "text/plain; charset=utf-8", why)
}

fn whole(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    with_headers(status, kind, Full::new(body.into()).boxed_unsync())
}

fn with_headers(
    status: StatusCode,
    kind: &'static str,
    body: UnsyncBoxBody<Bytes, Infallible>,
) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    let headers: &mut HeaderMap = answer.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (
            header::HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
        (
            header::HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    answer
}
