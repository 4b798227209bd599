//! What the speaker shows: `/metrics` and `/readyz` to all, and to its node alone `/status`, `/who`
//! and `/survey`.
//! How it is served, and within which limits, stands in [`ferrolb_kube::admin`].

use std::sync::Arc;

use ferrolb_core::report::SpeakerStatus;
use ferrolb_core::survey::range_of;
use ferrolb_kube::admin::{Answer, LocalPages, Pages, Readiness, Rendering};
use http::StatusCode;
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::metrics::Metrics;
use crate::{survey, who};

/// Questions for the status that wait for an answer.
const QUESTIONS: usize = 16;

/// `/status`: it names every node and address. `/who`, `/survey`: they ask the LAN.
#[derive(Debug)]
pub struct OfThisNode {
    questions: mpsc::Sender<oneshot::Sender<SpeakerStatus>>,
    /// The LAN is asked on these; on any link if there are none.
    interfaces: Vec<String>,
    /// One at a time: whoever may ask may not flood the LAN.
    asking: Arc<Semaphore>,
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
        asking: Arc::new(Semaphore::new(1)),
    };
    (Pages::new(metrics, readiness, local), asked)
}

impl LocalPages for OfThisNode {
    const PATHS: &'static [&'static str] = &["/status", "/who", "/survey"];

    async fn answer(&self, path: &str, query: Option<&str>) -> Answer {
        match path {
            "/status" => self.status().await,
            "/survey" => self.survey(query).await,
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

    async fn survey(&self, query: Option<&str>) -> Answer {
        let range = match query.map(range_of).transpose() {
            Ok(range) => range,
            Err(how) => return Answer::text(StatusCode::BAD_REQUEST, format!("{how}\n")),
        };
        match survey::survey(range, &self.interfaces, &self.asking).await {
            Ok(status) => Answer::json(&status),
            Err(error) => Answer::text(StatusCode::SERVICE_UNAVAILABLE, format!("{error:#}\n")),
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
