use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use futures::StreamExt as _;
use http::Response;
use k8s_openapi::api::core::v1::Service;
use kube::client::Body as Sent;
use serde_json::{Value, json};

use super::*;

/// An API server that gives these answers, one after the other, and what it was asked.
#[derive(Clone, Default)]
struct Server {
    answers: Arc<Mutex<VecDeque<(u16, String)>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn of<const N: usize>(answers: [(u16, String); N]) -> Self {
        Self {
            answers: Arc::new(Mutex::new(answers.into())),
            asked: Arc::default(),
        }
    }

    fn answer(&self, request: &Request<Sent>) -> Response<Sent> {
        self.asked.lock().unwrap().push(request.uri().to_string());
        let next = self.answers.lock().unwrap().pop_front();
        let (code, body) = next.unwrap_or((500, status(500)));
        let mut answer = Response::new(Sent::from(body.into_bytes()));
        *answer.status_mut() = http::StatusCode::from_u16(code).unwrap();
        answer
    }

    /// The first `count` of what a watch of Services tells: names, and the port's number if there is
    /// one.
    async fn told(&self, count: usize) -> Vec<String> {
        let server = self.clone();
        let service = tower::service_fn(move |request| {
            std::future::ready(Ok::<_, std::convert::Infallible>(server.answer(&request)))
        });
        let api: Api<Service> = Api::all(Client::new(service, "default"));
        let read = |key: &ServiceKey, service: Option<&Service>| {
            let spec = service.and_then(|service| service.spec.as_ref());
            let ports = spec.and_then(|spec| spec.ports.as_ref());
            let port = ports.map(|ports| ports[0].port.to_string());
            format!("{} {}", key.name, port.unwrap_or_default())
        };
        let events = watch(api, Some("spec.type=LoadBalancer".to_owned()), read);
        let texts = events.map(|event| match event {
            Ok(Event::Init) => "init".to_owned(),
            Ok(Event::InitDone) => "done".to_owned(),
            Ok(Event::InitApply(name)) => format!("listed {name}"),
            Ok(Event::Apply(name)) => format!("applied {name}"),
            Ok(Event::Delete(name)) => format!("deleted {name}"),
            Ok(Event::Unreadable(name)) => format!("unreadable {name}"),
            Err(error) => format!("error {error}"),
        });
        texts
            .map(|text| text.trim_end().to_owned())
            .take(count)
            .collect()
            .await
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn service(name: &str, version: &str, port: Value) -> Value {
    json!({ "metadata": { "name": name, "namespace": "shop", "resourceVersion": version },
            "spec": { "ports": [{ "port": port }] } })
}

fn list(items: &[Value], version: &str, more: &str) -> (u16, String) {
    let metadata = json!({ "resourceVersion": version, "continue": more });
    (
        200,
        json!({ "kind": "ServiceList", "metadata": metadata, "items": items }).to_string(),
    )
}

fn lines(events: &[(&str, Value)]) -> (u16, String) {
    let lines = events.iter().map(|(kind, object)| {
        // As the API server writes it: the type first.
        format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n")
    });
    (200, lines.collect())
}

fn status(code: u16) -> String {
    json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "no",
            "reason": "no", "code": code })
    .to_string()
}

#[tokio::test]
async fn pages_are_listed_one_after_another_and_then_watched() {
    let bookmark =
        json!({ "kind": "Service", "apiVersion": "v1", "metadata": { "resourceVersion": "9" } });
    let server = Server::of([
        list(&[service("a", "1", json!(1))], "5", "page-2"),
        list(&[service("b", "2", json!(2))], "5", ""),
        lines(&[
            ("MODIFIED", service("a", "6", json!(3))),
            ("DELETED", service("b", "7", json!(2))),
            ("BOOKMARK", bookmark),
        ]),
        lines(&[("ADDED", service("c", "10", json!(4)))]),
    ]);
    let told = server.told(7).await;
    assert_eq!(
        told,
        [
            "init",
            "listed a 1",
            "listed b 2",
            "done",
            "applied a 3",
            "deleted b 2",
            "applied c 4"
        ]
    );
    let asked = server.asked();
    assert!(
        asked[0].contains("limit=20&") || asked[0].ends_with("limit=20"),
        "{asked:?}"
    );
    assert!(
        asked
            .iter()
            .all(|one| one.contains("fieldSelector=spec.type")),
        "{asked:?}"
    );
    assert!(asked[1].contains("continue=page-2"), "{asked:?}");
    assert!(asked[2].contains("resourceVersion=5"), "{asked:?}");
    assert!(
        asked[3].contains("resourceVersion=9"),
        "the bookmark's: {asked:?}"
    );
}

#[tokio::test]
async fn one_undecodable_object_blinds_nobody() {
    let bad = |version| service("bad", version, json!("x".repeat(100_000)));
    let server = Server::of([
        list(
            &[
                service("a", "1", json!(1)),
                bad("2"),
                service("b", "3", json!(2)),
            ],
            "5",
            "",
        ),
        lines(&[
            ("MODIFIED", bad("6")),
            ("MODIFIED", service("a", "7", json!(3))),
            ("DELETED", bad("8")),
        ]),
        lines(&[]),
    ]);
    let told = server.told(8).await;
    assert_eq!(
        told,
        [
            "init",
            "listed a 1",
            "unreadable bad",
            "listed b 2",
            "done",
            "unreadable bad",
            "applied a 3",
            "deleted bad"
        ]
    );
}

#[tokio::test]
async fn an_object_that_is_too_large_is_passed_over_by_its_name_alone() {
    let mut huge = service("huge", "2", json!(1));
    huge["metadata"]["zannotations"] = json!({ "a": "x".repeat(crate::pieces::LARGEST) });
    let server = Server::of([
        list(&[huge.clone(), service("a", "1", json!(1))], "5", ""),
        lines(&[
            ("MODIFIED", huge),
            ("MODIFIED", service("a", "7", json!(3))),
        ]),
    ]);
    let told = server.told(6).await;
    assert_eq!(
        told,
        [
            "init",
            "unreadable huge",
            "listed a 1",
            "done",
            "unreadable huge",
            "applied a 3"
        ]
    );
}

#[tokio::test]
async fn who_is_too_late_lists_anew_and_who_is_refused_tries_again() {
    let gone = json!({ "kind": "Status", "status": "Failure", "message": "too old", "reason": "Expired", "code": 410 });
    let server = Server::of([
        (500, status(500)),
        list(&[service("a", "1", json!(1))], "5", ""),
        (500, status(500)),
        lines(&[("ERROR", gone)]),
        list(&[], "9", ""),
        (410, status(410)),
        list(&[], "12", ""),
    ]);
    let told = server.told(12).await;
    let told: Vec<_> = told
        .iter()
        .map(|text| text.split(':').next().unwrap_or_default())
        .collect();
    assert_eq!(
        told,
        [
            "init",
            "error cannot list",
            "init",
            "listed a 1",
            "done",
            "error cannot watch",
            "error the watch was ended",
            "init",
            "done",
            "error cannot watch",
            "init",
            "done",
        ]
    );
}

#[tokio::test]
async fn half_a_list_is_none() {
    let (_, whole) = list(
        &[service("a", "1", json!(1)), service("b", "2", json!(2))],
        "5",
        "",
    );
    let server = Server::of([(200, whole[..whole.len() - 30].to_owned()), (200, whole)]);
    let told = server.told(8).await;
    assert!(
        told[3].starts_with("error cannot decode the response"),
        "{told:?}"
    );
    assert_eq!(told[4..], ["init", "listed a 1", "listed b 2", "done"]);
}

#[test]
fn the_next_page_is_as_large_as_its_objects_allow() {
    let limit = |objects: usize, bytes: usize| {
        let body = Body(Box::pin(futures::io::Cursor::new(Vec::new())));
        Page {
            body,
            list: ListBody::default(),
            objects,
            bytes,
        }
        .next_limit()
    };
    assert_eq!(limit(20, 40_000), LARGEST_PAGE);
    assert_eq!(limit(20, 20 << 20), 2, "a megabyte each");
    assert_eq!(limit(1, 100 << 20), 1);
    assert_eq!(limit(0, 0), LARGEST_PAGE);
}
