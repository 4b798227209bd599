//! What the controller shows: `/metrics` and `/readyz` to all, `/status` to this host. How it is served,
//! and within which limits, stands in [`ferrolb_kube::admin`].

use std::time::Duration;

use ferrolb_core::report::ControllerStatus;
use ferrolb_kube::admin::{Answer, LocalPages, Pages, Readiness, Rendering};
use http::StatusCode;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// Somebody wants to know the status. It is made when it is asked for: for 10,000 Services it takes
/// megabytes.
pub type Question = oneshot::Sender<Box<ControllerStatus>>;

/// Questions that wait for an answer.
const QUESTIONS: usize = 4;
/// The answer comes from a loop that never waits long.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// `/status`, by whoever answers the questions.
#[derive(Debug)]
pub struct Status {
    questions: mpsc::Sender<Question>,
}

/// The pages, with the metrics of `registry`, and the questions for the status that come by them.
#[must_use]
pub fn pages(
    registry: Registry,
    readiness: Readiness,
) -> (Pages<Status>, mpsc::Receiver<Question>) {
    let (questions, asked) = mpsc::channel(QUESTIONS);
    let metrics = Rendering::new(
        "application/openmetrics-text; version=1.0.0; charset=utf-8",
        move |text| encode(text, &registry),
    );
    (Pages::new(metrics, readiness, Status { questions }), asked)
}

impl LocalPages for Status {
    const PATHS: &'static [&'static str] = &["/status"];

    async fn answer(&self, _: &str, _: Option<&str>) -> Answer {
        let (question, answer) = oneshot::channel();
        let asked = async {
            self.questions.send(question).await.ok()?;
            answer.await.ok()
        };
        match timeout(ANSWER_TIMEOUT, asked).await {
            Ok(Some(status)) => Answer::json(&status),
            _ => Answer::text(
                StatusCode::SERVICE_UNAVAILABLE,
                "not started yet, or busy\n",
            ),
        }
    }
}
