//! What the speaker shows: `/metrics` and `/readyz` to all, and to its node alone `/status` and `/who`.
//! How it is served, and within which limits, stands in [`ferrolb_kube::admin`].

use std::sync::Arc;

use ferrolb_core::report::SpeakerStatus;
use ferrolb_kube::admin::{Answer, LocalPages, Pages, Readiness, Rendering};
use http::StatusCode;
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::metrics::Metrics;
use crate::who;

/// Questions for the status that wait for an answer.
const QUESTIONS: usize = 16;

/// `/status`: it names every node and address. `/who`: it asks the LAN.
#[derive(Debug)]
pub struct OfThisNode {
    questions: mpsc::Sender<oneshot::Sender<SpeakerStatus>>,
    /// `/who` asks on these; on any link if there are none.
    interfaces: Vec<String>,
    /// One at a time: whoever may ask may not flood the LAN.
    asking: Semaphore,
}

/// The pages, and the questions for the status that come by them.
#[must_use]
pub fn pages(
    metrics: Arc<Metrics>,
    readiness: Readiness,
    interfaces: Vec<String>,
) -> (
    Pages<OfThisNode>,
    mpsc::Receiver<oneshot::Sender<SpeakerStatus>>,
) {
    let (questions, asked) = mpsc::channel(QUESTIONS);
    let metrics = Rendering::new("text/plain; version=0.0.4; charset=utf-8", move |text| {
        metrics.encode(text)
    });
    let local = OfThisNode {
        questions,
        interfaces,
        asking: Semaphore::new(1),
    };
    (Pages::new(metrics, readiness, local), asked)
}

impl LocalPages for OfThisNode {
    const PATHS: &'static [&'static str] = &["/status", "/who"];

    async fn answer(&self, path: &str, query: Option<&str>) -> Answer {
        match path {
            "/status" => self.status().await,
            _ => self.who(query).await,
        }
    }
}

impl OfThisNode {
    async fn status(&self) -> Answer {
        let (question, answer) = oneshot::channel();
        let asked = async {
            self.questions.send(question).await.ok()?;
            answer.await.ok()
        };
        match asked.await {
            Some(status) => Answer::json(&status),
            None => Answer::text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
        }
    }

    async fn who(&self, query: Option<&str>) -> Answer {
        let address = query.and_then(|query| query.strip_prefix("address="));
        let Some(address) = address.and_then(|address| address.parse().ok()) else {
            return Answer::text(StatusCode::BAD_REQUEST, "/who?address=ADDRESS\n");
        };
        let _turn = self.asking.acquire().await;
        match who::ask(address, &self.interfaces).await {
            Ok(status) => Answer::json(&status),
            Err(error) => Answer::text(StatusCode::SERVICE_UNAVAILABLE, format!("{error:#}\n")),
        }
    }
}
