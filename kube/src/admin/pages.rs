//! What is answered to a request.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use hyper::body::{Body, Frame, SizeHint};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::lock;
use super::rendering::{Outdated, Reader, Rendering};

/// Local pages that are made and read at the same time: one may take megabytes.
const LOCAL_PAGES: usize = 3;
/// How long one more waits for its turn.
const TURN_TIME: Duration = Duration::from_secs(5);

/// What a daemon still waits for; ready when that is nothing.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<Mutex<Vec<String>>>);

impl Readiness {
    /// Not ready for this reason.
    #[must_use]
    pub fn waiting_for(missing: &str) -> Self {
        let readiness = Self::default();
        readiness.set_missing(vec![missing.to_owned()]);
        readiness
    }

    /// What is missing, in words; nothing means ready.
    pub fn set_missing(&self, missing: Vec<String>) {
        *lock(&self.0) = missing;
    }

    fn answer(&self) -> Answer {
        let text = match lock(&self.0).as_slice() {
            [] => return Answer::ok(),
            [one] => format!("waiting for {one}\n"),
            several => format!("waiting for\n{}\n", several.join("\n")),
        };
        Answer::text(StatusCode::SERVICE_UNAVAILABLE, text)
    }
}

/// What a daemon shows to its own host alone: it names Services and nodes.
pub trait LocalPages: Send + Sync + 'static {
    /// Their paths.
    const PATHS: &'static [&'static str];

    /// The page at one of them.
    fn answer(&self, path: &str, query: Option<&str>) -> impl Future<Output = Answer> + Send;
}

/// All that is served.
#[derive(Debug)]
pub struct Pages<P> {
    metrics: Arc<Rendering>,
    readiness: Readiness,
    local: P,
    turns: Arc<Semaphore>,
}

impl<P: LocalPages> Pages<P> {
    /// `/metrics`, `/readyz`, and those for this host.
    #[must_use]
    pub fn new(metrics: Rendering, readiness: Readiness, local: P) -> Self {
        Self {
            metrics: Arc::new(metrics),
            readiness,
            local,
            turns: Arc::new(Semaphore::new(LOCAL_PAGES)),
        }
    }

    /// A port-forward comes from the loopback interface, and so does whoever is on the host itself.
    pub(super) async fn answer<B: Sync>(
        &self,
        request: &Request<B>,
        is_local: bool,
    ) -> Response<AnswerBody> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let text = "this port is read-only\n";
            return Answer::text(StatusCode::METHOD_NOT_ALLOWED, text).response();
        }
        let path = request.uri().path();
        match path {
            "/metrics" => self.metrics(),
            "/healthz" => Answer::ok().response(),
            "/readyz" => self.readiness.answer().response(),
            path if !P::PATHS.contains(&path) => {
                let paths = P::PATHS.join(", ");
                let text = format!("there are /metrics, /healthz, /readyz, {paths}\n");
                Answer::text(StatusCode::NOT_FOUND, text).response()
            }
            _ if !is_local => {
                let text = format!(
                    "{path} is for this host alone: kubectl port-forward, or kubectl ferrolb {}\n",
                    path.trim_start_matches('/')
                );
                Answer::text(StatusCode::FORBIDDEN, text).response()
            }
            path => {
                let turn = timeout(TURN_TIME, Arc::clone(&self.turns).acquire_owned()).await;
                let Ok(Ok(turn)) = turn else {
                    let text = "busy with other questions, try again\n";
                    return Answer::text(StatusCode::SERVICE_UNAVAILABLE, text).response();
                };
                let answer = self.local.answer(path, request.uri().query()).await;
                answer.while_read(Some(turn))
            }
        }
    }

    fn metrics(&self) -> Response<AnswerBody> {
        match self.metrics.read(Instant::now()) {
            Ok(reader) => respond(
                StatusCode::OK,
                self.metrics.kind(),
                AnswerBody::Metrics {
                    reader,
                    had_turn: true,
                },
            ),
            Err(error) => {
                Answer::text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).response()
            }
        }
    }
}

/// An answer that is made for one reader.
#[derive(Debug)]
pub struct Answer {
    status: StatusCode,
    kind: &'static str,
    body: Bytes,
}

impl Answer {
    /// A text for people.
    pub fn text(status: StatusCode, text: impl Into<Bytes>) -> Self {
        Self {
            status,
            kind: "text/plain; charset=utf-8",
            body: text.into(),
        }
    }

    /// A value as JSON, in lines.
    pub fn json(value: &impl Serialize) -> Self {
        match serde_json::to_string_pretty(value) {
            Ok(json) => Self {
                status: StatusCode::OK,
                kind: "application/json",
                body: (json + "\n").into(),
            },
            Err(error) => Self::text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        }
    }

    fn ok() -> Self {
        Self::text(StatusCode::OK, "ok\n")
    }

    fn response(self) -> Response<AnswerBody> {
        self.while_read(None)
    }

    /// The turn is over when the answer has been read.
    fn while_read(self, turn: Option<OwnedSemaphorePermit>) -> Response<AnswerBody> {
        let body = AnswerBody::Whole {
            body: Some(self.body),
            _turn: turn,
        };
        respond(self.status, self.kind, body)
    }
}

fn respond(status: StatusCode, kind: &'static str, body: AnswerBody) -> Response<AnswerBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let kind = header::HeaderValue::from_static(kind);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// What is sent.
#[derive(Debug)]
pub(super) enum AnswerBody {
    /// One piece.
    Whole {
        body: Option<Bytes>,
        /// The turn that is over when this is dropped.
        _turn: Option<OwnedSemaphorePermit>,
    },
    /// Part by part. Between two of them all others have a turn: who reads much, or many, delay no
    /// probe, and a connection that is given up before its turn has cost nothing.
    Metrics { reader: Reader, had_turn: bool },
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Outdated;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Outdated>>> {
        Poll::Ready(match self.get_mut() {
            Self::Whole { body, .. } => body.take().map(|bytes| Ok(Frame::data(bytes))),
            Self::Metrics { had_turn, .. } if *had_turn => {
                *had_turn = false;
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            Self::Metrics { reader, had_turn } => {
                *had_turn = true;
                reader.next().map(|part| part.map(Frame::data))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.size_hint().exact() == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        let left = match self {
            Self::Whole { body, .. } => body.as_ref().map_or(0, Bytes::len),
            Self::Metrics { reader, .. } => reader.left(),
        };
        SizeHint::with_exact(left as u64)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    struct Local;

    impl LocalPages for Local {
        const PATHS: &'static [&'static str] = &["/status", "/who"];

        async fn answer(&self, path: &str, query: Option<&str>) -> Answer {
            Answer::json(&(path, query))
        }
    }

    fn pages(readiness: Readiness) -> Pages<Local> {
        let metrics = Rendering::new("text/plain", |text| {
            text.push_str("a 1\n");
            Ok(())
        });
        Pages::new(metrics, readiness, Local)
    }

    async fn told(pages: &Pages<Local>, method: &str, uri: &str, is_local: bool) -> String {
        let request = Request::builder().method(method).uri(uri);
        let response = pages.answer(&request.body(()).unwrap(), is_local).await;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        format!("{status} {}", String::from_utf8_lossy(&body).trim_end())
    }

    #[tokio::test]
    async fn what_names_services_is_for_this_host_alone_and_nothing_can_be_changed() {
        let pages = pages(Readiness::default());
        let there_are = "404 there are /metrics, /healthz, /readyz, /status, /who";
        for (method, uri, is_local, expected) in [
            ("GET", "/metrics", false, "200 a 1"),
            ("HEAD", "/healthz", false, "200 ok"),
            ("GET", "/readyz?verbose", false, "200 ok"),
            (
                "GET",
                "/status",
                false,
                "403 /status is for this host alone: kubectl port-forward, or kubectl ferrolb status",
            ),
            (
                "GET",
                "/who?address=192.0.2.1",
                false,
                "403 /who is for this host alone: kubectl port-forward, or kubectl ferrolb who",
            ),
            ("GET", "/who?a=b", true, "200 [\n  \"/who\",\n  \"a=b\"\n]"),
            ("GET", "/status/", true, there_are),
            ("GET", "/", false, there_are),
            ("POST", "/healthz", true, "405 this port is read-only"),
            ("DELETE", "/status", false, "405 this port is read-only"),
        ] {
            let told = told(&pages, method, uri, is_local).await;
            assert_eq!(told, expected, "{method} {uri}");
        }
    }

    #[tokio::test]
    async fn what_is_missing_is_named() {
        let readiness = Readiness::waiting_for("the API server");
        let pages = pages(readiness.clone());
        let ready = async || told(&pages, "GET", "/readyz", false).await;
        assert_eq!(ready().await, "503 waiting for the API server");
        readiness.set_missing(vec!["one".to_owned(), "another".to_owned()]);
        assert_eq!(ready().await, "503 waiting for\none\nanother");
        readiness.set_missing(Vec::new());
        assert_eq!(ready().await, "200 ok");
    }

    #[tokio::test]
    async fn an_answer_that_is_not_read_yet_keeps_its_turn() {
        let pages = pages(Readiness::default());
        let request = Request::builder().uri("/status").body(()).unwrap();
        let mut answers = Vec::new();
        for _ in 0..LOCAL_PAGES {
            answers.push(pages.answer(&request, true).await);
        }
        let mut waits = std::pin::pin!(pages.answer(&request, true));
        assert!(look_at(waits.as_mut()).is_pending());
        answers.pop();
        assert_eq!(waits.await.status(), StatusCode::OK);
    }

    fn look_at<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(std::task::Waker::noop()))
    }
}
